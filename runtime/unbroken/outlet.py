"""The application's side of a session: its events in order, bounded in bytes, for one reader at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from unbroken.actors.bell import Bell
from unbroken.errors import SessionEscalated, UnbrokenError
from unbroken.events import Audio, Escalated, Event, ModelTranscript, ProviderMessage, Text, ToolCall, UserTranscript

__all__ = ["Outlet"]

_SAID = frozenset({Audio, Text, UserTranscript, ModelTranscript, ProviderMessage})
"""What observers are not told: it is the conversation itself, and the most of what comes."""

_EVENT_BYTES = 200
"""What an event is counted for besides its audio or text: about what a small struct takes."""


class Outlet:
    """A queue of events from the session to the application.

    It never refuses an event, since none may be lost; `full` tells the link to stop reading instead.

    Args:
        bound: bytes above which `full` is true.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self.tell: Callable[[Event], None] | None = None
        """Is told of each event but those that hold what is said; None: nobody is."""
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._ended = False
        self.story: Escalated | None = None
        """Why the session was given up; None: it was not."""
        self._reading = False
        self._came = Bell()
        self._went: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<Outlet {len(self._events)} events, {self._bytes} of {self._bound} bytes{', ended' if self._ended else ''}>"

    @property
    def full(self) -> bool:
        """The application is behind by more than the bound."""
        return self._bytes > self._bound

    def put(self, event: Event) -> None:
        """Adds an event; after the end it is dropped."""
        if self._ended:
            return
        self._events.append(event)
        self._bytes += _cost(event)
        self._came.ring()
        if self.tell is not None and type(event) not in _SAID:
            self.tell(event)

    def end(self, story: Escalated | None = None) -> None:
        """No more events will come; a second call changes nothing.

        Args:
            story: the session was given up: this is the last event, and reading on raises `SessionEscalated`.
        """
        if self._ended:
            return
        if story is not None:
            self.put(story)
            self.story = story
        self._ended = True
        self._came.ring()
        self._let_in()

    async def drained(self) -> None:
        """Waits until the queue is below its bound, or has ended."""
        while self.full and not self._ended:
            if self._went is None:
                self._went = anyio.Event()
            await self._went.wait()

    def _let_in(self) -> None:
        if self._went is not None:
            self._went.set()
            self._went = None

    async def get(self) -> Event:
        """Returns the next event.

        Raises:
            StopAsyncIteration: the session was closed, and all its events have been read.
            SessionEscalated: the session was given up, and all its events have been read.
            UnbrokenError: another task is reading.
        """
        if self._reading:
            raise UnbrokenError("another task is reading this session's events; one reader at a time")
        events = self._events
        if not events:
            self._reading = True
            try:
                while not events:
                    if self._ended:
                        raise StopAsyncIteration if self.story is None else SessionEscalated(self.story)
                    await self._came.wait()
            finally:
                self._reading = False
        event = events.popleft()
        before = self._bytes
        self._bytes = left = before - _cost(event)
        if left <= self._bound < before:
            self._let_in()
        return event


def _cost(event: Event) -> int:
    if type(event) is Audio:
        return _EVENT_BYTES + len(event.pcm)
    if isinstance(event, Text | ModelTranscript | UserTranscript):
        return _EVENT_BYTES + len(event.text)
    if isinstance(event, ProviderMessage):
        return _EVENT_BYTES + len(event.data)
    return _EVENT_BYTES + len(str(event.arguments)) if isinstance(event, ToolCall) else _EVENT_BYTES
