"""What OpenTelemetry is told of a stream of events."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from tests.telemetry.collected import Collected, attributes, lasted

from unbroken.abc import Profile
from unbroken.core.fleet import Fleet
from unbroken.decisions import (
    Closure,
    Decision,
    Ending,
    Escalate,
    Facts,
    FailOver,
    Fault,
    FaultKind,
    Finish,
    Retry,
    TargetState,
)
from unbroken.events import AudioLost, Connected, Escalated, OutageBegan, Recovered, ReplyBegan, Steps, Waiting
from unbroken.telemetry import METRICS, observer
from unbroken.telemetry.story import origin

TARGETS = [
    TargetState(name=f"gemini/m{n}", index=n, quota_group=f"m{n}", credentials="gemini", endpoint="one.example")
    for n in range(2)
]
PROFILES = [Profile(platform="gemini", model="m0"), Profile(platform="stage", model="m1")]
FIRST = {"gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "m0"}
SECOND = {"gen_ai.provider.name": "stage", "gen_ai.request.model": "m1"}
STEPS = Steps(
    detect_ms=500,
    decide_ms=2,
    wait_ms=300,
    failed_ms=200,
    dial_ms=20,
    tls_ms=30,
    upgrade_ms=40,
    setup_ms=408,
    catch_up_ms=1500,
)
assert STEPS.total_ms == 3000
RESET = Closure(ending=Ending(cause="reset"), facts=Facts(useful=True), age=60.0, link=1)
BUSY = Closure(phase="setup", ending=Ending(code=1011, reason="their own words"), link=2)


def outage(closure: Closure, kind: FaultKind, decision: Decision, **columns: Any) -> OutageBegan:
    event = OutageBegan(
        link=closure.link,
        target="gemini/m0",
        closure=closure,
        fault=Fault(kind=kind, rule=f"a-{kind}"),
        decision=decision,
        because="So it is.",
    )
    return msgspec.structs.replace(event, **columns)


@pytest.fixture
def collected() -> Collected:
    it = Collected()
    it.telemetry.opened("caller-7", targets=TARGETS, profiles=PROFILES, now=100.0)
    return it


def test_a_recovery_is_a_span_from_the_last_sign_of_life_to_live_audio(collected: Collected) -> None:
    telemetry = collected.telemetry
    telemetry.event("caller-7", outage(RESET, "network", Retry(because="Again."), attempt=1), now=160.5)
    telemetry.event("caller-7", Waiting(seconds=0.3, target="gemini/m0", because="Soon.", patience_left=50.0), now=160.6)
    telemetry.event("caller-7", outage(BUSY, "server", FailOver(target=1, after=0.3), attempt=2, fallback=True), now=160.7)
    recovered = Recovered(
        link=3,
        target="gemini/m1",
        failed_over=True,
        carry="history",
        steps=STEPS,
        attempts=2,
        replayed_ms=2500.0,
        lost_ms=40.0,
    )
    telemetry.event("caller-7", recovered, now=163.0)
    telemetry.closed("caller-7", now=200.0)

    (incident,) = collected.spans("realtime.incident")
    (session,) = collected.spans("realtime.session")
    assert (lasted(incident), lasted(session)) == (3.0, 100.0)
    assert incident.start_time == session.start_time + 60 * 10**9  # type: ignore[operator]
    assert incident.parent is not None
    assert incident.parent.span_id == session.context.span_id
    assert attributes(incident) == {
        **FIRST,
        "gen_ai.response.model": "m1",
        "realtime.target": "gemini/m1",
        "realtime.fault": "network",
        "realtime.rule": "a-network",
        "realtime.outcome": "recovered",
        "realtime.link": 3,
        "realtime.carry": "history",
        "realtime.failed_over": True,
        "realtime.planned": False,
        "realtime.attempts": 2,
        "realtime.reply": "none",
        "realtime.audio.replayed": 2.5,
        "realtime.audio.uncertain": 0.0,
        "realtime.audio.lost": 0.04,
        "realtime.audio.told": 0.0,
        "retry.decision": "failover",
        "websocket.close.origin": "local",
        "websocket.close.phase": "live",
        "websocket.close.cause": "reset",
    }
    assert [(event.name, round((event.timestamp - session.start_time) / 1e9, 6)) for event in incident.events] == [  # type: ignore[operator]
        ("realtime.decision", 60.5),
        ("realtime.waiting", 60.6),
        ("realtime.decision", 60.7),
    ]
    assert dict(incident.events[2].attributes or {}) == {
        "realtime.link": 2,
        "realtime.target": "gemini/m0",
        "realtime.fault": "server",
        "realtime.rule": "a-server",
        "retry.decision": "failover",
        "retry.rule": "",
        "retry.attempt": 2,
        "retry.wait": 0.3,
        "realtime.fallback": True,
        "realtime.because": "So it is.",
        "websocket.close.code": 1011,
        "websocket.close.reason": "their own words",
        "websocket.close.origin": "received",
        "websocket.close.phase": "setup",
    }
    phases = [(span.name.removeprefix("realtime.phase."), lasted(span)) for span in collected.spans("realtime.phase.")]
    assert phases == [("dial", 0.02), ("tls", 0.03), ("upgrade", 0.04), ("setup", 0.408), ("catch_up", 1.5)]
    assert collected.spans("realtime.phase.")[-1].end_time == incident.end_time


def test_a_recovery_is_measured(collected: Collected) -> None:
    telemetry = collected.telemetry
    telemetry.event("caller-7", outage(RESET, "network", Retry()), now=160.5)
    telemetry.event("caller-7", outage(BUSY, "server", FailOver(target=1), fallback=True), now=160.7)
    recovered = Recovered(link=3, target="gemini/m1", steps=STEPS, attempts=2, replayed_ms=2500.0, lost_ms=40.0)
    telemetry.event("caller-7", recovered, now=163.0)
    points = collected.points()
    told = {**FIRST, "realtime.fault": "network", "retry.decision": "failover", "realtime.outcome": "recovered"}
    assert points["realtime.incidents"] == [(told, 1)]
    (gap,) = points["realtime.audio.gap"]
    assert (gap[0], gap[1][:2]) == ({**SECOND, "realtime.fault": "network"}, (1, 3.0))
    phases = {told["realtime.phase"]: value[1] for told, value in points["realtime.reconnect.phase.duration"]}
    assert phases == {
        "detect": 0.5,
        "decide": 0.002,
        "wait": 0.3,
        "failed": 0.2,
        "credential": 0.0,
        "dial": 0.02,
        "tls": 0.03,
        "upgrade": 0.04,
        "setup": 0.408,
        "catch_up": 1.5,
    }
    assert points["websocket.closes"] == [
        ({**FIRST, "websocket.close.origin": "local"}, 1),
        ({**FIRST, "websocket.close.origin": "received", "websocket.close.code": 1011}, 1),
    ]
    assert points["realtime.audio.lost"] == [(SECOND, 0.04)]
    assert points["realtime.audio.replayed"] == [(SECOND, 2.5)]
    assert points["realtime.policy.fallbacks"] == [({"realtime.fault": "server"}, 1)]
    assert points["realtime.sessions"] == [({}, 1)]
    telemetry.closed("caller-7", now=200.0)
    assert collected.points()["realtime.sessions"] == [({}, 0)]


def test_the_first_link_is_told_too(collected: Collected) -> None:
    steps = Steps(credential_ms=5, dial_ms=15, upgrade_ms=30, setup_ms=450, catch_up_ms=100)
    because = "gemini/m0 keeps failing for other sessions and rests."
    collected.telemetry.event("caller-7", Connected(link=1, target="gemini/m1", steps=steps, because=because), now=100.6)
    (connect,) = collected.spans("realtime.connect")
    assert lasted(connect) == 0.6
    assert attributes(connect) == {
        **SECOND,
        "realtime.target": "gemini/m1",
        "realtime.link": 1,
        "realtime.because": because,
    }
    assert [span.name for span in collected.spans("realtime.phase")] == [
        f"realtime.phase.{name}" for name in ("credential", "dial", "upgrade", "setup", "catch_up")
    ]
    (point,) = collected.points()["realtime.connect.duration"]
    assert (point[0], point[1][:2]) == (SECOND, (1, 0.6))
    collected.telemetry.event("caller-7", AudioLost(lost_ms=250.0, because="It waited too long."), now=101.0)
    assert collected.points()["realtime.audio.lost"] == [(SECOND, 0.25)]
    collected.telemetry.closed("caller-7", now=102.0)
    (session,) = collected.spans("realtime.session")
    assert [event.name for event in session.events] == ["realtime.audio.lost"]


def test_an_escalation_is_an_error(collected: Collected) -> None:
    telemetry = collected.telemetry
    fault = Fault(kind="auth", rule="a-auth")
    telemetry.event("caller-7", outage(BUSY, "auth", Escalate(advice="Renew it.")), now=130.0)
    telemetry.event("caller-7", Escalated(because="The key is over.", advice="Renew it.", fault=fault), now=130.1)
    telemetry.closed("caller-7", now=130.1)
    (incident,), (session,) = collected.spans("realtime.incident"), collected.spans("realtime.session")
    for span in (incident, session):
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.status.description == "The key is over."
        assert attributes(span)["error.type"] == "auth"
    assert attributes(incident)["realtime.advice"] == "Renew it."
    assert lasted(incident) == 0.1
    told = {**FIRST, "realtime.fault": "auth", "retry.decision": "escalate", "realtime.outcome": "escalated"}
    assert collected.points()["realtime.incidents"] == [(told, 1)]


def test_a_session_that_fails_by_a_bug_is_an_error_without_an_incident(collected: Collected) -> None:
    collected.telemetry.event("caller-7", Escalated(because="The session's own code failed."), now=130.0)
    collected.telemetry.closed("caller-7", now=130.0)
    (session,) = collected.spans("realtime.session")
    assert (attributes(session)["error.type"], collected.spans("realtime.incident")) == ("_OTHER", [])


def test_a_session_that_is_closed_in_an_outage_says_so(collected: Collected) -> None:
    collected.telemetry.event("caller-7", outage(RESET, "network", Retry(after=5.0)), now=160.0)
    collected.telemetry.closed("caller-7", now=161.0)
    (incident,) = collected.spans("realtime.incident")
    assert (attributes(incident)["realtime.outcome"], lasted(incident)) == ("closed", 1.0)
    told = {**FIRST, "realtime.fault": "network", "retry.decision": "retry", "realtime.outcome": "closed"}
    assert collected.points()["realtime.incidents"] == [(told, 1)]
    assert repr(collected.telemetry) == "<Telemetry of 0 sessions>"


def test_a_session_is_a_root_that_is_linked_to_where_it_was_opened() -> None:
    collected = Collected()
    with collected.tracers.get_tracer("app").start_as_current_span("request") as request:
        collected.telemetry.opened("s", targets=TARGETS[:1], profiles=PROFILES[:1], now=0.0)
        collected.telemetry.closed("s", now=1.0)
    (session,) = collected.spans("realtime.session")
    assert session.parent is None
    assert [link.context.span_id for link in session.links] == [request.get_span_context().span_id]
    assert attributes(session) == {
        **FIRST,
        "gen_ai.operation.name": "realtime",
        "gen_ai.conversation.id": "s",
        "network.protocol.name": "websocket",
        "realtime.route": ("gemini/m0",),
    }


@pytest.mark.parametrize(
    ("ending", "where_from"),
    [
        (Ending(code=1011), "received"),
        (Ending(http_status=503), "received"),
        (Ending(cause="eof"), "local"),
        (Ending(cause="reply_deadline", confirmed=False), "local"),
        (Ending(code=1009, sent_by_us=True), "sent"),
    ],
)
def test_where_an_end_came_from(ending: Ending, where_from: str) -> None:
    assert origin(ending) == where_from


def test_an_error_in_a_message_is_no_close_code(collected: Collected) -> None:
    for ending in (Ending(code=429, reason="in a message"), Ending(http_status=503)):
        closure = msgspec.structs.replace(BUSY, ending=ending)
        collected.telemetry.event("caller-7", outage(closure, "quota", Finish()), now=101.0)
    collected.telemetry.closed("caller-7", now=102.0)
    (incident,) = collected.spans("realtime.incident")
    codes = [dict(event.attributes or {}).get("http.response.status_code") for event in incident.events]
    assert codes == [429, 503]
    assert all("websocket.close.code" not in told for told, _ in collected.points()["websocket.closes"])


# -- the fleet ------------------------------------------------------------------------------------------------------------


def test_the_fleet_is_seen_as_it_was_when_something_last_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

    monkeypatch.setattr(observer, "time", Clock)
    collected, fleet = Collected(), Fleet()
    collected.telemetry.started(fleet)
    collected.telemetry.opened("s", targets=TARGETS, profiles=PROFILES, now=100.0)
    assert collected.points()["realtime.retry_budget.tokens"] == [({}, 500.0)]
    for _ in range(5):
        fleet.note(Fault(kind="server", rule="r"), BUSY, target=TARGETS[0], now=101.0)
    collected.telemetry.event("s", outage(BUSY, "server", Retry()), now=101.0)
    states = {
        (told["realtime.target"], told["realtime.breaker.state"]): value
        for told, value in collected.points()["realtime.target.breaker"]
    }
    assert states == {
        ("gemini/m0", "closed"): 0,
        ("gemini/m0", "open"): 1,
        ("gemini/m0", "half-open"): 0,
        ("gemini/m1", "closed"): 1,
        ("gemini/m1", "open"): 0,
        ("gemini/m1", "half-open"): 0,
    }
    Clock.now = 1000.0
    later = {
        told["realtime.breaker.state"]: value
        for told, value in collected.points()["realtime.target.breaker"]
        if told["realtime.target"] == "gemini/m0"
    }
    assert later == {"closed": 0, "open": 0, "half-open": 1}, "time alone has made it so"


# -- what must not be told ------------------------------------------------------------------------------------------------


def test_no_metric_tells_sessions_or_reasons_apart(collected: Collected) -> None:
    telemetry = collected.telemetry
    telemetry.started(Fleet())
    telemetry.event("caller-7", Connected(link=1, target="gemini/m0", steps=STEPS), now=103.0)
    telemetry.event("caller-7", outage(BUSY, "server", Retry(), fallback=True), now=160.5)
    telemetry.event("caller-7", Recovered(link=2, target="gemini/m0", steps=STEPS, lost_ms=1.0, replayed_ms=1.0), now=163.5)
    telemetry.event("caller-7", ReplyBegan(reply=1, link=2), now=164.0)
    points = collected.points()
    rows = {row.name: row for row in METRICS}
    assert set(points) == set(rows), "every row of the table is told, and nothing else"
    for name, told in points.items():
        for labels, value in told:
            assert set(labels) <= set(rows[name].attributes), name
            assert not {"caller-7", "their own words"} & set(map(str, labels.values()))
            if rows[name].buckets:
                assert value[2] == rows[name].buckets


def test_without_the_package_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from unbroken.errors import MissingExtra\n"
        "try:\n    import unbroken.telemetry\nexcept MissingExtra as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == (
        "unbroken.telemetry needs the package 'opentelemetry', which is not installed: pip install 'unbroken[otel]'\n"
    )
