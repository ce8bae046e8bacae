"""The plots of the page, each with its words, its legend and the table behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

from benchmarks.report import plots
from benchmarks.report.tables import behind
from benchmarks.report.view import STEPS, View, shares_of, steps_of
from benchmarks.report.words import figure, label, milliseconds, share
from benchmarks.results import Anatomy, Call, Contender, Cost, Scenario
from benchmarks.suite.summary import Spread, spread_of

__all__ = ["anatomy", "anatomy_of", "costs", "latency", "lost", "silence", "tally"]

_COLOURS: Final = {step: "failed-step" if step == "failed" else step for step in STEPS}


def tally(view: View) -> Iterator[str]:
    """How many scenarios came to which outcome, a stack per contender."""
    scenarios = len(view.results.scenarios)
    rows: list[plots.Stack] = []
    for one in view.contenders:
        counted = view.tally(one)
        parts = [
            (outcome or "cannot", float(number), f"{outcome or 'cannot, or not run'}: {number}", str(number))
            for outcome, number in counted.items()
            if number
        ]
        rows.append(plots.Stack(name=label(one), parts=parts, right=f"kept in {counted['kept']} of {scenarios}"))
    if rows and scenarios:
        axis = plots.Linear(most=scenarios, unit="")
        text = "; ".join(f"{row.name} {row.right}" for row in rows)
        title = "In how many scenarios each contender kept the call"
        yield f"<figure>{plots.stacks(rows, axis=axis, ticks=False, name='tally', title=title, text=text)}</figure>"


def anatomy(view: View) -> Iterator[str]:
    """The outage in a plain scenario, a stack of steps per contender."""
    chosen = next((row for row in view.results.scenarios if _back(view, row) == _most_back(view)), None)
    if chosen is None or not _most_back(view):
        return
    yield (
        "<p>From the fault to the first of the user's audio that the service took again, step by step. Each bar is one real"
        " call: the one at the median. Below is the scenario in which the most contenders came back; the others are under"
        f' <a href="#scenarios">every scenario</a>.</p><h3><code>{escape(chosen.name)}</code>: {escape(chosen.what)}</h3>'
    )
    yield from anatomy_of(view, chosen, name="steps")
    yield "<p>The same, each outage as wide as the plot, so that the steps of a short one show too:</p>"
    yield from _shares(view, chosen)


def anatomy_of(view: View, scenario: Scenario, *, name: str) -> Iterator[str]:
    """The outage in one scenario; nothing where nobody came back. The name is unique in the page."""
    found = [(one, outage) for one in view.contenders if (outage := view.cell(one, scenario).typical) is not None]
    if not found:
        return
    yield _steps_legend([outage for _, outage in found])
    rows: list[plots.Stack] = []
    for one, outage in found:
        parts = [
            (_COLOURS[step], value, f"{STEPS[step]}: {milliseconds(value)}", "") for step, value in steps_of(outage).items()
        ]
        n = len(view.cell(one, scenario).back)
        rows.append(plots.Stack(name=label(one), parts=parts, right=f"{milliseconds(outage.reconnect)} (n {n})"))
    most = plots.fitting([outage.reconnect or 0.0 for _, outage in found])
    if any((outage.reconnect or 0.0) > most for _, outage in found):
        yield '<p class="note">A bar with a jagged end goes on beyond the axis; its length is written above it.</p>'
    yield _stacked(rows, most=most, name=name, title=f"Steps of the outage in {scenario.name}")
    heads = ["contender", *STEPS.values(), "together", "then: first audio of a reply"]
    yield behind(heads, [_steps_row(one, outage) for one, outage in found])


def _stacked(rows: Sequence[plots.Stack], *, most: float, name: str, title: str) -> str:
    """Rows of milliseconds, on an axis of seconds where they are long."""
    unit, scale = ("s", 1000.0) if most >= 2000 else ("ms", 1.0)
    scaled = [
        plots.Stack(name=row.name, right=row.right, parts=[(c, value / scale, told, "") for c, value, told, _ in row.parts])
        for row in rows
    ]
    text = "; ".join(f"{row.name}: {row.right}" for row in rows)
    axis = plots.Linear(most=most / scale, unit=unit)
    return f"<figure>{plots.stacks(scaled, axis=axis, ticks=True, name=name, title=title, text=text)}</figure>"


def _shares(view: View, scenario: Scenario) -> Iterator[str]:
    """The same outages, each as wide as the plot, so that the steps of a short one can be seen too."""
    rows: list[plots.Stack] = []
    for one in view.contenders:
        outage = view.cell(one, scenario).typical
        if outage is None or not outage.reconnect:
            continue
        total = outage.reconnect
        parts = [
            (_COLOURS[step], 100 * value / total, f"{STEPS[step]}: {milliseconds(value)}, {share(value, total)}", "")
            for step, value in steps_of(outage).items()
        ]
        rows.append(plots.Stack(name=label(one), parts=parts, right=f"of {milliseconds(total)}"))
    axis = plots.Linear(most=100, unit="%")
    text = "; ".join(f"{row.name} {row.right}" for row in rows)
    title = f"Shares of each step in {scenario.name}"
    yield f"<figure>{plots.stacks(rows, axis=axis, ticks=True, name='shares', title=title, text=text)}</figure>"


def _steps_legend(outages: Sequence[Anatomy]) -> str:
    used = {step for outage in outages for step in steps_of(outage)}
    items = (
        f'<li><i style="background:var(--{_COLOURS[step]})"></i>{words}</li>'
        for step, words in STEPS.items()
        if step in used
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _steps_row(one: Contender, outage: Anatomy) -> list[str]:
    steps = steps_of(outage)
    unsaid = "" if outage.detect is not None else " (with the wait)"
    figures = [milliseconds(steps.get(step)) + (unsaid if step == "detect" else "") for step in STEPS]
    return [label(one), *figures, milliseconds(outage.reconnect), milliseconds(outage.reply)]


def latency(view: View) -> Iterator[str]:
    """How long the way back took, in all calls of a contender."""
    rows: list[plots.Dots] = []
    body: list[list[str]] = []
    for one in view.contenders:
        cells = view.alike(one)
        values = [value for cell in cells for value in cell.back]
        never = sum(cell.never for cell in cells)
        found = spread_of([*values, *[math.inf] * never])
        if found is None:
            continue
        rows.append(_dots(one, [*values, *[None] * never], found, ""))
        body.append([label(one), str(found.n), str(never), *_percentiles(found)])
    if not rows:
        return
    yield (
        "<p>Each dot is one call: the time from the fault until the service took the user's audio again, over all scenarios,"
        " on an axis by powers of ten. <i>Never</i>: it was not taken again, and the call was lost; that counts as slower"
        " than all others. The line is the median, the dashed one the 95th percentile.</p>"
    )
    yield _strip(rows, name="latency", title="Time until the user's audio was taken again, per contender")
    yield behind(["contender", "outages", "never back", "p50", "p95", "p99", "max"], body)


def lost(view: View) -> Iterator[str]:
    """How much of the caller's speech never reached the model that serves in the end."""
    yield from _spreads(
        view,
        figure=lambda call: call.lost,
        name="lost",
        title="Speech lost per call",
        words="Each dot is one call: how much of the caller's speech the model that serves in the end knows in no form. At"
        " the right is the share of all that was said.",
        share_of_speech=True,
    )


def silence(view: View) -> Iterator[str]:
    """How long the caller was owed an answer and heard nothing."""
    yield from _spreads(
        view,
        figure=lambda call: call.silence,
        name="silence",
        title="Silence heard per call",
        words="Each dot is one call: the longest time in which the caller was owed an answer and heard nothing, beyond that"
        " of the same call without a fault.",
        share_of_speech=False,
    )


def costs(found: Sequence[Cost]) -> Iterator[str]:
    """What running costs, a plot per heading; the table is `benchmarks.report.tables.costs`."""
    if found:
        yield (
            "<p>Each bar is the median of some rounds, the thin line reaches from the lowest of them to the highest. The"
            " <i>floor</i> is a bare loop that only encodes, sends, receives and decodes, in the same run; a dashed mark is"
            " a goal: the bar should end before it.</p>"
        )
    for number, group in enumerate(dict.fromkeys(cost.group for cost in found)):
        of_group = [cost for cost in found if cost.group == group]
        names = list(dict.fromkeys(cost.name for cost in of_group))
        alone = len({cost.contender for cost in of_group}) == 1
        yield f"<h3>{escape(group)}{f' ({escape(of_group[0].contender)})' if alone else ''}</h3>"
        if alone:
            yield _bars(of_group, name=f"cost-{number}", title=group, alone=True)
            continue
        for place, name in enumerate(names):
            rows = [cost for cost in of_group if cost.name == name]
            yield f'<p class="soft">{escape(name)}</p>'
            yield _bars(rows, name=f"cost-{number}-{place}", title=f"{group}, {name}", alone=False)


def _bars(found: Sequence[Cost], *, name: str, title: str, alone: bool) -> str:
    rows: list[plots.Bar] = []
    for cost in sorted(found, key=lambda one: one.contender != "floor"):
        ratio = "" if not cost.floor or cost.contender == "floor" else f" · {figure(cost.value / cost.floor)} × floor"
        rows.append(
            plots.Bar(
                name=cost.name if alone else cost.contender,
                value=cost.value,
                least=cost.least,
                most=cost.most,
                right=f"{figure(cost.value)} {cost.unit}{ratio}",
                colour="floor" if cost.contender == "floor" else "ours" if cost.contender.startswith("unbroken") else "bar",
                goal=None if cost.goal is None else cost.goal * (cost.floor or 1.0),
            )
        )
    axis = plots.Linear(most=plots.fitting([row.most for row in rows]), unit=found[0].unit)
    text = "; ".join(f"{row.name}: {row.right}" for row in rows)
    return f"<figure>{plots.bars(rows, axis=axis, name=name, title=title, text=text)}</figure>"


def _spreads(
    view: View, *, figure: Callable[[Call], float | None], name: str, title: str, words: str, share_of_speech: bool
) -> Iterator[str]:
    rows: list[plots.Dots] = []
    body: list[list[str]] = []
    for one in view.contenders:
        calls = [call for cell in view.alike(one) for call in cell.calls]
        values = [value for call in calls if (value := figure(call)) is not None]
        found = spread_of(values)
        if found is None:
            continue
        part = share(*shares_of(calls, figure)) if share_of_speech else ""
        rows.append(_dots(one, values, found, f"{part} of {milliseconds(shares_of(calls, figure)[1])}" if part else ""))
        body.append([label(one), str(found.n), *_percentiles(found), *([part] if part else [])])
    if not rows:
        return
    yield f"<p>{words} The line is the median, the dashed one the 95th percentile.</p>"
    yield _strip(rows, name=name, title=title)
    yield behind(["contender", "calls", "p50", "p95", "p99", "max", *(["of all speech"] if share_of_speech else [])], body)


def _strip(rows: Sequence[plots.Dots], *, name: str, title: str) -> str:
    known = [value for row in rows for value in row.values if value is not None]
    axis = plots.Log.over(known, never=any(value is None for row in rows for value in row.values))
    text = "; ".join(f"{row.name}: {row.right}" for row in rows)
    return f"<figure>{plots.dots(rows, axis=axis, name=f'{name}-plot', title=title, text=text)}</figure>"


def _dots(one: Contender, values: Sequence[float | None], found: Spread, right: str) -> plots.Dots:
    return plots.Dots(
        name=label(one),
        values=values,
        p50=None if math.isinf(found.p50) else found.p50,
        p95=None if math.isinf(found.p95) else found.p95,
        right=right or f"{milliseconds(found.p50)} · p95 {milliseconds(found.p95)}",
    )


def _percentiles(found: Spread) -> list[str]:
    return [milliseconds(value) for value in (found.p50, found.p95, found.p99, found.most)]


def _back(view: View, scenario: Scenario) -> int:
    return sum(bool(view.cell(one, scenario).back) for one in view.contenders)


def _most_back(view: View) -> int:
    return max((_back(view, row) for row in view.results.scenarios), default=0)
