"""The replies that the application asked for and that have not begun: each is answered once, by a generation or an error."""

from __future__ import annotations

import asyncio
import time

from livekit.agents import llm

__all__ = ["Request", "Requests"]

_INTERRUPTED = 1.0
"""Seconds after an interruption until a request that nobody has cancelled fails: LiveKit cancels it by itself, some turns of
the event loop later, and would take one that has ended by then for a reply that has begun."""


class Request:
    """A reply that the application asked for.

    Attributes:
        future: what `generate_reply` returned.
        asked_at: on `time.monotonic`.
        interrupted: the application has interrupted all speech since, and will cancel this one.
    """

    def __init__(self) -> None:
        self.future: asyncio.Future[llm.GenerationCreatedEvent] = asyncio.get_running_loop().create_future()
        # who asks and does not wait is no reason for asyncio to log an error that nobody has looked at
        self.future.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())
        self.asked_at = time.monotonic()
        self.interrupted = False

    @property
    def withdrawn(self) -> bool:
        """The application does not want it any more: the speech was interrupted before it began."""
        return self.interrupted or self.future.cancelled()

    def fail(self, because: str) -> None:
        """Ends it with a `llm.RealtimeError`; one that has ended stays as it is."""
        if not self.future.done():
            self.future.set_exception(llm.RealtimeError(because))


class Requests:
    """Holds the request that waits for its reply, and bounds its wait while the session is up.

    During an outage nothing runs out: the session asks again for what was owed, and gives up after its own patience.

    Args:
        patience: seconds from the request, or from the end of an outage, to the reply's first sign.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._request: Request | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._up = False

    @property
    def pending(self) -> bool:
        """A reply is waited for."""
        return self._request is not None and not self._request.withdrawn

    def add(self) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Takes a request. One that still waits fails: two that a model is asked for at once are answered by one reply."""
        self.fail("superseded by a later generate_reply()")
        request = self._request = Request()
        self._wind()
        return request.future

    def take(self) -> Request | None:
        """A reply begins. Returns the request that it answers; None: nobody asked for it."""
        request, self._request = self._request, None
        self._unwind()
        return request

    def interrupt(self) -> None:
        """The application has interrupted all speech: the reply that is waited for is not wanted, though LiveKit says so of
        each only some turns of the event loop later. Until then the answer to what interrupted it may have begun."""
        if self._request is not None and not self._request.withdrawn:
            self._request.interrupted = True
            asyncio.get_running_loop().call_later(_INTERRUPTED, self._request.fail, "interrupted before it began")

    def user_spoke(self) -> None:
        """The user has spoken: what comes next is the answer to that, and no withdrawn request's reply."""
        if self._request is not None and self._request.withdrawn:
            self.take()

    def up(self, *, up: bool) -> None:
        """The session is up, or in an outage."""
        self._up = up
        self._wind()

    def fail(self, because: str) -> None:
        """The request that waits, if any, will not be answered."""
        if (request := self.take()) is not None:
            request.fail(because)

    def _wind(self) -> None:
        self._unwind()
        if self._up and self._request is not None:
            because = f"no reply came within {self._patience:.0f} s"
            self._timer = asyncio.get_running_loop().call_later(self._patience, self.fail, because)

    def _unwind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
