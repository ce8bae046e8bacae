"""What holds for the default policy in every situation: its decisions can be performed, and they come to an end."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.config import Settings
from unbroken.core.fleet import Fleet, is_retry
from unbroken.core.outage import Outages
from unbroken.core.policy import DefaultPolicy, flaw
from unbroken.decisions import (
    ACTIONS,
    FAULTS,
    Closure,
    Decision,
    Ending,
    Escalate,
    Facts,
    FailOver,
    Fault,
    Finish,
    Retry,
    Situation,
    TargetState,
)

SECONDS = st.floats(0.0, 200.0)
RANDOM = st.floats(0.0, 1.0, exclude_max=True)
FAULT = st.builds(
    Fault,
    kind=st.sampled_from(FAULTS),
    rule=st.just("r"),
    action=st.none() | st.sampled_from(ACTIONS),
    carry=st.none() | st.sampled_from(("handle", "history", "nothing")),
    drop_media=st.none() | st.booleans(),
    advice=st.sampled_from(("", "Do this.")),
    retry_after=st.none() | st.just(0.0) | SECONDS,
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    count = draw(st.integers(1, 4))
    targets = tuple(
        TargetState(
            name=f"p/m{index}",
            index=index,
            quota_group=draw(st.sampled_from("xy")),
            credentials=draw(st.sampled_from("xy")),
            failures=draw(st.integers(0, 30)),
            tried=draw(st.integers(0, 30)),
            usable_after=draw(SECONDS),
            ruled_out=draw(st.sampled_from(("", "It is not served."))),
        )
        for index in range(count)
    )
    return Situation(
        now=draw(SECONDS),
        targets=targets,
        current=draw(st.integers(0, count - 1)),
        attempt=draw(st.integers(1, 30)),
        outage_age=draw(SECONDS),
        patience_left=draw(st.sampled_from((0.0, 60.0)) | SECONDS),
        attempts_left=draw(st.integers(0, 20)),
        recoveries_left=draw(st.integers(0, 3)),
        has_handle=draw(st.booleans()),
        has_history=draw(st.booleans()),
        handle_failures=draw(st.integers(0, 10)),
        useful=draw(st.booleans()),
        previous_unconfirmed=draw(st.booleans()),
        random=draw(RANDOM),
    )


@settings(max_examples=400)
@given(fault=FAULT, situation=situations())
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
            assert situation.now + decision.after >= min(here.usable_after, situation.now + situation.patience_left)
            assert decision.carry != "handle" or situation.has_handle
        case FailOver():
            there = situation.targets[decision.target]
            assert decision.after <= situation.patience_left
            assert situation.now + decision.after >= there.usable_after - 1e-9
            assert fault.kind != "auth" or there.credentials != situation.targets[situation.current].credentials
            assert fault.kind != "quota" or there.quota_group != situation.targets[situation.current].quota_group
        case Escalate():
            assert decision.advice or fault.kind in ("closed", "planned")
        case Finish():
            assert fault.kind == "closed" or fault.action == "finish"


@given(fault=FAULT, situation=situations())
def test_the_same_question_has_the_same_answer(fault: Fault, situation: Situation) -> None:
    assert DefaultPolicy().decide(fault, situation) == DefaultPolicy().decide(fault, situation)


@given(fault=FAULT.filter(lambda f: f.kind not in ("closed", "planned")), situation=situations())
def test_a_bound_that_is_used_up_escalates(fault: Fault, situation: Situation) -> None:
    for spent in ({"attempts_left": 0}, {"recoveries_left": 0}, {"patience_left": 0.0}):
        decision = DefaultPolicy().decide(fault, msgspec.structs.replace(situation, **spent))
        assert isinstance(decision, Escalate)


# -- a service that always fails the same way ---------------------------------------------------------------------------

DIAL = 0.01
"""Seconds that a failing link takes at least."""


def outage(
    fault: Fault, *, targets: int, randoms: st.DataObject, handle: bool, confirmed: bool
) -> tuple[list[tuple[float, int]], Decision]:
    """Plays one outage with the session's own bookkeeping; returns each dial's time and target, and the last decision."""
    bounds, fleet, now, current = Settings(), Fleet(), 0.0, 0
    route = [TargetState(name=f"p/m{i}", index=i, quota_group=f"m{i}", credentials=f"p{i}") for i in range(targets)]
    outages = Outages(route, settings=bounds)
    dials: list[tuple[float, int]] = []
    holding, resumed = handle, False
    while True:
        facts = Facts(resumed=resumed, previous_unconfirmed=not confirmed)
        closure = Closure(ending=Ending(cause="eof", confirmed=confirmed), facts=facts)
        outages.failed(closure, target=current, detect=0.0, now=now)
        random = randoms.draw(RANDOM)
        asked = outages.situation(closure, target=current, has_handle=holding, history_tokens=9, random=random, now=now)
        fleet.note(fault, closure, target=route[current], now=now)
        situation = fleet.view(asked)
        decision = DefaultPolicy().decide(fault, situation)
        match decision:
            case Retry():
                resumed = holding = decision.carry == "handle"
            case FailOver():
                if fault.kind in ("model", "config", "auth"):
                    outages.rule_out(current, "It was refused.")
                current, resumed, holding = decision.target, False, False
            case _:
                return dials, decision
        there = situation.targets[current]
        permit = fleet.admit(there, at=now + decision.after, now=now, retry=is_retry(there, situation))
        while (permit := fleet.begin(permit, now)).not_before > now:
            now = permit.not_before
        dials.append((now, current))
        now += DIAL
        fleet.give_back(permit, now=now, failed=True)
        assert fleet.outstanding == 0


@settings(max_examples=300, deadline=None)
@given(
    fault=FAULT.filter(lambda f: f.action is None and f.kind not in ("closed", "planned")),
    targets=st.integers(1, 3),
    randoms=st.data(),
    handle=st.booleans(),
    confirmed=st.booleans(),
)
def test_an_outage_without_end_is_escalated_without_a_storm(
    fault: Fault, targets: int, randoms: st.DataObject, handle: bool, confirmed: bool
) -> None:
    dials, last = outage(fault, targets=targets, randoms=randoms, handle=handle, confirmed=confirmed)
    assert isinstance(last, Escalate)
    assert len(dials) < Settings().attempts
    assert all(at <= Settings().patience + DIAL for at, _ in dials)
    for index in range(targets):
        mine = [at for at, target in dials if target == index]
        # one try at once after the first failure, then never again without a pause
        assert all(later - earlier >= 0.05 for earlier, later in pairwise(mine[1:]))
