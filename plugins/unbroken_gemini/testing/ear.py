"""Hears by energy when the user speaks and when the turn is over. Counts audio, not time: a client that stops sending is not
silent but gone."""

from __future__ import annotations

from array import array
from operator import mul

import msgspec

__all__ = ["RATE", "Ear", "Heard", "level"]

RATE = 16_000
"""Samples per second; audio at other rates is taken as it says."""

_WINDOW = 320  # 20 ms at 16 kHz
_ONSET = 2  # loud windows in a row that are speech and not a click


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece of audio brought.

    Attributes:
        began: the user began to speak in it.
        ended: the user's turn ended in it.
        loud: per window of 20 ms, from the first whole one on: it was above the threshold.
    """

    began: bool = False
    ended: bool = False
    loud: tuple[bool, ...] = ()


def level(samples: array[int]) -> float:
    """Returns the root mean square as a fraction of full scale."""
    return float((sum(map(mul, samples, samples)) / len(samples)) ** 0.5 / 32768) if samples else 0.0


class Ear(msgspec.Struct, kw_only=True):
    """The state of hearing, small enough to be copied with every piece of audio.

    Attributes:
        threshold: root mean square above which a window is loud.
        silence: seconds without a loud window that end a turn.
        speaking: the user speaks, or has stopped less than `silence` ago.
        onset: loud windows in a row, while not speaking.
        quiet: seconds since the last loud window.
    """

    threshold: float
    silence: float
    speaking: bool = False
    onset: int = 0
    quiet: float = 0.0

    def hear(self, pcm: bytes, *, rate: int = RATE) -> Heard:
        """Hears a piece of audio: s16le mono PCM."""
        samples = array("h", pcm[: len(pcm) // 2 * 2])
        window = max(1, _WINDOW * rate // RATE)
        began = ended = False
        loudness: list[bool] = []
        for start in range(0, len(samples), window):
            piece = samples[start : start + window]
            loud = level(piece) > self.threshold
            loudness.append(loud)
            before = self.speaking
            self._window(len(piece) / rate, loud=loud)
            began |= self.speaking and not before
            ended |= before and not self.speaking
        return Heard(began=began, ended=ended, loud=tuple(loudness))

    def stop(self) -> bool:
        """Ends the turn now, as the end of the audio stream does. Returns whether there was one."""
        before, self.speaking, self.onset = self.speaking, False, 0
        return before

    def copy(self) -> Ear:
        """Returns an ear of its own in the same state."""
        return msgspec.structs.replace(self)

    def _window(self, seconds: float, *, loud: bool) -> None:
        self.quiet = 0.0 if loud else self.quiet + seconds
        if self.speaking:
            self.speaking = self.quiet < self.silence - 1e-9
        else:
            self.onset = self.onset + 1 if loud else 0
            if self.onset >= _ONSET:
                self.speaking, self.onset = True, 0
