"""What a child owes, and until when: nothing here waits or reads a clock.

LiveKit's sessions report no liveness, so a child is judged by what it owes: a reply that was asked for, a reply to a turn of
the user's, the rest of a reply that has begun.
"""

from __future__ import annotations

from typing import Final

from unbroken.config import Deadlines
from unbroken.decisions import Cause

__all__ = ["Watch"]

_STORM: Final = 3
"""Connections that a child may lose and make again by itself, without a reply between, before it counts as hung."""


class Watch:
    """The deadlines of one child.

    Args:
        deadlines: `reply` bounds a reply that was asked for, one to a turn whose end the model itself reported, and the
            silence within a reply; `answer` one to a turn whose end only loudness tells.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._asked: float | None = None
        self._turn: float | None = None
        self._sure = False
        self._heard_start = False
        self._piece: float | None = None
        self._reconnects = 0

    def asked(self, now: float | None) -> None:
        """A reply was asked for; None: it came, or is not wanted any more."""
        self._asked = now

    def speech_started(self) -> None:
        """The model reports that the user speaks."""
        self._heard_start = True

    def turn_ended(self, now: float, *, sure: bool) -> None:
        """The user's turn has ended.

        Args:
            now: the present.
            sure: the model said so; False: it has become quiet. A model's report without the turn's start before it is
                none: livekit's google plugin reports an end with the end of each reply.
        """
        if sure and not self._heard_start:
            return
        self._turn, self._sure = now, sure or self._sure

    def owes(self, now: float) -> None:
        """A tool's result was given, and the model has to reply to it by itself."""
        self._turn, self._sure = now, True

    def spoke(self) -> None:
        """The user speaks again."""
        self._turn = None

    def piece(self, now: float | None) -> None:
        """A piece of a reply came; None: no more pieces are owed."""
        self._piece = now
        if now is not None:
            self._turn, self._sure, self._heard_start = None, False, False

    def replied(self) -> None:
        """A reply has been completed."""
        self._reconnects = 0

    def excuse(self) -> None:
        """The application has changed what the child may make a new connection for."""
        self._reconnects -= 1

    def reconnected(self) -> bool:
        """The child lost its connection and deals with that itself. Returns whether it has done so too often."""
        self._reconnects += 1
        return self._reconnects >= _STORM

    def due(self, *, running: bool) -> tuple[float, Cause] | None:
        """Returns when the next deadline passes, and what it is; None: nothing is owed.

        Args:
            running: a tool runs, so that no reply to the user's turn is owed yet.
        """
        owed: list[tuple[float, Cause]] = []
        if self._asked is not None:
            owed.append((self._asked + self._deadlines.reply, "reply_deadline"))
        if self._turn is not None and not running:
            if self._sure:
                owed.append((self._turn + self._deadlines.reply, "reply_deadline"))
            else:
                owed.append((self._turn + self._deadlines.answer, "answer_deadline"))
        if self._piece is not None:
            owed.append((self._piece + self._deadlines.reply, "reply_stalled"))
        return min(owed, default=None)

    def __repr__(self) -> str:
        return f"<Watch asked={self._asked} turn={self._turn} piece={self._piece}>"
