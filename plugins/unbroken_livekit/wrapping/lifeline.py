"""Keeps one child up: begins it, sees its end, has that judged, and does what was decided."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from livekit.agents import llm
from livekit.agents.telemetry import tracer
from opentelemetry import trace

from unbroken.config import Settings
from unbroken.decisions import Escalate, Facts, FailOver, Finish, Retry, action_of
from unbroken_livekit.log import logger
from unbroken_livekit.wrapping.child import Child, End, stop
from unbroken_livekit.wrapping.closures import closure_of, platform_of
from unbroken_livekit.wrapping.supervision import Dial, Judged, Supervision

__all__ = ["Host", "Lifeline"]


_LABEL: Final = "lk.fallback.label"
_INDEX: Final = "lk.fallback.index"
_RECOVERY: Final = "lk.fallback.recovery"
_RETRIES: Final = "lk.retry_count"
"""LiveKit's own names of the attributes; livekit-agents 1.7 has no constants for them."""


class Host(Protocol):
    """What the session does for its children."""

    @property
    def has_history(self) -> bool:
        """There are turns that another child could be told."""
        ...

    def prepare(self, *, history: bool, media: bool) -> None:
        """Says what the next child is told.

        Args:
            history: the conversation.
            media: the user's audio that is kept; False: it is what the peer refused, and is lost.
        """
        ...

    async def welcome(self, child: Child) -> None:
        """Opens a child and tells it all that it has to know."""
        ...

    def running(self, child: Child) -> bool:
        """A tool runs that a child waits for."""
        ...

    async def lost(self, child: Child) -> None:
        """A child has ended; what it owed is taken back."""
        ...

    def recovered(self, child: Child, *, seconds: float) -> None:
        """A child is up after an outage of so many seconds."""
        ...

    def given_up(self, why: str) -> None:
        """No child will follow."""
        ...


class Lifeline:
    """The line of a session's children, one after the other.

    Args:
        models: the route, in order of preference.
        names: the models' names in decisions and logs.
        supervision: judges.
        settings: the session's bounds.
        host: the session.
        activated: told of the index of the model that serves from now on.

    Attributes:
        child: the one that serves or comes up; None: none does.
        target: index of the model that served last.
    """

    def __init__(
        self,
        models: Sequence[llm.RealtimeModel],
        *,
        names: Sequence[str],
        supervision: Supervision,
        settings: Settings,
        host: Host,
        activated: Callable[[int], None],
    ) -> None:
        self._models = tuple(models)
        self._names = tuple(names)
        self._supervision = supervision
        self._settings = settings
        self._host = host
        self._activated = activated
        self._reporters: set[type[llm.RealtimeModel]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._count = 0
        self._span: trace.Span | None = None
        self.child: Child | None = None
        self.target = 0

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Runs until the policy gives the session up."""
        first = self._supervision.first(self._now)
        target, judged, after = first.target, None, first.after
        if first.because:
            logger.info("unbroken: begins with %s: %s", self._names[target], first.because)
        while True:
            dial = self._supervision.dial(judged, target, self._now, after=after)
            begun = False
            try:
                await self._turn(dial)
                begun = True
                child = await self._serve(target, dial)
            finally:
                dial.over(self._now, failed=begun)
            judged = self._judge(child)
            match judged.decision:
                case Escalate(advice=advice):
                    self._give_up(judged.because, advice)
                    return
                case Finish():
                    self._give_up(judged.because, "")
                    return
                case FailOver(target=elsewhere, after=wait, carry=carry):
                    target, after = elsewhere, wait
                    self._host.prepare(history=carry != "nothing", media=True)
                case Retry(after=wait, carry=carry, drop_media=refused):
                    after = wait
                    self._host.prepare(history=carry != "nothing", media=not refused)

    async def _turn(self, dial: Dial) -> None:
        while True:  # the fleet may put a dial off when its time has come
            await asyncio.sleep(max(0.0, dial.not_before - self._now))
            if dial.begin(self._now):
                return

    async def _serve(self, target: int, dial: Dial) -> Child:
        """Has one child serve until it ends."""
        self._count += 1
        self.target = target
        self._activated(target)
        child = self.child = Child(
            self._count, target, self._models[target], deadlines=self._settings.deadlines, now=self._now
        )
        welcome = asyncio.create_task(self._welcome(child), name="unbroken_welcome")
        try:
            await self._until_ended(child, dial)
        finally:
            await stop([welcome])
            self.child = None
            child.welcomed = False
            child.end(now=self._now)
            child.leave()
            self._closed_by(asyncio.create_task(child.close(), name="unbroken_close_child"))
        await self._host.lost(child)
        return child

    async def _welcome(self, child: Child) -> None:
        try:
            await self._host.welcome(child)
        except Exception as error:  # because it is the plugin's code that runs, and its failure is the child's
            child.end(now=self._now, error=error)

    async def _until_ended(self, child: Child, dial: Dial) -> None:
        deadlines = self._settings.deadlines
        tick = min(deadlines.reply, deadlines.answer) / 8  # no deadline is set that is nearer, so none is seen too late
        healthy = False
        while not child.over:
            now = self._now
            if child.up_at is None and self._overdue_setup(child, now):
                continue
            if child.up_at is not None and child.reported:
                self._reporters.add(type(child.model))
            if child.up_at is not None:
                self._came_up(child, dial)
            if not healthy and self._is_healthy(child, now):
                healthy = True
                self._supervision.healthy(child.target, now)
            due = child.watch.due(running=self._host.running(child))
            if due is not None and due[0] <= now:
                child.end(now=now, cause=due[1])
                return
            wait = tick if due is None else min(tick, due[0] - now)
            signs: list[asyncio.Future[Any]] = [child.ended] if child.came.done() else [child.ended, child.came]
            await asyncio.wait(signs, timeout=wait, return_when=asyncio.FIRST_COMPLETED)

    def _is_healthy(self, child: Child, now: float) -> bool:
        return child.up_at is not None and child.useful and now - child.up_at >= self._settings.healthy_after

    def _overdue_setup(self, child: Child, now: float) -> bool:
        """Looks after a child that was not seen to be connected. Returns whether it was ended."""
        deadlines = self._settings.deadlines
        if now - child.began < deadlines.dial + deadlines.setup:
            return False
        if type(child.model) in self._reporters:
            child.end(now=now, cause="setup_deadline")
            return True
        child.connected(now)  # a plugin that reports no connection is taken to have one
        return False

    def _came_up(self, child: Child, dial: Dial) -> None:
        dial.up()
        began = self._supervision.outage_began
        if began is None:
            return
        tries = self._supervision.recovered()
        seconds = self._now - began
        logger.info("unbroken: recovered on %s after %.0f ms, attempt %d", self._names[child.target], seconds * 1000, tries)
        if self._span is not None:
            self._span.set_attributes(
                {
                    _LABEL: self._names[child.target],
                    _INDEX: child.target,
                    _RECOVERY: True,
                    _RETRIES: tries,
                }
            )
            self._span.end()
            self._span = None
        self._host.recovered(child, seconds=seconds)

    def _judge(self, child: Child) -> Judged:
        end: End = child.ended.result()
        now, name = self._now, self._names[child.target]
        if self._span is None:
            self._span = tracer.start_span("realtime_fallback")
            self._span.set_attributes({_RECOVERY: False})
        closure = closure_of(
            end.error,
            cause=end.cause,
            phase="live" if child.up_at is not None else "setup",
            platform=platform_of(child.model.provider),
            model=child.model.model,
            age=end.at - child.began,
            facts=Facts(
                useful=child.useful,
                replied=child.replied,
                history_sent=self._host.has_history,
                tool_pending=self._host.running(child),
                healthy=self._is_healthy(child, end.at),
            ),
        )
        judged = self._supervision.judge(
            closure,
            target=child.target,
            detect=0.0,
            has_history=self._host.has_history,
            random=random.random(),
            now=now,
        )
        logger.warning(
            "unbroken: %s ended by %s (%s, rule %s), so %s: %s",
            name,
            closure.ending.describe(),
            judged.fault.kind,
            judged.fault.rule,
            _told(judged, self._names),
            judged.because,
            extra={"fault": judged.fault.kind, "decision": action_of(judged.decision), "attempt": judged.situation.attempt},
        )
        return judged

    def _give_up(self, because: str, advice: str) -> None:
        why = f"{because} Advice: {advice}" if advice else because
        if self._span is not None:
            self._span.set_status(trace.StatusCode.ERROR)
            self._span.end()
            self._span = None
        self._host.given_up(why)

    def _closed_by(self, closing: asyncio.Task[None]) -> None:
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Waits until all children are closed; what takes too long is given up."""
        if self._span is not None:
            self._span.end()
            self._span = None
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=self._settings.deadlines.close + 1.0)
            await stop(late)

    def __repr__(self) -> str:
        return f"<Lifeline of {', '.join(self._names)}: {self.child!r}>"


def _told(judged: Judged, names: Sequence[str]) -> str:
    """Returns what is done, in a few words."""
    match judged.decision:
        case Escalate():
            return "the session is given up"
        case Finish():
            return "the session is over"
        case FailOver(target=target, after=after):
            return f"it fails over to {names[target]} in {after:.2f} s"
        case retry:
            return f"it is tried again in {retry.after:.2f} s"
