"""The dials to one endpoint, in order: so many per second at most, and so many at a time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Dials"]

AGAIN: Final = 0.05
"""Seconds after which a dial looks again that found as many on their way as may be."""

_WINDOW: Final = 1.0


class _Waiting:
    """A dial that has its place and has not begun."""

    __slots__ = ("number", "start", "target", "wanted")

    def __init__(self, number: int, target: str, wanted: float, start: float) -> None:
        self.number = number
        self.target = target
        self.wanted = wanted
        self.start = start

    def __lt__(self, other: _Waiting) -> bool:
        return (self.start, self.number) < (other.start, other.number)


class Dials:
    """Who waits to dial one endpoint, and who is on the way.

    A place is a time, and the order of places is kept: when dials are put off, those behind them are put off as well.

    Args:
        per_second: dials that may begin within any second.
        at_a_time: dials that may be on their way, from their begin until they are up or over.
    """

    def __init__(self, *, per_second: int, at_a_time: int) -> None:
        self._per_second = per_second
        self._at_a_time = at_a_time
        self._waiting: list[_Waiting] = []
        self._places: dict[int, _Waiting] = {}
        self._begun: deque[float] = deque(maxlen=per_second)
        self._flying: set[int] = set()

    def __repr__(self) -> str:
        return f"<Dials {len(self._flying)} on their way, {len(self._waiting)} waiting>"

    def __len__(self) -> int:
        return len(self._waiting) + len(self._flying)

    def turn(self, at: float) -> float:
        """Returns when a dial could begin that is wanted at a time, as things are."""
        starts = sorted([*self._begun, *(waiting.start for waiting in self._waiting)])
        return _slot(starts, at, self._per_second)

    def is_calm(self, now: float) -> bool:
        """Says whether nobody waits, and a dial that could as well be left would take no more than half of each ceiling."""
        lately = sum(at > now - _WINDOW for at in self._begun)
        return not self._waiting and 2 * lately < self._per_second and 2 * len(self._flying) < self._at_a_time

    def place(self, number: int, target: str, at: float) -> float:
        """Gives a dial its place; returns when that is.

        Args:
            number: its permit's.
            target: its target's name.
            at: when it is wanted.
        """
        waiting = _Waiting(number, target, at, self.turn(at))
        insort(self._waiting, waiting)
        self._places[number] = waiting
        return waiting.start

    def due(self, number: int) -> float:
        """Returns the place of a dial that waits."""
        return self._places[number].start

    def begin(self, number: int, now: float) -> float:
        """Begins a dial whose place has come.

        Returns:
            `now`: it has begun. Later: it is not its turn before.
        """
        waiting = self._places[number]
        if waiting.start > now:
            return waiting.start
        may = now
        if len(self._begun) == self._per_second:
            may = max(may, self._begun[0] + _WINDOW)
        if len(self._flying) >= self._at_a_time:
            may = max(may, now + AGAIN)
        if may > now:
            self.put_off(lambda _target, _rank: may)
            return waiting.start
        self._leave(number)
        self._begun.append(now)
        self._flying.add(number)
        return now

    def over(self, number: int) -> None:
        """A dial is up, or over, or will not be made."""
        self._flying.discard(number)
        if number in self._places:
            self._leave(number)

    def put_off(self, until: Callable[[str, int], float]) -> None:
        """Gives those who wait new places in their old order.

        Args:
            until: given a target, and how many wait for it before this one, returns when this one may dial at the earliest.
        """
        starts: list[float] = list(self._begun)
        ahead: dict[str, list[float]] = {}
        for waiting in self._waiting:
            before = ahead.setdefault(waiting.target, [])
            start = max(waiting.start, until(waiting.target, len(before)), before[-1] if before else 0.0)
            waiting.start = _slot(starts, start, self._per_second)
            before.append(waiting.start)
            insort(starts, waiting.start)
        self._waiting.sort()

    def _leave(self, number: int) -> None:
        waiting = self._places.pop(number)
        del self._waiting[bisect_left(self._waiting, waiting)]


def _slot(starts: list[float], at: float, ceiling: int) -> float:
    """Returns the first time from `at` on around which fewer than the ceiling of dials begin within a second."""
    while True:
        after = bisect_left(starts, at + _WINDOW)
        before = after - ceiling
        if before < 0 or starts[before] + _WINDOW <= at:
            return at
        at = starts[before] + _WINDOW
