"""A session cancelled at every single step: no task, no socket and no permit is left behind."""

from __future__ import annotations

import asyncio

import anyio
import pytest
import trio
from tests.session.stage import Call, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.core.fleet import Fleet
from unbroken.testing import cancel_everywhere

pytestmark = pytest.mark.anyio

SAID = speech(60) + quiet(20)


async def dies(call: Call) -> None:
    call.say(ready=True)
    await call.hear(len(SAID))
    call.say(transcript="Hello?")
    call.reply(ms=40, handle="h")
    await call.take()
    call.socket.abort()


async def serves(call: Call) -> None:
    call.say(ready=True)
    call.reply(ms=40)
    await call.listen()


def tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


async def test_cancelled_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    stages: list[Stage] = []

    async def scenario() -> None:
        async with stage(one=[dies, 503, serves]) as it:
            stages.append(it)
            monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
            async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
                session = runtime.open(it.target())
                session.send_audio(SAID)
                async for event in session:
                    match event:
                        case unbroken.ReplyEnded():
                            await session.send_text("Go on.")
                        case unbroken.Recovered():
                            break

    before = tasks()

    def check() -> None:
        assert fleet.outstanding == 0, "every permit is back"
        assert stages[-1].network.open_ends == 0, "no socket is left"
        assert tasks() == before, "no task is left"

    runs = await cancel_everywhere(scenario, check=check)
    assert runs > 100


async def test_cancelled_while_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(call: Call) -> None:
        call.say(ready=True)
        await anyio.sleep_forever()

    fleet = Fleet()
    stages: list[Stage] = []

    async def scenario() -> None:
        async with stage(one=[deaf]) as it:
            stages.append(it)
            monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
            async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
                session = runtime.open(it.target())
                async for event in session:
                    if isinstance(event, unbroken.Connected):
                        break
                await session.aclose()

    def check() -> None:
        assert fleet.outstanding == 0
        assert stages[-1].network.open_ends == 0

    assert await cancel_everywhere(scenario, check=check) > 50


async def test_cancelled_at_every_step_with_a_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """One spare is taken, one refused, one closed unnoticed, and one left behind."""

    async def gone(call: Call) -> None:
        call.socket.abort()

    fleet = Fleet()
    stages: list[Stage] = []

    async def scenario() -> None:
        async with stage(one=[dies, dies, gone, serves, 503, serves]) as it:
            stages.append(it)
            monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
            async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=lambda: 0.5) as runtime:
                session = runtime.open(it.target(), settings=unbroken.Settings(spare="always"))
                session.send_audio(SAID)
                recoveries = 0
                async for event in session:
                    match event:
                        case unbroken.ReplyEnded():
                            await anyio.sleep(0.5)
                            session.send_audio(SAID)
                        case unbroken.Recovered():
                            recoveries += 1
                            if recoveries == 2:
                                break

    before = tasks()

    def check() -> None:
        assert fleet.outstanding == 0, "every permit is back"
        assert stages[-1].network.open_ends == 0, "no socket is left"
        assert tasks() == before, "no task is left"

    runs = await cancel_everywhere(scenario, check=check)
    assert runs > 150
