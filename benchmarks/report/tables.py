"""The tables of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.report.view import Cell, View
from benchmarks.report.words import GROUPS, NOTHING, REPLIES, SIGNS, figure, label, milliseconds
from benchmarks.results import Cost, Scenario
from benchmarks.suite.summary import Spread

__all__ = ["behind", "contenders", "costs", "matrix", "scenarios"]


def behind(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns the table behind a plot, folded; the first of a row is its heading."""
    head = "".join(
        f'<th scope="col"{"" if not place else " class=n"}>{escape(text)}</th>' for place, text in enumerate(heads)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td class=n>{escape(text)}</td>" for text in row[1:])}</tr>'
        for row in rows
    )
    return (
        '<details class="behind"><summary>The figures of this plot</summary><div class="wide">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def matrix(view: View) -> Iterator[str]:
    """Every scenario and contender, a square each."""
    if not view.contenders:
        return
    yield '<div class="wide"><table class="matrix"><thead><tr><th scope="col"></th>'
    yield "".join(f'<th scope="col"><span>{escape(label(one))}</span></th>' for one in view.contenders)
    yield '<th scope="col" class="what"></th></tr></thead>'
    for group, rows in view.groups.items():
        yield f'<tbody><tr class="head"><th scope="rowgroup" colspan="{2 + len(view.contenders)}">'
        yield f"{escape(GROUPS.get(group, group))}</th></tr>"
        for row in rows:
            squares = "".join(_square(view.cell(one, row)) for one in view.contenders)
            yield f'<tr><th scope="row" title="{escape(row.what)}">{escape(row.name)}</th>{squares}'
            yield f'<td class="what">{escape(row.what)}</td></tr>'
        yield "</tbody>"
    yield "</table></div>"
    if view.missing:
        names = escape(", ".join(label(one) for one in view.missing))
        yield f'<p class="note">Not run at all: {names}. <a href="#contenders">Contenders</a> says why.</p>'


def _square(cell: Cell) -> str:
    who = f"{label(cell.contender)}, {cell.scenario.name}"
    if cell.outcome is None:
        why = f"cannot: {cell.cannot}" if cell.cannot else "not run"
        return f'<td class="cannot" title="{escape(who)}: {escape(why)}"></td>'
    told = ", ".join(f"{outcome} {number}" for outcome, number in cell.outcomes.items())
    worst = cell.outcomes[cell.outcome]
    some = "" if worst == len(cell.calls) else f'<span class="part-of">{worst}</span>'
    title = escape(f"{who}: {told} of {len(cell.calls)}")
    return f'<td class="{cell.outcome}" title="{title}">{SIGNS[cell.outcome]}{some}</td>'


def costs(found: Sequence[Cost]) -> Iterator[str]:
    """What running costs, in figures."""
    if not found:
        return
    heads = "what|contender|median|least|most|× floor|goal|met|command"
    yield '<h3>In figures</h3><div class="wide"><table class="sorts"><thead><tr>'
    yield "".join(f'<th scope="col">{head}</th>' for head in heads.split("|"))
    yield "</tr></thead><tbody>"
    for cost in found:
        met = "" if cost.met is None else "met" if cost.met else "not met"
        goal = "" if cost.goal is None else f"{figure(cost.goal)} {cost.unit if cost.floor is None else '× floor'}"
        ratio = "" if not cost.floor else figure(cost.value / cost.floor)
        yield (
            f'<tr><th scope="row">{escape(cost.group)}: {escape(cost.name)}</th><td>{escape(cost.contender)}</td>'
            f'<td class="n" data-value="{cost.value}">{figure(cost.value)} {escape(cost.unit)}</td>'
            f'<td class="n" data-value="{cost.least}">{figure(cost.least)}</td>'
            f'<td class="n" data-value="{cost.most}">{figure(cost.most)}</td><td class="n">{ratio}</td>'
            f'<td class="n">{escape(goal)}</td><td class="{"met" if cost.met else "unmet"}">{met}</td>'
            f"<td>{f'<code>{escape(cost.command)}</code>' if cost.command else ''}</td></tr>"
        )
    yield "</tbody></table></div>"


def scenarios(view: View) -> Iterator[str]:
    """Every scenario with all of its figures, folded."""
    from benchmarks.report.figures import anatomy_of

    yield (
        "<p>Press a scenario for its figures, and a heading to sort by it. Where two times stand together they are the"
        " median and the 95th percentile; their n is the number of calls unless another is said.</p>"
    )
    for group, rows in view.groups.items():
        yield f"<h3>{escape(GROUPS.get(group, group))}</h3>"
        for row in rows:
            held = [cell for one in view.contenders if (cell := view.cell(one, row)).calls]
            kept = sum(cell.outcome == "kept" for cell in held)
            yield (
                f'<details class="row" id="scenario-{escape(row.name)}"><summary><b><code>{escape(row.name)}</code></b>'
                f' {escape(row.what)} <span class="soft">kept by {kept} of {len(held)}</span></summary>'
            )
            if row.faults or row.rtt:
                faults = ", ".join(f"<code>{escape(fault)}</code>" for fault in row.faults)
                trips = f"round trip {milliseconds(row.rtt)}" if row.rtt else ""
                yield f'<p class="soft">{"; ".join(part for part in (faults, trips) if part)}</p>'
            yield from _figures(view, row)
            yield from anatomy_of(view, row, name=f"steps-{row.name}")
            yield "</details>"


def _figures(view: View, row: Scenario) -> Iterator[str]:
    heads = (
        "contender|calls|outcome|heard again after|p99|max|speech lost|as text only|repeated|late|silence|struck reply"
        "|replies heard|tool runs|context|attempts|raised"
    )
    yield '<div class="wide"><table class="sorts"><thead><tr>'
    yield "".join(f'<th scope="col">{head}</th>' for head in heads.split("|"))
    yield "</tr></thead><tbody>"
    for one in view.contenders:
        cell = view.cell(one, row)
        yield f'<tr><th scope="row">{escape(label(one))}</th>'
        if cell.cannot or not cell.calls:
            why = f"cannot: {cell.cannot}" if cell.cannot else "not run"
            yield f'<td class="n">0</td><td class="long">{escape(why)}</td>{"<td></td>" * (heads.count("|") - 2)}</tr>'
        else:
            yield f"{''.join(_values(cell))}</tr>"
    yield "</tbody></table></div>"


def _values(cell: Cell) -> Iterator[str]:
    calls = cell.calls
    doubtful = f" ({cell.doubtful} doubtful)" if cell.doubtful else ""
    told = ", ".join(f"{outcome} {number}" for outcome, number in cell.outcomes.items())
    yield f'<td class="n">{len(calls)}</td><td>{escape(told)}{doubtful}</td>'
    back = cell.spread("reconnect")
    if back is None:
        yield f'<td class="n" data-value="">{"never" if cell.never else NOTHING}</td><td></td><td></td>'
    else:
        n = "" if back.n == len(calls) else f" (n\N{NO-BREAK SPACE}{back.n})"
        yield f'<td class="n" data-value="{back.p50}">{_both(back)}{n}</td>'
        yield f'<td class="n" data-value="{back.p99}">{milliseconds(back.p99)}</td>'
        yield f'<td class="n" data-value="{back.most}">{milliseconds(back.most)}</td>'
    for measure in ("lost", "told", "repeated", "late", "silence"):
        found = cell.spread(measure)
        if found is None:
            yield f'<td class="n" data-value="">{NOTHING}</td>'
        else:
            yield f'<td class="n" data-value="{found.p50}">{_both(found)}</td>'
    yield f"<td>{REPLIES[cell.reply]}</td>"
    yield f"<td>{sum(c.replies_heard for c in calls)} of {sum(c.replies_owed for c in calls)}</td>"
    owed = sum(call.tool_owed for call in calls)
    yield f"<td>{f'{sum(call.tool_runs for call in calls)} of {owed}' if owed else NOTHING}</td>"
    context = [call.context for call in calls if call.context is not None]
    yield f"<td>{f'{sum(context)} of {len(context)}' if context else NOTHING}</td>"
    yield f'<td class="n">{figure(sum(call.attempts for call in calls) / len(calls))}</td>'
    raised = next((call.raised for call in calls if call.raised), "")
    yield f'<td class="long">{escape(raised)}</td>'


def _both(found: Spread) -> str:
    return " · ".join(dict.fromkeys((milliseconds(found.p50), milliseconds(found.p95))))


def contenders(view: View) -> Iterator[str]:
    """Who they are, with which versions, and where to correct them."""
    yield (
        "<p>Each contender is one short file. Whoever knows a better way to use one corrects it there; a run of its rows"
        " alone is <code>python -m benchmarks run --contenders NAME</code>.</p>"
        '<div class="wide"><table><thead><tr><th scope="col">contender</th><th scope="col">what was built with it</th>'
        '<th scope="col">versions</th><th scope="col">to be corrected in</th></tr></thead><tbody>'
    )
    for one in view.results.contenders:
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        missing = f"<br><b>Not run:</b> {escape(one.missing)}" if one.missing else ""
        yield (
            f'<tr><th scope="row">{escape(label(one))}</th><td class="long">{escape(one.what)}{missing}</td>'
            f'<td class="long">{escape(versions)}</td><td><code>{escape(one.file)}</code></td></tr>'
        )
    yield "</tbody></table></div>"
