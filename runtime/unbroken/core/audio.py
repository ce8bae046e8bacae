"""What can be said about PCM without a codec: its length, whether it is quiet, and where in it there is speech.

Audio is signed 16-bit little-endian mono PCM; lengths and positions are in samples, so an hour at 16 kHz is 57.6 million.
"Speech" here means "not quiet": good enough for deadlines and for choosing where to cut, never for what the model decides.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

__all__ = ["QUIET_PEAK", "SAMPLE", "SpeechDetector", "SpeechMap", "is_quiet", "ms"]

SAMPLE = 2
"""Bytes per sample."""

QUIET_PEAK = 256
"""The peak up to which audio is quiet: -42 dBFS. Room noise behind a headset stays below it, the weakest syllables of a
telephone voice above it; and it is the one that can be told from the high bytes alone, without looking at numbers."""

_STRIDE = 4
"""Every fourth sample is looked at: 4 kHz of bandwidth at 16 kHz, which is where the power of speech is."""


def ms(samples: int, rate: int) -> float:
    """Returns the length of so many samples in milliseconds.

    Args:
        samples: how many.
        rate: samples per second.
    """
    return samples * 1000 / rate


def is_quiet(pcm: bytes, *, threshold: int = QUIET_PEAK) -> bool:
    """Says whether every sample looked at stays within the threshold. Costs 0.2 µs for 20 ms, 3 µs with another threshold.

    Args:
        pcm: s16le mono PCM; an odd byte at the end is ignored. Nothing at all is quiet.
        threshold: peak; a sample of exactly this value is loud, its negative is quiet.
    """
    if threshold == QUIET_PEAK:
        # The high byte of a sample from -256 to 255 is 0x00 or 0xff, so what is left after stripping those is loud.
        return not pcm[1 :: SAMPLE * _STRIDE].strip(b"\x00\xff")
    view = memoryview(pcm)[: len(pcm) & ~1].cast("h")[::_STRIDE]
    return not view or (max(view) < threshold and min(view) >= -threshold)


class SpeechDetector:
    """Estimates where the user's turns begin and end, from this side. For deadlines only: the service has its own judgement.

    A turn begins with ``shortest`` seconds of speech that no pause of ``hangover`` seconds breaks up, and ends with such a
    pause.

    Args:
        rate: samples per second.
        hangover: seconds of quiet that end a turn.
        shortest: seconds of speech below which there was none (a click, a cough).

    Attributes:
        speaking: a turn is going on.
        since: when it began, or when the last one ended; 0.0: neither has happened.
    """

    __slots__ = ("_hangover", "_quiet", "_shortest", "_speech", "rate", "since", "speaking")

    def __init__(self, *, rate: int, hangover: float = 0.8, shortest: float = 0.1) -> None:
        self.rate = rate
        self.speaking: bool = False
        self.since: float = 0.0
        self._hangover = int(hangover * rate)
        self._shortest = max(1, int(shortest * rate))
        self._speech = 0
        self._quiet = 0

    def feed(self, quiet: bool, samples: int, now: float) -> Literal["began", "ended"] | None:  # noqa: FBT001 - hot path
        """Takes the next piece of audio.

        Args:
            quiet: what `is_quiet` says of it.
            samples: its length.
            now: the present.

        Returns:
            "began" or "ended" where this piece decides it; None: nothing has changed.
        """
        if not quiet:
            self._quiet = 0
            if self.speaking:
                return None
            self._speech += samples
            if self._speech < self._shortest:
                return None
            self.speaking, self.since = True, now
            return "began"
        if not self._speech:
            return None
        self._quiet += samples
        if self._quiet < self._hangover:
            return None
        self._speech = self._quiet = 0
        if not self.speaking:
            return None
        self.speaking, self.since = False, now
        return "ended"

    def __repr__(self) -> str:
        return f"<SpeechDetector {'speaking' if self.speaking else 'quiet'} since {self.since:.3f}>"


class SpeechMap:
    """Where in the audio there is speech: runs of speech and quiet by position.

    Args:
        limit: runs that are kept. Beyond it the oldest are forgotten, and what is forgotten counts as speech.
    """

    __slots__ = ("_end", "_head", "_limit", "_loud", "_starts")

    def __init__(self, *, limit: int = 4096) -> None:
        self._limit = limit
        self._starts: list[int] = [0]
        self._loud: list[bool] = [False]
        self._head = 0
        self._end = 0

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self._end

    def append(self, samples: int, *, quiet: bool) -> None:
        """Takes the next piece of audio."""
        if self._loud[-1] is quiet:
            self._starts.append(self._end)
            self._loud.append(not quiet)
            if len(self._starts) - self._head > self._limit:
                self._head += 1
                self._compact()
        self._end += samples

    def forget(self, upto: int) -> None:
        """Forgets the runs that lie wholly before a position."""
        self._head = max(self._head, self._index(upto))
        self._compact()

    def speech_between(self, a: int, b: int) -> int:
        """Returns how many samples from ``a`` up to ``b`` are in speech. What was forgotten counts as speech."""
        b = min(b, self._end)
        known = max(a, self._starts[self._head])
        total = max(0, min(known, b) - a)
        for index in range(self._index(known), len(self._starts)):
            start = self._starts[index]
            if start >= b:
                break
            if self._loud[index]:
                total += max(0, min(self._run_end(index), b) - max(start, known))
        return total

    def first_speech(self, start: int) -> int:
        """Returns the first position in speech at or after ``start``; the end: there is none."""
        for index in range(self._index(start), len(self._starts)):
            if self._loud[index] and self._run_end(index) > start:
                return max(start, self._starts[index])
        return self._end

    def gap_before(self, position: int, *, shortest: int, within: int) -> int | None:
        """Finds the end of the latest quiet run at or before a position.

        Args:
            position: where to look from; what comes after it does not count. Within a quiet run it is the answer itself.
            shortest: samples; shorter runs are pauses between words. Of the run that the position lies in, half of that has
                to come before it.
            within: samples; runs that end longer before the position are not looked at.

        Returns:
            The position where that run ends; None: there is no such run.
        """
        for index in range(self._index(max(0, position - 1)), self._head - 1, -1):
            start, whole = self._starts[index], self._run_end(index)
            end = min(whole, position)
            if end < position - within:
                return None
            if not self._loud[index] and whole - start >= shortest and end - start >= max(1, shortest // 2):
                return end
        return None

    def phrase_after(self, position: int, *, shortest: int, within: int) -> int:
        """Finds the first pause after a position in the midst of speech.

        Args:
            position: where to look from.
            shortest: samples; shorter quiet runs are pauses between words.
            within: samples; a run that begins longer after the position is not looked at.

        Returns:
            Where that pause begins; the position itself: it is not in the midst of speech, or there is no such pause.
        """
        if not (position and self._loud[self._index(position - 1)] and self._loud[self._index(position)]):
            return position
        for index in range(self._index(position), len(self._starts)):
            start = self._starts[index]
            if start > position + within:
                return position
            if not self._loud[index] and self._run_end(index) - start >= shortest:
                return start
        return position

    def turn_before(self, position: int, *, pause: int) -> int:
        """Finds the begin of what was said last before a position, after the latest long pause that anything followed.

        Args:
            position: where to look from; the quiet right before it is no such pause.
            pause: samples; shorter quiet runs are within what was said.

        Returns:
            A position; the begin of what is remembered: there is no such pause.
        """
        begin = position
        for index in range(self._index(max(0, position - 1)), self._head - 1, -1):
            start = self._starts[index]
            if self._loud[index]:
                begin = start
            elif begin < position and self._run_end(index) - start >= pause:
                return begin
        return self._starts[self._head]

    def _index(self, position: int) -> int:
        return max(self._head, bisect_right(self._starts, position, self._head) - 1)

    def _run_end(self, index: int) -> int:
        return self._starts[index + 1] if index + 1 < len(self._starts) else self._end

    def _compact(self) -> None:
        if self._head > 1024 or self._head > len(self._starts) // 2:
            del self._starts[: self._head]
            del self._loud[: self._head]
            self._head = 0

    def __repr__(self) -> str:
        runs = len(self._starts) - self._head
        return f"<SpeechMap {self._starts[self._head]} to {self._end}, {runs} run{'s' if runs != 1 else ''}>"
