"""What pages show of results: who stands in which column, a cell per scenario and contender, and sums over them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from benchmarks.report.words import OUTCOMES, REPLIES, count, label
from benchmarks.results import Anatomy, Call, Contender, Outcome, Reply, Results, Scenario
from benchmarks.suite.run import DOUBTFUL
from benchmarks.suite.summary import MEASURES, Spread, spread_of

__all__ = ["STEPS", "Cell", "View", "shares_of", "steps_of"]

STEPS: Final = {
    "detect": "notice the end",
    "decide": "decide and wait",
    "failed": "attempts that failed",
    "dial": "TCP",
    "tls": "TLS",
    "upgrade": "HTTP upgrade",
    "setup": "setup",
    "audio": "first audio taken",
}
"""The steps of an outage in their order, and what they are called; together they are `Anatomy.reconnect`."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One contender in one scenario.

    Attributes:
        contender: who.
        scenario: in what.
        calls: that were held.
        cannot: why there are none; "" with no calls: they were not asked for.
    """

    contender: Contender
    scenario: Scenario
    calls: tuple[Call, ...]
    cannot: str = ""

    @cached_property
    def outcomes(self) -> Mapping[Outcome, int]:
        """How many calls had which outcome, from the best to the worst; those without one count as failed."""
        counted = Counter(call.outcome or "failed" for call in self.calls)
        return {outcome: counted[outcome] for outcome in OUTCOMES if counted[outcome]}

    @property
    def outcome(self) -> Outcome | None:
        """The worst that happened; None: nothing was held."""
        return list(self.outcomes)[-1] if self.outcomes else None

    @property
    def reply(self) -> Reply:
        """The worst that a struck reply came to."""
        worst: Reply = "not_owed"
        for reply in REPLIES:  # from the best to the worst
            if reply != "not_owed" and any(call.reply == reply for call in self.calls):
                worst = reply
        return worst

    @property
    def back(self) -> tuple[float, ...]:
        """Of each call in which the user's audio was taken again after the fault, how long that took."""
        return tuple(value for call in self.calls if (value := _reconnect(call)) is not None)

    @property
    def never(self) -> int:
        """In how many calls it was not taken again, and the call was lost."""
        return sum(_reconnect(call) is None and call.outcome not in {"kept", "degraded"} for call in self.calls)

    @property
    def typical(self) -> Anatomy | None:
        """The outage of the call at the median of `back`: of one real call, so that its steps add up."""
        back = [call.anatomy for call in self.calls if call.anatomy is not None and call.anatomy.reconnect is not None]
        return sorted(back, key=lambda outage: outage.reconnect or 0.0)[(len(back) - 1) // 2] if back else None

    @property
    def doubtful(self) -> int:
        """In how many calls the contender's loop was late by more than `DOUBTFUL`."""
        return sum(call.lag is not None and call.lag > DOUBTFUL for call in self.calls)

    def spread(self, measure: str) -> Spread | None:
        """Returns the percentiles of one of `benchmarks.suite.summary.MEASURES`; None: no call has it."""
        read = MEASURES[measure]
        return spread_of(value for call in self.calls if (value := read(call)) is not None)


class View:
    """Results, as pages look at them.

    Args:
        results: of a run.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        held: dict[tuple[str, str], list[Call]] = {}
        for call in results.calls:
            held.setdefault((label(call), call.scenario), []).append(call)
        self._held = held

    @cached_property
    def contenders(self) -> tuple[Contender, ...]:
        """Those that were run, in order."""
        return tuple(one for one in self.results.contenders if not one.missing)

    @cached_property
    def missing(self) -> tuple[Contender, ...]:
        """Those that were not, in order."""
        return tuple(one for one in self.results.contenders if one.missing)

    @cached_property
    def cells(self) -> Mapping[tuple[str, str], Cell]:
        """Every cell, by the contender's label and the scenario's name."""
        return {(label(one), row.name): self._cell(one, row) for row in self.results.scenarios for one in self.contenders}

    def cell(self, contender: Contender, scenario: Scenario) -> Cell:
        """Returns one of them."""
        return self.cells[label(contender), scenario.name]

    def of(self, contender: Contender) -> list[Cell]:
        """Returns a contender's cells, in the scenarios' order."""
        return [self.cell(contender, row) for row in self.results.scenarios]

    def alike(self, contender: Contender) -> list[Cell]:
        """Returns a contender's cells with as many calls of each at most as half of all cells have, for sums over them.

        So a scenario of hundreds of sessions at once does not outweigh all others.
        """
        sizes = [len(cell.calls) for cell in self.cells.values() if cell.calls]
        most = round(statistics.median(sizes)) if sizes else 0
        return [replace(cell, calls=cell.calls[:most]) for cell in self.of(contender)]

    def tally(self, contender: Contender) -> Mapping[Outcome | None, int]:
        """Returns in how many scenarios the worst outcome was which; None: of those that it cannot do, or was not run in."""
        counted = Counter(cell.outcome for cell in self.of(contender))
        known: list[Outcome | None] = [*OUTCOMES, None]
        return {outcome: counted[outcome] for outcome in known}

    @cached_property
    def groups(self) -> Mapping[str, list[Scenario]]:
        """The scenarios by their headings, in order."""
        grouped: dict[str, list[Scenario]] = {}
        for row in self.results.scenarios:
            grouped.setdefault(row.group, []).append(row)
        return grouped

    @cached_property
    def calls_per_cell(self) -> str:
        """Says how many calls a cell holds ("10 calls", "3 to 10 calls")."""
        sizes = {len(cell.calls) for cell in self.cells.values() if cell.calls}
        if not sizes:
            return "no calls"
        return count(max(sizes), "call") if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} calls"

    @cached_property
    def doubtful(self) -> int:
        """How many calls are doubtful, of all."""
        return sum(cell.doubtful for cell in self.cells.values())

    def _cell(self, contender: Contender, scenario: Scenario) -> Cell:
        calls = self._held.get((label(contender), scenario.name), [])
        cannot = next((call.cannot for call in calls if call.cannot), "")
        return Cell(contender=contender, scenario=scenario, calls=tuple(c for c in calls if not c.cannot), cannot=cannot)


def steps_of(anatomy: Anatomy) -> dict[str, float]:
    """Returns an outage's steps, each at least 0, whose sum is its `reconnect`; steps that took no time are left out.

    What a contender says of itself splits `notice`; where it says nothing, all of that is `detect`.
    """
    notice = anatomy.notice or 0.0
    detect = min(notice, notice if anatomy.detect is None else anatomy.detect)
    measured = {step: getattr(anatomy, step) or 0.0 for step in list(STEPS)[2:]}
    return {step: value for step, value in ({"detect": detect, "decide": notice - detect} | measured).items() if value > 0}


def shares_of(calls: Sequence[Call], figure: Callable[[Call], float | None]) -> tuple[float, float]:
    """Returns how much of the user's speech a figure came to in all, and all of the speech: of the calls that have both."""
    counted = [(value, call.speech) for call in calls if (value := figure(call)) is not None and call.speech is not None]
    return sum(value for value, _ in counted), sum(speech for _, speech in counted)


def _reconnect(call: Call) -> float | None:
    return None if call.anatomy is None else call.anatomy.reconnect
