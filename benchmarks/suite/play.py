"""One run: a contender's process, the world around it, the fault at its moment, and the counting."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.results import Call
from benchmarks.suite.conversations import TOOL_RESULT
from benchmarks.suite.counting import count
from benchmarks.suite.evidence import Evidence, Told
from benchmarks.suite.heard import Heard
from benchmarks.suite.model import TOOL
from benchmarks.suite.scenarios import BACKUP_MODEL, MODEL, Row
from benchmarks.suite.world import World, world

__all__ = ["Player", "Unready", "play"]

_READY = 90.0  # seconds for imports and clients
_AHEAD = 0.3  # seconds between the word to go and the call's begin
_GRACE = 10.0  # seconds that a contender has to close
_WORDS = 2000  # bytes of standard error's end that are looked at


class Unready(Exception):
    """A contender's process ended, or hung, before it was ready; the text says what it said last."""


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
        if row.backup and not self.backup:
            return "it knows one target only"
        return ""


async def play(player: Player, row: Row, *, seed: int, root: Path, starting: asyncio.Semaphore) -> list[Call]:
    """Plays one run, and returns what came of each of its sessions.

    Args:
        player: who.
        row: what.
        seed: of the dice.
        root: of the checkout.
        starting: holds how many processes may start at once: imports take the processor.

    Raises:
        Unready: the contender's process did not come as far as the call.
    """
    with tempfile.TemporaryDirectory(prefix="unbroken-bench-") as name:
        folder = Path(name)
        async with world(row, seed=seed, folder=folder, backup=player.backup and row.targets > 1) as made:
            evidence = await _perform(player, row, made, folder=folder, root=root, starting=starting)
        return await asyncio.to_thread(count, row, evidence, contender=player.name, settings=player.settings, seed=seed)


async def _perform(
    player: Player, row: Row, made: World, *, folder: Path, root: Path, starting: asyncio.Semaphore
) -> Evidence:
    job = _job(player, row, made, folder)
    clock = asyncio.get_running_loop().time
    async with starting:
        process = await _start(player, folder, root)
        try:
            told = await _until_ready(process, job, folder)
        except BaseException:
            await _end(process)
            raise
    began = clock() + _AHEAD
    striking = asyncio.create_task(made.strike(row, began=began))
    try:
        await _say(process, {"go": began})
        async with asyncio.timeout_at(began + row.conversation.end + _GRACE):
            await _listen(process, told)
            await process.wait()
    except TimeoutError:
        pass
    finally:
        striking.cancel()
        connections, upto = made.connections, round(row.conversation.end * 16_000)
        await _end(process)
    report, knows = made.account(upto=upto)
    return Evidence(
        began=began,
        told=told,
        heard=await asyncio.to_thread(_heard, folder / "heard", began),
        status=process.returncode,
        last_words=_last_words(folder),
        connections=connections,
        struck=made.struck,
        report=report,
        knows_result=knows,
    )


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


async def _start(player: Player, folder: Path, root: Path) -> asyncio.subprocess.Process:
    with (folder / "errors").open("wb") as errors:
        return await asyncio.create_subprocess_exec(
            player.python,
            "-m",
            f"benchmarks.contenders.{player.module}",
            cwd=root,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # so that what it starts ends with it
        )


async def _until_ready(process: asyncio.subprocess.Process, job: Mapping[str, Any], folder: Path) -> list[Told]:
    told: list[Told] = []
    try:
        async with asyncio.timeout(_READY):
            await _say(process, job)
            await _listen(process, told, until="ready")
    except TimeoutError:
        raise Unready(f"it was not ready within {_READY:g} s: {_last_words(folder)}") from None
    if not told or told[-1].what != "ready":
        raise Unready(f"it ended before it was ready: {_last_words(folder)}")
    return told


async def _say(process: asyncio.subprocess.Process, what: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # it is gone, which its output says too
        process.stdin.write(json.dumps(what).encode() + b"\n")
        await process.stdin.drain()


async def _listen(process: asyncio.subprocess.Process, told: list[Told], *, until: str = "") -> None:
    """Keeps what a contender tells, until its output ends or it tells a certain thing."""
    assert process.stdout is not None
    async for line in process.stdout:
        with suppress(msgspec.DecodeError, msgspec.ValidationError):
            told.append(msgspec.json.decode(line, type=Told))
            if until and told[-1].what == until:
                return


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends a process and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _heard(path: Path, began: float) -> dict[int, Heard]:
    heard: dict[int, list[tuple[float, bytes]]] = {}
    with suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            stretch = json.loads(line)
            heard.setdefault(stretch["session"], []).append((stretch["at"] - began, base64.b64decode(stretch["pcm"])))
    return dict(heard)


def _last_words(folder: Path) -> str:
    lines = (folder / "errors").read_bytes()[-_WORDS:].decode(errors="replace").splitlines()
    said: Sequence[str] = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else "it said nothing"
