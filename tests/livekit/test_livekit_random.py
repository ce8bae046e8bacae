"""Calls through faults by chance: no exception leaves the plugin, no turn hangs, no task is left, and memory stays flat.

``UNBROKEN_LIVEKIT_CALLS=200 pytest tests/livekit/test_livekit_random.py`` runs as many as that; a few run otherwise.
"""

import asyncio
import gc
import logging
import os
import random
from typing import Any

import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

from livekit.agents import llm
from tests.livekit.stage import Stage, call, nothing_left

import unbroken
from unbroken.testing import virtual

psutil: Any = pytest.importorskip("psutil", reason="livekit-agents brings it")

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CALLS = int(os.environ.get("UNBROKEN_LIVEKIT_CALLS", "6"))
FIRST = int(os.environ.get("UNBROKEN_LIVEKIT_FIRST", "0"))
AT_ONCE = 6

ROUTE = ("gemini-3.8-live", "gemini-3.1-flash-live-preview")
SETTINGS = unbroken.Settings(
    patience=6.0, deadlines=unbroken.Deadlines(setup=1.0, sign=1.5, reply=2.0, answer=3.0, upgrade=1.0), healthy_after=1.0
)
KINDS = (
    "1011",
    "1011:Resource has been exhausted (e.g. check quota).",
    "1000",
    "1008:Policy violation",
    "reset",
    "fin",
    "silence:2",
    "malformed",
    "malformed:frame",
    "goaway:1s",
    "http-503",
    "http-429:1",
    "stall-setup:2",
    "down:1",
    "no-reply",
)
MOMENTS = ("live", "setup", "reply", "user", "tool")
KINDS_OF_TURN = ("ask", "speak", "tool", "interrupt", "change", "two", "filler")
LONGEST = 40.0
"""Seconds that a turn may take, all its outages included."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual("asyncio")  # LiveKit knows no other


def drawn(dice: random.Random) -> list[str]:
    """Up to four faults at moments by chance."""
    faults: list[str] = []
    for _ in range(dice.randint(1, 4)):
        kind = dice.choice(KINDS)
        if kind.startswith(("http", "down", "stall")):
            faults += [kind, f"reset@{dice.uniform(0.3, 3):.1f}s"]
        elif dice.random() < 0.5:
            faults.append(f"{kind}@{dice.choice(MOMENTS)}+{dice.uniform(0, 0.6):.2f}s")
        else:
            faults.append(f"{kind}@{dice.uniform(0.1, 5):.1f}s")
    return faults


async def turn(stage: Stage, kind: str, dice: random.Random) -> None:
    session = stage.session
    match kind:
        case "ask":
            await session.generate_reply(instructions="say something")
        case "speak":
            await stage.speak(400)
            await asyncio.sleep(0.5)
        case "tool":
            await session.run(user_input='please call weather {"city": "Rome"}')
        case "change":
            handle = session.generate_reply(instructions="say something long")
            await asyncio.sleep(dice.uniform(0, 0.6))
            await stage.realtime.update_instructions(f"Be as brief as {dice.random()}.")
            await stage.realtime.update_tools(stage.realtime.tools.flatten()[: dice.randint(0, 2)])
            await handle
            await stage.realtime.update_tools(stage.agent.tools)
        case "two":
            handles = [session.generate_reply(instructions=f"say {word}") for word in ("one", "two")]
            await asyncio.sleep(dice.uniform(0, 0.6))
            session.history.add_message(role="user", content="Never mind.")
            await stage.realtime.update_chat_ctx(session.history)
            for handle in handles:
                await handle
        case "filler":
            running: Any = session.run(user_input='please call weather {"city": "Rome"}')
            try:
                await asyncio.sleep(dice.uniform(0, 0.6))
                await session.generate_reply(instructions="say one moment")
            finally:
                await running
        case _:
            handle = session.generate_reply(instructions="say something long")
            await asyncio.sleep(dice.uniform(0, 0.6))
            await session.interrupt()
            await handle


async def held(seed: int) -> str:
    """Holds one call. Returns what was wrong with it; "": nothing."""
    dice = random.Random(seed)
    faults = drawn(dice)
    kind = "start"
    try:
        async with call(route=ROUTE, faults=faults, settings=SETTINGS, seed=seed) as stage:
            for kind in dice.choices(KINDS_OF_TURN, k=4):
                if stage.closed:
                    break
                try:
                    async with asyncio.timeout(LONGEST):
                        await turn(stage, kind, dice)
                except (RuntimeError, llm.RealtimeError):  # the call is over: only an escalation may have ended it
                    if all(error.recoverable for error in stage.errors):
                        raise
            fatal = [error for error in stage.errors if not error.recoverable]
            if len(fatal) > 1 or not all(isinstance(error.error, unbroken.SessionEscalated) for error in fatal):
                return f"{seed}: {fatal} ({faults})"
            if stage.closed and not fatal:
                return f"{seed}: closed without a reason ({faults})"
    except Exception as error:  # because every schedule is played, and reported by its seed
        return f"{seed}: {error!r} in {kind} ({faults})"
    return ""


async def test_calls_through_faults_by_chance(caplog: pytest.LogCaptureFixture) -> None:
    escaped: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    caplog.set_level(logging.ERROR)
    wrong: list[str] = []
    sizes: list[float] = []
    async with nothing_left():
        for first in range(FIRST, FIRST + CALLS, AT_ONCE):
            batch = range(first, min(first + AT_ONCE, FIRST + CALLS))
            wrong += [found for found in await asyncio.gather(*map(held, batch)) if found]
            gc.collect()
            sizes.append(psutil.Process().memory_info().rss / 1e6)
    assert not wrong, "\n".join(wrong)
    # LiveKit ends a run that was refused while the session closed by an exception for which nobody waits
    assert [context for context in escaped if "session closed" not in str(context.get("exception"))] == []
    crashed = [
        record.getMessage() for record in caplog.records if record.name.startswith(("livekit.plugins.unbroken", "unbroken"))
    ]
    assert [message for message in crashed if "given up" not in message] == []
    if len(sizes) >= 20:
        print(f"{CALLS} calls, {sizes[4]:.0f} MB after {5 * AT_ONCE}, {sizes[-1]:.0f} MB at the end")
        assert sizes[-1] - sizes[4] < 40.0, sizes
