"""What applications do at odd moments: calls through a real AgentSession, in virtual time."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

from google.genai import types
from livekit import rtc
from livekit.agents import RunContext, function_tool, llm
from tests.livekit.stage import Host, call, nothing_left
from tests.simulator.caller import speech

import unbroken
from unbroken.testing import virtual
from unbroken_gemini.testing import Call
from unbroken_livekit import chat
from unbroken_livekit.sending import Sending

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of LiveKit's own dependencies
]

LONG = "One two three four five six seven eight nine ten eleven twelve."
MANUAL = types.RealtimeInputConfig(automatic_activity_detection=types.AutomaticActivityDetection(disabled=True))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual("asyncio")  # LiveKit knows no other


@pytest.fixture(autouse=True)
async def quiet() -> AsyncGenerator[None]:
    """No task is left, and asyncio has nothing to complain of."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with nothing_left():
        yield
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


class Clerk(Host):
    """Its tool takes a while, and has the caller told so if it is to."""

    def __init__(self, *, filler: bool) -> None:
        super().__init__()
        self._filler = filler

    @function_tool
    async def lookup(self, context: RunContext[None]) -> str:
        """Looks the price up."""
        await asyncio.sleep(1)
        if self._filler:
            context.session.generate_reply(instructions="say one moment")
        await asyncio.sleep(3)
        return "42 euros"


# -- The application marks the turns ---------------------------------------------------------------------------------------


async def test_the_end_of_a_marked_turn_is_answered_once_though_a_reply_is_asked_for_too() -> None:
    async with call(replies=["Answer one.", "Answer two."], realtime_input_config=MANUAL) as stage:
        for _ in range(2):
            stage.realtime.start_user_activity()
            await stage.microphone.say(speech(400))
            await stage.session.commit_user_turn()
            await asyncio.sleep(2)
        report = stage.service.report()
        assert (report.turns, report.replies, report.texts) == (2, 2, ())
    assert stage.said == ["Answer one.", "Answer two."]
    assert not any(message.interrupted for message in stage.items if isinstance(message, llm.ChatMessage))


async def test_a_reply_that_is_asked_for_after_an_interruption_in_which_nobody_spoke_is_asked_for_in_words() -> None:
    async with call(replies=[LONG], realtime_input_config=MANUAL) as stage:
        stage.session.generate_reply(instructions="speak")
        await stage.until(lambda: stage.session.agent_state == "speaking")
        await stage.session.interrupt()
        await stage.session.generate_reply()
        assert len(stage.said) == 2
        assert stage.service.report().texts[1:] == (unbroken.Wording().speak,)


# -- Tools -----------------------------------------------------------------------------------------------------------------


async def test_a_result_is_spoken_of_though_the_model_was_asked_to_speak_while_the_tool_ran() -> None:
    replies: list[Any] = [Call(name="lookup"), "One moment.", "It costs 42 euros.", "More?"]
    async with call(agent=Clerk(filler=True), replies=replies) as stage:
        await stage.speak()
        await stage.until(lambda: len(stage.said) == 2 and stage.session.agent_state == "listening")
        await asyncio.sleep(3)
        assert stage.said == ["One moment.", "It costs 42 euros."]
        [issued] = stage.service.report().calls
        assert (issued.cancelled, issued.answers) == (True, 0), "the model had withdrawn it"


async def test_nobody_is_told_of_a_result_after_the_speech_was_interrupted() -> None:
    async with call(agent=Clerk(filler=False), replies=[Call(name="lookup"), "42 euros."]) as stage:
        await stage.speak()
        await stage.until(lambda: stage.service.report().calls)
        await stage.session.interrupt()
        await asyncio.sleep(6)
        assert stage.service.report().calls[0].answers == 1
        assert stage.said == []


async def test_a_reply_that_is_asked_for_after_the_interruption_of_a_tool_is_not_dropped_with_it() -> None:
    async with call(agent=Clerk(filler=False), replies=[Call(name="lookup"), "As you like.", "More?"]) as stage:
        await stage.speak()
        await stage.until(lambda: stage.service.report().calls)
        await stage.session.interrupt()  # LiveKit waits for the tool's end
        await stage.session.generate_reply(instructions="go on")
        assert stage.said == ["As you like."]


async def test_of_two_results_of_one_call_the_last_answers_it() -> None:
    context = llm.ChatContext.empty()
    for output in ("rain", "sun"):
        context.items.append(llm.FunctionCallOutput(call_id="call", name="weather", output=output, is_error=False))
    found = chat.changes(llm.ChatContext.empty(), context, pending={"call"})
    assert [result.output for result in found.results] == ["sun"]
    assert (found.turns, found.told) == ([], [])


# -- Requests, and the session's end ---------------------------------------------------------------------------------------


async def test_who_asks_and_does_not_wait_leaves_no_error_that_nobody_looked_at() -> None:
    async with call(replies=["One.", "Two."]) as stage:
        stage.realtime.generate_reply(instructions="a")
        stage.realtime.generate_reply(instructions="b")
        await stage.until(lambda: stage.service.report().replies)
        stage.realtime.generate_reply(instructions="c")


async def test_everything_may_be_asked_of_a_session_that_has_ended() -> None:
    async with call() as stage:
        realtime = stage.realtime
        await stage.session.aclose()
        late = realtime.generate_reply(instructions="late")
        realtime.push_audio(rtc.AudioFrame(bytes(32_000), 16_000, 1, 16_000))
        for method in (realtime.commit_audio, realtime.interrupt, realtime.clear_audio, realtime.start_user_activity):
            method()
        realtime.truncate(message_id="none", modalities=["audio"], audio_end_ms=3)
        context = realtime.chat_ctx.copy()
        context.add_message(role="user", content="Hello?")
        await realtime.update_chat_ctx(context)
        await realtime.update_tools([])
        await realtime.update_instructions("Be late.")
        await realtime.aclose()
        with pytest.raises(llm.RealtimeError, match="has ended"):
            await late


async def test_what_cannot_be_built_stops_nothing_that_comes_after_it(caplog: pytest.LogCaptureFixture) -> None:
    refused: list[str] = []
    done: list[str] = []
    sending = Sending(refused.append)

    async def fails(session: unbroken.Session) -> None:
        raise TypeError("a schema of no kind")

    async def works(session: unbroken.Session) -> None:
        done.append("it")

    sending.do("a change of tools", fails)
    sending.do("a request", works)
    sending.stop()
    nobody: Any = None
    await sending.run(nobody)
    assert done == ["it"]
    assert refused == ["a change of tools was not sent: TypeError('a schema of no kind')"]
    assert "a change of tools was not sent" in caplog.text
