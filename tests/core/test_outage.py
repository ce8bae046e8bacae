"""What counts as trouble: failures, outages, and the ends that are none."""

import msgspec
import pytest

from unbroken.config import Settings
from unbroken.core.outage import Outages
from unbroken.core.policy import DefaultPolicy
from unbroken.decisions import Closure, Decision, Escalate, Facts, FailOver, Fault, Finish, Retry, Situation, TargetState
from unbroken.events import OutageBegan, Steps

HERE = TargetState(name="p/m", index=0, quota_group="p/m", credentials="p")


def outages(*, attempts: int = 20, recoveries: int = 1000) -> Outages:
    return Outages([HERE], settings=Settings(attempts=attempts, recoveries=recoveries))


def fail(trouble: Outages, *, now: float, useful: bool = True, age: float = 60.0) -> Situation:
    closure = Closure(facts=Facts(useful=useful), age=age)
    trouble.failed(closure, target=0, detect=0.0, now=now)
    return trouble.situation(closure, target=0, has_handle=True, history_tokens=9, random=0.0, now=now)


def recover(trouble: Outages) -> None:
    trouble.dialled()
    trouble.recovered(Steps(), catch_up=0.0)


def test_each_outage_uses_up_a_recovery() -> None:
    trouble = outages(recoveries=2)
    left: list[int] = []
    for now in (1.0, 2.0, 3.0):
        left.append(fail(trouble, now=now).recoveries_left)
        recover(trouble)
    assert left == [2, 1, 0]


def test_a_planned_end_uses_up_nothing() -> None:
    trouble = outages(recoveries=2)
    for now in (1.0, 2.0, 3.0):
        assert fail(trouble, now=now).recoveries_left == 2
        trouble.forgive(0)
        recover(trouble)
    situation = fail(trouble, now=4.0)
    assert (situation.attempt, situation.targets[0].tried, situation.recoveries_left) == (1, 1, 2)


def test_planned_ends_of_young_links_are_failures_like_others() -> None:
    trouble = outages(attempts=3, recoveries=5)
    left: list[tuple[int, int, int]] = []
    for now in (1.0, 2.0, 3.0):
        situation = fail(trouble, now=now, age=9.9)
        left.append((situation.attempts_left, situation.recoveries_left, situation.targets[0].tried))
        trouble.forgive(0)
        recover(trouble)
    assert left == [(2, 5, 1), (1, 4, 2), (0, 3, 3)]


def test_a_service_that_says_something_and_goes_away_at_once_is_not_redialled_for_ever() -> None:
    trouble, policy = outages(), DefaultPolicy()
    waited, now = list[float](), 0.0
    for _ in range(1000):
        situation = msgspec.structs.replace(fail(trouble, now=now, age=0.0), random=0.5)
        decision = policy.decide(Fault(kind="planned", rule="r"), situation)
        trouble.forgive(0)
        if not isinstance(decision, Retry):
            break
        assert decision.carry == "handle"
        waited.append(decision.after)
        now += decision.after
        recover(trouble)
    assert decision.rule == "bounds"
    assert len(waited) == 19
    assert waited[:5] == pytest.approx([0.0, 0.15, 0.275, 0.525, 0.525])


def test_a_planned_end_within_an_outage_does_not_undo_the_outage() -> None:
    trouble = outages(recoveries=2)
    fail(trouble, now=1.0)
    trouble.dialled()
    fail(trouble, now=2.0)
    trouble.forgive(0)
    recover(trouble)
    assert fail(trouble, now=3.0).recoveries_left == 1


def test_failures_in_a_row_are_counted_over_outages_until_a_link_is_healthy() -> None:
    trouble = outages(attempts=5)
    assert fail(trouble, now=1.0, useful=False).attempt == 1
    recover(trouble)
    assert fail(trouble, now=2.0, useful=False).attempt == 2
    recover(trouble)
    trouble.healthy()
    situation = fail(trouble, now=3.0)
    assert (situation.attempt, situation.attempts_left, situation.targets[0].tried) == (1, 4, 1)


def test_the_anatomy_of_an_outage_is_the_sum_of_its_parts() -> None:
    trouble = outages()
    trouble.failed(Closure(), target=0, detect=2.0, now=10.0)
    assert trouble.began == 10.0, "patience runs from here; what went before is in the anatomy"
    trouble.waited(0.25)
    trouble.dialled()
    trouble.failed(msgspec.structs.replace(Closure(), age=0.5), target=0, detect=0.0, now=11.0)
    trouble.dialled()
    steps, attempts = trouble.recovered(Steps(dial_ms=10.0), catch_up=0.125)
    assert attempts == 2
    assert steps == Steps(detect_ms=2000.0, wait_ms=250.0, failed_ms=500.0, dial_ms=10.0, catch_up_ms=125.0)
    assert steps.total_ms == pytest.approx(2885.0)
    assert trouble.began is None


@pytest.mark.parametrize(
    ("decisions", "dropped"),
    [
        ([], False),
        ([Retry()], False),
        ([Retry(drop_media=True)], True),
        ([Retry(drop_media=True), Retry()], True),
        ([Retry(drop_media=True), FailOver(target=1)], False),
        ([Retry(drop_media=True), FailOver(target=1), Retry()], False),
        ([FailOver(target=1), Retry(drop_media=True)], True),
        ([Retry(drop_media=True), Escalate(because="")], True),
        ([Retry(drop_media=True), Finish(because="")], True),
    ],
)
def test_what_was_refused_is_left_out_on_the_next_link_that_comes_up_and_once(
    decisions: list[Decision], dropped: bool
) -> None:
    trouble = outages()
    for decision in decisions:
        began = OutageBegan(
            link=1, target="p/m", closure=Closure(), fault=Fault(kind="input", rule="r"), decision=decision, because=""
        )
        trouble.decided(began, took=0.0)
    assert (trouble.media_dropped(), trouble.media_dropped()) == (dropped, False)
