"""Requests for a reply: kept until a child has begun the reply, and given to the next child where one died before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any

from livekit.agents import llm

if TYPE_CHECKING:
    from unbroken_livekit.wrapping.replies import Reply

__all__ = ["Request", "Script"]


class Script:
    """A text that comes piece by piece and may have to be said again from its beginning.

    Args:
        source: read once.
    """

    def __init__(self, source: AsyncIterable[str]) -> None:
        self._source = source.__aiter__()
        self._pieces: list[str] = []
        self._lock = asyncio.Lock()
        self._over = False

    async def __aiter__(self) -> AsyncIterator[str]:
        at = 0
        while True:
            async with self._lock:
                if at == len(self._pieces) and not self._over:
                    try:
                        self._pieces.append(await anext(self._source))
                    except StopAsyncIteration:
                        self._over = True
            if at == len(self._pieces):
                return
            yield self._pieces[at]
            at += 1


class Request:
    """One request.

    Args:
        options: what the child's ``generate_reply`` is given.
        say: what the child's ``say`` is given instead; None: a reply is asked for.
        continues: the cut reply that goes on with this; None: it is a reply of its own.
        asked_by_application: False: this side asks for itself, and the reply is announced as the model's own.

    Attributes:
        future: what the application waits for.
        at: the child's own future, while one has been asked.
        child: the number of the child that was asked last; 0: none was.
    """

    def __init__(
        self,
        *,
        options: dict[str, Any] | None = None,
        say: str | Script | None = None,
        continues: Reply | None = None,
        asked_by_application: bool = True,
    ) -> None:
        self.options = options or {}
        self.say = say
        self.continues = continues
        self.asked_by_application = asked_by_application
        self.future: asyncio.Future[llm.GenerationCreatedEvent] = asyncio.get_running_loop().create_future()
        self.at: asyncio.Future[llm.GenerationCreatedEvent] | None = None
        self.child = 0

    @property
    def waits(self) -> bool:
        """Nobody has been asked yet, or the child that was asked is gone."""
        return self.at is None and not self.future.done()

    def ask(self, session: llm.RealtimeSession[Any], *, child: int) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Asks a child.

        Args:
            session: the child's session.
            child: its number.
        """
        self.child = child
        match self.say:
            case None:
                self.at = session.generate_reply(**self.options)
            case str():
                self.at = session.say(self.say)
            case Script():
                self.at = session.say(aiter(self.say))
        return self.at

    def refuse(self, why: str, *, code: str | None = None) -> None:
        """Tells the application that no reply will come.

        Args:
            why: in one sentence.
            code: the provider's code, where the error has one.
        """
        if not self.future.done():
            error = llm.RealtimeError(why)
            error.code = code
            self.future.set_exception(error)
            self.future.exception()  # read once, so that one which nobody waits for is not reported as forgotten

    def __repr__(self) -> str:
        return f"<Request {'done' if self.future.done() else f'of child {self.child}'}>"
