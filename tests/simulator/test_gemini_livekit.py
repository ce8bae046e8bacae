"""The simulated service is right because others say so: LiveKit's google plugin holds a session with it, without a room."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.genai import types
from tests.simulator.caller import silence, speech

from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Behaviour, simulated

pytest.importorskip("livekit.plugins.google", reason="install the dependency group `test` for LiveKit's google plugin")

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, llm
from livekit.plugins import google

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.sockets,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of LiveKit's own dependencies
]

SOON = Behaviour(setup_time=(0.0, 0.01), reply_time=(0.05, 0.06), word_time=0.05, ahead=1.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


def model_of(service: SimulatedService, model: str) -> Any:
    options = types.HttpOptions(
        base_url=service.base_url, async_client_args={"ssl": service.ssl_context, "proxy": None, "max_queue": None}
    )
    return google.realtime.RealtimeModel(model=model, api_key="any", http_options=options)


@asynccontextmanager
async def listening(service: SimulatedService, model: str) -> AsyncGenerator[tuple[Any, list[Any]]]:
    """A realtime session, and what it emits of the user's transcripts, the model's generations and its errors."""
    session = model_of(service, model).session()
    events: list[Any] = []
    for name in ("input_audio_transcription_completed", "generation_created", "error"):
        session.on(name, events.append)
    try:
        async with asyncio.timeout(60):
            yield session, events
    finally:
        await session.aclose()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("the condition did not come true within 30 s")


def is_live(service: SimulatedService, number: int) -> bool:
    links = service.report().links
    return len(links) >= number and links[number - 1].live


async def speak(session: Any, pcm: bytes) -> None:
    for start in range(0, len(pcm), 640):
        piece = pcm[start : start + 640]
        session.push_audio(rtc.AudioFrame(piece, sample_rate=16_000, num_channels=1, samples_per_channel=len(piece) // 2))
        await asyncio.sleep(0.002)


async def text_of(generation: Any) -> str:
    texts: list[str] = []
    async for message in generation.message_stream:
        texts += [piece async for piece in message.text_stream]
    return "".join(texts)


@pytest.mark.parametrize("model", ["gemini-2.5-flash-native-audio-preview-12-2025", "gemini-3.8-live"])
async def test_it_speaks_and_is_answered(model: str) -> None:
    async with simulated(behaviour=SOON, replies=["Understood."]) as service, listening(service, model) as (session, events):
        await until(lambda: is_live(service, 1))  # the plugin drops what is said before
        await speak(session, stamp(speech(600) + silence(800)))
        await until(lambda: any(isinstance(event, llm.GenerationCreatedEvent) for event in events))
        generation = next(event for event in events if isinstance(event, llm.GenerationCreatedEvent))
        assert (await text_of(generation)).strip() == "Understood."
        report = service.report()
        assert report.turns == 1
        assert report.repeated_ms == report.reordered_ms == 0
        assert report.links[0].model == model


async def test_it_calls_tools_in_an_agent_session() -> None:
    class Assistant(Agent):
        def __init__(self) -> None:
            super().__init__(instructions="Help.")

        @function_tool
        async def weather(self, city: str) -> str:
            """Tells the weather.

            Args:
                city: where.
            """
            return f"rain in {city}"

    async with simulated(behaviour=SOON) as service:
        model = model_of(service, "gemini-2.5-flash-native-audio-preview-12-2025")
        async with asyncio.timeout(60), AgentSession[None](llm=model) as session:
            await session.start(Assistant())
            result: Any = await session.run(user_input='please call weather {"city": "Paris"}')
            result.expect.contains_function_call(name="weather", arguments={"city": "Paris"})
            result.expect.contains_message(role="assistant")
        [call] = service.report().calls
        assert (call.name, call.args, call.answers) == ("weather", {"city": "Paris"}, 1)


async def test_it_resumes_by_handle_after_an_end_that_it_did_not_want() -> None:
    async with (
        simulated(behaviour=SOON) as service,
        listening(service, "gemini-2.5-flash-native-audio-preview-12-2025") as (session, events),
    ):
        await until(lambda: is_live(service, 1))
        await speak(session, stamp(speech(600) + silence(800)))
        await until(lambda: service.report().replies > 0)
        await asyncio.sleep(0.2)  # the handle after the turn
        service.inject("1011")
        await until(lambda: is_live(service, 2))
        assert service.report().links[1].resumed
        assert [e.recoverable for e in events if isinstance(e, llm.RealtimeModelError)] == [True]
