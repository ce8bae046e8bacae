"""How a new link's model comes to give the reply that it owes: exactly one thing asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from unbroken.config import Settings
from unbroken.core.replies import Replies
from unbroken.events import Crossed, Turn

__all__ = ["Asking"]


class Asking:
    """What a new link is told and asked, besides what the user said.

    Args:
        replies: the session's replies.
        settings: what becomes of a cut reply, and in which words.

    Attributes:
        preface: what the link is told before anything else.
    """

    def __init__(self, replies: Replies, *, settings: Settings) -> None:
        self.preface: tuple[Turn, ...] = ()
        self._replies = replies
        self._way = settings.on_cut_reply
        self._wording = settings.wording
        self._for: Literal["", "rest", "again", "owed"] = ""
        self._lead = ""

    def settle(self, *, owed: bool, asked: bool, moved_on: bool, silent: bool) -> None:
        """Another link is up.

        Where the question is heard or read again, that asks. What the caller heard of a cut reply is told before it then,
        where the model can be told something without answering that.

        Args:
            owed: the model owes a reply.
            asked: something that is sent anyway asks for it.
            moved_on: the user has spoken since the reply was cut, so nobody waits for the rest of it.
            silent: see `unbroken.abc.Profile.silent_context`.
        """
        cut = self._replies.cut
        self._for, self._lead, self.preface = "owed" if owed and not asked else "", "", ()
        if cut is None:
            return
        if self._way == "leave" or moved_on:
            self._replies.cut = None
            self._for = "" if self._way == "leave" else self._for
            return
        continued = self._way == "continue" and (not asked or silent)
        cut.crossing = "continues" if continued else "again"
        if not asked:
            self._for = "rest" if continued else "again"
        elif continued:
            self.preface = (Turn(role="user", text=self._wording.told.replace("{heard}", cut.told)),)

    def tell(self, turns: Sequence[Turn], *, silent: bool) -> None:
        """The link is told turns that were answered before, ahead of all that `settle` has put.

        Args:
            turns: the turns.
            silent: the model can be told something without answering that; otherwise all of it is one text, which is told
                together with what asks for a reply, if anything does.
        """
        if silent:
            self.preface = (*turns, *self.preface)
            return
        said = " ".join(f'{"You" if turn.role == "model" else "The caller"} said: "{turn.text}"' for turn in turns)
        text = self._wording.over.replace("{said}", said)
        if self._for:
            self._lead = text
        else:
            self.preface = (Turn(role="user", text=text), *self.preface)

    def prompt(self) -> str:
        """Returns what the model is to be asked for, now that all else was sent; "": nothing is to be asked for."""
        asked = self._asked()
        self._for = ""
        return f"{self._lead} {asked}".strip() if asked or self._lead else ""

    def _asked(self) -> str:
        cut = self._replies.cut
        match self._for:
            case "rest" if cut is not None:
                return self._wording.go_on.replace("{heard}", cut.told)
            case "again" if cut is not None:
                return cut.request or self._wording.again
            case "owed":
                return self._replies.requested or self._wording.owed or ""
            case _:
                return ""

    def became(self, *, cut: bool) -> Crossed:
        """Says what became of the reply in flight.

        Args:
            cut: a reply was cut.
        """
        taken = self._replies.cut
        if taken is not None and taken.crossing:
            return "continued" if taken.crossing == "continues" else "again"
        owed = self._for == "owed" and (self._replies.requested or self._wording.owed)
        return "owed" if owed else "cut" if cut else "none"
