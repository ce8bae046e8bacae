"""An hour of a call through a fault every twelve seconds, in virtual time: does what a session holds stay the same?

Counted is every object that can be reached from the session, by `sys.getsizeof`, but for what stands outside of it: the
event loop, modules and classes, and the simulated service with its network, which lives in the same process and keeps an
account of all that it ever heard. The call is long enough for all that has a bound (the journal, 500 turns) to reach it.
"""

from __future__ import annotations

import gc
import random
import sys
import wave
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from itertools import combinations
from statistics import median
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final

import anyio

import unbroken
from benchmarks.results import Cost
from unbroken.events import Recovered
from unbroken.testing.clock import virtual
from unbroken.testing.service import serve
from unbroken_gemini.testing import SimulatedGemini

__all__ = ["growth", "memory_over_an_hour", "sizes"]

FRAME: Final = 640
"""Bytes of 20 ms at 16 kHz."""

KINDS: Final = ("1011", "reset", "fin", "1012", "goaway:3s", "malformed", "1001", "silence:20s")
GOAL: Final = 1.1
"""What is held in the last third, of what was held in the second: an hour's noise is a tenth, as calls have busy minutes."""

_SEED: Final = 3
_SHARED: Final = (AbstractEventLoop, BuiltinFunctionType, CodeType, FunctionType, ModuleType, type)
"""What a session can reach and does not hold."""

_OUTSIDE: Final = (__file__, "testing", "transports.memory", "transports/memory", "transports.server", "transports/server")
"""Parts of the names of modules, and of the files of coroutines, that are the service's side of the network."""


def memory_over_an_hour(minutes: int = 60) -> list[Cost]:
    """Returns what a session holds in the last third of a call, beside the second third: in the first, it fills its bounds.

    Two more figures say how that grows: in an hour and with a recovery, both from the call's first sixth on.

    Args:
        minutes: how long the call is; at least 3.
    """
    name, options = virtual("asyncio")
    held, recoveries = anyio.run(_call, minutes, backend=name, backend_options=options)
    totals = [sum(found.values()) / 1024 for found in held]
    third, sixth = minutes // 3, minutes // 6
    before, last = totals[third:-third], totals[-third:]
    call = f"{minutes} minutes, {recoveries} recoveries"
    hourly = 60 * growth(totals[sixth:])
    per_recovery = hourly * minutes / 60 / max(recoveries, 1)
    return [
        _cost(call, last, floor=median(before), goal=GOAL),
        _cost(f"{call}, growth in an hour", [hourly]),
        _cost(f"{call}, growth with a recovery", [per_recovery]),
    ]


def growth(values: list[float]) -> float:
    """Returns how much values that were taken at equal intervals grow in one interval.

    It is the median over all pairs (Theil and Sen's), so that some busy minutes do not tilt it.

    Args:
        values: at least two.
    """
    pairs = combinations(enumerate(values), 2)
    return median((later - earlier) / (end - begin) for (begin, earlier), (end, later) in pairs)


def _cost(name: str, values: list[float], *, floor: float | None = None, goal: float | None = None) -> Cost:
    return Cost(
        group="memory over an hour of faults",
        name=name,
        contender="unbroken",
        unit="KiB",
        value=median(values),
        least=min(values),
        most=max(values),
        floor=floor,
        goal=goal,
        command="python -m benchmarks.cost --hour",
    )


async def _call(minutes: int) -> tuple[list[Counter[str]], int]:
    """Holds the call. Returns the bytes that were held after each minute, by type, and how often the session recovered."""
    dice = random.Random(_SEED)
    faults = [f"{KINDS[n % len(KINDS)]}@{5 + 12 * n + dice.uniform(0, 4):.2f}s" for n in range(5 * minutes)]
    held: list[Counter[str]] = []
    recoveries = 0
    async with serve(SimulatedGemini(seed=_SEED), faults=faults, memory=True, seed=_SEED) as service:
        route = [service.target("gemini-3.8-live"), service.target("gemini-3.1-flash-live-preview")]
        config: dict[str, Any] = {
            "response_modalities": ["AUDIO"],
            "input_audio_transcription": {},
            "output_audio_transcription": {},
        }
        async with unbroken.Runtime(transport=service.transport, random=dice.random) as runtime:
            session = runtime.open(route, config=config)

            async def speak() -> None:
                pcm, began = _speech(), anyio.current_time()
                for number in range(1, minutes * 60 * 50 + 1):
                    at = (number - 1) * FRAME % len(pcm)
                    session.send_audio(pcm[at : at + FRAME])
                    if number % 3000 == 0:
                        held.append(sizes([session, runtime], outside=_outside))
                    await anyio.sleep_until(began + 0.02 * number)
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(speak)
                async for event in session:
                    recoveries += isinstance(event, Recovered)
    return held, recoveries


def _outside(found: Any) -> bool:
    """Says of an object that no session holds it: it is everybody's, this benchmark's, or the simulated service's."""
    if isinstance(found, _SHARED):
        return True
    code = getattr(found, "cr_code", None) or getattr(found, "ag_code", None) or getattr(found, "gi_code", None)
    where = str(type(found).__module__) if code is None else code.co_filename
    return any(part in where for part in _OUTSIDE)


def _speech() -> bytes:
    with wave.open(str(files("unbroken.drill") / "speech.wav")) as speech:
        pcm: bytes = speech.readframes(speech.getnframes())
    return pcm[: len(pcm) // FRAME * FRAME]


def sizes(roots: list[Any], *, outside: Callable[[Any], bool]) -> Counter[str]:
    """Counts the bytes of all that can be reached from some objects, by their type's name.

    Args:
        roots: where to begin.
        outside: says of an object that neither it nor what is reached only through it counts.
    """
    gc.collect()
    found: Counter[str] = Counter()
    waiting, seen = list(roots), {id(root) for root in roots}
    while waiting:
        one = waiting.pop()
        found[type(one).__qualname__] += sys.getsizeof(one)
        for other in gc.get_referents(one):
            if id(other) not in seen and not outside(other):
                seen.add(id(other))
                waiting.append(other)
    return found
