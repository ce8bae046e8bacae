"""livekit's google plugin, wrapped, in a real `AgentSession` over two simulated services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.genai import types
from tests.simulator.caller import silence, speech

from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Behaviour, Call, Reply, simulated

pytest.importorskip("livekit.plugins.google", reason="install the dependency group `test` for LiveKit's google plugin")

from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseReason, function_tool, llm
from livekit.agents.voice import io
from livekit.plugins import google

from unbroken_livekit.wrapping import WrappedModel, wrap

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.sockets,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of LiveKit's own dependencies
]

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
SOON = Behaviour(setup_time=(0.0, 0.01), reply_time=(0.05, 0.06), word_time=0.1, ahead=0.2)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


def model_of(service: SimulatedService) -> Any:
    options = types.HttpOptions(
        base_url=service.base_url, async_client_args={"ssl": service.ssl_context, "proxy": None, "max_queue": None}
    )
    return google.realtime.RealtimeModel(model=MODEL, api_key="any", http_options=options)


@asynccontextmanager
async def two(first: Reply | str, second: str) -> AsyncGenerator[tuple[WrappedModel, SimulatedService, SimulatedService]]:
    async with simulated(behaviour=SOON, replies=[first]) as a, simulated(behaviour=SOON, replies=[second]) as b:
        model = wrap([model_of(a), model_of(b)])
        try:
            async with asyncio.timeout(60):
                yield model, a, b
        finally:
            await model.aclose()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("the condition did not come true within 30 s")


class Speaker(io.AudioOutput):
    """Plays at once, and counts what it played."""

    def __init__(self) -> None:
        super().__init__(label="speaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24_000)
        self.seconds = 0.0
        self.segments = 0
        self._open = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._open:
            self.on_playback_started(created_at=0.0)
        self._open += frame.duration
        self.seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._open:
            played, self._open = self._open, 0.0
            self.segments += 1
            self.on_playback_finished(playback_position=played, interrupted=False)

    def clear_buffer(self) -> None:
        if self._open:
            played, self._open = self._open, 0.0
            self.on_playback_finished(playback_position=played, interrupted=True)


async def test_the_backup_carries_the_reply_on_in_one_speech_and_one_message() -> None:
    async with two("one two three four five six seven eight", "five six seven eight") as (model, a, b):
        session = AgentSession[None](llm=model)
        speaker = Speaker()
        session.output.audio = speaker
        errors: list[Any] = []
        session.on("error", errors.append)
        async with session:
            await session.start(Agent(instructions="Count."))
            await until(lambda: len(a.report().links) == 1 and a.report().links[0].live)
            a.inject("down")
            a.inject("1011@reply+0.35s")
            handle = session.generate_reply(instructions="Count to eight.")
            await handle
            assert handle.exception() is None
            [message] = [item for item in handle.chat_items if item.type == "message"]
            text = message.text_content or ""
            assert text.startswith("one two ")
            assert text.endswith("five six seven eight")
            assert not message.interrupted
            assert speaker.segments == 1
            assert speaker.seconds > 0.5
            assert all(error.error.recoverable for error in errors)
            assert model.model == MODEL
            assert b.report().links[0].live
            assert b.report().replies == 1
            assert [item.text_content for item in session.history.messages()] == [text]


async def test_what_the_user_said_unanswered_reaches_the_backup_whole() -> None:
    async with two("Never said.", "I heard you.") as (model, a, b):
        session = model.session()
        generations: list[llm.GenerationCreatedEvent] = []
        session.on("generation_created", generations.append)
        await until(lambda: len(a.report().links) == 1 and a.report().links[0].live)
        a.inject("down")
        a.inject("1011@user+0.6s")
        pcm = stamp(speech(1000) + silence(900))
        for start in range(0, len(pcm), 640):
            session.push_audio(rtc.AudioFrame(pcm[start : start + 640], 16_000, 1, len(pcm[start : start + 640]) // 2))
            await asyncio.sleep(0.02)
        await until(lambda: bool(generations))
        texts = [piece async for message in generations[0].message_stream async for piece in message.text_stream]
        assert "".join(texts).strip() == "I heard you."
        report = b.report()
        assert report.turns == 1
        assert report.speech_ms >= 900
        assert report.lost_speech_ms == 0


async def test_a_call_that_nobody_serves_ends_when_patience_is_over_with_the_story_and_advice() -> None:
    async with simulated(faults=["http-401@upgradex*"]) as a, simulated(faults=["down"]) as b, asyncio.timeout(60):
        model = wrap([model_of(a), model_of(b)], patience=2.0)
        session = AgentSession[None](llm=model)
        errors: list[Any] = []
        session.on("error", lambda event: errors.append(event.error))
        closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        session.on("close", closed.set_result)
        await session.start(Agent(instructions="Greet."))
        handle = session.generate_reply(instructions="Say good morning.")
        await handle
        assert isinstance(handle.exception(), llm.RealtimeError)
        assert (await closed).reason == CloseReason.ERROR
        assert [error.recoverable for error in errors].index(False) == len(errors) - 1
        assert "Advice: " in str(errors[-1].error) or "patience" in str(errors[-1].error)
        await model.aclose()


class Cashier(Agent):
    def __init__(self, service: SimulatedService) -> None:
        super().__init__(instructions="Charge.")
        self.service = service
        self.runs = 0

    @function_tool
    async def charge(self, amount: int) -> str:
        """Charges the card.

        Args:
            amount: how much.
        """
        self.runs += 1
        self.service.inject("down")
        self.service.inject("1011")
        await asyncio.sleep(0.5)
        return f"charged {amount}"


async def test_a_tool_that_ran_while_its_child_died_is_known_to_the_backup_and_runs_once() -> None:
    async with two(Call(name="charge", args={"amount": 5}), "It is charged.") as (model, a, b):
        agent = Cashier(a)
        async with AgentSession[None](llm=model) as session:
            await session.start(agent)
            await until(lambda: len(a.report().links) == 1 and a.report().links[0].live)
            result: Any = await session.run(user_input="Charge me, please.")
            result.expect.contains_function_call(name="charge", arguments={"amount": 5})
            await until(lambda: any(item.text_content == "It is charged." for item in session.history.messages()))
            assert agent.runs == 1
            assert b.report().calls == ()
            assert b.report().links[0].closed == ""


async def test_another_providers_plugin_that_cannot_connect_leaves_the_greeting_to_the_backup() -> None:
    openai = pytest.importorskip("livekit.plugins.openai", reason="install the dependency group `test`")
    nowhere = openai.realtime.RealtimeModel(api_key="any", base_url="http://127.0.0.1:9/v1")  # discard: nothing listens
    async with simulated(behaviour=SOON, replies=["Good morning."]) as service, asyncio.timeout(60):
        model = wrap([nowhere, model_of(service)])
        async with AgentSession[None](llm=model) as session:
            await session.start(Agent(instructions="Greet."))
            handle = session.generate_reply(instructions="Say good morning.")
            await handle
            assert handle.exception() is None
            assert [item.text_content for item in handle.chat_items if item.type == "message"] == ["Good morning."]
        assert model.provider == "Gemini"
        await model.aclose()
