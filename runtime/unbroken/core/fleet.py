"""What the sessions of a runtime know together: which targets fail, which quotas are spent, and who may dial when."""

from __future__ import annotations

from typing import Final

import msgspec

from unbroken.core.breaker import PROBE, CircuitBreaker
from unbroken.core.budget import RetryBudget
from unbroken.core.classify import SURE
from unbroken.core.dials import Dials
from unbroken.decisions import Closure, Fault, FaultKind, Situation, TargetState
from unbroken.errors import ConfigError
from unbroken.messages import Permit

__all__ = ["LONGEST_REST", "NOT_SERVED", "QUOTA_COOL_DOWN", "RATE_COOL_DOWN", "Fleet", "cool_down", "is_retry"]

QUOTA_COOL_DOWN: Final = 60.0
"""Seconds for which a spent quota is left alone where the peer names no time; Gemini's quotas are per minute."""

RATE_COOL_DOWN: Final = 5.0
"""The same for a rate that refills by itself, which a rule says by its action "retry"."""

NOT_SERVED: Final = 300.0
"""Seconds for which sessions that could go elsewhere leave a target alone whose model is not served: each would lose a
handshake there, and a retired model does not come back. It keeps no session from the target that it is on: another one may
have been refused for its own key or its own configuration."""

LONGEST_REST: Final = 300.0
"""Seconds for which what one session was told keeps the others from a target at most. One that asked to be left alone for a
day is asked again by somebody within minutes, since nothing else would ever show that it is well."""

_OF_THE_TARGET: Final[frozenset[FaultKind]] = frozenset({"server", "hung", "network", "protocol", "unknown"})
"""Faults that say something about a target to every session; the others are of one session, its setup or its quota."""

_SAYS_NOTHING: Final[frozenset[FaultKind]] = frozenset({"closed", "planned"})

_RESTING: Final = "{target} keeps failing, so the runtime tries it with one dial at a time until it is well again."
_CROWDED: Final = "Many sessions dial at once, and they take turns."


def cool_down(fault: Fault) -> float:
    """Returns for how many seconds a spent quota is left alone."""
    if fault.retry_after is not None:
        return fault.retry_after
    return RATE_COOL_DOWN if fault.action == "retry" else QUOTA_COOL_DOWN


class _Known:
    """What is known of one target."""

    __slots__ = ("breaker", "failed_at", "proven", "served_after", "usable_after", "well_at")

    def __init__(self) -> None:
        self.breaker = CircuitBreaker()
        self.usable_after = 0.0
        self.served_after = 0.0
        self.proven = False
        self.well_at = self.failed_at = -1.0

    @property
    def is_well(self) -> bool:
        return self.proven and self.well_at > self.failed_at


class _Out(msgspec.Struct):
    """A permit that is out."""

    endpoint: str
    retry: bool
    begun: bool = False


class Fleet:
    """State shared by a runtime's sessions. It outlives the policy actor's task; times are seconds on the runtime's clock.

    For each target it holds a circuit breaker, for each endpoint ceilings on dials, for each quota group a cool-down, and
    one retry budget for all. A dial needs a permit, which says when it may begin. Nobody is refused one: a session that may
    not dial in time gives up by its own patience.

    Runtimes may share one while they run on one clock: those of one event loop. Times of another clock mean nothing to it,
    and each run of trio has a clock of its own.

    Args:
        dials_per_second: links that may be begun to one endpoint within any second. Where many runtimes share a service,
            each has this ceiling for itself.
        dials_at_a_time: links that may be coming up at one endpoint at the same time.

    Raises:
        ConfigError: a ceiling below 1.
    """

    def __init__(self, *, dials_per_second: int = 50, dials_at_a_time: int = 32) -> None:
        for name, value in (("dials_per_second", dials_per_second), ("dials_at_a_time", dials_at_a_time)):
            if value < 1:
                raise ConfigError(f"Fleet({name}=…) has to be at least 1, not {value!r}")
        self._per_second = dials_per_second
        self._at_a_time = dials_at_a_time
        self._targets: dict[str, _Known] = {}
        self._endpoints: dict[str, Dials] = {}
        self._quotas: dict[str, float] = {}
        self._budget = RetryBudget()
        self._out: dict[int, _Out] = {}
        self._number = 0

    def __repr__(self) -> str:
        failing = ", ".join(
            f"{name} failed {known.breaker.failures}x" for name, known in self._targets.items() if known.breaker.failures
        )
        return f"<Fleet {self.outstanding} permits out{'; ' + failing if failing else ''}>"

    @property
    def outstanding(self) -> int:
        """Permits that have not been given back."""
        return len(self._out)

    # -- what happened ----------------------------------------------------------------------------------------------------

    def note(self, fault: Fault, closure: Closure, *, target: TargetState, now: float) -> None:
        """Takes in what happened to one session's link.

        Args:
            fault: what it meant; a `planned` end without anything useful is to be told as `server`.
            closure: how it ended.
            target: where it went.
            now: the present.
        """
        known = self._known(target.name)
        if fault.kind == "quota":
            group = target.quota_group
            self._quotas[group] = max(self._quotas.get(group, 0.0), now + min(cool_down(fault), LONGEST_REST))
        if fault.kind == "model" and fault.confidence >= SURE:
            known.served_after = max(known.served_after, now + NOT_SERVED)
        if fault.kind not in _OF_THE_TARGET:
            if fault.kind not in _SAYS_NOTHING and closure.phase in ("setup", "live"):
                known.breaker.answered(now)
            return
        known.failed_at = now
        if fault.retry_after is not None:
            known.usable_after = max(known.usable_after, now + min(fault.retry_after, LONGEST_REST))
        if not closure.facts.healthy:
            known.breaker.failed(now, was_up=closure.phase == "live")
            if known.breaker.state(now) != "closed" or known.usable_after > now:
                self._put_off(target.endpoint, now)

    def healthy(self, target: TargetState, now: float) -> None:
        """A link to the target has been healthy for a while.

        Args:
            target: where it goes.
            now: the present.
        """
        known = self._known(target.name)
        known.breaker.healthy()
        known.usable_after = min(known.usable_after, now)
        known.served_after = min(known.served_after, now)
        known.proven, known.well_at = True, now
        self._budget.succeeded(now)

    # -- what a decision may know -----------------------------------------------------------------------------------------

    def told(self, closure: Closure, situation: Situation) -> Closure:
        """Adds to the facts of a closure what the runtime's history knows of its target and of the target's siblings.

        Args:
            closure: how the link ended.
            situation: where its session stands.
        """
        if situation.current >= len(situation.targets):
            return closure
        here = situation.targets[situation.current]
        siblings = (t for t in situation.targets if t.name != here.name and t.credentials == here.credentials)
        facts = msgspec.structs.replace(
            closure.facts,
            proven=self._known(here.name).proven,
            sibling_well=any(self._known(sibling.name).is_well for sibling in siblings),
        )
        return msgspec.structs.replace(closure, facts=facts)

    def view(self, situation: Situation) -> Situation:
        """Adds to a session's situation what the runtime knows of its targets."""
        now = situation.now
        self._quotas = {group: until for group, until in self._quotas.items() if until > now}
        targets = tuple(self._seen(state, situation) for state in situation.targets)
        return msgspec.structs.replace(situation, targets=targets, retries_left=self._budget.left(now))

    def _seen(self, state: TargetState, situation: Situation) -> TargetState:
        now, known = situation.now, self._known(state.name)
        breaker = known.breaker.state(now)
        opens = known.breaker.opens(now) if breaker != "closed" else 0.0
        earliest = max(known.usable_after, self._quotas.get(state.quota_group, 0.0), opens if opens > now else 0.0)
        if not situation.attempt or state.index != situation.current:
            earliest = max(earliest, known.served_after)
        turn = self._dials(state.endpoint).turn(max(now, earliest))
        backlog = turn - max(now, earliest) + (self._budget.wait(now) if is_retry(state, situation) else 0.0)
        return msgspec.structs.replace(
            state, failures=known.breaker.failures, breaker=breaker, usable_after=earliest, backlog=backlog
        )

    # -- who may dial when ------------------------------------------------------------------------------------------------

    def admit(self, target: TargetState, *, at: float, now: float, retry: bool = False) -> Permit:
        """Gives leave to dial, and counts it until it is given back.

        Args:
            target: where.
            at: when the dial is wanted.
            now: the present.
            retry: the target has just failed this session, so that the dial is taken from the retry budget.

        Returns:
            The permit; its `not_before` is `at`, or later where it is not this dial's turn then. That may change: `begin`
            has the last word.
        """
        at = max(at, now + (self._budget.take(now) if retry else 0.0))
        opens = self._known(target.name).breaker.opens(now)
        self._number += 1
        start = self._dials(target.endpoint).place(self._number, target.name, max(at, opens))
        self._out[self._number] = _Out(target.endpoint, retry)
        return Permit(number=self._number, target=target.name, not_before=start, because=self._because(target.name, now))

    def begin(self, permit: Permit, now: float) -> Permit:
        """Begins a dial, or puts it off. To be called when the permit's `not_before` has come.

        Returns:
            The permit; where its `not_before` is later than `now` the dial has not begun, and this is to be called again.
        """
        out = self._out[permit.number]
        dials, breaker = self._endpoints[out.endpoint], self._known(permit.target).breaker
        if dials.due(permit.number) <= now < breaker.opens(now):
            self._put_off(out.endpoint, now)
        start = dials.begin(permit.number, now)
        if start <= now:
            out.begun = True
            breaker.begin(permit.number, now)
        return msgspec.structs.replace(permit, not_before=start, because=self._because(permit.target, now))

    def spare(self, target: TargetState, *, now: float) -> Permit | None:
        """Gives leave to open a spare at once, where no link has to wait for that: half of each ceiling is kept for links.

        Args:
            target: where.
            now: the present.

        Returns:
            The permit of a dial that has begun, to be given back by `give_back` when the spare is open or is not; None: not
            now. Many links are being dialled, or the target rests.
        """
        known = self._known(target.name)
        rests = max(known.usable_after, known.served_after, self._quotas.get(target.quota_group, 0.0)) > now
        if rests or known.breaker.state(now) != "closed" or not self._dials(target.endpoint).is_calm(now):
            return None
        return self.begin(self.admit(target, at=now, now=now), now)

    def came_up(self, permit: Permit) -> None:
        """Takes a permit back: its link is up."""
        if self._take_back(permit) is not None:
            self._known(permit.target).breaker.came_up()

    def give_back(self, permit: Permit, *, now: float, failed: bool = False) -> None:
        """Takes a permit back that no link came up by. A second time changes nothing.

        Args:
            permit: what `admit` gave.
            now: the present.
            failed: the dial failed; False: it was given up, or will never be made.
        """
        out = self._take_back(permit)
        if out is None:
            return
        if out.retry and not out.begun:
            self._budget.put_back(now)
        self._known(permit.target).breaker.given_back(permit.number, failed=failed, now=now)

    def holds(self, permit: Permit) -> bool:
        """Says whether a permit is out."""
        return permit.number in self._out

    def _take_back(self, permit: Permit) -> _Out | None:
        out = self._out.pop(permit.number, None)
        if out is not None:
            self._endpoints[out.endpoint].over(permit.number)
        return out

    def _known(self, target: str) -> _Known:
        if target not in self._targets:
            self._targets[target] = _Known()
        return self._targets[target]

    def _dials(self, endpoint: str) -> Dials:
        if endpoint not in self._endpoints:
            self._endpoints[endpoint] = Dials(per_second=self._per_second, at_a_time=self._at_a_time)
        return self._endpoints[endpoint]

    def _put_off(self, endpoint: str, now: float) -> None:
        """Gives new places to those who wait for a target of the endpoint that rests."""

        def until(target: str, rank: int) -> float:
            known = self._known(target)
            if known.breaker.state(now) == "closed":
                return known.usable_after
            return max(known.usable_after, known.breaker.opens(now) + (PROBE if rank else 0.0))

        self._dials(endpoint).put_off(until)

    def _because(self, target: str, now: float) -> str:
        resting = self._known(target).breaker.state(now) != "closed"
        return _RESTING.format(target=target) if resting else _CROWDED


def is_retry(state: TargetState, situation: Situation) -> bool:
    """Says whether a dial of this target would be a retry: it has failed the session, and not only just now."""
    return state.tried > (1 if state.index == situation.current else 0)
