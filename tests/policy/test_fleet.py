"""The fleet: permits come back, dials keep under their ceilings and in order, breakers open and close, quotas rest."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from unbroken.core import breaker as breakers
from unbroken.core.budget import COST, PER_SECOND, REFUND, TOKENS, RetryBudget
from unbroken.core.first import First, first_target
from unbroken.core.fleet import LONGEST_REST, Fleet
from unbroken.core.policy import DefaultPolicy
from unbroken.decisions import Closure, Facts, Fault, FaultKind, Phase, Retry, Situation, TargetState, action_of
from unbroken.errors import ConfigError
from unbroken.messages import Permit

A, B, C = STATES = (
    TargetState(name="p/a", index=0, quota_group="q", credentials="p", endpoint="host"),
    TargetState(name="p/b", index=1, quota_group="q", credentials="p", endpoint="host"),
    TargetState(name="p/c", index=2, quota_group="c", credentials="other", endpoint="elsewhere"),
)


def note(
    fleet: Fleet,
    kind: FaultKind,
    *,
    target: TargetState = A,
    now: float = 0.0,
    retry_after: float | None = None,
    phase: Phase = "dial",
    healthy: bool = False,
) -> None:
    closure = Closure(phase=phase, facts=Facts(healthy=healthy))
    fleet.note(Fault(kind=kind, rule="r", retry_after=retry_after), closure, target=target, now=now)


def view(fleet: Fleet, now: float = 0.0) -> tuple[TargetState, ...]:
    return fleet.view(Situation(now=now, targets=STATES)).targets


def fail(fleet: Fleet, times: int, *, now: float = 0.0) -> None:
    for _ in range(times):
        note(fleet, "server", now=now)


# -- permits and dials --------------------------------------------------------------------------------------------------


def test_a_permit_counts_until_it_is_given_back_and_only_once() -> None:
    fleet = Fleet()
    first, second = (fleet.admit(A, at=at, now=0.0) for at in (0.0, 3.0))
    assert (first.not_before, second.not_before, first.number != second.number) == (0.0, 3.0, True)
    assert fleet.outstanding == 2
    for _ in range(2):
        fleet.give_back(first, now=0.0)
        assert fleet.outstanding == 1
    assert (fleet.holds(first), fleet.holds(second)) == (False, True)


def test_a_dial_in_the_past_is_a_dial_now() -> None:
    assert Fleet().admit(A, at=1.0, now=5.0).not_before == 5.0


@pytest.mark.parametrize("ceiling", ["dials_per_second", "dials_at_a_time"])
def test_a_ceiling_that_lets_nobody_dial_is_refused(ceiling: str) -> None:
    with pytest.raises(ConfigError, match=f"{ceiling}=…. has to be at least 1"):
        Fleet(**{ceiling: 0})


def test_dials_beyond_the_ceiling_take_turns() -> None:
    fleet = Fleet(dials_per_second=2)
    assert [fleet.admit(A, at=0.0, now=0.0).not_before for _ in range(6)] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert fleet.admit(B, at=0.0, now=0.0).not_before == 3.0, "targets of one endpoint share its ceiling"
    assert fleet.admit(C, at=0.0, now=0.0).not_before == 0.0, "each endpoint has a ceiling of its own"


def test_a_dial_that_is_wanted_later_does_not_hold_up_the_earlier_ones() -> None:
    fleet = Fleet(dials_per_second=1)
    assert fleet.admit(A, at=60.0, now=0.0).not_before == 60.0
    assert fleet.admit(A, at=0.0, now=0.0).not_before == 0.0


def test_a_dial_that_is_over_makes_room_for_no_other_within_its_second() -> None:
    fleet = Fleet(dials_per_second=1)
    first = fleet.begin(fleet.admit(A, at=0.0, now=0.0), 0.0)
    fleet.came_up(first)
    assert fleet.admit(A, at=0.5, now=0.5).not_before == 1.0


def test_no_more_dials_are_on_their_way_than_may_be() -> None:
    fleet = Fleet(dials_at_a_time=1)
    first, second = (fleet.admit(A, at=0.0, now=0.0) for _ in range(2))
    assert fleet.begin(first, 0.0).not_before == 0.0
    waits = fleet.begin(second, 0.0)
    assert waits.not_before > 0.0
    assert waits.because == "Many sessions dial at once, and they take turns."
    fleet.came_up(first)
    assert fleet.begin(waits, waits.not_before).not_before == waits.not_before


class Dialling(RuleBasedStateMachine):
    """Sessions ask, dial when it is their turn, come up, fail and go, in any order, while time passes."""

    out: Bundle[Permit] = Bundle("out")
    gone: Bundle[Permit] = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(dials_per_second=3, dials_at_a_time=2)
        self.now = 0.0
        self.turns: dict[int, Permit] = {}
        self.begun: dict[int, float] = {}
        self.flying: set[int] = set()

    @rule(seconds=st.sampled_from((0.01, 0.2, 0.9, 3.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=out, where=st.sampled_from((A, B)), after=st.sampled_from((0.0, 0.0, 0.5, 4.0)), retry=st.booleans())
    def admit(self, where: TargetState, after: float, retry: bool) -> Permit:
        permit = self.fleet.admit(where, at=self.now + after, now=self.now, retry=retry)
        assert permit.not_before >= self.now + after
        self.turns[permit.number] = permit
        return permit

    @rule(permit=out)
    def begin(self, permit: Permit) -> None:
        if permit.number in self.flying or self.turns[permit.number].not_before > self.now:
            return
        turn = self.turns[permit.number] = self.fleet.begin(self.turns[permit.number], self.now)
        if turn.not_before <= self.now:
            self.begun[permit.number] = self.now
            self.flying.add(permit.number)

    @rule(target=gone, permit=consumes(out), how=st.sampled_from(("up", "failed", "given up")))
    def end(self, permit: Permit, how: str) -> Permit:
        if how == "up" and permit.number in self.flying:
            self.fleet.came_up(permit)
        else:
            failed = how == "failed" and permit.number in self.flying
            self.fleet.give_back(permit, now=self.now, failed=failed)
            if failed:
                note(self.fleet, "network", now=self.now)
        del self.turns[permit.number]
        self.flying.discard(permit.number)
        return permit

    @rule(permit=gone)
    def end_again(self, permit: Permit) -> None:
        self.fleet.give_back(permit, now=self.now, failed=True)

    @invariant()
    def permits_are_counted(self) -> None:
        assert self.fleet.outstanding == len(self.turns)

    @invariant()
    def the_ceilings_hold(self) -> None:
        assert len(self.flying) <= 2
        times = sorted(self.begun.values())
        assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(times, times[3:], strict=False))


TestDialling = Dialling.TestCase
TestDialling.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "after an open breaker"])
def test_a_thousand_at_once_dial_in_the_order_in_which_they_asked(opened: bool) -> None:
    fleet = Fleet(dials_per_second=50, dials_at_a_time=1000)
    if opened:
        fail(fleet, 5)
    turns = {permit.number: permit for permit in (fleet.admit(A, at=0.0, now=0.0) for _ in range(1000))}
    order: list[int] = []
    now = 0.0
    while turns:
        permit = min(turns.values(), key=lambda permit: (permit.not_before, permit.number))
        now = max(now, permit.not_before)
        turn = fleet.begin(permit, now)
        if turn.not_before > now:
            turns[permit.number] = turn
            continue
        fleet.came_up(turn)
        order.append(permit.number)
        del turns[permit.number]
    assert order == sorted(order)
    assert now <= 1000 / 50 + 2.0


# -- the breaker --------------------------------------------------------------------------------------------------------


def test_a_target_that_fails_five_times_rests_for_everybody() -> None:
    fleet = Fleet()
    fail(fleet, 4)
    assert view(fleet)[0].breaker == "closed"
    fail(fleet, 1)
    here, sibling, _ = view(fleet)
    assert (here.breaker, here.usable_after, here.failures) == ("open", 1.0, 5)
    assert (sibling.breaker, sibling.usable_after) == ("closed", 0.0)
    assert fleet.admit(A, at=0.0, now=0.0).not_before == 1.0
    assert repr(fleet) == "<Fleet 1 permits out; p/a failed 5x>"


def test_an_open_breaker_is_probed_by_one_dial_at_a_time_ever_more_seldom() -> None:
    fleet = Fleet()
    fail(fleet, 5)
    now, pauses = 0.0, []
    waiting = fleet.admit(A, at=0.0, now=0.0)
    for _ in range(6):
        probe, other = fleet.admit(A, at=0.0, now=now), waiting
        pauses.append(view(fleet, now)[0].usable_after - now)
        now = view(fleet, now)[0].usable_after
        assert view(fleet, now)[0].breaker == "half-open"
        probe = fleet.begin(msgspec.structs.replace(probe, not_before=now), now)
        begins = [permit for permit in (fleet.begin(other, now), probe) if permit.not_before <= now]
        assert len(begins) <= 1, "one probe, and no other dial"
        for permit in begins:
            fleet.give_back(permit, now=now, failed=True)
        if not begins:
            break
        fleet.give_back(probe, now=now)
        waiting = fleet.admit(A, at=0.0, now=now)
        fleet.give_back(other, now=now)
    assert pauses == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_a_probe_that_comes_up_lets_the_others_in() -> None:
    fleet = Fleet()
    fail(fleet, 5)
    probe, other = (fleet.admit(A, at=0.0, now=0.0) for _ in range(2))
    probe = fleet.begin(probe, 1.0)
    assert probe.not_before == 1.0
    assert fleet.begin(msgspec.structs.replace(other, not_before=1.0), 1.0).not_before >= 2.0
    fleet.came_up(probe)
    assert view(fleet, 1.5)[0].breaker == "closed"
    assert fleet.begin(fleet.admit(A, at=1.5, now=1.5), 1.5).not_before == 1.5


def test_a_probe_that_was_given_up_says_nothing_and_the_next_dial_is_the_probe() -> None:
    fleet = Fleet()
    fail(fleet, 5)
    probe = fleet.begin(fleet.admit(A, at=0.0, now=0.0), 1.0)
    fleet.give_back(probe, now=1.1)
    assert (view(fleet, 1.1)[0].breaker, view(fleet, 1.1)[0].usable_after) == ("half-open", 0.0)


def test_a_target_that_accepts_and_then_fails_opens_the_breaker_again_soon() -> None:
    fleet = Fleet()
    fail(fleet, 5)
    fleet.came_up(fleet.begin(fleet.admit(A, at=0.0, now=0.0), 1.0))
    for _ in range(breakers.RELAPSES):
        note(fleet, "server", now=1.5, phase="live")
    assert (view(fleet, 1.5)[0].breaker, view(fleet, 1.5)[0].usable_after) == ("open", 3.5)


def test_a_crowd_that_comes_up_is_not_shut_out_for_a_few_that_do_not() -> None:
    fleet = Fleet(dials_per_second=1000, dials_at_a_time=1000)
    for _ in range(100):
        fleet.came_up(fleet.begin(fleet.admit(A, at=0.0, now=0.0), 0.0))
    fail(fleet, 20)
    assert view(fleet)[0].breaker == "closed"
    fail(fleet, 10)
    assert view(fleet)[0].breaker == "open"


def test_links_that_had_been_healthy_do_not_open_the_breaker_however_many_end() -> None:
    fleet = Fleet()
    for _ in range(1000):
        note(fleet, "server", phase="live", healthy=True)
    assert (view(fleet)[0].breaker, view(fleet)[0].failures) == ("closed", 0)


def test_a_healthy_link_forgets_failures_and_a_quota_fault_shows_that_somebody_answers() -> None:
    fleet = Fleet()
    fail(fleet, 4)
    fleet.healthy(A, 1.0)
    fail(fleet, 4, now=1.0)
    assert view(fleet, 1.0)[0].breaker == "closed"
    fail(fleet, 1, now=1.0)
    assert view(fleet, 1.0)[0].breaker == "open"
    note(fleet, "config", now=1.2, phase="setup")
    assert view(fleet, 1.2)[0].breaker == "half-open"


@pytest.mark.parametrize("kind", ["closed", "planned", "input", "context", "config", "auth", "handle"])
def test_faults_of_one_session_say_nothing_to_the_others(kind: FaultKind) -> None:
    fleet = Fleet()
    for _ in range(9):
        note(fleet, kind)
    assert view(fleet) == STATES


def test_a_model_that_is_not_served_is_left_alone_by_those_who_have_another() -> None:
    fleet = Fleet()
    note(fleet, "model", phase="setup", now=5.0)
    situation = fleet.view(Situation(now=6.0, targets=STATES, attempt=0))
    assert first_target(situation) == First(target=1, because="p/a is not to be dialled for now, as it told other sessions.")
    alone = fleet.view(Situation(now=6.0, targets=(A,), attempt=0))
    assert first_target(alone) == First(), "its refusal says what to do"
    elsewhere = fleet.view(Situation(now=6.0, targets=STATES, current=1))
    assert elsewhere.targets[0].usable_after == 305.0, "who is elsewhere does not go there"


def test_a_model_that_is_not_served_to_one_session_is_not_lost_to_those_that_are_on_it() -> None:
    fleet = Fleet()
    note(fleet, "model", phase="setup", now=5.0)
    for targets in ((A,), STATES):
        situation = fleet.view(Situation(now=6.0, targets=targets, has_handle=True, useful=True))
        decision = DefaultPolicy().decide(Fault(kind="network", rule="reset"), situation)
        assert isinstance(decision, Retry)
        assert (decision.after, decision.carry) == (0.0, "handle")
    waiting = fleet.admit(A, at=5.0, now=5.0)
    fail(fleet, 9, now=5.0)
    assert fleet.begin(waiting, 5.0).not_before < 10.0, "nor are they put off by it, only by the breaker"


@pytest.mark.parametrize("kind", ["server", "quota"])
def test_no_word_to_one_session_ends_the_others_calls_or_keeps_them_away_for_long(kind: FaultKind) -> None:
    fleet = Fleet()
    note(fleet, kind, retry_after=86_400.0)
    assert view(fleet)[0].usable_after == LONGEST_REST
    reset = Fault(kind="network", rule="reset")
    cut = fleet.view(Situation(targets=(msgspec.structs.replace(A, tried=1),), has_handle=True))
    decision = DefaultPolicy().decide(reset, cut)
    assert (decision.rule, action_of(decision)) == ("rest-resume", "retry")
    again = fleet.view(Situation(targets=(msgspec.structs.replace(A, tried=2),), attempt=2, has_handle=True))
    assert action_of(DefaultPolicy().decide(reset, again)) == "escalate", "it has asked"
    told = Fault(kind=kind, rule="r", retry_after=86_400.0)
    assert action_of(DefaultPolicy().decide(told, cut)) == "escalate", "it was told itself"


# -- what history tells ---------------------------------------------------------------------------------------------------


def test_history_tells_whether_a_target_has_ever_worked_and_whether_its_sibling_does() -> None:
    fleet = Fleet()
    situation = Situation(targets=STATES, current=0)
    assert fleet.told(Closure(), situation).facts == Facts()
    fleet.healthy(A, 1.0)
    assert fleet.told(Closure(), situation).facts == Facts(proven=True)
    fleet.healthy(C, 1.0)
    assert not fleet.told(Closure(), situation).facts.sibling_well, "other credentials, no sibling"
    fleet.healthy(B, 1.0)
    assert fleet.told(Closure(), situation).facts == Facts(proven=True, sibling_well=True)
    note(fleet, "server", target=B, now=2.0)
    assert not fleet.told(Closure(), situation).facts.sibling_well
    assert fleet.told(Closure(), Situation()) == Closure()


# -- quotas and Retry-After -----------------------------------------------------------------------------------------------


def test_a_spent_quota_rests_with_its_whole_group() -> None:
    fleet = Fleet()
    note(fleet, "quota", now=100.0)
    assert [state.usable_after for state in view(fleet, 100.0)] == [160.0, 160.0, 0.0]
    assert [state.usable_after for state in view(fleet, 160.0)] == [0.0, 0.0, 0.0]


def test_the_peer_says_how_long_a_quota_rests_and_the_longest_word_counts() -> None:
    fleet = Fleet()
    note(fleet, "quota", now=0.0, retry_after=90.0)
    note(fleet, "quota", now=1.0, retry_after=7.0)
    assert view(fleet, 1.0)[1].usable_after == 90.0


def test_retry_after_keeps_every_session_from_an_overloaded_target_also_those_that_wait() -> None:
    fleet = Fleet(dials_per_second=1)
    _, waiting = (fleet.admit(A, at=0.0, now=0.0) for _ in range(2))
    note(fleet, "server", retry_after=7.0)
    assert [state.usable_after for state in view(fleet)] == [7.0, 0.0, 0.0]
    assert fleet.begin(waiting, waiting.not_before).not_before >= 7.0
    fleet.healthy(A, 3.0)
    assert view(fleet, 3.0)[0].usable_after <= 3.0


# -- the retry budget -----------------------------------------------------------------------------------------------------


def test_a_retry_costs_more_than_a_success_gives_back() -> None:
    assert COST > REFUND > 0
    budget = RetryBudget()
    assert budget.left(0.0) == TOKENS / COST
    assert [budget.take(0.0) for _ in range(100)] == [0.0] * 100
    assert budget.left(0.0) == 0
    for _ in range(4):
        budget.succeeded(0.0)
    assert budget.left(0.0) == 0
    budget.succeeded(0.0)
    assert budget.left(0.0) == 1


@given(steps=st.lists(st.tuples(st.sampled_from(("take", "put back", "succeed")), st.floats(0.0, 3.0)), max_size=200))
def test_retries_keep_to_the_budget_and_nobody_waits_for_ever(steps: list[tuple[str, float]]) -> None:
    budget, now, begins, refunded = RetryBudget(), 0.0, [], 0.0
    for what, seconds in steps:
        now += seconds
        match what:
            case "take":
                begins.append(now + budget.take(now))
            case "put back":
                if begins:
                    begins.pop()
                    budget.put_back(now)
            case _:
                budget.succeeded(now)
                refunded += REFUND
        assert budget.wait(now) <= COST * (len(begins) + 1) / PER_SECOND
    for at in begins:
        done = sum(1 for begin in begins if begin <= at)
        assert done * COST <= TOKENS + refunded + at * PER_SECOND + COST


def test_a_session_that_is_short_of_budget_waits_for_its_turn() -> None:
    fleet = Fleet(dials_per_second=1000)
    begins = [fleet.admit(A, at=0.0, now=0.0, retry=True).not_before for _ in range(120)]
    assert begins[:100] == [0.0] * 100
    assert begins[100:] == pytest.approx([0.1 * number for number in range(1, 21)])
    situation = Situation(targets=(msgspec.structs.replace(A, tried=2), C), current=0)
    here, other = fleet.view(situation).targets
    assert fleet.view(situation).retries_left == 0
    assert here.backlog == pytest.approx(2.1)
    assert other.backlog == 0.0


def test_a_retry_that_is_never_made_costs_nothing() -> None:
    fleet = Fleet()
    situation = Situation(targets=STATES)
    before = fleet.view(situation).retries_left
    permit = fleet.admit(A, at=9.0, now=0.0, retry=True)
    assert fleet.view(situation).retries_left == before - 1
    fleet.give_back(permit, now=0.0)
    assert fleet.view(situation).retries_left == before
