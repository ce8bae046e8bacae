"""What the sessions of a runtime know together: which targets fail, which quotas are spent, and who may dial when."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

import msgspec

from unbroken.decisions import Fault, FaultKind, TargetState
from unbroken.messages import Permit

__all__ = ["QUOTA_COOL_DOWN", "RATE_COOL_DOWN", "Fleet", "cool_down"]

QUOTA_COOL_DOWN: Final = 60.0
"""Seconds for which a spent quota is left alone where the peer names no time; Gemini's quotas are per minute."""

RATE_COOL_DOWN: Final = 5.0
"""The same for a rate that refills by itself, which a rule says by its action "retry"."""

_OF_THE_TARGET: Final[frozenset[FaultKind]] = frozenset({"server", "hung", "network", "protocol", "unknown"})
"""Faults that say something about a target to every session; the others are of one session, its setup or its quota."""


def cool_down(fault: Fault) -> float:
    """Returns for how many seconds a spent quota is left alone."""
    if fault.retry_after is not None:
        return fault.retry_after
    return RATE_COOL_DOWN if fault.action == "retry" else QUOTA_COOL_DOWN


class _Known:
    """What is known of one target.

    A breaker's state belongs here too, as does a retry budget's bucket in the fleet: both decide in `Fleet.admit` and show
    in `Fleet.view`.
    """

    __slots__ = ("failures", "starts", "usable_after")

    def __init__(self) -> None:
        self.failures = 0
        self.usable_after = 0.0
        self.starts: list[float] = []
        """When the dials begin whose permits are out, sorted."""


class Fleet:
    """State shared by a runtime's sessions. It outlives the policy actor's task; times are seconds on the runtime's clock.

    Args:
        dials: links that may be coming up to one target at the same time.
        dial_time: seconds that a link is taken to need until it is up or has failed; a dial beyond the ceiling is put off
            until an earlier one will be through.
    """

    def __init__(self, *, dials: int = 32, dial_time: float = 1.0) -> None:
        self._dials = dials
        self._dial_time = dial_time
        self._targets: dict[str, _Known] = {}
        self._quotas: dict[str, float] = {}
        self._permits: dict[int, Permit] = {}
        self._number = 0

    def __repr__(self) -> str:
        failing = ", ".join(f"{name} failed {known.failures}x" for name, known in self._targets.items() if known.failures)
        return f"<Fleet {self.outstanding} permits out{'; ' + failing if failing else ''}>"

    @property
    def outstanding(self) -> int:
        """Permits that have not been given back."""
        return len(self._permits)

    def note(self, fault: Fault, *, target: str, quota_group: str, now: float) -> None:
        """Takes in what happened to one session's link.

        Args:
            fault: what it meant; a `planned` end without anything useful is to be told as `server`.
            target: ``provider/model``.
            quota_group: the target's.
            now: the present.
        """
        if fault.kind == "quota":
            self._quotas[quota_group] = max(self._quotas.get(quota_group, 0.0), now + cool_down(fault))
        elif fault.kind in _OF_THE_TARGET:
            known = self._known(target)
            known.failures += 1
            if fault.retry_after is not None:
                known.usable_after = max(known.usable_after, now + fault.retry_after)

    def healthy(self, target: str, now: float) -> None:
        """A link to the target has been healthy for a while: its failures are forgotten.

        Args:
            target: ``provider/model``.
            now: the present.
        """
        known = self._known(target)
        known.failures = 0
        known.usable_after = min(known.usable_after, now)

    def view(self, states: Iterable[TargetState], now: float) -> tuple[TargetState, ...]:
        """Adds to a session's route what the runtime knows of it.

        Args:
            states: the route as the session sees it.
            now: the present.
        """
        self._quotas = {group: until for group, until in self._quotas.items() if until > now}
        return tuple(
            msgspec.structs.replace(
                state,
                failures=self._known(state.name).failures,
                usable_after=max(self._known(state.name).usable_after, self._quotas.get(state.quota_group, 0.0)),
            )
            for state in states
        )

    def admit(self, target: str, *, at: float, now: float) -> Permit:
        """Gives leave to dial, and counts it until `give_back`.

        Args:
            target: ``provider/model``.
            at: when the dial is wanted.
            now: the present.

        Returns:
            The permit; its `not_before` is `at`, or later where too many dials are on their way then.
        """
        known = self._known(target)
        begin = self._slot(known.starts, max(at, now))
        self._number += 1
        permit = Permit(number=self._number, target=target, not_before=begin)
        insort(known.starts, begin)
        self._permits[permit.number] = permit
        return permit

    def holds(self, permit: Permit) -> bool:
        """Says whether a permit is out."""
        return permit.number in self._permits

    def give_back(self, permit: Permit) -> None:
        """Takes a permit back: the link is up, has failed, or will never be dialled. A second time changes nothing."""
        if self._permits.pop(permit.number, None) is not None:
            self._targets[permit.target].starts.remove(permit.not_before)

    def _known(self, target: str) -> _Known:
        return self._targets.setdefault(target, _Known())

    def _slot(self, starts: list[float], at: float) -> float:
        """Returns the first time from `at` on around which fewer than the ceiling of dials begin."""
        while True:
            after = bisect_left(starts, at + self._dial_time)
            before = after - self._dials
            if before < 0 or starts[before] + self._dial_time <= at:
                return at
            at = starts[before] + self._dial_time
