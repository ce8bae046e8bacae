"""What is special about the support line, and that nothing is wrong with it."""

from __future__ import annotations

import msgspec
import pytest
from support_line import ComeBack, SupportLine, WaitForQuota
from support_line.rules import RULES

from unbroken.policies import Escalate, FailOver, Fault, Retry, Situation, TargetState
from unbroken.testing.policies import check

GOOD = TargetState(name="gemini/good", index=0, quota_group="good", credentials="ours")
LESSER = TargetState(name="gemini/lesser", index=1, quota_group="lesser", credentials="ours")
ON_THE_LESSER = Situation(targets=(GOOD, LESSER), current=1, useful=True, has_handle=True)
ON_THE_GOOD = Situation(targets=(GOOD, LESSER), useful=True, has_handle=True)
PLANNED = Fault(kind="planned", rule="gateway-drain")
QUOTA = Fault(kind="quota", rule="gateway-share", retry_after=7.0)


def test_nothing_is_wrong_with_it() -> None:
    assert check(SupportLine(), examples=100, rules=RULES).complaints == ()


def test_it_comes_back_where_the_connection_ends_anyway() -> None:
    decision = SupportLine().decide(PLANNED, ON_THE_LESSER)
    assert isinstance(decision, FailOver)
    assert (decision.target, decision.rule) == (0, "come-back")


@pytest.mark.parametrize(
    "not_well", [{"breaker": "open"}, {"tried": 1}, {"usable_after": 9.0}, {"unfit": "It has no tools."}]
)
def test_it_stays_where_the_good_model_is_not_well(not_well: dict[str, object]) -> None:
    targets = (msgspec.structs.replace(GOOD, **not_well), LESSER)
    assert ComeBack().decide(PLANNED, msgspec.structs.replace(ON_THE_LESSER, targets=targets)) is None


def test_it_waits_for_a_quota_that_comes_back_soon() -> None:
    decision = SupportLine().decide(QUOTA, ON_THE_GOOD)
    assert isinstance(decision, Retry)
    assert (decision.after, decision.carry, decision.rule) == (7.0, "handle", "wait-for-quota")
    for unbearable in (60.0, None):
        assert WaitForQuota().decide(msgspec.structs.replace(QUOTA, retry_after=unbearable), ON_THE_GOOD) is None


def test_a_person_takes_over_in_time() -> None:
    decision = SupportLine().decide(QUOTA, msgspec.structs.replace(ON_THE_GOOD, outage_age=25.0))
    assert isinstance(decision, Escalate)
    assert decision.advice == "Put the caller through to a person."
