"""Spares in a session: opened when one may be needed, taken by the next link, and never in the way."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import msgspec
import pytest
from tests.session.stage import Call, Scripts, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.abc import Endpoint
from unbroken.config import Deadlines, Settings, Spare
from unbroken.core.fleet import Fleet
from unbroken.core.machine import Input
from unbroken.events import Event, Recovered
from unbroken.transports.websocket import WebSocketTransport

pytestmark = pytest.mark.anyio

SAID = speech(300) + quiet(300)


class Seen:
    """A session whose events are kept."""

    def __init__(self, session: unbroken.Session, it: Stage) -> None:
        self.session = session
        self.it = it
        self.events: list[Event] = []

    async def listen(self) -> None:
        async for event in self.session:
            self.events.append(event)

    @property
    def recovered(self) -> list[Recovered]:
        return [event for event in self.events if isinstance(event, Recovered)]

    @property
    def outages(self) -> int:
        return sum(isinstance(event, unbroken.OutageBegan) for event in self.events)

    def suspect(self) -> None:
        self.session._supervisor._feed(Input.SUSPECTED, anyio.current_time())


@asynccontextmanager
async def call(
    monkeypatch: pytest.MonkeyPatch, *, settings: Settings | None = None, **hosts: Scripts
) -> AsyncGenerator[Seen]:
    fleet = Fleet()
    async with stage(**hosts) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
            route = [it.target(host) for host in hosts]
            seen = Seen(runtime.open(route, settings=settings or Settings(spare="auto")), it)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(seen.listen)
                await anyio.sleep(1)
                yield seen
                await seen.session.aclose()
            await anyio.sleep(2)
        assert fleet.outstanding == 0
    assert it.network.open_ends == 0, "nothing is left open"


async def greet(call: Call) -> None:
    call.say(ready=True)
    await call.listen()


async def test_a_go_away_is_a_handover_to_a_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async def ends(call: Call) -> None:
        call.say(ready=True)
        call.reply(handle="h")
        call.say(go_away=30)
        call.say(go_away=25)
        try:
            await call.listen()
        finally:
            order.append("the old socket is closed")

    async def goes_on(call: Call) -> None:
        order.append("the setup comes")
        await greet(call)

    async with call(monkeypatch, one=[ends, goes_on]) as seen:
        await anyio.sleep(60)
        (recovered,) = seen.recovered
        assert recovered.spare
        assert recovered.planned
        assert recovered.carry == "handle"
        assert (recovered.attempts, recovered.steps.dial_ms, recovered.steps.upgrade_ms) == (1, 0.0, 0.0)
        assert len(seen.it.dials) == 2, "two announcements are one handover, with one spare"
        assert order == ["the old socket is closed", "the setup comes"]
        assert seen.it.calls[1].handle == "h"


async def test_a_suspicion_opens_a_spare_which_a_reset_makes_use_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(SAID))
        call.socket.abort()

    async with call(monkeypatch, one=[dies, greet]) as seen:
        seen.suspect()
        await anyio.sleep(1)
        assert len(seen.it.dials) == 2
        assert seen.outages == 0
        assert len(seen.it.calls) == 1, "nothing is sent on a spare"
        seen.session.send_audio(SAID)
        await anyio.sleep(1)
        assert [recovered.spare for recovered in seen.recovered] == [True]
        assert len(seen.it.dials) == 2
        assert bytes(seen.it.calls[1].heard) == SAID


async def test_a_suspicion_that_comes_to_nothing_costs_one_connection_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, one=[greet]) as seen:
        seen.suspect()
        await anyio.sleep(1)
        assert seen.it.network.open_ends == 4
        seen.suspect()
        await anyio.sleep(30)
        assert len(seen.it.dials) == 2, "it was there already, and is not opened anew when it is old"
        assert seen.it.network.open_ends == 2


async def test_a_spare_is_kept_always_and_none_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, settings=Settings(spare="always", spare_age=20.0), one=[greet]) as seen:
        await anyio.sleep(69)
        times = [at for at, _ in seen.it.dials]
        assert len(times) == 1 + 4
        assert times[2] - times[1] == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize("spare", ["auto", "always", "never"])
async def test_a_spare_is_opened_as_the_application_wants(spare: Spare, monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, settings=Settings(spare=spare), one=[greet]) as seen:
        assert len(seen.it.dials) == (2 if spare == "always" else 1)
        seen.suspect()
        await anyio.sleep(1)
        assert len(seen.it.dials) == (1 if spare == "never" else 2)


async def test_without_spares_a_go_away_is_a_handover_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends(call: Call) -> None:
        call.say(ready=True, go_away=30)
        await call.listen()

    async with call(monkeypatch, settings=Settings(spare="never"), one=[ends, greet]) as seen:
        await anyio.sleep(2)
        assert [(recovered.spare, recovered.planned) for recovered in seen.recovered] == [(False, False)]


async def test_a_documented_end_is_met_at_a_quiet_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talks(call: Call) -> None:
        call.say(ready=True)
        call.reply(handle="h")
        await call.listen()

    async with stage(one=[talks, talks]) as it:
        it.profile = msgspec.structs.replace(it.profile, lifetime=600.0)
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        settings = Settings(spare="auto")
        async with unbroken.connect(it.target(), settings=settings, transport=it.transport) as session:
            seen = Seen(session, it)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(seen.listen)
                await anyio.sleep(569)
                assert len(it.dials) == 1
                await anyio.sleep(3)
                assert [(recovered.spare, recovered.carry) for recovered in seen.recovered] == [(True, "handle")]
                assert it.dials[1][0] - it.dials[0][0] == pytest.approx(570.0, abs=0.5)
                await session.aclose()


async def dies_at_will(call: Call) -> None:
    call.say(ready=True)
    await call.hear(len(SAID))
    call.socket.abort()


async def test_a_spare_that_dies_is_no_outage_and_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, settings=Settings(spare="always"), one=[greet]) as seen:
        listener = seen.it.listeners[0]
        await listener.aclose()  # nobody listens, so that the next attempts are refused
        await anyio.sleep(25)
        before = len(seen.it.dials)
        assert seen.outages == 0
        await anyio.sleep(30)
        assert len(seen.it.dials) == before
        assert seen.outages == 0


@pytest.mark.parametrize("status", [401, 404, 429])
async def test_a_refusal_that_says_something_is_logged_and_not_met_again_in_a_loop(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="unbroken"):
        async with call(monkeypatch, settings=Settings(spare="always"), one=[greet, status]) as seen:
            await anyio.sleep(55)
            assert len(seen.it.dials) == 2
            assert seen.outages == 0
    said = [record.getMessage() for record in caplog.records if "spare" in record.getMessage()]
    assert len(said) == 1
    assert f"HTTP {status}" in said[0]
    assert "secret" not in said[0]


async def test_a_service_in_trouble_is_asked_for_a_spare_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, settings=Settings(spare="always"), one=[greet, 503]) as seen:
        await anyio.sleep(60)
        assert 4 <= len(seen.it.dials) - 1 <= 7
        assert seen.outages == 0


async def test_a_link_whose_spare_was_closed_unnoticed_is_dialled_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(call: Call) -> None:
        call.socket.abort()

    async with call(monkeypatch, one=[dies_at_will, gone, greet]) as seen:
        seen.suspect()
        await anyio.sleep(1)
        seen.session.send_audio(SAID)
        await anyio.sleep(2)
        (recovered,) = seen.recovered
        assert (recovered.spare, recovered.attempts, recovered.link) == (False, 1, 2)
        assert seen.outages == 1, "the spare's end is none"
        assert bytes(seen.it.calls[-1].heard) == SAID


async def test_what_the_peer_says_to_a_setup_on_a_spare_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(call: Call) -> None:
        call.socket.close(1011, "Internal error encountered.")

    async with call(monkeypatch, one=[dies_at_will, refuses, greet]) as seen:
        seen.suspect()
        await anyio.sleep(1)
        seen.session.send_audio(SAID)
        await anyio.sleep(5)
        assert seen.outages == 2
        assert [recovered.attempts for recovered in seen.recovered] == [2]


class _Road(anyio.abc.ByteStream):
    """A stream on a path that dies at some time: nothing comes through any more, and nobody is told."""

    def __init__(self, stream: anyio.abc.ByteStream, dies_at: float) -> None:
        self._stream = stream
        self._dies_at = dies_at

    async def receive(self, max_bytes: int = 65536) -> bytes:
        with anyio.move_on_at(self._dies_at):
            return await self._stream.receive(max_bytes)
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, item: bytes) -> None:
        if anyio.current_time() < self._dies_at:
            await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("together", [True, False], ids=["both paths died", "only the link's"])
async def test_a_spare_that_gives_no_sign_after_a_silence_is_not_trusted(
    together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(one=[greet]) as it:
        began, roads = anyio.current_time(), 0

        async def connect(host: str, port: int) -> _Road:
            nonlocal roads
            roads += 1
            dies = roads == 1 or (roads == 2 and together)
            return _Road(await it.network.connect(host, port), began + (5.0 if dies else 1e9))

        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        settings = Settings(spare="always", spare_age=100.0, deadlines=Deadlines(sign=4.0))
        transport = WebSocketTransport(connect=connect, proxy=False)
        async with unbroken.connect(it.target(), settings=settings, transport=transport) as session:
            seen = Seen(session, it)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(seen.listen)
                await anyio.sleep(6)
                await session.send_text("Hello?")
                await anyio.sleep(5)
                (recovered,) = seen.recovered
                assert recovered.spare is not together
                assert recovered.steps.setup_ms < 1000, "no setup was sent into the dark"
                await session.aclose()


async def test_no_spare_is_opened_with_a_credential_for_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it:
        provider = it.provider(it.target(), config=None)
        endpoint = Endpoint(url="ws://one/talk", single_use=True)
        asked = 0

        async def single(*, refresh: bool = False) -> Endpoint:
            nonlocal asked
            asked += 1
            return endpoint

        monkeypatch.setattr(provider, "endpoint", single)
        monkeypatch.setattr(registry, "load", lambda group, name: lambda target, *, config: provider)
        async with unbroken.connect(it.target(), settings=Settings(spare="always"), transport=it.transport) as session:
            seen = Seen(session, it)
            await anyio.sleep(10)
            seen.suspect()
            await anyio.sleep(30)
            assert len(it.dials) == 1
            assert asked == 2, "a callable is asked once more to know what it gives, and then no more"


async def test_a_failover_that_is_near_has_a_spare_on_the_next_target(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(call: Call) -> None:
        call.socket.close(1011, "Internal error encountered.")

    async with call(monkeypatch, one=[dies_at_will, fails, fails, fails], two=[greet]) as seen:
        seen.session.send_audio(SAID)
        await anyio.sleep(5)
        (recovered,) = seen.recovered
        assert recovered.failed_over
        assert recovered.spare
        assert [host for _, host in seen.it.dials] == ["one", "one", "two", "one"] or recovered.attempts == 3
        assert bytes(seen.it.calls[-1].heard) == SAID


async def test_a_storm_of_suspicions_is_no_storm_of_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, fleet = 300, Fleet(dials_per_second=50, dials_at_a_time=32)
    async with stage(one=[greet]) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
            opened = [runtime.open(it.target()) for _ in range(sessions)]
            await anyio.sleep(sessions / 50 + 2)
            assert len(it.dials) == sessions
            for session in opened:
                Seen(session, it).suspect()
            await anyio.sleep(0.5)
            late = runtime.open(it.target())
            began = anyio.current_time()
            await anyio.sleep(0.2)
            assert late.state == "listening", "a session that needs its link does not wait behind spares"
            assert anyio.current_time() - began < 1
            await anyio.sleep(20)
            spares = [at for at, _ in it.dials[sessions:]]
            assert all(later - earlier >= 1.0 for earlier, later in zip(spares, spares[26:], strict=False))
            assert fleet.outstanding == 0
            async with anyio.create_task_group() as tasks:
                for session in (*opened, late):
                    tasks.start_soon(session.aclose)
        await anyio.sleep(2)
    assert it.network.open_ends == 0
