"""What virtual time and cancellation at every step need of trio; imported only on use."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import trio

__all__ = ["DeadlockWatch", "steps"]

_run: Any = importlib.import_module("trio._core._run")
"""trio's scheduler: neither the way of an exception into a waiting task nor the dice that shuffle tasks are public."""


class DeadlockWatch(trio.abc.Instrument):
    """Raises in the main task when nothing can ever happen again. Without it a `trio.testing.MockClock` spins for ever.

    Args:
        grace: tells the real seconds in which a thread or a real socket may still move the program.
        error: makes the exception from its text.
    """

    def __init__(self, grace: Callable[[], float], error: Callable[[str], Exception]) -> None:
        self._grace = grace
        self._error = error
        self._idle_since = math.inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Forgets the idleness: something happens."""
        self._idle_since = math.inf

    def after_io_wait(self, timeout: float) -> None:
        """Looks whether anything can still happen."""
        now = time.monotonic()
        if self._idle_since == math.inf:
            self._idle_since = now
            return
        if now - self._idle_since < self._grace():
            return
        statistics = trio.lowlevel.current_statistics()
        if statistics.tasks_runnable or statistics.seconds_to_next_deadline < math.inf:
            return
        self._idle_since = math.inf
        self._raise_in_main_task()

    def _raise_in_main_task(self) -> None:
        # The way of a KeyboardInterrupt.
        main = _run.GLOBAL_RUN_CONTEXT.runner.main_task
        if main is None or main._abort_func is None:
            return
        error = self._error(
            f"every task waits and no timer is set, at {trio.current_time():.3f} s: " + "; ".join(sorted(_tasks(main)))
        )

        def raise_it() -> NoReturn:
            raise error

        main._attempt_abort(raise_it)


def _tasks(root: trio.lowlevel.Task) -> Iterator[str]:
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in root.iter_await_frames()]
    place = places[-1] if places else "?"
    yield f"{root.name} at {place}"
    for nursery in root.child_nurseries:
        for task in nursery.child_tasks:
            yield from _tasks(task)


@contextmanager
def steps(on_step: Callable[[], None]) -> Generator[None]:
    """Calls `on_step` before each step of any task and at each look for what comes next.

    Meanwhile trio's dice, which shuffle each batch of tasks, are loaded.
    """
    dice = _run._r
    state = dice.getstate()
    dice.seed(0)
    instrument = _Steps(on_step)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)
        dice.setstate(state)


class _Steps(trio.abc.Instrument):
    def __init__(self, on_step: Callable[[], None]) -> None:
        self._on_step = on_step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._on_step()

    def after_io_wait(self, timeout: float) -> None:
        self._on_step()
