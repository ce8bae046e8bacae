"""The user's audio, as LiveKit gives it, in the form that the session takes: s16le mono at the model's rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from livekit import rtc

__all__ = ["AudioInput"]


class AudioInput:
    """Mixes and resamples frames of any rate and number of channels, which may change from one frame to the next.

    Args:
        rate: samples per second that the session takes.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._from = rate
        self._resampler: rtc.AudioResampler | None = None

    def take(self, frame: rtc.AudioFrame) -> bytes:
        """Returns what the frame adds, which may lag behind it by some milliseconds."""
        data: Any = frame.data
        if frame.num_channels > 1:
            channels = np.frombuffer(data, dtype=np.int16).reshape(-1, frame.num_channels)
            pcm = bytes(channels.mean(axis=1).astype(np.int16))
        else:
            pcm = bytes(data)
        tail = b"" if frame.sample_rate == self._from else self._switch(frame.sample_rate)
        if self._resampler is None:
            return tail + pcm
        return tail + _joined(self._resampler.push(bytearray(pcm)))

    def _switch(self, rate: int) -> bytes:
        """Takes another rate from now on. Returns what is left of the last one."""
        tail = _joined(self._resampler.flush()) if self._resampler is not None else b""
        self._from = rate
        self._resampler = None
        if rate != self._rate:
            self._resampler = rtc.AudioResampler(input_rate=rate, output_rate=self._rate, num_channels=1)
        return tail


def _joined(frames: list[rtc.AudioFrame]) -> bytes:
    return b"".join(bytes(frame.data) for frame in frames)
