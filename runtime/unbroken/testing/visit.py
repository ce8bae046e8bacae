"""One connection of a simulated service: from the accepted stream through TLS and upgrade to its end, faults included."""

from __future__ import annotations

import email.utils
import math
import ssl
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

from unbroken.errors import DialFailed, SocketEnded
from unbroken.testing.faults import (
    Close,
    Down,
    Fault,
    Fin,
    HttpStatus,
    Malformed,
    NoReply,
    QuietAudio,
    RefuseModel,
    Reset,
    Silence,
    SlowRead,
    Stage,
)
from unbroken.testing.faults import Latency as LatencyStrike
from unbroken.testing.report import Steps
from unbroken.testing.simulator import Message, Output, Request, SimulatedLink
from unbroken.transports.framing import reset
from unbroken.transports.server import ServerWebSocket, UpgradeRequest, receive_upgrade

if TYPE_CHECKING:
    from unbroken.testing.service import SimulatedService

__all__ = ["Visit"]

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)  # ssl.SSLError is an OSError

FAREWELL = 2.0
"""Seconds that a client has to answer a close frame or a FIN before the connection is reset."""

_BROKEN_FRAMES = {"frame": b"\x83\x00", "utf8": b"\x81\x02\xff\xfe"}  # reserved opcode 3; text that is not UTF-8


class Visit:
    """One connection.

    Args:
        service: whose it is.
        number: from 1.
        tls: the server's TLS context; None: no TLS.

    Attributes:
        number: from 1, in the order of acceptance.
        link: the provider's part; None: it has not come that far.
        faults: what struck it, as written.
        messages: messages from the client that were taken.
        steps: when it came how far.
    """

    def __init__(self, service: SimulatedService, number: int, *, tls: ssl.SSLContext | None) -> None:
        self.number = number
        self.link: SimulatedLink | None = None
        self.faults: list[str] = []
        self.messages = 0
        self.steps = Steps(accepted=anyio.current_time())
        self._service = service
        self._tls = tls
        self._stage: Stage = "dial"
        self._socket: ServerWebSocket | None = None
        self._changed = anyio.Event()
        self._gone = anyio.Event()  # the client's last word has come
        self._inbox: deque[tuple[float, bytes]] = deque()
        self._outbox: deque[tuple[float, Output]] = deque()
        self._pongs: deque[tuple[float, bytes]] = deque()
        self._silent_until = 0.0
        self._reading_from = 0.0
        self._read_rate = math.inf
        self._lived = 0.0
        self._over = False
        self._how = ""

    def __repr__(self) -> str:
        return f"<Visit {self.number} {'over' if self._over else '+'.join(self.stages) or 'open'}, {self.messages} messages>"

    @property
    def waits(self) -> bool:
        """It is set up, and lies ready for a conversation."""
        return self.link is not None and self.link.waits

    @property
    def stages(self) -> Collection[Stage]:
        """All that it is at; empty: the WebSocket is open and no setup has come."""
        return self.link.stages if self.link is not None and self._socket is not None else (self._stage,)

    def wake(self) -> None:
        """Lets it look at the plan again."""
        self._changed.set()

    async def run(self, stream: anyio.abc.ByteStream) -> None:
        """Serves the connection to its end."""
        try:
            await self._greet(stream)
        except (DialFailed, *GONE) as error:
            self._went(error)
        finally:
            self._over = True
            self._finish(confirmed=False)
            with anyio.move_on_after(FAREWELL, shield=True):
                await anyio.aclose_forcefully(stream)

    def _went(self, error: Exception) -> None:
        self._service.tell(self.number, f"went before it was a WebSocket ({type(error).__name__})")

    # -- Before there is a WebSocket --------------------------------------------------------------------------------------

    async def _greet(self, stream: anyio.abc.ByteStream) -> None:
        if await self._strike_stream(stream):
            return
        if self._service.is_down:
            reset(stream)
            return
        await self._lag()
        if self._tls is not None:
            stream = await TLSStream.wrap(stream, server_side=True, ssl_context=self._tls, standard_compatible=False)
        self.steps.secured = anyio.current_time()
        upgrade = await receive_upgrade(stream)
        if not upgrade.is_upgrade and await self._answer(upgrade):
            return
        self._stage = "upgrade"
        if await self._strike_stream(stream, upgrade):
            return
        await self._lag()
        admitted = self._service.simulator.admit(_request(self.number, upgrade), now=anyio.current_time())
        if isinstance(admitted, HttpStatus):
            await self._reject(upgrade, admitted)
            return
        self.link = admitted
        async with anyio.create_task_group() as tasks:
            try:
                self._socket = await upgrade.accept(tasks=tasks, auto_pong=False)
            except DialFailed as error:  # which would leave the group as another one
                self._went(error)
                return
            self.steps.upgraded = anyio.current_time()
            self._socket.on_ping = self._pinged
            tasks.start_soon(self._read, self._socket, name=f"simulated connection {self.number}: reading")
            await self._pump(self._socket)
            with anyio.move_on_after(FAREWELL):
                await self._gone.wait()
            if not self._gone.is_set():
                self._socket.abort()

    async def _strike_stream(self, stream: anyio.abc.ByteStream, upgrade: UpgradeRequest | None = None) -> bool:
        """Lets the faults of dial or upgrade strike. Returns whether that was the end."""
        while (fault := self._take([self._stage], self._service.now)) is not None:
            match fault.strike:
                case Silence(seconds=seconds):
                    await anyio.sleep(math.inf if seconds is None else seconds)
                case HttpStatus() if upgrade is not None:
                    await self._reject(upgrade, fault.strike)
                    return True
                case Fin():
                    await stream.send_eof()
                    return True
                case _:  # nothing else can be said here
                    reset(stream)
                    return True
        return False

    async def _reject(self, upgrade: UpgradeRequest, status: HttpStatus) -> None:
        self._service.tell(self.number, f"HTTP {status.status}")
        headers = {} if status.retry_after is None else {"Retry-After": f"{status.retry_after:g}"}
        await upgrade.reject(status.status, headers=headers, body=f"HTTP {status.status}, by the simulated service\n")

    async def _answer(self, asked: UpgradeRequest) -> bool:
        """Answers plain HTTP, which the faults of upgrades leave alone. Returns whether the service has an answer."""
        answer = self._service.simulator.answer(_request(self.number, asked), now=anyio.current_time())
        if answer is None:
            return False
        await self._lag()
        self._service.tell(self.number, f"GET {asked.path}: HTTP {answer.status}")
        headers = {"Content-Type": answer.content_type, "Date": email.utils.formatdate(usegmt=True)}
        await asked.reject(answer.status, headers=headers, body=answer.body)
        return True

    async def _lag(self) -> None:
        await anyio.sleep(self._service.delay() + self._service.delay())

    # -- The WebSocket ----------------------------------------------------------------------------------------------------

    async def _read(self, socket: ServerWebSocket) -> None:
        """Takes messages from the socket: nothing while it is silent, and slowly where a fault says so."""
        try:
            while True:
                if self._is_silent():
                    await anyio.sleep_until(self._silent_until)
                    continue
                data = await socket.receive()
                now = anyio.current_time()
                arrives = max(now + self._service.delay(), self._inbox[-1][0] if self._inbox else 0.0)
                self._inbox.append((arrives, data))
                self._changed.set()
                await anyio.sleep(0.0 if math.isinf(self._read_rate) else 1.0 / self._read_rate)
        except SocketEnded as ended:
            if not self._over:
                self._service.tell(self.number, f"the client is gone: {ended.ending.describe()}")
            self._over = True
            self._finish(confirmed=ended.ending.code is not None)
            self._gone.set()
            self._changed.set()

    async def _pump(self, socket: ServerWebSocket) -> None:
        assert self.link is not None
        self._service.tell(self.number, "connected")
        self._lived = anyio.current_time()
        while not self._over:
            self._changed = anyio.Event()
            now = anyio.current_time()
            if not self._is_silent():
                self._live(socket, now)
            await self._wait()

    def _live(self, socket: ServerWebSocket, now: float) -> None:
        """Lives through what has become due, each thing at its own time: where the machine stood still it is late with all
        of it, and a fault in the midst of a reply must still strike there."""
        self._lived = max(self._lived, self._silent_until)
        looked = False
        while not self._over and not self._is_silent() and (due := self._next()) <= now:
            self._lived = max(due, self._lived)
            if looked := not self._inbox or self._inbox[0][0] > due:
                self._look(socket)
            else:
                self._receive(self._inbox.popleft()[1], self._lived)
                self._strike(socket, self._lived)
        if not looked:
            self._lived = now
            self._look(socket)

    def _look(self, socket: ServerWebSocket) -> None:
        self._strike(socket, self._lived)
        self._advance(socket, self._lived)

    def _receive(self, data: bytes, now: float) -> None:
        assert self.link is not None
        self.messages += 1
        before = self.link.stages
        self.link.receive(data, now=now)
        if "setup" in self.link.stages and "setup" not in before:
            self.steps.setup = now
            self._service.tell(self.number, "setup")

    def _advance(self, socket: ServerWebSocket, now: float) -> None:
        """Sends what is due, each after its time under way."""
        assert self.link is not None
        if self._over or self._is_silent():
            return
        for output in self.link.advance(now):
            last = self._outbox[-1][0] if self._outbox else 0.0
            self._outbox.append((max(now + self._service.delay(), last), output))
        while self._pongs and self._pongs[0][0] <= now:
            socket.pong(self._pongs.popleft()[1])
        while self._outbox and self._outbox[0][0] <= now and not self._over:
            output = self._outbox.popleft()[1]
            match output:
                case Message(data=data, binary=True):
                    socket.send_binary(data)
                    self._take_note()
                case Message(data=data):
                    socket.send(data)
                    self._take_note()
                case Close(code=code, reason=reason):
                    self._close(socket, code, reason)

    def _take_note(self) -> None:
        """A message was sent: the first one that leaves a live connection is the answer to its setup."""
        if self.steps.live is None and self.link is not None and "live" in self.link.stages:
            self.steps.live = anyio.current_time()

    def _next(self) -> float:
        """When there is something to do next, though nothing comes; it may be in the past."""
        assert self.link is not None
        times = [queue[0][0] for queue in (self._inbox, self._outbox, self._pongs) if queue]
        if self.link.deadline is not None:
            times.append(self.link.deadline)
        if (struck := self._service.plan.deadline(now=self._lived - self._service.began)) is not None:
            times.append(self._service.moment(struck))
        return min(times, default=math.inf)

    async def _wait(self) -> None:
        if self._over:
            return
        with anyio.move_on_at(self._silent_until if self._is_silent() else self._next()):
            await self._changed.wait()

    def _pinged(self, payload: bytes) -> None:
        assert self.link is not None
        delay = self.link.pong_time + self._service.delay() + self._service.delay()
        self._pongs.append((anyio.current_time() + delay, payload))
        self._changed.set()

    def _is_silent(self) -> bool:
        return anyio.current_time() < self._silent_until

    # -- Faults -----------------------------------------------------------------------------------------------------------

    def _take(self, stages: Collection[Stage], now: float) -> Fault | None:
        fault = self._service.plan.take(
            now=now,
            connection=self.number,
            stages=stages,
            messages=self.messages,
            newest=self._service.is_newest(self),
        )
        if fault is not None:
            self.faults.append(str(fault))
            self._service.tell(self.number, f"fault: {fault}")
            if self.link is not None:
                self.link.struck(str(fault))
        return fault

    def _strike(self, socket: ServerWebSocket, now: float) -> None:
        """Lets faults strike the open WebSocket."""
        assert self.link is not None
        while not self._over and (fault := self._take(self.link.stages, now - self._service.began)) is not None:
            match fault.strike:
                case Close(code=code, reason=reason):
                    self._close(socket, code, reason)
                case Reset() | HttpStatus():  # it is too late for a status
                    socket.abort()
                    self._end("reset", confirmed=True)
                case Fin():
                    socket.finish()
                    self._end("end of stream", confirmed=True)
                case Silence(seconds=seconds):
                    self._silent_until = math.inf if seconds is None else now + seconds
                    if seconds is None:
                        self.link.silenced(now=now)
                case Malformed(how="json"):
                    socket.send(b'{"serverContent": {"modelTurn": {"par')
                case Malformed(how=how):
                    socket.send_raw(_BROKEN_FRAMES[how])
                case SlowRead(rate=rate):
                    self._read_rate = rate
                case Down() | LatencyStrike() | NoReply() | QuietAudio() | RefuseModel():
                    self._service.strike_all(fault)
                case _:
                    self.link.strike(fault.strike, now=now)

    def _close(self, socket: ServerWebSocket, code: int, reason: str) -> None:
        socket.close(code, reason)
        self._end(f'close {code} "{reason}"', confirmed=True)

    def _end(self, how: str, *, confirmed: bool) -> None:
        """The service ends it; the reading task waits for the client's last word."""
        self._how = how
        self._over = True
        self._finish(confirmed=confirmed)
        self._changed.set()

    def _finish(self, *, confirmed: bool) -> None:
        if self.link is not None:
            self.link.ended(now=anyio.current_time(), how=self._how, confirmed=confirmed)


def _request(number: int, upgrade: UpgradeRequest) -> Request:
    return Request(
        number=number,
        path=upgrade.path,
        query={name: values[-1] for name, values in upgrade.query.items()},
        headers={name.lower(): value for name, value in upgrade.headers.raw_items()},
    )
