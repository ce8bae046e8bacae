"""What had to wait for a link: how fast it goes out, what becomes of it where it is refused, and where it begins."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from tests.session.stage import Call, quiet, speech, stage
from tests.session.test_session import greet, speak, talk, until

import unbroken
from unbroken.config import Settings
from unbroken.events import Event, OutageBegan, Recovered
from unbroken.testing.service import SimulatedService, serve
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Behaviour, SimulatedGemini

pytestmark = pytest.mark.anyio

SECOND = 32_000
"""Bytes."""


@asynccontextmanager
async def gemini(
    pcm: bytes, *, faults: Sequence[str], settings: Settings | None = None
) -> AsyncGenerator[tuple[unbroken.Session, SimulatedService]]:
    """A session on a service that refuses what comes faster than twice real time after a resume."""
    picky = SimulatedGemini(behaviour=Behaviour(burst_rate=2.0, burst_allowance=0.3, setup_time=(0.5, 0.5)))
    async with serve(picky, faults=faults, memory=True) as service:
        service.original(pcm)
        async with unbroken.connect(
            service.target("gemini-3.8-live"), transport=service.transport, settings=settings
        ) as session:
            yield session, service


async def play(session: unbroken.Session, pcm: bytes) -> list[Event]:
    events: list[Event] = []

    async def microphone() -> None:
        await speak(session, pcm)
        await anyio.sleep(16)
        await session.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(microphone)
        events = [event async for event in session]
    return events


async def test_a_refused_burst_is_left_out_once_and_what_follows_goes_slower() -> None:
    pcm = stamp(speech(16_000))
    async with gemini(pcm, faults=["reset@3s", "reset@12s"]) as (session, service):
        events = await play(session, pcm)
        report = service.report()
    outages = [event for event in events if isinstance(event, OutageBegan)]
    recovered = [event for event in events if isinstance(event, Recovered)]
    refused = [event for event in outages if event.fault.kind == "input"]
    assert len(refused) == 1
    assert refused[0].because.endswith("What has to wait for a link goes out at 1.5 times real time from now on.")
    assert [event.lost_ms > 0 for event in recovered] == [True, False]
    assert recovered[1].replayed_ms > 3000
    lost = sum(event.lost_ms for event in recovered)
    assert report.lost_speech_ms <= lost <= report.lost_speech_ms + 1500, "what came before the refusal may be known"
    links = [link for link in report.links if link.heard]
    dropped = links[1].heard[0][0]
    assert all(start > dropped + lost * 16 - 1600 for link in links[2:] for start, _ in link.heard), "it is not tried again"


async def test_at_a_pace_that_the_service_takes_nothing_is_lost() -> None:
    pcm = stamp(speech(12_000))
    async with gemini(pcm, faults=["reset@3s"], settings=Settings(catch_up=1.5)) as (session, service):
        events = await play(session, pcm)
        assert service.report().lost_speech_ms == 0
    assert [event.fault.kind for event in events if isinstance(event, OutageBegan)] == ["network"]
    (recovered,) = (event for event in events if isinstance(event, Recovered))
    assert recovered.lost_ms == 0
    assert recovered.steps.catch_up_ms > 1000 * 3 / 1.5, "three seconds wait, and more is said meanwhile"


@pytest.mark.parametrize(("settings", "times"), [(None, 3.0), (Settings(catch_up=2.0), 2.0)])
async def test_the_lag_is_reported_until_it_is_gone(
    settings: Settings | None, times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(call: Call) -> None:
        await anyio.sleep(4)
        await greet(call)

    async with stage(one=[away]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        assert session.lag == 0
        await speak(session, speech(4000))
        assert session.lag == pytest.approx(4.0, abs=0.05)
        seen = []
        while session.lag:
            seen.append(session.lag)
            session.send_audio(speech(100))
            await anyio.sleep(0.1)
        assert seen == sorted(seen, reverse=True)
        assert len(seen) * 0.1 == pytest.approx(4.0 / (times - 1), abs=0.3)
        assert seen[0] > 3
        connected = await until(session, unbroken.Connected)
        assert connected.steps.catch_up_ms == pytest.approx(4000 / (times - 1), abs=300)
        await anyio.sleep(0.1)
        assert len(it.calls[0].heard) == SECOND * (40 + len(seen)) // 10


async def test_no_silence_is_cut_out_of_what_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = speech(400) + quiet(2600) + speech(500) + quiet(200)

    async def dies(call: Call) -> None:
        call.say(ready=True)
        await call.hear(SECOND)
        call.socket.abort()

    async with stage(one=[dies, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, said)
        recovered = await until(session, unbroken.Recovered)
        await anyio.sleep(3)
        assert bytes(it.calls[1].heard) == said
        assert (recovered.lost_ms, recovered.silence_ms) == (0, 0)


@pytest.mark.parametrize(
    ("said", "begin"),
    [
        (speech(700) + quiet(400) + speech(2000), 800),
        (speech(700) + quiet(100) + speech(2000), 500),
        (speech(2700), 500),
        (speech(300) + quiet(600) + speech(2000), 600),
    ],
    ids=["in a phrase", "in a phrase with short pauses", "in the midst of a long one", "in a pause"],
)
async def test_a_replay_begins_at_a_pause_where_there_is_one(
    said: bytes, begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older than the bound is not replayed, and the rest of a phrase that it has bitten into is not, either."""

    async def away(call: Call) -> None:
        length = len(said) / SECOND
        await anyio.sleep(length - 0.01)
        await greet(call)

    settings = Settings(audio_max_age=len(said) / SECOND - 0.5)
    async with stage(one=[away]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        await speak(session, said)
        await anyio.sleep(3)
        assert bytes(it.calls[0].heard) == said[begin * 32 :]


@pytest.mark.parametrize("handle", ["h", None], ids=["by handle", "by history"])
async def test_an_open_turn_that_the_application_marks_is_opened_again_first(
    handle: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []

    async def dies(call: Call) -> None:
        call.say(ready=True, handle=handle) if handle else call.say(ready=True)
        await call.hear(SECOND)
        call.socket.abort()

    async def keeps_account(call: Call) -> None:
        call.say(ready=True)
        while True:
            came.extend(await call.take())

    async with stage(one=[dies, keeps_account]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Connected)
        session.send_activity("start")
        await speak(session, speech(1500))
        session.send_activity("end")
        await anyio.sleep(3)
        assert [mark["mark"] for mark in it.calls[1].other] == ["start", "end"]
        assert (came[0], came[-1]) == ("mark", "mark")
        assert bytes(it.calls[1].heard) == speech(1500)


async def test_a_marked_turn_of_which_nothing_can_be_replayed_is_not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(call: Call) -> None:
        await anyio.sleep(4.5)
        await greet(call)

    settings = Settings(audio_max_age=2.0)
    async with stage(one=[away]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        session.send_activity("start")
        await speak(session, speech(1000))
        session.send_activity("end")
        await speak(session, quiet(2000))
        session.send_activity("start")
        await speak(session, speech(1000))
        session.send_activity("end")
        await until(session, unbroken.Connected)
        await anyio.sleep(2)
        assert [mark["mark"] for mark in it.calls[0].other] == ["start", "end"]
        assert bytes(it.calls[0].heard).strip(b"\0") == speech(1000).strip(b"\0")
