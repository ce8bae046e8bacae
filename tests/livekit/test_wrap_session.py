"""A wrapped session through every way in which its children may end, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError, llm
from tests.livekit.scripted_models import ScriptedModel, frame

from unbroken.config import Settings
from unbroken.policies import Escalate, Retry
from unbroken.testing import virtual
from unbroken_livekit.wrapping import WrappedModel, wrap

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of LiveKit's own dependencies


@pytest.fixture
def anyio_backend() -> Any:
    return virtual("asyncio")  # LiveKit knows no other


class Call:
    """A wrapped session of two scripted models, and all that it emits."""

    def __init__(self, model: WrappedModel, first: ScriptedModel, second: ScriptedModel) -> None:
        self.model = model
        self.first = first
        self.second = second
        self.session = model.session()
        self.events: list[tuple[str, Any]] = []
        for name in ("generation_created", "error", "session_reconnected", "metrics_collected", "input_speech_started"):
            self.session.on(name, lambda *event, name=name: self.events.append((name, *event)))

    def of(self, name: str) -> list[Any]:
        return [event for kind, event in self.events if kind == name]

    @property
    def errors(self) -> list[bool]:
        return [event.recoverable for event in self.of("error")]

    async def speak(self, ms: int = 400, *, pause: int = 900) -> None:
        for loud, length in ((True, ms), (False, pause)):
            for _ in range(length // 20):
                self.session.push_audio(frame(loud=loud))
                await asyncio.sleep(0.02)


@asynccontextmanager
async def calling(
    *, first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **options: Any
) -> AsyncGenerator[Call]:
    models = ScriptedModel("a", **(first or {})), ScriptedModel("b", **(second or {}))
    call = Call(wrap(models, **options), *models)
    before = asyncio.all_tasks()
    try:
        await asyncio.sleep(0.05)
        yield call
    finally:
        await call.session.aclose()
        await call.session.aclose()
        assert asyncio.all_tasks() <= before | {asyncio.current_task()}


async def words(generation: llm.GenerationCreatedEvent) -> list[str]:
    """Each message of a generation as its text; waits until the generation is over."""
    messages: list[str] = []
    async for message in generation.message_stream:
        messages.append("".join([piece async for piece in message.text_stream]))
        assert await message.modalities
        async for _ in message.audio_stream:
            pass
    return messages


def texts(context: llm.ChatContext) -> list[str]:
    return [f"{item.role}: {item.text_content}" for item in context.messages()]


# -- failover and its errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "serves"),
    [
        (APIConnectionError("close 1011"), "ab"),
        (APIStatusError("no such model", status_code=404), "b"),
        (APIStatusError("bad key", status_code=401), "b"),
        (APIStatusError("slow down", status_code=429), "b"),
        (ConnectionRefusedError("nothing listens"), "ab"),
        (APIError("quota", body={"code": "insufficient_quota"}), "b"),
        (ValueError("a bug of a plugin"), "ab"),
    ],
    ids=repr,
)
async def test_a_dead_child_is_followed_by_another_and_its_error_is_told_as_recoverable(
    error: Exception, serves: str
) -> None:
    async with calling(first={"provider": "openai"}) as call:
        call.first.last.fail(error)
        await asyncio.sleep(2.0)
        assert len(call.first.sessions) + len(call.second.sessions) == 2
        assert call.model.model in serves
        assert call.errors == [True]
        assert call.first.sessions[0].closed
        assert len(call.of("session_reconnected")) == 1


async def test_every_decision_is_one_line_with_its_because(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="livekit.plugins.unbroken"):
        async with calling(first={"provider": "openai"}) as call:
            call.first.last.fail(APIStatusError("The model `a` does not exist", status_code=404))
            await asyncio.sleep(1.0)
    [decision] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert decision.startswith("unbroken: openai/a ended by HTTP 404")
    assert "so it fails over to scripted/b in 0.00 s: " in decision
    assert [record.message for record in caplog.records if "recovered on scripted/b" in record.message]


async def test_a_plugin_that_does_not_say_how_its_connection_ended_has_lost_it(caplog: pytest.LogCaptureFixture) -> None:
    async with calling() as call:
        call.first.last.fail(APIConnectionError("OpenAI Realtime API connection closed unexpectedly"))
        await asyncio.sleep(0.5)
    assert "(network, rule plugin-connection)" in caplog.text


async def test_where_both_are_down_it_holds_and_escalates_only_when_patience_is_over() -> None:
    down = {"fails": APIConnectionError("down")}
    async with calling(first=down, second=down, patience=30.0) as call:
        pending = call.session.generate_reply()
        await asyncio.sleep(25.0)
        assert call.errors == []
        assert not pending.done()
        await asyncio.sleep(15.0)
        [error] = call.of("error")
        assert not error.recoverable
        assert "patience" in str(error.error) or "as many as the session may try" in str(error.error)
        with pytest.raises(llm.RealtimeError):
            await pending
        call.session.push_audio(frame())
        with pytest.raises(llm.RealtimeError):
            await call.session.generate_reply()


async def test_a_service_that_comes_back_within_patience_is_found() -> None:
    down = {"fails": APIConnectionError("down")}
    async with calling(first=down, second=down) as call:
        pending = call.session.generate_reply(instructions="greet")
        await asyncio.sleep(12.0)
        call.first.fails = call.second.fails = None
        for _ in range(100):
            if call.first.sessions + call.second.sessions:
                break
            await asyncio.sleep(0.5)
        [child] = call.first.sessions + call.second.sessions
        assert [options for options, _ in child.asked] == [{"instructions": "greet"}]
        child.speak("Hello", initiated=True).end()
        assert await words(await pending) == ["Hello"]
        assert call.errors == []


class Own:
    """Retries once and gives up."""

    def decide(self, fault: Any, situation: Any) -> Any:
        if situation.attempt == 1:
            return Retry(after=0.5, carry="history", because="Once more.")
        return Escalate(advice="Call the owner.", because="Twice is enough.")


async def test_the_applications_policy_decides() -> None:
    async with calling(policy=Own()) as call:
        call.first.last.fail()
        await asyncio.sleep(0.4)
        assert len(call.first.sessions) == 1
        await asyncio.sleep(0.4)
        assert len(call.first.sessions) == 2
        call.first.last.fail()
        await asyncio.sleep(0.4)
        assert call.errors == [True, True, False]
        assert str(call.of("error")[-1].error).endswith("Twice is enough. Advice: Call the owner.")
        assert call.second.sessions == []


class Broken:
    def decide(self, fault: Any, situation: Any) -> Any:
        raise RuntimeError("a bug")


async def test_a_policy_that_fails_is_replaced() -> None:
    async with calling(policy=Broken()) as call:
        call.first.last.fail()
        await asyncio.sleep(1.0)
        assert len(call.first.sessions) + len(call.second.sessions) == 2


# -- the user's audio -------------------------------------------------------------------------------------------------


async def test_audio_is_kept_while_no_child_is_up() -> None:
    async with calling(policy=Own()) as call:
        call.first.last.fail()
        await asyncio.sleep(0.01)
        for _ in range(10):
            call.session.push_audio(frame())
        await asyncio.sleep(1.0)
        assert len(call.first.last.heard) == 10


async def test_an_unanswered_turn_is_said_again_and_an_answered_one_is_not() -> None:
    async with calling() as call:
        await call.speak(400)
        heard = len(call.first.last.heard)
        call.first.last.fail()
        await asyncio.sleep(1.0)
        after = call.first.sessions[1:] + call.second.sessions
        assert heard - 1 <= len(after[0].heard) <= heard
        after[0].speak("Yes").end()
        await asyncio.sleep(0.5)
        after[0].fail()
        await asyncio.sleep(3.0)
        assert (call.first.sessions[1:] + call.second.sessions)[1].heard == []


async def test_the_journal_has_a_bound() -> None:
    async with calling(settings=Settings(audio_max_age=2.0)) as call:
        call.first.last.fail()
        call.first.fails = call.second.fails = APIConnectionError("down")
        await asyncio.sleep(0.01)
        for _ in range(250):
            call.session.push_audio(frame())
        call.first.fails = call.second.fails = None
        await asyncio.sleep(5.0)
        last = (call.first.sessions[1:] + call.second.sessions)[-1]
        assert len(last.heard) == 100


async def test_push_audio_never_raises() -> None:
    async with calling() as call:
        call.first.last.raises = TypeError("a bug of a plugin")
        call.session.push_audio(frame())
        await call.session.aclose()
        call.session.push_audio(frame())


async def test_a_committed_turn_is_committed_again() -> None:
    async with calling() as call:
        await call.speak(200, pause=0)
        call.session.commit_audio()
        call.first.last.fail()
        await asyncio.sleep(1.0)
        after = (call.first.sessions[1:] + call.second.sessions)[0]
        assert len(after.heard) == 10
        assert after.done == ["commit"]


# -- replies ----------------------------------------------------------------------------------------------------------


async def test_a_pending_reply_is_asked_of_the_next_child_once_with_all_that_it_was_asked_by() -> None:
    async with calling() as call:
        pending = call.session.generate_reply(instructions="greet", tool_choice="auto")
        call.first.last.fail()
        await asyncio.sleep(1.0)
        after = (call.first.sessions[1:] + call.second.sessions)[0]
        assert [options for options, _ in after.asked] == [{"instructions": "greet", "tool_choice": "auto"}]
        after.speak("Hello there", initiated=True).end()
        assert await words(await pending) == ["Hello there"]
        assert texts(call.session.chat_ctx) == ["assistant: Hello there"]


async def test_a_reply_that_is_cut_goes_on_in_the_same_streams() -> None:
    async with calling() as call:
        pending = call.session.generate_reply(instructions="count")
        call.first.last.speak("one two", " three", initiated=True)
        event = await pending
        said = asyncio.create_task(words(event))
        await asyncio.sleep(0.1)
        call.first.last.fail()
        await asyncio.sleep(1.0)
        after = (call.first.sessions[1:] + call.second.sessions)[0]
        [(options, _)] = after.asked
        assert 'The caller heard "one two three"' in options["instructions"]
        assert not said.done()
        after.speak("four five", initiated=True).end()
        assert await said == ["one two three four five"]
        assert len(call.of("generation_created")) == 1
        assert texts(call.session.chat_ctx) == ["assistant: one two three four five"]


async def test_a_plugin_that_closes_the_streams_before_it_tells_of_its_end_has_cut_the_reply_too() -> None:
    async with calling() as call:
        call.first.last.speak("one two").end()
        said = asyncio.create_task(words(call.of("generation_created")[0]))
        await asyncio.sleep(0.05)
        call.first.last.fail()
        await asyncio.sleep(1.0)
        after = (call.first.sessions[1:] + call.second.sessions)[0]
        after.speak("three", initiated=True).end()
        assert await said == ["one two three"]


@pytest.mark.parametrize(("way", "asked"), [("again", 1), ("leave", 0)])
async def test_a_cut_reply_ends_cleanly_or_is_given_again_as_the_application_wants(way: Any, asked: int) -> None:
    async with calling(on_cut_reply=way) as call:
        call.first.last.speak("one two")
        said = asyncio.create_task(words(call.of("generation_created")[0]))
        await asyncio.sleep(0.1)
        call.first.last.fail()
        await asyncio.sleep(1.0)
        after = (call.first.sessions[1:] + call.second.sessions)[0]
        assert len(after.asked) == asked
        if asked:
            after.speak("one two three", initiated=True).end()
        assert await said == ["one two one two three" if asked else "one two"]


async def test_a_cut_reply_is_left_where_the_user_has_moved_on() -> None:
    async with calling(policy=Own()) as call:
        call.first.last.speak("one two")
        said = asyncio.create_task(words(call.of("generation_created")[0]))
        await asyncio.sleep(0.1)
        call.first.last.fail()
        await asyncio.sleep(0.2)
        for _ in range(20):
            call.session.push_audio(frame())
        await asyncio.sleep(1.0)
        assert await said == ["one two"]
        assert call.first.last.asked == []
        assert len(call.first.last.heard) == 20


async def test_an_interrupted_reply_is_not_gone_on_with() -> None:
    async with calling() as call:
        call.first.last.speak("one two")
        said = asyncio.create_task(words(call.of("generation_created")[0]))
        await asyncio.sleep(0.1)
        call.first.last.fail()
        call.session.interrupt()
        await asyncio.sleep(1.0)
        assert await said == ["one two"]
        assert (call.first.sessions[1:] + call.second.sessions)[0].asked == []


async def test_a_reply_cut_twice_still_goes_on() -> None:
    async with calling() as call:
        call.first.last.speak("one")
        said = asyncio.create_task(words(call.of("generation_created")[0]))
        for word in ("two", "three"):
            await asyncio.sleep(0.1)
            live = max(call.first.sessions + call.second.sessions, key=lambda s: (not s.closed, len(s.generations)))
            live.fail()
            await asyncio.sleep(4.0)
            [live] = [s for s in call.first.sessions + call.second.sessions if not s.closed]
            live.speak(word, initiated=True)
        live.generations[-1].end()
        assert await said == ["one two three"]


async def test_a_refusal_of_a_child_that_lives_is_the_applications() -> None:
    async with calling() as call:
        pending = call.session.generate_reply()
        call.first.last.asked[0][1].set_exception(llm.RealtimeError("not with this model"))
        with pytest.raises(llm.RealtimeError, match="not with this model"):
            await pending
        assert len(call.first.sessions) == 1
        again = call.session.generate_reply()
        await asyncio.sleep(0.01)
        call.first.last.speak("Yes", initiated=True).end()
        assert await words(await again) == ["Yes"]


async def test_a_request_that_nobody_wants_any_more_is_taken_back() -> None:
    async with calling() as call:
        pending = call.session.generate_reply()
        pending.cancel()
        await asyncio.sleep(0.01)
        assert call.first.last.asked[0][1].cancelled()
        await asyncio.sleep(30.0)
        assert len(call.first.sessions) == 1  # nothing is owed any more
        call.first.last.fail()
        await asyncio.sleep(1.0)
        assert (call.first.sessions[1:] + call.second.sessions)[0].asked == []


# -- children that hang -----------------------------------------------------------------------------------------------


async def ask(call: Call) -> None:
    call.session.generate_reply()


async def turn(call: Call) -> None:
    await call.speak(600)


async def reported_turn(call: Call) -> None:
    call.first.last.emit("input_speech_started", llm.InputSpeechStartedEvent())
    call.first.last.emit("input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=True))


async def stalled(call: Call) -> None:
    call.first.last.speak("one")


async def timed_out(call: Call) -> None:
    call.session.generate_reply()
    await asyncio.sleep(5.0)
    call.first.last.asked[0][1].set_exception(llm.RealtimeError("generate_reply timed out"))


async def storm(call: Call) -> None:
    for _ in range(3):
        await asyncio.sleep(0.1)
        call.first.last.connect()


HANGS: list[tuple[Callable[[Call], Awaitable[None]], float]] = [
    (ask, 9.0),
    (turn, 17.0),
    (reported_turn, 9.0),
    (stalled, 9.0),
    (timed_out, 1.0),
    (storm, 1.0),
]


@pytest.mark.parametrize(("hang", "within"), HANGS, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_a_child_that_hangs_is_replaced(hang: Callable[[Call], Awaitable[None]], within: float) -> None:
    async with calling() as call:
        await hang(call)
        assert len(call.first.sessions) + len(call.second.sessions) == 1
        await asyncio.sleep(within)
        assert len(call.first.sessions) + len(call.second.sessions) == 2
        assert False not in call.errors


async def test_a_child_that_never_connects_is_replaced_where_its_like_reported_connections() -> None:
    async with calling() as call:
        await asyncio.sleep(0.5)
        call.second.reports = call.first.reports = False
        call.first.last.fail()
        await asyncio.sleep(7.0)
        assert len(call.first.sessions) + len(call.second.sessions) == 2
        await asyncio.sleep(3.0)
        assert len(call.first.sessions) + len(call.second.sessions) == 3


async def test_a_quiet_child_that_owes_nothing_is_left_alone() -> None:
    async with calling(first={"reports": False}) as call:
        call.first.last.speak("Hello").end()
        await call.speak(0, pause=2000)
        call.first.last.emit("input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=False))
        await asyncio.sleep(120.0)
        assert len(call.first.sessions) == 1
        assert call.errors == []
