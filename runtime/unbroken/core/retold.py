"""What a resumed session is told again: what was said and done after its snapshot, where that was answered.

Unanswered turns are heard again. An answered one would be answered again then, so it is told in words, as turns that ask for
no reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from unbroken.core.outbox import Item
from unbroken.core.said import Said
from unbroken.events import ToolResult

__all__ = ["Mark", "Retold", "retell"]


class Mark(NamedTuple):
    """A moment of a conversation.

    Attributes:
        position: up to there the user's audio was heard, in samples.
        seq: the last item of the outbox that the model had.
        kept: how many turns had been kept.
    """

    position: int = 0
    seq: int = 0
    kept: int = 0


class Retold(NamedTuple):
    """What crosses in words besides a handle.

    Attributes:
        known: up to there the user's audio needs no more be heard, in samples.
        seq: the last item of the outbox that needs no more be sent.
        said: what is told.
    """

    known: int
    seq: int
    said: tuple[Said, ...] = ()

    def holds(self, seq: int, item: Item) -> bool:
        """Says whether an item of the outbox is told, so that it need not be sent, wherever it stands there.

        Args:
            seq: its number.
            item: the item; a call that was issued again was answered by more than one.
        """
        call_id = item.call_id if isinstance(item, ToolResult) else ""
        return any(one.call_id == call_id if call_id else one.seq == seq for one in self.said)

    @property
    def by_user(self) -> bool:
        """Something that the user said is told."""
        return any(one.role == "user" for one in self.said)


def retell(
    turns: Iterable[Said],
    *,
    since: Mark,
    upto: Mark,
    settled: Callable[[str], bool],
    untold: Callable[[Sequence[tuple[int, bool]]], int],
) -> Retold:
    """Finds what was said and done between a snapshot and the last reply that was completed.

    Where a part of the user's speech in it has no transcript, only what lies before that part is told, if there were no
    texts and no tool calls.

    Args:
        turns: what is kept of the conversation, in order.
        since: the snapshot.
        upto: what the last completed reply answers.
        settled: says whether a reply was completed by a context that had the answer to a tool call.
        untold: counts the speech after the snapshot that no transcript tells, given up to where the user was heard in each
            turn and whether it has words (`unbroken.core.journal.Journal.untold`).
    """
    nothing = Retold(since.position, since.seq)
    if upto.position < since.position or upto.seq < since.seq or upto.kept < since.kept:
        return nothing
    after = [one for one in turns if one.number <= upto.kept and _after(one, since)]
    heard = [(one.position, one.size > 0) for one in after if one.role == "user" and one.spoken and one.position is not None]
    positions = [upto.position]
    if upto.seq == since.seq and not any(one.call_id for one in after):
        positions += sorted({position for position, _ in heard if position < upto.position}, reverse=True)
    for position in positions:
        if not untold([*(turn for turn in heard if turn[0] <= position), (position, False)]):
            told = Mark(position, upto.seq, upto.kept)
            return Retold(position, upto.seq, tuple(one for one in after if _answered(one, told, settled)))
    return nothing


def _after(one: Said, since: Mark) -> bool:
    """Says whether a snapshot does not hold a turn."""
    if one.seq:
        return one.seq > since.seq
    if one.position is not None and one.position > since.position:
        return True
    return one.number > since.kept and not (one.role == "user" and one.spoken)


def _answered(one: Said, upto: Mark, settled: Callable[[str], bool]) -> bool:
    """Says whether a turn has words and lies before the end of a completed reply."""
    if not one.size:
        return False
    if one.call_id:
        return settled(one.call_id)
    if one.spoken:
        return one.position is not None and one.position <= upto.position
    return one.seq <= upto.seq
