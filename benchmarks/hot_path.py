"""Where a frame's time goes, stage by stage, beside the floor: ``python -m benchmarks.hot_path``.

The floor is a bare loop that encodes the same message and hands it to the same socket, or takes it from there and decodes
it. There is no network here: a socket that only counts stands in for it, so that what is left is this project's own work.
Stages are microseconds of one call, in a process that does nothing else; a session-second is 50 frames of 20 ms up and 25
messages of 40 ms down, for so many sessions in turn in one event loop, and milliseconds.

Both are processor time of the thread; the lowest round is the one that nobody disturbed, and `value` is the median.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import socket
import statistics
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import NamedTuple

import anyio
import anyio.abc

import unbroken
import unbroken_gemini
from benchmarks.results import Cost
from unbroken.abc import Connection, Endpoint, Provider, Socket, Transport, TransportStep
from unbroken.actors import Actor, Mailbox, Overflow
from unbroken.config import Settings
from unbroken.core.audio import SpeechDetector, is_quiet
from unbroken.core.classify import classify
from unbroken.core.health import Detector, Sample
from unbroken.core.journal import Journal
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Ending, Situation, TargetState
from unbroken.events import Audio
from unbroken.messages import Replay
from unbroken.outlet import Outlet
from unbroken.pipe import AudioPipe
from unbroken.transports.path import read_path
from unbroken_gemini.rules import RULES

COMMAND = "python -m benchmarks.hot_path"
STAGES = "a frame's way, by stage"
SECONDS = "a session-second without a network"

FRAME = bytes(range(256)) * 2 + bytes(128)
"""20 ms of 16 kHz, loud enough to be speech."""

REPLY = b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"%s"}}]}}}' % (
    b"QUJD" * 640
)
"""40 ms of 24 kHz as the service sends it."""

_UP, _DOWN = 50, 25
_RATE = 16_000


class Stage(NamedTuple):
    """One thing that is timed.

    Attributes:
        name: for the table.
        work: is called again and again.
        floor: does the same without this project; None: there is no such thing.
    """

    name: str
    work: Callable[[], object]
    floor: Callable[[], object] | None = None


class CountingSocket(Socket):
    """A socket without a network: it counts what it is given, and hands over at once what it is told to receive."""

    def __init__(self) -> None:
        self.ending = None
        self.sent = 0
        self._came: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None

    def send(self, data: bytes) -> None:
        """Counts."""
        if not self.sent:
            self.come(b'{"setupComplete":{}}')
        self.sent += len(data)

    def come(self, message: bytes) -> None:
        """Receives a message, as a transport does whose bytes come by callback."""
        if self._take is not None:
            self._take(message)
            return
        self._came.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> bytes:
        """Returns the next message."""
        while not self._came:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._came.popleft()

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        """Hands messages over as they come."""
        while self._came:
            take(self._came.popleft())
        self._take = take
        try:
            await anyio.sleep_forever()
        finally:
            self._take = None

    @property
    def buffered(self) -> int:
        """Nothing is."""
        return 0

    @property
    def last_received(self) -> float:
        """Just now."""
        return anyio.current_time()

    def ping(self) -> None:
        """Nobody answers."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """There is nothing to close."""

    def abort(self, ending: Ending | None = None) -> None:
        """There is nothing to abort."""


class CountingTransport(Transport):
    """Opens such sockets.

    Attributes:
        sockets: all that it has opened.
    """

    def __init__(self) -> None:
        self.sockets: list[CountingSocket] = []

    async def open(
        self, endpoint: Endpoint, *, tasks: anyio.abc.TaskGroup, on_step: Callable[[TransportStep], None]
    ) -> CountingSocket:
        """Opens one at once."""
        on_step("upgrade")
        self.sockets.append(CountingSocket())
        return self.sockets[-1]


class _Link:
    """Stands in for a link: encodes and counts."""

    def __init__(self, provider: Provider) -> None:
        self.number = 1
        self.open = True
        self.buffered = 0
        self.provider = provider
        self.connection = provider.connection()
        self.sent = 0

    def send(self, message: bytes) -> int:
        self.sent += len(message)
        return 1

    def activate(self) -> None:
        pass


class _Reader(Actor[int]):
    """Takes messages, and does nothing with them."""

    def __init__(self) -> None:
        super().__init__(Mailbox(name="reader", capacity=64, overflow=Overflow.FAIL))
        self.taken = 0

    def handle(self, message: int) -> None:
        self.taken += 1


def _provider() -> Provider:
    return unbroken_gemini.provider(unbroken_gemini.target("gemini-3.8-live", api_key="none"), config=None)


# -- stages -----------------------------------------------------------------------------------------------------------------


def _stages(client: socket.socket) -> list[Stage]:
    link = _Link(_provider())
    connection, detector, journal = link.connection, SpeechDetector(rate=_RATE), Journal(rate=_RATE, bound=60)
    pipe = AudioPipe(
        "bench",
        profile=link.provider.profile,
        settings=Settings(),
        outlet=Outlet(1 << 40),
        post=lambda message: None,
        find=lambda number: link,  # type: ignore[arg-type,return-value]
    )
    pipe.handle(Replay(link=1, target="bench"))
    audio = connection.receive(REPLY)
    assert isinstance(audio[0], Audio)
    for _ in range(3000):
        journal.append(FRAME, 0.0, quiet=False)
    closure = Closure(platform="gemini", ending=Ending(code=1011, reason="Internal error encountered."))
    rules, policy = in_order(RULES), DefaultPolicy()
    situation = Situation(targets=(TargetState(name="a", index=0, quota_group="a", credentials="a"),))
    return [
        Stage("20 ms up: all", lambda: pipe.send_audio(FRAME), lambda: link.send(connection.audio(FRAME))),
        Stage("20 ms up: is it speech", lambda: detector.feed(is_quiet(FRAME), 320, 0.0)),
        Stage("20 ms up: journal, append", lambda: journal.append(FRAME, 0.0, quiet=False)),
        Stage("20 ms up: encode", lambda: connection.audio(FRAME)),
        Stage("40 ms down: all", lambda: pipe.deliver(1, connection.receive(REPLY)), lambda: connection.receive(REPLY)),
        Stage("40 ms down: decode", lambda: connection.receive(REPLY)),
        Stage("40 ms down: deliver", lambda: pipe.deliver(1, audio)),
        Stage("control: journal, 100 ms of a replay", lambda: journal.read(journal.end - 800_000, _RATE // 10)),
        Stage("control: classify and decide", lambda: policy.decide(classify(closure, rules), situation)),
        *_look(client),
    ]


def _look(client: socket.socket) -> list[Stage]:
    """Returns the watchdog's look at a TCP connection; nothing where the platform shows none."""
    if sys.platform != "linux" or read_path(client) is None:
        return []
    detector = Detector()

    def look() -> None:
        detector.take(Sample(now=time.perf_counter(), path=read_path(client)))

    return [Stage("control: watchdog, one look", look)]


def _times(stage: Stage, *, calls: int, rounds: int) -> Cost:
    pairs = [(_time(stage.work, calls), _time(stage.floor, calls) if stage.floor else None) for _ in range(rounds)]
    return _cost(STAGES, stage.name, "µs", [a for a, _ in pairs], [b for _, b in pairs if b is not None])


def _time(work: Callable[[], object], calls: int) -> float:
    began = time.thread_time()
    for _ in range(calls):
        work()
    return (time.thread_time() - began) / calls * 1e6


async def _hops(*, calls: int, rounds: int) -> list[Cost]:
    """Times what takes a turn of the loop: its floor is a future that another task waits for."""
    outlet, reader, audio = Outlet(1 << 40), _Reader(), Audio(bytes(1920), 24_000)
    waiting: list[asyncio.Future[None]] = []

    async def read() -> None:
        while True:
            await outlet.get()

    async def wait() -> None:
        while True:
            waiting.append(asyncio.get_running_loop().create_future())
            await waiting[-1]

    def wake() -> None:
        waiting.pop().set_result(None)

    ways: list[tuple[str, Callable[[], object]]] = [
        ("40 ms down: to the application's task", lambda: outlet.put(audio)),
        ("control: mailbox, hop", lambda: reader.mailbox.post(1)),
    ]
    found: list[Cost] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(reader.run)
        tasks.start_soon(wait)
        await anyio.sleep(0.01)
        for name, send in ways:
            pairs = [(await _hop(send, calls), await _hop(wake, calls)) for _ in range(rounds)]
            found.append(_cost(STAGES, name, "µs", [a for a, _ in pairs], [b for _, b in pairs]))
        tasks.cancel_scope.cancel()
    return found


async def _hop(send: Callable[[], object], calls: int) -> float:
    began = time.thread_time()
    for _ in range(calls):
        send()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return (time.thread_time() - began) / calls * 1e6


# -- session-seconds --------------------------------------------------------------------------------------------------------


class _Side(NamedTuple):
    """Sessions, or bare loops: how each is given a frame, and where its messages come in."""

    up: Sequence[Callable[[bytes], object]]
    sockets: Sequence[CountingSocket]
    heard: list[int]


async def _session_second(sessions: int, *, rounds: int) -> Cost:
    """Times so many sessions, and as many bare loops, in turns in one event loop."""
    async with _sessions(sessions) as ours, _bare(sessions) as floor:
        pairs = [(await _round(ours), await _round(floor)) for _ in range(rounds)]
    assert ours.heard[0] == floor.heard[0] > 0, "both sides heard all that came"
    name = f"{sessions} session{'s' if sessions > 1 else ''}"
    return _cost(SECONDS, name, "ms", [a for a, _ in pairs], [b for _, b in pairs])


@asynccontextmanager
async def _bare(count: int) -> AsyncGenerator[_Side]:
    provider, heard = _provider(), [0]
    sockets = [CountingSocket() for _ in range(count)]

    async def receive(one: CountingSocket, connection: Connection) -> None:
        while True:
            events = connection.receive(await one.receive())
            heard[0] += len(events)

    def sending(one: CountingSocket, connection: Connection) -> Callable[[bytes], None]:
        return lambda pcm: one.send(connection.audio(pcm))

    async with anyio.create_task_group() as tasks:
        up: list[Callable[[bytes], None]] = []
        for one in sockets:
            connection = provider.connection()
            one.sent = 1  # it is set up
            tasks.start_soon(receive, one, connection)
            up.append(sending(one, connection))
        await anyio.sleep(0.01)
        yield _Side(up, sockets, heard)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _sessions(count: int) -> AsyncGenerator[_Side]:
    transport, heard = CountingTransport(), [0]

    async def listen(session: unbroken.Session) -> None:
        async for event in session:
            heard[0] += type(event) is Audio

    async with unbroken.Runtime(transport=transport) as runtime, anyio.create_task_group() as tasks:
        target = unbroken_gemini.target("gemini-3.8-live", api_key="none")
        opened = [runtime.open(target) for _ in range(count)]
        for session in opened:
            tasks.start_soon(listen, session)
        while any(session.state != "listening" for session in opened):  # noqa: ASYNC110 - the runtime paces its dials
            await anyio.sleep(0.05)
        await anyio.sleep(0.05)
        yield _Side([session.send_audio for session in opened], transport.sockets, heard)
        tasks.cancel_scope.cancel()


async def _round(side: _Side) -> float:
    """Returns the milliseconds of a session-second."""
    count, ticks = len(side.sockets), max(4, 600 // len(side.sockets)) * 2
    began = time.thread_time()
    for tick in range(ticks):
        for send in side.up:
            send(FRAME)
        if tick % (_UP // _DOWN) == 0:
            for one in side.sockets:
                one.come(REPLY)
            for _ in range(2):  # the tasks that were woken run
                await asyncio.sleep(0)
    return (time.thread_time() - began) / ticks * _UP / count * 1e3


# -- what comes of it -------------------------------------------------------------------------------------------------------


def _cost(group: str, name: str, unit: str, found: Sequence[float], floor: Sequence[float]) -> Cost:
    return Cost(
        group=group,
        name=name,
        contender="unbroken",
        unit=unit,
        value=statistics.median(found),
        least=min(found),
        most=max(found),
        floor=statistics.median(floor) if floor else None,
        command=COMMAND,
    )


def measure(quick: bool) -> list[Cost]:  # noqa: FBT001 - the suite calls every part so
    """Returns what each stage costs.

    Args:
        quick: for being alive only; some seconds less.
    """

    async def run() -> list[Cost]:
        calls, rounds = (500, 5) if quick else (4000, 15)
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
            found = [_times(stage, calls=calls, rounds=rounds) for stage in _stages(client)]
        found += await _hops(calls=calls // 4, rounds=rounds)
        for sessions in (8,) if quick else (1, 8, 50, 150):
            found.append(await _session_second(sessions, rounds=rounds))
        return found

    return anyio.run(run)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for being alive")
    given = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("anyio", "msgspec"))
    print(f"Python {platform.python_version()} on {sys.platform}, {packages}")
    group = ""
    for cost in measure(given.quick):
        if cost.group != group:
            group = cost.group
            print(f"\n{f'{group}, {cost.unit}':50}{'median':>8}{'least':>8}{'floor':>8}{'ratio':>8}")
        floor = f"{cost.floor:8.2f}{cost.value / cost.floor:8.2f}" if cost.floor else ""
        print(f"{cost.name:50}{cost.value:8.2f}{cost.least:8.2f}{floor}")


if __name__ == "__main__":
    main()
