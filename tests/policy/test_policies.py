"""Policies made of policies: who is asked, what is replaced, and which bounds hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unbroken import policies
from unbroken.errors import ConfigError, UnknownName
from unbroken.policies import (
    Decision,
    DefaultPolicy,
    Escalate,
    FailOver,
    Fault,
    Finish,
    Policy,
    Retry,
    Situation,
    TargetState,
    first_match,
    limit,
    override,
)

DEFAULT = DefaultPolicy()
ROUTE = tuple(TargetState(name=f"p/m{n}", index=n, quota_group=f"m{n}", credentials="p", tried=1 - n) for n in range(2))
THERE = Situation(targets=ROUTE, has_handle=True, has_history=True, useful=True)
NETWORK = Fault(kind="network", rule="r", advice="Check the cable.")
QUOTA = Fault(kind="quota", rule="r")
PLANNED = Fault(kind="planned", rule="r")


class Only:
    """Answers for one kind of fault."""

    def __init__(self, kind: str, decision: Decision) -> None:
        self.kind = kind
        self.decision = decision

    def decide(self, fault: Fault, situation: Situation) -> Decision | None:
        return self.decision if fault.kind == self.kind else None

    def __repr__(self) -> str:
        return f"Only({self.kind!r})"


class Says:
    """Always says the same."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        return self.decision

    def __repr__(self) -> str:
        return "Says()"


# -- first_match ----------------------------------------------------------------------------------------------------------


def test_the_first_that_has_an_answer_decides() -> None:
    policy = first_match(Only("quota", Retry(after=1.0)), Only("quota", Retry(after=2.0)), Only("network", Retry(after=3.0)))
    assert policy.decide(QUOTA, THERE) == Retry(after=1.0)
    assert policy.decide(NETWORK, THERE) == Retry(after=3.0)


def test_whom_nobody_has_an_answer_for_is_decided_by_the_last() -> None:
    assert first_match(Only("quota", Finish())).decide(NETWORK, THERE) == DEFAULT.decide(NETWORK, THERE)
    assert first_match(Only("quota", Finish()), otherwise=Says(Escalate())).decide(NETWORK, THERE) == Escalate()


# -- override -------------------------------------------------------------------------------------------------------------


def test_a_fault_has_a_decision_or_a_policy_of_its_own() -> None:
    policy = override(DEFAULT, quota=Retry(after=5.0), model=Says(Escalate(advice="Ask us.")), hung=Only("server", Finish()))
    assert policy.decide(QUOTA, THERE) == Retry(after=5.0)
    assert policy.decide(Fault(kind="model", rule="r"), THERE) == Escalate(advice="Ask us.")
    for kind in ("network", "hung"):
        fault = Fault(kind=kind, rule="r")
        assert policy.decide(fault, THERE) == DEFAULT.decide(fault, THERE)


def test_a_planned_end_of_a_useless_link_is_overridden_as_server() -> None:
    policy = override(DEFAULT, planned=Finish(), server=Escalate())
    assert policy.decide(PLANNED, THERE) == Finish()
    assert policy.decide(PLANNED, Situation(targets=ROUTE)) == Escalate()


@pytest.mark.parametrize(
    ("instead", "situation"),
    [
        (FailOver(target=1), Situation(targets=ROUTE, current=1)),
        (FailOver(target=2), THERE),
        (Retry(after=10.0), Situation(targets=ROUTE, patience_left=9.0)),
    ],
    ids=["to where it failed", "beyond the route", "beyond patience"],
)
def test_what_cannot_be_performed_as_things_stand_is_passed_over(instead: Decision, situation: Situation) -> None:
    assert override(Says(Escalate()), network=instead).decide(NETWORK, situation) == Escalate()


# -- limit ----------------------------------------------------------------------------------------------------------------


def test_within_its_bounds_the_policy_decides() -> None:
    policy = limit(Says(Retry(after=3.0)), links=3, outage=20.0, wait=5.0)
    assert policy.decide(NETWORK, Situation(attempt=2, outage_age=17.0)) == Retry(after=3.0)


@pytest.mark.parametrize(
    ("bound", "situation", "because"),
    [
        ({"links": 3}, Situation(attempt=3), "3 links in a row failed, and the session's policy allows 3."),
        (
            {"outage": 20.0},
            Situation(outage_age=17.5),
            "The outage would have lasted 20 s at the next dial, and the session's policy allows 20 s.",
        ),
        ({"wait": 2.5}, Situation(), "The next dial would be in 3 s, and the session's policy allows 2.5 s."),
    ],
    ids=["links", "outage", "wait"],
)
def test_a_bound_that_is_reached_escalates(bound: dict[str, Any], situation: Situation, because: str) -> None:
    rule = f"limit-{next(iter(bound))}"
    for dials in (Retry(after=3.0), FailOver(target=1, after=3.0)):
        told = limit(Says(dials), **bound).decide(NETWORK, situation)
        assert told == Escalate(advice="Check the cable.", because=because, rule=rule)
    advised = limit(Says(Retry(after=3.0)), **bound, advice="Hand over to a person.").decide(NETWORK, situation)
    assert advised == Escalate(advice="Hand over to a person.", because=because, rule=rule)
    for ends in (Escalate(because="Why."), Finish()):
        assert limit(Says(ends), **bound).decide(NETWORK, situation) == ends


def test_a_planned_end_is_no_failed_link_but_several_in_a_row_are() -> None:
    policy = limit(Says(Retry()), links=1)
    assert policy.decide(PLANNED, Situation(attempt=1, useful=True)) == Retry()
    assert isinstance(policy.decide(PLANNED, Situation(attempt=2, useful=True)), Escalate)
    assert isinstance(policy.decide(PLANNED, Situation(attempt=1)), Escalate), "nothing useful had come"


# -- for people -----------------------------------------------------------------------------------------------------------


def test_a_policy_reads_as_it_was_written() -> None:
    policy = limit(override(first_match(Only("quota", Finish())), auth=Says(Finish())), links=5, outage=20.0)
    written = "limit(override(first_match(Only('quota'), otherwise=<DefaultPolicy>), auth=Says()), links=5, outage=20)"
    assert repr(policy) == written


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        limit(DEFAULT, links=5).links = 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: first_match(), "first_match has nobody to ask; give at least one policy, as in first_match(MyPolicy())"),
        (
            lambda: first_match(DEFAULT, DefaultPolicy),  # type: ignore[arg-type]
            "policy 2 of first_match is the class DefaultPolicy; give an object of it, DefaultPolicy()",
        ),
        (
            lambda: first_match(DEFAULT, otherwise="default"),  # type: ignore[arg-type]
            "otherwise= of first_match is 'default'; give an object with a method decide(fault, situation)",
        ),
        (
            lambda: override(DEFAULT),
            "override replaces nothing; name a fault, as in override(policy, quota=Retry(after=5.0))",
        ),
        (
            lambda: override(DEFAULT, quota="wait"),  # type: ignore[arg-type]
            "quota= of override is 'wait'; give an object with a method decide(fault, situation)"
            " or a Retry, FailOver, Escalate or Finish",
        ),
        (
            lambda: override(DEFAULT, quota=FailOver(target=0, carry="handle")),
            "quota=FailOver(target=0, after=0.0, carry='handle', because='', rule='') of override can never be performed:"
            " it carries a handle to another target",
        ),
        (
            lambda: limit(DEFAULT),
            "limit has no bound; give at least one of links=, outage= and wait=, as in limit(policy, links=5)",
        ),
        (lambda: limit(DEFAULT, links=0), "links= of limit is a whole number from 1 on, not 0"),
        (lambda: limit(DEFAULT, wait=-1.0), "wait= of limit is a number of seconds above 0, not -1.0"),
        (
            lambda: limit(42, links=1),  # type: ignore[arg-type]
            "the first argument of limit is 42; give an object with a method decide(fault, situation)",
        ),
    ],
)
def test_nonsense_is_refused_with_what_would_have_worked(make: Callable[[], Policy], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value) == said


def test_a_misspelt_fault_is_answered_with_the_near_one() -> None:
    with pytest.raises(UnknownName, match=r"^unknown fault 'quotas'; did you mean 'quota'\? known: auth, closed, "):
        override(DEFAULT, quotas=Retry(after=5.0))


def test_a_first_decision_for_the_first_target_is_none_that_can_never_be() -> None:
    assert override(DEFAULT, network=FailOver(target=0, because="Back.")).decide(
        NETWORK, Situation(targets=ROUTE, current=1)
    ) == FailOver(target=0, because="Back.")


def test_authors_find_all_in_one_place() -> None:
    assert [name for name in policies.__all__ if not hasattr(policies, name)] == []
    assert policies.__all__ == sorted(policies.__all__)
