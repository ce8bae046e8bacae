"""One contender with so many sessions, in a process of its own: what they take of the processor and of memory."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import ssl
import sys
import time
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.cost.sides import SIDES, Send

__all__ = ["Found", "Order", "main"]

FRAME = bytes(range(256)) * 2 + bytes(128)
"""20 ms of 16 kHz, loud enough to be speech."""

EVERY = 0.02
PHASES = 10
LAG_EVERY = 0.01


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        side: whom; see `benchmarks.cost.sides.SIDES`.
        sessions: how many.
        seconds: for how long; 0: only the idle memory.
        port: where the server is.
        ca_file: whom to trust; "": no TLS.
        core: that this process keeps to; None: any.
        traced: count what Python allocates, which slows everything down.
    """

    side: str
    sessions: int
    seconds: float
    port: int
    ca_file: str = ""
    core: int | None = None
    traced: bool = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        cpu: milliseconds of the processor for a second of one session. Where the process could not keep up, for as much of
            that second as was sent and heard.
        carried: sessions that one core would carry so.
        lag: milliseconds by which a timer of 10 ms was late: median, 99th percentile, longest.
        idle: KiB of the process per session that is open and silent, beyond the first.
        active: the same after `seconds` of audio both ways.
    """

    cpu: float = 0.0
    carried: float = 0.0
    lag: tuple[float, float, float] = (0.0, 0.0, 0.0)
    idle: float = 0.0
    active: float = 0.0


def _memory() -> float:
    """KiB that this process holds."""
    gc.collect()
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0] / 1024
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 if pages else 0.0


async def _speak(ways: list[Send], until: float) -> None:
    """Sends a frame on each session every 20 ms, on a tenth of them at a time."""
    loop = asyncio.get_running_loop()
    phases = [ways[n::PHASES] for n in range(PHASES) if ways[n::PHASES]]
    at = loop.time()
    while at < until:
        for phase in phases:
            for send in phase:
                if inspect.isawaitable(sent := send(FRAME)):
                    await sent
            at += EVERY / len(phases)
            await asyncio.sleep(at - loop.time())


async def _lags(until: float, found: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while (now := loop.time()) < until:
        await asyncio.sleep(LAG_EVERY)
        found.append((loop.time() - now - LAG_EVERY) * 1e3)


async def _measure(order: Order) -> Found:
    context = ssl.create_default_context(cafile=order.ca_file) if order.ca_file else None
    if order.traced:
        tracemalloc.start()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        side = SIDES[order.side](stack, tasks, order.port, context)
        ways = await side.open(1)
        await asyncio.sleep(0.2)
        first = _memory()
        ways += await side.open(order.sessions - 1)
        await asyncio.sleep(0.2)
        others = max(1, order.sessions - 1)
        idle = (_memory() - first) / others
        if not order.seconds:
            return _tell(Found(idle=idle))
        loop = asyncio.get_running_loop()
        await _speak(ways, loop.time() + 1)  # what is done once is done
        lags: list[float] = []
        side.heard, until = 0, loop.time() + order.seconds
        gc.collect()
        watching = asyncio.create_task(_lags(until, lags))
        began, cpu = loop.time(), time.process_time()
        await _speak(ways, until)
        took, used = loop.time() - began, time.process_time() - cpu
        await watching
        lags.sort()
        # with more sessions than the core carries, frames go out late and what came is left unread
        kept_up = min(1.0, order.seconds / took, side.heard / (took / 0.04) / order.sessions)
        if not kept_up:
            print(f"{order.side}: nothing was heard of the service in {took:.1f} s", file=sys.stderr, flush=True)
            os._exit(1)
        carried = order.sessions * kept_up / (used / took)
        return _tell(
            Found(
                cpu=1e3 / carried,
                carried=carried,
                lag=(lags[len(lags) // 2], lags[int(len(lags) * 0.99)], lags[-1]),
                idle=idle,
                active=(_memory() - first) / others,
            )
        )


def _tell(found: Found) -> Found:
    print(msgspec.json.encode(found).decode(), flush=True)
    os._exit(0)  # how hundreds of sessions end is nobody's business here


def main() -> None:
    """Reads its order from the command line, and prints what it found."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    if order.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {order.core})
    if order.ca_file:
        os.environ["SSL_CERT_FILE"] = order.ca_file
    if order.side.endswith("uvloop"):
        import uvloop

        uvloop.run(_measure(order))
    else:
        asyncio.run(_measure(order))


if __name__ == "__main__":
    main()
