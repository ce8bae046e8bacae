"""One link: a WebSocket that carries a session for a while, from its dial to its end. It is replaced, never restarted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias, cast

import anyio
import msgspec

from unbroken.abc import Connection, Provider, Socket, Transport, TransportStep
from unbroken.ahead import Dialled, SetUp
from unbroken.core.crossing import Crossing
from unbroken.core.health import Sample
from unbroken.core.redaction import secrets_of, without
from unbroken.decisions import Cause, Closure, Ending, Facts, Phase
from unbroken.errors import ConfigError, LinkError, SocketEnded, WireError
from unbroken.events import Steps
from unbroken.messages import LinkDown, LinkStep, LinkUp
from unbroken.wire import ProviderFault, SetupDone, WireEvent

__all__ = ["Link", "LinkMessage", "Receiver"]

LinkMessage: TypeAlias = LinkStep | LinkUp

_OVERDUE: Final[Mapping[str, Cause]] = {
    "credential": "credential_deadline",
    "dial": "dial_deadline",
    "tls": "tls_deadline",
    "upgrade": "upgrade_deadline",
    "setup": "setup_deadline",
}


class Receiver(Protocol):
    """Who takes what a live link receives, in the link's own task and in the order of the wire."""

    def deliver(self, link: int, events: Sequence[WireEvent]) -> bool:
        """Takes the events of one message. Returns whether there is room for more; `room` waits until there is."""
        ...

    async def room(self) -> None:
        """Waits until there is room for more."""
        ...

    def lost(self, down: LinkDown) -> None:
        """Takes the end of a link, delivered or not, and passes it on."""
        ...


class Link:
    """One WebSocket connection of a session.

    Its messages to the supervisor are `LinkStep` as each phase begins and `LinkUp` once. Its end goes the way of all that it
    received, through the receiver, so that nothing overtakes it: `LinkDown` is the last that is heard of a link, and comes
    exactly once.

    Args:
        number: the link's number within its session.
        provider: where it goes.
        transport: what it goes over.
        crossing: what it takes over.
        post: where its messages go; never waits.
        receiver: who takes what it receives.
        refresh: ask the provider for a new credential.
        spare: a connection that is open already, or set up besides; None: it has to be dialled.
    """

    def __init__(
        self,
        number: int,
        *,
        provider: Provider,
        transport: Transport,
        crossing: Crossing,
        post: Callable[[LinkMessage], object],
        receiver: Receiver,
        refresh: bool = False,
        spare: Dialled | None = None,
    ) -> None:
        self.number = number
        self.provider = provider
        self.crossing = crossing
        self.phase: Phase = "dial"
        self.open = True
        """What is sent may still reach the peer; false from the begin of the link's end."""
        self.index = 0
        """The number of the next client message; the setup is 0."""
        self.offered = 0
        """Bytes of messages that were given to be sent."""
        self.paused = False
        """It does not read: the application does not take its events."""
        self._transport = transport
        self._post = post
        self._receiver = receiver
        self._refresh = refresh
        self._spare = spare
        handle = crossing.handle
        self._secrets = (*(spare.secrets if spare is not None else ()), *([handle] if handle is not None else []))
        self._connection: Connection | None = None
        self._socket: Socket | None = spare.socket if spare is not None else None
        self._early: list[WireEvent] = []
        self._fault: ProviderFault | None = None
        self._scope = anyio.CancelScope()
        self._activated = anyio.Event()
        self._ending: Ending | None = None
        self._closing: Cause | None = None
        self._closed_by_us = False
        self._reported = False
        self._superseded = False
        self._useless_for: float | None = None
        self._began = anyio.current_time()
        self._marks: list[tuple[str, float]] = [("credential", self._began)]

    def __repr__(self) -> str:
        return f"<Link {self.number} {self.provider.profile.model} {self.phase}>"

    # -- what the supervisor and the pipe ask for, without waiting ------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The encoder of this link, once its setup was sent."""
        assert self._connection is not None
        return self._connection

    @property
    def buffered(self) -> int:
        """Bytes that the operating system has not taken yet."""
        return self._socket.buffered if self._socket is not None else 0

    @property
    def last_received(self) -> float:
        """When the last byte came from the peer; before the first, when the link was begun."""
        return self._socket.last_received if self._socket is not None else self._began

    def last_sign(self, now: float) -> float:
        """When the peer last gave a sign of life: a byte or, where the transport can tell, an acknowledgement.

        Args:
            now: the present.
        """
        path = self._socket.path() if self._socket is not None else None
        return self.last_received if path is None else max(self.last_received, now - path.since_ack)

    def look(self, now: float) -> Sample:
        """Returns how the link stands, for the watchdog.

        Args:
            now: the present.
        """
        socket = self._socket
        if socket is None:
            return Sample(now=now)
        return Sample(
            now=now,
            path=socket.path(),
            offered=self.offered,
            unsent=socket.buffered,
            silent_for=now - socket.last_received,
            slowest_pong=socket.slowest_pong,
            paused=self.paused,
        )

    @property
    def cause(self) -> Cause | None:
        """What this side ended it for; None: it has not, or the application closed the session."""
        return self._ending.cause if self._ending is not None else self._closing

    @property
    def overdue(self) -> Cause:
        """What it means that the link is still in its present phase when the phase's deadline has passed."""
        return _OVERDUE[self._marks[-1][0]]

    def send(self, message: bytes) -> int:
        """Sends one encoded message; on a link that has ended it goes nowhere.

        Returns:
            Its number among the client messages of this link.
        """
        index = self.index
        self.index = index + 1
        self.offered += len(message)
        if self._socket is not None:
            self._socket.send(message)
        return index

    def configure(self, provider: Provider) -> bool:
        """Has the link set up otherwise, where that is not too late.

        Args:
            provider: of the same target, with another configuration.

        Returns:
            False: the setup has been sent, or is about to be, or the link has ended.
        """
        if self._connection is not None or self._spare is not None or not self.open:
            self._superseded = True
            return False
        self.provider = provider
        return True

    def activate(self) -> None:
        """Lets the link deliver what it receives; until then it waits, so nothing is delivered to nobody."""
        self._activated.set()

    def ping(self) -> None:
        """Asks the peer for a sign of life, which shows in `last_received`."""
        if self._socket is not None:
            self._socket.ping()

    def hang_up(self, cause: Cause | None) -> None:
        """Begins the closing handshake; the supervisor bounds the wait for its end.

        Args:
            cause: why this side ends the link; None: the application closed the session.
        """
        self.open = False
        self._closing = cause
        self._closed_by_us = cause is None
        self._activated.set()
        if self._socket is None:
            self.abort(cause)
        else:
            self._socket.close(1000)

    def abort(self, cause: Cause | None, reason: str = "", *, useless_for: float | None = None) -> None:
        """Ends the link at once, in any phase, and reports its end before this returns. What is left of it is torn down in
        its own task, and nobody waits for that.

        Args:
            cause: why; None: the application closed the session.
            reason: words for people.
            useless_for: for how many seconds it is known to have been of no use; None: since the last byte came.
        """
        self.open = False
        self._useless_for = useless_for
        self._closed_by_us = self._closed_by_us or (cause is None and self._closing is None)
        if self._ending is None:
            self._ending = Ending(
                cause=cause or self._closing, reason=reason, sent_by_us=True, confirmed=self._socket is None
            )
        if self._socket is not None:
            self._socket.abort(self._ending)
        self._scope.cancel()
        self._report(self._ending)

    # -- its life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Lives the link, and reports its end whatever it was."""
        try:
            with self._scope:
                await self._live()
        except Exception as failed:  # because a bug in a transport's own task ends its link, never the session
            self._report(Ending(cause="crash", reason=_reason(failed), sent_by_us=True, confirmed=False))
        finally:
            self._report(self._ending or Ending(cause="crash", sent_by_us=True, confirmed=False))

    async def _live(self) -> None:
        async with anyio.create_task_group() as tasks:
            try:
                ending = await self._talk(tasks)
            except LinkError as failed:
                ending = self._told(failed.ending)
            except WireError as failed:
                ending = Ending(cause="malformed", reason=str(failed)[:123], sent_by_us=True, confirmed=False)
            except Exception as failed:  # because a bug in a codec or transport ends its link, never the session
                ending = Ending(cause="crash", reason=_reason(failed), sent_by_us=True, confirmed=False)
            # the next link need not wait until the answer to a close frame is out, which the socket bounds
            self._report(self._ending or ending)
            if self._socket is not None and self._socket.ending is None:
                self._socket.abort(None)

    def _report(self, ending: Ending) -> None:
        if self._reported:
            return
        self._reported = True
        self.open = False
        now, profile = anyio.current_time(), self.provider.profile
        if self._superseded and self.phase == "setup" and ending.cause is None:  # refused is what nobody wants any more
            ending = Ending(cause="update", reason=ending.describe(), sent_by_us=True, confirmed=ending.confirmed)
        ending = msgspec.structs.replace(ending, reason=without(ending.reason, self._secrets))
        facts = Facts(
            closed_by_us=self._closed_by_us,
            sent_by_us=ending.sent_by_us,
            resumed=self.crossing.handle is not None,
            history_sent=bool(self.crossing.history),
        )
        closure = Closure(
            platform=profile.platform,
            phase=self.phase,
            ending=ending,
            facts=facts,
            model=profile.model,
            age=now - self._began,
            link=self.number,
        )
        silent_for = max(0.0, now - self.last_received) if self._useless_for is None else self._useless_for
        self._receiver.lost(LinkDown(link=self.number, closure=closure, silent_for=silent_for))

    def _told(self, ending: Ending) -> Ending:
        """The peer's answer to our own close says nothing; what we closed for does."""
        if self._closing is None:
            return ending
        return msgspec.structs.replace(ending, cause=self._closing, code=None, sent_by_us=True)

    async def _talk(self, tasks: anyio.abc.TaskGroup) -> Ending:
        refused = await self._set_up_on_spare() if self._spare is not None else None
        if self.phase == "dial" and refused is None:
            try:
                socket = await self._dial(tasks)
            except ConfigError as failed:
                return Ending(cause="credential", reason=str(failed), sent_by_us=True)
            refused = await self._set_up(socket) if socket is not None else Ending(cause="update", sent_by_us=True)
        if refused is not None:
            return refused
        return await self._carry()

    async def _dial(self, tasks: anyio.abc.TaskGroup) -> Socket | None:
        """Opens the socket. None: the link was configured otherwise meanwhile, and that leads elsewhere."""
        provider = self.provider
        endpoint = await provider.endpoint(refresh=self._refresh)
        self._secrets += secrets_of(endpoint.url, endpoint.headers)
        self._mark("dial")
        self._socket = socket = await self._transport.open(endpoint, tasks=tasks, on_step=self._step)
        while provider is not self.provider:
            provider = self.provider
            meant = await provider.endpoint()
            self._secrets += secrets_of(meant.url, meant.headers)
            if (meant.url, meant.headers) != (endpoint.url, endpoint.headers):
                return None
        return socket

    async def _set_up_on_spare(self) -> Ending | None:
        """Sets the link up on its spare. Where that was closed while it lay idle, which shows only now, the phase is "dial"
        again and the link is dialled; what the peer says with a close code or a message is meant for the setup. A spare that
        is set up already takes the link at once."""
        assert self._spare is not None
        await self._spare.released.wait()
        socket, heard_at = self._spare.socket, self._spare.socket.last_received
        set_up = self._spare.set_up
        if set_up is not None and socket.ending is None:
            self._go_on(set_up)
            return None
        try:
            if set_up is None:
                return await self._set_up(socket)
            await socket.receive()  # raises how it ended, a moment before it was needed
        except SocketEnded as ended:
            said = set_up is None and (ended.ending.code is not None or socket.last_received > heard_at)
            if said or self._ending is not None or self._closing is not None:
                raise
        self._spare = self._socket = None
        self._step("dial")
        return None

    def _go_on(self, set_up: SetUp) -> None:
        """Takes over what was set up ahead: it is up at once."""
        self._step("setup")
        self.index = 1
        self._connection = set_up.connection
        self._early = set_up.told(anyio.current_time())
        self._up(age=anyio.current_time() - set_up.at)

    async def _set_up(self, socket: Socket) -> Ending | None:
        """Sends the setup, and waits until it is accepted; returns the end where it is refused in a message."""
        self._step("setup")
        self.index = 0
        self._connection = connection = self.provider.connection()
        self.send(connection.setup(handle=self.crossing.handle, seeded=bool(self.crossing.history)))
        while self.phase != "live":
            for event in connection.receive(await socket.receive()):
                if type(event) is SetupDone:
                    self._up()
                elif type(event) is ProviderFault:
                    return self._refused(event)
                else:
                    self._early.append(event)
        return None

    async def _carry(self) -> Ending:
        assert self._socket is not None
        await self._activated.wait()
        self._receiver.deliver(self.number, self._early)
        while True:
            await self._socket.pump(self._take)
            if self._fault is not None:
                return self._refused(self._fault)
            self.paused = True
            await self._receiver.room()
            self.paused = False

    def _take(self, message: bytes) -> bool:
        """Delivers a message; returns whether another may come at once."""
        events = self.connection.receive(message)
        for event in events:
            if type(event) is ProviderFault:
                self._fault = event
                return False
        return self._receiver.deliver(self.number, events)

    def _refused(self, fault: ProviderFault) -> Ending:
        return Ending(code=fault.code, reason=fault.reason, confirmed=False)

    def _step(self, step: TransportStep | Phase) -> None:
        self.phase = step
        self._mark(step)
        self._post(LinkStep(link=self.number, phase=step))

    def _mark(self, name: str) -> None:
        self._marks.append((name, anyio.current_time()))

    def _up(self, *, age: float = 0.0) -> None:
        self.phase = "live"
        self._mark("live")
        for message in self.connection.opening(self.crossing.history):
            self.send(message)
        took = {
            f"{name}_ms": (after - at) * 1000 for (name, at), (_, after) in zip(self._marks, self._marks[1:], strict=False)
        }
        round_trips = [took[step] / 1000 for step in ("dial_ms", "tls_ms", "upgrade_ms") if step in took]
        if self._spare is not None:
            round_trips = [self._spare.round_trip]
        spare = self._spare is not None
        self._post(LinkUp(link=self.number, steps=Steps(**took), round_trip=min(round_trips), spare=spare, age=age))


def _reason(error: Exception) -> str:
    """Returns what a bug was, and where; not its words, which may hold a key or a caller's."""
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    trace = found.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(found).__name__}{where}"
