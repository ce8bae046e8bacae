"""``python -m benchmarks``: reconnecting under injected faults, beside the peers; `unbroken bench` is the same.

Every contender holds the same scripted call over TLS on loopback, each in a process and an environment of its own, and the
simulated service counts what it hears by positions in the audio. The scenarios are `benchmarks.suite.scenarios`, the
contenders the files of `benchmarks.contenders`: correct a contender there.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib
import importlib.util
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import results
from benchmarks.arguments import INTERRUPTED, Parser, count, ended, kept, target
from benchmarks.contenders import environments
from benchmarks.contenders.table import ROWS, named
from benchmarks.contenders.table import Row as Entry
from benchmarks.report.progress import Progress
from benchmarks.results import Call, Contender, Cost, Results
from benchmarks.suite.company import Company
from benchmarks.suite.machine import here
from benchmarks.suite.play import Player, play
from benchmarks.suite.run import AGAIN, Order, hold, orders
from benchmarks.suite.scenarios import QUICK, Row
from benchmarks.suite.scenarios import named as scenarios_named

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("run", "compare", "report", "list")
_COSTS = ("benchmarks.cost", "benchmarks.hot_path")
_STARTING = 2  # processes that start at once: that takes the processor


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line. Returns the exit status.

    Args:
        argv: the arguments; None: those of the process.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    return ended(lambda: _command(given))


def _command(argv: Sequence[str]) -> int:
    command, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("run", argv)
    try:
        match command:
            case "compare":
                return _compare(rest)
            case "report":
                return _report(rest)
            case "list":
                return _list()
            case _:
                return _run(rest)
    except ValueError as wrong:
        print(f"benchmarks: {wrong}", file=sys.stderr)
        return 2


# -- run --------------------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks [run]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Further commands: compare OLD.json NEW.json; report FILE.json --report PAGE.html; list.",
    )
    parser.add_argument("--quick", action="store_true", help="some rows, one run, no new environments: under two minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENARIO", help="only these rows")
    parser.add_argument("--contenders", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--runs", type=count, default=2, help="of each contender in each row (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random (default: %(default)s)")
    parser.add_argument("--jobs", type=count, default=12, help="calls at a time (default: %(default)s)")
    parser.add_argument("--no-cost", action="store_true", help="leaves out what running costs")
    parser.add_argument("--no-calls", action="store_true", help="measures only what running costs")
    parser.add_argument("--out", type=target, metavar="FILE.json", help="where the results are stored")
    _pages(parser)
    return parser


def _pages(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", type=target, metavar="PAGE.html", help="writes a page that needs nothing else")
    parser.add_argument("--markdown", type=target, metavar="PAGE.md", help="writes the tables")


def _run(argv: Sequence[str]) -> int:
    given = _parser().parse_args(argv)
    began, made = time.monotonic(), datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    rows = scenarios_named(given.only or (QUICK if given.quick else ()))
    machine, console = here(), Console(stderr=True)
    chosen = [row for name in given.contenders for row in named(name)]
    entries = [row for row in ROWS if not chosen or row in chosen]
    contenders, players = _places(entries, quick=given.quick, console=console)
    if not players:
        raise ValueError("no contender can run here: " + "; ".join(f"{one.name}: {one.missing}" for one in contenders))
    wanted = [] if given.no_calls else orders(players, rows, runs=1 if given.quick else given.runs, seed=given.seed)
    calls: list[Call] = []
    costs: list[Cost] = []
    status = 0
    try:
        with Progress(_total(wanted), console=console) as progress:
            asyncio.run(_hold(wanted, given=given, progress=progress, keep=calls))
            if not given.no_cost:
                costs.extend(_costs(quick=given.quick, progress=progress))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception:  # because the calls that were held by then are worth keeping, whatever it was
        traceback.print_exc()
        status = 1
    found = Results(
        made=made,
        seconds=round(time.monotonic() - began, 1),
        quick=given.quick,
        command=shlex.join(["python", "-m", "benchmarks", "run", *argv]),
        seed=given.seed,
        machine=machine,
        contenders=tuple(contenders),
        scenarios=tuple(row.public() for row in rows),
        calls=tuple(sorted(calls, key=partial(_place, contenders, rows))),
        costs=tuple(costs),
    )
    if given.out is not None:
        kept(given.out, results.write(found))
    _show(found, page=given.report, markdown=given.markdown)
    return status


def _places(entries: Sequence[Entry], *, quick: bool, console: Console) -> tuple[list[Contender], list[Player]]:
    """Returns who takes part, and of those that can run here where."""
    contenders: list[Contender] = []
    players: list[Player] = []
    for entry in entries:
        if not quick:
            console.print(f"environment: {entry.name}, {entry.settings}", highlight=False)
        place = environments.present(entry) if quick else environments.prepare(entry, root=ROOT)
        missing = place.why if isinstance(place, environments.Missing) else ""
        versions = {} if isinstance(place, environments.Missing) else place.versions
        contenders.append(
            Contender(
                name=entry.name,
                settings=entry.settings,
                what=entry.what,
                versions=versions,
                file=entry.file,
                missing=missing,
            )
        )
        if isinstance(place, environments.Environment):
            players.append(
                Player(
                    name=entry.name,
                    settings=entry.settings,
                    module=entry.module,
                    python=place.python,
                    backup=entry.backup,
                    tools=entry.tools,
                    cannot=entry.cannot,
                )
            )
    return contenders, players


async def _hold(wanted: Sequence[Order], *, given: argparse.Namespace, progress: Progress, keep: list[Call]) -> None:
    starting = asyncio.Semaphore(_STARTING)
    places = {(order.player.python, order.player.module) for order in wanted}
    companies = {place: Company(*place, root=ROOT) for place in places}

    async def perform(order: Order) -> list[Call]:
        company = companies[order.player.python, order.player.module]
        return await play(order.player, order.row, seed=order.seed, company=company, starting=starting)

    try:
        await hold(
            wanted, jobs=given.jobs, perform=perform, watcher=progress, keep=keep, again=0.0 if given.quick else AGAIN
        )
    finally:
        for company in companies.values():
            await company.close()


def _total(wanted: Sequence[Order]) -> int:
    """Returns how many calls there will be; where a contender has no way to hold them, one stands for all."""
    excused = {(o.player.name, o.player.settings, o.row.name) for o in wanted if o.player.excuse(o.row)}
    return len(excused) + sum(not order.player.excuse(order.row) for order in wanted)


def _costs(*, quick: bool, progress: Progress) -> list[Cost]:
    """Returns what running costs, by those parts that measure it."""
    found: list[Cost] = []
    for name in _COSTS:
        if importlib.util.find_spec(name) is None:
            continue
        measure = getattr(importlib.import_module(name), "measure", None)
        if measure is not None:
            progress.stage(f"cost: {name}")
            found.extend(measure(quick))
    return found


def _place(contenders: Sequence[Contender], rows: Sequence[Row], call: Call) -> tuple[int, int, int]:
    names = [(one.name, one.settings) for one in contenders]
    return [row.name for row in rows].index(call.scenario), names.index((call.contender, call.settings)), call.seed


# -- pages ------------------------------------------------------------------------------------------------------------------


def _show(found: Results, *, page: Path | None, markdown: Path | None) -> None:
    """Writes the pages that are asked for, and prints the tables where none is."""
    from benchmarks.report.html import html
    from benchmarks.report.markdown import markdown as tables

    if page is not None:
        kept(page, html(found).encode())
    if markdown is not None:
        kept(markdown, tables(found).encode())
    else:
        print(tables(found))


def _report(argv: Sequence[str]) -> int:
    parser = Parser(prog="python -m benchmarks report", description="Makes pages of a stored run.")
    parser.add_argument("file", type=Path, metavar="FILE.json")
    _pages(parser)
    parser.add_argument("--page", type=target, metavar="PAGE.md", help="replaces the tables between the marks of a page")
    given = parser.parse_args(argv)
    found = _read(given.file)
    if given.page is not None:
        from benchmarks.report.markdown import into_page
        from benchmarks.report.markdown import markdown as tables

        into_page(given.page, tables(found))
    if given.page is None or given.report is not None or given.markdown is not None:
        _show(found, page=given.report, markdown=given.markdown)
    return 0


def _compare(argv: Sequence[str]) -> int:
    from benchmarks.report.compare import compared
    from benchmarks.report.verdict import markdown, terminal

    parser = Parser(prog="python -m benchmarks compare", description="Says what moved between two runs beyond the noise.")
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--markdown", action="store_true", help="prints Markdown")
    parser.add_argument("--fail", action="store_true", help="ends with 1 where something is worse")
    given = parser.parse_args(argv)
    comparison = compared(_read(given.old), _read(given.new))
    if given.markdown:
        print(markdown(comparison))
    else:
        Console().print(terminal(comparison))
    return 1 if given.fail and comparison.regressions else 0


def _list() -> int:
    for row in scenarios_named(()):
        print(f"{row.name:20} {row.what}")
    print()
    for entry in ROWS:
        print(f"{entry.name:28} {entry.settings:8} {entry.what}")
    return 0


def _read(path: Path) -> Results:
    try:
        return results.read(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
