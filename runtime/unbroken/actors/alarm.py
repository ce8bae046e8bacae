"""One timer whose wake-up can be moved for next to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

__all__ = ["Alarm"]


class Alarm:
    """A timer that calls back once when its deadline has come.

    Moving the deadline later only notes it: the timer's task notices when it wakes, and sleeps on. Moving it earlier
    moves the sleeping task's deadline. Neither makes a cancel scope or switches tasks, so an actor can set its alarm after
    every message.

    Args:
        ring: called, from the timer's task, when the deadline has come; the deadline is then `math.inf` again.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._deadline = math.inf
        self._sleep: anyio.CancelScope | None = None

    @property
    def deadline(self) -> float:
        """When it rings, on the clock of `anyio.current_time`; `math.inf`: not at all."""
        return self._deadline

    def set(self, deadline: float) -> None:
        """Moves the deadline.

        Args:
            deadline: on the clock of `anyio.current_time`; in the past: as soon as may be; `math.inf`: never.
        """
        self._deadline = deadline
        if self._sleep is not None and deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    async def run(self) -> None:
        """Is the timer's task. Runs until it is cancelled."""
        while True:
            with anyio.CancelScope(deadline=self._deadline) as self._sleep:
                await anyio.sleep_forever()
            self._sleep = None
            if anyio.current_time() >= self._deadline:
                self._deadline = math.inf
                self._ring()

    def __repr__(self) -> str:
        return f"<Alarm at {self._deadline:.3f}>" if self._deadline < math.inf else "<Alarm unset>"
