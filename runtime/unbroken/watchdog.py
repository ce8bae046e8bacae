"""The watchdog of a runtime: one task that looks at every live link, and tells its session what it sees.

It decides nothing: `unbroken.core.health` judges. A link of which something is out or was sent since the last look is looked
at every 50 ms, any other one every second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import anyio

from unbroken.core.health import Detector, Health, Sample
from unbroken.messages import Judged

__all__ = ["Tell", "Watchdog", "Watched"]

logger = logging.getLogger("unbroken")

OFTEN: Final = 0.05
"""Seconds between two looks at a link on which something is under way."""

TOGETHER: Final = 0.01
"""Seconds within which links are looked at in one go."""

SELDOM: Final = 1.0
"""Seconds between two looks at a link that rests, or whose transport cannot tell of its path."""

Tell: TypeAlias = Callable[[Judged], object]
"""Takes what there is to say of a link; never waits."""


class Watched(Protocol):
    """What is watched: a live link.

    Attributes:
        number: the link's number within its session.
        open: what is sent may still reach the peer; once it is false, the link is watched no longer.
        index: the number of the next client message.
    """

    number: int
    open: bool
    index: int

    def look(self, now: float) -> Sample:
        """Returns how the link stands."""
        ...

    def ping(self) -> None:
        """Asks the peer for a sign of life."""
        ...


class _Watch:
    """One link, its detector, and when it is looked at next."""

    __slots__ = ("detector", "due", "health", "link", "sent", "tell")

    def __init__(self, link: Watched, tell: Tell) -> None:
        self.link = link
        self.tell = tell
        self.detector = Detector()
        self.health: Health = "well"
        self.due = 0.0
        self.sent = -1

    def look(self, now: float) -> None:
        link, detector = self.link, self.detector
        sample = link.look(now)
        judged = detector.take(sample)
        if detector.asks:
            link.ping()
        if judged.health != self.health:
            self.health = judged.health
            if judged.health != "well":
                self.tell(
                    Judged(link=link.number, because=judged.because, cause=judged.cause, useless_for=judged.useless_for)
                )
        busy = sample.path is not None and (sample.path.unacked > 0 or link.index != self.sent)
        self.sent = link.index
        self.due = now + (OFTEN if busy else SELDOM)


class Watchdog:
    """Watches links, from when they are up to their end. It tells each change for the worse once, until it gets better."""

    def __init__(self) -> None:
        self._watches: list[_Watch] = []
        self._came = anyio.Event()

    def __repr__(self) -> str:
        return f"<Watchdog of {len(self._watches)} links>"

    def watch(self, link: Watched, tell: Tell) -> None:
        """Begins to watch a link that has come up.

        Args:
            link: until it is no longer open.
            tell: told what is found.
        """
        self._watches.append(_Watch(link, tell))
        self._came.set()

    async def run(self) -> None:
        """Is the task; never returns."""
        while True:
            if not self._watches:
                self._came = anyio.Event()
                await self._came.wait()
            # what takes longer than the time between two looks must leave some to the others
            await anyio.sleep(max(TOGETHER, self._round(anyio.current_time()) - anyio.current_time()))

    def _round(self, now: float) -> float:
        """Looks at each link whose time has come; returns when the next one's comes."""
        over = False
        soonest = now + SELDOM
        for watch in self._watches:
            if not watch.link.open:
                over = True
                continue
            if watch.due <= now + TOGETHER:
                try:
                    watch.look(now)
                except Exception:  # because a bug in one link's transport must not leave the others unwatched
                    logger.exception("%r cannot be watched", watch.link)
                    watch.due = float("inf")
            soonest = min(soonest, watch.due)
        if over:
            self._watches = [watch for watch in self._watches if watch.link.open]
        return soonest
