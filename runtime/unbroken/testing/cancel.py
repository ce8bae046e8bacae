"""Cancels a scenario at its nth step, for every n: whatever can be left behind by a cancellation is found this way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from itertools import count

import anyio
import anyio.lowlevel

from unbroken.testing.clock import VirtualTimeLoop

__all__ = ["cancel_at", "cancel_everywhere"]


async def cancel_at(step: int, scenario: Callable[[], Awaitable[object]]) -> bool:
    """Runs a scenario, and cancels it at the given step of the whole program.

    A step is the smallest thing that the scheduler does: on trio a step of one task, and each look for what comes next; on
    asyncio a callback of the loop, timers included. The steps of every task count. The scenario is cancelled just before
    the step, from outside of any task, as a time-out would do it. Everything is the same up to there each time: on trio
    the dice that shuffle the tasks are loaded meanwhile.

    Needs virtual time on asyncio (`unbroken.testing.virtual`), where the loop tells of its steps.

    Args:
        step: from 1.
        scenario: what to cancel; called once.

    Returns:
        Whether the scenario was done before that step.
    """
    left = step

    def on_step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            scope.cancel()

    for _ in range(2):
        await anyio.lowlevel.checkpoint()  # what an earlier run left in the scheduler's queue is not of this one
    with anyio.CancelScope() as scope, _steps(on_step):
        await scenario()
    return left > 0


async def cancel_everywhere(
    scenario: Callable[[], Awaitable[object]], *, check: Callable[[], object] | None = None, most: int = 10_000
) -> int:
    """Cancels a scenario at step 1, 2, … until it is done before it is cancelled.

    Args:
        scenario: called anew each time.
        check: called after each run, cancelled or not; raises where something was left behind.
        most: steps after which the scenario is taken not to end.

    Returns:
        The number of runs, the last and undisturbed one included.
    """
    for step in count(1):
        done = await cancel_at(step, scenario)
        if check is not None:
            try:
                check()
            except BaseException as error:
                error.add_note(f"after a cancellation at step {step}")
                raise
        if done:
            return step
        if step >= most:
            raise RuntimeError(f"the scenario is not done within {most} steps")
    raise AssertionError("unreachable")


@contextmanager
def _steps(on_step: Callable[[], None]) -> Generator[None]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        from unbroken.testing import _trio

        with _trio.steps(on_step):
            yield
        return
    if not isinstance(loop, VirtualTimeLoop):
        raise RuntimeError("cancel_at needs virtual time on asyncio: run it with unbroken.testing.virtual('asyncio')")
    loop.on_step = on_step
    try:
        yield
    finally:
        loop.on_step = None
