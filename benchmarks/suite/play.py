"""One run: a contender's process, the world around it, the fault at its moment, and the counting."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.results import Call
from benchmarks.suite.company import Actor, Company, Unready, last_words
from benchmarks.suite.conversations import RATE, TOOL_RESULT
from benchmarks.suite.counting import count
from benchmarks.suite.evidence import Evidence
from benchmarks.suite.heard import Heard
from benchmarks.suite.model import TOOL
from benchmarks.suite.scenarios import BACKUP_MODEL, MODEL, Row
from benchmarks.suite.world import World, world
from unbroken.testing import relay

__all__ = ["Player", "play"]

_READY = 30.0  # seconds for clients
_AHEAD = 0.3  # seconds between the word to go and the call's begin
_LAG_STEP = 0.02
_GRACE = 10.0  # seconds that a contender has to close


class Player(msgspec.Struct, frozen=True, kw_only=True):
    """A contender with its place.

    Attributes:
        name: in tables.
        settings: "default" or "tuned".
        module: its adapter in `benchmarks.contenders`.
        python: the interpreter of its environment.
        backup: it can use a second target.
        tools: it can call tools.
        cannot: scenarios that it has no way to do, and why.
    """

    name: str
    settings: str
    module: str
    python: Path
    backup: bool
    tools: bool
    cannot: Mapping[str, str] = {}

    def excuse(self, row: Row) -> str:
        """Returns why it has no way to do a row; "": it has."""
        if why := self.cannot.get(row.name, ""):
            return why
        if row.tool and not self.tools:
            return "it has no tools"
        if row.packets and (why := _no_packets()):
            return f"not on this machine: {why}"
        if row.backup and not self.backup:
            return "it knows one target only"
        return ""


_no_packets = cache(relay.missing)


async def play(player: Player, row: Row, *, seed: int, company: Company, starting: asyncio.Semaphore) -> list[Call]:
    """Plays one run, and returns what came of each of its sessions.

    Args:
        player: who.
        row: what.
        seed: of the dice.
        company: of the contender.
        starting: holds how many processes may start at once: that takes the processor.

    Raises:
        Unready: the contender's process did not come as far as the call.
    """
    with tempfile.TemporaryDirectory(prefix="unbroken-bench-") as name:
        folder = Path(name)
        async with world(row, seed=seed, folder=folder, backup=player.backup and row.targets > 1) as made:
            async with starting:
                actor = await company.cast(folder, namespace=made.namespace)
                try:
                    await _make_ready(actor, _job(player, row, made, folder), folder)
                except BaseException:
                    await actor.end()
                    raise
            evidence = await _perform(actor, row, made, folder=folder)
        return await asyncio.to_thread(count, row, evidence, contender=player.name, settings=player.settings, seed=seed)


async def _make_ready(actor: Actor, job: Mapping[str, Any], folder: Path) -> None:
    try:
        async with asyncio.timeout(_READY):
            await actor.say(job)
            await actor.listen(until="ready")
    except TimeoutError:
        raise Unready(f"it was not ready within {_READY:g} s: {last_words(folder)}") from None
    if not actor.told or actor.told[-1].what != "ready":
        said = next((told.said for told in actor.told if told.what == "raised"), "") or last_words(folder)
        raise Unready(f"it ended before it was ready: {said}")


async def _perform(actor: Actor, row: Row, made: World, *, folder: Path) -> Evidence:
    """Lets the call begin, strikes, and keeps what there is to know of it."""
    clock = asyncio.get_running_loop().time
    began = clock() + _AHEAD
    striking = asyncio.create_task(made.strike(row, began=began))
    lag = _Lag()
    watching = asyncio.create_task(lag.watch())
    try:
        await actor.say({"go": began})
        async with asyncio.timeout_at(began + row.conversation.end + _GRACE):
            await actor.listen()
    except TimeoutError:
        pass  # it did not come to its end, and says so by what it did not tell
    finally:
        striking.cancel()
        watching.cancel()
        connections = made.connections
        await actor.end()
    report, knows = made.account(upto=round(row.conversation.end * RATE))
    return Evidence(
        began=began,
        told=actor.told,
        heard=await asyncio.to_thread(_heard, folder / "heard", began),
        finished=actor.finished,
        lag=lag.worst,
        last_words=last_words(folder),
        connections=connections,
        struck=made.struck,
        report=report,
        knows_result=knows,
    )


class _Lag:
    """How late this loop is, on which the services live."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _LAG_STEP
            await asyncio.sleep(_LAG_STEP)
            self.worst = max(self.worst, clock() - due)


def _job(player: Player, row: Row, made: World, folder: Path) -> dict[str, Any]:
    (folder / "voice").write_bytes(row.conversation.microphone())
    tool = {
        "name": TOOL,
        "description": "Reserves a table for tonight.",
        "result": TOOL_RESULT,
        "seconds": row.conversation.tool_seconds,
    }
    return {
        "url": made.primary.url,
        "backup": "" if made.backup is None else made.backup.url,
        "ca_file": str(made.ca_file),
        "model": MODEL,
        "backup_model": BACKUP_MODEL,
        "audio": str(folder / "voice"),
        "end": row.conversation.end,
        "asks": [],
        "tool": tool if row.tool else None,
        "settings": player.settings,
        "heard": str(folder / "heard"),
        "session_count": row.sessions,
        "frame": row.frame,
    }


def _heard(path: Path, began: float) -> dict[int, Heard]:
    heard: dict[int, list[tuple[float, bytes]]] = {}
    with suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            stretch = json.loads(line)
            heard.setdefault(stretch["session"], []).append((stretch["at"] - began, base64.b64decode(stretch["pcm"])))
    return dict(heard)
