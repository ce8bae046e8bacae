"""Checks a policy: over the ends that were really seen, over situations made up by hypothesis, and in whole sessions.

`check` is what ``unbroken policy check`` runs. In a test of your own::

    def test_my_policy() -> None:
        assert check(MyPolicy()).complaints == ()
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from unbroken import registry
from unbroken.abc import Policy
from unbroken.config import Settings
from unbroken.core.bounds import FIRST_WAIT, SLOW, WAITED, flaw, paced
from unbroken.core.classify import Rule, classify
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Decision, Escalate, FailOver, Fault, Finish, Retry, Situation
from unbroken.errors import MissingExtra
from unbroken.testing.closures import known, situation
from unbroken.testing.plays import Scene, play
from unbroken.testing.spelling import spelled

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Complaint", "Difference", "Verdict", "check"]

Kind = Literal["raises", "nonsense", "busy", "overlong", "wavers", "endless", "slow"]

_T = TypeVar("_T")

_ENDED_BY: Final = {"escalated": "policy", "finished": "policy", "patience": "session", "going": "nothing"}

_DEFAULT: Final = DefaultPolicy()


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a policy must not do, with the plainest question at which it did it.

    Attributes:
        kind: "raises" an exception; returns "nonsense" that cannot be performed; is "busy" dialling without a pause; waits
            "overlong", past the session's patience; "wavers" between answers to one question; goes on "endless"; is "slow".
        what: one plain sentence.
        fault: the fault it was asked about.
        situation: the situation it was asked in.
    """

    kind: Kind
    what: str
    fault: Fault
    situation: Situation

    @property
    def example(self) -> str:
        """The question as Python, to be pasted into a test; its names are all in `unbroken.policies`."""
        asked = "decision = policy.decide(fault, situation)"
        return f"fault = {spelled(self.fault)}\nsituation = {spelled(self.situation)}\n{asked}\n"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A known end about which the policy decides otherwise than the default one.

    Attributes:
        id: the end's id in `unbroken.testing.closures`.
        fault: what the end means.
        default: what the default policy does, in a few words.
        policy: what this policy does.
    """

    id: str
    fault: str
    default: str
    policy: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a check has found.

    Attributes:
        policy: the policy's repr.
        known: questions asked about ends that were really seen.
        random: questions made up.
        plays: sessions played against services that keep failing.
        endings: what ended those sessions: a decision of the "policy", a bound of the "session", or "nothing", since the
            service was healthy in between.
        decisions: decisions taken in all of that.
        slowest_ms: how long the slowest one took, in milliseconds.
        complaints: what is wrong, one of each kind; empty: nothing.
        notes: what may be meant so.
        differences: from the default policy, at known ends with one more target to go to.
    """

    policy: str
    known: int
    random: int
    plays: int
    endings: Mapping[str, int]
    decisions: int
    slowest_ms: float
    complaints: tuple[Complaint, ...]
    notes: tuple[str, ...]
    differences: tuple[Difference, ...]


def check(policy: Policy, *, examples: int = 500, rules: Sequence[Rule] = ()) -> Verdict:
    """Asks a policy thousands of questions and plays it through sessions that keep failing.

    The same policy gets the same questions each time. Takes a few seconds.

    Args:
        policy: the policy; one that never returns cannot be checked, and hangs the check as it would hang every session.
        examples: how many situations, and how many sessions, are made up.
        rules: rows of classification that the application adds.

    Raises:
        MissingExtra: hypothesis is not installed.
    """
    try:
        from hypothesis.strategies import tuples

        from unbroken.testing import situations
    except ModuleNotFoundError as error:
        raise MissingExtra("checking a policy", package="hypothesis", extra="testing") from error
    examiner = _Examiner(policy)
    asked = _known_questions(rules)
    examiner.ask_twice(asked)
    random = plays = 0
    if "wavers" not in examiner.found:  # what is asked next is made smaller by asking it again and again
        questions = tuples(situations.faults(), situations.situations())
        random = examiner.search(questions, lambda question: examiner.question(*question), examples=examples)
        plays = examiner.search(situations.scenes(), examiner.session, examples=examples)
    return Verdict(
        policy=repr(policy),
        known=len(asked),
        random=random,
        plays=plays,
        endings=examiner.endings,
        decisions=examiner.decisions,
        slowest_ms=examiner.slowest * 1000,
        complaints=tuple(examiner.found.values()),
        notes=tuple(_notes(examiner)),
        differences=tuple(_differences(policy, rules)) if "raises" not in examiner.found else (),
    )


class _Examiner:
    """Asks a policy, and is a policy itself: what is wrong is answered by the default one, so that a play goes on."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.found: dict[Kind, Complaint] = {}
        self.decisions = 0
        self.silent = 0
        self.endings: Counter[str] = Counter()
        self.slowest = 0.0
        self._met: Complaint | None = None

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        """Answers as the policy does, and remembers the first thing that is wrong with it."""
        decision, complaint = self._ask(fault, situation)
        if complaint is None:
            again, _ = self._ask(fault, situation)
            complaint = _wavers(fault, situation, decision, again) if again != decision else None
        if complaint is not None and complaint.kind not in self.found:
            self._met = self._met or complaint
        if decision is None or complaint is not None:
            return _DEFAULT.decide(fault, situation)
        return decision

    def ask_twice(self, questions: Sequence[tuple[Fault, Situation]]) -> None:
        """Asks everything, then everything again: a policy that keeps a memory of its own answers otherwise then."""
        answers: list[Decision | None] = []
        for fault, where in questions:
            decision, complaint = self._ask(fault, where)
            answers.append(decision)
            self.silent += decision is not None and not getattr(decision, "because", "")
            if complaint is not None:
                self.found.setdefault(complaint.kind, complaint)
        for (fault, where), first in zip(questions, answers, strict=True):
            again, _ = self._ask(fault, where)
            if again != first:
                self.found.setdefault("wavers", _wavers(fault, where, first, again))

    def search(self, questions: SearchStrategy[_T], test: Callable[[_T], Complaint | None], *, examples: int) -> int:
        """Looks for what is wrong, and adds the plainest example of each kind to `found`; returns how many were tried."""
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis.errors import Flaky, NoSuchExample

        bounds = settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.large_base_example),
        )
        met: Complaint | None = None
        tried = 0

        def is_wrong(question: _T) -> bool:
            nonlocal met, tried
            tried += 1
            complaint = test(question)
            met = complaint or met
            return complaint is not None

        while True:
            met = None
            try:
                complaint = test(find(questions, is_wrong, settings=bounds))
            except NoSuchExample:
                return min(tried, examples)
            except Flaky:
                complaint = None
            if complaint is None:
                assert met is not None
                wavers = msgspec.structs.replace(
                    met, kind="wavers", what="asked again, it did otherwise than when it " + met.what
                )
                self.found.setdefault("wavers", wavers)
                return min(tried, examples)
            self.found[complaint.kind] = complaint

    def question(self, fault: Fault, situation: Situation) -> Complaint | None:
        """Asks one question; returns what is wrong that is not in `found` yet."""
        self._met = None
        self.decide(fault, situation)
        return self._met

    def session(self, scene: Scene) -> Complaint | None:
        """Plays one session; returns what is wrong that is not in `found` yet."""
        self._met = None
        asked: list[tuple[Fault, Situation]] = []

        played = play(_Overheard(self, asked), scene)
        self.endings[_ENDED_BY[played.how] if not played.by_bounds else "session"] += 1
        if self._met is not None or "endless" in self.found:
            return self._met
        going = played.how == "going" and not any(end.healthy for end in scene.service)
        if going or played.longest > Settings().patience + 1.0:
            what = f"after {len(played.dials)} dials the session still goes on, {played.longest:.0f} s into its outage"
            return Complaint(kind="endless", what=what, fault=asked[-1][0], situation=asked[-1][1])
        return None

    def _ask(self, fault: Fault, situation: Situation) -> tuple[Decision | None, Complaint | None]:
        def wrong(kind: Kind, what: str) -> Complaint:
            return Complaint(kind=kind, what=what, fault=fault, situation=situation)

        try:
            decision, seconds = self._timed(fault, situation)
        except Exception as error:  # because a policy is somebody's own code, and its bugs are what is looked for
            return None, wrong("raises", f"raised {error!r}")
        self.decisions += 1
        if seconds > WAITED:
            return decision, wrong("slow", f"took {seconds * 1000:.0f} ms, while all sessions of the runtime wait")
        if why := flaw(decision, situation):
            return None, wrong("nonsense", f"returned {spelled(decision)}: {why}")
        return decision, _restless(decision, fault, situation)

    def _timed(self, fault: Fault, situation: Situation) -> tuple[Decision, float]:
        """Asks once, and where that took long, again: what a busy machine does is not the policy's doing."""
        fastest = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            decision = self.policy.decide(fault, situation)
            fastest = min(fastest, time.perf_counter() - began)
            if fastest <= SLOW:
                self.slowest = max(self.slowest, fastest)
                return decision, fastest
        self.slowest = max(self.slowest, fastest)
        return self.policy.decide(fault, situation), fastest


class _Overheard:
    """Passes questions on and notes them."""

    def __init__(self, policy: Policy, asked: list[tuple[Fault, Situation]]) -> None:
        self.policy = policy
        self.asked = asked

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        self.asked.append((fault, situation))
        return self.policy.decide(fault, situation)


def _restless(decision: Decision, fault: Fault, situation: Situation) -> Complaint | None:
    """Says whether a decision that can be performed dials too soon or too late."""
    if not isinstance(decision, Retry | FailOver):
        return None
    left = situation.patience_left
    if decision.after < min(paced(decision, situation), FIRST_WAIT) - 1e-9:
        target = situation.targets[decision.target if isinstance(decision, FailOver) else situation.current]
        what = (
            f"returned {_short(decision)}: {target.name} has failed {target.tried} times in a row and is dialled without a"
            f" pause; wait {FIRST_WAIT:g} s at least, and longer each time"
        )
        return Complaint(kind="busy", what=what, fault=fault, situation=situation)
    if decision.after > left > 0.0:
        what = f"returned {_short(decision)}, past the session's patience of {left:g} s more: escalate, or go elsewhere"
        return Complaint(kind="overlong", what=what, fault=fault, situation=situation)
    return None


def _wavers(fault: Fault, situation: Situation, first: object, then: object) -> Complaint:
    what = f"returned {spelled(first)} and, asked the same again, {spelled(then)}"
    return Complaint(kind="wavers", what=what, fault=fault, situation=situation)


# -- the known ends -------------------------------------------------------------------------------------------------------


def _rows(rules: Sequence[Rule]) -> Sequence[Rule]:
    return in_order([*rules, *itertools.chain.from_iterable(registry.providers_rules().values())])


def _known_questions(rules: Sequence[Rule]) -> Sequence[tuple[Fault, Situation]]:
    """Puts every known end into the situations in which a session may meet it."""
    rows = _rows(rules)
    faults = ((classify(end.closure, rows), end.closure) for end in known())
    return [(fault, where) for fault, closure in faults for where in _around(situation(closure))]


def _around(there: Situation) -> Iterator[Situation]:
    here, other = there.targets
    routes: list[dict[str, Any]] = [
        {"targets": (here,)},
        {"targets": (here, other)},
        {"targets": (here, msgspec.structs.replace(other, usable_after=30.0))},
        {"targets": (here, msgspec.structs.replace(other, ruled_out="It was refused."))},
        {"targets": (here, msgspec.structs.replace(other, breaker="open", usable_after=3.0, failures=9))},
        {
            "targets": (msgspec.structs.replace(other, index=0), msgspec.structs.replace(here, index=1)),
            "current": 1,
        },
    ]
    bounds: list[dict[str, Any]] = [{}, {"patience_left": 2.0, "outage_age": 58.0}, {"attempts_left": 0}]
    for route, bound, tried, handle in itertools.product(routes, bounds, (1, 2, 3, 10), (False, True)):
        columns = {**route, **bound, "attempt": tried, "has_handle": handle}
        where = msgspec.structs.replace(there, **columns)
        targets = tuple(msgspec.structs.replace(t, tried=tried) if t.index == where.current else t for t in where.targets)
        yield msgspec.structs.replace(where, targets=targets)


def _differences(policy: Policy, rules: Sequence[Rule]) -> Iterator[Difference]:
    rows = _rows(rules)
    for end in known():
        fault, where = classify(end.closure, rows), situation(end.closure)
        default, own = (_short(each.decide(fault, where)) for each in (_DEFAULT, policy))
        if own != default:
            yield Difference(id=end.id, fault=fault.kind, default=default, policy=own)


def _short(decision: Decision) -> str:
    match decision:
        case Retry():
            media = " without the media" if decision.drop_media else ""
            return f"retry by {decision.carry}{media} {_when(decision.after)}"
        case FailOver():
            return f"fail over to {decision.target} by {decision.carry} {_when(decision.after)}"
        case Escalate():
            return "escalate"
        case Finish():
            return "finish"


def _when(after: float) -> str:
    return f"in {after:.3g} s" if after > 0.0 else "at once"


def _notes(examiner: _Examiner) -> Iterator[str]:
    if examiner.silent:
        yield (
            f"{examiner.silent} decisions do not say why: `because` is one plain sentence for the person on call, and for"
            " the log."
        )
    if examiner.slowest > SLOW:
        yield f"The slowest decision took more than {SLOW * 1000:g} ms, which the runtime counts and reports."
