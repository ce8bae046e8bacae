"""What the calls of one contender in one scenario come to: how many ended how, and percentiles of each measure.

Nothing here waits or reads a clock. Percentiles come from an HdrHistogram that holds every value; one that never came
is an infinite one where the caller of `spread_of` says so: what is slow is not left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec
from hdrh.histogram import HdrHistogram

from benchmarks.results import Anatomy, Call, Outcome, Reply, Results

__all__ = ["MEASURES", "Cell", "Key", "Spread", "cells", "spread_of"]

Key: TypeAlias = "tuple[str, str, str]"
"""Contender, settings, scenario."""

_HIGHEST: Final = 3_600_000_000  # µs: an hour
_DIGITS: Final = 3


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Some figures of one kind.

    Attributes:
        n: how many.
        p50: the median.
        p95: the 95th percentile; of fewer than 20 figures that is the highest.
        p99: the 99th percentile; of fewer than 100 figures that is the highest.
        most: the highest.
    """

    n: int
    p50: float
    p95: float
    p99: float
    most: float


def spread_of(values: Iterable[float]) -> Spread | None:
    """Returns the percentiles of figures of at least 0, to three digits; None: there are none.

    Args:
        values: milliseconds, or a number of things; `math.inf` for what never happened. What is over an hour is infinite.
    """
    histogram = HdrHistogram(1, _HIGHEST, _DIGITS)
    most, n = 0.0, 0
    for value in values:
        histogram.record_value(min(round(value * 1000), _HIGHEST) if math.isfinite(value) else _HIGHEST)
        most, n = max(most, value), n + 1

    def at(percentile: float) -> float:
        if percentile > 100 * (1 - 1 / n):  # nearest rank: the highest, which needs no rounding
            return most
        found = histogram.get_value_at_percentile(percentile)
        return math.inf if found >= _HIGHEST else found / 1000

    return Spread(n=n, p50=at(50), p95=at(95), p99=at(99), most=most) if n else None


def _of_anatomy(step: str) -> Callable[[Call], float | None]:
    def read(call: Call) -> float | None:
        value: float | None = None if call.anatomy is None else getattr(call.anatomy, step)
        return value

    return read


_OF_CALL: Final = ("speech", "lost", "told", "repeated", "late", "silence", "lag", "attempts", "attempts_per_second")


def _of_call(name: str) -> Callable[[Call], float | None]:
    def read(call: Call) -> float | None:
        value: float | None = getattr(call, name)
        return value

    return read


MEASURES: Final[Mapping[str, Callable[[Call], float | None]]] = (
    {"reconnect": _of_anatomy("reconnect")}
    | {step: _of_anatomy(step) for step in Anatomy.__struct_fields__}
    | {name: _of_call(name) for name in _OF_CALL}
)
"""Every measure by its name in `benchmarks.results`; None where a call has nothing of it."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one scenario.

    Attributes:
        contender: its name.
        settings: "default" or "tuned".
        scenario: its name.
        n: calls that were held.
        cannot: why there are none; "": some were held.
        outcomes: how many calls came to which outcome.
        replies: how many struck replies came to what.
        tools_twice: calls in which the tool ran more often than it should have.
        tools_missed: calls in which it ran less often, or in which the model did not learn its result.
        context_lost: calls after which the model did not know what was said before the fault.
        spreads: percentiles of each measure of `MEASURES` that some call has.
    """

    contender: str
    settings: str
    scenario: str
    n: int
    cannot: str = ""
    outcomes: Mapping[Outcome, int] = {}
    replies: Mapping[Reply, int] = {}
    tools_twice: int = 0
    tools_missed: int = 0
    context_lost: int = 0
    spreads: Mapping[str, Spread] = {}


def cells(results: Results) -> Mapping[Key, Cell]:
    """Returns what each contender's calls in each scenario come to, in the order of the calls."""
    grouped: dict[Key, list[Call]] = {}
    for call in results.calls:
        grouped.setdefault((call.contender, call.settings, call.scenario), []).append(call)
    return {key: _cell(key, calls) for key, calls in grouped.items()}


def _cell(key: Key, calls: list[Call]) -> Cell:
    held = [call for call in calls if not call.cannot]
    spreads = {
        name: spread
        for name, read in MEASURES.items()
        if (spread := spread_of(value for call in held if (value := read(call)) is not None)) is not None
    }
    return Cell(
        contender=key[0],
        settings=key[1],
        scenario=key[2],
        n=len(held),
        cannot=next((call.cannot for call in calls if call.cannot), ""),
        outcomes=Counter(call.outcome for call in held if call.outcome is not None),
        replies=Counter(call.reply for call in held if call.reply != "not_owed"),
        tools_twice=sum(call.tool_runs > call.tool_owed for call in held),
        tools_missed=sum(call.tool_runs < call.tool_owed or call.tool_known is False for call in held),
        context_lost=sum(call.context is False for call in held),
        spreads=spreads,
    )
