"""Whole drills on the simulated service, in virtual time: what a minute of faults costs, and that nothing is lost."""

import io
import os

import pytest
from rich.console import Console

import unbroken
from unbroken.drill.audio import read_speech
from unbroken.drill.plan import make_plan
from unbroken.drill.play import play
from unbroken.drill.report import DrillReport, Row
from unbroken.events import Recovered

pytestmark = pytest.mark.anyio


async def drilled(*faults: str, seed: int | None = None, seconds: float | None = None, harsh: bool = False) -> DrillReport:
    plan = make_plan(speech=read_speech(), faults=faults, seed=seed, seconds=seconds, harsh=harsh)
    return await play(plan, Console(file=io.StringIO(), width=120), memory=True)


def seen(row: Row) -> list[tuple[str, str]]:
    return [(step.fault, step.action) for step in row.outage.steps] if row.outage is not None else []


def recovered(row: Row) -> Recovered:
    assert row.outage is not None
    assert row.outage.recovered is not None
    return row.outage.recovered


async def test_the_default_drill_keeps_every_promise_and_decides_by_the_table() -> None:
    report = await drilled()
    assert report.broken == ()
    assert report.service is not None
    assert report.service.lost_ms == 0
    assert report.service.speech_ms > 15_000
    assert report.unprovoked == ()
    assert {row.fault: seen(row) for row in report.rows} == {
        "1011": [("server", "retry")],
        "goAway, 1 s ahead": [("planned", "retry")],
        "1011 while the model speaks": [("server", "retry")],
        "reset while the user speaks": [("network", "retry")],
        "end of stream, no close frame": [("network", "retry")],
        "goAway, 3 s ahead": [("planned", "retry")],
        "goAway while the model speaks": [("planned", "retry")],
        "malformed message": [("protocol", "retry")],
        "reset during a tool call": [("network", "retry")],
        "reset, then handle refused (1007)": [("network", "retry"), ("handle", "retry")],
        "silence: half-open": [("hung", "failover")],
        "silent model": [("hung", "retry")],
        "reset, then HTTP 503 twice": [("network", "retry"), ("server", "failover")],
        "reset, then HTTP 429, Retry-After 1": [("network", "retry"), ("quota", "failover")],
        "accepted, then 1011, thrice": [("server", "retry"), ("server", "retry"), ("server", "failover")],
        "reset, then no setupComplete": [("network", "retry"), ("hung", "failover")],
        "reset, then no such model (1008)": [("network", "retry"), ("model", "failover")],
        "reset, then quota spent (1011)": [("network", "retry"), ("quota", "failover")],
    }
    carries = {row.fault: recovered(row).carry for row in report.rows}
    assert carries["1011"] == "handle"
    assert carries["reset, then handle refused (1007)"] == "history"
    assert carries["reset, then quota spent (1011)"] == "history"
    replies = {row.fault: recovered(row).reply for row in report.rows}
    assert replies["goAway while the model speaks"] == "none", "it was left once the reply had ended"
    assert replies["silent model"] == "owed"
    assert report.replies.continued > 0
    assert (report.calls.called, len(report.calls.answers)) == (1, 1)
    assert (report.service.results_missing, report.service.results_twice) == (0, 0)


async def test_the_drill_passes_with_every_pitfall_on() -> None:
    report = await drilled(harsh=True)
    assert report.broken == ()
    assert all(row.survived for row in report.rows)


@pytest.mark.parametrize("seed", range(1, 41 if os.environ.get("UNBROKEN_LONG_TESTS") else 3))
async def test_random_drills_lose_nothing(seed: int) -> None:
    """Two schedules by chance; ``UNBROKEN_LONG_TESTS=1`` plays forty."""
    report = await drilled(seed=seed)
    assert (report.broken, seed) == ((), seed)
    assert report.seed == seed


async def test_a_strike_is_timed_where_it_struck() -> None:
    report = await drilled("1011@reply+0.2s@2s", seconds=10)
    row = report.rows[0]
    assert row.due == 2.0
    assert row.at is not None
    assert row.at > 2.5
    assert row.link == 1
    assert recovered(row).reply == "continued"
    assert report.replies.cut == 1


async def test_a_fault_of_the_service_as_a_whole_needs_no_outage() -> None:
    report = await drilled("latency:40ms:10ms@1s", "quiet-audio@2s", seconds=8)
    assert report.broken == ()
    assert [(row.link, row.outage, row.survived) for row in report.rows] == [(0, None, True)] * 2


async def test_what_cannot_strike_breaks_the_drill() -> None:
    report = await drilled("1011@#90000@1s", seconds=4)
    assert report.broken == ("Strike 1 (1011@#90000) never struck.",)


async def test_a_session_that_is_given_up_is_told() -> None:
    report = await drilled("1007:API key not valid. Please pass a valid API key.@setup@2s", seconds=5)
    assert report.broken[0].startswith("The session was given up: ")
    assert not report.rows[0].survived


@pytest.mark.parametrize("cut", ["reset", "1011:You exceeded your current quota"])
async def test_a_fault_of_a_tool_call_has_one_made_and_its_answer_arrives_once(cut: str) -> None:
    """By the handle, and told as history to another model."""
    report = await drilled(f"{cut}@tool+0.2s@3s", seconds=8)
    assert report.broken == ()
    assert report.rows[0].at is not None
    assert len(report.calls.answers) >= 1
    assert report.service is not None
    assert (report.service.results_missing, report.service.results_twice) == (0, 0)


async def test_a_refusal_that_a_spare_takes_is_no_outage_and_every_other_strike_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = unbroken.Settings(healthy_after=2.0, audio_max_age=60.0, spare="auto")
    monkeypatch.setattr("unbroken.drill.play._SETTINGS", settings)
    report = await drilled("goaway:50s@3s", "http-503@3.5s", "goaway:49s@7.5s", "1011@18s", seconds=24)
    assert report.broken == ()
    assert report.unprovoked == ()
    rows = {row.fault: row for row in report.rows}
    assert recovered(rows["goaway:50s"]).spare, "the reset that came with the refusal was answered on a spare"
    assert seen(rows["goaway:50s"]) == [("network", "retry")]
    assert rows["http-503"].outage is None, "it struck the next spare"
    assert seen(rows["1011"]) == [("server", "retry")]
