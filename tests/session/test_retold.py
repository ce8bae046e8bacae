"""What was answered after a handle's snapshot is told to the session that it resumes, and neither said nor asked again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Script, Stage, quiet, speech, stage
from tests.session.test_session import greet, speak, talk, until

import unbroken
from unbroken.config import Settings, Wording
from unbroken.events import Event, Recovered, ReplyBegan, ReplyEnded
from unbroken.testing.service import serve
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import HARSH, Behaviour, SimulatedGemini
from unbroken_gemini.testing.link import GeminiLink

pytestmark = pytest.mark.anyio

ASKED = speech(600) + quiet(800)
MORE = speech(900)


def answers(*, words: str = "What time is it?", said: str = "Ten.", marked: bool = False, then: float = 0.5) -> Script:
    """Gives a handle, hears the user, answers, and ends before another handle comes."""

    async def play(call: Call) -> None:
        call.say(ready=True)
        call.say(handle=f"h{call.number}")
        while {"mark": "end"} not in call.other if marked else len(call.heard) < len(ASKED):
            await call.take()
        if words:
            call.say(transcript=words)
        if said:
            call.say(said=said)
        call.reply()
        await anyio.sleep(then)
        call.socket.abort()

    return play


def told(call: Call) -> list[Any]:
    return [next(iter(message.items())) for message in call.other]


@asynccontextmanager
async def spoken(
    *scripts: Script, monkeypatch: pytest.MonkeyPatch, silent: bool = True, settings: Settings | None = None
) -> AsyncGenerator[tuple[Stage, unbroken.Session]]:
    """A session in which a question was asked by speech."""
    async with stage(one=scripts) as it:
        it.profile = msgspec.structs.replace(it.profile, silent_context=silent)
        async with talk(it, monkeypatch=monkeypatch, settings=settings) as session:
            await speak(session, ASKED)
            yield it, session


async def test_an_answered_turn_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with spoken(answers(), greet, monkeypatch=monkeypatch) as (it, session):
        recovered = await until(session, Recovered)
        await anyio.sleep(20)
        assert it.calls[1].handle == "h1"
        assert told(it.calls[1]) == [("context", "What time is it?"), ("context", "Ten.")]
        assert not any(it.calls[1].heard), "it is not heard again"
        assert (recovered.carry, recovered.reply, recovered.lost_ms) == ("handle", "none", 0)
        assert recovered.told_ms == pytest.approx(1400, abs=400)
        assert recovered.replayed_ms < 500
        assert len(it.calls) == 2, "nobody waits for a reply"


async def test_a_model_that_may_answer_each_text_is_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with spoken(answers(), greet, monkeypatch=monkeypatch, silent=False) as (it, session):
        await until(session, Recovered)
        await anyio.sleep(1)
        said = 'The caller said: "What time is it?" You said: "Ten."'
        assert told(it.calls[1]) == [("context", Wording().over.replace("{said}", said))]
        assert not any(it.calls[1].heard)


async def test_without_a_transcript_it_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with spoken(answers(words=""), greet, monkeypatch=monkeypatch) as (it, session):
        recovered = await until(session, Recovered)
        await anyio.sleep(2)
        assert told(it.calls[1]) == []
        assert bytes(it.calls[1].heard).startswith(speech(600))
        assert recovered.told_ms == 0


async def test_what_is_said_after_it_is_heard_and_asks_for_the_only_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with spoken(answers(then=1.0), greet, monkeypatch=monkeypatch) as (it, session):
        await speak(session, MORE)
        await until(session, Recovered)
        await speak(session, quiet(1000))
        assert told(it.calls[1]) == [("context", "What time is it?"), ("context", "Ten.")]
        heard = bytes(it.calls[1].heard)
        assert heard.strip(b"\0").startswith(MORE[:3000].strip(b"\0"))
        assert len(heard) <= len(MORE + quiet(1000) + quiet(400)), "from its own begin, and once"


async def test_texts_requests_and_tools_are_told_and_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def replies(call: Call) -> None:
        call.say(ready=True)
        call.say(handle="h")
        await call.take()
        call.say(said="Good morning.")
        call.reply()
        await call.take()
        call.say(tool="ten")
        await call.take()
        call.say(said="It rains.")
        call.reply()
        await anyio.sleep(0.5)
        call.socket.abort()

    async with stage(one=[replies, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.ask_reply("(Greet the caller.)")
        await until(session, ReplyEnded)
        await session.send_text("How is the weather?")
        call = await until(session, unbroken.ToolCall)
        await session.send_tool_result(call, {"sky": "grey"})
        await until(session, Recovered)
        await session.send_text("And tomorrow?")
        await anyio.sleep(1)
        assert [what for what, _ in told(it.calls[1])] == ["context"] * 4 + ["text"]
        words = [text for _, text in told(it.calls[1])]
        assert words[:2] == ["Good morning.", "How is the weather?"]
        assert words[2].endswith('answered: {"sky":"grey"}')
        assert words[3:] == ["It rains.", "And tomorrow?"]


async def test_a_call_that_was_issued_again_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(**call: str) -> Script:
        async def play(link: Call) -> None:
            link.say(ready=True)
            if "tool" in call:
                link.say(handle="h")
            while not any("text" in message for message in link.other):
                await link.take()
            link.say(**call)
            if "again" in call:
                while not any("result" in message for message in link.other):
                    await link.take()
                link.say(said="It rains.")
                link.reply()
                await anyio.sleep(0.5)
            else:
                await anyio.sleep(0.2)
            link.socket.abort()

        return play

    async with stage(one=[asks(tool="ten"), asks(again="ten"), greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.send_text("How is the weather?")
        call = await until(session, unbroken.ToolCall)
        await session.send_tool_result(call, {"sky": "grey"})
        await until(session, Recovered)
        await until(session, Recovered)
        await anyio.sleep(1)
        assert it.calls[2].handle == "h"
        words = [text for _, text in told(it.calls[2])]
        assert [words[0], words[-1], len(words)] == ["How is the weather?", "It rains.", 3]


async def test_a_text_that_was_not_answered_is_sent_again_behind_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def replies(call: Call) -> None:
        call.say(ready=True)
        call.say(handle="h")
        await call.take()
        call.say(said="Good morning.")
        call.reply()
        await call.take()
        call.socket.abort()

    async with stage(one=[replies, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.send_text("Hello!")
        await until(session, ReplyEnded)
        await session.send_text("How is the weather?")
        await until(session, Recovered)
        await anyio.sleep(1)
        assert told(it.calls[1]) == [("context", "Hello!"), ("context", "Good morning."), ("text", "How is the weather?")]


@pytest.mark.parametrize(("after", "handle", "again"), [(0.0, "h1", True), (1.0, "h2", False)], ids=["at once", "later"])
async def test_a_handle_holds_what_was_told_once_the_model_can_have_read_it(
    after: float, handle: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def issues(call: Call) -> None:
        call.say(ready=True)
        with anyio.move_on_after(after):
            await call.listen()
        call.say(handle="h2")
        with anyio.move_on_after(2):
            await call.listen()
        call.socket.abort()

    async with spoken(answers(), issues, greet, monkeypatch=monkeypatch) as (it, session):
        await until(session, Recovered)
        await until(session, Recovered)
        await anyio.sleep(1)
        assert it.calls[2].handle == handle
        assert told(it.calls[2]) == (told(it.calls[1]) if again else [])
        assert not any(it.calls[2].heard)


async def test_a_turn_that_the_application_marked_is_not_marked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers(marked=True), greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Connected)
        session.send_activity("start")
        await speak(session, speech(600))
        session.send_activity("end")
        await until(session, ReplyEnded)
        session.send_activity("start")
        await speak(session, MORE)
        session.send_activity("end")
        await until(session, Recovered)
        await anyio.sleep(1)
        assert told(it.calls[1])[2:] == [("mark", "start"), ("mark", "end")]
        assert bytes(it.calls[1].heard) == MORE


async def test_a_long_ago_snapshot_is_resumed_where_all_since_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with spoken(answers(then=30.0), greet, monkeypatch=monkeypatch) as (it, session):
        recovered = await until(session, Recovered)
        await anyio.sleep(1)
        assert (recovered.carry, recovered.lost_ms) == ("handle", 0)
        assert [text for _, text in told(it.calls[1])] == ["What time is it?", "Ten."]


async def test_what_is_told_keeps_within_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(history_tokens=2)
    async with spoken(answers(), greet, monkeypatch=monkeypatch, settings=settings) as (it, session):
        await until(session, Recovered)
        await anyio.sleep(1)
        assert told(it.calls[1]) == [("context", "Ten.")]


MODELS = ("gemini-3.8-live", "gemini-3.1-flash-live-preview", "gemini-2.5-flash-native-audio-preview-12-2025")
CONFIG = {"response_modalities": ["AUDIO"], "input_audio_transcription": {}, "output_audio_transcription": {}}
TWO_TURNS = quiet(400) + speech(1000) + quiet(2500) + speech(1000) + quiet(4000)
MOMENTS = {"at rest": 3.2, "while the user speaks": 4.5, "while the model answers that": 6.2}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("moment", "harsh"),
    [*((moment, False) for moment in MOMENTS), ("while the user speaks", True)],
    ids=[*MOMENTS, "while the user speaks, harsh"],
)
async def test_by_the_services_count_nothing_is_lost_or_answered_twice(
    moment: str, harsh: bool, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service gives a handle when a link is set up and never again. Two turns; the first one was answered."""
    issue = GeminiLink._issue

    def once(link: GeminiLink, now: float) -> None:
        if link.dialogue is not None and not link.dialogue.context.turns:
            issue(link, now)

    monkeypatch.setattr(GeminiLink, "_issue", once)
    pcm = stamp(TWO_TURNS)
    behaviour = msgspec.structs.replace(HARSH if harsh else Behaviour(), setup_time=(0.1, 0.2))
    simulator = SimulatedGemini(behaviour=behaviour, replies=["One.", "Two, three, four, five."], seed=5)
    events: list[Event] = []
    async with serve(simulator, memory=True, faults=[f"reset@{MOMENTS[moment]}s"], seed=5) as service:
        service.original(pcm)
        async with unbroken.connect(service.target(model), config=CONFIG, transport=service.transport) as session:

            async def application() -> None:
                await speak(session, pcm)
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(application)
                events += [event async for event in session]
        report = service.report()
    (recovered,) = (event for event in events if isinstance(event, Recovered))
    assert (recovered.carry, recovered.lost_ms, recovered.told_ms > 900) == ("handle", 0, True)
    assert (report.lost_speech_ms, report.repeated_ms) == (0, 0)
    assert report.told_speech_ms >= 950
    cut = ["cut"] if moment == "while the model answers that" else []
    replies = [[event.reply for event in events if isinstance(event, kind)] for kind in (ReplyBegan, ReplyEnded)]
    assert replies == [[1, 2, *([3] if cut else [])]] * 2, "one answer to each turn, and one more to what was cut"
    assert [event.how for event in events if isinstance(event, ReplyEnded)] == ["complete", *cut, "complete"]
