"""What LiveKit asks of the session: its calls do not wait, and the session's methods do.

All of it goes through one task, so it reaches the session in the order in which it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import unbroken
from unbroken_livekit.log import logger

__all__ = ["Sending"]

Action = Callable[[unbroken.Session], Awaitable[None]]


class Sending:
    """A queue of what is to be done with the session, from before it is open.

    Args:
        refused: told what could not be done, in a sentence.
    """

    def __init__(self, refused: Callable[[str], None]) -> None:
        self._refused = refused
        self._actions: asyncio.Queue[tuple[str, Action] | None] = asyncio.Queue()

    def do(self, what: str, action: Action) -> None:
        """Queues an action; never waits.

        Args:
            what: what it is, for people ("a reply").
            action: does it; what it raises ends only itself.
        """
        self._actions.put_nowait((what, action))

    def stop(self) -> None:
        """Ends `run`, once what is queued before this is done."""
        self._actions.put_nowait(None)

    async def run(self, session: unbroken.Session) -> None:
        """Does what is queued, one after the other, until `stop` or the session's end."""
        while (queued := await self._actions.get()) is not None:
            what, action = queued
            try:
                await action(session)
            except (unbroken.SessionClosed, unbroken.SessionEscalated):
                return
            except unbroken.UnbrokenError as error:
                logger.warning("%s was not sent: %s", what, error)
                self._refused(f"{what} was not sent: {error}")
            except Exception as error:  # because one thing that cannot be built, as a tool's schema, must not stop the rest
                logger.exception("%s was not sent", what)
                self._refused(f"{what} was not sent: {error!r}")
