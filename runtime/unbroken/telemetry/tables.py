"""The names: every span and every metric as a row, from which the instruments are made and docs/telemetry.md is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from unbroken.core.budget import COST, TOKENS

__all__ = [
    "BREAKER",
    "BUDGET",
    "CLOSES",
    "CONNECT",
    "FALLBACKS",
    "GAP",
    "INCIDENTS",
    "LOST",
    "METRICS",
    "PHASES",
    "REPLAYED",
    "SESSIONS",
    "SPANS",
    "Metric",
]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        name: as OpenTelemetry has it. Prometheus writes dots as underscores, and adds the unit and ``_total``.
        kind: its instrument.
        unit: in UCUM, as OpenTelemetry asks for.
        meaning: what is counted or measured, and when.
        attributes: by which it is broken down; none of them tells sessions apart.
        buckets: the upper bounds that a histogram advises.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge", "up-down counter"]
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_WHERE: Final = ("gen_ai.provider.name", "gen_ai.request.model")
_GAPS: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_STEPS: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

SESSIONS: Final = Metric(
    name="realtime.sessions", kind="up-down counter", unit="{session}", meaning="sessions that are open"
)
CONNECT: Final = Metric(
    name="realtime.connect.duration",
    kind="histogram",
    unit="s",
    meaning="how long a session's first link took until the user's audio was live",
    attributes=_WHERE,
    buckets=_GAPS,
)
INCIDENTS: Final = Metric(
    name="realtime.incidents",
    kind="counter",
    unit="{incident}",
    meaning="outages that are over, by their first fault, their last decision and what came of them",
    attributes=(*_WHERE, "realtime.fault", "retry.decision", "realtime.outcome"),
)
GAP: Final = Metric(
    name="realtime.audio.gap",
    kind="histogram",
    unit="s",
    meaning="how long the user's audio was not live, for each recovery",
    attributes=(*_WHERE, "realtime.fault"),
    buckets=_GAPS,
)
PHASES: Final = Metric(
    name="realtime.reconnect.phase.duration",
    kind="histogram",
    unit="s",
    meaning="how long each step of a recovery took; the steps of one add up to its gap",
    attributes=(*_WHERE, "realtime.phase"),
    buckets=_STEPS,
)
CLOSES: Final = Metric(
    name="websocket.closes",
    kind="counter",
    unit="{close}",
    meaning="links that ended and should not have",
    attributes=(*_WHERE, "websocket.close.code", "websocket.close.origin"),
)
LOST: Final = Metric(
    name="realtime.audio.lost",
    kind="counter",
    unit="s",
    meaning="speech of users that no link will carry",
    attributes=_WHERE,
)
REPLAYED: Final = Metric(
    name="realtime.audio.replayed",
    kind="counter",
    unit="s",
    meaning="audio of users that was sent again or late",
    attributes=_WHERE,
)
FALLBACKS: Final = Metric(
    name="realtime.policy.fallbacks",
    kind="counter",
    unit="{decision}",
    meaning="decisions that the default policy took in the place of a session's own: it failed, was late or went too far",
    attributes=("realtime.fault",),
)
BUDGET: Final = Metric(
    name="realtime.retry_budget.tokens",
    kind="gauge",
    unit="{token}",
    meaning=f"what the runtime's retry budget holds, of {TOKENS:g}; a retry takes {COST:g}",
)
BREAKER: Final = Metric(
    name="realtime.target.breaker",
    kind="gauge",
    unit="1",
    meaning="1 for the state that a target's circuit breaker is in (closed, open, half-open), 0 for the others",
    attributes=(*_WHERE, "realtime.target", "realtime.breaker.state"),
)

METRICS: Final = (SESSIONS, CONNECT, INCIDENTS, GAP, PHASES, CLOSES, LOST, REPLAYED, FALLBACKS, BUDGET, BREAKER)
"""Every metric."""

SPANS: Final[Mapping[str, str]] = {
    "realtime.session": "a session, from its opening to its end; a root, with a link to the span in which it was opened",
    "realtime.connect": "in a session: the way to its first live link",
    "realtime.incident": "in a session: an outage, from the last sign of life of one link until the user's audio is live"
    " again or the session ends",
    "realtime.phase.*": "in an incident or the first connect: credential, dial, tls, upgrade, setup and catch_up of the link"
    " that came up",
}
"""Every span."""
