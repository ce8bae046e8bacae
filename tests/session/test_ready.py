"""A session that is set up ahead at the target of a failover: what it saves, and how little it may disturb."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Scripts, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.abc import Endpoint
from unbroken.config import Deadlines, Settings
from unbroken.core.fleet import Fleet
from unbroken.decisions import Closure, Ending, Fault
from unbroken.events import AudioLost, Event, OutageBegan, Recovered, Turn

pytestmark = pytest.mark.anyio

SAID = speech(300) + quiet(300)
TOLD = [Turn(role="user", text="I am Ada."), Turn(role="model", text="Hello Ada.")]
SLOW = 0.4
"""Seconds that the second target takes for a setup: what a failover to it costs where nothing was set up ahead."""


class Seen:
    def __init__(self, session: unbroken.Session, it: Stage, fleet: Fleet) -> None:
        self.session = session
        self.it = it
        self.fleet = fleet
        self.events: list[Event] = []

    async def listen(self) -> None:
        async for event in self.session:
            self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def hosts(self) -> list[str]:
        return [host for _, host in self.it.dials]


@asynccontextmanager
async def call(
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: Settings | None = None,
    lifetime: float | None = None,
    groups: dict[str, str] | None = None,
    **hosts: Scripts,
) -> AsyncGenerator[Seen]:
    fleet = Fleet()
    async with stage(**hosts) as it:
        it.profile = msgspec.structs.replace(it.profile, lifetime=lifetime)
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
            route = [it.target(host, quota_group=(groups or {}).get(host)) for host in hosts]
            session = runtime.open(route, settings=settings or Settings(spare="ready"), history=TOLD)
            seen = Seen(session, it, fleet)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(seen.listen)
                await anyio.sleep(2)
                yield seen
                await session.aclose()
            await anyio.sleep(2)
        assert fleet.outstanding == 0
    assert it.network.open_ends == 0, "nothing is left open"


async def greet(call: Call) -> None:
    call.say(ready=True)
    await call.listen()


async def greet_slowly(call: Call) -> None:
    await anyio.sleep(SLOW)
    await greet(call)


def ends(how: Callable[[Call], Any], *, hears: int = len(SAID)) -> Callable[[Call], Awaitable[None]]:
    async def script(call: Call) -> None:
        call.say(ready=True)
        await call.hear(hears)
        how(call)
        await anyio.sleep(0.2)

    return script


def refuses(call: Call) -> None:
    call.socket.close(1008, "models/one is not found for API version v1beta, or is not supported for bidiGenerateContent.")


@pytest.mark.parametrize(
    "how",
    [
        refuses,
        lambda call: call.socket.close(1011, "You exceeded your current quota, please check your plan and billing details."),
    ],
    ids=["model", "quota"],
)
async def test_a_failover_waits_for_no_round_trip(how: Callable[[Call], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    times: dict[str, float] = {}

    def strikes(call: Call) -> None:
        times["the end"] = anyio.current_time()
        how(call)

    async def hears(call: Call) -> None:
        await anyio.sleep(SLOW)
        call.say(ready=True)
        await call.hear(1)
        times["the first audio"] = anyio.current_time()
        await call.listen()

    async with call(monkeypatch, one=[ends(strikes)], two=[hears]) as seen:
        assert seen.hosts == ["one", "two"]
        two = seen.it.calls[1]
        assert (two.seeded, two.history, two.other) == (True, [], []), "announced, and nothing said"
        seen.session.send_audio(SAID)
        await anyio.sleep(2)
        assert times["the first audio"] == pytest.approx(times["the end"], abs=1e-6)
        assert bytes(two.heard) == SAID
        assert two.history == [[turn.role, turn.text] for turn in TOLD]
        (recovered,) = seen.of(Recovered)
        assert (recovered.failed_over, recovered.spare, recovered.carry, recovered.attempts) == (True, True, "history", 1)
        assert (recovered.steps.setup_ms, recovered.steps.dial_ms, recovered.steps.wait_ms) == (0.0, 0.0, 0.0)
        assert not seen.of(AudioLost)
        assert seen.hosts == ["one", "two"]


async def test_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, settings=Settings(spare="auto"), one=[ends(refuses)], two=[greet_slowly]) as seen:
        assert seen.hosts == ["one"]
        seen.session.send_audio(SAID)
        await anyio.sleep(1)
        (recovered,) = seen.of(Recovered)
        assert (recovered.spare, recovered.steps.setup_ms) == (False, pytest.approx(SLOW * 1000))


async def test_without_another_target_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, one=[greet]) as seen:
        await anyio.sleep(60)
        assert seen.hosts == ["one"]


async def test_none_waits_where_the_calls_own_quota_would_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"one": "shared", "two": "shared", "three": "own"}
    async with call(monkeypatch, groups=groups, one=[greet], two=[greet], three=[greet]) as seen:
        await anyio.sleep(60)
        assert seen.hosts == ["one", "three"]


async def test_after_a_failover_the_next_one_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(
        monkeypatch, one=[ends(refuses)], two=[ends(refuses, hears=2 * len(SAID))], three=[greet_slowly]
    ) as seen:
        for _ in range(2):
            seen.session.send_audio(SAID)
            await anyio.sleep(15)
        assert seen.hosts == ["one", "two", "three"]
        assert [(recovered.target, recovered.steps.setup_ms) for recovered in seen.of(Recovered)] == [
            ("stage/two", 0.0),
            ("stage/three", 0.0),
        ]


async def test_what_it_hears_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talks(call: Call) -> None:
        call.say(ready=True, handle="of nothing", words="who said that?")
        call.say(handle="of nothing at all", go_away=600)
        await call.hear(len(SAID))
        call.socket.abort()

    async with call(monkeypatch, one=[ends(refuses)], two=[talks, greet]) as seen:
        await anyio.sleep(20)
        assert not seen.of(unbroken.UserTranscript)
        seen.session.send_audio(SAID)
        await anyio.sleep(5)
        assert [recovered.target for recovered in seen.of(Recovered)] == ["stage/two", "stage/two"]
        last = seen.it.calls[-1]
        assert (last.handle, bytes(last.heard)) == (None, SAID), "a handle from before the history holds nothing of the call"


async def test_it_is_set_up_anew_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, lifetime=None, one=[greet], two=[greet]) as seen:
        await anyio.sleep(302)
        times = [at for at, host in seen.it.dials if host == "two"]
        assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([300.0], abs=1)
        assert not seen.of(OutageBegan)


async def test_a_failover_while_an_old_one_is_being_closed_does_not_take_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaves_our_close_unanswered(call: Call) -> None:
        call.say(ready=True)
        with anyio.move_on_after(299):
            await call.listen()
        await anyio.sleep(30)

    async def struck_meanwhile(call: Call) -> None:
        call.say(ready=True)
        await call.hear(1)
        await anyio.sleep(0.1)
        times.append(anyio.current_time())
        refuses(call)
        await anyio.sleep(0.2)

    times: list[float] = []
    async with call(monkeypatch, one=[struck_meanwhile], two=[leaves_our_close_unanswered, greet]) as seen:
        await anyio.sleep(298)
        assert seen.hosts == ["one", "two"]
        seen.session.send_audio(SAID)
        await anyio.sleep(5)
        (recovered,) = seen.of(Recovered)
        assert (recovered.target, recovered.spare, recovered.attempts) == ("stage/two", False, 1)
        dialled = [at for at, _ in seen.it.dials][2:]
        assert dialled == pytest.approx(times), "nobody waited for the old one's farewell"
        assert 300 < times[0] < 300 + Deadlines().close
        assert bytes(seen.it.calls[2].heard) == SAID


async def test_half_of_the_services_own_bound_is_left_to_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reports(call: Call) -> None:
        call.say(ready=True)
        call.reply(handle="h")
        await call.listen()

    scripts: Scripts = [ends(refuses)]
    async with call(monkeypatch, lifetime=600.0, one=scripts, two=[reports]) as seen:
        await anyio.sleep(198)
        seen.session.send_audio(SAID)
        await anyio.sleep(360)
        assert seen.hosts[-1] == "two"
        assert len(seen.of(Recovered)) == 1
        await anyio.sleep(20)
        assert len(seen.of(Recovered)) == 2, "its documented end counts from its setup, not from when it became the link"


async def test_an_announced_end_is_met_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaves(call: Call) -> None:
        call.say(ready=True)
        await anyio.sleep(70)
        call.say(go_away=50)
        await call.listen()

    async with call(monkeypatch, one=[greet], two=[leaves, greet]) as seen:
        await anyio.sleep(65)
        assert seen.hosts == ["one", "two"]
        await anyio.sleep(6)
        assert seen.hosts == ["one", "two", "two"]
        assert seen.it.network.open_ends == 4, "the old one is closed"
        assert not seen.of(OutageBegan)


async def test_an_end_that_is_far_is_told_to_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaves(call: Call) -> None:
        call.say(ready=True, go_away=300)
        await call.listen()

    async with call(monkeypatch, one=[ends(refuses)], two=[leaves, greet]) as seen:
        await anyio.sleep(100)
        seen.session.send_audio(SAID)
        await anyio.sleep(130)
        assert seen.hosts == ["one", "two"]
        await anyio.sleep(30)
        assert len([host for host in seen.hosts if host == "two"]) >= 2, "it is left from a minute before its end on"


async def test_one_that_dies_is_no_outage_and_comes_again_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        await anyio.sleep(20)
        call.socket.abort()

    async with call(monkeypatch, one=[greet], two=[dies]) as seen:
        await anyio.sleep(300)
        times = [at for at, host in seen.it.dials if host == "two"]
        waits = [later - earlier - 20 for earlier, later in pairwise(times)]
        assert waits == sorted(waits)
        assert 5 <= len(times) <= 8
        assert not seen.of(OutageBegan)
        (two,) = seen.fleet.view(seen.session._supervisor._situation(anyio.current_time())).targets[1:]
        assert (two.breaker, two.failures) == ("closed", 0), "services may drop sessions in which nothing is said"


async def test_targets_that_refuse_it_are_known_to_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(call: Call) -> None:
        call.socket.close(1011, "Internal error encountered.")

    async with call(monkeypatch, one=[greet], two=[fails], three=[greet]) as seen:
        await anyio.sleep(60)
        assert seen.hosts.count("two") == 5, "then its breaker is open"
        assert seen.hosts[-1] == "three"
        assert not seen.of(OutageBegan)


async def test_a_refusal_that_says_something_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuses_key(call: Call) -> None:
        call.socket.close(1007, "API key not valid. Please pass a valid API key.")

    async with call(monkeypatch, one=[greet], two=[refuses_key]) as seen:
        await anyio.sleep(50)
        assert seen.hosts == ["one", "two"]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "no spare can be set up at stage/two" in caplog.text
        await anyio.sleep(30)
        assert seen.hosts == ["one", "two", "two"], "after a minute it is tried again"


async def test_where_failovers_would_lead_elsewhere_it_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, one=[greet], two=[greet], three=[greet]) as seen:
        await anyio.sleep(20)
        assert seen.hosts == ["one", "two"]
        target, fault = seen.session._supervisor._targets[1], Fault(kind="server", rule="r", because="b")
        for _ in range(5):
            cut = Closure(phase="setup", ending=Ending(code=1011))
            seen.fleet.note(fault, cut, target=target, now=anyio.current_time())
        await anyio.sleep(10)
        assert seen.hosts == ["one", "two", "three"]
        assert seen.it.network.open_ends == 4


async def test_another_configuration_sets_it_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, one=[greet], two=[greet]) as seen:
        await anyio.sleep(5)
        await seen.session.update("another")
        await anyio.sleep(30)
        two = [made.config for made, host in zip(seen.it.calls, seen.hosts, strict=True) if host == "two"]
        assert two == [None, "another"]
        assert seen.it.network.open_ends == 4


async def test_a_credential_for_one_connection_is_not_spent_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet], two=[greet]) as it:
        asked: list[str] = []

        def load(target: unbroken.Target, *, config: Any) -> Any:
            provider = it.provider(target, config=config)

            async def single(*, refresh: bool = False) -> Endpoint:
                asked.append(target.model)
                return Endpoint(url=f"ws://{target.model}/talk", single_use=True)

            monkeypatch.setattr(provider, "endpoint", single)
            return provider

        monkeypatch.setattr(registry, "load", lambda group, name: load)
        route = [it.target("one"), it.target("two")]
        async with unbroken.connect(route, settings=Settings(spare="ready"), transport=it.transport):
            await anyio.sleep(100)
            assert [host for _, host in it.dials] == ["one"]
            assert asked == ["one", "two"], "it is asked once, and then no more"


async def test_one_that_is_dead_at_the_failover_is_dialled_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets: list[Call] = []

    async def waits(call: Call) -> None:
        sockets.append(call)
        await greet(call)

    def both(call: Call) -> None:
        sockets[0].socket.abort()
        refuses(call)

    async with call(monkeypatch, one=[ends(both)], two=[waits]) as seen:
        seen.session.send_audio(SAID)
        await anyio.sleep(5)
        (recovered,) = seen.of(Recovered)
        assert (recovered.target, recovered.spare, recovered.attempts) == ("stage/two", False, 1)
        assert bytes(seen.it.calls[-1].heard) == SAID


async def test_a_setup_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(call: Call) -> None:
        await call.listen()

    settings = Settings(spare="ready", deadlines=Deadlines(setup=3.0))
    async with call(monkeypatch, settings=settings, one=[ends(refuses)], two=[hangs, greet]) as seen:
        seen.session.send_audio(SAID)
        await anyio.sleep(1)
        (recovered,) = seen.of(Recovered)
        assert not recovered.spare, "what is set up in part is not waited for"


async def test_it_neither_waits_nor_takes_a_turn_where_many_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, fleet = 12, Fleet(dials_per_second=4)
    async with stage(one=[ends(refuses)], two=[greet]) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
            settings = Settings(spare="ready")
            opened = [runtime.open([it.target("one"), it.target("two")], settings=settings) for _ in range(sessions)]
            seen = [Seen(session, it, fleet) for session in opened]
            async with anyio.create_task_group() as tasks:
                for one in seen:
                    tasks.start_soon(one.listen)
                await anyio.sleep(30)
                assert len(it.dials) == 2 * sessions
                for session in opened:
                    session.send_audio(SAID)
                await anyio.sleep(0.5)
                assert [recovered.steps.wait_ms for one in seen for recovered in one.of(Recovered)] == [0.0] * sessions
                for session in opened:
                    tasks.start_soon(session.aclose)
        assert fleet.outstanding == 0
    await anyio.sleep(1)
    assert it.network.open_ends == 0


async def test_what_gave_no_sign_of_life_in_time_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, one=[greet], two=[greet]) as seen:
        ready = seen.session._supervisor.spares.ready
        assert ready.at(1)
        assert ready.take(1, since=anyio.current_time() + 1) is None
        await anyio.sleep(0.1)
        assert not ready.at(1)
        assert seen.it.network.open_ends == 2, "it is closed"
        await anyio.sleep(15)
        assert ready.at(1), "and another one is set up"


async def test_a_path_that_dies_under_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def goes_silent(call: Call) -> None:
        call.say(ready=True)
        monkeypatch.setattr(call.socket, "receive", anyio.sleep_forever)  # so that no ping is answered, either
        await call.socket.receive()

    async with call(monkeypatch, one=[greet], two=[goes_silent, greet]) as seen:
        await anyio.sleep(50)
        assert seen.hosts == ["one", "two"]
        await anyio.sleep(30)
        assert seen.hosts == ["one", "two", "two"]
        assert not seen.of(OutageBegan)


async def test_a_codec_that_fails_on_it_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(one=[greet], two=[greet]) as it:

        def load(group: str, name: str) -> Any:
            def make(target: unbroken.Target, *, config: Any) -> Any:
                provider = it.provider(target, config=config)
                if target.model == "two":
                    monkeypatch.setattr(provider, "connection", lambda: 1 / 0)
                return provider

            return make

        monkeypatch.setattr(registry, "load", load)
        route = [it.target("one"), it.target("two")]
        async with unbroken.connect(route, settings=Settings(spare="ready"), transport=it.transport) as session:
            await anyio.sleep(100)
            assert session.state == "listening"
            assert [host for _, host in it.dials] == ["one", "two"], "it is not tried again"
            assert "a spare that was set up failed with ZeroDivisionError" in caplog.text


async def test_a_session_that_closes_meanwhile_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(call: Call) -> None:
        await call.listen()

    async with call(monkeypatch, one=[greet], two=[hangs]) as seen:
        assert seen.it.network.open_ends == 4
        assert seen.fleet.outstanding == 1, "it is being set up"
