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

__all__ = ["BRIEF", "FULL", "LONG", "SLOW_TOOL", "TOOL_RESULT", "Conversation", "Turn"]

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


_BEGINNING = (
    Turn(at=0.5, answer="hello welcome quiet gentle river mountain"),
    Turn(at=3.0, seconds=1.2, answer="yellow purple window garden letter bridge sailor captain butter pepper lemon orange"),
    Turn(at=10.5, seconds=1.0, answer="market teacher piano violin castle dragon", calls=True),
)

FULL = Conversation(
    turns=(
        *_BEGINNING,
        Turn(
            at=17.4,
            seconds=1.0,
            answer="forest harbour lantern pocket ribbon tunnel walnut whisper"
            " thunder silver copper golden bottle candle basket hammer",
            interrupted=True,
        ),
        Turn(at=20.8, seconds=1.0, answer="mirror needle paper pencil planet shadow"),
    ),
    end=27.0,
)
"""Greeting, a turn and its reply, a tool call and its result, a reply that the caller interrupts, and the last reply."""

LONG = Conversation(
    turns=(
        *FULL.turns,
        Turn(at=29.0, seconds=1.0, answer="autumn ticket valley monkey apple cherry"),
        Turn(at=48.0, seconds=1.0, answer="plum grape potato garlic ginger coffee"),
        Turn(at=66.0, seconds=1.0, answer="wheat salmon herring robin heron pigeon"),
    ),
    end=72.0,
)
"""The same, and the caller stays on the line, for faults that some need a minute to notice."""

SLOW_TOOL = Conversation(
    turns=(*_BEGINNING, Turn(at=29.0, seconds=1.0, answer="wheat salmon herring robin heron pigeon")),
    end=33.5,
    tool_seconds=12.0,
)
"""Greeting, a turn and its reply, a tool call that takes 12 s, and the last reply."""

BRIEF = Conversation(
    turns=(
        Turn(at=0.3, answer="hello welcome quiet gentle river mountain"),
        Turn(at=2.4, seconds=0.6, answer="yellow purple window garden letter bridge"),
        Turn(at=7.2, seconds=0.6, answer="market teacher piano violin castle dragon", calls=True),
    ),
    end=13.0,
    tool_seconds=0.5,
)
"""Greeting, a turn and its reply, a tool call and its result, in 13 s."""
