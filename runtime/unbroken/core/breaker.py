"""A circuit breaker for one target, fed by all sessions of a runtime.

It is closed (dial as ever), open (do not dial for now) or half-open (one dial shows whether the target is well again). The
figures differ from those of breakers for requests, which want a hundred calls in half a minute (Polly, Resilience4j) or
eject a host for 30 s and more (Envoy): a call on the phone cannot wait that long, and since one dial at a time is all that
an open breaker costs the service, it can be spent often.

What counts is what says something about the next dial: a link that ended before it was healthy. One that ends after an hour
was a good one, however it ended.
"""

from __future__ import annotations

from typing import Final

from unbroken.decisions import Breaker

__all__ = ["CircuitBreaker"]

FAILURES: Final = 5
"""Failures at which a closed breaker opens; Envoy's outlier detection takes as many."""

RELAPSES: Final = 2
"""The same after a probe came up, until a link has been healthy."""

SHARE: Final = 4
"""It opens only where more than one link in five fails, so that a crowd's few refusals do not shut out the crowd."""

FIRST: Final = 1.0
"""Seconds that it stays open at first; each time that a probe fails they double."""

LONGEST: Final = 2.0
"""Seconds that it stays open at most: the pace of probes in a long outage, and so how late its end is noticed. One dial of a
whole runtime in two seconds is nothing to a service, and to a caller each second of silence is one more."""

PROBE: Final = 1.0
"""Seconds that a probe is given before others ask again; a dial with its setup takes about half of that."""


class CircuitBreaker:
    """See the module. Times are seconds on the runtime's clock; permits are told apart by their numbers."""

    __slots__ = ("_open", "_probation", "_probe", "_trips", "_until", "_ups", "failures")

    def __init__(self) -> None:
        self.failures = 0
        """Links that failed since one was last healthy."""
        self._ups = 0
        self._open = False
        self._probation = False
        self._trips = 0
        self._until = 0.0
        self._probe: int | None = None

    def __repr__(self) -> str:
        return f"<CircuitBreaker {'open' if self._open else 'closed'}, {self.failures} failures>"

    def state(self, now: float) -> Breaker:
        """Returns its state."""
        if not self._open:
            return "closed"
        return "open" if now < self._until else "half-open"

    def opens(self, now: float) -> float:
        """Returns when the target may be dialled; `now` or before: at once.

        While a probe is out that is when the others ask again.
        """
        if not self._open:
            return now
        return self._until if self._probe is None or now < self._until else now + PROBE

    def begin(self, permit: int, now: float) -> None:
        """A dial begins, at a time that `opens` allows. On a half-open breaker it is the probe."""
        if self._open and now >= self._until and self._probe is None:
            self._probe = permit

    def came_up(self) -> None:
        """A link came up. An open breaker closes by that, on probation until a link has been healthy."""
        if self._open:
            self._open, self._probation = False, True
            self._probe, self.failures, self._ups = None, 0, 0
        self._ups += 1

    def given_back(self, permit: int, *, failed: bool, now: float) -> None:
        """A dial is over that did not come up.

        Args:
            permit: its number.
            failed: the dial failed; False: it was given up, or never begun.
            now: the present.
        """
        if permit == self._probe:
            self._probe = None
            if failed:
                self._trip(now)

    def failed(self, now: float, *, was_up: bool) -> None:
        """A link ended before it was healthy, by a fault that says something about the target.

        Args:
            now: the present.
            was_up: it had come up.
        """
        self.failures += 1
        if was_up:
            self._ups = max(0, self._ups - 1)
        enough = RELAPSES if self._probation else FAILURES
        if not self._open and self.failures >= enough and self.failures * SHARE > self._ups:
            self._trip(now)

    def answered(self, now: float) -> None:
        """The target answered with a fault of the session's own (its setup, its quota): it is there at least."""
        self._until = min(self._until, now)

    def healthy(self) -> None:
        """A link has been healthy for a while."""
        if not self._open:
            self.failures = self._ups = self._trips = 0
            self._probation = False

    def _trip(self, now: float) -> None:
        self._until = now + min(FIRST * 2**self._trips, LONGEST)
        self._trips = min(self._trips + 1, 16)
        self._open, self._probation, self._probe = True, False, None
