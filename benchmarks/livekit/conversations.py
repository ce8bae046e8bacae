"""The calls of the comparison of LiveKit's realtime models, as data."""

from __future__ import annotations

from benchmarks.suite.conversations import Conversation, Turn

__all__ = ["BRIEF", "FULL", "LONG", "SLOW_TOOL"]

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
