"""What to do about a fault: the default policy reads the table of `unbroken.core.defaults`, in the situation it is asked in.

All bounds are the situation's: the attempts, the recoveries and the patience that are left. Where one of them is used up the
session escalates, so that no path goes on for ever; a planned end uses up no recovery. Between the dials time passes:

* The first dial of a target within an outage is at once. Further ones follow by backoff with full jitter: under a ceiling
  of 0.25 s that doubles up to 1 s, counted by the links to that target that failed in a row. For the last 8 attempts it is
  stretched so that they last for the patience that is left. After a link on which something useful
  had come, 50 ms are enough, unless its end was a planned one: planned ends in a row come from links that were too young
  for it.
* `Retry-After` and cool-downs are floors for their target. Up to 5 s are waited for; beyond that another target is taken.
  A floor beyond the session's patience that others were told of is no end of a call which was well there: it dials once.
* A target whose breaker is open is left at once where there is another to go to, and probed where there is none: the runtime
  dials it once after 1 s, then every 2 s, and a probe that comes up lets the others in, in turn.
* Where another target is at hand, a link that took a second or longer and ended before it was live is not tried again, for
  the caller waits; one that was refused before it was live is tried once more, at once or after 50 ms. At hand is a target
  that may be dialled now and whose breaker is closed, or after such a second half-open; where the host did not answer, or
  broke off before the setup, it has to be on another host. The time that a link took is taken off the backoff of the
  target that the conversation moves to.
* No session moves to a target that has not what the session's configuration needs. One whose context window is too small for
  the whole history is told what it has room for, the newest turns: it comes after those with room for all, and is not at
  hand. After a full context window only a larger one will do.
* Once it has moved, a session stays: each move costs it the handle. The next session begins on the first target of its
  route that may be dialled.
* A handle that was refused while the old socket may still be open is tried again after 0.5, 1, 2, 4 and 4 s, each half
  certain and half random: 6 to 12 s in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_base, wait_exponential

from unbroken.core.bounds import FIRST_WAIT, bounded, counted_as, flaw, used_up
from unbroken.core.classify import SURE
from unbroken.core.defaults import CEILING, DEFAULTS, RESERVE, Step
from unbroken.core.fleet import cool_down
from unbroken.decisions import (
    Carry,
    Decision,
    Escalate,
    FailOver,
    Fault,
    FaultKind,
    Finish,
    Retry,
    Situation,
    TargetState,
)

__all__ = ["DefaultPolicy", "Settled", "backoff", "settled"]

_LONGEST: Final = 5.0
"""Seconds: how long a target that is not usable yet is waited for."""

_BACKOFF: Final = wait_exponential(multiplier=0.25, exp_base=2, max=CEILING)
_HANDLE: Final = wait_exponential(multiplier=0.5, exp_base=2, max=4.0)
_CALL: Final = Retrying()

_RULE_RETRY: Final = 3
"""Links to one target that failed in a row at which a rule's own "retry" gives way to the table. A refused credential is
renewed twice by that: a token's expiry is often found out only after another fault."""

_PASSING: Final[frozenset[FaultKind]] = frozenset({"planned", "network", "hung", "server", "quota", "handle", "protocol"})
"""What may be over when the same target is dialled later, with nothing changed."""


class DefaultPolicy:
    """The policy of unbroken, as docs/faults.md tells it. It has no state, so one object serves any number of sessions."""

    def __repr__(self) -> str:
        return "<DefaultPolicy>"

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        """Returns what is to be done.

        Args:
            fault: what the last closure meant.
            situation: where the session stands.
        """
        kind = counted_as(fault.kind, useful=situation.useful)
        advice = fault.advice or DEFAULTS[kind].advice
        if because := used_up(kind, situation):
            return Escalate(advice=advice, because=because, rule="bounds")
        for step in _steps(fault, kind, situation):
            decision = _Asked(fault, kind, situation, step).decide()
            if decision is not None:
                return decision
        because = " ".join(
            ["Nothing can be tried before the session's patience is over.", *(t.unfit for t in situation.targets if t.unfit)]
        )
        return Escalate(advice=advice, because=because, rule=f"{kind}-escalate")


def backoff(failed: int, situation: Situation) -> float:
    """Returns seconds to wait before a target is dialled again.

    Args:
        failed: links to it that failed in a row.
        situation: gives the random number, and the patience that a stretched wait may use.
    """
    if failed <= 1:
        return 0.0
    ceiling = _ceiling(_BACKOFF, failed - 1)
    if ceiling >= CEILING and situation.attempts_left <= RESERVE:
        ceiling = max(ceiling, 2 * situation.patience_left / (situation.attempts_left + 1))
    return min(FIRST_WAIT + situation.random * (ceiling - FIRST_WAIT), situation.patience_left)


class _Asked(msgspec.Struct, frozen=True):
    """One step of the table, tried in one situation."""

    fault: Fault
    kind: FaultKind
    situation: Situation
    step: Step

    @property
    def here(self) -> TargetState:
        targets, current = self.situation.targets, self.situation.current
        if current < len(targets):
            return targets[current]
        return TargetState(name="the target", index=current, quota_group="", credentials="")

    def decide(self) -> Decision | None:
        """Returns the decision; None: the step cannot be done."""
        step = self.step
        match step.act:
            case "finish":
                return Finish(because=step.because, rule=step.id)
            case "escalate":
                advice = self.fault.advice or DEFAULTS[self.kind].advice
                because = " ".join(
                    [step.because, *(t.unfit for t in self.situation.targets if t.unfit and t is not self.here)]
                )
                return Escalate(advice=advice, because=because, rule=step.id)
            case "fail over":
                return self._elsewhere() if self._within_bounds() else None
            case "wait":
                return self._when_usable()
            case "resume" | "fresh":
                return self._again() if self._within_bounds() else None

    def _within_bounds(self) -> bool:
        step, situation = self.step, self.situation
        by_handle = situation.has_handle and self.fault.carry in (None, "handle")
        return not (
            (step.failures_below and self.here.tried >= step.failures_below)
            or (step.handle_below and situation.handle_failures >= step.handle_below)
            or (step.unlived_from and not (situation.unlived >= step.unlived_from and self._at_hand()))
            or situation.age < step.slower_than
            or (step.rules and self.fault.rule not in step.rules)
            or (step.useful and not situation.useful)
            or (step.unconfirmed and not situation.previous_unconfirmed)
            or (step.unsure and self.fault.confidence >= SURE)
            or (self.kind == "handle" and step.act == "resume" and not by_handle)
        )

    def _again(self) -> Decision | None:
        situation, here = self.situation, self.here
        if here.ruled_out:
            return None
        if here.breaker == "open" and (elsewhere := self._by(_RESTS)._elsewhere()) is not None:
            return elsewhere
        after = self._paced()
        floor = max(here.usable_after - situation.now, self.fault.retry_after or 0.0)
        if self.kind == "quota":
            floor = max(floor, cool_down(self.fault))
        if max(floor, here.backlog) > min(max(after, _LONGEST), situation.patience_left):
            elsewhere = self._by(_LATER)._elsewhere()
            if elsewhere is not None or floor > situation.patience_left:
                return elsewhere or self._asking_itself(after)
        return self._retry(max(after, floor))

    def _asking_itself(self, after: float) -> Decision | None:
        """What other sessions were told does not end a call that was well here until now: it asks once."""
        own = cool_down(self.fault) if self.kind == "quota" else self.fault.retry_after or 0.0
        if self.here.tried > 1 or own > self.situation.patience_left:
            return None
        return self._by(msgspec.structs.replace(self.step, id=_ASKS.id, because=_ASKS.because))._retry(max(after, own))

    def _by(self, step: Step) -> _Asked:
        return msgspec.structs.replace(self, step=step)

    def _paced(self) -> float:
        if self.step.pace == "soon":
            return min(FIRST_WAIT, self.situation.patience_left) if self.here.tried > 1 else 0.0
        if self.step.pace == "backoff":
            if self.situation.useful and self.kind != "planned":
                return min(FIRST_WAIT, self.situation.patience_left) if self.here.tried > 1 else 0.0
            return backoff(self.here.tried, self.situation)
        half = _ceiling(_HANDLE, max(1, self.situation.handle_failures)) / 2
        return min(half + self.situation.random * half, self.situation.patience_left)

    def _at_hand(self) -> list[TargetState]:
        well = ("closed", "half-open") if self.step.slower_than else ("closed",)
        return [target for target in self._usable() if target.breaker in well and self._has_room(target)]

    def _usable(self) -> list[TargetState]:
        now = self.situation.now
        return [target for target in self._others() if target.usable_after <= now and target.backlog <= _LONGEST]

    def _elsewhere(self) -> FailOver | None:
        usable = self._at_hand() if self.step.unlived_from else self._usable()
        if not usable:
            return None
        # the least tried first, so that a route of three is walked to its end before anything is tried again
        target = min(usable, key=lambda target: (target.tried, not self._has_room(target), target.index))
        wait = backoff(target.tried + 1, self.situation)
        rested = max(wait - self.situation.age, FIRST_WAIT * target.tried)  # while the link that ended was tried
        return self._fail_over(target, min(wait, rested))

    def _when_usable(self) -> Decision | None:
        situation, here = self.situation, self.here
        waits = [(target.usable_after - situation.now, target) for target in self._others()]
        if self.kind in _PASSING and not here.ruled_out:
            wait = cool_down(self.fault) if self.kind == "quota" else self.fault.retry_after or 0.0
            waits.append((max(wait, here.usable_after - situation.now), here))
        wait, target = min(waits, key=lambda option: (option[0], option[1].index), default=(math.inf, here))
        if wait > situation.patience_left:
            return None
        # those who wait for the same moment do not all dial in it; and "Retry-After: 0" is no leave to dial without end
        paced = backoff(target.tried if target is here else target.tried + 1, situation)
        after = max(paced, min(wait * (1 + 0.1 * situation.random), situation.patience_left))
        return self._retry(after) if target is here else self._fail_over(target, after)

    def _others(self) -> Sequence[TargetState]:
        return [
            target
            for target in self.situation.targets
            if target.index != self.situation.current
            and not target.ruled_out
            and not target.unfit
            and (self.kind != "context" or self._is_larger(target))
            and not (self.kind == "quota" and target.quota_group == self.here.quota_group)
            and not (self.kind == "auth" and target.credentials == self.here.credentials)
            and not (self._at_the_door and target.endpoint == self.here.endpoint)
        ]

    @property
    def _at_the_door(self) -> bool:
        """The host did not answer, or not let anybody in: nobody there has heard yet which of its models is wanted."""
        way = self.kind in ("network", "hung") and self.situation.phase not in ("setup", "live")
        return way and bool(self.here.endpoint)

    def _has_room(self, target: TargetState) -> bool:
        """Says whether the target's context window takes the history whole; what there is no room for is left out there."""
        return target.context_tokens is None or target.context_tokens > self.situation.history_tokens

    def _is_larger(self, target: TargetState) -> bool:
        """Says whether the target's context window may be larger than the one that is full."""
        return target.context_tokens is None or target.context_tokens > (self.here.context_tokens or 0)

    def _retry(self, after: float) -> Retry:
        fresh = self.step.act == "fresh" or not self.situation.has_handle
        carry: Carry = self.fault.carry or ("history" if fresh else "handle")
        if carry == "handle" and not self.situation.has_handle:
            carry = "history"
        refused = self.fault.drop_media if self.fault.drop_media is not None else self.kind == "input"
        because = self._because(self.here, after, carry)
        return Retry(after=after, carry=carry, drop_media=refused, because=because, rule=self.step.id)

    def _fail_over(self, target: TargetState, after: float) -> FailOver:
        carry: Carry = "nothing" if self.fault.carry == "nothing" else "history"
        because = self._because(target, after, carry)
        return FailOver(target=target.index, after=after, carry=carry, because=because, rule=self.step.id)

    def _because(self, target: TargetState, after: float, carry: Carry) -> str:
        when = f"in {after:.{1 if after >= 1.0 else 2}f} s" if after > 0.0 else "at once"
        return self.step.because.format(target=target.name, when=when, carry=_CARRIED[carry])


_CARRIED: Final = {"handle": "resuming by its handle", "history": "with the history told again", "nothing": "from the start"}

_RESTS: Final = Step(
    id="breaker-failover",
    act="fail over",
    because="The target keeps failing for all sessions and rests; the conversation moves to {target} {when}, {carry}.",
)
_LATER: Final = Step(
    id="busy-failover",
    act="fail over",
    because="The target is not to be dialled for a while; the conversation moves to {target} {when}, {carry}.",
)
_ASKS: Final = Step(
    id="rest-resume",
    act="resume",
    because="Other sessions were told to leave it alone for longer than this one can wait, so it asks once; {target} is"
    " dialled {when}, {carry}.",
)

_BY_RULE: Final = {
    "finish": Step(id="rule-finish", act="finish", because="The rule says that the session is over with this."),
    "escalate": Step(id="rule-escalate", act="escalate", because="The rule says that a person has to look at this."),
    "failover": Step(
        id="rule-failover", act="fail over", because="The rule says to go elsewhere; {target} is dialled {when}, {carry}."
    ),
    "retry": Step(id="rule-retry", act="resume", because="The rule says to try again; {target} is dialled {when}, {carry}."),
}


def _steps(fault: Fault, kind: FaultKind, situation: Situation) -> Sequence[Step]:
    """Returns the table's steps, with the rule's own action before them where it has one."""
    steps = DEFAULTS[kind].steps
    usual = next(step.act for step in steps if not step.unlived_from)
    match fault.action:
        case None:
            return steps
        case "finish" | "escalate":
            return (_BY_RULE[fault.action],)
        case "failover":
            return steps if usual == "fail over" else (_BY_RULE["failover"], *steps)
        case "retry":
            tried = situation.targets[situation.current].tried if situation.targets else 0
            already = tried >= _RULE_RETRY or usual in ("resume", "fresh")
            return steps if already else (_BY_RULE["retry"], *steps)


def _ceiling(wait: wait_base, attempt: int) -> float:
    state = RetryCallState(_CALL, None, (), {})
    state.attempt_number = attempt
    return wait(state)


class _Decides(Protocol):
    """What `unbroken.abc.Policy` is, which nothing in this package imports."""

    def decide(self, fault: Fault, situation: Situation) -> Decision: ...


class Settled(NamedTuple):
    """What came of asking a policy.

    Attributes:
        decision: as it is to be performed; None: the policy failed, or goes on where a bound of the session forbids it, and
            the default policy decides in its place.
        failure: what the policy raised, or why its decision cannot be performed; None: it did not fail. A bound that it did
            not know is no failure of it.
    """

    decision: Decision | None
    failure: str | Exception | None = None


def settled(policy: _Decides, fault: Fault, situation: Situation) -> Settled:
    """Asks a policy, and holds its answer to what every policy is held to (`unbroken.core.bounds`).

    Args:
        policy: anybody's; whatever it raises is in the answer.
        fault: what it is asked about.
        situation: what it is asked in.
    """
    try:
        decision = policy.decide(fault, situation)
        why = flaw(decision, situation)
    except Exception as error:  # because a policy and its answers are somebody's own code, whose bug must not end a call
        return Settled(None, error)
    if why:
        return Settled(None, why)
    if type(policy) is DefaultPolicy:  # which knows the bounds, paces itself, and may dial at once where others may not
        return Settled(decision)
    return Settled(bounded(decision, fault, situation))
