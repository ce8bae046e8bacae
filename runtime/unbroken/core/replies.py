"""The model's replies: which one an outage has cut, which one the application asked for, and how much of each was played."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from unbroken.core.said import Said
from unbroken.events import ReplyBegan

__all__ = ["Cut", "Replies"]

_KEPT = 8
"""Replies of which the application may still say how much was played."""

_TOLD = 2_000
"""Characters of a cut reply that the model is told of, the last ones."""


class Cut:
    """A reply whose link ended before it did.

    Args:
        reply: its number.
        said: its words in the history; None: there is no transcript of it.
        before: the cut reply that it carried on itself; None: it carried none on.
        received_ms: how much was received, which keeps playing.
        heard: up to here the user's audio had been heard, in samples.
        request: the instructions by which the application had asked for it; "": it had not.

    Attributes:
        crossing: how the reply that comes next takes it up: "continues" it, or gives it "again"; "": it does not.
    """

    __slots__ = ("before", "crossing", "heard", "received_ms", "reply", "request", "said")

    def __init__(
        self, reply: int, *, said: Said | None, before: Cut | None, received_ms: float, heard: int, request: str
    ) -> None:
        self.reply = reply
        self.said = said
        self.before = before.text[-_TOLD:] if before is not None else ""
        self.received_ms: float = received_ms + (before.received_ms if before is not None else 0.0)
        self.heard = heard
        self.request = request
        self.crossing: Literal["", "continues", "again"] = ""

    @property
    def text(self) -> str:
        """The words that the caller has heard of it and of those that it carried on; "": there is no transcript."""
        said = self.said.text.strip().removesuffix("…") if self.said is not None else ""
        return f"{self.before} {said}".strip()

    @property
    def told(self) -> str:
        """What the caller heard, as the model is told of it."""
        if text := self.text[-_TOLD:]:
            return f'"{text}"'
        seconds = max(1, round(self.received_ms / 1000))
        return f"the first {seconds} seconds of it" if seconds > 1 else "the first second of it"

    def __repr__(self) -> str:
        return f"<Cut reply {self.reply}, {self.received_ms:.0f} ms received>"


class _Spoken(NamedTuple):
    reply: int
    said: Said
    text: str
    received_ms: float


class Replies:
    """Counts the replies, and knows what the next one takes up.

    Attributes:
        count: replies that have begun.
        requested: the instructions by which the application asked for a reply that has not begun; "": it asked for none.
        cut: the last reply, where its link ended before it did and none has begun since; None: it ended otherwise, or the
            user has moved on.
        carried_on: the cut reply that the one in flight carries on; None: none.
    """

    def __init__(self) -> None:
        self.count: int = 0
        self.requested: str = ""
        self.cut: Cut | None = None
        self.carried_on: Cut | None = None
        self._request = ""
        self._last = 0
        self._spoken: deque[_Spoken] = deque(maxlen=_KEPT)

    def request(self, instructions: str, *, seq: int) -> None:
        """A link was given the application's request for a reply; after a crossing it may be given it again.

        Args:
            instructions: what the model was told.
            seq: the request's number in the outbox.
        """
        if seq > self._last:
            self._last, self.cut = seq, None
        self.requested = instructions

    def begin(self, *, link: int) -> tuple[ReplyBegan, Cut | None]:
        """A reply begins on a link. Returns it, and the cut reply that it takes up."""
        self.count += 1
        self._request, self.requested = self.requested, ""
        cut, self.cut = self.cut, None
        crossing = cut.crossing if cut is not None else ""
        self.carried_on = cut if crossing == "continues" else None
        began = ReplyBegan(
            reply=self.count,
            link=link,
            continues=self.carried_on.reply if self.carried_on is not None else 0,
            again=crossing == "again",
        )
        return began, cut if crossing else None

    def end(self, said: Said | None, *, received_ms: float) -> None:
        """The reply in flight has ended, with these words; what was played of them is not known yet."""
        if said is not None and received_ms:
            self._spoken.append(_Spoken(self.count, said, said.text, received_ms))

    def lost(self, said: Said | None, *, received_ms: float, heard: int) -> None:
        """The link of the reply in flight has ended before it did. Nothing was cut where nothing of it had come.

        Args:
            said: its words; None: there is no transcript.
            received_ms: how much of it was received.
            heard: up to here the user's audio is known to have been heard, in samples.
        """
        if said is not None or received_ms:
            self.cut = Cut(
                self.count,
                said=said,
                before=self.carried_on,
                received_ms=received_ms,
                heard=heard,
                request=self._request,
            )
        elif self.carried_on is not None:
            self.cut, self.cut.crossing, self.cut.heard = self.carried_on, "", heard
        else:
            self.requested = self._request

    def played(self, reply: int, *, ms: float) -> None:
        """The application says how much of a reply was played, now that no more of it will be.

        The history tells what was heard, and no more. A reply that is long over is not looked for.

        Args:
            reply: its number.
            ms: milliseconds.
        """
        for spoken in self._spoken:
            if spoken.reply == reply and ms < spoken.received_ms:
                spoken.said.keep(spoken.text, max(0.0, ms) / spoken.received_ms)

    def __repr__(self) -> str:
        return f"<Replies {self.count}, {self.cut!r}>" if self.cut is not None else f"<Replies {self.count}>"
