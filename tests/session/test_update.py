"""Another configuration for a running session: by one handover, at a quiet moment, with nothing lost, as no failure."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from tests.session.stage import Call, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.abc import Endpoint, Profile
from unbroken.errors import ConfigError
from unbroken.events import Event
from unbroken.transports.websocket import WebSocketTransport

pytestmark = pytest.mark.anyio

RESUMES = Profile(platform="stage", model="m", seed_survives=True, resumes_changed=True)


async def answers(call: Call) -> None:
    """Answers each text after a while, with a handle behind it."""
    call.say(ready=True)
    while True:
        if "text" in await call.take():
            await anyio.sleep(0.5)
            call.reply(ms=20, handle=f"handle of link {call.number}")


async def until(session: AsyncIterator[Event], kind: type[Event]) -> Event:
    with anyio.fail_after(100):
        async for event in session:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__} came")


async def opened(it: Stage, runtime: unbroken.Runtime, *, config: object = "first", **options: object) -> unbroken.Session:
    session = runtime.open(it.target(), config=config, **options)  # type: ignore[arg-type]
    await until(session, unbroken.Connected)
    return session


async def talked(it: Stage, runtime: unbroken.Runtime, **options: object) -> unbroken.Session:
    session = await opened(it, runtime, **options)
    await session.send_text("Hello")
    await until(session, unbroken.ReplyEnded)
    await anyio.sleep(0.1)
    return session


def put_on(it: Stage, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    it.profile = profile
    monkeypatch.setattr(registry, "load", lambda group, name: it.provider)


async def test_an_idle_session_is_set_up_anew_at_once_and_by_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await talked(it, runtime, settings=unbroken.Settings(recoveries=1, attempts=1))
            await anyio.sleep(5)
            began = anyio.current_time()
            await session.update("second")
            outage = await until(session, unbroken.OutageBegan)
            recovered = await until(session, unbroken.Recovered)
            assert anyio.current_time() - began < 0.1
            assert isinstance(outage, unbroken.OutageBegan)
            assert isinstance(recovered, unbroken.Recovered)
            assert outage.closure.ending.cause == "update"
            assert outage.fault.kind == "planned"
            assert outage.because.startswith("The application changed the configuration")
            assert recovered.planned
            assert recovered.carry == "handle"
            assert [call.config for call in it.calls] == ["first", "second"]
            assert [call.handle for call in it.calls] == [None, "handle of link 1"]
            for number in range(3):  # it is no failure, however young the link is: more of them than a session survives
                await session.update(f"config {number}")
                await until(session, unbroken.Recovered)
            assert it.calls[-1].config == "config 2"


async def test_it_crosses_by_history_where_no_resumed_session_is_set_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, Profile(platform="stage", model="m"), monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await talked(it, runtime)
            assert session.resumable
            await session.update("second")
            recovered = await until(session, unbroken.Recovered)
            assert isinstance(recovered, unbroken.Recovered)
            assert recovered.carry == "history"
            assert it.calls[1].handle is None
            assert it.calls[1].history == [["user", "Hello"]]
            await session.send_text("Go on")
            await until(session, unbroken.ReplyEnded)
            session.cut()
            await until(session, unbroken.Recovered)
            assert it.calls[2].config == "second"


async def test_two_updates_in_a_row_cost_one_handover_after_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await talked(it, runtime)
            await session.send_text("Tell me more")
            await anyio.sleep(0.1)
            await session.update("second")
            await session.update("third")
            ended = await until(session, unbroken.ReplyEnded)
            assert isinstance(ended, unbroken.ReplyEnded)
            assert ended.how == "complete", "the reply that was asked for is not cut"
            await until(session, unbroken.Recovered)
            await anyio.sleep(30)
            assert [call.config for call in it.calls] == ["first", "third"]


@pytest.mark.parametrize(("within", "left_after"), [(0.0, 0.0), (4.0, 2.75), (20.0, 18.75)])
async def test_a_user_who_speaks_on_and_on_is_waited_for_within_bounds(
    within: float, left_after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await talked(it, runtime)
            said = speech(100)
            began = 0.0
            for number in range(300):
                session.send_audio(said)
                if number == 5:
                    began = anyio.current_time()
                    await session.update("second", within=within)
                if len(it.calls) == 2:
                    break
                await anyio.sleep(0.1)
            left = anyio.current_time() - began
            assert left_after <= left <= max(within, 0.2)
            await until(session, unbroken.Recovered)
            await anyio.sleep(1)
            assert it.calls[1].config == "second"
            if within <= 4:  # what is older is not said again (`Settings.audio_max_age`)
                assert bytes(it.calls[1].heard) == said * (number + 1)


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.3, 0.6, 0.9])
async def test_a_link_that_is_being_dialled_comes_up_as_configured(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(call: Call) -> None:
        await anyio.sleep(0.5)
        await answers(call)

    async with stage(one=[slow]) as it:
        put_on(it, RESUMES, monkeypatch)
        connect = it.network.connect

        async def late(*args: object, **options: object) -> object:
            await anyio.sleep(0.5)
            return await connect(*args, **options)  # type: ignore[arg-type]

        transport = WebSocketTransport(connect=late, proxy=False)  # type: ignore[arg-type]
        async with unbroken.Runtime(transport=transport) as runtime:
            session = runtime.open(it.target(), config="first")
            await anyio.sleep(delay)
            await session.update("second")
            await session.send_text("Hello")
            await until(session, unbroken.ReplyEnded)
            await anyio.sleep(5)
            assert it.calls[-1].config == "second"
            assert len(it.calls) == (1 if delay < 0.5 else 2), "no link is wasted where none was set up"


async def test_a_configuration_that_leads_elsewhere_does_not_go_over_the_connection_that_is_being_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(one=[answers], two=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        provide, dial = it.provider, it.network.connect

        def elsewhere(target: unbroken.Target, *, config: object) -> object:
            provider = provide(target, config=config)

            async def endpoint(*, refresh: bool = False) -> Endpoint:
                return Endpoint(url=f"ws://{config}/talk")

            monkeypatch.setattr(provider, "endpoint", endpoint)
            return provider

        async def late(*args: object, **options: object) -> object:
            await anyio.sleep(0.5)
            return await dial(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(registry, "load", lambda group, name: elsewhere)
        transport = WebSocketTransport(connect=late, proxy=False)  # type: ignore[arg-type]
        async with unbroken.Runtime(transport=transport) as runtime:
            session = runtime.open(it.target(), config="one")
            await anyio.sleep(0.1)
            await session.update("two")
            await until(session, unbroken.Connected)
            assert [call.config for call in it.calls] == ["two"]


@pytest.mark.parametrize("spare", ["auto", "always"])
async def test_with_spares_it_goes_over_one(spare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        settings = unbroken.Settings(spare=spare)  # type: ignore[arg-type]
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await talked(it, runtime, settings=settings)
            await session.update("second")
            recovered = await until(session, unbroken.Recovered)
            assert isinstance(recovered, unbroken.Recovered)
            assert recovered.spare
            assert it.calls[-1].config == "second"


async def test_targets_with_a_configuration_of_their_own_keep_it_unless_they_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = unbroken.Target(model="two", provider="stage", config="two's own")
    async with stage(one=[answers], two=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = runtime.open([own, it.target("one")], config="first")
            await until(session, unbroken.Connected)
            await session.update("second")
            await anyio.sleep(30)
            assert [call.config for call in it.calls] == ["two's own"], "nothing has changed where the session is"
            await session.update("second", targets={"stage/two": "two's new"})
            await until(session, unbroken.Recovered)
            await session.update("third")
            await anyio.sleep(30)
            assert [call.config for call in it.calls] == ["two's own", "two's new"]


async def test_what_cannot_work_is_refused_at_once_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await talked(it, runtime)
            with pytest.raises(ConfigError, match="the config is 'wrong'; expected anything else"):
                await session.update("wrong")
            with pytest.raises(ConfigError, match="the route has no target stage/three; it has stage/one"):
                await session.update("second", targets={"stage/three": "x"})
            with pytest.raises(ConfigError, match="update needs within= from 0 to 60 seconds, not 61"):
                await session.update("second", within=61)
            it.profile = Profile(platform="stage", model="m", input_rate=8000)
            with pytest.raises(ConfigError, match="takes audio at 8000 Hz, and the session goes on at 16000 Hz"):
                await session.update("second")
            await anyio.sleep(30)
            assert len(it.calls) == 1
            await session.aclose()
            with pytest.raises(unbroken.SessionClosed):
                await session.update("second")


async def test_an_update_in_a_tool_call_waits_for_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(call: Call) -> None:
        call.say(ready=True)
        while True:
            said = await call.take()
            if "text" in said:
                call.say(tool="id 1")
            elif "result" in said:
                await anyio.sleep(0.5)
                call.reply(ms=20)

    async with stage(one=[calls]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await opened(it, runtime)
            await session.send_text("Look it up")
            await until(session, unbroken.ToolCall)
            await session.update("second")
            await anyio.sleep(5)
            await session.send_tool_result("id 1", {"found": True})
            ended = await until(session, unbroken.ReplyEnded)
            assert isinstance(ended, unbroken.ReplyEnded)
            assert ended.how == "complete"
            recovered = await until(session, unbroken.Recovered)
            assert isinstance(recovered, unbroken.Recovered)
            assert recovered.tools == ()
            assert [call.config for call in it.calls] == ["first", "second"]
            assert {"result": ["id 1", {"found": True}]} in it.calls[0].other


async def test_an_outage_before_the_quiet_moment_makes_the_handover_unneeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport, random=lambda: 0.01) as runtime:
            session = await talked(it, runtime)
            session.send_audio(speech(100))
            await session.update("second")
            session.cut()
            recovered = await until(session, unbroken.Recovered)
            assert isinstance(recovered, unbroken.Recovered)
            assert not recovered.planned
            session.send_audio(quiet(1000))
            await anyio.sleep(30)
            assert [call.config for call in it.calls] == ["first", "second"]


@pytest.mark.parametrize("delay", [0.1, 1.0])
async def test_a_refusal_of_what_has_been_replaced_is_not_the_end(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(call: Call) -> None:
        await anyio.sleep(0.5)
        if call.config == "first":
            call.socket.close(1007, "Invalid argument: the voice is not known.")
        await answers(call)

    async with stage(one=[refuses]) as it:
        put_on(it, RESUMES, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = runtime.open(it.target(), config="first")
            await anyio.sleep(delay)
            if delay < 0.5:
                await session.update("second")
                await until(session, unbroken.Connected)
                assert [call.config for call in it.calls] == ["first", "second"]
            else:
                with pytest.raises(unbroken.SessionEscalated):
                    await until(session, unbroken.Connected)
