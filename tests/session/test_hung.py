"""Conversations that come to a halt while the connection seems well, and conversations that only seem to."""

from __future__ import annotations

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Script, Stage, quiet, speech, stage
from tests.session.test_session import greet, speak, talk, until

import unbroken
from unbroken.config import Deadlines, Settings
from unbroken.events import Event, OutageBegan, Recovered, ReplyBegan, ReplyEnded

pytestmark = pytest.mark.anyio

SAID = speech(400) + quiet(1200)
D = Deadlines()


async def halted(it: Stage, said: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[OutageBegan, float]:
    """Speaks, and goes on in silence, until a link is ended; returns why, and how long after the speech."""
    async with talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, said)
        began = anyio.current_time()
        outage = await until(session, OutageBegan)
        took = anyio.current_time() - began
        assert (await until(session, Recovered)).lost_ms == 0
        return outage, took


def rule_of(outage: OutageBegan) -> tuple[str, str, str | None]:
    return outage.fault.kind, outage.fault.rule, outage.closure.ending.cause


async def test_a_reply_that_stops_in_its_midst_is_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stalls(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(SAID))
        call.say(transcript="Tell me.")
        call.say(audio=3000)
        await call.listen()

    async with stage(one=[stalls, greet]) as it:
        outage, took = await halted(it, SAID, monkeypatch)
    assert rule_of(outage) == ("hung", "stalled-reply", "reply_stalled")
    assert took == pytest.approx(3.0 + D.reply, abs=0.2), "what has come is played first"


async def test_a_text_that_interrupts_a_reply_and_is_not_answered_is_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of what it interrupts is no answer to it."""

    async def falls_silent(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        call.say(audio=3000)
        await call.take()
        call.say(interrupted=True)
        await call.listen()

    async with stage(one=[falls_silent, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.send_text("Hello?")
        await until(session, ReplyBegan)
        await session.send_text("Are you still there?")
        began = anyio.current_time()
        outage = await until(session, OutageBegan)
        assert anyio.current_time() - began == pytest.approx(D.reply, abs=0.1)
        assert rule_of(outage) == ("hung", "silent-model", "reply_deadline")
        assert (await until(session, Recovered)).reply == "owed"


@pytest.mark.parametrize("silent", [False, True], ids=["replies always", "may be silent"])
async def test_turn_after_turn_without_a_word_is_hung_unless_the_model_may_choose_so(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def says_nothing(call: Call) -> None:
        call.say(ready=True)
        while True:
            await call.take()
            call.say(end=True)

    async with stage(one=[says_nothing]) as it:
        it.profile = msgspec.structs.replace(it.profile, may_be_silent=silent)
        async with talk(it, monkeypatch=monkeypatch) as session:
            seen: list[Event] = []
            for _ in range(3):
                await session.send_text("Are you there?")
                await anyio.sleep(20)
            if silent:
                assert len(it.calls) == 1
                return
            outage = await until(session, OutageBegan, seen)
    assert rule_of(outage) == ("hung", "empty-turns", "empty_turns")
    assert "3 turns in a row" in outage.because


async def test_a_turn_with_a_reply_between_makes_empty_turns_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    async def now_and_then(call: Call) -> None:
        call.say(ready=True)
        for turn in range(30):
            await call.take()
            if turn % 3 == 2:
                call.reply()
            else:
                call.say(end=True)
        await call.listen()

    async with stage(one=[now_and_then]) as it, talk(it, monkeypatch=monkeypatch) as session:
        for _ in range(30):
            await session.send_text("Are you there?")
            await anyio.sleep(2)
        assert len(it.calls) == 1


async def dies_with_a_handle(call: Call) -> None:
    call.say(ready=True)
    await call.hear(len(SAID))
    call.say(words="Hello.")
    call.reply(handle="poisoned")
    await anyio.sleep(2)
    call.socket.close(1011, "Internal error encountered.")


def writes_down(*, then: Script | None = None) -> Script:
    """A service that writes down what it hears, turn by turn, and gives no reply."""

    async def script(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(SAID))
        call.say(words=" Are you")
        call.say(words=" there?")
        await call.listen()

    return script


@pytest.mark.parametrize("silent", [False, True], ids=["replies always", "may be silent"])
async def test_a_handle_that_brings_back_a_mute_session_is_dropped_at_once(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(one=[dies_with_a_handle, writes_down(), greet]) as it:
        it.profile = msgspec.structs.replace(it.profile, may_be_silent=silent)
        async with talk(it, monkeypatch=monkeypatch) as session:
            await speak(session, SAID)
            await until(session, Recovered)
            await speak(session, SAID)
            began = anyio.current_time()
            outage = await until(session, OutageBegan)
            took = anyio.current_time() - began
            recovered = await until(session, Recovered)
            await anyio.sleep(1)
    assert rule_of(outage) == ("hung", "mute-handle", "reply_deadline")
    assert took < D.reply + 1
    assert recovered.carry == "history"
    assert [call.handle for call in it.calls] == [None, "poisoned", None]
    assert it.calls[2].history == [["user", "Hello. Are you there?"]], "too old to be said again, and known in words"
    assert [list(message) for message in it.calls[2].other] == [["text"]], "the model is asked for what it owes"


async def test_words_that_are_written_down_and_never_answered_are_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[writes_down(), greet]) as it:
        outage, took = await halted(it, SAID, monkeypatch)
    assert rule_of(outage) == ("hung", "unanswered-turn", "answer_deadline")
    assert took < D.answer + 1


async def test_who_asks_again_and_again_does_not_put_that_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def writes_on(call: Call) -> None:
        call.say(ready=True)
        while True:
            heard = len(call.heard)
            await call.hear(heard + len(SAID))
            call.say(words=" Hello?")

    async with (
        stage(one=[writes_on, greet]) as it,
        talk(it, monkeypatch=monkeypatch) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(speak, session, (speech(400) + quiet(5000)) * 12)
        outage = await until(session, OutageBegan)
        tasks.cancel_scope.cancel()
    assert rule_of(outage)[1] == "unanswered-turn"


async def test_a_model_that_may_be_silent_is_not_hung_for_words_that_it_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(one=[writes_down()]) as it:
        it.profile = msgspec.structs.replace(it.profile, may_be_silent=True)
        async with talk(it, monkeypatch=monkeypatch) as session:
            await speak(session, SAID)
            await anyio.sleep(300)
            assert len(it.calls) == 1


async def test_a_turn_that_noise_follows_for_ever_is_hung_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hears(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(SAID))
        call.say(transcript="What is the time?")
        await call.listen()

    async with (
        stage(one=[hears, greet]) as it,
        talk(it, monkeypatch=monkeypatch) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(speak, session, speech(90_000))
        began = anyio.current_time()
        outage = await until(session, OutageBegan)
        took = anyio.current_time() - began
        tasks.cancel_scope.cancel()
    assert rule_of(outage) == ("hung", "unanswered-turn", "answer_deadline")
    assert took < len(SAID) / 32_000 + D.noise + 2


async def test_a_monologue_that_is_written_down_as_it_goes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def follows(call: Call) -> None:
        call.say(ready=True)
        while True:
            heard = len(call.heard)
            await call.hear(heard + 32_000)
            call.say(words=" and so on")

    async with stage(one=[follows]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, (speech(6000) + quiet(1100)) * 40)
        assert len(it.calls) == 1


async def test_a_tool_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        call.say(tool="report")
        while "result" not in await call.take():
            pass
        call.reply()

    async with stage(one=[calls]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.send_text("How was the year?")
        asked = await until(session, unbroken.ToolCall)
        await session.send_text("Take your time.")
        await anyio.sleep(500)
        await session.send_tool_result(asked, {"year": "good"})
        assert (await until(session, ReplyEnded)).how == "complete"
        assert len(it.calls) == 1


@pytest.mark.parametrize("after", [100.0, 130.0])
async def test_a_model_that_thinks_is_given_its_time_and_no_more(after: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def thinks(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        with anyio.move_on_after(after):
            await call.listen()
        call.reply()
        await call.listen()

    async with stage(one=[thinks]) as it:
        it.profile = msgspec.structs.replace(it.profile, thinking=110.0)
        async with talk(it, monkeypatch=monkeypatch, settings=Settings(patience=300)) as session:
            await session.send_text("How was the year?")
            seen: list[Event] = []
            await until(session, ReplyEnded if after < 110 else OutageBegan, seen)
            assert not [event.because for event in seen[:-1] if isinstance(event, OutageBegan)]
