"""One session of one wrapped model, from its beginning to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from livekit.agents import llm, utils

from unbroken.config import Deadlines
from unbroken.decisions import Cause
from unbroken_livekit.log import logger
from unbroken_livekit.wrapping.watch import Watch

__all__ = ["SETTLE", "Child", "End", "stop"]

SETTLE: Final = 0.15
"""Seconds in which a plugin that closed a reply's streams may still say that its connection has ended: livekit's google
plugin closes them first. After that the reply counts as complete."""

_CLOSE: Final = 5.0
"""Seconds that a child's own closing may take; then its tasks are left to it."""


async def stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Ends tasks, and waits until they have ended."""
    if going := [task for task in tasks if not task.done()]:
        await utils.aio.cancel_and_wait(*going)


class End(NamedTuple):
    """How a child ended.

    Attributes:
        error: what it said; None: this side ended it.
        cause: what this side ended it for; None: it ended by itself.
        at: when.
    """

    error: BaseException | None
    cause: Cause | None
    at: float


class Child:
    """One child.

    Args:
        number: from 1, within its session.
        target: which model, an index into the route.
        model: the model.
        deadlines: what it owes, and until when.
        now: the present.

    Attributes:
        began: when it was begun.
        up_at: when it was first seen to be connected; None: it has not been.
        reported: it said itself that it is connected.
        useful: a reply, a transcript or a tool call came.
        replied: a reply or a tool call came.
        welcomed: it knows the conversation and takes what comes.
        ended: resolves when it is over.
        came: resolves when it is first seen to be connected.
        watch: its deadlines.
    """

    def __init__(self, number: int, target: int, model: llm.RealtimeModel, *, deadlines: Deadlines, now: float) -> None:
        self.number = number
        self.target = target
        self.model = model
        self.began = now
        self.up_at: float | None = None
        self.reported = False
        self.useful = False
        self.replied = False
        self.welcomed = False
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watch = Watch(deadlines)
        self._left: set[asyncio.Task[None]] = set()
        self._session: llm.RealtimeSession[Any] | None = None
        self._listeners: dict[str, Callable[..., None]] = {}

    @property
    def session(self) -> llm.RealtimeSession[Any]:
        """The session of the model. There is one once the child has been opened."""
        assert self._session is not None, "a child that was not opened has no session"
        return self._session

    @property
    def over(self) -> bool:
        """It has ended."""
        return self.ended.done()

    def open(self, listeners: Mapping[str, Callable[..., None]], *, turn_detection_disabled: bool) -> None:
        """Begins the session.

        Args:
            listeners: per event who is told.
            turn_detection_disabled: the application finds the turns.
        """
        options = {"turn_detection_disabled": True} if turn_detection_disabled else {}
        self._session = self.model.session(**options)  # pyright: ignore[reportUnknownMemberType]
        for event, listener in listeners.items():
            self.listen(event, listener)

    def listen(self, event: str, listener: Callable[..., None]) -> None:
        """Has somebody told of an event, also of one that only this plugin knows."""
        self._listeners[event] = listener
        if self._session is not None:
            self._session.on(event, listener)  # pyright: ignore[reportUnknownMemberType]

    def connected(self, now: float) -> None:
        """It is seen to be connected."""
        if self.up_at is None:
            self.up_at = now
            self.came.set_result(None)

    def end(self, *, now: float, error: BaseException | None = None, cause: Cause | None = None) -> None:
        """It is over. A second time changes nothing."""
        if not self.ended.done():
            self.ended.set_result(End(error, cause, now))

    async def settle(self) -> bool:
        """Waits until a plugin has had time to say that it has ended. Returns whether it lives."""
        await asyncio.wait([self.ended], timeout=SETTLE)
        return not self.over

    async def told(self, call: Any) -> None:
        """Waits for a coroutine of the child's session, and no longer than the child lives.

        Args:
            call: the coroutine. It is left to its own end where the child ends before: livekit's openai plugin gives up by
                itself after 5 s, and reports a lost exception where it is cancelled before.
        """
        task: asyncio.Task[None] = asyncio.ensure_future(call)
        signs: list[asyncio.Future[Any]] = [task, self.ended]
        try:
            await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done() and self.over:
                self._left.add(task)
                task.add_done_callback(_forget)
            elif not task.done():
                await stop([task])
        if task.done() and not task.cancelled() and (error := task.exception()) is not None and not self.over:
            raise error

    def leave(self) -> None:
        """Stops listening."""
        for event, listener in self._listeners.items():
            if self._session is not None:
                self._session.off(event, listener)  # pyright: ignore[reportUnknownMemberType]
        self._listeners.clear()

    async def close(self) -> None:
        """Closes the session, whatever state it is in."""
        self.leave()
        if self._session is None:
            return
        try:
            async with asyncio.timeout(_CLOSE):
                await self._session.aclose()
                if self._left:
                    await asyncio.wait(self._left)
        except Exception as error:  # because plugins raise here what their session died of (livekit's openai plugin)
            logger.debug("child %d ended with its session's own error: %r", self.number, error)
        finally:
            await stop(self._left)

    def __repr__(self) -> str:
        state = "over" if self.over else "up" if self.up_at is not None else "coming up"
        return f"<Child {self.number} of {self.model.label}, {state}>"


def _forget(task: asyncio.Task[None]) -> None:
    """Nobody wants to know how this ended."""
    if not task.cancelled():
        task.exception()
