"""When a spare is opened, opened anew and let go, and to which other target one is worth its cost."""

from __future__ import annotations

import math
from typing import Final

from unbroken.decisions import Cause, Ending, Situation

__all__ = ["Upkeep", "other_target", "path_died_at"]

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 30.0
"""Seconds between two attempts to open a spare that fail without a word: these double from the one to the other."""

_TOLD: Final = 60.0
"""Seconds for which no spare is tried after a refusal that says something, where the peer names no time."""

_FAILURES: Final = 2
"""Links to a target that failed in a row at which a failover is near: at the third the default policy moves."""


_OTHERWISE: Final[frozenset[Cause]] = frozenset(
    {
        "handover",
        "update",
        "cut",
        "crash",
        "malformed",
        "reply_deadline",
        "reply_stalled",
        "answer_deadline",
        "empty_turns",
        "not_reading",
    }
)
"""What this side ends a link for while the peer may well be within reach."""


class Upkeep:
    """One target's spare over a session: wanted or not, and when to try. Times are seconds on the session's clock.

    A spare that could not be opened, or that died unused, is no outage: it is tried again, later each time. A refusal that
    says something (HTTP 401, 404, 429; no credential) would be the same the next time, so it ends the trying for a while.

    Args:
        age: seconds after which an unused spare is let go, and opened anew where it is still wanted.

    Attributes:
        dial_at: when it is to be opened; `math.inf`: not at all.
    """

    def __init__(self, *, age: float) -> None:
        self.dial_at = math.inf
        self._age = age
        self._until = -math.inf
        self._not_before = -math.inf
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Upkeep until {self._until:.3f}, {self._failures} failures>"

    def want(self, now: float, *, until: float) -> None:
        """A spare is wanted.

        Args:
            now: the present.
            until: how long; `math.inf`: as long as `drop` is not called.
        """
        self._until = max(self._until, until)
        self.dial_at = min(self.dial_at, max(now, self._not_before))

    def drop(self) -> None:
        """No spare is wanted any more."""
        self._until = -math.inf
        self.dial_at = math.inf

    @property
    def for_ever(self) -> bool:
        """It is wanted until `drop` is called."""
        return self._until == math.inf

    def wanted(self, now: float) -> bool:
        """Says whether a spare is wanted, and may be had before that is over."""
        return now < self._until and self.dial_at < self._until

    def opened(self, now: float) -> float:
        """The spare is open.

        Returns:
            When it is to be let go.
        """
        return min(self._until, now + self._age)

    def unused(self, now: float, *, opened_at: float) -> None:
        """An open spare is over, and nobody used it.

        Args:
            now: the present.
            opened_at: since when it was open.
        """
        if now - opened_at >= self._age and not self.for_ever:
            self.drop()
        elif now - opened_at < min(self._age, _FIRST_WAIT):
            self._later(now)
        else:  # it grew too old, here or at the service
            self._failures = 0
            self.dial_at = now

    def failed(self, ending: Ending | None, now: float, *, random: float) -> bool:
        """The spare could not be opened.

        Args:
            ending: how the attempt ended; None: the runtime leaves no room for it now.
            now: the present.
            random: from 0 to 1, 1 excluded; many sessions fail in the same moment.

        Returns:
            Whether the refusal says something that somebody has to know.
        """
        told = ending is not None and (400 <= (ending.http_status or 0) < 500 or ending.cause == "credential")
        if told and ending is not None:
            self._not_before = now + (_TOLD if ending.retry_after is None else max(ending.retry_after, _FIRST_WAIT))
            self.drop()
        else:
            self._later(now, random=random)
        return told

    def _later(self, now: float, *, random: float = 0.0) -> None:
        wait = min(_FIRST_WAIT * 2**self._failures, _LONGEST_WAIT)
        self._failures = min(self._failures + 1, 16)
        self._not_before = self.dial_at = now + wait * (1.0 + random) / 2 + wait / 2


def path_died_at(ending: Ending, *, silent_for: float, now: float) -> float:
    """Returns when the path of a link may have died, and with it the path of every spare; `-math.inf`: it is alive.

    Args:
        ending: how the link ended.
        silent_for: seconds since the last byte came on it.
        now: the present.
    """
    return -math.inf if ending.confirmed or ending.cause in _OTHERWISE else now - silent_for


def other_target(situation: Situation) -> int | None:
    """Returns the target to which a spare is opened besides, while the present one is dialled again; None: to none.

    It is where a failover would lead, as soon as one is near: the present target has failed twice in a row.

    Args:
        situation: where the session stands, the targets as the session itself knows them.
    """
    if situation.targets[situation.current].tried < _FAILURES:
        return None
    others = [
        target
        for target in situation.targets
        if target.index != situation.current and not target.ruled_out and not target.unfit
    ]
    return min(others, key=lambda target: (target.tried, target.index)).index if others else None
