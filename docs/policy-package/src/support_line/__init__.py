"""A policy for a support line: callers rather hear music for a moment than speak with a lesser model, and people take over.

It says only what is special about a support line, and leaves the rest to unbroken's default policy.
"""

from __future__ import annotations

from unbroken.policies import Decision, FailOver, Fault, Retry, Situation, backoff, first_match, limit

__all__ = ["ComeBack", "SupportLine", "WaitForQuota"]

MUSIC = 20.0
"""Seconds of music that a caller bears."""

HAND_OVER = 30.0
"""Seconds after which a caller is put through to a person."""


class SupportLine:
    """Waits for the good model while music plays, comes back to it when that costs nothing, and hands over in time."""

    def __init__(self) -> None:
        special = first_match(ComeBack(), WaitForQuota())
        self._policy = limit(special, links=8, outage=HAND_OVER, advice="Put the caller through to a person.")

    def __repr__(self) -> str:
        return "<SupportLine>"

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        """Returns what is to be done."""
        return self._policy.decide(fault, situation)


class ComeBack:
    """Goes back to the route's first target where a connection to another one ends as it was meant to.

    Every move costs the conversation its resumption handle, so none is made in the middle of a connection that works. At a
    planned end the conversation has to cross to a new connection anyway.
    """

    def decide(self, fault: Fault, situation: Situation) -> Decision | None:
        """Returns the way back; None: not now."""
        if fault.kind != "planned" or not situation.useful or situation.current == 0:
            return None
        first = situation.targets[0]
        is_well = first.breaker == "closed" and first.tried == 0 and first.usable_after <= situation.now
        suits = not first.ruled_out and not first.unfit
        has_room = first.context_tokens is None or first.context_tokens > situation.history_tokens
        if not (is_well and suits and has_room):
            return None
        because = f"The connection ends here anyway, and {first.name} is well again."
        return FailOver(target=0, because=because, rule="come-back")


class WaitForQuota:
    """Waits for a quota that comes back soon, instead of moving to the next target at once.

    The application hears of it by `unbroken.Waiting`, and plays music for so long.
    """

    def decide(self, fault: Fault, situation: Situation) -> Decision | None:
        """Returns the wait; None: it would be too long, or nobody knows how long."""
        here = situation.targets[situation.current]
        wait = max(here.usable_after - situation.now, fault.retry_after or 0.0)  # the runtime and the service know it
        if fault.kind != "quota" or here.ruled_out or wait <= 0.0:
            return None
        after = max(wait, backoff(here.tried, situation))  # who is told "in a moment" again and again waits longer each time
        if after > min(MUSIC, situation.patience_left):
            return None
        return Retry(
            after=after,
            carry="handle" if situation.has_handle else "history",
            because=f"The quota is back in {after:.0f} s, and the caller hears music until then.",
            rule="wait-for-quota",
        )
