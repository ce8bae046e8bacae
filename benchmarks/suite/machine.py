"""Where a run takes place: what the machine is, and how steadily it works."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from benchmarks.results import Machine

__all__ = ["here"]

_ROUNDS = 60
_WORK = 20_000


def here() -> Machine:
    """Returns what this machine is; it works for a moment to see how steadily."""
    return Machine(
        system=platform.platform(terse=True),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mib=_memory(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        noise=_noise(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        return 0


def _noise() -> float:
    """Returns how much a fixed piece of work varies: (p95 - p50) / p50 of its time."""
    times: list[float] = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        sum(number * number for number in range(_WORK))
        times.append(time.perf_counter() - began)
    times.sort()
    middle = times[len(times) // 2]
    return round((times[int(0.95 * len(times))] - middle) / middle, 3)
