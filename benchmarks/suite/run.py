"""A whole run: every contender in every row, several calls at a time, in an order that a seed has shuffled."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from benchmarks.results import Call
from benchmarks.suite.company import Unready
from benchmarks.suite.play import Player
from benchmarks.suite.scenarios import Row

__all__ = ["AGAIN", "DOUBTFUL", "Order", "Watcher", "hold", "orders"]

DOUBTFUL: Final = 250.0
"""Milliseconds: where a contender's loop was later than this, the machine had too much to do, and the run is held again."""

AGAIN: Final = 0.05
"""Of all runs, so many at most are held again."""

_LONG: Final = 20.0  # seconds from which a call is begun early, so that no long one is left alone at the end


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One run to be held.

    Attributes:
        player: who.
        row: what.
        seed: of its dice.
    """

    player: Player
    row: Row
    seed: int

    def call(self, *, cannot: str = "", raised: str = "") -> Call:
        """Returns a call that says what is to be held, or why it was not."""
        return Call(
            contender=self.player.name,
            settings="tuned" if self.player.settings == "tuned" else "default",
            scenario=self.row.name,
            seed=self.seed,
            cannot=cannot,
            outcome="failed" if raised else None,
            raised=raised,
        )


class Watcher(Protocol):
    """Is told how a run goes; `benchmarks.report.progress.Progress` is one."""

    def began(self, call: Call) -> None:
        """A call is being held."""

    def ended(self, call: Call) -> None:
        """It ended."""


def orders(players: Sequence[Player], rows: Sequence[Row], *, runs: int, seed: int) -> list[Order]:
    """Returns what is to be held, in the order in which it is begun.

    Args:
        players: who takes part.
        rows: what is played.
        runs: how often; a row may need fewer.
        seed: shuffles the order, and is in each run's own seed. A run's number means the same dice for every contender.
    """
    wanted = [
        Order(player=player, row=row, seed=1000 * (seed + run))
        for player in players
        for row in rows
        for run in range(min(runs, row.most_runs))
    ]
    random.Random(seed).shuffle(wanted)
    return sorted(wanted, key=lambda order: (order.row.sessions > 1, order.row.conversation.end <= _LONG))


async def hold(
    wanted: Sequence[Order],
    *,
    jobs: int,
    perform: Callable[[Order], Awaitable[list[Call]]],
    watcher: Watcher,
    keep: list[Call],
    again: float = AGAIN,
) -> None:
    """Holds runs; those in which the machine was too slow once more, with fewer at a time, and the better one is kept.

    Cancelled, it ends what it has begun; what was measured stays in `keep`.

    Args:
        wanted: what.
        jobs: how many at a time. Many sessions of one process have the machine for themselves.
        perform: holds one run; raises `Unready` where its process does not come that far.
        watcher: is told how it goes.
        keep: is given the calls.
        again: of all runs, so many at most are held again.
    """
    can = [order for order in wanted if not order.player.excuse(order.row)]
    for call in _excused(wanted):
        keep.append(call)
        watcher.ended(call)
    doubtful: list[tuple[Order, list[Call]]] = []

    async def once(order: Order) -> list[Call]:
        try:
            return await perform(order)
        except Unready as failed:
            return [order.call(raised=str(failed))]

    async def first(order: Order) -> None:
        watcher.began(order.call())
        calls = await once(order)
        if _lag(calls) > DOUBTFUL:
            doubtful.append((order, calls))
        keep.extend(calls)
        watcher.ended(calls[0])

    async def repeat(order: Order, before: list[Call]) -> None:
        calls = await once(order)
        if _lag(calls) < _lag(before):
            for call in before:
                keep.remove(call)
            keep.extend(calls)

    await _several((partial(first, order) for order in can if order.row.sessions == 1), jobs)
    await _several((partial(first, order) for order in can if order.row.sessions > 1), 1)
    worst = sorted(doubtful, key=lambda one: -_lag(one[1]))[: math.ceil(again * len(can))]
    await _several((partial(repeat, *one) for one in worst), max(1, jobs // 2))


async def _several(work: Iterable[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Does pieces of work, in order, so many at a time."""
    waiting = iter(work)

    async def worker() -> None:
        for piece in waiting:
            await piece()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(limit):
            tasks.create_task(worker())


def _excused(wanted: Sequence[Order]) -> list[Call]:
    """Returns one call for each contender and row that do not go together."""
    found: dict[tuple[str, str, str], Call] = {}
    for order in wanted:
        if why := order.player.excuse(order.row):
            found.setdefault((order.player.name, order.player.settings, order.row.name), order.call(cannot=why))
    return list(found.values())


def _lag(calls: Sequence[Call]) -> float:
    return max((call.lag or 0.0 for call in calls), default=0.0)
