"""The policy actor: one per runtime. It classifies, lets the session's policy decide, and has the fleet admit."""

from __future__ import annotations

import logging
import reprlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from unbroken.abc import Policy
from unbroken.actors.actor import Actor
from unbroken.actors.mailbox import Mailbox, Overflow
from unbroken.core.bounds import SLOW, WAITED, counted_as
from unbroken.core.classify import Rule, classify
from unbroken.core.fleet import Fleet, is_retry
from unbroken.core.policy import DefaultPolicy, settled
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Decision, FailOver, Fault, Retry, Situation
from unbroken.messages import AskPolicy, Decided, Permit

__all__ = ["PolicyActor"]

logger = logging.getLogger("unbroken.policy")

_DEFAULT: Final = DefaultPolicy()

_REPR: Final = reprlib.Repr()
"""Shows what is somebody's own code, also where that cannot show itself."""
_REPR.maxother = 200


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


class _Enrolled:
    """One session, as the policy actor knows it."""

    __slots__ = ("answered", "permits", "policy", "replaced", "reply", "rules", "slow")

    def __init__(
        self, *, policy: Policy, rules: Sequence[Sequence[Rule]], reply: Callable[[Decided], object] | None = None
    ) -> None:
        self.policy = policy
        self.rules = [in_order(rows) for rows in rules]
        self.reply = reply
        self.answered = 0
        self.permits: list[Permit] = []
        self.replaced = 0
        self.slow = 0

    def rules_of(self, target: int) -> Sequence[Rule]:
        return self.rules[target] if 0 <= target < len(self.rules) else _NOBODYS

    def replace(self, session: str, why: str) -> None:
        """Counts a decision that the default policy had to take, and says so the first time."""
        self.replaced += 1
        if self.replaced == 1:
            logger.warning(
                "session %s: %s failed, so the default policy decides: %s (this is said once)",
                session,
                _REPR.repr(self.policy),
                why,
            )

    def took(self, session: str, elapsed: float, worked: float) -> None:
        """Counts a decision that took too long, and says so the first time.

        What a busy machine took from the thread meanwhile is not the policy's: short delays count by processor time.
        """
        if worked > SLOW or elapsed > WAITED:
            self.slow += 1
            if self.slow == 1:
                logger.warning(
                    "session %s: %s took %.0f ms to decide while every session waits; a policy computes for microseconds and"
                    " waits for nothing (this is said once)",
                    session,
                    _REPR.repr(self.policy),
                    elapsed * 1000,
                )


_NOBODYS: Final = in_order()


class PolicyActor(Actor[AskPolicy]):
    """Answers every `AskPolicy` of the enrolled sessions with one `Decided`, in the order in which they came.

    Nothing that has to outlive a crash is on its task's stack: the fleet's state is the runtime's, and the enrolments are
    on this object, whose `run` can be started again.

    Args:
        fleet: the state shared by the runtime's sessions.
        capacity: questions that may wait; one more is refused, and its session decides by itself.
        clocks: measure how long policies take, in seconds: what has passed, and the processor time of this thread.
    """

    def __init__(self, fleet: Fleet, *, capacity: int = 4096, clocks: Callable[[], tuple[float, float]] = _clocks) -> None:
        super().__init__(Mailbox(name="policy", capacity=capacity, overflow=Overflow.REFUSE))
        self._fleet = fleet
        self._clocks = clocks
        self._enrolled: dict[str, _Enrolled] = {}
        self._replaced = 0
        self._slow = 0

    @property
    def replaced(self) -> int:
        """Decisions that the default policy took in the place of one that raised or returned nonsense."""
        return self._replaced + sum(enrolled.replaced for enrolled in self._enrolled.values())

    @property
    def slow(self) -> int:
        """Decisions that took more than 5 ms of the processor's time, or more than 50 ms in all."""
        return self._slow + sum(enrolled.slow for enrolled in self._enrolled.values())

    def enroll(
        self, session: str, *, policy: Policy, rules: Sequence[Sequence[Rule]], reply: Callable[[Decided], object]
    ) -> None:
        """Takes a session on.

        Args:
            session: its name.
            policy: decides for it.
            rules: per target of its route, in order: the application's rows and the provider's. The protocols' own rows
                are added here.
            reply: takes the answers; never waits. Where it returns False, nobody will perform the decision.
        """
        self._enrolled[session] = _Enrolled(policy=policy, rules=rules, reply=reply)

    def dismiss(self, session: str, *, now: float) -> None:
        """Forgets a session. Its questions are not answered any more, and permits that it never took are given back."""
        enrolled = self._enrolled.pop(session, None)
        if enrolled is not None:
            self._replaced += enrolled.replaced
            self._slow += enrolled.slow
            for permit in enrolled.permits:
                self._fleet.give_back(permit, now=now)

    def handle(self, message: AskPolicy) -> None:
        """Answers one question. That of a dismissed session is dropped, and one that `decide_now` has answered meanwhile."""
        enrolled = self._enrolled.get(message.session)
        if enrolled is None or enrolled.reply is None or message.ask_id <= enrolled.answered:
            return
        decided = self._answer(message, enrolled, enrolled.policy)
        try:
            taken = enrolled.reply(decided)
        except Exception:  # because a session that cannot take its answer must not keep the others from theirs
            logger.exception("session %s did not take its decision", message.session)
            taken = False
        if taken is False and decided.permit is not None:
            self._fleet.give_back(decided.permit, now=decided.situation.now)

    def note(self, session: str, closure: Closure, situation: Situation) -> Fault:
        """Tells the fleet how a session's spare ended that was set up. No decision follows: it is no outage.

        Args:
            session: its name.
            closure: how the spare ended.
            situation: of the session, with the spare's target as the current one.

        Returns:
            What the end meant.
        """
        enrolled = self._enrolled.get(session) or _Enrolled(policy=_DEFAULT, rules=())
        told = self._fleet.told(closure, situation)
        fault = classify(told, enrolled.rules_of(situation.current))
        self._note(fault, told, situation)
        return fault

    def decide_now(self, question: AskPolicy) -> Decided:
        """Takes the built-in decision, for a session whose question was refused or not answered in time.

        Synchronous and called from the session's own task; the fleet admits it as it does every other decision.
        """
        enrolled = self._enrolled.get(question.session) or _Enrolled(policy=_DEFAULT, rules=())
        return msgspec.structs.replace(self._answer(question, enrolled, _DEFAULT), fallback=True)

    def _answer(self, question: AskPolicy, enrolled: _Enrolled, policy: Policy) -> Decided:
        again, enrolled.answered = question.ask_id <= enrolled.answered, question.ask_id
        closure = self._fleet.told(question.closure, question.situation)
        fault = classify(closure, enrolled.rules_of(question.situation.current))
        if fault.kind == "model" and question.advice:
            fault = msgspec.structs.replace(fault, advice=question.advice)
        if not again:
            self._note(fault, closure, question.situation)
        situation = self._fleet.view(question.situation)
        decision = self._decision(policy, fault, situation, enrolled, question.session)
        fallback = decision is None
        if decision is None:
            decision = _DEFAULT.decide(fault, situation)
        return Decided(
            ask_id=question.ask_id,
            closure=closure,
            situation=situation,
            fault=fault,
            decision=decision,
            permit=self._permit(decision, situation, enrolled),
            fallback=fallback,
        )

    def _note(self, fault: Fault, closure: Closure, situation: Situation) -> None:
        if situation.current < len(situation.targets):
            counted = msgspec.structs.replace(fault, kind=counted_as(fault.kind, useful=situation.useful))
            self._fleet.note(counted, closure, target=situation.targets[situation.current], now=situation.now)

    def _decision(
        self, policy: Policy, fault: Fault, situation: Situation, enrolled: _Enrolled, session: str
    ) -> Decision | None:
        """Asks the policy, and counts what it took; None: the default one decides in its place (`Settled.decision`)."""
        began, had_worked = self._clocks()
        decision, failure = settled(policy, fault, situation)
        ended, has_worked = self._clocks()
        if failure is not None:
            enrolled.replace(session, failure if isinstance(failure, str) else _REPR.repr(failure))
        enrolled.took(session, ended - began, has_worked - had_worked)
        return decision

    def _permit(self, decision: Decision, situation: Situation, enrolled: _Enrolled) -> Permit | None:
        match decision:
            case Retry():
                target = situation.current
            case FailOver():
                target = decision.target
            case _:
                return None
        if target >= len(situation.targets):
            return None
        permit = self._fleet.admit(
            situation.targets[target],
            at=situation.now + decision.after,
            now=situation.now,
            retry=is_retry(situation.targets[target], situation),
        )
        enrolled.permits = [*(held for held in enrolled.permits if self._fleet.holds(held)), permit]
        return permit
