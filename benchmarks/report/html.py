"""A run as one HTML file: it asks for nothing over the network, reads on a phone and in the dark, and prints.

Every plot has a table of its figures behind it. Its looks are `page.css`, its little script is `page.js`.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.report import figures, tables
from benchmarks.report.view import View
from benchmarks.report.words import OUTCOMES, SIGNS, count, label, length, milliseconds
from benchmarks.results import Contender, Cost, Results
from benchmarks.suite.run import DOUBTFUL

__all__ = ["html"]

_HERE: Final = Path(__file__).parent

_PARTS: Final = {
    "outcomes": "Who kept the call",
    "anatomy": "Where the time of an outage goes",
    "latency": "How long until the caller is heard again",
    "lost": "What the model never heard of the caller's speech",
    "silence": "How long the caller hears nothing",
    "costs": "What running costs",
    "scenarios": "Every scenario",
    "contenders": "Contenders, versions, and how to correct one",
    "method": "Method and limits",
}


def html(results: Results) -> str:
    """Returns the page of a run."""
    view = View(results)
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    bodies = {
        "outcomes": _outcomes(view),
        "anatomy": figures.anatomy(view),
        "latency": figures.latency(view),
        "lost": figures.lost(view),
        "silence": figures.silence(view),
        "costs": chain(figures.costs(results.costs), tables.costs(results.costs)),
        "scenarios": tables.scenarios(view),
        "contenders": tables.contenders(view),
        "method": _method(view),
    }
    shown = {name: "".join(body) for name, body in bodies.items()}
    shown = {name: body for name, body in shown.items() if body}
    links = "".join(f'<a href="#{name}">{_PARTS[name]}</a> ' for name in shown)
    parts = "".join(
        f'<section id="{name}" class="{name}"><h2>{_PARTS[name]}</h2>{body}</section>' for name, body in shown.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Realtime voice under faults, {escape(results.made[:10])}</title><style>{style}</style></head><body>"
        f"<header>{''.join(_head(view))}</header><nav>{links}</nav><main>{parts}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _head(view: View) -> Iterator[str]:
    results, machine = view.results, view.results.machine
    yield "<h1>Realtime voice sessions under faults: who keeps the call?</h1>"
    if results.quick:
        yield '<p class="warn">This was a quick run: it shows that everything is alive, and its figures say little.</p>'
    yield from _in_words(view)
    facts = {
        "Measured": f"{results.made[:16].replace('T', ' ')} UTC, in {length(results.seconds)}",
        "Calls": f"{count(len(results.calls), 'call')}: {view.calls_per_cell} for each contender in each scenario;"
        f" seed {results.seed}",
        "Machine": f"{machine.processor}, {count(machine.cores, 'core')}, {machine.memory_mib / 1024:.1f} GiB,"
        f" {machine.system}, {machine.python}; a fixed piece of work varied by {100 * machine.noise:.1f} %",
    }
    yield '<dl class="facts">'
    for name, fact in facts.items():
        yield f"<dt>{name}</dt><dd>{escape(fact)}</dd>"
    yield f"<dt>Command</dt><dd><code>{escape(results.command)}</code></dd></dl>"


def _in_words(view: View) -> Iterator[str]:
    """The result, for who reads nothing else."""
    scenarios = len(view.results.scenarios)
    ranked = sorted(view.contenders, key=lambda one: view.tally(one)["kept"], reverse=True)
    if not ranked or not scenarios:
        yield '<p class="lead">No calls were held.</p>'
        return
    first, *rest = ranked
    yield (
        f'<p class="lead"><b>{escape(label(first))}</b> kept the call in {view.tally(first)["kept"]} of'
        f" {count(scenarios, 'scenario')}: the caller noticed a pause at most, in every call"
        f" that was held ({view.calls_per_cell} in each).</p>"
    )
    if rest:
        others = ", ".join(f"{escape(label(one))} in {view.tally(one)['kept']}" for one in rest)
        yield f"<p>The others: {others}.</p>"
    losses = _losses(view, first)
    if losses:
        yield f"<p>Where {escape(label(first))} did not keep every call: {losses}.</p>"
    yield from _goals(view.results.costs)


def _losses(view: View, contender: Contender) -> str:
    found: list[str] = []
    for cell in view.of(contender):
        if cell.cannot:
            found.append(f"{escape(cell.scenario.name)} (cannot: {escape(cell.cannot)})")
        elif cell.outcome not in {None, "kept"}:
            told = ", ".join(f"{number} {outcome}" for outcome, number in cell.outcomes.items() if outcome != "kept")
            found.append(f"{escape(cell.scenario.name)} ({told} of {len(cell.calls)})")
    return ", ".join(found)


def _goals(costs: tuple[Cost, ...]) -> Iterator[str]:
    goals = [cost for cost in costs if cost.met is not None]
    if goals:
        missed = ", ".join(f"{escape(cost.group)}, {escape(cost.name)}" for cost in goals if not cost.met)
        met = sum(bool(cost.met) for cost in goals)
        yield f"<p>Of {count(len(goals), 'goal')} of cost, {met} {'is' if met == 1 else 'are'} met"
        yield f"; not met: {missed}.</p>" if missed else ".</p>"


def _outcomes(view: View) -> Iterator[str]:
    yield (
        "<p>A scenario counts by the worst of its calls: it is <i>kept</i> where every call was. Below, each square is one"
        " contender in one scenario; where not every call came to the worst, the small figure says how many did.</p>"
    )
    yield '<ul class="legend">'
    for outcome, meaning in OUTCOMES.items():
        yield f'<li><i style="background:var(--{outcome})"></i>{SIGNS[outcome]} {outcome}: {meaning}</li>'
    yield '<li><i style="background:var(--cannot)"></i>blank: it cannot do this, or was not run</li></ul>'
    yield from figures.tally(view)
    yield from tables.matrix(view)


def _method(view: View) -> Iterator[str]:
    fewest = milliseconds(DOUBTFUL)
    yield f"""<ul>
<li>Every contender runs in a process and an environment of its own, against the same simulated Gemini Live service over
TLS on loopback, with the same audio at the same seconds. Round trips are emulated by a proxy.</li>
<li>The audio is stamped: the service counts what it heard, what was lost, repeated or late, by positions in it. All steps of
an outage but the first two are seen by the service, so they are measured alike for everybody; the first two are told apart
by the contender's own word, where it says.</li>
<li>Callers do not wait for software: what is said is said at the same seconds whether or not there is a connection, so a
slow recovery is not omitted from the figures. A call that never recovers counts as slower than every other.</li>
<li>Percentiles are by nearest rank: of fewer than 20 calls p95 is the highest, of fewer than 100 p99 is.</li>
<li>A simulated service answers as fast as it is told to, and loopback has no loss of its own: absolute times are lower than
over the Internet; differences between contenders are what this measures. It is not the real service.</li>
<li>{view.doubtful} of the calls are doubtful: the contender's loop was late by more than {fewest} in them, which may be the
machine's doing.</li>
<li>Where a figure sums over scenarios, none of them brings more calls than the usual one.</li>
<li>Who wrote this suite wrote one of the contenders. Peers have a second row, <i>tuned</i>, with the best settings that
their own documentation names; whoever knows better ones corrects the adapter named above.</li>
</ul><p>docs/benchmarks.md in the project says all of it, with the definitions of the measures.</p>"""
