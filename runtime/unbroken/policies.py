"""For authors of policies: the types that a policy reads and returns, the default policy, and ways to combine several.

A policy is an object with one method, ``decide(fault, situation) -> Decision``, pure and synchronous. docs/policies.md shows
how to write, test and package one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

import msgspec

from unbroken.abc import Policy
from unbroken.core.bounds import counted_as, flaw
from unbroken.core.policy import DefaultPolicy, backoff
from unbroken.decisions import (
    FAULTS,
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
from unbroken.errors import ConfigError, UnknownName

__all__ = [
    "Carry",
    "Decision",
    "DefaultPolicy",
    "Escalate",
    "FailOver",
    "Fault",
    "FaultKind",
    "Finish",
    "PartialPolicy",
    "Policy",
    "Retry",
    "Situation",
    "TargetState",
    "backoff",
    "counted_as",
    "first_match",
    "flaw",
    "limit",
    "override",
]


@runtime_checkable
class PartialPolicy(Protocol):
    """Decides about some faults and leaves the others to whoever is asked next. Every `Policy` is one that leaves none."""

    def decide(self, fault: Fault, situation: Situation) -> Decision | None:
        """Returns what is to be done; None: that is not mine to say."""
        ...


def first_match(*policies: PartialPolicy, otherwise: Policy | None = None) -> Policy:
    """Asks several policies in order and takes the first answer that is not None.

    Args:
        policies: asked in this order.
        otherwise: asked last, and always answers; None: the default policy.

    Raises:
        ConfigError: there is nobody to ask, or one of them is no policy.
    """
    if not policies:
        raise ConfigError("first_match has nobody to ask; give at least one policy, as in first_match(MyPolicy())")
    for number, policy in enumerate(policies, 1):
        _check_policy(f"policy {number} of first_match", policy)
    last = otherwise if otherwise is not None else DefaultPolicy()
    _check_policy("otherwise= of first_match", last)
    return _FirstMatch(policies, last)


def override(policy: Policy, /, **faults: PartialPolicy | Decision) -> Policy:
    """Lets something else decide about single kinds of faults::

        override(DefaultPolicy(), quota=Retry(after=5.0), auth=Escalate(advice="Call the key's owner."))

    A planned end before which nothing useful had come is taken as ``server``, as docs/faults.md has it. A fixed decision
    that cannot be performed as things stand (a failover to the target that has just failed, a wait longer than the
    session's patience) is passed over.

    Args:
        policy: decides about the other faults, and where the one in its place has no answer.
        faults: per kind a policy, or a decision that is always the same.

    Raises:
        ConfigError: there is no such kind of fault, the value is neither policy nor decision, or no session could ever
            perform the decision.
    """
    _check_policy("the first argument of override", policy)
    if not faults:
        raise ConfigError("override replaces nothing; name a fault, as in override(policy, quota=Retry(after=5.0))")
    for kind, instead in faults.items():
        if kind not in FAULTS:
            raise UnknownName("fault", kind, FAULTS)
        if not isinstance(instead, Retry | FailOver | Escalate | Finish):
            _check_policy(f"{kind}= of override", instead, " or a Retry, FailOver, Escalate or Finish")
        elif why := _never(instead):
            raise ConfigError(f"{kind}={instead!r} of override can never be performed: {why}")
    return _Override(policy, dict(faults))


def limit(
    policy: Policy,
    /,
    *,
    links: int | None = None,
    outage: float | None = None,
    wait: float | None = None,
    advice: str = "",
) -> Policy:
    """Puts bounds around a policy: where one is reached, the session escalates instead of dialling again.

    They are looked at with every decision, so they can only be tighter than those of `unbroken.Settings`, which hold for
    every policy. A planned end after something useful is no failed link.

    Args:
        policy: decides within the bounds.
        links: links that may fail in a row, without a healthy stretch between (1: the first failure escalates).
        outage: seconds an outage may last until the next dial begins.
        wait: seconds that may be waited before one dial.
        advice: what a person can do about it; "": what the fault itself advises.

    Raises:
        ConfigError: no bound is given, or one that no session could keep to.
    """
    _check_policy("the first argument of limit", policy)
    if links is None and outage is None and wait is None:
        raise ConfigError("limit has no bound; give at least one of links=, outage= and wait=, as in limit(policy, links=5)")
    if links is not None and (type(links) is not int or links < 1):
        raise ConfigError(f"links= of limit is a whole number from 1 on, not {links!r}")
    for name, seconds in (("outage", outage), ("wait", wait)):
        if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{name}= of limit is a number of seconds above 0, not {seconds!r}")
    return _Limit(policy, links, outage, wait, advice)


# -- what they make -------------------------------------------------------------------------------------------------------


class _FirstMatch(msgspec.Struct, frozen=True):
    asked: tuple[PartialPolicy, ...]
    otherwise: Policy

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        for policy in self.asked:
            decision = policy.decide(fault, situation)
            if decision is not None:
                return decision
        return self.otherwise.decide(fault, situation)

    def __repr__(self) -> str:
        return f"first_match({', '.join(map(repr, self.asked))}, otherwise={self.otherwise!r})"


class _Override(msgspec.Struct, frozen=True):
    policy: Policy
    faults: Mapping[str, PartialPolicy | Decision]

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        instead = self.faults.get(counted_as(fault.kind, useful=situation.useful))
        if isinstance(instead, Retry | FailOver | Escalate | Finish):
            if not flaw(instead, situation) and _after(instead) <= situation.patience_left:
                return instead
        elif instead is not None:
            decision = instead.decide(fault, situation)
            if decision is not None:
                return decision
        return self.policy.decide(fault, situation)

    def __repr__(self) -> str:
        given = [f"{kind}={_brief(instead)}" for kind, instead in self.faults.items()]
        return f"override({self.policy!r}, {', '.join(given)})"


class _Limit(msgspec.Struct, frozen=True):
    policy: Policy
    links: int | None
    outage: float | None
    wait: float | None
    advice: str

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        decision = self.policy.decide(fault, situation)
        if isinstance(decision, Retry | FailOver):
            planned = counted_as(fault.kind, useful=situation.useful) == "planned"
            if self.links is not None and situation.attempt >= self.links and (not planned or situation.attempt > 1):
                return self._escalate(fault, "links", f"{situation.attempt} links in a row failed")
            begin = situation.outage_age + decision.after
            if self.outage is not None and begin > self.outage:
                return self._escalate(fault, "outage", f"The outage would have lasted {begin:.0f} s at the next dial")
            if self.wait is not None and decision.after > self.wait:
                return self._escalate(fault, "wait", f"The next dial would be in {decision.after:.0f} s")
        return decision

    def _escalate(self, fault: Fault, bound: str, reached: str) -> Escalate:
        allowed: float = getattr(self, bound)
        unit = "" if bound == "links" else " s"
        return Escalate(
            advice=self.advice or fault.advice,
            because=f"{reached}, and the session's policy allows {allowed:g}{unit}.",
            rule=f"limit-{bound}",
        )

    def __repr__(self) -> str:
        bounds = {"links": self.links, "outage": self.outage, "wait": self.wait}
        given = [f"{name}={bound:g}" for name, bound in bounds.items() if bound is not None]
        return f"limit({self.policy!r}, {', '.join(given)})"


_ROUTE: Final = tuple(TargetState(name=str(n), index=n, quota_group="", credentials="") for n in range(64))


def _never(decision: Decision) -> str:
    """Says why no session can perform a decision; "": one may."""
    return flaw(decision, Situation(targets=_ROUTE, current=int(isinstance(decision, FailOver) and decision.target == 0)))


def _brief(value: PartialPolicy | Decision) -> str:
    """Spells a decision without what has its default value, and anything else by its repr."""
    if not isinstance(value, Retry | FailOver | Escalate | Finish):
        return repr(value)
    fields = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
    return f"{type(value).__name__}({', '.join(f'{f.name}={told!r}' for f, told in fields if told != f.default)})"


def _after(decision: Decision) -> float:
    return decision.after if isinstance(decision, Retry | FailOver) else 0.0


def _check_policy(place: str, policy: object, or_else: str = "") -> None:
    if isinstance(policy, type) and issubclass(policy, PartialPolicy):
        raise ConfigError(f"{place} is the class {policy.__name__}; give an object of it, {policy.__name__}()")
    if not isinstance(policy, PartialPolicy):
        raise ConfigError(f"{place} is {policy!r}; give an object with a method decide(fault, situation){or_else}")
