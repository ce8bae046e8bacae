"""Where a session begins: on the first target of its route that may be dialled."""

from __future__ import annotations

import msgspec

from unbroken.decisions import Situation, TargetState

__all__ = ["First", "first_target"]


class First(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session begins.

    Attributes:
        target: index into the route.
        after: seconds to wait first.
        because: why it is not the route's first target: one plain sentence; "": it is.
    """

    target: int = 0
    after: float = 0.0
    because: str = ""


def first_target(situation: Situation) -> First:
    """Chooses where a session begins: on the first target of its route that may be dialled now.

    So a session that was opened after its preferred target had failed others begins elsewhere, and one opened after that
    target is well again begins there. Where none may be dialled now it is the one that may be first, if that is within the
    session's patience, else the preferred one, whose refusal then says what is wrong.

    Args:
        situation: the route as the runtime sees it; nothing else of it is read but `now` and `patience_left`.
    """
    now, targets = situation.now, situation.targets
    fit = [target for target in targets if target.index == 0 or not target.unfit]
    for target in fit:
        if target.usable_after <= now:
            passed = [_resting(other) for other in fit if other.index < target.index]
            return First(target=target.index, because=" ".join(passed))
    soonest = min(fit, key=lambda target: (target.usable_after, target.index))
    if soonest.usable_after - now > situation.patience_left:
        return First()
    passed = [_resting(other) for other in fit if other.index < soonest.index]
    return First(target=soonest.index, after=soonest.usable_after - now, because=" ".join(passed))


def _resting(target: TargetState) -> str:
    if target.breaker != "closed":
        return f"{target.name} keeps failing for other sessions and rests."
    return f"{target.name} is not to be dialled for now, as it told other sessions."
