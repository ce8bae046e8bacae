"""The retry budget of a runtime: a bucket of tokens that retries draw from and successes refill.

A retry is a dial of a target that has just failed the same session. The first dial after a link that was healthy is none,
nor is the first of another target: an outage costs no token, only failing again does.

The figures beside those of others: the AWS SDKs hold 500 tokens, take 5 per retry (14 since version 2.1, for transient
errors) and give 1 back for a success at first try; gRPC holds at most 1000 tokens, takes 1 for a failure, gives a fraction
(0.1 is its example) for a success, and retries only above the half (gRFC A6); Finagle allows one retry for five requests,
and 10 per second besides. There, who is short of budget fails. Here a retry costs five times what a success gives back, as
with AWS, and there are ten per second besides, as with Finagle, and who is short of budget waits for its turn: a call is not
given up for what others do.
"""

from __future__ import annotations

from typing import Final

__all__ = ["RetryBudget"]

TOKENS: Final = 500.0
"""What the bucket holds: a hundred retries."""

COST: Final = 5.0
"""Tokens that a retry takes."""

REFUND: Final = 1.0
"""Tokens that a link which has been healthy for a while gives back."""

PER_SECOND: Final = 50.0
"""Tokens that come back by themselves: ten retries per second, so that nobody waits for ever."""


class RetryBudget:
    """See the module. Times are seconds on the runtime's clock.

    The balance may go below zero: each retry taken from an empty bucket waits for its own tokens, in the order in which they
    were asked for.
    """

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = TOKENS
        self._at = 0.0

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.0f} of {TOKENS:.0f} tokens>"

    def left(self, now: float) -> int:
        """Returns how many retries there is room for now."""
        self._refill(now)
        return max(0, int(self._tokens / COST))

    def wait(self, now: float) -> float:
        """Returns how many seconds a retry would have to wait that is asked for now."""
        self._refill(now)
        return max(0.0, (COST - self._tokens) / PER_SECOND)

    def take(self, now: float) -> float:
        """Takes the tokens of one retry, and returns how many seconds it has to wait for them."""
        wait = self.wait(now)
        self._tokens -= COST
        return wait

    def put_back(self, now: float) -> None:
        """A retry that was paid for will not be made."""
        self._add(COST, now)

    def succeeded(self, now: float) -> None:
        """A link has been healthy for a while."""
        self._add(REFUND, now)

    def _add(self, tokens: float, now: float) -> None:
        self._refill(now)
        self._tokens = min(TOKENS, self._tokens + tokens)

    def _refill(self, now: float) -> None:
        self._tokens = min(TOKENS, self._tokens + max(0.0, now - self._at) * PER_SECOND)
        self._at = max(self._at, now)
