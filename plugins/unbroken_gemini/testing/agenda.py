"""What a connection is going to say or do, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import TypeAlias

from unbroken.testing.faults import Close
from unbroken_gemini import wire

__all__ = ["Action", "Agenda", "Entry"]

Action: TypeAlias = Callable[[float], None]
"""Something to be done at a time, which it is given."""

Entry: TypeAlias = wire.ServerMessage | Close | Action


class Agenda:
    """Entries in the order of their times, and in the order in which they were put for one time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Entry]] = []
        self._count = 0

    def put(self, at: float, entry: Entry, *, tag: str = "") -> None:
        """Puts an entry.

        Args:
            at: its time.
            entry: a message, a close, or something to be done.
            tag: what it can be dropped by.
        """
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, tag, entry))

    def drop(self, tag: str) -> None:
        """Drops the entries with a tag."""
        self._heap = [entry for entry in self._heap if entry[2] != tag]
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """Drops everything."""
        self._heap.clear()

    @property
    def deadline(self) -> float | None:
        """The time of the next entry; None: there is none."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[wire.ServerMessage | Close]:
        """Does what is due, and yields what is to be said."""
        while self._heap and self._heap[0][0] <= now:
            at, _, _, entry = heapq.heappop(self._heap)
            if isinstance(entry, wire.ServerMessage | Close):
                yield entry
            else:
                entry(at)
