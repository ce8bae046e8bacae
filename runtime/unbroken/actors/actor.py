"""An actor: one task, one mailbox, one message at a time, one deadline."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel

from unbroken.actors.alarm import Alarm
from unbroken.actors.mailbox import BATCH, Mailbox

__all__ = ["Actor"]

M = TypeVar("M")

STUCK = 1000
"""Deadlines in a row, each already past when it was read, that are a bug and not work."""

LATE = 0.05
"""Seconds after a deadline from which on a wake-up is late: the process was stopped, or got no processor."""

READING = 10
"""Turns of the loop in which what came while nothing ran gets from a socket to an actor, through about five tasks."""


class Actor(ABC, Generic[M]):
    """Handles messages one by one, and its one deadline when it comes.

    A subclass decides nothing here: it feeds its pure core, performs what comes back, and shows the core's deadline.
    Whatever has to wait is done by other tasks that post their result.

    Args:
        mailbox: where its messages arrive.

    Attributes:
        name: the mailbox's name.
        mailbox: as given.
    """

    def __init__(self, mailbox: Mailbox[M]) -> None:
        self.name = mailbox.name
        self.mailbox = mailbox
        self._alarm = Alarm(mailbox.wake)
        self._stopped = False

    @abstractmethod
    def handle(self, message: M) -> None:
        """Handles one message. Synchronous: it cannot wait, so nothing can come between its beginning and its end."""

    def on_deadline(self, now: float) -> None:
        """Handles the deadline, and moves it. Called when `deadline` has come, also while messages keep coming.

        Where the process stood still past the deadline, what came meanwhile is handled first: it may have come in time.

        Args:
            now: seconds on the clock of `anyio.current_time`, not before the deadline.
        """

    @property
    def deadline(self) -> float:
        """When `on_deadline` is wanted; `math.inf`: not at all. Read after each message and each wake-up."""
        return math.inf

    def stop(self) -> None:
        """Ends the actor after the message that it is handling. What is left in the mailbox is not handled."""
        self._stopped = True
        self.mailbox.close()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Is the actor's task: runs until `stop` or until it is cancelled.

        What `handle` or `on_deadline` raises leaves it unwrapped.
        """
        crash: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._alarm.run, name=f"{self.name}: alarm")
            task_status.started()
            try:
                await self._work()
            except Exception as error:  # because the task group would wrap it; raised again below
                crash = error
            tasks.cancel_scope.cancel()
        if crash is not None:
            raise crash

    async def _work(self) -> None:
        turns = late = came = 0
        awaited = math.inf
        while not self._stopped:
            deadline = self.deadline
            now = anyio.current_time() if deadline < math.inf else 0.0
            if now > awaited + LATE:
                came, awaited = await self._read_on(), math.inf
                continue
            awaited = math.inf
            if deadline <= now and not came:
                late += 1
                if late > STUCK:
                    raise RuntimeError(f"actor {self.name!r} leaves its deadline in the past: on_deadline has to move it")
                self.on_deadline(now)
            else:
                late = 0
            turns += 1
            if self._stopped:
                break
            if len(self.mailbox):
                came = max(0, came - 1)
                self.handle(self.mailbox.receive_nowait())
            elif deadline > now:
                self._alarm.set(awaited := deadline)
                await self.mailbox.wait()
                turns = 0
            if turns >= BATCH:
                turns = 0
                await anyio.lowlevel.checkpoint()

    async def _read_on(self) -> int:
        """Lets what came while the process stood still arrive; returns how many messages there are."""
        for _ in range(READING):
            await anyio.lowlevel.checkpoint()
        return len(self.mailbox)

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else f"{len(self.mailbox)} waiting"
        return f"<{type(self).__name__} {self.name!r} {state}>"
