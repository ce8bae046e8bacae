"""What a task that is woken for every frame costs least with: a bell for one waiter, and a clock that knows its loop."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    import asyncio

__all__ = ["Bell", "clock"]


def clock() -> Callable[[], float]:
    """Returns the clock of the event loop that this is called in: what `anyio.current_time` reads, without the search for
    the loop, which takes five times as long as reading it."""
    loop = _asyncio_loop()
    return anyio.current_time if loop is None else loop.time


class Bell:
    """Wakes one waiting task. A ring that nobody waits for is forgotten: look for what there is before each wait.

    On asyncio it is a bare future, which costs half of an `anyio.Event` that is made anew for each wait.
    """

    __slots__ = ("_loop", "_waiter")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | anyio.Event | None = None

    def ring(self) -> None:
        """Wakes the task that waits. Never waits itself."""
        waiter = self._waiter
        if waiter is None:
            return
        self._waiter = None
        if isinstance(waiter, anyio.Event):
            waiter.set()
        elif not waiter.done():  # its task may have been cancelled
            waiter.set_result(None)

    def wait(self) -> Awaitable[None]:
        """Waits for the next ring; to be awaited at once.

        Raises:
            RuntimeError: another task is waiting.
        """
        if self.awaited:
            raise RuntimeError("two tasks wait for one bell; it wakes one")
        if self._loop is None:
            self._loop = _asyncio_loop()
            if self._loop is None:
                return self._wait()
        self._waiter = future = self._loop.create_future()
        return future

    async def _wait(self) -> None:
        self._waiter = event = anyio.Event()
        try:
            await event.wait()
        finally:
            if self._waiter is event:
                self._waiter = None

    @property
    def awaited(self) -> bool:
        """Whether a task waits for it."""
        waiter = self._waiter
        return waiter is not None and (isinstance(waiter, anyio.Event) or not waiter.done())

    def __repr__(self) -> str:
        return f"<Bell {'awaited' if self.awaited else 'at rest'}>"


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Returns the loop of the asyncio task that this is called in; None: it is called in none, as on trio."""
    if "asyncio" not in sys.modules:  # trio needs none, and importing it takes longer than all of this package
        return None
    import asyncio

    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return task.get_loop() if task is not None else None
