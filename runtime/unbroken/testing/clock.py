"""Virtual time on asyncio and on trio: when every task waits, the clock jumps to the next timer.

A pending thread and a real socket lose against any timer here: use the memory transport.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

from unbroken.errors import MissingExtra, UnbrokenError

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Deadlock", "VirtualTimeLoop", "stand_still", "virtual"]

Args = TypeVarTuple("Args")

GRACE = 0.2
"""Real seconds in which a real socket may still move a program that has no timer left."""

THREAD_GRACE = 5.0
"""The same for another thread, where there is one."""


class Deadlock(UnbrokenError):
    """Every task waits, and no timer is set: nothing can ever happen again."""


def virtual(backend: str) -> tuple[str, dict[str, Any]]:
    """Returns a backend with virtual time, starting at 0.0, in the form of anyio's ``anyio_backend`` fixture.

    For a program of one's own: ``name, options = virtual("trio"); anyio.run(main, backend=name, backend_options=options)``.

    Args:
        backend: "asyncio" or "trio".

    Raises:
        MissingExtra: trio is not installed.
    """
    match backend:
        case "asyncio":
            return "asyncio", {"loop_factory": VirtualTimeLoop}
        case "trio":
            try:
                from trio.testing import MockClock

                from unbroken.testing._trio import DeadlockWatch
            except ImportError as error:
                raise MissingExtra("virtual time on trio", package="trio", extra="trio") from error
            return "trio", {"clock": MockClock(autojump_threshold=0), "instruments": [DeadlockWatch(_grace, Deadlock)]}
        case _:
            raise ValueError(f"unknown backend {backend!r}; known: asyncio, trio")


def stand_still(seconds: float) -> None:
    """Lets virtual time pass in which nothing runs: so a process finds the world that was stopped, or got no processor.

    What was sent before it is there to be read when things go on, and every timer up to then has run out.

    Args:
        seconds: for how long.

    Raises:
        RuntimeError: the time is not virtual.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        from trio.lowlevel import current_clock
        from trio.testing import MockClock

        clock = current_clock()
        if not isinstance(clock, MockClock):
            raise RuntimeError("time is not virtual here: run it with unbroken.testing.virtual('trio')") from None
        clock.jump(seconds)
    else:
        if not isinstance(loop, VirtualTimeLoop):
            raise RuntimeError("time is not virtual here: run it with unbroken.testing.virtual('asyncio')")
        loop.stand_still(seconds)


def _grace() -> float:
    return GRACE if threading.active_count() == 1 else THREAD_GRACE


class _JumpingSelector(selectors.BaseSelector):
    """A selector that never waits for a timer: it jumps there.

    Args:
        jump: moves the clock by so many seconds.
        deadlock: makes the exception for the case that nothing can ever happen again.
    """

    def __init__(self, jump: Callable[[float], None], deadlock: Callable[[], Deadlock]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump
        self._deadlock = deadlock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None:
            self._jump(timeout)
            return []
        if ready := self._real.select(_grace()):
            return ready
        raise self._deadlock()

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose clock starts at 0.0 and moves only by jumps.

    Attributes:
        on_step: called before each callback that the loop runs; None: nobody listens. See `unbroken.testing.cancel`.
    """

    def __init__(self) -> None:
        self._virtual_now = 0.0
        self.on_step: Callable[[], None] | None = None
        super().__init__(_JumpingSelector(self._jump, self._deadlock))

    def time(self) -> float:
        """Returns the virtual time in seconds."""
        return self._virtual_now

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedules a callback, as every event loop does; tells `on_step` when it runs."""
        if self.on_step is None:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(self._step, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedules a callback at a virtual time; tells `on_step` when it runs."""
        if self.on_step is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, self._step, callback, *args, context=context)

    def _step(self, callback: Callable[[Unpack[Args]], object], *args: *Args) -> None:
        if self.on_step is not None:
            self.on_step()
        callback(*args)

    def stand_still(self, seconds: float) -> None:
        """Moves the clock; see the function of this name."""
        self._jump(seconds)

    def _jump(self, seconds: float) -> None:
        self._virtual_now += seconds

    def _deadlock(self) -> Deadlock:
        tasks = sorted(_where(task) for task in asyncio.all_tasks(self))
        return Deadlock(f"every task waits and no timer is set, at {self._virtual_now:.3f} s: " + "; ".join(tasks))


def _where(task: asyncio.Task[Any]) -> str:
    """Names the innermost frame of a task that waits; `asyncio.Task.get_stack` knows only the outermost."""
    inner: Any = task.get_coro()
    place = "?"
    while (frame := getattr(inner, "cr_frame", None)) is not None:
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        inner = inner.cr_await
    return f"{task.get_name()} at {place}"
