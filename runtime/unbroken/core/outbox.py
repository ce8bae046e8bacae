"""The order in which audio, text, tool results and activity marks reach the model, and the gate before them.

Audio stands in the journal; everything else is pinned at a position in it. A link has a cursor: what lies before was sent.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from unbroken.errors import UnbrokenError
from unbroken.events import ActivityMark, ReplyRequest, Told, ToolResult, Turn, UserText

__all__ = ["AudioSpan", "Item", "Outbox", "OutboxFull", "Pinned", "Send"]

Item: TypeAlias = UserText | ReplyRequest | ToolResult | ActivityMark | Told | Turn
"""What is pinned in the user's audio; a `Turn` is context that is told in words on one link, and a `Told` belongs to the
conversation."""


class OutboxFull(UnbrokenError):
    """More waits in the outbox than may: there is no link to take it, or a tool call keeps it back.

    Args:
        bound: how many items may wait.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        super().__init__(
            f"the outbox holds {bound} texts, tool results and marks that no link has taken yet, which is its bound: wait"
            " for a Recovered event before sending more"
        )


class AudioSpan(msgspec.Struct, frozen=True):
    """Audio to be sent next.

    Attributes:
        start: the first position, in samples.
        stop: the position after the last.
    """

    start: int
    stop: int


class Pinned(msgspec.Struct, frozen=True):
    """An item to be sent next.

    Attributes:
        seq: its number, from 1 in the order of `Outbox.put`.
        item: the item.
        position: where in the audio it is pinned, in samples.
    """

    seq: int
    item: Item
    position: int = 0


Send: TypeAlias = AudioSpan | Pinned
"""What `Outbox.next` asks to have sent."""


class Outbox:
    """What waits for a link, in order.

    An item goes before the audio at its position, so a tool result goes before audio that waits there; items at one
    position go in the order in which they were put. The gate is closed while there is no link. While audio is held, only
    tool results pass, and they pass everything.

    Args:
        bound: items that may wait at most; of those that were sent and not settled as many are kept besides, the last ones.

    Attributes:
        position: up to here the current link was given the audio, in samples.
        oldest: every item from this number on that is not settled can be sent again. It is 1 until more were sent than are
            kept; a context that holds less than ``oldest - 1`` can no longer be given all that it lacks.
    """

    def __init__(self, *, bound: int = 1024) -> None:
        self.position: int = 0
        self.oldest: int = 1
        self._bound = bound
        self._open = False
        self._holds: set[str] = set()
        self._count = 0
        # Waiting and sent items as (position, seq, item), sorted; seq is unique, so items are never compared.
        self._waiting: list[tuple[int, int, Item]] = []
        self._sent: list[tuple[int, int, Item]] = []

    # -- The gate -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """There is a link that may be sent to."""
        self._open = True

    def close(self) -> None:
        """There is none."""
        self._open = False

    @property
    def is_open(self) -> bool:
        """There is a link that may be sent to."""
        return self._open

    def hold_audio(self, reason: str) -> None:
        """Audio, marks and texts wait until every reason to hold them is released; tool results pass."""
        self._holds.add(reason)

    def release_audio(self, reason: str) -> None:
        """One reason to hold audio is gone; one that was not given is none."""
        self._holds.discard(reason)

    @property
    def holds(self) -> frozenset[str]:
        """Why audio is held; empty: it is not."""
        return frozenset(self._holds)

    def clear_at(self, end: int) -> bool:
        """Says whether nothing waits before ``end``, so that what is appended there may be written straight through.

        Args:
            end: the journal's end, in samples, before the new audio.
        """
        return self._open and self.position == end and not self._waiting and not self._holds

    # -- The order ----------------------------------------------------------------------------------------------------

    def put(self, item: Item, position: int) -> int:
        """Pins an item at a position: the journal's end, or an earlier one for what must not wait for audio.

        Returns:
            The item's number, from 1.

        Raises:
            OutboxFull: as many wait as may; nothing was put. Answers to tool calls are bounded by the calls.
        """
        if len(self._waiting) >= self._bound and not isinstance(item, ToolResult):
            raise OutboxFull(self._bound)
        self._count += 1
        insort(self._waiting, (position, self._count, item))
        return self._count

    def next(self, end: int, *, limit: int) -> Send | None:
        """Returns what is to be sent next; the same again until `advance` takes it.

        Args:
            end: the journal's end, in samples.
            limit: samples of audio at most.

        Returns:
            None: nothing waits, or the gate is closed.
        """
        if not self._open:
            return None
        if self._holds:
            return next((_pinned(entry) for entry in self._waiting if isinstance(entry[2], ToolResult)), None)
        if self._waiting:
            first = self._waiting[0]
            if first[0] <= self.position:
                return _pinned(first)
            end = min(end, first[0])
        if self.position >= end:
            return None
        return AudioSpan(self.position, min(end, self.position + limit))

    def advance(self, send: Send) -> None:
        """What `next` returned was sent, or audio was written straight through."""
        match send:
            case AudioSpan(stop=stop):
                self.position = stop
            case Pinned(seq=seq):
                for place, entry in enumerate(self._waiting):
                    if entry[1] == seq:
                        insort(self._sent, self._waiting.pop(place))
                        self._drop_oldest()
                        break

    @property
    def waiting(self) -> tuple[Pinned, ...]:
        """The items that the current link was not given, in the order in which it will be."""
        return tuple(map(_pinned, self._waiting))

    # -- Another link -------------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> tuple[int, int]:
        """The current link's position in the audio, and the last number up to which it was given every item."""
        first_waiting = min((entry[1] for entry in self._waiting), default=self._count + 1)
        return self.position, first_waiting - 1

    def rewind(self, position: int, seq: int, *, held: Callable[[int, Item], bool] | None = None) -> None:
        """A new link begins: audio from a position on is sent, and every item after ``seq``, those sent before again.

        Args:
            position: `unbroken.core.journal.Plan.start`.
            seq: the last item that the link's context holds, all before it included: of a `cursor` when the context was
                preserved, or of now.
            held: says of an item after that, by its number, whether it holds that as well; None: it holds none.
        """
        self.position = position
        if self._waiting or self._sent:
            items = sorted(self._waiting + self._sent)
            again = {number for _, number, item in items if number > seq and (held is None or not held(number, item))}
            self._waiting = [entry for entry in items if entry[1] in again]
            self._sent = [entry for entry in items if entry[1] not in again]

    def drop_empty_turns(self, position: int) -> None:
        """Forgets the marks of turns of which no audio will be sent: it is lost, or crossed in words.

        Args:
            position: from there on audio is sent.
        """
        turn: list[int] = []
        empty: set[int] = set()
        for at, seq, item in self._waiting:
            if at > position or not isinstance(item, ActivityMark):
                continue
            if item.mark == "start":
                turn = [seq]
            elif turn:
                turn.append(seq)
            if item.mark == "end":
                empty.update(turn)
                turn = []
        self._waiting = [entry for entry in self._waiting if entry[1] not in empty]

    def settle(self, seq: int) -> None:
        """Sent items up to ``seq`` are held by whatever context survives; they are forgotten. What waits stays."""
        if self._sent:
            self._sent = [entry for entry in self._sent if entry[1] > seq]

    def _drop_oldest(self) -> None:
        while len(self._sent) > self._bound:
            gone = min(self._sent, key=_seq)
            self._sent.remove(gone)
            self.oldest = max(self.oldest, gone[1] + 1)

    def __repr__(self) -> str:
        gate = "closed" if not self._open else f"held: {', '.join(sorted(self._holds))}" if self._holds else "open"
        return f"<Outbox {gate} at {self.position}, {len(self._waiting)} waiting, {len(self._sent)} unsettled>"


def _seq(entry: tuple[int, int, Item]) -> int:
    return entry[1]


def _pinned(entry: tuple[int, int, Item]) -> Pinned:
    position, seq, item = entry
    return Pinned(seq, item, position)
