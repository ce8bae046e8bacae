"""When a spare is opened, opened anew and let go, and to which other target one is worth its cost."""

from __future__ import annotations

import math
from typing import Final

from unbroken.decisions import Cause, Ending, Situation

__all__ = ["LOOK", "SILENT", "Upkeep", "next_target", "other_target", "path_died_at", "ready_age", "upkeep_of_ready"]

LOOK: Final = 10.0
"""Seconds between two looks at a spare that is set up: whether it is wanted there still, and a ping."""

SILENT: Final = 60.0
"""Seconds without a sign of life after which it is given up, and before its announced end at which it is. Pongs of 8 to 30 s
were measured on healthy Gemini links; a link is left from 60 s before its announced end on, so a spare is, too."""

_READY_AGE: Final = 300.0
"""Seconds for which it waits at most. Its lifetime runs from its setup on, and half of that is to be left for the call."""

_READY_BRIEF: Final = 60.0
"""Seconds that it has to have waited for its end to be nothing but its age, as the service sees it."""

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
        brief: one that ends sooner, in seconds, has failed.
        longest: seconds between two attempts at most.

    Attributes:
        dial_at: when it is to be opened; `math.inf`: not at all.
    """

    def __init__(self, *, age: float, brief: float = _FIRST_WAIT, longest: float = _LONGEST_WAIT) -> None:
        self.dial_at = math.inf
        self._age = age
        self._brief = min(age, brief)
        self._longest = longest
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
        elif now - opened_at < self._brief:
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
            self.refused(now, retry_after=ending.retry_after)
        else:
            self._later(now, random=random)
        return told

    def refused(self, now: float, *, retry_after: float | None) -> None:
        """The spare was refused for something that does not pass by itself.

        Args:
            now: the present.
            retry_after: seconds that the peer named; None: it named none.
        """
        self._not_before = now + (_TOLD if retry_after is None else max(retry_after, _FIRST_WAIT))
        self.drop()

    def _later(self, now: float, *, random: float = 0.0) -> None:
        wait = min(_FIRST_WAIT * 2**self._failures, self._longest)
        self._failures = min(self._failures + 1, 16)
        self._not_before = self.dial_at = now + wait * (1.0 + random) / 2 + wait / 2


def upkeep_of_ready(age: float) -> Upkeep:
    """Returns the upkeep of spares that are set up. Where services drop such sessions they are set up more and more rarely.

    Args:
        age: seconds after which one is let go.
    """
    return Upkeep(age=age, brief=_READY_BRIEF, longest=_READY_AGE)


def ready_age(lifetime: float | None) -> float:
    """Returns for how many seconds a spare that is set up may wait.

    Args:
        lifetime: seconds after which the service ends a session; None: not known.
    """
    return _READY_AGE if lifetime is None else min(_READY_AGE, lifetime / 2)


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


def next_target(situation: Situation) -> int | None:
    """Returns the target at which a spare is set up while all is well with the present one; None: at none.

    It is where a failover would lead now, by the default policy's order: the least tried target that may be dialled, has
    what the session needs, room for its history, and its breaker closed. One that shares the present one's quota is left
    out: the call itself lives on that.

    Args:
        situation: where the session stands, the targets as the runtime knows them.
    """
    here = situation.targets[situation.current]
    others = [
        target
        for target in situation.targets
        if target.index != situation.current
        and not target.ruled_out
        and not target.unfit
        and target.breaker == "closed"
        and target.usable_after <= situation.now
        and target.quota_group != here.quota_group
        and (target.context_tokens is None or target.context_tokens > situation.history_tokens)
    ]
    return min(others, key=lambda target: (target.tried, target.index)).index if others else None
