"""One session as spans. They are timed by the session's clock, so they come out the same in virtual time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context

from unbroken.decisions import Closure, Ending, FailOver, Retry, action_of
from unbroken.events import AudioLost, Connected, Escalated, Event, OutageBegan, Recovered, Steps, Waiting

__all__ = ["Attributes", "Incident", "SessionStory", "close_code", "origin"]

Attributes: TypeAlias = Mapping[str, str | bool | int | float]

_OF_THE_LINK: Final = ("credential", "dial", "tls", "upgrade", "setup", "catch_up")
"""The steps that follow each other at the end of an outage; the others are sums over all that was tried."""


class Incident(msgspec.Struct):
    """An outage.

    Attributes:
        first: the fault that began it, with the decision.
        last: the last one of it.
        at: when the first was known, in seconds on the session's clock.
        marks: what happened, with its time: the events of its span.
        outcome: what came of it; "closed": the application closed the session meanwhile.
    """

    first: OutageBegan
    last: OutageBegan
    at: float
    marks: list[tuple[float, str, Attributes]]
    outcome: Literal["recovered", "escalated", "closed"] = "closed"


class SessionStory:
    """Tells one session's spans.

    Args:
        tracer: makes the spans.
        session: the session's name.
        route: the names of its targets.
        where: the attributes of a target, by its name.
        now: seconds on the session's clock.

    Attributes:
        target: the name of the target that carries the session, or is going to.
    """

    def __init__(
        self, tracer: trace.Tracer, session: str, *, route: Sequence[str], where: Mapping[str, Attributes], now: float
    ) -> None:
        self._tracer = tracer
        self._where = where
        self._opened, self._anchor = now, time.time_ns()
        self.target = route[0]
        self._incident: Incident | None = None
        around = trace.get_current_span().get_span_context()
        self._span = tracer.start_span(
            "realtime.session",
            context=Context(),  # it outlives what it was opened in, and is linked to that instead
            links=[trace.Link(around)] if around.is_valid else [],
            start_time=self._anchor,
            attributes={
                **where[route[0]],
                "gen_ai.operation.name": "realtime",
                "gen_ai.conversation.id": session,
                "network.protocol.name": "websocket",
                "realtime.route": tuple(route),
            },
        )

    def event(self, event: Event, now: float) -> Incident | None:
        """Takes in what happened; returns the outage that is over by that."""
        match event:
            case Connected():
                self._connected(event, now)
            case OutageBegan():
                self._outage(event, now)
            case Waiting(seconds=seconds, target=target, because=because):
                waits: Attributes = {"retry.wait": seconds, "realtime.target": target, "realtime.because": because}
                self._mark(now, "realtime.waiting", waits)
            case AudioLost(lost_ms=lost_ms, because=because):
                lost: Attributes = {"realtime.audio.lost": lost_ms / 1000, "realtime.because": because}
                self._span.add_event("realtime.audio.lost", lost, self._ns(now))
            case Recovered():
                return self._recovered(event, now)
            case Escalated():
                return self._escalated(event, now)
            case _:
                pass
        return None

    def closed(self, now: float) -> Incident | None:
        """Ends the session's span; returns the outage that was going on."""
        incident = self._end_incident("closed", now, {}) if self._incident is not None else None
        self._span.end(self._ns(now))
        return incident

    # -- what happened ----------------------------------------------------------------------------------------------------

    def _connected(self, event: Connected, now: float) -> None:
        self.target = event.target
        told = {**self._where[event.target], "realtime.target": event.target, "realtime.link": event.link}
        if event.because:
            told["realtime.because"] = event.because
        begin = now - event.steps.total_ms / 1000
        span = self._child("realtime.connect", self._span, begin, told)
        self._steps(span, event.steps, now)
        span.end(self._ns(now))

    def _outage(self, event: OutageBegan, now: float) -> None:
        if self._incident is None:
            self._incident = Incident(first=event, last=event, at=now, marks=[])
        self._incident.last = event
        self._mark(now, "realtime.decision", _decided(event))

    def _recovered(self, event: Recovered, now: float) -> Incident | None:
        self.target = event.target
        if self._incident is None:
            return None
        told: Attributes = {
            "gen_ai.response.model": self._where[event.target]["gen_ai.request.model"],
            "realtime.target": event.target,
            "realtime.link": event.link,
            "realtime.carry": event.carry,
            "realtime.failed_over": event.failed_over,
            "realtime.planned": event.planned,
            "realtime.attempts": event.attempts,
            "realtime.reply": event.reply,
            "realtime.audio.replayed": event.replayed_ms / 1000,
            "realtime.audio.uncertain": event.uncertain_ms / 1000,
            "realtime.audio.lost": event.lost_ms / 1000,
            "realtime.audio.told": event.told_ms / 1000,
        }
        return self._end_incident("recovered", now, told, steps=event.steps)

    def _escalated(self, event: Escalated, now: float) -> Incident | None:
        told = {"realtime.because": event.because, "realtime.advice": event.advice}
        failed = trace.Status(trace.StatusCode.ERROR, event.because)
        self._span.add_event("realtime.escalated", told, self._ns(now))
        self._span.set_attribute("error.type", event.fault.kind if event.fault is not None else "_OTHER")
        self._span.set_status(failed)
        return self._end_incident("escalated", now, told, status=failed) if self._incident is not None else None

    def _mark(self, now: float, name: str, told: Attributes) -> None:
        if self._incident is not None:
            self._incident.marks.append((now, name, told))
        else:
            self._span.add_event(name, told, self._ns(now))

    # -- spans ------------------------------------------------------------------------------------------------------------

    def _end_incident(
        self,
        outcome: Literal["recovered", "escalated", "closed"],
        now: float,
        told: Attributes,
        *,
        steps: Steps | None = None,
        status: trace.Status | None = None,
    ) -> Incident:
        """Tells of a whole outage at its end, since how long it took to be noticed is known only then."""
        incident, self._incident = self._incident, None
        assert incident is not None
        incident.outcome = outcome
        first = incident.first
        begin = incident.at if steps is None else min(incident.at, now - steps.total_ms / 1000)
        span = self._child("realtime.incident", self._span, begin, self._where[first.target])
        span.set_attributes(
            {
                "realtime.fault": first.fault.kind,
                "realtime.rule": first.fault.rule,
                "realtime.outcome": outcome,
                "retry.decision": action_of(incident.last.decision),
                **_close(first.closure),
                **told,
            }
        )
        for at, name, attributes in incident.marks:
            span.add_event(name, attributes, self._ns(at))
        if steps is not None:
            self._steps(span, steps, now)
        if status is not None:
            span.set_attribute("error.type", incident.last.fault.kind)
            span.set_status(status)
        span.end(self._ns(now))
        return incident

    def _steps(self, parent: trace.Span, steps: Steps, now: float) -> None:
        lengths = {name: float(getattr(steps, f"{name}_ms")) / 1000 for name in _OF_THE_LINK}
        at = now - sum(lengths.values())
        for name, length in lengths.items():
            if length > 0.0:
                span = self._child(f"realtime.phase.{name}", parent, at, {"realtime.phase": name})
                span.end(self._ns(at + length))
            at += length

    def _child(self, name: str, parent: trace.Span, begin: float, told: Attributes) -> trace.Span:
        context = trace.set_span_in_context(parent, Context())
        return self._tracer.start_span(name, context=context, start_time=self._ns(begin), attributes=told)

    def _ns(self, now: float) -> int:
        return self._anchor + round((now - self._opened) * 1e9)


def origin(ending: Ending) -> Literal["received", "sent", "local"]:
    """Returns where the end of a WebSocket came from: a close frame or HTTP status that was "received"; a close frame that
    was "sent" first; or "local", where this side found the connection broken or broke it off."""
    if ending.sent_by_us:
        return "sent"
    return "local" if ending.code is None and ending.http_status is None else "received"


def close_code(ending: Ending) -> int | None:
    """Returns the close code that came; None: none came. Below 1000 stand errors that the service sent as a message."""
    return ending.code if ending.code is not None and ending.code >= 1000 else None


def _decided(event: OutageBegan) -> Attributes:
    decision = event.decision
    told: dict[str, str | bool | int | float] = {
        "realtime.link": event.link,
        "realtime.target": event.target,
        "realtime.fault": event.fault.kind,
        "realtime.rule": event.fault.rule,
        "retry.decision": action_of(decision),
        "retry.rule": decision.rule,
        "retry.attempt": event.attempt,
        "realtime.fallback": event.fallback,
        "realtime.because": event.because,
        **_close(event.closure),
    }
    if isinstance(decision, Retry | FailOver):
        told["retry.wait"] = decision.after
    return told


def _close(closure: Closure) -> dict[str, str | bool | int | float]:
    ending = closure.ending
    told: dict[str, str | bool | int | float] = {
        "websocket.close.origin": origin(ending),
        "websocket.close.phase": closure.phase,
    }
    if (code := close_code(ending)) is not None:
        told["websocket.close.code"] = code
    status = ending.http_status if ending.http_status is not None else ending.code if code is None else None
    if status is not None:
        told["http.response.status_code"] = status
    if ending.reason:
        told["websocket.close.reason"] = ending.reason
    if ending.cause is not None:
        told["websocket.close.cause"] = ending.cause
    return told
