"""How fast a session is back, beside a handshake by hand: ``python benchmarks/recovery.py [--quick] [--json FILE]``.

A service in a process of its own ends connections by reset, end of stream, 1011, 1000 and 1008; measured is the time from
there to the first of the user's audio that comes to it on the next link, by its own clock. The floor is a client by hand,
over blocking sockets in this process, whose connection is ended in the same way, in turns with the session's: it reads the
end, and does TCP, TLS, upgrade, setup and audio (cold), or setup and audio on another connection that is open (spare). What
counts are the ratios.

A delay is a relay on loopback, through which each byte takes half a round trip. The kernel's own handshake of TCP is delayed
for neither of the two, so that a cold recovery takes four round trips here where it would take five.

Tables in Markdown are written to standard output, with every goal that was missed. Goals are for a machine with nothing else
to do; the exit status says nothing of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import msgspec

import unbroken
import unbroken_gemini
from unbroken.config import Secret, Settings, Spare, Target
from unbroken.core.fleet import Fleet

MODEL = "gemini-3.8-live"
KINDS = ("reset", "fin", "1011 Internal error encountered.", "1000 ", "1008 The operation was aborted.")
NOT_FOUND = f"models/{MODEL} is not found for API version v1beta, or is not supported for bidiGenerateContent."
FRAME = bytes(range(256)) * 2 + bytes(128)
"""20 ms of 16 kHz, loud enough to be speech."""

SETTINGS: dict[str, Any] = {"healthy_after": 0.001, "recoveries": 10**9, "spare_age": 600.0}
"""A link counts as healthy at once: here each fault is to be the first."""


class Peer:
    """The process on the far side."""

    def __init__(self, delay: float) -> None:
        beside = Path(__file__).with_name("recovery_peer.py")
        self.process = subprocess.Popen(
            [sys.executable, str(beside), str(delay)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.ports: dict[str, int] = told["ports"]
        self.tls = ssl.create_default_context(cafile=told["ca_file"])

    def command(self, *words: str | int) -> None:
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), json.dumps(words).encode() + b"\n")

    def target(self, port: str = "first") -> Target:
        url = f"https://127.0.0.1:{self.ports[port]}"
        return unbroken_gemini.target(MODEL, api_key=f"of the {port}", base_url=url, ssl=self.tls, label=port)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def peer(delay: float) -> Iterator[Peer]:
    it = Peer(delay)
    try:
        yield it
    finally:
        it.close()


# -- what is measured -----------------------------------------------------------------------------------------------------


class Ratios(msgspec.Struct, frozen=True, kw_only=True):
    """What recoveries from one kind of fault took, in milliseconds, beside the client by hand.

    Attributes:
        kind: of the fault.
        faults: how many there were.
        session: the session's median and 99th percentile.
        by_hand: those of the client by hand.
        ratio: of the one to the other.
    """

    kind: str
    faults: int
    session: tuple[float, float]
    by_hand: tuple[float, float]
    ratio: tuple[float, float]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Recoveries with one round trip, all cold or all on spares.

    Attributes:
        round_trip_ms: of the emulated path.
        spare: the session had a spare connection, and so had the client by hand; False: both dialled.
        on_a_spare: recoveries that used one.
        kinds: by kind of fault.
        all: of all kinds together.
        steps_ms: medians of the recoveries' steps, by the session's own account.
    """

    round_trip_ms: float
    spare: bool
    on_a_spare: int
    kinds: list[Ratios]
    all: Ratios
    steps_ms: dict[str, float]


class Other(msgspec.Struct, frozen=True, kw_only=True):
    """Something else that goes wrong.

    Attributes:
        what: happens.
        times: how often it was tried.
        p50_ms: milliseconds until it is over, the median.
        worst_ms: the longest.
        tries: dials that failed before, at most.
        goal_ms: it should be over by then, each time; None: only the tries count.
        goal_tries: so many tries at most; None: only the time counts.
    """

    what: str
    times: int
    p50_ms: float
    worst_ms: float
    tries: int
    goal_ms: float | None = None
    goal_tries: int | None = None

    @property
    def missed(self) -> str:
        """Which goal was missed; "": none."""
        if self.goal_ms is not None and self.worst_ms > self.goal_ms:
            return f"{self.what}: {self.worst_ms:.0f} ms, goal {self.goal_ms:.0f}"
        if self.goal_tries is not None and self.tries > self.goal_tries:
            return f"{self.what}: {self.tries} tries, goal {self.goal_tries}"
        return ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, as ``--json`` writes it.

    Attributes:
        date: when it was measured.
        machine: what it was measured on, in one line.
        runs: recoveries beside the client by hand.
        others: what else goes wrong.
        missed: goals that were missed, one line each.
    """

    date: str
    machine: str
    runs: list[Run]
    others: list[Other]
    missed: list[str]


GOAL = (1.1, 1.5)
"""Of the ratios: median and 99th percentile."""


def ratios(kind: str, pairs: Sequence[tuple[float, float]]) -> Ratios:
    """Returns what pairs of seconds, of the session and by hand, come to."""
    one, two = (sorted(pair[side] * 1000 for pair in pairs) for side in (0, 1))
    session, by_hand = (_at(one, 0.5), _at(one, 0.99)), (_at(two, 0.5), _at(two, 0.99))
    ratio = (session[0] / by_hand[0], session[1] / by_hand[1])
    return Ratios(kind=kind, faults=len(pairs), session=session, by_hand=by_hand, ratio=ratio)


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def missed(runs: Sequence[Run], others: Sequence[Other]) -> list[str]:
    """Returns a line for each goal that was missed."""
    lines: list[str] = []
    for run in runs:
        for name, ratio, goal in zip(("p50", "p99"), run.all.ratio, GOAL, strict=True):
            if ratio > goal:
                lines.append(f"{_way(run)}: {name} {ratio:.2f} x by hand, goal {goal:g}")
    return [*lines, *(other.missed for other in others if other.missed)]


def _way(run: Run) -> str:
    return f"{run.round_trip_ms:g} ms round trip, {'on a spare' if run.spare else 'dialled'}"


def markdown(result: Result) -> str:
    """Returns the tables."""
    lines = [f"{result.date}, {result.machine}", ""]
    lines += ["| round trip | | fault | faults | session p50, p99 (ms) | by hand p50, p99 (ms) | ratio p50, p99 |"]
    lines += ["|---|---|---|---:|---:|---:|---:|"]
    for run in result.runs:
        for row in (*run.kinds, run.all):
            figures = " | ".join(f"{a:.2f}, {b:.2f}" for a, b in (row.session, row.by_hand, row.ratio))
            way = "on a spare" if run.spare else "dialled"
            lines.append(f"| {run.round_trip_ms:g} ms | {way} | {row.kind} | {row.faults} | {figures} |")
    lines += ["", "| | recoveries | on a spare | medians of their steps (ms) |", "|---|---:|---:|---|"]
    for run in result.runs:
        steps = ", ".join(f"{name} {value:.2f}" for name, value in run.steps_ms.items() if value >= 0.005)
        lines.append(f"| {_way(run)} | {run.all.faults} | {run.on_a_spare} | {steps} |")
    lines += [
        "",
        "| what else goes wrong | times | p50 (ms) | worst (ms) | tries before | goal |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for other in result.others:
        goal = f"{other.goal_ms:g} ms" if other.goal_ms is not None else f"{other.goal_tries} tries"
        figures = f"{other.times} | {other.p50_ms:.1f} | {other.worst_ms:.1f} | {other.tries}"
        lines.append(f"| {other.what} | {figures} | {goal} |")
    lines += ["", *([f"Missed: {line}" for line in result.missed] or ["No goal was missed."])]
    return "\n".join(lines)


# -- the floor ------------------------------------------------------------------------------------------------------------


class ByHand:
    """A client over blocking sockets, whose connection is cut as the session's is."""

    def __init__(self, it: Peer, setup: bytes, audio: bytes) -> None:
        self.it = it
        self.setup = _frame(setup)
        self.audio = _frame(audio)
        self.live = self.dial()
        self.talk()

    def dial(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.it.ports["first"]))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw = self.it.tls.wrap_socket(plain, server_hostname="127.0.0.1")
        raw.sendall(
            b"GET /by-hand HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += raw.recv(65536)
        return raw

    def talk(self) -> float:
        """Sets the connection up and speaks; returns the seconds from the last strike until the audio came."""
        self.live.sendall(self.setup)
        data = b""
        while b"setupComplete" not in data:
            data += self.live.recv(65536)
        self.live.sendall(self.audio)
        while b"resumable" not in data:
            data += self.live.recv(65536)
        struck, came = map(float, data.rpartition(b'"text": "')[2].split(b'"')[0].split())
        return came - struck

    def recover(self, kind: str, *, on_spare: bool) -> float:
        """Has its connection cut, and returns the seconds until its audio is heard again."""
        spare = self.dial() if on_spare else None
        self.it.command("strike", kind, "by hand")
        with suppress(OSError):
            self.live.recv(65536)
        self.live.close()
        self.live = spare or self.dial()
        return self.talk()


def _frame(data: bytes) -> bytes:
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack("!H", len(data))
    return b"\x81" + size + bytes(4) + data


# -- the session ----------------------------------------------------------------------------------------------------------


class Caller:
    """A session, and what its service says of it."""

    def __init__(self, session: unbroken.Session) -> None:
        self.session = session
        self.told: list[tuple[float, float]] = []
        self.recovered: list[unbroken.Recovered] = []
        self.live_at: list[float] = []
        self.changed = anyio.Event()

    @property
    def has_spare(self) -> bool:
        """A connection to the target lies dialled."""
        spare = self.session._supervisor.spares._spares.get(0)
        return spare is not None and spare.dialled is not None

    def speak(self) -> None:
        """Says a turn of 20 ms, marked as such: the service's transcript then tells what of the audio it has heard."""
        self.session.send_activity("start")
        self.session.send_audio(FRAME)
        self.session.send_activity("end")

    async def listen(self) -> None:
        async for event in self.session:
            match event:
                case unbroken.ModelTranscript(text=text) if text:
                    struck, came = map(float, text.split())
                    self.told.append((struck, came))
                case unbroken.Recovered():
                    self.recovered.append(event)
                    self.live_at.append(time.monotonic())
                case unbroken.Connected():
                    self.live_at.append(time.monotonic())
            self.changed.set()

    async def until(self, done: Callable[[], bool], within: float = 30.0) -> None:
        with anyio.fail_after(within):
            while not done():
                self.changed = anyio.Event()
                await self.changed.wait()


def _encoded(target: Target) -> tuple[bytes, bytes]:
    provider = unbroken_gemini.provider(target, config=None)
    connection = provider.connection()
    return connection.setup(handle=Secret("h" * 36), seeded=False), connection.audio(FRAME)


async def compare(it: Peer, spare: Spare, faults: int, delay: float) -> Run:
    """Returns what the session and the client by hand took, pair by pair for each kind of fault."""
    target = it.target()
    by_hand = ByHand(it, *_encoded(target))
    measured: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    fleet = Fleet(dials_per_second=10**6, dials_at_a_time=10**6)
    async with unbroken.Runtime(fleet=fleet) as runtime, anyio.create_task_group() as tasks:
        caller = Caller(runtime.open(target, settings=Settings(spare=spare, **SETTINGS)))
        tasks.start_soon(caller.listen)
        caller.speak()
        await caller.until(lambda: len(caller.told) == 1)
        for number in range(faults):
            kind = KINDS[number % len(KINDS)]
            least = by_hand.recover(kind, on_spare=spare == "always")
            await anyio.sleep(0.01)
            while spare == "always" and not caller.has_spare:  # noqa: ASYNC110, nobody is told of it
                await anyio.sleep(0.001)
            caller.speak()
            await anyio.sleep(0.002)
            it.command("strike", kind, "the session")
            count = len(caller.told) + 1
            await caller.until(lambda count=count: len(caller.told) == count == 1 + len(caller.recovered))  # type: ignore[misc]
            struck, came = caller.told[-1]
            measured[kind].append((came - struck, least))
        await caller.session.aclose()
    events = caller.recovered
    everything = [pair for pairs in measured.values() for pair in pairs]
    return Run(
        round_trip_ms=delay * 1000,
        spare=spare == "always",
        on_a_spare=sum(event.spare for event in events),
        kinds=[ratios(kind.strip(), pairs) for kind, pairs in measured.items()],
        all=ratios("all", everything),
        steps_ms=_steps(events),
    )


def _steps(events: Sequence[unbroken.Recovered]) -> dict[str, float]:
    names = ("detect", "decide", "wait", "failed", "credential", "dial", "tls", "upgrade", "setup", "catch_up")
    return {name: statistics.median(getattr(event.steps, f"{name}_ms") for event in events) for name in names}


# -- what else goes wrong -------------------------------------------------------------------------------------------------


async def _reset_then_refused(it: Peer) -> float:
    """A reset, then HTTP 503 twice: seconds from the reset to the user's audio on the next link."""
    async with unbroken.Runtime() as runtime, anyio.create_task_group() as tasks:
        caller = Caller(runtime.open(it.target(), settings=Settings(**SETTINGS)))
        tasks.start_soon(caller.listen)
        caller.speak()
        await caller.until(lambda: len(caller.told) == 1)
        await anyio.sleep(0.01)
        caller.speak()
        it.command("refuse", "first", "503", 2)
        it.command("strike", "reset", "the session")
        await caller.until(lambda: len(caller.told) == 2)
        await caller.session.aclose()
    struck, came = caller.told[-1]
    return came - struck


async def _dead_after_reset(it: Peer) -> tuple[float, int]:
    """A reset of the first of two, which then refuses everybody: seconds until the second hears, and tries before."""
    async with unbroken.Runtime() as runtime, anyio.create_task_group() as tasks:
        caller = Caller(runtime.open([it.target(), it.target("second")], settings=Settings(**SETTINGS)))
        tasks.start_soon(caller.listen)
        caller.speak()
        await caller.until(lambda: len(caller.told) == 1)
        await anyio.sleep(0.01)
        caller.speak()
        it.command("refuse", "first", "503", 20)
        it.command("strike", "reset", "the session")
        await caller.until(lambda: len(caller.told) == 2)
        tries = caller.session._supervisor._number - 2
        await caller.session.aclose()
    it.command("clear")
    struck, came = caller.told[-1]
    return came - struck, tries


async def _dead_first(it: Peer, refusal: str, *, breaker_open: bool) -> tuple[float, int]:
    """The first target of two refuses everything: seconds from the opening to a link on the second, and tries before."""
    fleet = Fleet()
    async with unbroken.Runtime(fleet=fleet) as runtime, anyio.create_task_group() as tasks:
        it.command("refuse", "first", refusal, 20)
        await anyio.sleep(0.02)
        route = [it.target(), it.target("second")]
        if breaker_open:
            for _ in range(3):
                caller = Caller(runtime.open(route))
                tasks.start_soon(caller.listen)
                await caller.until(lambda caller=caller: bool(caller.live_at))  # type: ignore[misc]
                await caller.session.aclose()
        began = time.monotonic()
        session = runtime.open(route)
        caller = Caller(session)
        tasks.start_soon(caller.listen)
        caller.speak()
        await caller.until(lambda: bool(caller.live_at))
        took = caller.live_at[0] - began
        tries = session._supervisor._number - 1  # the links before the one that came up
        await session.aclose()
    it.command("clear")
    return took, tries


async def _accept_then_fail(it: Peer) -> tuple[float, int]:
    """The first target accepts and ends at once with 1011: seconds until the second hears the user, and tries before."""
    async with unbroken.Runtime() as runtime, anyio.create_task_group() as tasks:
        it.command("refuse", "first", "accept 1011 Internal error encountered.", 20)
        await anyio.sleep(0.02)
        began = time.monotonic()
        caller = Caller(runtime.open([it.target(), it.target("second")]))
        tasks.start_soon(caller.listen)
        caller.speak()
        await caller.until(lambda: len(caller.told) == 1)
        took = caller.told[0][1] - began
        tries = caller.session._supervisor._number - 1
        await caller.session.aclose()
    it.command("clear")
    return took, tries


async def _moved(it: Peer, spare: Spare) -> tuple[float, int]:
    """The first of two ends a call for good: seconds from there to the user's audio at the second, and tries before."""
    async with unbroken.Runtime() as runtime, anyio.create_task_group() as tasks:
        caller = Caller(runtime.open([it.target(), it.target("second")], settings=Settings(spare=spare)))
        tasks.start_soon(caller.listen)
        await caller.until(lambda: bool(caller.live_at))
        while spare == "ready" and not caller.session._supervisor.spares.ready.at(1):  # noqa: ASYNC110, nobody is told of it
            await anyio.sleep(0.01)
        caller.speak()
        await caller.until(lambda: len(caller.told) == 1)
        await anyio.sleep(0.01)
        caller.speak()
        it.command("strike", f"1008 {NOT_FOUND}", "the session")
        await caller.until(lambda: len(caller.told) == 2)
        tries = caller.session._supervisor._number - 2
        await caller.session.aclose()
    struck, came = caller.told[-1]
    return came - struck, tries


async def moves(it: Peer, times: int, delay: float) -> list[Other]:
    """Returns what moving to the second target takes in the midst of a call: a round trip is the least it can take, half of
    it to hear of the end, and half for the audio to come."""
    away = f"{delay * 1000:.0f} ms away" if delay else "no round trip away"
    ways: tuple[tuple[Spare, str], ...] = (("never", "dialled"), ("ready", "a session ready there"))
    return [
        _other(f"1008 for good, the second {away}, {how}", [await _moved(it, way) for _ in range(times)])
        for way, how in ways
    ]


async def others(it: Peer, times: int) -> list[Other]:
    """Returns what else goes wrong, each tried so many times."""
    refused = [(await _reset_then_refused(it), 2) for _ in range(times)]
    rows = [_other("reset, then HTTP 503 twice", refused, goal_ms=1500.0)]
    both = [await _dead_after_reset(it) for _ in range(times)]
    rows.append(_other("reset, then 503 for good, from the first of two", both, goal_ms=150.0))
    for name, refusal in (("503", "503"), ("401", "401"), ("model not found", f"close 1008 {NOT_FOUND}")):
        both = [await _dead_first(it, refusal, breaker_open=False) for _ in range(times)]
        rows.append(_other(f"{name} from the first of two", both, goal_ms=150.0))
    both = [await _dead_first(it, "503", breaker_open=True) for _ in range(times)]
    rows.append(_other("503 from the first of two, its breaker open", both, goal_ms=30.0))
    both = [await _accept_then_fail(it) for _ in range(times)]
    rows.append(_other("accepted, then 1011, from the first of two", both, goal_tries=3))
    return rows


def _other(
    what: str, both: Sequence[tuple[float, int]], *, goal_ms: float | None = None, goal_tries: int | None = None
) -> Other:
    took = sorted(seconds * 1000 for seconds, _ in both)
    return Other(
        what=what,
        times=len(both),
        p50_ms=_at(took, 0.5),
        worst_ms=took[-1],
        tries=max(count for _, count in both),
        goal_ms=goal_ms,
        goal_tries=goal_tries,
    )


async def measure(faults: int, times: int, delays: Sequence[float]) -> Result:
    """Measures everything.

    Args:
        faults: of each run.
        times: of what else goes wrong.
        delays: round trips, seconds.
    """
    runs: list[Run] = []
    rows: list[Other] = []
    ways: tuple[Spare, ...] = ("never", "always")
    for delay in delays:
        with peer(delay / 2) as it:
            runs.extend([await compare(it, spare, faults, delay) for spare in ways])
            rows.extend(await moves(it, times, delay))
    with peer(0.0) as it:
        rows.extend(await others(it, times))
    packages = ", ".join(f"{name} {version(name)}" for name in ("unbroken", "anyio", "msgspec", "websockets"))
    return Result(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=f"Python {platform.python_version()} on {sys.platform}, {os.cpu_count()} cores, {packages}, TLS on loopback",
        runs=runs,
        others=rows,
        missed=missed(runs, rows),
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--faults", type=int, default=1000, help="faults of each run, a fifth of each kind (default: %(default)s)"
    )
    parser.add_argument("--times", type=int, default=20, help="times of what else goes wrong (default: %(default)s)")
    parser.add_argument("--rtt", type=float, nargs="*", default=[0.0, 40.0], help="round trips, in ms (default: 0 40)")
    parser.add_argument("--quick", action="store_true", help="ten faults, to see that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON, too")
    given = parser.parse_args()
    faults, times = (10, 1) if given.quick else (given.faults, given.times)
    result = anyio.run(measure, faults, times, [rtt / 1000 for rtt in given.rtt])
    print(markdown(result))
    if given.json:
        Path(given.json).write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


if __name__ == "__main__":
    main()
