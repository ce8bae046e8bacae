"""From outcomes to Markdown: one table of what was kept and lost, one of all figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.livekit.measured import Outcome

__all__ = ["NOTHING", "Cost", "Page", "markdown"]

NOTHING = "no model"
"""The contender that does nothing: what is measured of it, the measurement itself costs."""

DOUBTFUL = 250.0
"""Milliseconds: an event loop that was later than this makes a call's figures doubtful."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a realtime model costs without anything around it.

    Attributes:
        contender: its name.
        cpu: CPU seconds per second of a session, the median of the rounds.
        least: of the rounds.
        most: of the rounds.
    """

    contender: str
    cpu: float
    least: float
    most: float


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run found.

    Attributes:
        made: the day.
        versions: of packages, and of Python.
        machine: system and cores.
        model: the model that everybody asked for.
        contenders: name to how it is set up.
        files: name to the file to correct that in.
        scenarios: name to what happens.
        alone: the contenders that know one service only.
        needs_backup: the scenarios in which the first service does not come back.
        outcomes: of each call.
        costs: of those that were measured.
    """

    made: str
    versions: Mapping[str, str]
    machine: str
    model: str
    contenders: Mapping[str, str]
    files: Mapping[str, str]
    scenarios: Mapping[str, str]
    alone: Sequence[str]
    needs_backup: Sequence[str]
    outcomes: Sequence[Outcome]
    costs: Sequence[Cost] = ()


def markdown(page: Page) -> str:
    """Returns the page's tables."""
    return "\n".join([*_about(page), "", *_kept(page), "", *_figures(page), *_costs(page)])


def _about(page: Page) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in page.versions.items())
    lines = [f"Measured on {page.made} with {packages}, on {page.machine}; model {page.model}.", ""]
    lines += ["| contender | how it is set up | to be corrected in |", "| --- | --- | --- |"]
    return lines + [f"| {name} | {what} | `{page.files[name]}` |" for name, what in page.contenders.items()]


def _kept(page: Page) -> list[str]:
    cells = {(outcome.scenario, outcome.contender): outcome for outcome in page.outcomes}
    lines = [f"| what happens | {' | '.join(page.contenders)} |", "| --- " * (1 + len(page.contenders)) + "|"]
    for scenario, what in page.scenarios.items():
        row = [_cell(page, cells.get((scenario, name))) for name in page.contenders]
        lines.append(f"| `{scenario}`: {what} | {' | '.join(row)} |")
    return lines


def _cell(page: Page, outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run"
    losses = ", ".join(losses_of(outcome))
    text = f"**{losses}**" if losses else "kept"
    text += f"; {_silence(outcome)}"
    if outcome.contender in page.alone and outcome.scenario in page.needs_backup:
        text += " (it knows one service)"
    if outcome.lag_ms > DOUBTFUL:
        text += " (doubtful)"
    return text


def losses_of(outcome: Outcome) -> list[str]:
    """Returns what the call lost, in words; nothing: it lost nothing."""
    losses: list[str] = []
    if not outcome.open:
        losses.append("call closed" if outcome.closed is None else f"call closed at {outcome.closed:.1f} s")
    elif not outcome.alive:
        losses.append("last question unanswered")
    if missing := outcome.owed - outcome.finished - outcome.cut:
        losses.append(f"{missing} of {outcome.owed} replies lost")
    if outcome.cut:
        losses.append(f"{outcome.cut} of {outcome.owed} replies cut")
    if outcome.words_repeated:
        losses.append(f"{outcome.words_repeated} words twice")
    if outcome.lost_ms >= 1:
        losses.append(f"{outcome.lost_ms:.0f} ms of speech lost")
    if outcome.repeated_ms >= 1:
        losses.append(f"{outcome.repeated_ms:.0f} ms heard twice")
    if outcome.tool_runs != outcome.tool_owed:
        losses.append(f"tool ran {outcome.tool_runs} times")
    elif outcome.tool_owed and not outcome.tool_known:
        losses.append("tool result lost")
    return losses


def _silence(outcome: Outcome) -> str:
    return f"{outcome.silence:.1f} s silent" + (" to the end" if outcome.to_the_end else "")


def _figures(page: Page) -> list[str]:
    heads = (
        "scenario | contender | silent s | replies finished | cut | words twice | speech lost ms | as text ms"
        " | audio twice ms | tool runs | result known | session open | answers at the end | connections"
        " | errors told | loop late ms"
    )
    lines = [f"| {heads} |", "| --- " * (heads.count("|") + 1) + "|"]
    for o in page.outcomes:
        late = f"{o.lag_ms:.0f}" + (" (doubtful)" if o.lag_ms > DOUBTFUL else "")
        values = (
            o.scenario,
            o.contender,
            f"{o.silence:.2f}" + ("+" if o.to_the_end else ""),
            f"{o.finished} of {o.owed}",
            o.cut,
            o.words_repeated,
            f"{o.lost_ms:.0f}",
            f"{o.told_ms:.0f}",
            f"{o.repeated_ms:.0f}",
            f"{o.tool_runs} of {o.tool_owed}",
            _yes(o.tool_known),
            _yes(o.open) if o.closed is None else f"no, from {o.closed:.1f} s",
            _yes(o.alive),
            f"{o.connections[0]} + {o.connections[1]}",
            f"{len(o.errors)}" + (f"; {o.raised}" if o.raised else ""),
            late,
        )
        lines.append("| " + " | ".join(map(str, values)) + " |")
    return lines


def _yes(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"


def _costs(page: Page) -> list[str]:
    if not page.costs:
        return []
    own = next((cost.cpu for cost in page.costs if cost.contender == NOTHING), None)
    heads = ["contender", "CPU s per session second (median)", "least", "most"]
    rows = [[c.contender, f"{c.cpu:.4f}", f"{c.least:.4f}", f"{c.most:.4f}"] for c in page.costs]
    if own is not None:
        heads.append("less the measurement's own")
        rows = [[*row, f"{c.cpu - own:.4f}"] for row, c in zip(rows, page.costs, strict=True)]
    lines = ["", f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
