"""Nothing on the route answers for a while: how soon after that the call is back, in virtual time."""

import random
from typing import Any

import anyio
import pytest
from tests.session.stage import Call, stage

import unbroken
from unbroken import registry
from unbroken.core.fleet import Fleet
from unbroken.transports.websocket import WebSocketTransport

pytestmark = pytest.mark.anyio


async def talk(call: Call) -> None:
    call.say(ready=True)
    call.reply(ms=20, handle=f"handle {call.number}")
    await call.listen()


async def outage(monkeypatch: pytest.MonkeyPatch, *, away: float, seed: int) -> unbroken.Recovered:
    """Cuts a call on a route of two, neither of which can be reached for so many seconds. Returns its recovery."""
    back_at = 0.0
    async with stage(one=[talk], two=[talk]) as it:

        async def connect(*args: Any, **options: Any) -> anyio.abc.ByteStream:
            if anyio.current_time() < back_at:
                raise ConnectionRefusedError("nobody listens")
            return await it.network.connect(*args, **options)

        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        transport = WebSocketTransport(connect=connect, proxy=False)
        dice = random.Random(seed)
        async with unbroken.Runtime(transport=transport, fleet=Fleet(), random=dice.random) as runtime:
            session = runtime.open([it.target("one"), it.target("two")])
            async for event in session:
                match event:
                    case unbroken.ReplyEnded():
                        await anyio.sleep(20)
                        back_at = anyio.current_time() + away
                        it.calls[-1].socket.abort()
                    case unbroken.Recovered():
                        await session.aclose()
                        return event
                    case _:
                        pass
    raise AssertionError("the session ended without a recovery")


@pytest.mark.parametrize(("away", "late"), [(4.0, 2.1), (50.0, 2.1)])
async def test_a_call_is_back_soon_after_anything_on_its_route_is(
    monkeypatch: pytest.MonkeyPatch, away: float, late: float
) -> None:
    for seed in range(4):
        recovered = await outage(monkeypatch, away=away, seed=seed)
        assert away <= recovered.steps.total_ms / 1000 < away + late
        assert recovered.attempts < unbroken.Settings().attempts, "something is left for a longer outage"
