"""Sessions that come and go at any moment while a service flaps leave nothing behind that keeps others from dialling."""

from __future__ import annotations

import random

import anyio
import pytest
from tests.session.stage import Call, Script, stage

import unbroken
from unbroken import registry
from unbroken.core.fleet import Fleet

pytestmark = pytest.mark.anyio

CLOSED = unbroken.Settings(patience=8.0)


async def short(call: Call) -> None:
    """Accepts, says something and fails."""
    call.say(ready=True)
    call.reply(ms=20)
    await anyio.sleep(0.2)
    call.socket.close(1011)


async def well(call: Call) -> None:
    call.say(ready=True)
    call.reply(ms=20)
    await call.listen()


async def hangs(call: Call) -> None:
    await call.listen()


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_goes_at_whatever_moment_others_can_dial(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    scripts: list[Script | int] = [short, 503, hangs, 503, well]
    calm = False

    def on_dial() -> Script | int:
        return well if calm else dice.choice(scripts)

    fleet = Fleet(dials_per_second=20, dials_at_a_time=4)
    async with stage(one=on_dial, two=on_dial) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=fleet, random=dice.random) as runtime:

            async def come_and_go() -> None:
                await anyio.sleep(dice.uniform(0, 20))
                route = [it.target("one"), it.target("two")][: dice.choice((1, 2))]
                session = runtime.open(route, settings=CLOSED)
                session.send_audio(bytes(640))
                with anyio.move_on_after(dice.uniform(0, 15)):
                    try:
                        async for _ in session:
                            pass
                    except unbroken.SessionEscalated:
                        pass
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(come_and_go)
            assert fleet.outstanding == 0
            calm = True
            await anyio.sleep(10)
            for host in ("one", "two"):
                session = runtime.open(it.target(host))
                with anyio.fail_after(2):
                    async for event in session:
                        if isinstance(event, unbroken.Connected):
                            break
                await session.aclose()
    assert fleet.outstanding == 0
    assert all(len(dials) == 0 for dials in fleet._endpoints.values())
