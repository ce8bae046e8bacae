"""What moved between two runs beyond the noise: outcomes, times and losses of each cell and contender, and costs.

A figure of calls moved where a rank test says so after correction for all tests of the comparison, and the difference is
large enough to matter. A cost moved where the ranges of its rounds do not overlap. Changed outcomes are always told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.report.doubts import doubts_of
from benchmarks.report.rank import holm, least_p, mann_whitney, over_strata
from benchmarks.report.view import Cell, View
from benchmarks.report.words import OUTCOMES, figure, label, milliseconds
from benchmarks.results import Cost, Results
from benchmarks.suite.summary import MEASURES, spread_of

__all__ = ["Comparison", "Move", "compared"]

_CHANCE: Final = 0.05
_SHARE: Final = 0.05
"""A difference of less than this share of the older figure matters to nobody."""

_MEASURES: Final = {
    "reconnect": ("heard again after", 1.0),
    "lost": ("speech lost", 20.0),
    "repeated": ("speech heard twice", 20.0),
    "silence": ("silence", 20.0),
}
"""What is compared: its words, and the least difference that matters (ms): a frame, where audio is counted."""

_Strata = list[tuple[list[float], list[float]]]


@dataclass(frozen=True, kw_only=True)
class Move:
    """Something that is not what it was.

    Attributes:
        who: the contender.
        where: the scenario, "all scenarios", or the cost.
        what: the figure.
        old: what it was.
        new: what it is.
        n: how many calls were compared ("10 and 10 calls"); of a cost, the ranges of its rounds.
        better: it is; None: that cannot be said.
        sure: it is no chance; False: few calls may have done it.
    """

    who: str
    where: str
    what: str
    old: str
    new: str
    n: str
    better: bool | None
    sure: bool = True


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs, side by side.

    Attributes:
        doubts: why they should not be compared, or only with care.
        outcomes: every cell whose outcomes are others.
        calls: figures of calls that moved.
        costs: costs that moved.
        tests: how many figures of calls were tested.
        cells: how many cells both runs have.
        alone: least calls of each run with which a single cell can be shown to have moved at all, if that is more than there
            were; None: there were enough.
    """

    doubts: tuple[str, ...]
    outcomes: tuple[Move, ...]
    calls: tuple[Move, ...]
    costs: tuple[Move, ...]
    tests: int
    cells: int
    alone: int | None

    @property
    def moves(self) -> tuple[Move, ...]:
        """All of them."""
        return self.outcomes + self.calls + self.costs

    @property
    def regressions(self) -> tuple[Move, ...]:
        """Those that are worse and no chance."""
        return tuple(move for move in self.moves if move.better is False and move.sure)


def compared(old: Results, new: Results) -> Comparison:
    """Returns what moved from one run to another."""
    before, after = View(old), View(new)
    pairs = [(before.cells[key], cell) for key, cell in after.cells.items() if key in before.cells]
    pairs = [(one, other) for one, other in pairs if one.calls and other.calls]
    calls, tests = _calls(pairs)
    fewest = min((min(len(one.calls), len(other.calls)) for one, other in pairs), default=0)
    return Comparison(
        doubts=tuple(doubts_of(before, after)),
        outcomes=tuple(_outcomes(before, after)),
        calls=tuple(calls),
        costs=tuple(_costs(old.costs, new.costs)),
        tests=tests,
        cells=len(pairs),
        alone=None if not tests or least_p(fewest, fewest) * tests < _CHANCE else _enough(tests),
    )


def _enough(tests: int) -> int:
    return next(n for n in range(1, 100) if least_p(n, n) * tests < _CHANCE)


# -- outcomes ---------------------------------------------------------------------------------------------------------------


def _outcomes(before: View, after: View) -> Iterator[Move]:
    for key, new in after.cells.items():
        old = before.cells.get(key)
        if old is not None and _shares(old) != _shares(new):
            yield _changed(old, new)


def _changed(old: Cell, new: Cell) -> Move:
    was, now = _order(old), _order(new)
    worse = (sum(now) / len(now) if now else math.inf) - (sum(was) / len(was) if was else math.inf)
    # the better of two in the middle: with two calls, one that ended is no typical one
    typical = not was or not now or was[(len(was) - 1) // 2] != now[(len(now) - 1) // 2]
    return Move(
        who=label(new.contender),
        where=new.scenario.name,
        what="outcome",
        old=_told(old),
        new=_told(new),
        n=_n(len(was), len(now)),
        better=None if not was or not now or worse == 0 else worse < 0,
        sure=typical or mann_whitney(was, now) < _CHANCE,
    )


def _order(cell: Cell) -> list[int]:
    known = list(OUTCOMES)
    return sorted(known.index(call.outcome or "failed") for call in cell.calls)


def _shares(cell: Cell) -> Mapping[str, float]:
    return {outcome: number / len(cell.calls) for outcome, number in cell.outcomes.items()}


def _told(cell: Cell) -> str:
    if not cell.calls:
        return "cannot" if cell.cannot else "not run"
    return ", ".join(f"{outcome} {number}/{len(cell.calls)}" for outcome, number in cell.outcomes.items())


# -- figures of calls -------------------------------------------------------------------------------------------------------


def _calls(pairs: Sequence[tuple[Cell, Cell]]) -> tuple[list[Move], int]:
    """Returns what moved, and of how many tests; a contender's figure over all scenarios is one of them."""
    tested: list[tuple[str, str, str, _Strata]] = []
    for measure in _MEASURES:
        together: dict[str, _Strata] = {}
        for old, new in pairs:
            stratum = (_values(old, measure), _values(new, measure))
            if all(stratum):
                who = label(new.contender)
                tested.append((measure, who, new.scenario.name, [stratum]))
                together.setdefault(who, []).append(stratum)
        tested += [(measure, who, "all scenarios", strata) for who, strata in together.items() if len(strata) > 1]
    chances = holm([mann_whitney(*strata[0]) if len(strata) == 1 else over_strata(strata) for *_, strata in tested])
    moves = (_move(*one) for one, chance in zip(tested, chances, strict=True) if chance < _CHANCE)
    return [move for move in moves if move is not None], len(tested)


def _values(cell: Cell, measure: str) -> list[float]:
    found = [value for call in cell.calls if (value := MEASURES[measure](call)) is not None]
    return found + [math.inf] * cell.never if measure == "reconnect" else found


def _move(measure: str, who: str, where: str, strata: _Strata) -> Move | None:
    """Returns a difference that is no chance, where it matters too."""
    words, least = _MEASURES[measure]
    old, new = [value for one, _ in strata for value in one], [value for _, one in strata for value in one]
    was, now = spread_of(old), spread_of(new)
    differences = [_difference(*stratum) for stratum in strata]
    shift = sum(differences) / len(differences)
    if was is None or now is None or abs(shift) < least or abs(shift) < _SHARE * min(was.p50, now.p50):
        return None
    told = [f"{milliseconds(one.p50)} (p95 {milliseconds(one.p95)})" for one in (was, now)]
    return Move(who=who, where=where, what=words, old=told[0], new=told[1], n=_n(len(old), len(new)), better=shift < 0)


def _difference(old: Sequence[float], new: Sequence[float]) -> float:
    """Between medians; where one is infinite, infinite."""
    was, now = spread_of(old), spread_of(new)
    if was is None or now is None or was.p50 == now.p50:
        return 0.0
    return now.p50 - was.p50


def _n(old: int, new: int) -> str:
    return f"{old} and {new} calls" if old != new else f"{old} calls each"


# -- costs ------------------------------------------------------------------------------------------------------------------


def _costs(old: Sequence[Cost], new: Sequence[Cost]) -> Iterator[Move]:
    before = {(cost.group, cost.name, cost.contender): cost for cost in old}
    for cost in new:
        was = before.get((cost.group, cost.name, cost.contender))
        if was is None or was.unit != cost.unit:
            continue
        # against the floor of the same run where there is one: that takes the machine out of it
        by, was_by = (cost.floor, was.floor) if cost.floor and was.floor else (1.0, 1.0)
        value, older = cost.value / by, was.value / was_by
        apart = cost.least / by > was.most / was_by or cost.most / by < was.least / was_by
        if not apart or abs(value - older) < _SHARE * older:
            continue
        unit = cost.unit if by == was_by == 1.0 else "× floor"
        ranges = [f"{figure(c.least / b)} – {figure(c.most / b)}" for c, b in ((was, was_by), (cost, by))]
        goal = "" if cost.met is None or cost.met == was.met else ", goal met" if cost.met else ", goal not met any more"
        yield Move(
            who=cost.contender,
            where=f"{cost.group}: {cost.name}",
            what="cost",
            old=f"{figure(older)} {unit}",
            new=f"{figure(value)} {unit}{goal}",
            n=f"{ranges[0]} and {ranges[1]}",
            better=None if cost.contender == "floor" else (value > older) == cost.rising,
        )
