"""What the watchdog sees of a path becomes an end of the link, in virtual time; and ten healthy hours end none."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest
from tests.session.stage import RATE, Call, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.abc import Endpoint, Socket, Transport, TransportStep
from unbroken.core.health import PathSample, Sample
from unbroken.decisions import Ending
from unbroken.messages import Judged
from unbroken.testing.roads import Pause, Road, Sender
from unbroken.watchdog import Watchdog

pytestmark = pytest.mark.anyio

HOURS = {"asyncio": 10, "trio": 10 if os.environ.get("UNBROKEN_LONG_TESTS") else 1}


class RoadSocket(Socket):
    """A socket in memory whose path is a simulated one, and whose peer takes its time with pongs."""

    def __init__(self, inner: Socket, road: Road, tasks: anyio.abc.TaskGroup, pong: Callable[[], float]) -> None:
        self._inner = inner
        self._sender = Sender(road, now=anyio.current_time())
        self._tasks = tasks
        self._pong = pong
        self._slowest: float | None = None

    @property
    def ending(self) -> Ending | None:  # type: ignore[override]
        return self._inner.ending

    def send(self, data: bytes) -> None:
        self._inner.send(data)
        self._write()

    async def receive(self) -> bytes:
        return await self._inner.receive()

    @property
    def buffered(self) -> int:
        return self._inner.buffered

    @property
    def last_received(self) -> float:
        return self._inner.last_received

    @property
    def slowest_pong(self) -> float | None:
        return self._slowest

    def ping(self) -> None:
        self._write()
        self._tasks.start_soon(self._answer_late, self._pong())

    async def _answer_late(self, after: float) -> None:
        await anyio.sleep(after)
        self._inner.ping()
        self._slowest = max(self._slowest or 0.0, after)

    def path(self) -> PathSample | None:
        self._sender.run(anyio.current_time())
        return self._sender.sample() if self.ending is None else None

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._inner.close(code, reason)

    def abort(self, ending: Ending | None = None) -> None:
        self._inner.abort(ending)

    def _write(self) -> None:
        self._sender.run(anyio.current_time())
        self._sender.write()


class RoadTransport(Transport):
    """Puts a road under each connection of another transport."""

    def __init__(
        self, inner: Transport, *, seed: int = 1, pong: tuple[float, float] = (8.0, 30.0), mobile: bool = False
    ) -> None:
        self.roads: list[Road] = []
        self._inner = inner
        self._dice = random.Random(seed)
        self._pong = pong
        self._mobile = mobile

    async def open(
        self, endpoint: Endpoint, *, tasks: anyio.abc.TaskGroup, on_step: Callable[[TransportStep], None]
    ) -> Socket:
        if self._mobile:
            road = Road(shortest=0.03, longest=0.4, jitter=0.02, loss=0.003, random=self._dice)
        else:
            road = Road(shortest=0.04, longest=0.04, random=self._dice)
        self.roads.append(road)
        inner = await self._inner.open(endpoint, tasks=tasks, on_step=on_step)
        return RoadSocket(inner, road, tasks, lambda: self._dice.uniform(*self._pong))


async def listens(call: Call) -> None:
    call.say(ready=True, handle=f"h{call.number}")
    await call.listen()


@asynccontextmanager
async def talk(
    it: Stage, transport: RoadTransport, *, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[unbroken.Session, list[unbroken.Event]]]:
    """Opens a session, and collects its events."""
    monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
    seen: list[unbroken.Event] = []
    settings = unbroken.Settings(spare="never")
    async with unbroken.connect(it.target(), transport=transport, settings=settings) as session:

        async def collect() -> None:
            async for event in session:
                seen.append(event)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect)
            await anyio.sleep(0.5)
            yield session, seen
            tasks.cancel_scope.cancel()


async def speak(session: unbroken.Session, seconds: float, *, piece: int = 20, pause: float = 1.0) -> None:
    """Speaks, and then pauses."""
    loud, soft = speech(piece), quiet(piece)
    for number in range(int((seconds + pause) * 1000 / piece)):
        session.send_audio(loud if number * piece < seconds * 1000 else soft)
        await anyio.sleep(piece / 1000)


def outages(seen: list[unbroken.Event]) -> list[unbroken.OutageBegan]:
    return [event for event in seen if isinstance(event, unbroken.OutageBegan)]


async def test_a_path_that_dies_within_speech_is_left_within_a_second_or_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[listens]) as it:
        transport = RoadTransport(it.transport)
        async with talk(it, transport, monkeypatch=monkeypatch) as (session, seen):
            await speak(session, 3.0, pause=0.0)
            transport.roads[0].pauses = [Pause(start=anyio.current_time())]
            await speak(session, 3.0)
            await anyio.sleep(5.0)
    (outage,) = outages(seen)
    assert (outage.closure.ending.cause, outage.fault.rule, outage.fault.kind) == ("path_dead", "path-dead", "network")
    assert outage.because.startswith("The path is dead though the socket is open: ")
    assert isinstance(outage.decision, unbroken.Retry)
    assert (outage.decision.carry, outage.decision.after) == ("handle", 0.0)
    (recovered,) = [event for event in seen if isinstance(event, unbroken.Recovered)]
    assert recovered.carry == "handle"
    assert 900 <= recovered.steps.detect_ms < 1300
    assert recovered.lost_ms == 0


async def test_a_short_pause_of_the_path_is_only_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[listens]) as it:
        transport = RoadTransport(it.transport)
        async with talk(it, transport, monkeypatch=monkeypatch) as (session, seen):
            for _ in range(5):
                await speak(session, 2.0, pause=0.0)
                now = anyio.current_time()
                transport.roads[0].pauses = [Pause(start=now, stop=now + 0.3)]
            await speak(session, 2.0)
    assert [type(event).__name__ for event in seen] == ["Connected"]


async def test_a_slow_pong_after_the_users_turn_ends_nothing_on_a_living_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(one=[listens]) as it:
        transport = RoadTransport(it.transport, pong=(30.0, 30.0))
        async with talk(it, transport, monkeypatch=monkeypatch) as (session, seen):
            await speak(session, 2.0)
            await anyio.sleep(300.0)
    assert not outages(seen)


async def test_a_peer_whose_process_is_gone_is_found_by_what_piles_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def falls_asleep(call: Call) -> None:
        call.say(ready=True, handle="h")
        await call.hear(RATE * 2)
        await anyio.sleep(60.0)

    async with stage(one=[falls_asleep, listens]) as it:
        transport = RoadTransport(it.transport)
        async with talk(it, transport, monkeypatch=monkeypatch) as (session, seen):
            await speak(session, 20.0)
            await anyio.sleep(5.0)
    (outage,) = outages(seen)
    assert (outage.closure.ending.cause, outage.fault.rule) == ("not_reading", "peer-reads-nothing")
    (recovered,) = [event for event in seen if isinstance(event, unbroken.Recovered)]
    assert 4000 < recovered.steps.detect_ms < 20_000, "since the last byte, when it was well yet"


async def test_a_silence_that_took_long_to_notice_leaves_time_to_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping is unanswered for longer than the session's whole patience."""

    async def answers_once(call: Call) -> None:
        call.say(ready=True, handle="h")
        with anyio.move_on_after(30.0):
            await call.listen()
        await anyio.sleep(600.0)

    async with stage(one=[answers_once, listens]) as it:
        transport = RoadTransport(it.transport, pong=(0.1, 0.1))
        async with talk(it, transport, monkeypatch=monkeypatch) as (_, seen):
            await anyio.sleep(120.0)
    (outage,) = outages(seen)
    assert outage.closure.ending.cause == "ping_timeout"
    assert [type(event).__name__ for event in seen] == ["Connected", "OutageBegan", "Recovered"]


async def test_ten_hours_on_a_mobile_road_end_no_link(monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str) -> None:
    """Every two minutes the user speaks, in pieces of 100 ms; the model says nothing for ten hours, pongs take 8 to 30 s,
    and the path stands still for 1 to 2 s in every other speech. Then it dies.

    On trio it is two hours, unless ``UNBROKEN_LONG_TESTS=1`` says otherwise: what judges the path knows no backend.
    """
    dice = random.Random(7)
    async with stage(one=[listens]) as it:
        transport = RoadTransport(it.transport, mobile=True)
        async with talk(it, transport, monkeypatch=monkeypatch) as (session, seen):
            (road,) = transport.roads
            await speak(session, 15.0, piece=100)
            for number in range(HOURS[anyio_backend_name] * 30):
                if number % 2:
                    start = anyio.current_time() + dice.uniform(0.0, 2.0)
                    stop = start + dice.uniform(1.0, 2.0)
                    road.pauses = [Pause(start=start, stop=stop, keeps=dice.random() < 0.5)]
                await speak(session, 90.0 if number % 50 == 0 else 8.0, piece=100)
                await anyio.sleep(110.0)
            assert [type(event).__name__ for event in seen] == ["Connected"]
            road.pauses = [Pause(start=anyio.current_time())]
            await speak(session, 20.0, piece=100)
    assert [outage.closure.ending.cause for outage in outages(seen)] == ["path_dead"]


# -- the watchdog itself -------------------------------------------------------------------------------------------------


class Watched:
    """A link that is looked at."""

    def __init__(self, number: int = 1, *, path: bool = True) -> None:
        self.number = number
        self.open = True
        self.index = 0
        self.unacked = 0
        self.looks = 0
        self.pings = 0
        self.path = path
        self.broken = False
        self.silent_for = 0.0

    def look(self, now: float) -> Sample:
        self.looks += 1
        if self.broken:
            raise RuntimeError("a bug in a transport")
        path = PathSample(unacked=self.unacked, since_ack=0.0, rtt=0.04, rtt_var=0.0, delivered=0, sent=self.looks)
        return Sample(now=now, path=path if self.path else None, silent_for=self.silent_for)

    def ping(self) -> None:
        self.pings += 1


@asynccontextmanager
async def watched(*links: Watched) -> AsyncGenerator[list[Judged]]:
    watchdog, told = Watchdog(), list[Judged]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.run)
        await anyio.sleep(5.0)
        for link in links:
            watchdog.watch(link, told.append)
        yield told
        tasks.cancel_scope.cancel()


async def test_a_link_is_looked_at_often_only_while_something_is_under_way() -> None:
    rests, waits, sends, blind = Watched(), Watched(), Watched(), Watched(path=False)
    waits.unacked = blind.unacked = 1
    async with watched(rests, waits, sends, blind):
        for _ in range(1000):
            sends.index += 1
            await anyio.sleep(0.02)
    assert rests.looks == pytest.approx(20, abs=2)
    assert blind.looks == pytest.approx(20, abs=2)
    assert waits.looks == pytest.approx(400, abs=8)
    assert sends.looks == pytest.approx(400, abs=8)


async def test_each_change_for_the_worse_is_told_once() -> None:
    link = Watched()
    link.unacked = 20
    async with watched(link) as told:
        await anyio.sleep(5.0)
    assert [(judged.link, judged.cause) for judged in told] == [(1, None), (1, "path_dead")]
    assert told[0].because < told[1].because


async def test_a_silent_link_is_pinged_and_a_closed_one_is_forgotten() -> None:
    link = Watched()
    async with watched(link):
        link.silent_for = 10.0
        await anyio.sleep(3.0)
        assert link.pings == 1
        link.open = False
        looks = link.looks
        await anyio.sleep(10.0)
        assert link.looks == looks


async def test_a_link_that_cannot_be_watched_is_left_alone_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    broken, other = Watched(1), Watched(2)
    broken.broken = True
    async with watched(broken, other):
        await anyio.sleep(10.0)
    assert broken.looks == 1
    assert other.looks == pytest.approx(10, abs=1)
    assert "cannot be watched" in caplog.text
