"""The caller's microphone and loudspeaker: audio into an AgentSession and out of it, in real time, without a room."""

from __future__ import annotations

import asyncio
import time

from livekit import rtc
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

__all__ = ["Microphone", "Speaker"]

IN_RATE = 16_000
OUT_RATE = 24_000
_FRAME = 320  # samples: 20 ms
_PAUSE = 0.1  # seconds: less is the jitter of the way


class Microphone(AudioInput):
    """Gives 20 ms every 20 ms, from `begin` on; silence after the end.

    Args:
        pcm: s16le mono PCM at 16 kHz.
    """

    def __init__(self, pcm: bytes) -> None:
        super().__init__(label="microphone")
        self._pcm = pcm
        self._sent = 0
        self._began = asyncio.Event()
        self._at = 0.0

    def begin(self, at: float) -> None:
        """Starts to listen at a time of the event loop's clock."""
        self._at = at
        self._began.set()

    @property
    def position(self) -> int:
        """How many samples were given."""
        return min(self._sent, len(self._pcm) // 2)

    async def __anext__(self) -> rtc.AudioFrame:
        await self._began.wait()
        start = self._sent
        self._sent += _FRAME
        due = self._at + self._sent / IN_RATE  # a frame is there once its last sample is
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        piece = self._pcm[2 * start : 2 * self._sent].ljust(2 * _FRAME, b"\0")
        return rtc.AudioFrame(piece, sample_rate=IN_RATE, num_channels=1, samples_per_channel=_FRAME)


class Speaker(AudioOutput):
    """Plays what it is given at the speed of speech, and keeps what was heard of it and when."""

    def __init__(self) -> None:
        super().__init__(label="speaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=OUT_RATE)
        self._played: list[tuple[float, bytes]] = []  # when it is heard, and what
        self._segment = 0.0  # seconds in the segment that is open
        self._free_at = 0.0
        self._finishing: asyncio.TimerHandle | None = None
        self._open = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Plays a frame after what it has already."""
        await super().capture_frame(frame)
        now = asyncio.get_running_loop().time()
        begins = max(now, self._free_at)
        if not self._open:
            self._open, self._segment = True, 0.0
            self.on_playback_started(created_at=time.time() + begins - now)
        self._played.append((begins, bytes(frame.data)))
        self._segment += frame.duration
        self._free_at = begins + frame.duration

    def flush(self) -> None:
        """Ends the segment, once it is played."""
        super().flush()
        if self._open and self._finishing is None:
            loop = asyncio.get_running_loop()
            self._finishing = loop.call_at(self._free_at, self._finish, False)  # noqa: FBT003

    def clear_buffer(self) -> None:
        """Stops playing at once."""
        if not self._open:
            return
        now = asyncio.get_running_loop().time()
        if self._finishing is not None:
            self._finishing.cancel()
        unheard = max(0.0, self._free_at - now)
        self._played = [(at, _until(pcm, now - at)) for at, pcm in self._played if at < now]
        self._segment -= min(unheard, self._segment)
        self._free_at = now
        self._finish(True)  # noqa: FBT003

    def heard(self) -> list[tuple[float, bytes]]:
        """Returns what was heard: stretches without a pause as when they began (the loop's clock) and PCM at 24 kHz."""
        stretches: list[tuple[float, bytearray]] = []
        for at, pcm in self._played:
            if stretches and at - (stretches[-1][0] + len(stretches[-1][1]) / 2 / OUT_RATE) < _PAUSE:
                stretches[-1][1].extend(pcm)
            else:
                stretches.append((at, bytearray(pcm)))
        return [(at, bytes(pcm)) for at, pcm in stretches]

    def _finish(self, interrupted: bool) -> None:  # noqa: FBT001
        self._open, self._finishing = False, None
        self.on_playback_finished(playback_position=self._segment, interrupted=interrupted)


def _until(pcm: bytes, seconds: float) -> bytes:
    return pcm[: 2 * max(0, round(seconds * OUT_RATE))]
