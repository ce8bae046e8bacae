"""The user's audio that no reply has answered yet: kept for a child that comes, within a bound.

Whether a wrapped model has heard something cannot be seen. So what is kept is sent to the next child whole, and may be heard
twice: at least once, up to the bound.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from livekit import rtc

from unbroken.core.audio import SpeechDetector, is_quiet

__all__ = ["AudioJournal"]

_LEAD = 0.5
"""Seconds before the user began to speak that are kept, so that no syllable is cut."""


_STILL = 0.2
"""Seconds of quiet up to which the user counts as speaking on."""


class _Kept(NamedTuple):
    frame: rtc.AudioFrame
    number: int
    seconds: float


class AudioJournal:
    """Keeps audio that may have to be said again.

    Args:
        bound: seconds that are kept; the oldest are given up first.

    Attributes:
        lost: seconds of unanswered audio that were given up for the bound, or because nobody may have them.
        spoken: the user has spoken since the last reply began.
        seconds: what is kept.
    """

    def __init__(self, *, bound: float) -> None:
        self.lost: float = 0.0
        self.spoken: bool = False
        self.seconds: float = 0.0
        self._bound = bound
        self._kept: deque[_Kept] = deque()
        self._detector: SpeechDetector | None = None
        self._quiet = 0.0
        self._number = 0
        self._taken = 0

    @property
    def speaking(self) -> bool:
        """The user speaks, as far as loudness tells."""
        return self._detector is not None and self._detector.speaking

    def push(self, frame: rtc.AudioFrame, *, now: float, up: bool) -> bool:
        """Takes what the user says.

        Args:
            frame: of any rate and number of channels.
            now: the present, in seconds.
            up: a child takes it at once; else all of it is kept.

        Returns:
            Whether the user's turn has ended with this, as far as loudness tells.
        """
        seconds = frame.samples_per_channel / frame.sample_rate
        if self._detector is None or self._detector.rate != frame.sample_rate:
            self._detector = SpeechDetector(rate=frame.sample_rate)
        quiet = is_quiet(bytes(frame.data))
        self._quiet = self._quiet + seconds if quiet else 0.0
        change = self._detector.feed(quiet, frame.samples_per_channel, now)
        self.spoken = self.spoken or change == "began"
        self._number += 1
        if up:
            self._taken = self._number
        self._kept.append(_Kept(frame, self._number, seconds))
        self.seconds += seconds
        self._trim(_LEAD if up and not self.spoken else self._bound)
        return change == "ended"

    def waiting(self) -> list[rtc.AudioFrame]:
        """Takes the frames for a new child: what none has taken, and all of it where the user's turn is not answered."""
        frames = [kept.frame for kept in self._kept if self.spoken or kept.number > self._taken]
        self._taken = self._number
        return frames

    def answered(self, *, asked: bool) -> None:
        """A reply has begun: what was said before is answered.

        Args:
            asked: the application asked for the reply, so that it answers nobody who still speaks.
        """
        if asked and self.speaking and self._quiet < _STILL:
            return
        self.spoken, self._detector = False, None  # what is said from here on is another turn
        self._trim(_LEAD, lost=False)

    def clear(self) -> None:
        """What was said is given up."""
        self.spoken = False
        self._trim(0.0, lost=False)

    def _trim(self, bound: float, *, lost: bool = True) -> None:
        while self._kept and self.seconds > bound + 1e-6:
            gone = self._kept.popleft()
            self.seconds = max(0.0, self.seconds - gone.seconds)
            if lost and (self.spoken or gone.number > self._taken):
                self.lost += gone.seconds

    def __repr__(self) -> str:
        return f"<AudioJournal {self.seconds:.1f} s kept, {self.lost:.1f} s lost>"
