"""The default table, walked fault by fault as a session would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from unbroken.core.bounds import counted_as, flaw
from unbroken.core.defaults import DEFAULTS
from unbroken.core.first import First, first_target
from unbroken.core.policy import DefaultPolicy, backoff
from unbroken.decisions import (
    FAULTS,
    Decision,
    Escalate,
    FailOver,
    Fault,
    FaultKind,
    Finish,
    Phase,
    Retry,
    Situation,
    TargetState,
)

DECIDE = DefaultPolicy().decide


def target(index: int, **columns: Any) -> TargetState:
    name = f"p{index}/m{index}"
    return msgspec.structs.replace(TargetState(name=name, index=index, quota_group=name, credentials=f"p{index}"), **columns)


def situation(*targets: TargetState, **columns: Any) -> Situation:
    known = {"has_handle": True, "has_history": True, "random": 0.5, "useful": True, **columns}
    return Situation(targets=targets or (target(0, tried=1), target(1)), **known)


def fault(kind: FaultKind, **columns: Any) -> Fault:
    return msgspec.structs.replace(Fault(kind=kind, rule="r", advice="Do this."), **columns)


def short(decision: Decision) -> str:
    match decision:
        case Retry():
            return f"retry {decision.carry}{' without media' if decision.drop_media else ''}"
        case FailOver():
            return f"failover {decision.target} {decision.carry}"
        case Escalate():
            return "escalate"
        case Finish():
            return "finish"


def walk(kind: FaultKind, tried: Sequence[int] = (1, 2, 3), *, alone: bool = False, **columns: Any) -> list[str]:
    """What is decided as a target fails the same way once, twice and so on."""
    others = () if alone else (target(1),)
    return [short(DECIDE(fault(kind), situation(target(0, tried=n), *others, **columns))) for n in tried]


@pytest.mark.parametrize(
    ("kind", "decisions"),
    [
        ("closed", ["finish"] * 3),
        ("planned", ["retry handle"] * 3),
        ("network", ["retry handle"] * 3),
        ("hung", ["retry handle", "retry handle", "failover 1 history"]),
        ("server", ["retry handle", "retry handle", "failover 1 history"]),
        ("unknown", ["retry handle", "retry handle", "failover 1 history"]),
        ("quota", ["failover 1 history"] * 3),
        ("model", ["failover 1 history"] * 3),
        ("config", ["failover 1 history"] * 3),
        ("auth", ["failover 1 history"] * 3),
        ("handle", ["retry handle"] * 3),
        ("context", ["retry history", "retry history", "failover 1 history"]),
        ("input", ["retry handle without media", "retry handle without media", "failover 1 history"]),
        ("protocol", ["retry handle", "failover 1 history", "failover 1 history"]),
    ],
)
def test_the_table_with_another_target(kind: FaultKind, decisions: list[str]) -> None:
    assert walk(kind) == decisions


@pytest.mark.parametrize(
    ("kind", "decisions"),
    [
        ("hung", ["retry handle", "retry handle", "retry history"]),
        ("server", ["retry handle"] * 3),
        ("model", ["escalate"] * 3),
        ("config", ["escalate"] * 3),
        ("auth", ["escalate"] * 3),
        ("context", ["retry history", "retry history", "escalate"]),
        ("input", ["retry handle without media", "retry handle without media", "escalate"]),
        ("protocol", ["retry handle"] * 3),
    ],
)
def test_the_table_with_a_route_of_one(kind: FaultKind, decisions: list[str]) -> None:
    assert walk(kind, alone=True) == decisions


def test_every_fault_has_a_row_and_every_step_a_name_of_its_own() -> None:
    assert tuple(DEFAULTS) == FAULTS
    steps = [step for kind, row in DEFAULTS.items() for step in row.steps if kind != "unknown"]
    assert len({step.id for step in steps}) == len(steps)
    assert all(row.advice for kind, row in DEFAULTS.items() if kind not in ("closed", "planned"))


def test_without_a_handle_the_history_is_told() -> None:
    assert walk("server", has_handle=False)[:2] == ["retry history"] * 2


def test_a_planned_end_without_anything_useful_is_a_fault_of_the_service() -> None:
    assert walk("planned", useful=False) == walk("server")
    assert (counted_as("planned", useful=False), counted_as("planned", useful=True)) == ("server", "planned")


def test_a_planned_end_after_something_useful_costs_no_budget() -> None:
    spent: dict[str, Any] = {"attempts_left": 0, "recoveries_left": 0}
    assert walk("planned", **spent) == ["retry handle"] * 3
    assert walk("planned", **spent, attempt=2) == ["escalate"] * 3, "one link too young to be forgiven after another"
    assert walk("planned", useful=False, **spent) == ["escalate"] * 3


def test_hung_again_on_a_handle_is_fresh_with_the_history() -> None:
    assert walk("hung", handle_failures=1) == ["retry history", "retry history", "failover 1 history"]


def test_a_path_that_stays_broken_is_left() -> None:
    assert walk("network", (7, 8), useful=False) == ["retry handle", "failover 1 history"]
    assert walk("network", (7, 8), useful=False, alone=True) == ["retry handle"] * 2
    assert walk("network", (7, 8), useful=True) == ["retry handle"] * 2, "it had healed in between"


def test_after_a_link_of_use_the_next_is_dialled_without_backoff() -> None:
    asked = [situation(target(0, tried=n)) for n in (1, 2, 9)]
    assert [getattr(DECIDE(fault("network"), each), "after", None) for each in asked] == [0.0, 0.05, 0.05]


def test_a_refused_handle_is_dropped_at_once_where_the_rule_says_so() -> None:
    decision = DECIDE(fault("handle", carry="history"), situation(handle_failures=1))
    assert (short(decision), decision.rule) == ("retry history", "handle-fresh")


def test_a_handle_is_kept_while_the_old_socket_may_be_open() -> None:
    asked = [situation(target(0, tried=n + 1), previous_unconfirmed=True, handle_failures=n) for n in range(1, 8)]
    decisions = [DECIDE(fault("handle"), each) for each in asked]
    assert [short(decision) for decision in decisions] == ["retry handle"] * 5 + ["retry history"] * 2
    waits = [decision.after for decision in decisions[:5] if isinstance(decision, Retry)]
    assert waits == [0.375, 0.75, 1.5, 3.0, 3.0]


def test_a_quota_moves_to_a_target_with_a_quota_of_its_own() -> None:
    same, other = target(1, quota_group="p0/m0"), target(2)
    assert short(DECIDE(fault("quota"), situation(target(0, tried=1), same, other))) == "failover 2 history"
    assert short(DECIDE(fault("quota"), situation(target(0, tried=1), same))) == "retry handle"


def test_a_quota_is_waited_for_where_patience_allows() -> None:
    alone = target(0, tried=1)
    waited = DECIDE(fault("quota"), situation(alone, patience_left=90.0))
    assert isinstance(waited, Retry)
    assert waited.after == pytest.approx(63.0)
    told = DECIDE(fault("quota", retry_after=7.0), situation(alone))
    assert isinstance(told, Retry)
    assert told.after == pytest.approx(7.35)
    at_once = [situation(target(0, tried=n)) for n in (1, 2, 3)]
    waits = [getattr(DECIDE(fault("quota", retry_after=0.0), each), "after", None) for each in at_once]
    assert waits == pytest.approx([0.0, 0.15, 0.275]), "a leave to dial at once is no leave to dial without end"
    given_up = DECIDE(fault("quota"), situation(alone, patience_left=59.0))
    assert isinstance(given_up, Escalate)
    assert (given_up.advice, given_up.rule) == ("Do this.", "quota-escalate")


def test_a_rate_that_refills_is_waited_for_on_the_spot() -> None:
    decision = DECIDE(fault("quota", action="retry"), situation())
    assert isinstance(decision, Retry)
    assert decision.after == 5.0


def test_retry_after_is_a_floor_for_its_target_and_delays_no_failover() -> None:
    server = fault("server", retry_after=4.0)
    assert getattr(DECIDE(server, situation()), "after", None) == 4.0
    away = DECIDE(fault("server", retry_after=30.0), situation())
    assert isinstance(away, FailOver)
    assert away.after == 0.0
    assert short(DECIDE(fault("server", retry_after=5.0), situation(target(0, tried=1), patience_left=4.0))) == "escalate"
    alone = DECIDE(fault("server", retry_after=30.0), situation(target(0, tried=1)))
    assert isinstance(alone, Retry)
    assert alone.after == 30.0


def test_credentials_go_together() -> None:
    same = target(1, credentials="p0")
    assert short(DECIDE(fault("auth"), situation(target(0, tried=1), same))) == "escalate"
    assert short(DECIDE(fault("auth"), situation(target(0, tried=1), same, target(2)))) == "failover 2 history"


def test_a_credential_is_renewed_where_the_rule_says_so_but_not_for_ever() -> None:
    asked = [situation(target(0, tried=n)) for n in (1, 2, 3)]
    decisions = [DECIDE(fault("auth", action="retry"), each) for each in asked]
    assert [short(decision) for decision in decisions] == ["retry handle", "retry handle", "escalate"]
    assert getattr(decisions[0], "after", None) == 0.0


def test_a_rules_own_action_comes_first_and_falls_back_to_the_table() -> None:
    there = situation()
    alone = situation(target(0, tried=1))
    assert short(DECIDE(fault("server", action="failover"), there)) == "failover 1 history"
    assert short(DECIDE(fault("server", action="failover"), alone)) == "retry handle"
    assert short(DECIDE(fault("input", action="escalate"), there)) == "escalate"
    assert short(DECIDE(fault("config", action="retry", carry="handle"), there)) == "retry handle"
    assert short(DECIDE(fault("server", action="finish"), there)) == "finish"
    assert short(DECIDE(fault("server", carry="nothing"), there)) == "retry nothing"
    assert short(DECIDE(fault("server", carry="handle"), situation(has_handle=False))) == "retry history"
    assert short(DECIDE(fault("input", drop_media=False), there)) == "retry handle"


def test_the_route_is_walked_to_its_end_before_anything_is_tried_again() -> None:
    asked = situation(target(0, tried=3), target(1, tried=3), target(2), current=1)
    assert short(DECIDE(fault("server"), asked)) == "failover 2 history"
    back = DECIDE(fault("server"), situation(target(0, tried=3), target(1, tried=4), target(2, tried=4), current=2))
    assert isinstance(back, FailOver)
    assert (back.target, back.after > 0.0) == (0, True), "a target that failed before is not redialled at once"


def test_what_cannot_be_dialled_is_passed_over() -> None:
    ruled_out = target(1, ruled_out="Its model is not served.")
    cooling = target(2, usable_after=50.0)
    assert short(DECIDE(fault("model"), situation(target(0, tried=1), ruled_out))) == "escalate"
    assert short(DECIDE(fault("model"), situation(target(0, tried=1), ruled_out, target(3)))) == "failover 3 history"
    waited = DECIDE(fault("model"), situation(target(0, tried=1), ruled_out, cooling))
    assert isinstance(waited, FailOver)
    assert waited.after == pytest.approx(52.5)
    assert short(DECIDE(fault("model"), situation(target(0, tried=1), cooling, patience_left=49.0))) == "escalate"


def test_a_model_that_only_may_be_the_wrong_one_is_held_out_for_where_there_is_no_other() -> None:
    unsure = fault("model", confidence=0.6)
    assert short(DECIDE(unsure, situation(target(0, tried=3)))) == "retry handle"
    assert short(DECIDE(unsure, situation(target(0, tried=3), target(1)))) == "failover 1 history"
    assert short(DECIDE(fault("model", confidence=0.9), situation(target(0, tried=3)))) == "escalate"


# -- links that were never live -------------------------------------------------------------------------------------------


def unlived(kind: FaultKind, times: int, *others: TargetState, host: str = "a", **columns: Any) -> Decision:
    """What is decided where so many links to a host ended before they were live."""
    here = target(0, tried=times, endpoint=host)
    known = {"phase": "setup", "unlived": times, "useful": False, "has_handle": False, **columns}
    return DECIDE(fault(kind), situation(here, *others, **known))


@pytest.mark.parametrize("kind", ["hung", "network"])
def test_a_link_that_hung_before_it_was_live_is_left_at_once_where_another_target_is_at_hand(kind: FaultKind) -> None:
    decision = unlived(kind, 1, target(1), age=5.0)
    assert (short(decision), decision.rule) == ("failover 1 history", f"{kind}-elsewhere")
    assert decision.because == (
        "It has cost the caller seconds without coming up, and another target is at hand; the conversation moves to p1/m1 at"
        " once, with the history told again."
    )
    assert short(unlived(kind, 1, target(1), age=0.5)) == "retry history", "a deadline of half a second costs little"
    assert short(unlived(kind, 1, age=5.0)) == "retry history"


def test_a_backup_that_hangs_too_is_left_for_the_first_again() -> None:
    back = unlived("hung", 1, target(1, tried=1), age=5.0)
    assert isinstance(back, FailOver)
    assert (back.target, back.after) == (1, 0.05), "it has rested for five seconds"
    quickly = unlived("server", 2, target(1, tried=1), age=0.01)
    assert getattr(quickly, "after", None) == pytest.approx(0.14)


@pytest.mark.parametrize(
    "columns",
    [
        {"breaker": "half-open"},
        {"breaker": "open", "usable_after": 1.0},
        {"usable_after": 1.0},
        {"unfit": "It has no tools."},
        {"ruled_out": "Its model is not served."},
        {"backlog": 6.0},
    ],
)
def test_of_a_target_at_hand_nothing_bad_is_known(columns: dict[str, Any]) -> None:
    probed = columns == {"breaker": "half-open"}
    hung = short(unlived("hung", 1, target(1, **columns), age=5.0))
    assert hung == ("failover 1 history" if probed else "retry history"), "a probe costs less than another such wait"
    assert unlived("server", 2, target(1, **columns)).rule == "server-resume"


@pytest.mark.parametrize(("phase", "leaves"), [("dial", False), ("tls", False), ("upgrade", False), ("setup", True)])
def test_a_host_that_does_not_answer_is_not_left_for_another_model_there(phase: Phase, leaves: bool) -> None:
    for kind in ("hung", "network"):
        same = unlived(kind, 1, target(1, endpoint="a"), phase=phase, age=5.0)
        assert isinstance(same, FailOver) == leaves
        assert isinstance(unlived(kind, 1, target(1, endpoint="b"), phase=phase, age=5.0), FailOver)


def test_a_target_that_refuses_twice_before_it_is_live_is_left_where_another_is_at_hand() -> None:
    decisions = [unlived("server", times, target(1)) for times in (1, 2)]
    assert [decision.rule for decision in decisions] == ["server-once-more", "server-elsewhere"]
    assert [getattr(decision, "after", None) for decision in decisions] == [0.0, 0.0]
    alone = [unlived("server", times).rule for times in (1, 2, 3)]
    assert alone == ["server-resume", "server-resume", "server-hold"]


@pytest.mark.parametrize(
    ("rule", "host", "decided"),
    [
        ("refused", "b", ["network-refused-once-more", "network-refused-elsewhere"]),
        ("reset", "b", ["network-refused-once-more", "network-refused-elsewhere"]),
        ("refused", "a", ["network-resume", "network-resume"]),  # nothing listens there for the other target, either
        ("dns", "b", ["network-resume", "network-resume"]),  # this machine's own network may be down
        ("unreachable", "b", ["network-resume", "network-resume"]),
    ],
)
def test_a_host_that_refuses_twice_is_left_for_another_one(rule: str, host: str, decided: list[str]) -> None:
    refused = fault("network", rule=rule)
    found = []
    for times in (1, 2):
        here = target(0, tried=times, endpoint="a")
        known = {"phase": "dial", "unlived": times, "useful": False}
        found.append(DECIDE(refused, situation(here, target(1, endpoint=host), **known)))
    assert [decision.rule for decision in found] == decided
    if decided[0] == "network-refused-once-more":
        assert isinstance(found[0], Retry)
        assert (found[0].after, found[0].carry) == (0.0, "handle")
        assert short(found[1]) == "failover 1 history"


def test_a_refusal_after_a_link_that_had_been_live_is_answered_by_one_more_try_soon() -> None:
    here = target(0, tried=2)
    once_more = DECIDE(fault("server"), situation(here, target(1), phase="upgrade", unlived=1, useful=False))
    assert isinstance(once_more, Retry)
    assert (once_more.rule, once_more.after, once_more.carry) == ("server-once-more", 0.05, "handle")
    alone = DECIDE(fault("server"), situation(here, phase="upgrade", unlived=1, useful=False))
    assert getattr(alone, "after", None) == pytest.approx(0.15), "with jitter, where there is no other to go to"


def test_a_rules_own_retry_is_no_more_than_the_table_where_the_table_retries() -> None:
    asked = situation(target(0, tried=2), target(1), phase="setup", unlived=2, useful=False)
    assert DECIDE(fault("server", action="retry"), asked).rule == "server-elsewhere"
    assert DECIDE(fault("server", action="failover"), asked).rule == "rule-failover"


# -- what the fleet and the catalog say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["server", "network", "hung", "planned", "handle", "protocol", "unknown"])
def test_a_target_that_fails_for_everybody_is_left_at_once(kind: FaultKind) -> None:
    here = target(0, tried=1, breaker="open", usable_after=1.0)
    decision = DECIDE(fault(kind), situation(here, target(1)))
    assert short(decision) == "failover 1 history"
    assert decision.rule == "breaker-failover"
    assert decision.because == (
        "The target keeps failing for all sessions and rests; the conversation moves to p1/m1 at once, with the history told"
        " again."
    )


def test_without_another_target_its_breaker_is_waited_for() -> None:
    here = target(0, tried=1, breaker="open", usable_after=3.0)
    decision = DECIDE(fault("server"), situation(here))
    assert isinstance(decision, Retry)
    assert decision.after == 3.0


def test_no_session_moves_to_a_target_whose_breaker_is_open() -> None:
    here, resting, well = target(0, tried=3), target(1, breaker="open", usable_after=1.0), target(2)
    assert short(DECIDE(fault("server"), situation(here, resting, well))) == "failover 2 history"


def test_a_long_queue_here_is_left_for_a_target_without_one() -> None:
    here, there = target(0, tried=1, backlog=9.0), target(1)
    decision = DECIDE(fault("network"), situation(here, there))
    assert (short(decision), decision.rule) == ("failover 1 history", "busy-failover")
    crowded = msgspec.structs.replace(there, backlog=9.0)
    assert short(DECIDE(fault("network"), situation(here, crowded))) == "retry handle"
    assert short(DECIDE(fault("network"), situation(msgspec.structs.replace(here, backlog=4.0), there))) == "retry handle"


def test_no_session_moves_to_a_target_that_cannot_do_what_it_needs_and_the_escalation_says_so() -> None:
    here, unfit = target(0, tried=3), target(1, unfit="m1 calls no tools: leave them out.")
    assert short(DECIDE(fault("server"), situation(here, unfit, target(2)))) == "failover 2 history"
    decision = DECIDE(fault("model"), situation(here, unfit))
    assert isinstance(decision, Escalate)
    assert decision.because.endswith("there is no other target. m1 calls no tools: leave them out.")


@pytest.mark.parametrize(
    ("kind", "room", "moves"),
    [("server", 50, True), ("server", None, True), ("context", 50, False), ("context", 500, False), ("context", 501, True)],
)
def test_a_history_is_shortened_to_its_room_and_only_after_a_full_context_there_has_to_be_more(
    kind: FaultKind, room: int | None, moves: bool
) -> None:
    here, there = target(0, tried=3, context_tokens=500), target(1, context_tokens=room)
    decision = DECIDE(fault(kind), situation(here, there, history_tokens=100))
    assert isinstance(decision, FailOver) == moves


def test_a_target_with_room_for_the_whole_history_comes_before_one_without() -> None:
    here, small, large = target(0, tried=3), target(1, context_tokens=100), target(2, context_tokens=101)
    known: dict[str, Any] = {"history_tokens": 100}
    assert short(DECIDE(fault("server"), situation(here, small, large, **known))) == "failover 2 history"
    tried = msgspec.structs.replace(large, tried=1)
    assert short(DECIDE(fault("server"), situation(here, small, tried, **known))) == "failover 1 history"
    assert short(unlived("hung", 1, small, age=5.0, **known)) == "retry history", "it is not at hand"


@pytest.mark.parametrize(
    ("targets", "first"),
    [
        ([{}, {}], First()),
        ([{"unfit": "It has no tools."}, {}], First()),
        (
            [{"breaker": "open", "usable_after": 11.0}, {}],
            First(target=1, because="{0} keeps failing for other sessions and rests."),
        ),
        (
            [{"usable_after": 70.0}, {}],
            First(target=1, because="{0} is not to be dialled for now, as it told other sessions."),
        ),
        ([{"breaker": "half-open"}, {}], First()),
        (
            [{"usable_after": 13.0}, {"usable_after": 12.0}],
            First(target=1, after=2.0, because="{0} is not to be dialled for now, as it told other sessions."),
        ),
        ([{"usable_after": 13.0}, {"unfit": "It has no tools."}], First(after=3.0)),
        ([{"usable_after": 100.0}, {"usable_after": 90.0}], First()),
    ],
)
def test_a_session_begins_on_the_first_target_that_may_be_dialled(targets: list[dict[str, Any]], first: First) -> None:
    route = [target(index, **columns) for index, columns in enumerate(targets)]
    expected = msgspec.structs.replace(first, because=first.because.format("p0/m0"))
    assert first_target(situation(*route, now=10.0)) == expected


def test_a_target_in_its_cool_down_is_left_for_another() -> None:
    cooling = target(0, tried=1, usable_after=40.0)
    assert short(DECIDE(fault("server"), situation(cooling, target(1)))) == "failover 1 history"
    alone = DECIDE(fault("server"), situation(cooling))
    assert isinstance(alone, Retry)
    assert alone.after == 40.0
    assert DECIDE(fault("server"), situation(cooling, patience_left=39.0)).rule == "rest-resume", "it asks once itself"
    failed = target(0, tried=2, usable_after=40.0)
    assert short(DECIDE(fault("server"), situation(failed, patience_left=39.0))) == "escalate"


@pytest.mark.parametrize(
    ("spent", "because"),
    [
        ({"attempts_left": 0, "attempt": 20}, "20 links in a row failed, as many as the session may try."),
        ({"recoveries_left": 0}, "The session has had as many outages as it may have."),
        (
            {"patience_left": 0.0, "outage_age": 60.4},
            "The outage has lasted 60 s, longer than the session's patience.",
        ),
    ],
)
def test_a_bound_that_is_used_up_ends_the_session(spent: dict[str, Any], because: str) -> None:
    decision = DECIDE(fault("network"), situation(**spent))
    assert decision == Escalate(advice="Do this.", because=because, rule="bounds")


def test_an_escalation_always_has_advice() -> None:
    decision = DECIDE(fault("model", advice=""), situation(target(0, tried=1)))
    assert isinstance(decision, Escalate)
    assert decision.advice == DEFAULTS["model"].advice


def test_a_decision_says_why_in_a_sentence() -> None:
    assert DECIDE(fault("server"), situation()).because == (
        "Such a fault often passes; p0/m0 is dialled again at once, resuming by its handle."
    )
    assert DECIDE(fault("server"), situation(target(0, tried=2), target(1), useful=False)).because == (
        "Such a fault often passes; p0/m0 is dialled again in 0.15 s, resuming by its handle."
    )


def test_the_backoff_has_full_jitter_under_a_ceiling_that_doubles() -> None:
    def at(failed: int, random: float, **bounds: Any) -> float:
        return backoff(failed, situation(random=random, **bounds))

    highest = 1.0 - 2.0**-53
    assert [round(at(n, highest, patience_left=10.0), 6) for n in range(8)] == [0, 0, 0.25, 0.5, 1, 1, 1, 1]
    assert [at(n, 0.0) for n in (2, 9)] == [0.05, 0.05]
    assert at(9, highest, patience_left=55.0, attempts_left=9) == pytest.approx(1.0)
    assert at(9, highest, patience_left=45.0, attempts_left=8) == pytest.approx(10.0), "the last ones last"
    assert at(9, highest, patience_left=0.5) == 0.5


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (None, "a policy returns a Retry, FailOver, Escalate or Finish, not NoneType"),
        ("retry", "a policy returns a Retry, FailOver, Escalate or Finish, not str"),
        (FailOver(target=0), "it fails over to the target that has just failed"),
        (FailOver(target=3), "it fails over to target 3, and the route has 3"),
        (FailOver(target=-1), "it fails over to target -1, and the route has 3"),
        (FailOver(target=2), "it dials a target that this session has ruled out"),
        (FailOver(target=1, carry="handle"), "it carries a handle to another target"),
        (FailOver(target=1, after=float("inf")), "it waits inf seconds"),
        (Retry(after=-1.0), "it waits -1.0 seconds"),
        (Retry(after=float("nan")), "it waits nan seconds"),
        (Retry(after="1"), "it waits '1' seconds"),  # type: ignore[arg-type]
        (Retry(carry="magic"), "it carries the conversation by 'magic'"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_named(decision: object, why: str) -> None:
    assert flaw(decision, situation(target(0), target(1), target(2, ruled_out="Not served."))) == why


def test_a_retry_of_a_target_that_is_ruled_out_is_nonsense() -> None:
    assert (
        flaw(Retry(), situation(target(0, ruled_out="Not served."))) == "it dials a target that this session has ruled out"
    )


def test_it_has_a_name_for_people() -> None:
    assert repr(DefaultPolicy()) == "<DefaultPolicy>"
