"""What every policy is held to: the session's bounds, a pause between dials, and decisions that can be performed."""

from __future__ import annotations

import math
from typing import Final, get_args

import msgspec

from unbroken.decisions import Carry, Decision, Escalate, FailOver, Fault, FaultKind, Finish, Retry, Situation

__all__ = ["FIRST_WAIT", "SLOW", "WAITED", "bounded", "counted_as", "flaw", "paced", "used_up"]

FIRST_WAIT: Final = 0.05
"""Seconds that even the luckiest number waits between two dials of one target."""

SLOW: Final = 0.005
"""Seconds of processor time that a decision may take before it is counted and reported: all sessions wait for it."""

WAITED: Final = 0.05
"""Seconds that it may take in all: what comes between is not the policy's while it is less."""

_STEPS: Final = 20
"""So often the pause between the dials of one target is lengthened for a policy that does not lengthen it itself."""


def counted_as(kind: FaultKind, *, useful: bool) -> FaultKind:
    """Returns the kind that the table is read for.

    A service that accepts connections and closes them in good order would otherwise be redialled for ever: an end is planned
    only where something useful came before it.
    """
    return "server" if kind == "planned" and not useful else kind


def used_up(kind: FaultKind, situation: Situation) -> str:
    """Says which of the session's bounds forbids another dial; "": none.

    Args:
        kind: the fault's, as `counted_as` has it. A planned end is no outage to be counted, and the first in a row no
            failure; after a closed session nothing is dialled.
        situation: where the session stands.
    """
    if kind == "closed":
        return ""
    if situation.attempts_left <= 0 and (kind != "planned" or situation.attempt > 1):
        return f"{situation.attempt} links in a row failed, as many as the session may try."
    if situation.recoveries_left <= 0 and kind != "planned":
        return "The session has had as many outages as it may have."
    if situation.patience_left <= 0.0:
        return f"The outage has lasted {situation.outage_age:.0f} s, longer than the session's patience."
    return ""


def paced(decision: Retry | FailOver, situation: Situation) -> float:
    """Returns how many seconds any policy's decision has to wait at least, so that none dials without a pause.

    The first dial of a target may be at once. Each further one waits 50 ms more than the one before, 1 s at most.

    Args:
        decision: what the policy returned, without a `flaw`.
        situation: what it was asked about.
    """
    target = decision.target if isinstance(decision, FailOver) else situation.current
    failed = situation.targets[target].tried if target < len(situation.targets) else situation.attempt
    again = failed if isinstance(decision, FailOver) else failed - 1
    return min(FIRST_WAIT * min(max(again, 0), _STEPS), situation.patience_left)


def bounded(decision: Decision, fault: Fault, situation: Situation) -> Decision | None:
    """Holds any policy's decision to the session's bounds, and to a pause between dials.

    Args:
        decision: what the policy returned, without a `flaw`.
        fault: what it was asked about.
        situation: what it was asked in.

    Returns:
        The decision as it is to be performed; None: it goes on where a bound is used up.
    """
    if not isinstance(decision, Retry | FailOver):
        return decision
    if used_up(counted_as(fault.kind, useful=situation.useful), situation):
        return None
    return msgspec.structs.replace(decision, after=max(decision.after, paced(decision, situation)))


def flaw(decision: object, situation: Situation) -> str:
    """Says why a decision cannot be performed; "": it can.

    Args:
        decision: what a policy returned, whatever that is.
        situation: what it was asked about.
    """
    if isinstance(decision, Retry | FailOver | Escalate | Finish) and (why := _mistyped(decision)):
        return why
    match decision:
        case Escalate() | Finish():
            return ""
        case Retry():
            if situation.targets and situation.targets[situation.current].ruled_out:
                return "it dials a target that this session has ruled out"
        case FailOver(target=index):
            if not isinstance(index, int) or not 0 <= index < len(situation.targets):  # pyright: ignore[reportUnnecessaryIsInstance]
                return f"it fails over to target {index!r}, and the route has {len(situation.targets)}"
            if index == situation.current:
                return "it fails over to the target that has just failed"
            if situation.targets[index].ruled_out:
                return "it dials a target that this session has ruled out"
            if decision.carry == "handle":
                return "it carries a handle to another target"
        case _:
            return f"a policy returns a Retry, FailOver, Escalate or Finish, not {type(decision).__name__}"
    if not isinstance(decision.after, int | float) or not 0.0 <= decision.after < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]
        return f"it waits {decision.after!r} seconds"
    if decision.carry not in get_args(Carry):
        return f"it carries the conversation by {decision.carry!r}"
    return ""


def _mistyped(decision: Decision) -> str:
    for name, kind in (("because", str), ("rule", str), ("advice", str), ("drop_media", bool)):
        value = getattr(decision, name, kind())
        if not isinstance(value, kind):
            return f"its {name} is {value!r}, not a {kind.__name__}"
    return ""
