"""One turn of a conversation in words, while it may still change."""

from __future__ import annotations

from typing import Literal

__all__ = ["Said"]

_BOUND = 20_000
"""Characters kept of one turn, the last ones."""


class Said:
    """One turn.

    Args:
        role: who spoke.
        text: the words so far.
        spoken: it is made of the user's audio, or answers it, so it is said again where that audio is replayed.
        seq: its number in the outbox, where it was sent as a text; 0: it was not.
        call_id: the call that it tells of; "": it tells of none.

    Attributes:
        number: its place among all that were ever kept, from 1; 0: it is not kept.
        size: characters.
        position: up to where the user was heard in it, or before it, in samples; None: not known yet.
        answered: a reply to it has begun.
        closed: what is said next belongs to another turn.
    """

    __slots__ = ("answered", "call_id", "closed", "number", "pieces", "position", "role", "seq", "size", "spoken")

    def __init__(
        self, role: Literal["user", "model", "tool"], *, text: str = "", spoken: bool, seq: int = 0, call_id: str = ""
    ) -> None:
        self.role: Literal["user", "model", "tool"] = role
        self.pieces = [text] if text else []
        self.size = len(text)
        self.spoken = spoken
        self.seq = seq
        self.call_id = call_id
        self.number = 0
        self.position: int | None = None
        self.answered = False
        self.closed = False

    def add(self, text: str) -> None:
        """Takes more words."""
        self.pieces.append(text)
        self.size += len(text)
        if self.size > _BOUND:
            self.pieces = [self.text[-_BOUND:]]
            self.size = len(self.pieces[0])

    @property
    def text(self) -> str:
        """All words that are kept."""
        return "".join(self.pieces)

    def stands(self, upto: int, *, open_turn: bool) -> bool:
        """Says whether it stays in the history where the user's audio is replayed from a position on.

        Args:
            upto: the position, in samples.
            open_turn: a turn that the user had not finished does.
        """
        if not self.spoken:
            return True
        if self.position is None:
            return open_turn and self.role == "user" and not self.answered
        return self.position <= upto

    def keep(self, text: str, share: float) -> None:
        """Keeps what was heard of it, up to a whole word.

        Args:
            text: all that was said.
            share: how much of that was heard, from 0 to 1.
        """
        kept = text[: int(len(text) * min(1.0, share))]
        if len(kept) < len(text) and not text[len(kept)].isspace():
            kept = kept[: kept.rfind(" ") + 1]
        kept = kept.rstrip()
        self.pieces = [f"{kept}…"] if kept else []
        self.size = len(kept) + 1 if kept else 0
