"""A session against a service that keeps failing, played by the pure objects alone: no task, no clock, no network.

The runtime's own policy actor asks the policy, so all that it enforces around every policy is in force.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from unbroken.abc import Policy
from unbroken.config import Settings
from unbroken.core.classify import Rule
from unbroken.core.fleet import Fleet
from unbroken.core.outage import Outages
from unbroken.decisions import Closure, Decision, Ending, Escalate, Facts, FailOver, Fault, Finish, Phase, Retry, TargetState
from unbroken.events import Steps
from unbroken.messages import AskPolicy, Decided
from unbroken.policy_actor import PolicyActor

__all__ = ["End", "Played", "Scene", "play"]

_FIRST_CODE = 4000
"""Close codes from here on are the applications' own (RFC 6455 section 7.4.2)."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a service ends a link.

    Attributes:
        fault: what that means.
        phase: how far the link had come; before "live" nothing useful can have come on it.
        age: seconds from the link's begin to its end.
        useful: something useful had come on it.
        confirmed: the service is known to have let go of it.
    """

    fault: Fault
    phase: Phase = "live"
    age: float = 0.01
    useful: bool = False
    confirmed: bool = True

    @property
    def healthy(self) -> bool:
        """The link had been healthy for a while, so that the trouble before it was over."""
        return self.phase == "live" and self.useful and self.age >= Settings().healthy_after


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is played against.

    Attributes:
        service: how the links end, in turn, from the first one on.
        targets: how many the route has; each has a quota and credentials of its own.
        handles: the service gives handles, to every link that comes up.
        randoms: what `Situation.random` is, in turn.
    """

    service: tuple[End, ...]
    targets: int = 2
    handles: bool = True
    randoms: tuple[float, ...] = (0.5,)


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """How a play went.

    Attributes:
        how: what ended it: the session "escalated" by a decision or "finished" by one, its "patience" was over before the
            next dial, or it was still "going" at the play's last link.
        dials: when each link after the first was dialled, in seconds since the first one began, and to which target.
        longest: seconds of the longest outage.
        last: the last decision.
        by_bounds: the last decision was the default policy's, since a bound of the session forbade the policy's own.
    """

    how: Literal["escalated", "finished", "patience", "going"]
    dials: tuple[tuple[float, int], ...]
    longest: float
    last: Decision
    by_bounds: bool


def play(policy: Policy, scene: Scene, *, links: int = 80) -> Played:
    """Plays a session until it is given up, with the default `Settings` and a runtime to itself.

    Args:
        policy: decides.
        scene: what the session meets.
        links: the play is over after so many; more than `Settings.attempts`.
    """
    session = _Session(policy, scene)
    how: Literal["escalated", "finished", "patience", "going"] = "going"
    for number in range(links):
        decided = session.end_link(scene.randoms[number % len(scene.randoms)])
        match decided.decision:
            case Escalate():
                how = "escalated"
            case Finish():
                how = "finished"
            case Retry() | FailOver():
                how = "going" if session.dial(decided) else "patience"
        session.last = decided
        if how != "going":
            break
    return Played(
        how=how,
        dials=tuple(session.dials),
        longest=session.longest,
        last=session.last.decision,
        by_bounds=session.last.fallback,
    )


class _Session:
    """The bookkeeping of a session's supervisor, for links that only end."""

    last: Decided

    def __init__(self, policy: Policy, scene: Scene) -> None:
        self.scene = scene
        self.route = tuple(
            TargetState(name=f"p/m{n}", index=n, quota_group=f"m{n}", credentials=f"p{n}", endpoint="one.example")
            for n in range(scene.targets)
        )
        self.outages = Outages(self.route, settings=Settings())
        self.fleet = Fleet()
        self.actor = PolicyActor(self.fleet, clocks=lambda: (0.0, 0.0))
        self.answers: list[Decided] = []
        rules = [_rule(number, end.fault) for number, end in enumerate(scene.service)]
        self.actor.enroll("play", policy=policy, rules=[rules] * scene.targets, reply=self.answers.append)
        self.now = self.longest = 0.0
        self.target = self.links = 0
        self.handle, self.resumed, self.unconfirmed = scene.handles, False, False
        self.dials: list[tuple[float, int]] = []

    def end_link(self, random: float) -> Decided:
        """Ends the current link, and returns what is decided about that."""
        end = self._end
        closure = self._closure(end)
        self.now += end.age
        self.unconfirmed = not end.confirmed
        self.outages.failed(closure, target=self.target, detect=0.0, now=self.now)
        situation = self.outages.situation(
            closure, target=self.target, has_handle=self.handle, history_tokens=500, random=random, now=self.now
        )
        self.links += 1
        self.actor.handle(AskPolicy(session="play", ask_id=self.links, closure=closure, situation=situation))
        decided = self.answers.pop()
        self.longest = max(self.longest, self._age())
        if decided.fault.kind == "planned" and closure.facts.useful:
            self.outages.forgive(self.target)
        if decided.fault.kind in ("model", "config", "auth") and not isinstance(decided.decision, Retry):
            self.outages.rule_out(self.target, "It was refused.")
        return decided

    def dial(self, decided: Decided) -> bool:
        """Dials as decided; False: the session's patience is over before a link is up."""
        decision, permit = decided.decision, decided.permit
        assert isinstance(decision, Retry | FailOver)
        assert permit is not None
        while permit.not_before > self.now or (permit := self.fleet.begin(permit, self.now)).not_before > self.now:
            if self._age() + permit.not_before - self.now > Settings().patience:
                self.fleet.give_back(permit, now=self.now)
                return self._out_of_patience()
            self.now = permit.not_before
        self.target = decision.target if isinstance(decision, FailOver) else self.target
        self.resumed = self.handle = decision.carry == "handle" and self.handle
        if not self.resumed:
            self.outages.handle_dropped()
        self.outages.dialled()
        self.dials.append((self.now, self.target))
        if self._end.phase == "live":
            self.fleet.came_up(permit)
            self.outages.recovered(Steps(), catch_up=0.0)
            self.handle = self.scene.handles
            return True
        self.fleet.give_back(permit, now=self.now, failed=True)
        return self._age() + self._end.age <= Settings().patience or self._out_of_patience()

    @property
    def _end(self) -> End:
        """How the current link will end."""
        return self.scene.service[self.links % len(self.scene.service)]

    def _out_of_patience(self) -> bool:
        self.longest = Settings().patience
        return False

    def _closure(self, end: End) -> Closure:
        if end.healthy:
            self.outages.healthy()
            self.fleet.healthy(self.route[self.target], self.now + end.age)
        return Closure(
            phase=end.phase,
            ending=Ending(
                code=_FIRST_CODE + self.scene.service.index(end), retry_after=end.fault.retry_after, confirmed=end.confirmed
            ),
            facts=Facts(
                resumed=self.resumed,
                previous_unconfirmed=self.unconfirmed,
                useful=end.useful and end.phase == "live",
                healthy=end.healthy,
                consecutive=self.outages.consecutive(self.target),
            ),
            age=end.age,
            link=self.links + 1,
        )

    def _age(self) -> float:
        return 0.0 if self.outages.began is None else self.now - self.outages.began


def _rule(number: int, fault: Fault) -> Rule:
    return Rule(
        id=f"end-{number}",
        fault=fault.kind,
        codes=(_FIRST_CODE + number,),
        action=fault.action,
        carry=fault.carry,
        drop_media=fault.drop_media,
        because="The service ends its links like this.",
        advice=fault.advice,
        confidence=fault.confidence,
    )
