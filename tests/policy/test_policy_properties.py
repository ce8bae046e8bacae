"""What holds for the default policy in every situation: its decisions can be performed, and they come to an end."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.config import Settings
from unbroken.core.bounds import flaw
from unbroken.core.policy import DefaultPolicy
from unbroken.decisions import FAULTS, Escalate, FailOver, Fault, Finish, Retry, Situation, TargetState
from unbroken.testing.plays import End, Scene, play
from unbroken.testing.situations import ends, faults, randoms, situations

FAILURES = [kind for kind in FAULTS if kind not in ("closed", "planned")]


@settings(max_examples=400)
@given(fault=faults(), situation=situations())
def test_every_decision_can_be_performed_and_says_why(fault: Fault, situation: Situation) -> None:
    decision = DefaultPolicy().decide(fault, situation)
    assert flaw(decision, situation) == ""
    assert decision.rule
    assert decision.because.endswith(".")
    assert "{" not in decision.because
    match decision:
        case Retry():
            here = situation.targets[situation.current]
            assert decision.after <= situation.patience_left
            if here.tried > 1 or here.usable_after <= situation.now + situation.patience_left:  # else it asks once by itself
                assert decision.after >= min(here.usable_after - situation.now, situation.patience_left)
            assert decision.carry != "handle" or situation.has_handle
        case FailOver():
            there = situation.targets[decision.target]
            assert decision.after <= situation.patience_left
            assert situation.now + decision.after >= there.usable_after - 1e-9
            assert not there.unfit
            if decision.rule.endswith("-failover") and fault.kind in ("server", "model", "config", "input", "handle"):
                better = [
                    other
                    for index, other in enumerate(situation.targets)
                    if index != situation.current and not other.unfit and not other.ruled_out and not other.backlog
                    if other.usable_after <= situation.now and other.tried <= there.tried and has_room(other, situation)
                ]
                assert has_room(there, situation) or not better, "who has no room for all of it is the last resort"
            assert fault.kind != "auth" or there.credentials != situation.targets[situation.current].credentials
            assert fault.kind != "quota" or there.quota_group != situation.targets[situation.current].quota_group
        case Escalate():
            assert decision.advice or fault.kind in ("closed", "planned")
        case Finish():
            assert fault.kind == "closed" or fault.action == "finish"


def has_room(target: TargetState, situation: Situation) -> bool:
    return target.context_tokens is None or target.context_tokens > situation.history_tokens


@given(fault=faults(), situation=situations())
def test_the_same_question_has_the_same_answer(fault: Fault, situation: Situation) -> None:
    assert DefaultPolicy().decide(fault, situation) == DefaultPolicy().decide(fault, situation)


@given(fault=faults(*FAILURES), situation=situations())
def test_a_bound_that_is_used_up_escalates(fault: Fault, situation: Situation) -> None:
    for spent in ({"attempts_left": 0}, {"recoveries_left": 0}, {"patience_left": 0.0}):
        decision = DefaultPolicy().decide(fault, msgspec.structs.replace(situation, **spent))
        assert isinstance(decision, Escalate)


@settings(max_examples=300)
@given(
    end=ends(*FAILURES).filter(lambda end: end.fault.action is None and not end.healthy),
    targets=st.integers(1, 3),
    handles=st.booleans(),
    numbers=st.lists(randoms(), min_size=1, max_size=20).map(tuple),
)
def test_a_service_that_always_fails_in_the_same_way_is_left_without_a_storm(
    end: End, targets: int, handles: bool, numbers: tuple[float, ...]
) -> None:
    played = play(DefaultPolicy(), Scene(service=(end,), targets=targets, handles=handles, randoms=numbers))
    assert played.how in ("escalated", "patience")
    assert len(played.dials) < Settings().attempts
    assert played.longest <= Settings().patience + end.age
    for index in range(targets):
        mine = [at for at, target in played.dials if target == index]
        # one try at once after the first failure, then never again without a pause
        assert all(later - earlier >= 0.05 for earlier, later in pairwise(mine[1:]))
