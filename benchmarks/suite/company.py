"""The contenders' processes: one company per contender, which has imported it, and an actor forked for each call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.suite.evidence import Told

__all__ = ["Actor", "Company", "Unready", "last_words"]

_READY = 90.0  # seconds for imports, or for clients
_WORDS = 2000  # bytes of standard error's end that are looked at


class Unready(Exception):
    """A contender's process ended, or hung, before it was ready; the text says what it said last."""


class Actor:
    """One process that holds one call.

    Attributes:
        told: its events so far.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int) -> None:
        self.told: list[Told] = []
        self._reader = reader
        self._writer = writer
        self._pid = pid

    @property
    def finished(self) -> bool:
        """It said that it has done its part; otherwise it died on the way."""
        return any(told.what == "done" for told in self.told)

    async def say(self, what: Mapping[str, Any]) -> None:
        """Tells it something."""
        with suppress(ConnectionError):  # it is gone, which its silence says too
            self._writer.write(json.dumps(what).encode() + b"\n")
            await self._writer.drain()

    async def listen(self, *, until: str = "") -> None:
        """Keeps what it tells, until it is gone or tells a certain thing."""
        with suppress(ConnectionError):
            async for line in self._reader:
                with suppress(msgspec.DecodeError, msgspec.ValidationError):
                    self.told.append(msgspec.json.decode(line, type=Told))
                    if until and self.told[-1].what == until:
                        return

    async def end(self) -> None:
        """Ends it and what it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Company:
    """A process that has imported a contender, and forks; it starts with the first call.

    Args:
        python: the interpreter of the contender's environment.
        module: the contender's, in `benchmarks.contenders`.
        root: of the checkout.
    """

    def __init__(self, python: Path, module: str, *, root: Path) -> None:
        self._command = (str(python), "-m", "benchmarks.contenders.company", module)
        self._root = root
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def cast(self, folder: Path, *, namespace: str = "") -> Actor:
        """Returns a new process of the contender.

        Args:
            folder: for its socket and its standard error, "errors".
            namespace: the network namespace that it goes to, as a file; "": it stays.

        Raises:
            Unready: there is none.
        """
        async with self._starting:
            if self._process is None:
                self._process = await self._start(folder)
            company = self._process
        born: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.get_running_loop().create_future()

        def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            born.set_result((reader, writer))

        path = folder / "talk"
        server = await asyncio.start_unix_server(met, path, limit=2**20)
        try:
            assert company.stdin is not None
            order = {"socket": str(path), "errors": str(folder / "errors"), "namespace": namespace}
            company.stdin.write(json.dumps(order).encode() + b"\n")
            async with asyncio.timeout(_READY):
                await company.stdin.drain()
                reader, writer = await born
                first = msgspec.json.decode(await reader.readline(), type=Told)
        except (TimeoutError, ConnectionError, msgspec.DecodeError) as failed:
            raise Unready(f"it did not start: {last_words(folder) or failed!r}") from None
        finally:
            server.close()
        return Actor(reader, writer, int(first.said))

    async def close(self) -> None:
        """Ends it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _start(self, folder: Path) -> asyncio.subprocess.Process:
        with (folder / "errors").open("wb") as errors:
            company = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._root,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # an interrupt at the terminal is the runner's to handle
            )
        assert company.stdout is not None
        try:
            async with asyncio.timeout(_READY):
                ready = await company.stdout.readline()
        except TimeoutError:
            ready = b""
        if not ready:
            with suppress(ProcessLookupError):
                company.kill()
            await company.wait()
            raise Unready(f"it cannot be imported: {last_words(folder)}")
        return company


def last_words(folder: Path) -> str:
    """Returns the last line of what a process wrote to "errors"; "": nothing."""
    with suppress(FileNotFoundError):
        lines = (folder / "errors").read_bytes()[-_WORDS:].decode(errors="replace").splitlines()
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
    return ""
