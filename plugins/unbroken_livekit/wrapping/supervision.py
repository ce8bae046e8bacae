"""What is done about a child that ended: rules say what it means, a policy decides, the fleet says when.

Nothing here waits or reads a clock; `now` is seconds on the event loop's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from unbroken.abc import Policy
from unbroken.config import Settings
from unbroken.core.bounds import bounded, counted_as, flaw
from unbroken.core.classify import Rule, classify
from unbroken.core.first import First, first_target
from unbroken.core.fleet import Fleet, is_retry
from unbroken.core.outage import Outages
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Decision, Fault, Retry, Situation, TargetState
from unbroken.events import OutageBegan, Steps
from unbroken_livekit.log import logger

__all__ = ["Judged", "Supervision"]

_DEFAULT: Final = DefaultPolicy()


class Judged(NamedTuple):
    """What a child's end means, and what is done.

    Attributes:
        fault: what it means.
        decision: what is done.
        situation: what the policy was told.
        because: both sentences, for people.
        fallback: the decision is the built-in one, because the policy failed.
    """

    fault: Fault
    decision: Decision
    situation: Situation
    because: str
    fallback: bool


class Supervision:
    """The supervision of one wrapped session.

    Args:
        names: the targets, in order of preference.
        policy: decides.
        rules: the application's rows, read before all others.
        providers: per target the rows of its provider.
        settings: the session's bounds.
        fleet: what the sessions of a process know together.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        policy: Policy,
        rules: Sequence[Rule],
        providers: Sequence[Sequence[Rule]],
        settings: Settings,
        fleet: Fleet,
    ) -> None:
        self._targets = tuple(
            TargetState(name=name, index=index, quota_group=name, credentials=name, endpoint=name)
            for index, name in enumerate(names)
        )
        self._policy = policy
        self._rules = [in_order(rules, rows) for rows in providers]
        self._settings = settings
        self._fleet = fleet
        self._outages = Outages(self._targets, settings=settings)
        self._links = 0

    @property
    def outage_began(self) -> float | None:
        """When the outage that goes on was noticed; None: none goes on."""
        return self._outages.began

    def first(self, now: float) -> First:
        """Returns where the session begins."""
        situation = Situation(now=now, targets=self._targets, attempt=0, patience_left=self._settings.patience)
        return first_target(self._fleet.view(situation))

    def judge(self, closure: Closure, *, target: int, detect: float, has_history: bool, random: float, now: float) -> Judged:
        """Says what a child's end means, and what is done about it.

        Args:
            closure: how it ended.
            target: which model it was of, an index into the route.
            detect: seconds until its end was known.
            has_history: there are turns that another child could be told.
            random: from 0 to 1, 1 excluded.
            now: the present.
        """
        facts = msgspec.structs.replace(closure.facts, consecutive=self._outages.consecutive(target))
        closure = msgspec.structs.replace(closure, facts=facts, link=self._links)
        self._outages.failed(closure, target=target, detect=detect, now=now)
        situation = self._outages.situation(
            closure, target=target, has_handle=False, history_tokens=int(has_history), random=random, now=now
        )
        closure = self._fleet.told(closure, situation)
        fault = classify(closure, self._rules[target])
        counted = msgspec.structs.replace(fault, kind=counted_as(fault.kind, useful=situation.useful))
        self._fleet.note(counted, closure, target=self._targets[target], now=now)
        situation = self._fleet.view(situation)
        decision = self._decision(fault, situation)
        fallback = decision is None
        if decision is None:
            decision = _DEFAULT.decide(fault, situation)
        self._take_note(closure, fault, decision, target=target)
        because = " ".join(part for part in (fault.because, decision.because) if part)
        return Judged(fault, decision, situation, because, fallback)

    def _decision(self, fault: Fault, situation: Situation) -> Decision | None:
        try:
            decision = self._policy.decide(fault, situation)
            why = flaw(decision, situation)
        except Exception:  # because a policy is somebody's own code, whose bug must not end a call
            logger.exception("the policy failed, so the default one decides")
            return None
        if why:
            logger.error("the policy's decision cannot be performed, so the default one decides: %s", why)
            return None
        return decision if type(self._policy) is DefaultPolicy else bounded(decision, fault, situation)

    def _take_note(self, closure: Closure, fault: Fault, decision: Decision, *, target: int) -> None:
        if fault.kind == "planned" and closure.facts.useful:
            self._outages.forgive(target)
        if fault.kind in ("model", "config", "auth") and not isinstance(decision, Retry):
            self._outages.rule_out(target, fault.because)
        said = OutageBegan(
            link=closure.link,
            target=self._targets[target].name,
            closure=closure,
            fault=fault,
            decision=decision,
            because=fault.because,
        )
        self._outages.decided(said, took=0.0)

    def dial(self, judged: Judged | None, target: int, now: float, *, after: float) -> Dial:
        """Asks the fleet for leave to begin a child.

        Args:
            judged: what was decided; None: it is the session's first.
            target: which model.
            now: the present.
            after: seconds to wait first.
        """
        retry = judged is not None and is_retry(judged.situation.targets[target], judged.situation)
        self._links += 1
        self._outages.dialled()
        return Dial(self._fleet, self._targets[target], at=now + after, now=now, retry=retry)

    def recovered(self) -> int:
        """A child is up. Returns how many were begun in the outage that this ends."""
        return self._outages.recovered(Steps(), catch_up=0.0)[1]

    def healthy(self, target: int, now: float) -> None:
        """A child has been healthy for a while."""
        self._outages.healthy()
        self._fleet.healthy(self._targets[target], now)

    def __repr__(self) -> str:
        return f"<Supervision of {', '.join(target.name for target in self._targets)}; {self._outages!r}>"


class Dial:
    """The fleet's leave to begin one child, to be given back by `up` or `over`.

    Args:
        fleet: gives it.
        target: where.
        at: when it is wanted.
        now: the present.
        retry: the target has just failed this session.
    """

    def __init__(self, fleet: Fleet, target: TargetState, *, at: float, now: float, retry: bool) -> None:
        self._fleet = fleet
        self._permit = fleet.admit(target, at=at, now=now, retry=retry)

    @property
    def not_before(self) -> float:
        """When it may begin, if `begin` says so."""
        return self._permit.not_before

    def begin(self, now: float) -> bool:
        """Begins it. Returns whether it has begun; else `not_before` says when to ask again."""
        self._permit = self._fleet.begin(self._permit, now)
        return self._permit.not_before <= now

    def up(self) -> None:
        """The child is up."""
        self._fleet.came_up(self._permit)

    def over(self, now: float, *, failed: bool) -> None:
        """The child did not come up; once it has, this changes nothing."""
        self._fleet.give_back(self._permit, now=now, failed=failed)
