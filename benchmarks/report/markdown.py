"""A run as Markdown: who took part, a cell per scenario and contender, and what running costs; and its place in a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.report.view import Cell, View
from benchmarks.report.words import GROUPS, REPLIES, count, figure, label, length, milliseconds
from benchmarks.results import Cost, Results
from benchmarks.suite.summary import spread_of

__all__ = ["MARKS", "into_page", "markdown"]

MARKS: Final = ("<!-- tables: python -m benchmarks report FILE.json --page PAGE.md -->\n", "<!-- end of tables -->\n")
"""Between them stand the tables of a page."""


def markdown(results: Results) -> str:
    """Returns a run's tables."""
    view = View(results)
    parts = (_head(view), _contenders(view), _tally(view), _cells(view), _costs(results.costs))
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def into_page(path: Path, tables: str) -> None:
    """Replaces what stands between `MARKS` in a page.

    Raises:
        ValueError: the page has no marks; the text says which to put where.
    """
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"{path} has no marks; put {MARKS[0].strip()} and {MARKS[1].strip()} where the tables belong")
    path.write_text(f"{before}{MARKS[0]}\n{tables}\n{MARKS[1]}{after}", encoding="utf-8")


def _head(view: View) -> Iterator[str]:
    results, machine = view.results, view.results.machine
    if results.quick:
        yield "A quick run: it shows that everything is alive, and its figures say little."
        yield ""
    yield (
        f"Measured on {results.made[:10]} in {length(results.seconds)} by `{results.command}` (seed {results.seed}):"
        f" {count(len(results.calls), 'call')}, {view.calls_per_cell} for each contender in each scenario,"
        f" on {_plain(machine.processor)}, {count(machine.cores, 'core')}, {machine.memory_mib / 1024:.1f} GiB,"
        f" {_plain(machine.system)}, {_plain(machine.python)}; a fixed piece of work varied by {100 * machine.noise:.1f} %."
        + (f" {view.doubtful} of them are doubtful: the contender's loop was late." if view.doubtful else "")
    )


def _contenders(view: View) -> Iterator[str]:
    yield from _heads("contender", "what was built with it", "versions", "to be corrected in")
    for one in view.results.contenders:
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        what = _plain(one.what) + (f"; **not run**: {_plain(one.missing)}" if one.missing else "")
        yield f"| {_plain(label(one))} | {what} | {_plain(versions)} | `{one.file}` |"


def _tally(view: View) -> Iterator[str]:
    yield (
        "A scenario counts by the worst of its calls. *Heard again* is the time from the fault until the service took the"
        " user's audio again, over all outages; what never came counts as slower than all."
    )
    yield ""
    yield from _heads("contender", "kept", "degraded", "silent", "ended", "failed", "cannot", "heard again p50", "p95", "n")
    for one in view.contenders:
        tally = view.tally(one)
        counted = " | ".join(str(tally[outcome]) for outcome in ("kept", "degraded", "silent", "ended", "failed", None))
        cells = view.alike(one)
        never = sum(cell.never for cell in cells)
        back = spread_of([*(value for cell in cells for value in cell.back), *[math.inf] * never])
        times = "– | – | 0" if back is None else f"{milliseconds(back.p50)} | {milliseconds(back.p95)} | {back.n}"
        yield f"| {_plain(label(one))} | {counted} | {times} |"


def _cells(view: View) -> Iterator[str]:
    if not view.results.scenarios or not view.contenders:
        return
    yield (
        f"Each cell: what became of {view.calls_per_cell} (how many, where they differ); after how long the user's audio was"
        " taken again, median / 95th percentile (n where it is another); speech lost, median; the reply that was struck."
    )
    if view.missing:
        yield ""
        yield f"Not run at all, for the reasons above: {', '.join(_plain(label(one)) for one in view.missing)}."
    for group, rows in view.groups.items():
        yield ""
        yield f"**{_plain(GROUPS.get(group, group))}**"
        yield ""
        yield from _heads("scenario", *(label(one) for one in view.contenders))
        for row in rows:
            held = (_cell(view.cell(one, row)) for one in view.contenders)
            yield f"| `{row.name}`: {_plain(row.what)} | {' | '.join(held)} |"


def _cell(cell: Cell) -> str:
    if cell.outcome is None:
        return f"cannot: {_plain(cell.cannot)}" if cell.cannot else "not run"
    alone = len(cell.outcomes) == 1
    parts = [", ".join(outcome if alone else f"{outcome} {number}" for outcome, number in cell.outcomes.items())]
    if cell.outcome != "kept":
        parts[0] = f"**{parts[0]}**"
    back, lost = cell.spread("reconnect"), cell.spread("lost")
    if back is not None:
        n = "" if back.n == len(cell.calls) else f" (n {back.n})"
        times = dict.fromkeys((milliseconds(back.p50), milliseconds(back.p95)))
        parts.append(f"{' / '.join(times)}{n}")
    elif cell.never:
        parts.append("never heard again")
    if lost is not None and lost.p50:
        parts.append(f"{milliseconds(lost.p50)} lost")
    if cell.reply != "not_owed":
        parts.append(f"reply {REPLIES[cell.reply]}")
    if cell.doubtful:
        parts.append(f"{cell.doubtful} doubtful")
    return "; ".join(parts)


def _costs(costs: Sequence[Cost]) -> Iterator[str]:
    if not costs:
        return
    yield "What running costs: the median, and the lowest and the highest round."
    yield ""
    yield from _heads("what", "contender", "median", "least – most", "× floor", "goal", "met", "command")
    for cost in costs:
        ratio = "" if not cost.floor or cost.contender == "floor" else figure(cost.value / cost.floor)
        goal = "" if cost.goal is None else f"{figure(cost.goal)} {'× floor' if cost.floor else cost.unit}"
        met = "" if cost.met is None else "yes" if cost.met else "**no**"
        command = f"`{cost.command}`" if cost.command else ""
        yield (
            f"| {_plain(cost.group)}: {_plain(cost.name)} | {_plain(cost.contender)} | {figure(cost.value)} {cost.unit}"
            f" | {figure(cost.least)} – {figure(cost.most)} | {ratio} | {goal} | {met} | {command} |"
        )


def _heads(*heads: str) -> Iterator[str]:
    yield f"| {' | '.join(map(_plain, heads))} |"
    yield "| --- " * len(heads) + "|"


def _plain(text: str) -> str:
    """Returns a text that says in a Markdown table what it says elsewhere."""
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("`", "'")
    return " ".join(escaped.split())
