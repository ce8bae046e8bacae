"""A LiveKit AgentSession on the stage, without a room: what all realtime models under LiveKit share here; no contender.

It does what LiveKit's examples do: an `Agent` with one `function_tool`, `session.start`, `session.generate_reply`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, RunContext, function_tool, llm
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

from benchmarks.contenders.stage import IN_RATE, OUT_RATE, Loudspeaker, Stage
from benchmarks.contenders.warm import warm

__all__ = ["hold"]

INSTRUCTIONS = "You take reservations."


async def hold(stage: Stage, make: Callable[[Stage], llm.RealtimeModel]) -> None:
    """Holds one call.

    Args:
        stage: where.
        make: makes the realtime model; it dials nothing yet.
    """
    warm()
    session: AgentSession[None] = AgentSession(llm=make(stage), aec_warmup_duration=None)
    session.input.audio = _Microphone(stage)
    session.output.audio = _Speaker(stage.loudspeaker)
    closed = asyncio.Event()
    session.on("close", lambda event: closed.set())
    session.on("error", lambda event: stage.tell("error", getattr(event.error, "error", event.error)))
    tools = [_tool(stage)] if stage.job.tool is not None else []
    await stage.go()
    stage.tell("dialling")
    asking = asyncio.create_task(_ask(stage, session))
    try:
        await session.start(Agent(instructions=INSTRUCTIONS, tools=tools))
        await closed.wait()
    finally:
        asking.cancel()
        await session.aclose()


def _tool(stage: Stage) -> Any:
    tool = stage.job.tool
    assert tool is not None

    async def run(context: RunContext[None]) -> str:
        return await stage.tool()

    return function_tool(run, name=tool.name, description=tool.description)


async def _ask(stage: Stage, session: AgentSession[None]) -> None:
    async for text in stage.asks():
        with suppress(RuntimeError):  # which says that the session is closed already
            session.generate_reply(instructions=text)


class _Microphone(AudioInput):
    def __init__(self, stage: Stage) -> None:
        super().__init__(label="microphone")
        self._stage = stage
        self._frames: Any = None

    async def __anext__(self) -> rtc.AudioFrame:
        if self._frames is None:
            self._frames = aiter(self._stage.microphone)
        pcm = await anext(self._frames)
        return rtc.AudioFrame(pcm, sample_rate=IN_RATE, num_channels=1, samples_per_channel=len(pcm) // 2)


class _Speaker(AudioOutput):
    """Tells LiveKit what the loudspeaker plays."""

    def __init__(self, loudspeaker: Loudspeaker) -> None:
        super().__init__(label="speaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=OUT_RATE)
        self._loudspeaker = loudspeaker
        self._seconds = 0.0  # of the segment that is open
        self._open = False
        self._finishing: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Plays a frame after what it has already."""
        await super().capture_frame(frame)
        if not self._open:
            self._open, self._seconds = True, 0.0
            self.on_playback_started(created_at=time.time() + self._loudspeaker.waiting)
        self._loudspeaker.play(bytes(frame.data))
        self._seconds += frame.duration

    def flush(self) -> None:
        """Ends the segment, once it is played."""
        super().flush()
        if self._open and self._finishing is None:
            wait = self._loudspeaker.waiting
            self._finishing = asyncio.get_running_loop().call_later(wait, self._finish, self._seconds)

    def clear_buffer(self) -> None:
        """Stops playing at once."""
        if not self._open:
            return
        if self._finishing is not None:
            self._finishing.cancel()
        self._finish(max(0.0, self._seconds - self._loudspeaker.interrupt()), interrupted=True)

    def _finish(self, seconds: float, *, interrupted: bool = False) -> None:
        self._open, self._finishing = False, None
        self.on_playback_finished(playback_position=seconds, interrupted=interrupted)
