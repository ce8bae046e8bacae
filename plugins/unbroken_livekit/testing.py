"""A microphone and a speaker without devices, for an `AgentSession` without a room: in tests, examples and benchmarks.

::

    microphone, speaker = Microphone(), Speaker()
    session.input.audio, session.output.audio = microphone, speaker      # before session.start()
    await session.start(agent)
    await microphone.say(pcm)

They keep real time: what is said goes out frame by frame, and what the agent says is played as long as it takes.
"""

from __future__ import annotations

import asyncio
import time

from livekit import rtc
from livekit.agents.voice import io

__all__ = ["Microphone", "Speaker"]

_FRAME = 0.02
"""Seconds of audio per frame."""


class Microphone(io.AudioInput):
    """Gives what is said into it, and silence otherwise.

    Args:
        rate: samples per second.

    Attributes:
        said_ms: milliseconds of speech that have gone out.
    """

    def __init__(self, *, rate: int = 16_000) -> None:
        super().__init__(label="microphone without a device")
        self.said_ms = 0.0
        self._rate = rate
        self._waiting = bytearray()
        self._next = 0.0
        self._empty = asyncio.Event()

    async def say(self, pcm: bytes) -> None:
        """Says s16le mono PCM at the microphone's rate; returns once all of it has gone out."""
        self._waiting += pcm
        self._empty.clear()
        await self._empty.wait()

    async def __anext__(self) -> rtc.AudioFrame:
        now = asyncio.get_running_loop().time()
        self._next = max(self._next + _FRAME, now - 0.2)
        await asyncio.sleep(max(0.0, self._next - now))
        samples = round(self._rate * _FRAME)
        piece = bytes(self._waiting[: samples * 2])
        del self._waiting[: len(piece)]
        self.said_ms += len(piece) * 500 / self._rate
        if not self._waiting:
            self._empty.set()
        return rtc.AudioFrame(
            piece.ljust(samples * 2, b"\0"), sample_rate=self._rate, num_channels=1, samples_per_channel=samples
        )


class Speaker(io.AudioOutput):
    """Plays what it is given, and keeps account of it.

    Args:
        speed: plays so many times as fast; tests that do not listen have no time.

    Attributes:
        played_ms: milliseconds that were played, over all segments.
        segments: of each segment that has ended, how many milliseconds of it were played and whether it was interrupted.
        gaps: of each pause within a segment, how many milliseconds nothing was there to be played.
    """

    def __init__(self, *, speed: float = 1.0) -> None:
        super().__init__(label="speaker without a device", capabilities=io.AudioOutputCapabilities(pause=False))
        self.segments: list[tuple[float, bool]] = []
        self.gaps: list[float] = []
        self._speed = speed
        self._pushed = 0.0
        self._ends_at = 0.0
        self._playing = False
        self._ending: asyncio.TimerHandle | None = None

    @property
    def played_ms(self) -> float:
        """Milliseconds that were played, over all segments, the one that is playing included."""
        return sum(ms for ms, _ in self.segments) + (self._position() * 1000 if self._playing else 0.0)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Takes a frame to be played after those before it."""
        await super().capture_frame(frame)
        now = asyncio.get_running_loop().time()
        if not self._playing:
            self._playing, self._pushed, self._ends_at = True, 0.0, now
            self.on_playback_started(created_at=time.time())
        elif now > self._ends_at:
            self.gaps.append((now - self._ends_at) * 1000)
            self._ends_at = now
        self._pushed += frame.duration
        self._ends_at += frame.duration / self._speed

    def flush(self) -> None:
        """The segment is complete: it ends when all of it has been played."""
        super().flush()
        if self._playing and self._ending is None:
            left = max(0.0, self._ends_at - asyncio.get_running_loop().time())
            self._ending = asyncio.get_running_loop().call_later(left, self._ended)

    def clear_buffer(self) -> None:
        """What has not been played is not."""
        if self._playing:
            self._end(self._position(), interrupted=True)

    def _position(self) -> float:
        left = max(0.0, self._ends_at - asyncio.get_running_loop().time()) * self._speed
        return max(0.0, self._pushed - left)

    def _ended(self) -> None:
        self._end(self._pushed, interrupted=False)

    def _end(self, position: float, *, interrupted: bool) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self._playing = False
        self.segments.append((position * 1000, interrupted))
        self.on_playback_finished(playback_position=position, interrupted=interrupted)
