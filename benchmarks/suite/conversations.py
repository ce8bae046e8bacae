"""What a call consists of, as data: when the caller speaks, what the application asks for, what the model has to answer.

Times are seconds since the call began. They are the same whatever a contender does: callers do not wait for software.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from unbroken.testing.intervals import Intervals, Range
from unbroken.testing.stamps import stamp

__all__ = ["RATE", "TOOL_RESULT", "Conversation", "Turn"]

RATE = 16_000
"""Samples per second of the caller's voice."""

TOOL_RESULT = "reference-4711"
"""What the tool returns: a model that was told it, in whichever form, does not call again."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The caller speaks, or the application asks for a reply.

    Attributes:
        at: when.
        seconds: how long the caller speaks; 0: the application asks instead.
        answer: the words that the model has to say to it. Each word of a conversation has a sound of its own, or what the
            caller heard could not be told.
        calls: the model calls the tool first.
        interrupted: the caller speaks into the answer on purpose: it is not owed whole.
    """

    at: float
    seconds: float = 0.0
    answer: str
    calls: bool = False
    interrupted: bool = False


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        turns: in order; the first is the application's, which wants the caller greeted.
        end: when the caller hangs up.
        tool_seconds: how long the tool takes.
    """

    turns: Sequence[Turn]
    end: float
    tool_seconds: float = 0.8

    @property
    def spoken(self) -> Sequence[Turn]:
        """The turns in which the caller speaks."""
        return [turn for turn in self.turns if turn.seconds]

    def range_of(self, turn: Turn) -> Range:
        """Returns the positions of the caller's audio in which a turn is spoken."""
        return round(turn.at * RATE), round((turn.at + turn.seconds) * RATE)

    @property
    def speech(self) -> Intervals:
        """The positions at which the caller speaks."""
        return Intervals(map(self.range_of, self.spoken))

    def microphone(self) -> bytes:
        """Returns all that the microphone takes up, stamped: s16le mono PCM at 16 kHz."""
        return _recorded(tuple(map(self.range_of, self.spoken)), round(self.end * RATE))


@lru_cache
def _recorded(spoken: tuple[Range, ...], length: int) -> bytes:
    pcm = bytearray(2 * length)
    for start, end in spoken:
        tone = array("h", [round(6000 * math.sin(2 * math.pi * 200 * n / RATE)) for n in range(end - start)])
        pcm[2 * start : 2 * end] = tone.tobytes()
    return stamp(bytes(pcm))
