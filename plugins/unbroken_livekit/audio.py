"""The user's audio, as LiveKit gives it, in the form that the session takes: s16le mono PCM at the model's rate."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from livekit import rtc

import unbroken

__all__ = ["AudioInput", "Listening"]

_GATHERED = 0.05
"""Seconds of audio that go on in one piece, as in LiveKit's own plugins: rooms give frames of 10 to 50 ms, and what a piece
costs on its way through JSON, TLS and the kernel hardly depends on its length."""

_EARLY = 100
"""Pieces that are kept before the session is open, which is a matter of one turn of the event loop."""


class Listening:
    """Brings frames to the session, from before it is open until it is closed.

    Args:
        rate: samples per second that the session takes.
    """

    def __init__(self, rate: int) -> None:
        self._input = AudioInput(rate)
        self._early: list[bytes] = []
        self._session: unbroken.Session | None = None

    def push(self, frame: rtc.AudioFrame) -> None:
        """Takes a frame. After the session's end it is dropped."""
        self._send(self._input.take(frame))

    def flush(self) -> None:
        """Sends what was gathered, since a mark comes behind it."""
        self._send(self._input.flush())

    def opened(self, session: unbroken.Session) -> None:
        """The session is open."""
        self._session = session
        for pcm in self._early:
            self._send(pcm)
        self._early.clear()

    def _send(self, pcm: bytes) -> None:
        if not pcm:
            return
        if self._session is None:
            if len(self._early) < _EARLY:
                self._early.append(pcm)
            return
        with suppress(unbroken.SessionClosed):
            self._session.send_audio(pcm)


class AudioInput:
    """Gathers, mixes and resamples frames of any rate and number of channels, which may change from one frame to the next.

    Args:
        rate: samples per second that the session takes.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._shape = (0, 0)  # samples per second, channels
        self._enough = 0
        self._gathered = bytearray()
        self._resampler: rtc.AudioResampler | None = None

    def take(self, frame: rtc.AudioFrame) -> bytes:
        """Returns what can go on: nothing until enough has been gathered, and then all of it."""
        shape = (frame.sample_rate, frame.num_channels)
        tail = b"" if shape == self._shape else self._switch(shape)
        self._gathered += frame.data
        if len(self._gathered) < self._enough:
            return tail
        return tail + self.flush()

    def flush(self) -> bytes:
        """Returns what has been gathered; some milliseconds may stay in the resampler until more comes."""
        pcm = bytes(self._gathered)
        self._gathered.clear()
        channels = self._shape[1]
        if channels > 1:
            mixed: Any = np.frombuffer(pcm, dtype=np.int16).reshape(-1, channels).mean(axis=1)
            pcm = bytes(mixed.astype(np.int16))
        if self._resampler is None or not pcm:
            return pcm
        return _joined(self._resampler.push(bytearray(pcm)))

    def _switch(self, shape: tuple[int, int]) -> bytes:
        """Takes another rate or number of channels from now on. Returns what is left of the last one."""
        tail = self.flush()
        if self._resampler is not None:
            tail += _joined(self._resampler.flush())
        self._shape = rate, channels = shape
        self._enough = 2 * channels * round(rate * _GATHERED)
        self._resampler = None
        if rate != self._rate:
            self._resampler = rtc.AudioResampler(input_rate=rate, output_rate=self._rate, num_channels=1)
        return tail


def _joined(frames: list[rtc.AudioFrame]) -> bytes:
    return b"".join(bytes(frame.data) for frame in frames)
