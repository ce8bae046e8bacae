"""The supervisor of a session: it owns the machine and the links, asks the policy, and performs what is decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import anyio
import anyio.abc
import msgspec

from unbroken.abc import Transport
from unbroken.actors.actor import Actor
from unbroken.actors.mailbox import Mailbox, Overflow
from unbroken.config import Settings
from unbroken.core.first import first_target
from unbroken.core.fleet import Fleet
from unbroken.core.machine import LIVE, Command, Input, Machine, State
from unbroken.core.outage import Outages, detected, ended_for, recovered, told
from unbroken.core.spares import path_died_at
from unbroken.decisions import Cause, Closure, Decision, Escalate, FailOver, Fault, Finish, Retry, Situation
from unbroken.events import Connected, Waiting
from unbroken.link import Link, LinkMessage
from unbroken.messages import (
    Announced,
    AskPolicy,
    Decided,
    Finished,
    Judged,
    Lag,
    LinkDown,
    LinkStep,
    LinkUp,
    Permit,
    Progress,
    Released,
    Replay,
    SpareSettled,
)
from unbroken.outlet import Outlet
from unbroken.pipe import AudioPipe, PipeMessage
from unbroken.recorder import Recording
from unbroken.route import Configured, Providers
from unbroken.spare import Spares

__all__ = ["SessionSupervisor", "SupervisorMessage"]

SupervisorMessage: TypeAlias = LinkMessage | PipeMessage | Decided | Configured | Finished | SpareSettled

_WORTH_SAYING = 0.5
"""Seconds of a wait below which the caller need not be told."""


class SessionSupervisor(Actor[SupervisorMessage]):
    """Drives one session.

    Args:
        name: the session's name.
        providers: of the route.
        transport: what links go over.
        settings: the session's bounds.
        fleet: the state shared by the runtime's sessions.
        ask: takes a question to the policy actor; false where it cannot take it.
        decide: the built-in decision, taken here where the policy actor is late.
        note: takes in how a spare ended that was set up.
        random: the source of randomness for decisions.
        outlet: where the application's events go.
        recording: what enters the machine, and what is decided, is kept there.
        given_up: called before the application hears that the session is given up.
        watch: has a link watched that is up.
    """

    def __init__(
        self,
        name: str,
        *,
        providers: Providers,
        transport: Transport,
        settings: Settings,
        fleet: Fleet,
        ask: Callable[[AskPolicy], bool],
        decide: Callable[[AskPolicy], Decided],
        note: Callable[[Closure, Situation], Fault],
        random: Callable[[], float],
        outlet: Outlet,
        recording: Recording,
        given_up: Callable[[], object],
        watch: Callable[[Link, Callable[[Judged], object]], object],
    ) -> None:
        super().__init__(Mailbox(name=name, capacity=1024, overflow=Overflow.FAIL))
        self.machine: Machine = recording.machine
        self.recording = recording
        self.outages = Outages(providers.states, settings=settings)
        self.ended = anyio.Event()
        self.link: Link | None = None
        self.target = 0
        self._targets = providers.states
        self._providers = providers.each
        self._within = math.inf
        self._context_of = providers.each[0]
        self._transport = transport
        self._settings = settings
        self._fleet = fleet
        self._ask = ask
        self._decide = decide
        self._random = random
        self._outlet = outlet
        self._given_up = given_up
        self._watch = watch
        self._judged: Judged | None = None
        first = providers.each[0].profile
        self.pipe = AudioPipe(name, profile=first, settings=settings, outlet=outlet, post=self.take, find=self._find)
        self.spares = Spares(
            name,
            targets=providers.states,
            providers=providers.each,
            transport=transport,
            settings=settings,
            fleet=fleet,
            random=random,
            settled=lambda: self.take(SpareSettled()),
            situation=self._situation,
            note=note,
        )
        self._tasks: anyio.abc.TaskGroup | None = None
        self._number = 0
        self._asked: tuple[AskPolicy, float] | None = None
        self._asks = 0
        self._decision: Decision = Retry(carry="history")  # what the application gave the session to begin with
        self._decided_at = 0.0
        self._instead = ""
        self._permit: Permit | None = None
        self._refresh = False
        self._healthy = False
        self._unconfirmed = False
        self._closure = Closure()
        self._path_died_at = -math.inf
        self._planned: bool | None = None
        self._from = ""
        self._connected = False
        self._up: LinkUp | None = None
        self._up_at = 0.0
        self._hung_up_at = 0.0

    def __repr__(self) -> str:
        return f"<SessionSupervisor {self.name!r} {self.machine.state.value}, link {self._number}>"

    # -- the actor ------------------------------------------------------------------------------------------------------

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Begins the first link.

        Args:
            tasks: where links run; they end with it.
        """
        self._tasks = tasks
        self.spares.begin(tasks)
        now = anyio.current_time()
        seen = self._fleet.view(self._situation(now))
        first = first_target(seen)
        self.recording.first(seen, first, now)
        self.target, self._instead = first.target, first.because
        self._permit = self._fleet.admit(seen.targets[self.target], at=now + first.after, now=now)
        self._dial_in_turn(now)

    @property
    def deadline(self) -> float:
        """The machine's."""
        return self.machine.deadline

    def on_deadline(self, now: float) -> None:
        """Lets the machine take the passing of its deadline."""
        link = self.link
        commands = self.machine.expire(
            now,
            sign_at=link.last_sign(now) if link is not None else now,
            output_at=self.pipe.output_at,
            thinking=self._providers[self.target].profile.thinking,
            in_tools=self.pipe.in_tools,
        )
        self._perform(commands, now)

    def take(self, message: SupervisorMessage) -> bool:
        """Puts a message into the mailbox; never waits.

        What the conversation has come to is left out where a flood of it would fill the mailbox (thousands of tool calls in
        one message, an hour of recorded speech sent at once): it moves deadlines only, and the end of a link must find its
        place.
        """
        if isinstance(message, Progress | Announced) and len(self.mailbox) >= self.mailbox.capacity // 2:
            return False
        return self.mailbox.post(message)

    def handle(self, message: SupervisorMessage) -> None:
        """Takes one message."""
        now = anyio.current_time()
        match message:
            case Progress():
                self._progress(message, now)
            case LinkStep(link=number, phase=phase):
                if self._is_current(number):
                    self._feed(Input[phase.upper()], now)
            case LinkUp():
                if self._is_current(message.link):
                    self._up, self._up_at = message, now
                    if self._permit is not None:
                        self._fleet.came_up(self._permit)
                        self._permit = None
                    self._feed(Input.UP, now)
                    self.spares.up()
                    profile = self._providers[self.target].profile
                    if profile.lifetime is not None and profile.resumption:
                        self.machine.announce(max(0.0, profile.lifetime - message.age), now, firm=False)
                    self._leave(now)
            case LinkDown():
                if self._is_current(message.link):
                    self._down(message, now)
            case Announced(link=number, time_left=time_left):
                if self._is_current(number):
                    self.machine.announce(time_left, now)
            case Judged(link=number, cause=cause):
                if self._is_current(number):
                    self._judged = message
                    self._feed(Input.SUSPECTED if cause is None else Input.CONDEMNED, now)
            case Released():
                if self._is_current(message.link):
                    self._released(message)
            case Decided():
                self._decided(message, now)
            case Configured():
                self._configured(message, now)
            case SpareSettled():
                if self.machine.state in LIVE:
                    self._feed(Input.SPARE_SETTLED, now)
            case Lag(paused=paused):
                self.machine.lag(now, paused=paused)
            case Finished():
                self._feed(Input.CLOSE, now)

    def release(self) -> None:
        """Gives back what the session holds of the runtime. Called at its end, whatever that was."""
        self._give_back(failed=False)

    def _give_back(self, *, failed: bool) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._fleet.give_back(permit, now=anyio.current_time(), failed=failed)

    # -- what is taken --------------------------------------------------------------------------------------------------

    def _is_current(self, number: int) -> bool:
        return self.link is not None and number == self.link.number

    def _find(self, number: int) -> Link | None:
        return self.link if self._is_current(number) else None

    def _feed(self, happened: Input, now: float) -> None:
        self._perform(self.machine.feed(happened, now), now)

    def _progress(self, message: Progress, now: float) -> None:
        if message.what == "useful":
            self.machine.useful(self._up_at, now)
        elif self._is_current(message.link) or message.what.startswith("speech"):
            self._feed(Input[message.what.upper()], now)

    def _configured(self, message: Configured, now: float) -> None:
        """Whatever is set up from here on is set up as configured; a link that was set up otherwise is left."""
        self._targets, self._providers = message.providers.states, message.providers.each
        self._within = min(self._within, message.within)
        self.outages.configured(self._targets)
        self.spares.configured(self._targets, self._providers)
        link, provider = self.link, self._providers[self.target]
        if link is None or not self._outdated:
            return
        fits = link.crossing.handle is None or provider.profile.resumes_changed
        if not (fits and link.configure(provider)):
            self._leave(now)

    @property
    def _outdated(self) -> bool:
        """The link was set up otherwise than links are now."""
        return self.link is not None and self.link.provider is not self._providers[self.target]

    def _leave(self, now: float) -> None:
        if self._outdated:
            self.machine.announce(self._within, now)

    def _down(self, message: LinkDown, now: float) -> None:
        self._give_back(failed=self.machine.state is not State.ENDING)
        closure = message.closure
        facts = msgspec.structs.replace(
            closure.facts,
            previous_unconfirmed=self._unconfirmed,
            healthy=self._healthy,
            unserved=bool(self._providers[self.target].advice),
            consecutive=self.outages.consecutive(self.target),
        )
        closure = msgspec.structs.replace(closure, facts=facts)
        self._unconfirmed = not closure.ending.confirmed or (self._unconfirmed and closure.phase != "live")
        if self.machine.state is not State.ENDING:
            if self.outages.began is None:
                self._from, self._planned = self._targets[self.target].name, None
            self.outages.failed(closure, target=self.target, detect=detected(message, self._hung_up_at, now), now=now)
            self.machine.outage(self._began(now))
        self.link = None
        self._closure = closure
        self._path_died_at = path_died_at(closure.ending, silent_for=message.silent_for, now=now)
        self._feed(Input.DOWN, now)

    def _began(self, now: float) -> float:
        return now if self.outages.began is None else self.outages.began

    def _question(self, now: float) -> AskPolicy:
        self._asks += 1
        advice, situation = self._providers[self.target].advice, self._situation(now)
        return AskPolicy(session=self.name, ask_id=self._asks, closure=self._closure, situation=situation, advice=advice)

    def _situation(self, now: float) -> Situation:
        return self.outages.situation(
            self._closure,
            target=self.target,
            has_handle=self._resumable
            and self.pipe.continuity.handle_for(self._targets[self.target].name, now=now) is not None,
            history_tokens=self.pipe.continuity.history_tokens,
            random=self._random(),
            now=now,
        )

    @property
    def _resumable(self) -> bool:
        """What was set up for the context that is left can be resumed by what is set up now."""
        provider = self._providers[self.target]
        return provider is self._context_of or provider.profile.resumes_changed

    def _decided(self, message: Decided, now: float) -> None:
        if self._asked is None or message.ask_id != self._asked[0].ask_id or self.machine.state is not State.DECIDING:
            if message.permit is not None:
                self._fleet.give_back(message.permit, now=now)
            return
        _, asked_at = self._asked
        self._asked = None
        self._permit = message.permit
        self.recording.asked(message, now)
        decision, fault = message.decision, message.fault
        slower = self.pipe.pace.refused() if fault.kind == "input" and message.closure.facts.media_flushed else ""
        said = told(message, self._targets[self.target].name, also=slower)
        self.outages.decided(said, took=now - asked_at)
        self._outlet.put(said)
        asked = message.closure.ending.cause == "update"
        planned = fault.kind == "planned" and (message.closure.facts.useful or asked)
        self._planned = planned if self._planned is None else self._planned
        if planned and not asked:
            self.outages.forgive(self.target)
        self._refresh = fault.kind == "auth" and isinstance(decision, Retry)
        if fault.kind in ("model", "config", "auth") and not isinstance(decision, Retry):
            self.outages.rule_out(self.target, fault.because, configured=fault.kind == "config")
        if fault.kind == "context":
            self.pipe.continuity.shorten()
        self._take(decision, now)

    def _take(self, decision: Decision, now: float) -> None:
        self._decision, self._decided_at = decision, now
        match decision:
            case Escalate():
                self._feed(Input.ESCALATE, now)
            case Finish():
                self._feed(Input.FINISH, now)
            case Retry() | FailOver():
                if isinstance(decision, FailOver):
                    self.target = decision.target
                self._dial_in_turn(now)

    def _dial_in_turn(self, now: float) -> None:
        """Dials if the fleet lets this session begin now, or waits until it may ask again."""
        assert self._permit is not None
        asked = self._permit.not_before
        if asked <= now:
            self._permit = self._fleet.begin(self._permit, now)
        begin, decision = self._permit.not_before, self._decision
        decided = self._decided_at + decision.after if isinstance(decision, Retry | FailOver) else now
        if begin <= now or (decided <= now and self.spares.ready.at(self.target)):  # nothing is dialled: nobody queues
            self._feed(Input.OPEN if self.machine.state is State.NEW else Input.GO, now)
            return
        as_decided = asked > now and begin <= decided
        self._wait(begin, decision.because if as_decided else self._permit.because, now)

    def _wait(self, begin: float, because: str, now: float) -> None:
        self.outages.waited(begin - now)
        self._perform(self.machine.wait(begin, now), now)
        if begin - now < _WORTH_SAYING:
            return
        left = max(0.0, self._settings.patience - (now - self._began(now)))
        name = self._targets[self.target].name
        self._outlet.put(Waiting(seconds=begin - now, target=name, because=because, patience_left=left))

    def _released(self, message: Released) -> None:
        assert self._up is not None
        assert self.link is not None
        target = self._targets[self.target].name
        if not self._connected:
            self._connected = True
            steps = msgspec.structs.replace(self._up.steps, catch_up_ms=message.catch_up * 1000)
            self._outlet.put(Connected(link=message.link, target=target, steps=steps, because=self._instead))
        if self.outages.began is None:
            return
        steps, attempts = self.outages.recovered(self._up.steps, catch_up=message.catch_up)
        came = recovered(message, steps, attempts=attempts, target=target, carry=self.link.crossing.carry)
        planned, other = bool(self._planned), target != self._from
        self._outlet.put(msgspec.structs.replace(came, planned=planned, failed_over=other, spare=self._up.spare))

    # -- what is performed ----------------------------------------------------------------------------------------------

    def _perform(self, commands: Sequence[Command], now: float) -> None:
        for command in commands:
            match command:
                case Command.ADMIT:
                    self._dial_in_turn(now)
                case Command.DIAL:
                    self._dial()
                case Command.ACTIVATE:
                    self._activate()
                case Command.ASK:
                    self._put_question(now)
                case Command.DECIDE:
                    assert self._asked is not None
                    self._decided(self._decide(self._asked[0]), now)
                case Command.HANG_UP:
                    assert self.link is not None
                    self._hung_up_at = now
                    left: Cause = "update" if self._outdated else "handover"
                    self.link.hang_up(left if self.machine.last is Input.HANDOVER_DUE else None)
                case Command.ABORT:
                    self._abort()
                case Command.PING:
                    if self.link is not None:
                        self.link.ping()
                    self.spares.ask()
                case Command.SPARE:
                    self.spares.want(self.target, while_up=self.machine.last is Input.SPARE_DUE)
                case Command.HEALTHY:
                    self._healthy = True
                    self.outages.healthy()
                    self._fleet.healthy(self._targets[self.target], now)
                case Command.ESCALATE:
                    self._escalate()
                case Command.FINISH:
                    self._outlet.end()
                    self.ended.set()

    def _dial(self) -> None:
        assert self._tasks is not None
        provider, target = self._providers[self.target], self._targets[self.target].name
        decision = self._decision
        carry = decision.carry if isinstance(decision, Retry | FailOver) else "nothing"
        carry = "history" if carry == "handle" and not self._resumable else carry
        window = self._targets[self.target].context_tokens
        crossing = self.pipe.continuity.cross(carry, target=target, now=anyio.current_time(), window=window)
        if crossing.carry != "handle":
            self.outages.handle_dropped()
        spare = self.spares.take(self.target, fresh=crossing.handle is None, path_died_at=self._path_died_at)
        self.spares.want_other()
        self._number += 1
        self._healthy, self._within = False, math.inf
        self.outages.dialled()
        self.link = Link(
            self._number,
            provider=provider,
            transport=self._transport,
            crossing=crossing,
            post=self.take,
            receiver=self.pipe,
            refresh=self._refresh,
            spare=spare,
        )
        self._tasks.start_soon(self.link.run, name=f"{self.name} link {self._number}")

    def _activate(self) -> None:
        assert self._up is not None
        assert self.link is not None
        self._context_of = self.link.provider
        self._watch(self.link, self.take)
        self.pipe.mailbox.post(
            Replay(
                link=self._number,
                target=self._targets[self.target].name,
                drop_media=self.outages.media_dropped(),
                round_trip=self._up.round_trip,
            )
        )

    def _put_question(self, now: float) -> None:
        question = self._question(now)
        self._asked = (question, now)
        if not self._ask(question):
            self._decided(self._decide(question), now)

    def _abort(self) -> None:
        link = self.link
        if link is None:
            return
        happened = self.machine.last
        if happened is Input.PHASE_OVERDUE:
            link.abort(link.overdue)
        elif happened is Input.CONDEMNED and self._judged is not None:
            link.abort(self._judged.cause, self._judged.because, useless_for=self._judged.useless_for)
        else:
            link.abort(ended_for(happened, replying=self.pipe.conversation.replying))

    def _escalate(self) -> None:
        self._given_up()
        self._outlet.end(self.outages.given_up(self.machine.last, self._decision))
        self.ended.set()
