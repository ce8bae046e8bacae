"""Many calls at once, in some processes: what is measured is time, so that there may be too many."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.livekit.call import held
from benchmarks.livekit.contenders import load
from benchmarks.livekit.measured import Outcome
from benchmarks.livekit.scenarios import Scenario
from benchmarks.livekit.table import DOUBTFUL

__all__ = ["held_all"]

Run = tuple[str, Scenario]  # a contender's file, and the row
_AGAIN = 12  # calls at most that are held a second time


def held_all(
    rows: Sequence[Scenario],
    contenders: Sequence[str],
    *,
    known: Sequence[Outcome] = (),
    model: str,
    processes: int,
    at_once: int,
    log: bool,
) -> list[Outcome]:
    """Holds every call; those in which the machine was too slow a second time, with fewer at once.

    Args:
        rows: the scenarios.
        contenders: their files' names.
        known: outcomes of an earlier run; only the doubtful ones of them are held again.
        model: the model's name.
        processes: how many.
        at_once: calls at once in each.
        log: shows what the contenders log.

    Returns:
        The outcomes, row by row; where it is interrupted, those of the rows that are whole.

    Raises:
        KeyboardInterrupt: it is interrupted before any row is.
    """
    runs: list[Run] = [(name, row) for row in rows for name in contenders]
    runs.sort(key=lambda run: -run[1].conversation.end)  # calls of one length go together, the long ones first
    names = {load(name).NAME: name for name in contenders}
    found = {(names[outcome.contender], outcome.scenario): outcome for outcome in known}
    runs = [run for run in runs if (run[0], run[1].name) not in found or _is_doubtful(found[run[0], run[1].name])]
    try:
        _hold_all(runs, found, model=model, processes=processes, at_once=at_once, log=log)
    except KeyboardInterrupt:
        held_rows = [row.name for row in rows if all((name, row.name) in found for name in contenders)]
        print(f"\ninterrupted; {len(held_rows)} rows of {len(rows)} are whole", file=sys.stderr)
        if not held_rows:
            raise
        rows = [row for row in rows if row.name in held_rows]
    return [found[name, row.name] for row in rows for name in contenders]


def _hold_all(
    runs: list[Run],
    found: dict[tuple[str, str], Outcome],
    *,
    model: str,
    processes: int,
    at_once: int,
    log: bool,
) -> None:
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        for size in (at_once, 2):
            batches = [runs[start : start + size] for start in range(0, len(runs), size)]
            jobs = [pool.submit(_hold, batch, model, log=log) for batch in batches]
            for batch, job in zip(batches, jobs, strict=True):
                for (name, row), outcome in zip(batch, job.result(), strict=True):
                    before = found.get((name, row.name))
                    if before is None or outcome.lag_ms < before.lag_ms:
                        found[name, row.name] = outcome
                print(f"{len(found)} calls", end="\r", file=sys.stderr)
            runs = [run for run in runs if _is_doubtful(found[run[0], run[1].name])][:_AGAIN]
    finally:
        pool.shutdown(cancel_futures=True)


def _is_doubtful(outcome: Outcome) -> bool:
    return outcome.lag_ms > DOUBTFUL


def _hold(batch: Sequence[Run], model: str, *, log: bool) -> list[Outcome]:
    """In a process of its own: holds some calls at once."""
    logging.basicConfig(level=logging.INFO)
    logging.disable(logging.NOTSET if log else logging.CRITICAL)  # what the contenders have to say of faults is long

    async def run() -> list[Outcome]:
        together = asyncio.Barrier(len(batch))
        return await asyncio.gather(*(held(load(name), row, model=model, together=together) for name, row in batch))

    return asyncio.run(run())
