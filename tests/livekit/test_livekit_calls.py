"""Calls through a real AgentSession, on the plugin and the simulated service: as they are, and through faults.

In virtual time, over transports in memory; test_livekit_conformance.py is over TLS.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

from livekit import rtc
from livekit.agents import function_tool, llm
from tests.livekit.stage import BRISK, Cashier, Host, call, nothing_left

import unbroken
from unbroken.testing import virtual
from unbroken_gemini.testing import Call

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of LiveKit's own dependencies
]

LONG = "One two three four five six seven eight nine ten eleven twelve."


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual("asyncio")  # LiveKit knows no other


@pytest.fixture(autouse=True)
async def alone() -> AsyncGenerator[None]:
    async with nothing_left():
        yield


async def test_a_whole_conversation() -> None:
    replies: list[Any] = [
        "Good day.",
        "That I can do.",
        LONG,
        "Here I am.",
        Call(name="weather", args={"city": "Rome"}),
        "Noted.",
    ]
    async with call(replies=replies) as stage:
        await stage.session.generate_reply(instructions="greet the caller")
        assert stage.said == ["Good day."]

        await stage.speak()
        await stage.until(lambda: len(stage.said) == 2 and stage.session.agent_state == "listening")
        assert stage.said[-1] == "That I can do."
        [user] = [item for item in stage.items if isinstance(item, llm.ChatMessage) and item.role == "user"]
        assert user.text_content
        context = [item.id for item in stage.session.history.items]
        assert context.index(user.id) == context.index(stage.items[-1].id) - 1, "it stands before its answer"

        long = stage.session.generate_reply(instructions="count")
        await stage.until(lambda: stage.session.agent_state == "speaking")
        await stage.speak()
        await long
        assert long.interrupted
        await stage.until(lambda: stage.said[-1] == "Here I am." and stage.session.agent_state == "listening")
        assert stage.speaker.segments[2][1], "the interrupted segment was cut at the speaker"

        result: Any = await stage.session.run(user_input="what is it like outside?")
        result.expect.contains_function_call(name="weather", arguments={"city": "Rome"})
        result.expect.contains_message(role="assistant")
        await stage.until(lambda: stage.session.agent_state == "listening")

        ids = {item.id for item in stage.items if isinstance(item, llm.ChatMessage) and item.role == "assistant"}
        counted = {metrics.request_id for metrics in stage.metrics if getattr(metrics, "output_tokens", 0)}
        assert counted
        assert counted & ids, "metrics carry the response's id, which is the message's"
        report = stage.service.report()
        assert (report.lost_speech_ms, report.repeated_ms, len(report.links)) == (0, 0, 1)
        [weather] = report.calls
        assert weather.answers == 1
    assert stage.errors == []
    assert [event.reason.value for event in stage.closed] == ["user_initiated"]


async def test_a_handoff_brings_other_instructions_and_tools() -> None:
    async with call() as stage:
        realtime = stage.realtime
        await stage.session.run(user_input="please call to_the_cashier {}")
        await stage.until(lambda: isinstance(stage.session.current_agent, Cashier))
        assert stage.realtime is realtime, "the conversation goes on in the same session"
        await stage.until(lambda: len(stage.recovered()) == 1)
        await asyncio.sleep(0.5)
        result: Any = await stage.session.run(user_input='please call charge {"amount": 5}')
        result.expect.contains_function_call(name="charge", arguments={"amount": 5})
        assert len(stage.service.report().links) == 2
        assert stage.recovered()[0].planned
    assert stage.errors == []


async def test_a_reply_goes_on_in_the_same_speech_after_a_1011() -> None:
    async with call(replies=[LONG], faults=["1011@reply+0.4s"]) as stage:
        await stage.speak()
        await stage.until(lambda: stage.recovered() and stage.said and stage.session.agent_state == "listening")
        [recovered] = stage.recovered()
        assert recovered.reply == "continued"
        assert len(stage.said) == 1
        assert stage.said[0].startswith("One two")
        assert len(stage.speaker.segments) == 1
        [message] = [item for item in stage.items if isinstance(item, llm.ChatMessage) and item.role == "assistant"]
        assert not message.interrupted
    assert [error.recoverable for error in stage.errors] == [True]


async def test_speech_survives_a_reset_in_its_midst() -> None:
    async with call(replies=["Yes."], faults=["reset@user+0.2s"]) as stage:
        await stage.speak(900)
        await stage.until(lambda: stage.said == ["Yes."])
        report = stage.service.report()
        assert report.lost_speech_ms == 0
        assert len(report.links) == 2
        users = [item for item in stage.items if isinstance(item, llm.ChatMessage) and item.role == "user"]
        assert len(users) == 1, "what the model wrote down twice is one turn"


async def test_a_tool_pending_at_the_cut_is_called_once_and_answered() -> None:
    class Patient(Host):
        async def on_enter(self) -> None:
            self.done = asyncio.Event()

        @function_tool
        async def book(self, city: str) -> str:
            """Books a journey.

            Args:
                city: where to.
            """
            self.asked.append(city)
            await self.done.wait()
            return f"booked {city}"

    agent = Patient()
    replies = [Call(name="book", args={"city": "Oslo"}, then="It is booked.")]
    async with call(agent=agent, replies=replies, faults=["1011@tool+0.2s"]) as stage:
        await stage.speak()
        await stage.until(stage.recovered)
        agent.done.set()
        await stage.until(lambda: stage.said)
        assert stage.said == ["It is booked."]
        assert agent.asked == ["Oslo"]
        assert len(stage.service.report().links) == 2
    assert all(error.recoverable for error in stage.errors)


async def test_an_announced_end_cuts_nothing() -> None:
    async with call(replies=[LONG], faults=["goaway:3s@reply+0.2s"]) as stage:
        await stage.speak()
        await stage.until(lambda: stage.recovered() and stage.said)
        assert stage.said == [LONG]
        assert stage.recovered()[0].planned
    assert stage.errors == []


async def test_a_refused_model_gives_way_to_the_next() -> None:
    route = ("gemini-3.8-live", "gemini-3.1-flash-live-preview")
    async with call(route=route, models=["gemini-3.1-flash-live-preview"], replies=["Here."]) as stage:
        await stage.session.generate_reply(instructions="greet")
        assert stage.said == ["Here."]
        assert stage.model.model == "gemini-3.1-flash-live-preview"
        assert stage.realtime.session.state == "listening"


async def test_only_an_escalation_is_not_recoverable_and_it_carries_the_advice() -> None:
    async with call(models=["gemini-3.1-flash-live-preview"]) as stage:
        handle = stage.session.generate_reply(instructions="greet")
        await handle
        await stage.until(lambda: stage.closed)
        last = [error for error in stage.errors if not error.recoverable]
        assert len(last) == 1
        assert isinstance(last[0].error, unbroken.SessionEscalated)
        assert "Advice: " in str(last[0].error)
        assert stage.closed[0].reason.value == "error"
        assert handle.done()


async def test_a_reply_that_was_asked_for_before_the_link_ended_is_asked_for_again_once() -> None:
    slow = msgspec.structs.replace(BRISK, reply_time=(0.5, 0.5))
    async with call(replies=["Good day.", "Good day."], behaviour=slow) as stage:
        await stage.until(lambda: stage.realtime.session is not None and stage.realtime.session.state == "listening")
        handle = stage.session.generate_reply(instructions="greet")
        await asyncio.sleep(0.2)
        stage.service.inject("reset")
        await handle
        assert stage.said == ["Good day."]
        assert handle.exception() is None
        await asyncio.sleep(0.3)
        assert stage.service.report().replies == 1


async def test_audio_of_any_shape_at_any_time_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with call(replies=["Yes."], input_audio_transcription=None) as stage:
        realtime = stage.realtime
        for rate, channels in ((48_000, 2), (8_000, 1), (16_000, 1), (44_100, 1)):
            realtime.push_audio(rtc.AudioFrame(bytes(rate // 50 * channels * 2), rate, channels, rate // 50))
        await stage.speak()
        await stage.until(lambda: stage.said == ["Yes."])
        withdrawn = realtime.generate_reply(instructions="never mind")
        withdrawn.cancel()
    realtime.push_audio(rtc.AudioFrame(bytes(640), 16_000, 1, 320))
    realtime.push_video(rtc.VideoFrame(2, 2, rtc.VideoBufferType.RGBA, bytes(16)))
    late = realtime.generate_reply()
    with pytest.raises(llm.RealtimeError, match=r"^the session has ended$"):
        await late
    await realtime.aclose()
    assert [record for record in caplog.records if record.name == "livekit.plugins.unbroken"] == []
