"""Audio at other rates than the session takes: the service resamples what google-genai sends it, so this has to, too."""

from __future__ import annotations

import importlib
from typing import Any

from unbroken.errors import MissingExtra

__all__ = ["Resampler"]


class Resampler:
    """Brings pieces of s16le mono PCM to one rate. Each rate that comes is a stream of its own, begun anew at a change.

    Args:
        rate: samples per second that come out.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._from = rate
        self._stream: Any = None

    def __repr__(self) -> str:
        return f"<Resampler from {self._from} to {self._rate} Hz>"

    def take(self, pcm: bytes, *, rate: int) -> bytes:
        """Returns what is ready of a piece; up to 60 ms stay in the filter until the next ones come.

        Args:
            pcm: the piece.
            rate: its samples per second.

        Raises:
            MissingExtra: the rate is another one, and soxr is not installed.
        """
        if rate != self._from:
            self._from = rate
            self._stream = None if rate == self._rate else _stream(rate, self._rate)
        if self._stream is None:
            return pcm
        numpy = importlib.import_module("numpy")
        resampled: bytes = self._stream.resample_chunk(numpy.frombuffer(pcm[: len(pcm) & ~1], dtype="<i2")).tobytes()
        return resampled


def _stream(given: int, wanted: int) -> Any:
    try:  # "LQ" keeps back the least of those that filter what the lower rate cannot hold
        return importlib.import_module("soxr").ResampleStream(given, wanted, 1, dtype="int16", quality="LQ")
    except ModuleNotFoundError:
        raise MissingExtra(f"audio at {given} Hz", package="soxr", extra="audio") from None
