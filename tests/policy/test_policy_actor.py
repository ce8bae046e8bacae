"""The policy actor: every question of an enrolled session gets one answer, whatever its policy does."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from unbroken import policy_actor
from unbroken.abc import Policy
from unbroken.actors.supervisor import Intensity, supervise
from unbroken.core.bounds import SLOW, WAITED
from unbroken.core.classify import Rule
from unbroken.core.fleet import Fleet
from unbroken.decisions import (
    Closure,
    Decision,
    Ending,
    Escalate,
    FailOver,
    Fault,
    Finish,
    Retry,
    Situation,
    TargetState,
)
from unbroken.messages import AskPolicy, Decided
from unbroken.policy_actor import PolicyActor

pytestmark = pytest.mark.anyio

ROUTE = tuple(
    TargetState(name=f"p/m{index}", index=index, quota_group=f"m{index}", credentials="p", tried=1 - index)
    for index in range(2)
)


def seen(fleet: Fleet) -> TargetState:
    """Returns the first target as the fleet sees it."""
    return fleet.view(Situation(targets=ROUTE)).targets[0]


class Says:
    """A policy that always says the same, or raises it."""

    def __init__(self, what: object) -> None:
        self.what = what
        self.asked: list[tuple[Fault, Situation]] = []

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        self.asked.append((fault, situation))
        if isinstance(self.what, Exception):
            raise self.what
        return self.what  # type: ignore[return-value]  # nonsense is what some tests are about

    def __repr__(self) -> str:
        return "<Says>"


class Caller:
    """A session as the policy actor sees it."""

    def __init__(
        self, actor: PolicyActor, name: str, policy: Policy, *, rules: Iterable[Rule] = (), takes: bool = True
    ) -> None:
        self.actor = actor
        self.name = name
        self.takes = takes
        self.answers: list[Decided] = []
        actor.enroll(name, policy=policy, rules=[tuple(rules), ()], reply=self.reply)

    def reply(self, decided: Decided) -> bool:
        self.answers.append(decided)
        return self.takes

    def question(self, ask_id: int = 1, *, code: int = 1011, now: float = 0.0) -> AskPolicy:
        situation = Situation(now=now, targets=ROUTE, has_handle=True, has_history=True)
        return AskPolicy(session=self.name, ask_id=ask_id, closure=Closure(ending=Ending(code=code)), situation=situation)

    async def ask(self, ask_id: int = 1, *, code: int = 1011, now: float = 0.0) -> Decided:
        before = len(self.answers)
        assert self.actor.mailbox.post(self.question(ask_id, code=code, now=now))
        await anyio.wait_all_tasks_blocked()
        assert len(self.answers) == before + 1
        return self.answers[-1]


@asynccontextmanager
async def running(fleet: Fleet | None = None) -> AsyncGenerator[PolicyActor]:
    actor = PolicyActor(fleet if fleet is not None else Fleet())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        yield actor
        tasks.cancel_scope.cancel()


async def test_a_question_is_classified_decided_and_admitted() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        policy = Says(Retry(after=2.5, rule="mine"))
        caller = Caller(actor, "a", policy)
        decided = await caller.ask(7, now=10.0)
    assert (decided.ask_id, decided.fault.kind, decided.fault.rule) == (7, "server", "close-internal")
    assert (decided.decision, decided.fallback) == (Retry(after=2.5, rule="mine"), False)
    assert decided.permit is not None
    assert (decided.permit.target, decided.permit.not_before, fleet.outstanding) == ("p/m0", 12.5, 1)
    assert [state.failures for state in policy.asked[0][1].targets] == [1, 0], "the policy sees what the fleet knows"


async def test_the_permit_of_a_failover_is_for_the_other_target() -> None:
    async with running() as actor:
        decided = await Caller(actor, "a", Says(FailOver(target=1))).ask()
    assert decided.permit is not None
    assert decided.permit.target == "p/m1"


@pytest.mark.parametrize("decision", [Escalate(advice="Go home."), Finish()], ids=["escalate", "finish"])
async def test_what_dials_nothing_needs_no_permit(decision: Decision) -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        decided = await Caller(actor, "a", Says(decision)).ask()
    assert (decided.decision, decided.permit, fleet.outstanding) == (decision, None, 0)


async def test_the_rows_of_the_current_target_come_before_the_protocols() -> None:
    row = Rule(id="mine", fault="quota", codes=(1011,), because="It is.")
    async with running() as actor:
        caller = Caller(actor, "a", Says(Retry()), rules=[row])
        assert (await caller.ask(1)).fault.rule == "mine"
        question = caller.question(2)
        moved = msgspec.structs.replace(question, situation=msgspec.structs.replace(question.situation, current=1))
        actor.mailbox.post(moved)
        await anyio.wait_all_tasks_blocked()
    assert caller.answers[-1].fault.rule == "close-internal"


class Mute(Exception):
    def __repr__(self) -> str:
        raise ValueError("no words")


class Odd(float):
    def __le__(self, other: object) -> bool:
        raise ValueError("no order")

    __ge__ = __lt__ = __gt__ = __le__


NONSENSE = {
    "raises": ValueError("no idea"),
    "raises what cannot be shown": Mute(),
    "a number without order": Retry(after=Odd()),
    "nothing": None,
    "a word": "retry",
    "out of range": FailOver(target=2),
    "to itself": FailOver(target=0),
    "negative": Retry(after=-1.0),
    "not a number": Retry(after=float("nan")),
    "a reason that is no text": Retry(because=123),  # type: ignore[arg-type]
    "a rule that is no text": FailOver(target=1, rule=None),  # type: ignore[arg-type]
    "advice that is no text": Escalate(advice=["Go home."]),  # type: ignore[arg-type]
    "an end for no reason": Finish(because=None),  # type: ignore[arg-type]
    "half a truth": Retry(drop_media="no"),  # type: ignore[arg-type]
    "a carry from elsewhere": Retry(carry=["handle"]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_policy_that_fails_is_replaced_counted_and_named_once(
    what: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as actor:
        caller, other = Caller(actor, "a", Says(what)), Caller(actor, "b", Says(Retry(rule="fine")))
        with caplog.at_level(logging.WARNING, logger="unbroken.policy"):
            answers = [await caller.ask(number) for number in (1, 2, 3)]
            fine = await other.ask()
        assert (actor.replaced, fine.fallback) == (3, False)
        actor.dismiss("a", now=0.0)
        assert actor.replaced == 3
    assert [(a.ask_id, a.fallback, a.decision.rule) for a in answers] == [(n, True, "server-resume") for n in (1, 2, 3)]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("session a: <Says> failed, so the default policy decides: ")


@pytest.mark.parametrize("spent", ["attempts_left", "recoveries_left", "patience_left"])
@pytest.mark.parametrize("what", [Retry(), FailOver(target=1)], ids=["retry", "failover"])
async def test_no_policy_goes_on_where_the_session_has_nothing_left(what: Decision, spent: str) -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        caller = Caller(actor, "a", Says(what))
        question = caller.question()
        situation = msgspec.structs.replace(question.situation, **{spent: 0})
        actor.mailbox.post(msgspec.structs.replace(question, situation=situation))
        await anyio.wait_all_tasks_blocked()
        (decided,) = caller.answers
        assert (type(decided.decision), decided.decision.rule, decided.fallback) == (Escalate, "bounds", True)
        assert (fleet.outstanding, actor.replaced) == (0, 0), "the policy is not at fault"


async def test_what_dials_nothing_is_left_to_the_policy_to_the_last() -> None:
    async with running() as actor:
        caller = Caller(actor, "a", Says(Finish(rule="mine")))
        question = caller.question()
        situation = msgspec.structs.replace(question.situation, attempts_left=0)
        actor.mailbox.post(msgspec.structs.replace(question, situation=situation))
        await anyio.wait_all_tasks_blocked()
    assert (caller.answers[0].decision, caller.answers[0].fallback) == (Finish(rule="mine"), False)


@pytest.mark.parametrize(
    ("what", "tried", "after"),
    [
        (Retry(), 1, 0.0),
        (Retry(), 2, 0.05),
        (Retry(), 4, 0.15),
        (Retry(), 1000, 1.0),
        (Retry(after=0.5), 4, 0.5),
        (FailOver(target=1), 0, 0.0),
        (FailOver(target=1), 1, 0.05),
    ],
)
async def test_no_policy_dials_a_target_again_without_a_pause(what: Retry | FailOver, tried: int, after: float) -> None:
    async with running() as actor:
        caller = Caller(actor, "a", Says(what))
        question = caller.question()
        targets = tuple(msgspec.structs.replace(target, tried=tried) for target in ROUTE)
        situation = msgspec.structs.replace(question.situation, targets=targets)
        actor.mailbox.post(msgspec.structs.replace(question, situation=situation))
        await anyio.wait_all_tasks_blocked()
    (decided,) = caller.answers
    assert decided.decision == msgspec.structs.replace(what, after=pytest.approx(after))
    assert decided.permit is not None
    assert decided.permit.not_before == pytest.approx(after)
    assert not decided.fallback


async def test_a_policy_that_takes_too_long_is_counted_and_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_actor, "SLOW", SLOW)
    monkeypatch.setattr(policy_actor, "WAITED", WAITED)
    computes_for_5, computes_for_20, waits_for_60, is_kept_waiting_for_20 = (
        (0.005, 0.005),
        (0.02, 0.02),
        (0.06, 0.0),
        (0.02, 0.001),
    )
    spent = (computes_for_5, computes_for_20, waits_for_60, is_kept_waiting_for_20)
    times = iter([clocks for each in spent for clocks in ((0.0, 0.0), each)])
    actor = PolicyActor(Fleet(), clocks=lambda: next(times))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        caller = Caller(actor, "a", Says(Retry()))
        with caplog.at_level(logging.WARNING, logger="unbroken.policy"):
            slow = []
            for number in (1, 2, 3, 4):
                assert not (await caller.ask(number)).fallback, "late is not wrong"
                slow.append(actor.slow)
        actor.dismiss("a", now=0.0)
        assert actor.slow == 2
        tasks.cancel_scope.cancel()
    assert slow == [0, 1, 2, 2]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("session a: <Says> took 20 ms to decide while every session waits")


async def test_the_answer_holds_what_the_policy_saw_and_what_history_added() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        fleet.healthy(ROUTE[0], 0.0)
        policy = Says(Retry())
        decided = await Caller(actor, "a", policy).ask(now=1.0)
    assert decided.closure.facts.proven
    assert decided.situation == policy.asked[0][1]
    assert decided.situation.retries_left == 100


async def test_only_a_dial_of_what_failed_before_is_taken_from_the_retry_budget() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        caller = Caller(actor, "a", Says(Retry()))
        await caller.ask(1)
        assert fleet.view(Situation(targets=ROUTE)).retries_left == 100
        question = caller.question(2)
        targets = (msgspec.structs.replace(ROUTE[0], tried=2), ROUTE[1])
        actor.mailbox.post(
            msgspec.structs.replace(question, situation=msgspec.structs.replace(question.situation, targets=targets))
        )
        await anyio.wait_all_tasks_blocked()
        assert fleet.view(Situation(targets=ROUTE)).retries_left == 99


async def test_a_dismissed_session_gets_no_answer_and_gives_everything_back() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        caller = Caller(actor, "a", Says(Retry()))
        await caller.ask(1)
        assert fleet.outstanding == 1
        actor.mailbox.post(caller.question(2))
        actor.dismiss("a", now=0.0)
        actor.dismiss("a", now=0.0)
        await anyio.wait_all_tasks_blocked()
    assert (len(caller.answers), fleet.outstanding) == (1, 0)


def cannot(_: Decided) -> bool:
    raise RuntimeError("the mailbox is full")


@pytest.mark.parametrize("reply", [lambda _: False, cannot], ids=["refuses", "raises"])
async def test_an_answer_that_nobody_takes_keeps_no_permit(reply: Callable[[Decided], bool]) -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        actor.enroll("a", policy=Says(Retry()), rules=[()], reply=reply)
        other = Caller(actor, "b", Says(Escalate()))
        actor.mailbox.post(msgspec.structs.replace(other.question(), session="a"))
        await other.ask()
    assert fleet.outstanding == 0


async def test_the_built_in_decision_passes_the_fleet_and_the_late_answer_is_not_given() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        caller = Caller(actor, "a", Says(Escalate()), rules=[Rule(id="mine", fault="hung", codes=(1011,))])
        question = caller.question(5)
        actor.mailbox.post(question)
        decided = actor.decide_now(question)
        await anyio.wait_all_tasks_blocked()
        assert caller.answers == []
        assert seen(fleet).failures == 1, "one closure is counted once"
    assert (decided.ask_id, decided.fault.rule, decided.fallback) == (5, "mine", True)
    assert isinstance(decided.decision, Retry)
    assert decided.permit is not None
    assert fleet.outstanding == 1


async def test_the_built_in_decision_needs_no_enrolment() -> None:
    actor = PolicyActor(Fleet())
    stranger = Caller(PolicyActor(Fleet()), "nobody", Says(Retry())).question()
    assert actor.decide_now(stranger).decision.rule == "server-resume"


async def test_a_planned_end_without_anything_useful_counts_against_the_target() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        caller = Caller(actor, "a", Says(Retry()))
        assert (await caller.ask(1, code=1001)).fault.kind == "planned"
    assert seen(fleet).failures == 1


class BreaksOnce(Fleet):
    """A fleet with a bug that shows once."""

    broken = True

    def view(self, situation: Situation) -> Situation:
        if self.broken:
            self.broken = False
            raise RuntimeError("a bug")
        return super().view(situation)


async def test_a_crash_is_survived_with_enrolments_and_fleet() -> None:
    fleet, crashes = BreaksOnce(), list[str]()
    actor = PolicyActor(fleet)
    caller = Caller(actor, "a", Says(Retry(rule="mine")))

    async def kept() -> None:
        await supervise(
            actor.run,
            name="policy",
            intensity=Intensity(restarts=1),
            on_crash=lambda crash, number: crashes.append(f"{number}: {crash}"),
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept)
        actor.mailbox.post(caller.question(1))
        decided = await caller.ask(2)
        tasks.cancel_scope.cancel()
    assert crashes == ["1: a bug"]
    assert (decided.ask_id, decided.decision.rule) == (2, "mine")
    assert seen(fleet).failures == 2, "what was known before the crash is still known"
    assert [answer.ask_id for answer in caller.answers] == [2]


async def test_questions_beyond_the_bound_are_refused() -> None:
    actor = PolicyActor(Fleet(), capacity=1)
    caller = Caller(actor, "a", Says(Retry()))
    assert [actor.mailbox.post(caller.question(number)) for number in (1, 2)] == [True, False]


async def test_a_thousand_questions_leave_no_permit_out() -> None:
    fleet = Fleet()
    async with running(fleet) as actor:
        caller = Caller(actor, "a", Says(Retry()))
        for number in range(1, 1001):
            decided = await caller.ask(number, now=float(number))
            assert decided.permit is not None
            fleet.give_back(decided.permit, now=float(number))
        assert fleet.outstanding == 0
        # memory is bounded: what was given back is forgotten
        assert len(actor._enrolled["a"].permits) <= 1
