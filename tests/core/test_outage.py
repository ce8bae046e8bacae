"""What counts as trouble: failures, outages, and the ends that are none."""

import msgspec
import pytest

from unbroken.config import Settings
from unbroken.core.outage import Outages
from unbroken.decisions import Closure, Facts, Situation, TargetState
from unbroken.events import Steps

HERE = TargetState(name="p/m", index=0, quota_group="p/m", credentials="p")


def outages(*, attempts: int = 20, recoveries: int = 1000) -> Outages:
    return Outages([HERE], settings=Settings(attempts=attempts, recoveries=recoveries))


def fail(trouble: Outages, *, now: float, useful: bool = True) -> Situation:
    closure = Closure(facts=Facts(useful=useful))
    trouble.failed(closure, target=0, detect=0.0, now=now)
    return trouble.situation(closure, target=0, has_handle=True, has_history=True, random=0.0, now=now)


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
    assert trouble.began == 8.0
    trouble.waited(0.25)
    trouble.dialled()
    trouble.failed(msgspec.structs.replace(Closure(), age=0.5), target=0, detect=0.0, now=11.0)
    trouble.dialled()
    steps, attempts = trouble.recovered(Steps(dial_ms=10.0), catch_up=0.125)
    assert attempts == 2
    assert steps == Steps(detect_ms=2000.0, wait_ms=250.0, failed_ms=500.0, dial_ms=10.0, catch_up_ms=125.0)
    assert steps.total_ms == pytest.approx(2885.0)
    assert trouble.began is None
