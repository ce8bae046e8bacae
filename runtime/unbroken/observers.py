"""The observers of a runtime, as one: what they are told, and how one that fails is kept from the sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio

from unbroken.abc import Observer, Profile
from unbroken.core.fleet import Fleet
from unbroken.decisions import TargetState
from unbroken.events import Event

__all__ = ["Observers"]

logger = logging.getLogger("unbroken")


class Observers:
    """Passes on what happens in a runtime.

    Args:
        observers: who is told, in this order.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._failed: set[int] = set()

    def started(self, fleet: Fleet) -> None:
        """The runtime runs."""
        self._tell(lambda observer: observer.started(fleet))

    def opened(
        self, session: str, *, targets: Sequence[TargetState], profiles: Sequence[Profile]
    ) -> Callable[[Event], None] | None:
        """A session was opened.

        Returns:
            Takes the session's events; None: nobody wants them.
        """
        if not self._observers:
            return None
        now = anyio.current_time()
        self._tell(lambda observer: observer.opened(session, targets=targets, profiles=profiles, now=now))
        return lambda event: self._event(session, event)

    def closed(self, session: str) -> None:
        """A session has ended."""
        if self._observers:
            now = anyio.current_time()
            self._tell(lambda observer: observer.closed(session, now=now))

    def _event(self, session: str, event: Event) -> None:
        now = anyio.current_time()
        self._tell(lambda observer: observer.event(session, event, now=now))

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for number, observer in enumerate(self._observers):
            try:
                call(observer)
            except Exception:  # because an observer is somebody's own code, and its bug must not end a call
                if number not in self._failed:
                    self._failed.add(number)
                    logger.exception("observer %r failed (this is said once)", observer)
