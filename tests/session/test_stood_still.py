"""A process that was stopped, or got no processor, finds its timers run out: no session may pay for that."""

from __future__ import annotations

import random

import anyio
import pytest
from tests.session.stage import Call, quiet, speech, stage
from tests.session.test_path_health import RoadTransport, outages, speak
from tests.session.test_path_health import talk as talk_on_a_road
from tests.session.test_session import talk, until

import unbroken
from unbroken.config import Deadlines
from unbroken.testing.clock import stand_still

pytestmark = pytest.mark.anyio

D = Deadlines()
STOPPED = 3.0
"""Seconds for which nothing runs."""


async def test_a_healthy_session_is_left_alone_whenever_the_process_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within speech, within pauses, while a reply is due and while it comes; the path goes on and acknowledges meanwhile."""
    dice = random.Random(5)

    async def answers(call: Call) -> None:
        call.say(ready=True, handle="h")
        while True:
            await call.hear(len(call.heard) + 32_000 * 2)
            call.say(transcript="Well?")
            await anyio.sleep(1.0)
            for _ in range(20):
                call.say(audio=100)
                await anyio.sleep(0.1)
            call.say(end=True)

    async def is_stopped() -> None:
        while True:
            await anyio.sleep(dice.uniform(0.0, 3.0))
            stand_still(STOPPED)

    async with stage(one=[answers]) as it:
        transport = RoadTransport(it.transport)
        async with (
            talk_on_a_road(it, transport, monkeypatch=monkeypatch) as (session, seen),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(is_stopped)
            for _ in range(40):
                await speak(session, 1.5, pause=1.5)
            tasks.cancel_scope.cancel()
    assert [type(event).__name__ for event in seen].count("ReplyEnded") > 10
    assert [outage.because for outage in outages(seen)] == []


async def test_a_reply_that_began_in_time_and_is_read_late_is_no_silent_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers_late(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        await anyio.sleep(D.reply - 0.1)
        call.reply()
        stand_still(STOPPED)
        await call.listen()

    async with stage(one=[answers_late]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await session.send_text("Well?")
        seen: list[unbroken.Event] = []
        await until(session, unbroken.ReplyEnded, seen)
    assert [type(event).__name__ for event in seen] == ["Connected", "ReplyBegan", "Audio", "ReplyEnded"]


async def test_a_setup_that_was_answered_in_time_and_is_read_late_is_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sets_up_late(call: Call) -> None:
        await anyio.sleep(D.setup - 0.1)
        call.say(ready=True)
        stand_still(STOPPED)
        await call.listen()

    async with stage(one=[sets_up_late]) as it, talk(it, monkeypatch=monkeypatch) as session:
        seen: list[unbroken.Event] = []
        await until(session, unbroken.Connected, seen)
    assert len(seen) == len(it.calls) == 1


async def test_a_sign_of_life_that_came_in_time_and_is_read_late_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def says_little(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(SAID))
        call.say(words="Well")
        await anyio.sleep(D.sign - 0.1)
        call.say(transcript="Well?")
        stand_still(STOPPED)
        call.reply()
        await call.listen()

    async with stage(one=[says_little]) as it, talk(it, monkeypatch=monkeypatch) as session:
        for at in range(0, len(SAID), 640):
            session.send_audio(SAID[at : at + 640])
            await anyio.sleep(0.02)
        seen: list[unbroken.Event] = []
        await until(session, unbroken.ReplyEnded, seen)
    assert unbroken.OutageBegan not in {type(event) for event in seen}


SAID = speech(400) + quiet(1200)
