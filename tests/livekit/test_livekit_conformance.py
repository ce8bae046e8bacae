"""What LiveKit's own tests ask of any realtime model, in our words; docs/livekit-conformance.md lists them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

from google.genai import types
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, llm
from tests.livekit.stage import BRISK
from tests.simulator.caller import silence, speech

import unbroken_livekit
from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Reply, simulated

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.sockets,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of LiveKit's own dependencies
]

MODELS = ["gemini-3.8-live", "gemini-2.5-flash-native-audio-preview-12-2025"]
SPOKEN = stamp(speech(400) + silence(500))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


class Subject:
    """A realtime session without an AgentSession around it, and what it emitted."""

    def __init__(self, session: Any, service: SimulatedService) -> None:
        self.session = session
        self.service = service
        self.emitted: list[tuple[str, Any]] = []
        for name in (
            "generation_created",
            "input_speech_started",
            "input_speech_stopped",
            "input_audio_transcription_completed",
            "error",
        ):
            session.on(name, lambda event, name=name: self.emitted.append((name, event)))

    def of(self, name: str) -> list[Any]:
        return [event for kind, event in self.emitted if kind == name]

    async def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(3000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError("it did not come true within 30 s")

    async def speak(self) -> None:
        for start in range(0, len(SPOKEN), 640):
            piece = SPOKEN[start : start + 640]
            self.session.push_audio(rtc.AudioFrame(piece, 16_000, 1, len(piece) // 2))
            await asyncio.sleep(0.005)

    def known(self) -> list[str]:
        """All texts that the model's context holds."""
        simulator: Any = self.service.simulator
        context = simulator.links[-1].dialogue.context
        return [*context.history, *context.texts]


@asynccontextmanager
async def subject(
    model: str, *, replies: Sequence[Reply | str] = (), turn_detection_disabled: bool = False
) -> AsyncGenerator[Subject]:
    async with simulated(behaviour=BRISK, replies=replies) as service:
        options = types.HttpOptions(base_url=service.base_url, async_client_args={"ssl": service.ssl_context})
        realtime = unbroken_livekit.RealtimeModel(model, api_key="any", http_options=options)
        session = realtime.session(turn_detection_disabled=turn_detection_disabled)
        try:
            async with asyncio.timeout(60):
                yield Subject(session, service)
        finally:
            await session.aclose()
            await realtime.aclose()


async def text_of(generation: llm.GenerationCreatedEvent) -> str:
    texts: list[str] = []
    async for message in generation.message_stream:
        texts += [piece async for piece in message.text_stream]
    return "".join(texts).strip()


@function_tool
async def get_weather(city: str) -> str:
    """Tells the weather.

    Args:
        city: where.
    """
    return f"sunny in {city}"


# -- Replies that were asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_replies_one_after_the_other_follow_their_instructions(model: str) -> None:
    async with subject(model, replies=["pineapple", "papaya"]) as it:
        for word in ("pineapple", "papaya"):
            generation = await it.session.generate_reply(instructions=f"Say exactly: {word}")
            assert generation.user_initiated
            assert await text_of(generation) == word
            assert any(f"Say exactly: {word}" in text for text in it.known())
        assert await text_of(await it.session.generate_reply()), "instructions are not needed"


async def test_a_reply_is_24_khz_mono_and_says_its_modalities() -> None:
    async with subject(MODELS[0]) as it:
        generation = await it.session.generate_reply()
        messages = [message async for message in generation.message_stream]
        assert len(messages) == 1
        assert set(await messages[0].modalities) == {"audio", "text"}
        frames = [frame async for frame in messages[0].audio_stream]
        assert {(frame.sample_rate, frame.num_channels) for frame in frames} == {(24_000, 1)}
        assert sum(len(frame.data) for frame in frames) > 0


async def test_a_request_that_was_cancelled_leaves_room_for_the_next() -> None:
    async with subject(MODELS[0], replies=["one", "two"]) as it:
        withdrawn = it.session.generate_reply(instructions="Write a very long essay.")
        withdrawn.cancel()
        await asyncio.sleep(0.2)
        assert withdrawn.cancelled()
        assert await text_of(await it.session.generate_reply(instructions="Say a word.")) in ("one", "two")


async def test_an_interrupted_reply_ends_its_streams() -> None:
    async with subject(MODELS[0], replies=["one two three" + " and on" * 100 + " ten"]) as it:
        generation = await it.session.generate_reply()
        async for message in generation.message_stream:
            async for _ in message.text_stream:
                it.session.interrupt()
                break
            rest = [piece async for piece in message.text_stream]
            assert "ten" not in "".join(rest)
        assert [call async for call in generation.function_stream] == []


# -- The user speaks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_speech_is_answered_and_its_events_come_in_order(model: str) -> None:
    async with subject(model, replies=["Understood."]) as it:
        await it.speak()
        await it.until(lambda: it.of("generation_created"))
        [generation] = it.of("generation_created")
        assert not generation.user_initiated
        assert await text_of(generation) == "Understood."
        await it.until(lambda: any(event.is_final for event in it.of("input_audio_transcription_completed")))
        names = [name for name, _ in it.emitted]
        assert names.index("input_speech_started") < names.index("input_speech_stopped") < names.index("generation_created")
        final = [event for event in it.of("input_audio_transcription_completed") if event.is_final]
        assert len(final) == 1
        assert "ms]" in final[0].transcript  # the simulated service writes the positions of what it heard
        assert final[0].turn_started_at is not None


async def test_audio_of_any_shape_and_a_commit_do_no_harm() -> None:
    async with subject(MODELS[0]) as it:
        for rate, channels, samples in ((24_000, 1, 12_000), (48_000, 2, 480), (8_000, 1, 1)):
            it.session.push_audio(rtc.AudioFrame(bytes(2 * channels * samples), rate, channels, samples))
        it.session.commit_audio()
        it.session.clear_audio()
        assert await text_of(await it.session.generate_reply())
        assert it.of("error") == []


# -- The context -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_what_the_context_gained_is_known_to_the_model(model: str) -> None:
    async with subject(model) as it:
        context = it.session.chat_ctx.copy()
        context.add_message(role="user", content="My favourite number is seven")
        await it.session.update_chat_ctx(context)
        assert await text_of(await it.session.generate_reply(instructions="What is the user's favourite number?"))
        assert sum("My favourite number is seven" in text for text in it.known()) == 1
        assert [item.id for item in context.items] == [item.id for item in it.session.chat_ctx.items][: len(context.items)]


async def test_the_context_has_the_reply() -> None:
    async with subject(MODELS[0], replies=["Good day."]) as it:
        await text_of(await it.session.generate_reply())
        said = [item for item in it.session.chat_ctx.items if item.type == "message" and item.role == "assistant"]
        assert [item.text_content.strip() for item in said] == ["Good day."]


# -- Tools -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_a_call_comes_and_its_output_is_answered(model: str) -> None:
    async with subject(model) as it:
        await it.session.update_tools([get_weather])
        generation = await it.session.generate_reply(instructions='call get_weather {"city": "Paris"}')
        [call] = [call async for call in generation.function_stream]
        assert (call.name, call.arguments.replace(" ", "")) == ("get_weather", '{"city":"Paris"}')
        context = it.session.chat_ctx.copy()
        context.items.append(llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="sunny", is_error=False))
        await it.session.update_chat_ctx(context)
        assert it.session.capabilities.auto_tool_reply_generation  # hence no generate_reply for it
        await it.until(lambda: len(it.of("generation_created")) > 1)
        assert await text_of(it.of("generation_created")[-1]) == "It is done."
        [issued] = it.service.report().calls
        assert (issued.answers, issued.refused) == (1, 0)


# -- Sessions --------------------------------------------------------------------------------------------------------------


async def test_a_session_without_the_models_own_turn_detection_waits_for_the_commit() -> None:
    async with subject(MODELS[0], replies=["Yes."], turn_detection_disabled=True) as it:
        it.session.start_user_activity()
        await it.speak()
        await asyncio.sleep(0.2)
        assert it.of("generation_created") == []
        it.session.commit_audio()
        await it.until(lambda: it.of("generation_created"))
        assert await text_of(it.of("generation_created")[0]) == "Yes."
        assert it.service.report().turns == 1


async def test_the_response_id_is_on_the_message_and_on_its_metrics() -> None:
    async with simulated(behaviour=BRISK, replies=["Good day."]) as service:
        options = types.HttpOptions(base_url=service.base_url, async_client_args={"ssl": service.ssl_context})
        realtime: Any = unbroken_livekit.RealtimeModel(MODELS[0], api_key="any", http_options=options)
        async with asyncio.timeout(60), AgentSession[None](llm=realtime) as session:
            items: list[Any] = []
            metrics: list[Any] = []
            session.on("conversation_item_added", lambda event: items.append(event.item))
            session.on("metrics_collected", lambda event: metrics.append(event.metrics))
            await session.start(Agent(instructions="Greet."))
            await session.generate_reply()
            [message] = [item for item in items if item.type == "message" and item.role == "assistant"]
            assert message.id in {metric.request_id for metric in metrics if metric.type == "realtime_model_metrics"}
