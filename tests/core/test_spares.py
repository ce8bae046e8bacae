"""Spares, as far as they are decided: when one is opened, opened anew and let go."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from unbroken.core.fleet import Fleet
from unbroken.core.spares import Upkeep, next_target, other_target, path_died_at, ready_age, upkeep_of_ready
from unbroken.decisions import Closure, Ending, Fault, Situation, TargetState


def target(index: int, **fields: Any) -> TargetState:
    plain = TargetState(name=f"p/{index}", index=index, quota_group=f"q{index}", credentials="c", endpoint="here")
    return msgspec.structs.replace(plain, **fields)


def test_nothing_is_opened_that_nobody_wants() -> None:
    upkeep = Upkeep(age=20.0)
    assert not upkeep.wanted(0.0)
    assert upkeep.dial_at == math.inf


def test_a_spare_is_opened_at_once_and_let_go_when_it_is_old() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(5.0, until=math.inf)
    assert upkeep.wanted(5.0)
    assert upkeep.dial_at == 5.0
    assert upkeep.opened(5.3) == 25.3
    upkeep.unused(25.3, opened_at=5.3)
    assert upkeep.dial_at == 25.3, "it is wanted still, so it is opened anew"


def test_a_spare_that_was_wanted_for_a_while_is_not_opened_anew() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(5.0, until=25.0)
    assert upkeep.opened(5.3) == 25.0
    upkeep.unused(25.0, opened_at=5.3)
    assert not upkeep.wanted(25.0)


def test_a_suspicion_is_worth_one_spare() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(5.0, until=25.0)
    upkeep.want(6.0, until=26.0)
    assert upkeep.opened(5.3) == 25.3
    upkeep.unused(25.3, opened_at=5.3)
    assert not upkeep.wanted(25.3)


def test_attempts_that_fail_are_repeated_later_and_later() -> None:
    upkeep, now, waits = Upkeep(age=20.0), 0.0, list[float]()
    upkeep.want(now, until=math.inf)
    for _ in range(8):
        assert not upkeep.failed(Ending(cause="refused"), now, random=0.5)
        waits.append(upkeep.dial_at - now)
        now = upkeep.dial_at
    assert waits == [1.25, 2.5, 5.0, 10.0, 20.0, 37.5, 37.5, 37.5]


def test_where_the_runtime_has_no_room_it_is_tried_later() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(0.0, until=math.inf)
    assert not upkeep.failed(None, 0.0, random=0.0)
    assert upkeep.dial_at == 1.0


def test_a_spare_that_dies_at_once_again_and_again_is_opened_more_and_more_rarely() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(0.0, until=math.inf)
    upkeep.unused(0.1, opened_at=0.0)
    assert upkeep.dial_at == 1.1
    upkeep.unused(1.2, opened_at=1.1)
    assert upkeep.dial_at == 3.2
    upkeep.unused(13.2, opened_at=3.2)
    assert upkeep.dial_at == 13.2, "one that the service dropped for its age is none that failed"


@pytest.mark.parametrize(
    "ending",
    [Ending(http_status=401), Ending(http_status=404), Ending(http_status=429), Ending(cause="credential")],
    ids=Ending.describe,
)
def test_a_refusal_that_says_something_ends_the_trying_for_a_while(ending: Ending) -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(0.0, until=math.inf)
    assert upkeep.failed(ending, 0.0, random=0.5)
    assert not upkeep.wanted(0.0)
    upkeep.want(10.0, until=30.0)
    assert not upkeep.wanted(10.0), "a new suspicion changes nothing of that"
    upkeep.want(50.0, until=70.0)
    assert upkeep.dial_at == 60.0


def test_the_peer_may_say_when_it_may_be_tried_again() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(0.0, until=math.inf)
    upkeep.failed(Ending(http_status=429, retry_after=200.0), 0.0, random=0.0)
    upkeep.want(100.0, until=math.inf)
    assert upkeep.dial_at == 200.0


@pytest.mark.parametrize("status", [500, 503])
def test_a_service_in_trouble_is_tried_again_without_a_word(status: int) -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(0.0, until=math.inf)
    assert not upkeep.failed(Ending(http_status=status), 0.0, random=0.0)
    assert upkeep.wanted(0.0)


def test_no_spare_is_tried_after_it_was_dropped() -> None:
    upkeep = Upkeep(age=20.0)
    upkeep.want(0.0, until=math.inf)
    upkeep.drop()
    assert not upkeep.wanted(0.0)


@pytest.mark.parametrize(
    ("ending", "died"),
    [
        (Ending(code=1011), False),
        (Ending(cause="reset"), False),
        (Ending(cause="eof"), False),
        (Ending(cause="handover", confirmed=False), False),
        (Ending(cause="cut", confirmed=False), False),
        (Ending(cause="sign_deadline", confirmed=False), True),
        (Ending(cause="ping_timeout", confirmed=False), True),
        (Ending(confirmed=False), True),
    ],
    ids=lambda value: value.describe() if isinstance(value, Ending) else "",
)
def test_silence_may_be_the_path_and_a_word_of_the_peer_is_not(ending: Ending, died: bool) -> None:
    assert path_died_at(ending, silent_for=3.0, now=10.0) == (7.0 if died else -math.inf)


def situation(*targets: TargetState, current: int = 0) -> Situation:
    return Situation(targets=targets, current=current)


def test_another_target_is_worth_a_spare_where_a_failover_is_near() -> None:
    assert other_target(situation(target(0, tried=1), target(1))) is None
    assert other_target(situation(target(0, tried=2), target(1))) == 1
    assert other_target(situation(target(0), target(1, tried=2), current=1)) == 0
    assert other_target(situation(target(0, tried=2))) is None


def test_the_other_target_is_the_one_that_a_failover_would_take() -> None:
    assert other_target(situation(target(0, tried=2), target(1, tried=1), target(2))) == 2
    assert other_target(situation(target(0, tried=2), target(1, ruled_out="x"), target(2, unfit="y"))) is None


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([target(1), target(2)], 1),
        ([target(1, tried=1), target(2)], 2),
        ([target(1, ruled_out="x"), target(2, unfit="y")], None),
        ([target(1, breaker="open"), target(2, breaker="half-open")], None),
        ([target(1, usable_after=10.1), target(2, usable_after=10.0)], 2),
        ([target(1, quota_group="q0"), target(2)], 2),
        ([target(1, context_tokens=500), target(2, context_tokens=501)], 2),
    ],
)
def test_a_spare_is_set_up_where_a_failover_would_lead(others: list[TargetState], chosen: int | None) -> None:
    asked = msgspec.structs.replace(situation(target(0), *others), now=10.0, history_tokens=500)
    assert next_target(asked) == chosen


@pytest.mark.parametrize(("lifetime", "age"), [(None, 300.0), (3600.0, 300.0), (120.0, 60.0)])
def test_a_spare_that_is_set_up_leaves_half_of_its_life_to_the_call(lifetime: float | None, age: float) -> None:
    assert ready_age(lifetime) == age


def test_where_waiting_sessions_are_dropped_they_are_set_up_more_and_more_rarely() -> None:
    upkeep, now, waits = upkeep_of_ready(300.0), 0.0, list[float]()
    upkeep.want(now, until=math.inf)
    for _ in range(10):
        now += 50.0
        upkeep.unused(now, opened_at=now - 50.0)
        waits.append(upkeep.dial_at - now)
        now = upkeep.dial_at
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0]
    upkeep.unused(now + 300.0, opened_at=now)
    assert upkeep.dial_at == now + 300.0, "one that grew old is followed at once"


def test_what_is_refused_for_good_is_left_alone_for_a_while() -> None:
    upkeep = upkeep_of_ready(300.0)
    upkeep.refused(5.0, retry_after=None)
    upkeep.want(6.0, until=math.inf)
    assert upkeep.dial_at == 65.0


# -- the fleet ------------------------------------------------------------------------------------------------------------


def test_spares_leave_half_of_each_ceiling_to_links() -> None:
    fleet = Fleet(dials_per_second=50, dials_at_a_time=32)
    permits = [fleet.spare(target(0), now=0.0) for _ in range(1000)]
    out = [permit for permit in permits if permit is not None]
    assert len(out) == 16, "half of those that may be under way at a time"
    for permit in out:
        fleet.give_back(permit, now=0.1)
    more = [permit for permit in (fleet.spare(target(0), now=0.2) for _ in range(1000)) if permit is not None]
    assert len(out) + len(more) == 25, "half of those that may begin within a second"
    link = fleet.begin(fleet.admit(target(0), at=0.2, now=0.2), 0.2)
    assert link.not_before == 0.2, "a link's dial waits for no spare"
    for permit in (*more, link):
        fleet.give_back(permit, now=0.3)
    assert fleet.outstanding == 0


def test_no_spare_is_opened_while_links_wait() -> None:
    fleet = Fleet(dials_per_second=2)
    permits = [fleet.admit(target(0), at=0.0, now=0.0) for _ in range(3)]
    assert fleet.spare(target(0), now=0.0) is None
    for permit in permits:
        fleet.give_back(permit, now=0.0)


def test_no_spare_is_opened_at_a_target_that_rests_and_none_is_its_probe() -> None:
    fleet, cut = Fleet(), Closure(phase="setup", ending=Ending(code=1011))
    for _ in range(5):
        fleet.note(Fault(kind="server", rule="r", because="b"), cut, target=target(0), now=0.0)
    assert fleet.spare(target(0), now=0.0) is None
    assert fleet.spare(target(0), now=10.0) is None, "a half-open breaker wants a link that comes up, and no spare does"
    assert fleet.spare(target(1), now=0.0) is not None


def test_no_spare_is_opened_while_the_quota_is_spent() -> None:
    fleet = Fleet()
    fleet.note(
        Fault(kind="quota", rule="r", because="b"),
        Closure(phase="live", ending=Ending(code=1011)),
        target=target(0),
        now=0.0,
    )
    assert fleet.spare(target(0), now=59.0) is None
    assert fleet.spare(target(0), now=61.0) is not None


def test_a_spare_that_is_not_to_be_had_is_no_fault_of_the_target() -> None:
    fleet = Fleet()
    for _ in range(10):
        permit = fleet.spare(target(0), now=0.0)
        assert permit is not None
        fleet.give_back(permit, now=0.0, failed=True)
    (seen,) = fleet.view(situation(target(0))).targets
    assert (seen.breaker, seen.failures) == ("closed", 0)
