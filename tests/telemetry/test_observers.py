"""Observers hear of what happens in a runtime's sessions, and cannot disturb it. One of them tells OpenTelemetry."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from tests.telemetry.collected import Collected, attributes, lasted

import unbroken
from unbroken.abc import Observer, Profile
from unbroken.core.fleet import Fleet
from unbroken.decisions import TargetState
from unbroken.events import Event
from unbroken.testing.service import serve
from unbroken_gemini.testing import simulator

pytestmark = pytest.mark.anyio

CONFIG: dict[str, object] = {"input_audio_transcription": {}, "output_audio_transcription": {}}
SECRET = "A word that nobody else must hear."


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.fleet: Fleet | None = None
        self.told: list[tuple[str, str, float]] = []

    def started(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def opened(self, session: str, *, targets: Sequence[TargetState], profiles: Sequence[Profile], now: float) -> None:
        assert [profile.model for profile in profiles] == [target.name.partition("/")[2] for target in targets]
        self.told.append((session, "opened", now))

    def event(self, session: str, event: Event, *, now: float) -> None:
        self.told.append((session, type(event).__name__, now))

    def closed(self, session: str, *, now: float) -> None:
        self.told.append((session, "closed", now))


class Clumsy(Observer):
    """Fails at whatever it is told."""

    def opened(self, session: str, *, targets: Sequence[TargetState], profiles: Sequence[Profile], now: float) -> None:
        raise RuntimeError("I was never ready")

    def event(self, session: str, event: Event, *, now: float) -> None:
        raise RuntimeError("I did not catch that")

    def __repr__(self) -> str:
        return "<Clumsy>"


@asynccontextmanager
async def talk(*observers: Observer, faults: Sequence[str]) -> AsyncGenerator[tuple[unbroken.Runtime, list[Event]]]:
    """Two turns of text, ten seconds apart, on a simulated service, in which faults strike."""
    events: list[Event] = []
    async with serve(simulator(), faults=faults, memory=True) as service:
        runtime = unbroken.Runtime(transport=service.transport, random=random.Random(1).random, observers=observers)
        async with runtime:
            session = runtime.open(service.target("gemini-3.8-live"), config=CONFIG, name="caller-7")

            async def caller() -> None:
                for _ in range(2):
                    await session.send_text(SECRET)
                    await anyio.sleep(10)
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller)
                with anyio.fail_after(600):
                    events.extend([event async for event in session])
            yield runtime, events


async def test_all_but_what_is_said_is_told_in_order() -> None:
    notes = Notes()
    async with talk(notes, faults=["reset@12s"]) as (runtime, events):
        pass
    assert notes.fleet is runtime.fleet
    said = {"Audio", "Text", "UserTranscript", "ModelTranscript"}
    names = [type(event).__name__ for event in events]
    assert said & set(names), "something was said"
    assert [what for _, what, _ in notes.told] == ["opened", *(name for name in names if name not in said), "closed"]
    assert {session for session, _, _ in notes.told} == {"caller-7"}
    assert [now for _, _, now in notes.told] == sorted(now for _, _, now in notes.told)


async def test_one_that_fails_is_named_once_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    with caplog.at_level(logging.ERROR, "unbroken"):
        async with talk(Clumsy(), notes, faults=["reset@12s"]) as (_, events):
            pass
    assert [record.getMessage() for record in caplog.records] == ["observer <Clumsy> failed (this is said once)"]
    assert any(isinstance(event, unbroken.Recovered) for event in events)
    assert notes.told[-1][1] == "closed"


async def test_opentelemetry_is_told_of_a_session() -> None:
    collected = Collected()
    faults = ["reset@12s", "http-503@11s", "goaway:3s@15s"]
    async with talk(collected.telemetry, faults=faults) as (_, events):
        pass
    (session,) = collected.spans("realtime.session")
    (connect,) = collected.spans("realtime.connect")
    incidents = collected.spans("realtime.incident")
    recoveries = [event for event in events if isinstance(event, unbroken.Recovered)]
    assert len(recoveries) >= 2
    assert [lasted(span) for span in incidents] == pytest.approx(
        [event.steps.total_ms / 1000 for event in recoveries], abs=1e-5
    )
    assert [attributes(span)["realtime.planned"] for span in incidents] == [event.planned for event in recoveries]
    assert {span.parent.span_id for span in (connect, *incidents) if span.parent is not None} == {session.context.span_id}
    assert lasted(session) == pytest.approx(20.0, abs=1.0)
    points = collected.points()
    assert sum(value for _, value in points["realtime.incidents"]) == len(recoveries)
    assert sum(value[0] for _, value in points["realtime.audio.gap"]) == len(recoveries)
    outages = [event for event in events if isinstance(event, unbroken.OutageBegan)]
    assert sum(value for _, value in points["websocket.closes"]) == len(outages)
    assert points["realtime.sessions"] == [({}, 0)]
    assert {told["realtime.breaker.state"]: value for told, value in points["realtime.target.breaker"]}["closed"] == 1
    everything = str([(span.name, span.attributes, span.events) for span in collected.spans()]) + str(points)
    assert SECRET not in everything
    assert "caller-7" not in str(points)
