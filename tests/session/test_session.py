"""A session on a stage: exact situations, in virtual time, on both backends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import msgspec
import pytest
from tests.session.stage import FRAME, Call, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.config import Settings

pytestmark = pytest.mark.anyio

E = TypeVar("E")


@asynccontextmanager
async def talk(
    it: Stage, *hosts: str, monkeypatch: pytest.MonkeyPatch, settings: Settings | None = None
) -> AsyncGenerator[unbroken.Session]:
    monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
    route = [it.target(host) for host in hosts or ("one",)]
    with anyio.fail_after(600):
        async with unbroken.connect(route, settings=settings, transport=it.transport) as session:
            yield session


async def until(session: unbroken.Session, kind: type[E], seen: list[unbroken.Event] | None = None) -> E:
    async for event in session:
        if seen is not None:
            seen.append(event)
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


async def greet(call: Call) -> None:
    call.say(ready=True)
    await call.listen()


async def speak(session: unbroken.Session, pcm: bytes) -> None:
    """Sends audio as a microphone does: 20 ms each 20 ms."""
    for at in range(0, len(pcm), FRAME):
        session.send_audio(pcm[at : at + FRAME])
        await anyio.sleep(0.02)


async def test_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    said = speech(500) + quiet(300)

    async def script(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(said))
        call.say(transcript="Hello?")
        call.reply(ms=400)
        await call.listen()

    async with stage(one=[script]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, said)
        seen: list[unbroken.Event] = []
        ended = await until(session, unbroken.ReplyEnded, seen)
        assert [type(event).__name__ for event in seen] == [
            "Connected",
            "UserTranscript",
            "ReplyBegan",
            "Audio",
            "ReplyEnded",
        ]
        assert (ended.how, ended.received_ms) == ("complete", 400)
        assert repr(session).startswith("<Session 'session-1' listening, link 1, ")
        await session.aclose()
        assert bytes(it.calls[0].heard) == said
        assert [event async for event in session] == []


async def test_what_is_sent_before_the_first_link_is_up_waits_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        session.send_audio(speech(100))
        await session.send_text("one")
        session.send_audio(speech(60)[: FRAME + 1])
        session.send_audio(speech(60)[FRAME + 1 :])
        await session.send_text("two", turn_complete=False)
        await until(session, unbroken.Connected)
        await anyio.sleep(1)
        assert [next(iter(message.values())) for message in it.calls[0].other] == ["one", "two"]
        assert bytes(it.calls[0].heard) == speech(100) + speech(60)


@pytest.mark.parametrize("end", ["reset", "1011", "fin"])
async def test_a_link_that_dies_loses_nothing_and_is_resumed_by_its_handle(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = speech(400) + quiet(1000), speech(1200)

    async def dies(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(first))
        call.say(transcript="first")
        call.reply(handle="h1")
        await call.hear(len(first) + len(second) // 2)
        if end == "reset":
            call.socket.abort()
        elif end == "fin":
            call.socket.finish()
        else:
            call.socket.close(1011, "Internal error encountered.")

    async with stage(one=[dies, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, first)
        await until(session, unbroken.ReplyEnded)
        await speak(session, second)
        outage = await until(session, unbroken.OutageBegan)
        recovered = await until(session, unbroken.Recovered)
        assert isinstance(outage.decision, unbroken.Retry)
        assert outage.because
        assert (recovered.carry, recovered.attempts, recovered.lost_ms) == ("handle", 1, 0)
        await anyio.sleep(2)
        assert [call.handle for call in it.calls] == [None, "h1"]
        everything = first + second
        known = recovered.known_position * 2
        assert known <= len(first)
        assert everything.endswith(bytes(it.calls[1].heard))
        left_out = everything[known : len(everything) - len(it.calls[1].heard)]
        assert not any(left_out), "only quiet may be left out of what the snapshot does not hold"


async def test_without_a_handle_the_conversation_crosses_as_history(monkeypatch: pytest.MonkeyPatch) -> None:
    said = speech(400) + quiet(1000)

    async def dies(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(said))
        call.say(transcript="What is the time?")
        call.reply()
        await anyio.sleep(1)
        call.socket.close(1011, "Internal error encountered.")

    async with stage(one=[dies, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, said)
        recovered = await until(session, unbroken.Recovered)
        assert (recovered.carry, recovered.lost_ms) == ("history", 0)
        assert recovered.told_ms > 0
        assert it.calls[1].history == [["user", "What is the time?"]]
        await anyio.sleep(1)
        assert not any(it.calls[1].heard), "what is told in words is not said again"


async def test_a_model_that_is_not_there_is_left_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(call: Call) -> None:
        call.socket.close(1008, "models/m is not found for API version v1beta, or is not supported for bidiGenerateContent.")

    async with stage(one=[refuses], two=[greet]) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        seen: list[unbroken.Event] = []
        recovered = await until(session, unbroken.Recovered, seen)
        assert [type(event).__name__ for event in seen] == ["OutageBegan", "Connected", "Recovered"]
        assert recovered.target == "stage/two"
        assert [host for _, host in it.dials] == ["one", "two"]


@pytest.mark.parametrize(
    ("script", "cause"),
    [("stalls before the setup", "setup_deadline"), ("answers nothing", "reply_deadline"), ("goes silent", "sign_deadline")],
)
async def test_a_link_that_hangs_is_aborted_and_replaced(script: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(call: Call) -> None:
        if cause == "setup_deadline":
            await anyio.sleep_forever()
        call.say(ready=True)
        await call.hear(len(speech(400)))
        if cause == "reply_deadline":
            await call.hear(len(speech(1500)))
            call.say(transcript="Are you there?")
            await call.listen()
        call.socket.auto_pong = False
        await call.listen()

    async with stage(one=[hangs, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, speech(400) + quiet(1200))
        outage = await until(session, unbroken.OutageBegan)
        assert (outage.fault.kind, outage.closure.ending.cause) == ("hung", cause)
        recovered = await until(session, unbroken.Recovered)
        assert recovered.lost_ms == 0
        await anyio.sleep(2)
        if cause == "reply_deadline":
            assert it.calls[1].history == [["user", "Are you there?"]]
            assert [list(message) for message in it.calls[1].other] == [["text"]], "the model is asked for what it owes"
        else:
            assert speech(400) in bytes(it.calls[1].heard)


async def test_an_announced_end_is_met_between_two_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    said = speech(400) + quiet(1000)

    async def announces(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(said))
        call.say(transcript="first")
        call.say(audio=200, go_away=50.0)
        await anyio.sleep(3)
        call.say(end=True)
        call.say(handle="h")
        await call.listen()

    async with stage(one=[announces, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, said)
        seen: list[unbroken.Event] = []
        recovered = await until(session, unbroken.Recovered, seen)
        ended = next(event for event in seen if isinstance(event, unbroken.ReplyEnded))
        assert ended.how == "complete", "the reply is not cut"
        assert (recovered.planned, recovered.carry, recovered.lost_ms) == (True, "handle", 0)
        assert seen.index(ended) < seen.index(recovered)


async def test_a_tool_result_that_outlives_its_link_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(call: Call) -> None:
        call.say(ready=True)
        call.say(handle="h")
        await call.take()
        call.say(tool="weather")
        await anyio.sleep(0.5)
        call.socket.abort()

    async with stage(one=[calls, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.send_text("What is the weather?")
        asked = await until(session, unbroken.ToolCall)
        recovered = await until(session, unbroken.Recovered)
        assert recovered.tools == (asked.call_id,)
        await session.send_tool_result(asked, {"sky": "blue"})
        await anyio.sleep(1)
        told = [message["context"] for message in it.calls[1].other if "context" in message]
        assert len(told) == 1
        assert "look_up" in told[0]
        assert "blue" in told[0]
        assert not any("result" in message for message in it.calls[1].other)


async def test_a_resumed_session_that_must_be_told_of_a_lost_call_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        call.say(handle="h")
        call.say(tool="weather")
        await anyio.sleep(0.5)
        call.socket.abort()

    async with stage(one=[calls, greet]) as it:
        it.profile = msgspec.structs.replace(it.profile, lost_calls="error_first")
        async with talk(it, monkeypatch=monkeypatch) as session:
            await session.send_text("What is the weather?")
            asked = await until(session, unbroken.ToolCall)
            session.send_audio(speech(100))
            await until(session, unbroken.Recovered)
            await session.send_tool_result(asked, {"sky": "blue"})
            await anyio.sleep(1)
            first, *rest = it.calls[1].other
            assert first["result"][0] == asked.call_id
            assert "error" in first["result"][1]
            assert [list(message) for message in rest][-1] == ["context"]


async def test_when_every_target_is_down_the_session_holds_and_then_escalates(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(patience=20)
    async with (
        stage(one=[503], two=[503]) as it,
        talk(it, "one", "two", monkeypatch=monkeypatch, settings=settings) as session,
    ):
        seen: list[unbroken.Event] = []
        began = anyio.current_time()
        with pytest.raises(unbroken.SessionEscalated) as escalated:
            async for event in session:
                seen.append(event)
                session.send_audio(speech(20))
        assert 5 <= anyio.current_time() - began <= 21
        assert isinstance(seen[-1], unbroken.Escalated)
        assert escalated.value.story is seen[-1]
        assert any(isinstance(event, unbroken.Waiting) for event in seen)
        assert {host for _, host in it.dials} == {"one", "two"}
        assert len(it.dials) < 30, "no busy loop"
        with pytest.raises(unbroken.SessionEscalated):
            await session.send_text("too late")


async def test_a_service_that_accepts_and_then_fails_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(call: Call) -> None:
        call.say(ready=True)
        call.socket.close(1011, "Internal error encountered.")

    async with stage(one=[fails], two=[greet]) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        while (await until(session, unbroken.Recovered)).target != "stage/two":
            pass
        assert [host for _, host in it.dials].count("one") == 3


async def test_an_application_that_takes_no_events_pauses_the_link_and_escalates(monkeypatch: pytest.MonkeyPatch) -> None:
    async def floods(call: Call) -> None:
        call.say(ready=True)
        while True:
            call.say(audio=1000)
            await anyio.sleep(0.1)

    settings = Settings(event_bound=200_000)
    async with stage(one=[floods]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        await anyio.sleep(60)
        with pytest.raises(unbroken.SessionEscalated, match="has not taken its events for 30 s"):
            async for _ in session:
                pass


async def test_the_bodys_exception_leaves_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it:
        with pytest.raises(KeyError, match="mine"):
            async with talk(it, monkeypatch=monkeypatch) as session:
                await until(session, unbroken.Connected)
                raise KeyError("mine")


async def test_the_iteration_ends_after_closing_and_sending_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Connected)
        await session.aclose()
        await session.aclose()
        assert session.state == "closed"
        assert [event async for event in session] == []
        with pytest.raises(unbroken.SessionClosed):
            session.send_audio(speech(20))
        with pytest.raises(unbroken.SessionClosed):
            await session.send_text("hello")


async def test_closing_does_not_wait_for_a_dead_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(call: Call) -> None:
        call.say(ready=True)
        await anyio.sleep_forever()

    async with stage(one=[deaf]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Connected)
        began = anyio.current_time()
        await session.aclose()
        assert anyio.current_time() - began <= 0.3


async def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        call.say(handle="a-very-secret-handle")
        await anyio.sleep(1)
        call.socket.abort()

    async with stage(one=[dies, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        seen: list[unbroken.Event] = []
        await until(session, unbroken.Recovered, seen)
        for text in (repr(seen), str(seen), repr(session), repr(it.target())):
            assert "secret" not in text


async def test_audio_that_waits_longer_than_the_journal_keeps_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(call: Call) -> None:
        call.say(ready=True)
        call.say(tool="weather")
        await call.listen()

    async with stage(one=[calls]) as it:
        it.profile = msgspec.structs.replace(it.profile, input_in_tool_call=False)
        async with talk(it, monkeypatch=monkeypatch, settings=Settings(journal_bound=2.0)) as session:
            asked = await until(session, unbroken.ToolCall)
            await speak(session, speech(5000))
            assert not it.calls[0].heard, "the model takes no audio during the call"
            await session.send_tool_result(asked, {"sky": "blue"})
            lost = await until(session, unbroken.AudioLost)
            await anyio.sleep(2)
            assert lost.lost_ms == pytest.approx(3000, abs=40)
            assert speech(5000).endswith(bytes(it.calls[0].heard))
            assert lost.lost_ms + len(it.calls[0].heard) / 32 == 5000, "lost or heard, and nothing twice"


async def test_a_link_cut_while_the_application_lags_does_not_escalate_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def floods(call: Call) -> None:
        call.say(ready=True)
        for _ in range(40):
            call.say(audio=1000)
        await call.listen()

    settings = Settings(event_bound=200_000, patience=500)
    async with stage(one=[floods, greet]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        await anyio.sleep(5)
        session.cut()
        await until(session, unbroken.Recovered)
        with anyio.move_on_after(60) as waited:
            await until(session, unbroken.Escalated)
        assert waited.cancelled_caught
        assert session.state == "listening"


async def test_a_flood_of_tool_calls_does_not_crash_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def floods(call: Call) -> None:
        call.say(ready=True)
        call.say(tools=2000)
        call.socket.close(1011, "Internal error encountered.")

    async with stage(one=[floods, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        recovered = await until(session, unbroken.Recovered)
        assert len(recovered.tools) > 0
        for _ in range(3000):
            session.send_audio(speech(200) + quiet(900))
        await session.aclose()


async def test_a_reply_ends_also_where_the_session_is_closed_on_a_dead_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(call: Call) -> None:
        call.say(ready=True)
        call.say(audio=500)
        await anyio.sleep_forever()

    async with stage(one=[deaf]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Audio)
        await session.aclose()
        ended = [event async for event in session]
        assert [event.how for event in ended if isinstance(event, unbroken.ReplyEnded)] == ["cut"]


async def test_the_applications_own_rules_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        call.socket.close(4242, "lunch break")

    rule = unbroken.Rule(id="lunch", codes=(4242,), fault="planned", action="escalate", because="They are at lunch.")
    async with stage(one=[dies]) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.connect(it.target(), rules=[rule], transport=it.transport) as session:
            outage = await until(session, unbroken.OutageBegan)
            assert outage.fault.rule == "lunch"
            with pytest.raises(unbroken.SessionEscalated):
                await until(session, unbroken.Connected)


@pytest.mark.parametrize("bad", [{"patience": -1}, {"attempts": 0}, {"audio_max_age": float("nan")}])
def test_bounds_that_no_session_could_keep_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(unbroken.ConfigError, match=f"Settings.{name} has to be above 0, not "):
        Settings(**bad)  # type: ignore[arg-type]


async def test_a_route_tells_its_targets_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            with pytest.raises(
                unbroken.ConfigError, match="the route names stage/one twice; tell such targets apart with label="
            ):
                runtime.open([it.target(), it.target()])
