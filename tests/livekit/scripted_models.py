"""Realtime models that do what a test says: LiveKit's interface, and nothing behind it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from livekit import rtc
from livekit.agents import APIConnectionError, llm, utils
from livekit.agents.metrics import RealtimeModelMetrics

CAPABILITIES = {
    "message_truncation": False,
    "turn_detection": True,
    "user_transcription": True,
    "auto_tool_reply_generation": True,
    "audio_output": True,
    "manual_function_calls": False,
    "mutable_chat_context": True,
    "mutable_instructions": True,
    "mutable_tools": True,
}


def frame(ms: int = 20, *, loud: bool = True, rate: int = 16_000) -> rtc.AudioFrame:
    samples = rate * ms // 1000
    return rtc.AudioFrame((b"\x00\x20" if loud else b"\x00\x00") * samples, rate, 1, samples)


class ScriptedModel(llm.RealtimeModel):
    """A model whose sessions a test plays by hand."""

    def __init__(
        self, name: str, *, provider: str = "scripted", reports: bool = True, fails: Exception | None = None, **caps: Any
    ) -> None:
        super().__init__(capabilities=llm.RealtimeCapabilities(**{**CAPABILITIES, **caps}))
        self._name = name
        self._provider = provider
        self.reports = reports
        self.fails = fails
        self.sessions: list[ScriptedSession] = []
        self.closed = 0

    @property
    def model(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return self._provider

    @property
    def last(self) -> ScriptedSession:
        return self.sessions[-1]

    def session(self, *, turn_detection_disabled: bool = False) -> ScriptedSession:
        if self.fails is not None:
            raise self.fails
        session = ScriptedSession(self)
        self.sessions.append(session)
        if self.reports:
            session.connect()
        return session

    async def aclose(self) -> None:
        self.closed += 1


class Generation:
    """What one session says in one response."""

    def __init__(self, name: str) -> None:
        self.messages: utils.aio.Chan[llm.MessageGeneration] = utils.aio.Chan()
        self.functions: utils.aio.Chan[llm.FunctionCall] = utils.aio.Chan()
        self.text: utils.aio.Chan[str] = utils.aio.Chan()
        self.audio: utils.aio.Chan[rtc.AudioFrame] = utils.aio.Chan()
        self.name = name
        modalities: asyncio.Future[list[Literal["text", "audio"]]] = asyncio.get_running_loop().create_future()
        modalities.set_result(["audio", "text"])
        self.messages.send_nowait(
            llm.MessageGeneration(message_id=name, text_stream=self.text, audio_stream=self.audio, modalities=modalities)
        )

    def say(self, *words: str) -> None:
        for word in words:
            self.text.send_nowait(word)
            self.audio.send_nowait(frame(100, rate=24_000))

    def end(self) -> None:
        for channel in (self.text, self.audio, self.functions, self.messages):
            channel.close()


class ScriptedSession(llm.RealtimeSession[Any]):
    def __init__(self, model: ScriptedModel) -> None:
        super().__init__(model)
        self.context = llm.ChatContext.empty()
        self.instructions = ""
        self.tool_list: list[llm.Tool] = []
        self.options: list[Any] = []
        self.heard: list[rtc.AudioFrame] = []
        self.asked: list[tuple[dict[str, Any], asyncio.Future[llm.GenerationCreatedEvent]]] = []
        self.done: list[str] = []
        self.generations: list[Generation] = []
        self.updates: list[llm.ChatContext] = []
        self.raises: Exception | None = None
        self.close_raises: Exception | None = None
        self.closed = False

    # -- what a test does --------------------------------------------------------------------------------------------

    def connect(self) -> None:
        asyncio.get_running_loop().call_soon(self._connected)

    def _connected(self) -> None:
        self.emit(
            "metrics_collected",
            RealtimeModelMetrics(
                label=self._realtime_model.label,
                request_id="",
                timestamp=time.time(),
                acquire_time=0.01,
                input_token_details=RealtimeModelMetrics.InputTokenDetails(),
                output_token_details=RealtimeModelMetrics.OutputTokenDetails(),
            ),
        )

    def speak(self, *words: str, initiated: bool = False) -> Generation:
        """Begins a response: the user's, or the one that was asked for last."""
        generation = Generation(f"{self._realtime_model.model}-{len(self.generations)}")
        self.generations.append(generation)
        event = llm.GenerationCreatedEvent(
            message_stream=generation.messages,
            function_stream=generation.functions,
            user_initiated=initiated,
            response_id=generation.name,
        )
        if initiated:
            asked = next(future for _, future in self.asked if not future.done())
            asked.set_result(event)
        self.emit("generation_created", event)
        generation.say(*words)
        return generation

    def fail(self, error: Exception | None = None, *, recoverable: bool = False) -> None:
        self.emit(
            "error",
            llm.RealtimeModelError(
                timestamp=time.time(),
                label=self._realtime_model.label,
                error=error or APIConnectionError("close 1011"),
                recoverable=recoverable,
            ),
        )

    # -- LiveKit's interface -----------------------------------------------------------------------------------------

    @property
    def chat_ctx(self) -> llm.ChatContext:
        return self.context.copy()

    @property
    def tools(self) -> llm.ToolContext:
        return llm.ToolContext(self.tool_list)

    async def update_instructions(self, instructions: str) -> None:
        self.instructions = instructions

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        self.context = chat_ctx
        self.updates.append(chat_ctx.copy())

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        self.tool_list = tools

    def update_options(self, **options: Any) -> None:
        self.options.append(options)

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        if self.raises is not None:
            raise self.raises
        self.heard.append(frame)

    def push_video(self, frame: rtc.VideoFrame) -> None:
        self.done.append("video")

    def generate_reply(self, **options: Any) -> asyncio.Future[llm.GenerationCreatedEvent]:
        future: asyncio.Future[llm.GenerationCreatedEvent] = asyncio.get_running_loop().create_future()
        self.asked.append((options, future))
        return future

    def say(self, text: Any) -> asyncio.Future[llm.GenerationCreatedEvent]:
        return self.generate_reply(say=text)

    def commit_audio(self) -> None:
        self.done.append("commit")

    def clear_audio(self) -> None:
        self.done.append("clear")

    def interrupt(self) -> None:
        self.done.append("interrupt")
        for generation in self.generations:
            generation.end()

    def start_user_activity(self) -> None:
        self.done.append("activity")

    def truncate(self, **told: Any) -> None:
        self.done.append(f"truncate {told['message_id']} at {told['audio_end_ms']}")

    async def aclose(self) -> None:
        self.closed = True
        for generation in self.generations:
            generation.end()
        for _, future in self.asked:
            future.cancel()
        if self.close_raises is not None:
            raise self.close_raises
