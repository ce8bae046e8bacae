"""The observer of a runtime that tells OpenTelemetry of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, get_args

from opentelemetry import metrics, trace

from unbroken.abc import Observer, Profile
from unbroken.core.budget import COST, PER_SECOND, TOKENS
from unbroken.core.fleet import Fleet
from unbroken.decisions import Breaker, Situation, TargetState, action_of
from unbroken.events import AudioLost, Connected, Event, OutageBegan, Recovered, Steps
from unbroken.telemetry import tables
from unbroken.telemetry.story import Attributes, Incident, SessionStory, close_code, origin
from unbroken.telemetry.tables import Metric

__all__ = ["Telemetry"]

_PROVIDERS: Final = {"gemini": "gcp.gemini", "vertex": "gcp.vertex_ai"}
"""Platforms as OpenTelemetry's conventions for generative AI name them; others go by their own name."""

_LOOK: Final = 0.25
"""Seconds between two looks at the fleet, which takes longer the more sessions wait for their turn."""


class Telemetry(Observer):
    """Tells OpenTelemetry of one runtime's sessions.

    Args:
        tracer_provider: where spans go; None: the global one.
        meter_provider: where metrics go; None: the global one.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("unbroken", tracer_provider=tracer_provider)
        self._instruments = _Instruments(metrics.get_meter("unbroken", meter_provider=meter_provider), self._read)
        self._fleet: Fleet | None = None
        self._targets: dict[str, TargetState] = {}
        self._where: dict[str, Attributes] = {}
        self._stories: dict[str, SessionStory] = {}
        self._seen = _Seen(-math.inf, Situation())

    def __repr__(self) -> str:
        return f"<Telemetry of {len(self._stories)} sessions>"

    def started(self, fleet: Fleet) -> None:
        """The runtime runs."""
        self._fleet = fleet

    def opened(self, session: str, *, targets: Sequence[TargetState], profiles: Sequence[Profile], now: float) -> None:
        """Begins the span of a session."""
        for target, profile in zip(targets, profiles, strict=True):
            self._targets[target.name] = target
            self._where[target.name] = {
                "gen_ai.provider.name": _PROVIDERS.get(profile.platform, profile.platform),
                "gen_ai.request.model": profile.model,
            }
        route = [target.name for target in targets]
        self._stories[session] = SessionStory(self._tracer, session, route=route, where=self._where, now=now)
        self._instruments.sessions.add(1)
        self._look(now)

    def event(self, session: str, event: Event, *, now: float) -> None:
        """Takes in what happens in a session."""
        story = self._stories[session]
        incident = story.event(event, now)
        match event:
            case Connected(target=target, steps=steps):
                self._instruments.connect.record(steps.total_ms / 1000, self._where[target])
            case OutageBegan():
                self._ended(event)
            case Recovered() if incident is not None:
                self._recovered(event, incident)
            case AudioLost(lost_ms=lost_ms):
                self._instruments.lost.add(lost_ms / 1000, self._where[story.target])
            case _:
                pass
        if incident is not None:
            self._over(incident)
        self._look(now)

    def closed(self, session: str, *, now: float) -> None:
        """Ends the span of a session."""
        incident = self._stories.pop(session).closed(now)
        if incident is not None:
            self._over(incident)
        self._instruments.sessions.add(-1)
        self._look(now)

    # -- metrics ----------------------------------------------------------------------------------------------------------

    def _ended(self, event: OutageBegan) -> None:
        ending = event.closure.ending
        told = {**self._where[event.target], "websocket.close.origin": origin(ending)}
        if (code := close_code(ending)) is not None:
            told["websocket.close.code"] = code
        self._instruments.closes.add(1, told)
        if event.fallback:
            self._instruments.fallbacks.add(1, {"realtime.fault": event.fault.kind})

    def _recovered(self, event: Recovered, incident: Incident) -> None:
        where = self._where[event.target]
        told = {**where, "realtime.fault": incident.first.fault.kind}
        self._instruments.gap.record(event.steps.total_ms / 1000, told)
        for name in Steps.__struct_fields__:
            told = {**where, "realtime.phase": name.removesuffix("_ms")}
            self._instruments.phases.record(getattr(event.steps, name) / 1000, told)
        self._instruments.lost.add(event.lost_ms / 1000, where)
        self._instruments.replayed.add(event.replayed_ms / 1000, where)

    def _over(self, incident: Incident) -> None:
        told = {
            **self._where[incident.first.target],
            "realtime.fault": incident.first.fault.kind,
            "retry.decision": action_of(incident.last.decision),
            "realtime.outcome": incident.outcome,
        }
        self._instruments.incidents.add(1, told)

    def _look(self, now: float) -> None:
        """Notes the fleet's state for the readers of metrics, which have threads and clocks of their own."""
        if self._fleet is not None and now - self._seen.at >= _LOOK:
            targets = tuple(self._targets.values())
            self._seen = _Seen(now, self._fleet.view(Situation(now=now, targets=targets)))

    def _read(self, row: Metric) -> Iterable[metrics.Observation]:
        seen = self._seen
        if row is tables.BUDGET:
            yield metrics.Observation(seen.tokens)
            return
        for target in seen.situation.targets:
            state = seen.breaker(target)
            for name in get_args(Breaker):
                told = {**self._where[target.name], "realtime.target": target.name, "realtime.breaker.state": name}
                yield metrics.Observation(int(state == name), told)


class _Seen:
    """The fleet's state as it was when something last happened, and what time alone has made of it since."""

    def __init__(self, at: float, situation: Situation) -> None:
        self.at = at
        self.situation = situation
        self._read_at = time.monotonic()

    @property
    def tokens(self) -> float:
        return min(TOKENS, self.situation.retries_left * COST + self._age * PER_SECOND)

    def breaker(self, target: TargetState) -> Breaker:
        rested = target.usable_after - self.at <= self._age
        return "half-open" if target.breaker == "open" and rested else target.breaker

    @property
    def _age(self) -> float:
        return time.monotonic() - self._read_at


class _Instruments:
    """The instruments, made of their rows."""

    def __init__(self, meter: metrics.Meter, read: Callable[[Metric], Iterable[metrics.Observation]]) -> None:
        def counter(row: Metric) -> metrics.Counter:
            return meter.create_counter(row.name, row.unit, row.meaning)

        def histogram(row: Metric) -> metrics.Histogram:
            return meter.create_histogram(row.name, row.unit, row.meaning, explicit_bucket_boundaries_advisory=row.buckets)

        def gauge(row: Metric) -> None:
            meter.create_observable_gauge(row.name, [lambda _: read(row)], row.unit, row.meaning)

        row = tables.SESSIONS
        self.sessions = meter.create_up_down_counter(row.name, row.unit, row.meaning)
        self.connect = histogram(tables.CONNECT)
        self.incidents = counter(tables.INCIDENTS)
        self.gap = histogram(tables.GAP)
        self.phases = histogram(tables.PHASES)
        self.closes = counter(tables.CLOSES)
        self.lost = counter(tables.LOST)
        self.replayed = counter(tables.REPLAYED)
        self.fallbacks = counter(tables.FALLBACKS)
        gauge(tables.BUDGET)
        gauge(tables.BREAKER)
