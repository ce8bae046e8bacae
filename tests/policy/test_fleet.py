"""The fleet: permits come back, dials keep under their ceiling, quotas rest, and health forgets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from unbroken.core.fleet import Fleet
from unbroken.decisions import Fault, FaultKind, TargetState
from unbroken.messages import Permit

STATES = (
    TargetState(name="p/a", index=0, quota_group="q", credentials="p"),
    TargetState(name="p/b", index=1, quota_group="q", credentials="p"),
    TargetState(name="p/c", index=2, quota_group="c", credentials="p"),
)


def note(fleet: Fleet, kind: FaultKind, *, target: str = "p/a", now: float = 0.0, retry_after: float | None = None) -> None:
    fleet.note(Fault(kind=kind, rule="r", retry_after=retry_after), target=target, quota_group="q", now=now)


def test_a_permit_counts_until_it_is_given_back_and_only_once() -> None:
    fleet = Fleet()
    first, second = (fleet.admit("p/a", at=at, now=0.0) for at in (0.0, 3.0))
    assert (first.not_before, second.not_before, first.number != second.number) == (0.0, 3.0, True)
    assert fleet.outstanding == 2
    for _ in range(2):
        fleet.give_back(first)
        assert fleet.outstanding == 1
    assert (fleet.holds(first), fleet.holds(second)) == (False, True)


def test_a_dial_in_the_past_is_a_dial_now() -> None:
    assert Fleet().admit("p/a", at=1.0, now=5.0).not_before == 5.0


def test_dials_beyond_the_ceiling_are_put_off() -> None:
    fleet = Fleet(dials=2, dial_time=1.0)
    assert [fleet.admit("p/a", at=0.0, now=0.0).not_before for _ in range(6)] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert fleet.admit("p/b", at=0.0, now=0.0).not_before == 0.0, "each target has a ceiling of its own"


def test_a_dial_that_is_wanted_later_does_not_hold_up_the_earlier_ones() -> None:
    fleet = Fleet(dials=1, dial_time=1.0)
    assert fleet.admit("p/a", at=60.0, now=0.0).not_before == 60.0
    assert fleet.admit("p/a", at=0.0, now=0.0).not_before == 0.0


@given(
    wanted=st.lists(st.floats(0.0, 5.0), max_size=60),
    ceiling=st.integers(1, 5),
    dial_time=st.floats(0.01, 2.0),
)
def test_never_more_dials_at_a_time_than_the_ceiling(wanted: list[float], ceiling: int, dial_time: float) -> None:
    fleet = Fleet(dials=ceiling, dial_time=dial_time)
    begins = sorted(fleet.admit("p/a", at=at, now=0.0).not_before for at in wanted)
    for begin, later in zip(begins, begins[ceiling:], strict=False):
        assert begin + dial_time <= later


def test_a_thousand_at_once_are_admitted_in_order() -> None:
    fleet = Fleet(dials=32, dial_time=1.0)
    begins = [fleet.admit("p/a", at=0.0, now=0.0).not_before for _ in range(1000)]
    assert begins == [float(number // 32) for number in range(1000)]


def test_faults_of_a_target_are_counted_until_it_is_healthy() -> None:
    fleet = Fleet()
    for kind in ("server", "hung", "network", "protocol", "unknown"):
        note(fleet, kind)
    assert [state.failures for state in fleet.view(STATES, 0.0)] == [5, 0, 0]
    assert repr(fleet) == "<Fleet 0 permits out; p/a failed 5x>"
    fleet.healthy("p/a", 1.0)
    assert [state.failures for state in fleet.view(STATES, 1.0)] == [0, 0, 0]
    assert repr(fleet) == "<Fleet 0 permits out>"


@pytest.mark.parametrize("kind", ["closed", "planned", "input", "context", "config", "model", "auth", "handle"])
def test_faults_of_one_session_say_nothing_to_the_others(kind: FaultKind) -> None:
    fleet = Fleet()
    note(fleet, kind)
    assert fleet.view(STATES, 0.0) == STATES


def test_a_spent_quota_rests_with_its_whole_group() -> None:
    fleet = Fleet()
    note(fleet, "quota", now=100.0)
    assert [state.usable_after for state in fleet.view(STATES, 100.0)] == [160.0, 160.0, 0.0]
    assert [state.usable_after for state in fleet.view(STATES, 160.0)] == [0.0, 0.0, 0.0]


def test_the_peer_says_how_long_a_quota_rests_and_the_longest_word_counts() -> None:
    fleet = Fleet()
    note(fleet, "quota", now=0.0, retry_after=90.0)
    note(fleet, "quota", now=1.0, retry_after=7.0)
    assert fleet.view(STATES, 1.0)[1].usable_after == 90.0


def test_retry_after_keeps_every_session_from_an_overloaded_target() -> None:
    fleet = Fleet()
    note(fleet, "server", retry_after=7.0)
    assert [state.usable_after for state in fleet.view(STATES, 0.0)] == [7.0, 0.0, 0.0]
    fleet.healthy("p/a", 3.0)
    assert fleet.view(STATES, 3.0)[0].usable_after <= 3.0


class Permits(RuleBasedStateMachine):
    """Permits are taken, given back and given back again in any order."""

    out: Bundle[Permit] = Bundle("out")
    back: Bundle[Permit] = Bundle("back")

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(dials=2, dial_time=0.5)
        self.taken: set[int] = set()

    @rule(target=out, name=st.sampled_from(("p/a", "p/b")), at=st.floats(0.0, 10.0))
    def admit(self, name: str, at: float) -> Permit:
        permit = self.fleet.admit(name, at=at, now=0.0)
        assert permit.not_before >= at
        self.taken.add(permit.number)
        return permit

    @rule(target=back, permit=consumes(out))
    def give_back(self, permit: Permit) -> Permit:
        self.fleet.give_back(permit)
        self.taken.discard(permit.number)
        return permit

    @rule(permit=back)
    def give_back_again(self, permit: Permit) -> None:
        self.fleet.give_back(permit)

    @invariant()
    def counted(self) -> None:
        assert self.fleet.outstanding == len(self.taken)


TestPermits = Permits.TestCase
TestPermits.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
