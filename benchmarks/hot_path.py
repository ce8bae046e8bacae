"""What a frame costs on its way through a session, beside the floor: ``python benchmarks/hot_path.py [--frames N]``.

The floor is a bare loop that encodes the same message, frames it and hands it to the same in-memory stream, or takes it from
there and decodes it. Both run in turns in one process; what counts is the ratio. Microseconds are medians over the rounds,
in brackets the lowest and the highest round.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import anyio
from websockets.frames import Frame, Opcode

import unbroken_gemini
from unbroken.abc import Provider
from unbroken.config import Settings
from unbroken.core.classify import classify
from unbroken.core.journal import Journal
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Ending, Situation, TargetState
from unbroken.events import Audio
from unbroken.messages import Replay
from unbroken.outlet import Outlet
from unbroken.pipe import AudioPipe
from unbroken_gemini.connection import GeminiConnection
from unbroken_gemini.rules import RULES

FRAME = bytes(range(256)) * 2 + bytes(128)
"""20 ms of 16 kHz, loud enough to be speech."""

REPLY = b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"%s"}}]}}}' % (
    b"QUJD" * 640
)
"""40 ms of 24 kHz as the service sends it."""


class _Wire:
    """Stands in for a link: frames what it is given and throws it away."""

    def __init__(self, connection: GeminiConnection, provider: Provider) -> None:
        self.number = 1
        self.open = True
        self.buffered = 0
        self.connection = connection
        self.provider = provider
        self.sent = 0

    def send(self, message: bytes) -> int:
        self.sent += len(Frame(Opcode.TEXT, message).serialize(mask=True))
        return 1

    def activate(self) -> None:
        pass


def _time(work: Callable[[], object], frames: int) -> float:
    began = time.perf_counter()
    for _ in range(frames):
        work()
    return (time.perf_counter() - began) / frames * 1e6


async def _measure(frames: int, rounds: int) -> None:
    provider = unbroken_gemini.provider(unbroken_gemini.target("gemini-3.8-live", api_key="none"), config=None)
    connection = provider.connection()
    assert isinstance(connection, GeminiConnection)
    wire, outlet = _Wire(connection, provider), Outlet(1 << 40)
    pipe = AudioPipe(
        "bench",
        profile=provider.profile,
        settings=Settings(),
        outlet=outlet,
        post=lambda message: None,
        find=lambda number: wire,  # type: ignore[arg-type,return-value]
    )
    pipe.handle(Replay(link=1, target="bench"))

    def down() -> None:
        pipe.deliver(1, connection.receive(REPLY))

    def down_floor() -> None:
        assert isinstance(connection.receive(REPLY)[0], Audio)

    route = (TargetState(name="a", index=0, quota_group="a", credentials="a"),)
    closure = Closure(platform="gemini", ending=Ending(code=1011, reason="Internal error encountered."))
    rules, policy, situation = in_order(RULES), DefaultPolicy(), Situation(targets=route)
    journal = Journal(rate=16_000, bound=60)
    rows: list[tuple[str, Callable[[], object], Callable[[], object] | None]] = [
        ("20 ms of speech up", lambda: pipe.send_audio(FRAME), lambda: wire.send(connection.audio(FRAME))),
        ("40 ms of reply down", down, down_floor),
        ("journal: append", lambda: journal.append(FRAME, 0.0, quiet=False), None),
        ("classify and decide", lambda: policy.decide(classify(closure, rules), situation), None),
    ]
    print(f"{'':24}{'session µs':>24}{'floor µs':>24}{'ratio':>8}")
    for name, work, floor in rows:
        pairs = [(_time(work, frames), _time(floor, frames) if floor else 0.0) for _ in range(rounds)]
        print(f"{name:24}{_spread([a for a, _ in pairs]):>24}", end="")
        if floor:
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"{_spread([b for _, b in pairs]):>24}{ratio:8.2f}", end="")
        print()


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000, help="frames of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default: %(default)s)")
    given = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("anyio", "msgspec", "websockets"))
    print(
        f"Python {platform.python_version()} on {sys.platform}, {packages}; {given.rounds} rounds of {given.frames} frames\n"
    )
    anyio.run(_measure, given.frames, given.rounds)


if __name__ == "__main__":
    main()
