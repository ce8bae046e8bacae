"""Sets of positions in the user's audio, and a ledger of audio that arrived: what was repeated, late or reordered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

__all__ = ["Intervals", "Ledger", "Range", "append"]

Range: TypeAlias = tuple[int, int]
"""The first position, and the one after the last."""


def append(ranges: list[Range], more: Iterable[Range]) -> None:
    """Appends ranges in their order; those that go on where the one before ended become one with it."""
    for start, end in more:
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        elif start < end:
            ranges.append((start, end))


class Intervals:
    """A set of positions, kept as the half-open ranges ``[start, end)`` that it consists of, in order and never touching.

    Args:
        ranges: half-open ranges in any order; empty ones are left out.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> list[Range]:
        """Adds a range.

        Returns:
            What of it had been there before, in order.
        """
        if start >= end:
            return []
        starts, ends = self._starts, self._ends
        if ends and start == ends[-1]:  # the audio goes on: nearly every call
            ends[-1] = end
            return []
        first, last = bisect_left(ends, start), bisect_right(starts, end)
        before = [(max(start, s), min(end, e)) for s, e in zip(starts[first:last], ends[first:last], strict=True)]
        merged = (min(start, starts[first]), max(end, ends[last - 1])) if first < last else (start, end)
        starts[first:last], ends[first:last] = [merged[0]], [merged[1]]
        return [(s, e) for s, e in before if s < e]

    def update(self, ranges: Iterable[Range]) -> None:
        """Adds ranges."""
        for start, end in ranges:
            self.add(start, end)

    def within(self, start: int, end: int) -> Intervals:
        """Returns what lies in ``[start, end)``."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        cut = Intervals()
        cut._starts, cut._ends = self._starts[first:last], self._ends[first:last]
        if cut:
            cut._starts[0], cut._ends[-1] = max(start, cut._starts[0]), min(end, cut._ends[-1])
        return cut

    def __and__(self, other: Intervals) -> Intervals:
        both = Intervals()
        for start, end in self:
            both.update(other.within(start, end))
        return both

    def __or__(self, other: Intervals) -> Intervals:
        either = self.copy()
        either.update(other)
        return either

    def __sub__(self, other: Intervals) -> Intervals:
        rest = Intervals()
        for start, end in self:
            for s, e in other.within(start, end):
                rest.add(start, s)
                start = e
            rest.add(start, end)
        return rest

    def copy(self) -> Intervals:
        """Returns a set of its own with the same positions."""
        same = Intervals()
        same._starts, same._ends = self._starts.copy(), self._ends.copy()
        return same

    @property
    def total(self) -> int:
        """How many positions there are."""
        return sum(self._ends) - sum(self._starts)

    @property
    def start(self) -> int:
        """The first position; 0 where there is none."""
        return self._starts[0] if self._starts else 0

    @property
    def end(self) -> int:
        """The position after the last one; 0 where there is none."""
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Range]:
        return zip(self._starts.copy(), self._ends.copy(), strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __contains__(self, position: int) -> bool:
        at = bisect_right(self._ends, position)
        return at < len(self._starts) and self._starts[at] <= position

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Intervals {' '.join(f'{s}-{e}' for s, e in self) or 'none'}>"


class Ledger:
    """What arrived, range by range, in the order of arrival.

    Args:
        rate: positions per second of audio.
        late_after: seconds; audio that arrives later than this after its time, measured from the earliest that any audio
            came, counts as late.

    Attributes:
        heard: what arrived.
        repeated: what arrived again, each time counted.
        reordered: how much arrived for the first time after something that comes later.
        late: how much arrived for the first time and late.
    """

    def __init__(self, *, rate: int = 16_000, late_after: float = 1.0) -> None:
        self.rate: Final = rate
        self.late_after: Final = late_after
        self.heard = Intervals()
        self.repeated: list[Range] = []
        self.reordered = 0
        self.late = 0
        self._origin: float | None = None

    def arrived(self, start: int, end: int, *, now: float) -> list[Range]:
        """Takes note of a range.

        Args:
            start: its first position.
            end: the position after its last.
            now: seconds on any clock that does not jump.

        Returns:
            What of it had arrived before.
        """
        last = self.heard.end
        before = self.heard.add(start, end)
        new = end - start - sum(e - s for s, e in before)
        origin = now - end / self.rate
        self._origin = origin if self._origin is None else min(origin, self._origin)
        if origin - self._origin > self.late_after:
            self.late += new
        if start < last:
            self.reordered += new - max(0, end - last)
        append(self.repeated, before)
        return before

    def copy(self) -> Ledger:
        """Returns a ledger of its own that knows the same."""
        same = Ledger(rate=self.rate, late_after=self.late_after)
        same.heard, same.repeated = self.heard.copy(), self.repeated.copy()
        same.reordered, same.late, same._origin = self.reordered, self.late, self._origin
        return same

    @property
    def repeated_total(self) -> int:
        """How many positions arrived again, each time counted."""
        return sum(end - start for start, end in self.repeated)

    def __repr__(self) -> str:
        counts = f"{self.repeated_total} repeated, {self.reordered} reordered, {self.late} late"
        return f"<Ledger {self.heard.total} heard, {counts}>"
