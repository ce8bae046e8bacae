"""How fast a session is back, beside a handshake by hand: ``python benchmarks/recovery.py [--faults N] [--quick]``.

A service in a process of its own ends connections by reset, end of stream, 1011, 1000 and 1008; measured is the time from
there to the first of the user's audio that comes to it on the next link, by its own clock. The floor is a client by hand,
over blocking sockets in this process, whose connection is ended in the same way, in turns with the session's: it reads the
end, and does TCP, TLS, upgrade, setup and audio (cold), or setup and audio on another connection that is open (spare). What
counts are the ratios.

A delay is a relay on loopback, through which each byte takes half a round trip. The kernel's own handshake of TCP is delayed
for neither of the two, so that a cold recovery takes four round trips here where it would take five.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio

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
    return connection.setup(handle=Secret("h" * 36), history=()), connection.audio(FRAME)


async def compare(it: Peer, spare: Spare, faults: int, delay: float) -> dict[str, list[tuple[float, float]]]:
    """Returns for each kind of fault the seconds that the session and the client by hand took, pair by pair."""
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
            await anyio.sleep(0.01 + (5 * delay if spare == "always" else 0.0))
            caller.speak()
            await anyio.sleep(0.002)
            it.command("strike", kind, "the session")
            count = len(caller.told) + 1
            await caller.until(lambda count=count: len(caller.told) == count == 1 + len(caller.recovered))  # type: ignore[misc]
            struck, came = caller.told[-1]
            measured[kind].append((came - struck, least))
        await caller.session.aclose()
    events = caller.recovered
    print(f"  {len(events)} recoveries, {sum(event.spare for event in events)} on a spare; medians in ms: {_steps(events)}")
    return measured


def _steps(events: Sequence[unbroken.Recovered]) -> str:
    names = ("detect", "decide", "wait", "failed", "credential", "dial", "tls", "upgrade", "setup", "catch_up")
    medians = {name: statistics.median(getattr(event.steps, f"{name}_ms") for event in events) for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items() if value >= 0.005)


def _table(measured: dict[str, list[tuple[float, float]]]) -> None:
    heads = f"{'session ms: p50':>17}{'p99':>8}{'by hand ms: p50':>17}{'p99':>8}{'ratio: p50':>12}{'p99':>7}"
    print(f"  {'fault':38}{'faults':>7}{heads}")
    rows = [*measured.items(), ("all", [pair for pairs in measured.values() for pair in pairs])]
    for kind, pairs in rows:
        one, two = sorted(a * 1000 for a, _ in pairs), sorted(b * 1000 for _, b in pairs)
        figures = [_at(one, 0.5), _at(one, 0.99), _at(two, 0.5), _at(two, 0.99)]
        print(
            f"  {kind:38}{len(pairs):7}{figures[0]:17.2f}{figures[1]:8.2f}{figures[2]:17.2f}{figures[3]:8.2f}"
            f"{figures[0] / figures[2]:12.2f}{figures[1] / figures[3]:7.2f}"
        )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


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


async def others(it: Peer, times: int) -> None:
    print(f"\nWhat else goes wrong, {times} times each; ms")
    _row("reset, then HTTP 503 twice (goal 1500)", [(await _reset_then_refused(it), 2) for _ in range(times)])
    for name, refusal in (("503", "503"), ("401", "401"), ("model not found", f"close 1008 {NOT_FOUND}")):
        both = [await _dead_first(it, refusal, breaker_open=False) for _ in range(times)]
        _row(f"{name} from the first of two (goal 150)", both)
    both = [await _dead_first(it, "503", breaker_open=True) for _ in range(times)]
    _row("503 from the first of two, its breaker open (goal 30)", both)
    both = [await _accept_then_fail(it) for _ in range(times)]
    _row("accepted, then 1011, from the first of two (at most 3 tries)", both)


def _row(what: str, both: Sequence[tuple[float, int]]) -> None:
    took = sorted(seconds * 1000 for seconds, _ in both)
    tries = max(count for _, count in both)
    print(f"  {what:62} p50 {_at(took, 0.5):8.1f}  max {took[-1]:8.1f}  tries before: {tries}")


async def _measure(faults: int, times: int, delays: Sequence[float]) -> None:
    for delay in delays:
        with peer(delay / 2) as it:
            ways: tuple[tuple[Spare, str], ...] = (("never", "a handshake"), ("always", "one setup on an open connection"))
            for spare, floor in ways:
                print(f"\n{delay * 1000:g} ms round trip, spare {spare!r}, beside {floor} by hand")
                _table(await compare(it, spare, faults, delay))
    with peer(0.0) as it:
        await others(it, times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--faults", type=int, default=1000, help="faults of each run, a fifth of each kind (default: %(default)s)"
    )
    parser.add_argument("--times", type=int, default=20, help="times of what else goes wrong (default: %(default)s)")
    parser.add_argument("--rtt", type=float, nargs="*", default=[0.0, 40.0], help="round trips, in ms (default: 0 40)")
    parser.add_argument("--quick", action="store_true", help="ten faults, to see that it runs")
    given = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("anyio", "msgspec", "websockets"))
    print(f"Python {platform.python_version()} on {sys.platform}, {os.cpu_count()} cores, {packages}, TLS on loopback")
    faults, times = (10, 1) if given.quick else (given.faults, given.times)
    anyio.run(_measure, faults, times, [rtt / 1000 for rtt in given.rtt])


if __name__ == "__main__":
    main()
