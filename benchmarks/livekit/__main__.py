"""``python -m benchmarks.livekit``: one scripted call per contender and fault, side by side, as a Markdown table.

Every call is a real AgentSession with a headset of its own, over TLS on loopback, against simulated services that count what
they hear by positions in the audio. The rows are `benchmarks.livekit.scenarios`, the contenders the files of
`benchmarks.livekit.contenders`: correct a contender there.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import msgspec

from benchmarks.arguments import Parser, count, ended, kept, target
from benchmarks.livekit.contenders import CONTENDERS, load
from benchmarks.livekit.cost import costs_of
from benchmarks.livekit.runs import held_all
from benchmarks.livekit.scenarios import BRIEFLY, SCENARIOS
from benchmarks.livekit.table import Cost, Page, markdown

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
"""What LiveKit's google plugin asks for by itself."""

PACKAGES = ("unbroken", "livekit-agents", "livekit-plugins-google", "google-genai", "websockets")


def main() -> int:
    """Runs, prints, stores. Returns the exit status."""
    return ended(_run)


def _run() -> int:
    given = _arguments()
    page = None if given.read is None else _read(given.read)
    if page is None or given.again:
        page = _measured(given, page)
    text = markdown(page)
    if given.page is not None:
        _write_page(given.page, text)
    if given.out is not None:
        kept(given.out, msgspec.json.encode(page).replace(b'{"contender"', b'\n{"contender"') + b"\n")
    print(text)
    return 0


def _read(path: Path) -> Page:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Page)
    except OSError as error:
        return _refuse(f"cannot read {path}: {error.strerror}")
    except ValueError as error:
        return _refuse(f"{path}: this is no file of results (--out writes one): {error}")


def _refuse(because: str) -> NoReturn:
    print(f"python -m benchmarks.livekit: {because}", file=sys.stderr)
    sys.exit(2)


def _arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m benchmarks.livekit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rows, with a call of 13 s, and no cost: under a minute")
    parser.add_argument("--contenders", nargs="*", choices=CONTENDERS, default=CONTENDERS, help="only these")
    parser.add_argument("--scenarios", nargs="*", help="only these rows")
    parser.add_argument("--model", default=MODEL, help="the model that everybody asks for (default: %(default)s)")
    parser.add_argument("--at-once", type=count, default=8, help="calls at once in each process (default: %(default)s)")
    parser.add_argument("--processes", type=count, default=2, help="(default: %(default)s)")
    parser.add_argument("--out", type=target, help="where all figures are stored, as JSON")
    parser.add_argument("--read", type=Path, help="measures nothing, and reads such a file")
    parser.add_argument("--again", action="store_true", help="with --read: holds the doubtful calls of it again")
    parser.add_argument("--page", type=target, help="a page whose part between the marks is replaced by the tables")
    parser.add_argument("--log", action="store_true", help="shows what the contenders log")
    return parser.parse_args()


def _measured(given: argparse.Namespace, before: Page | None) -> Page:
    known = [row.name for row in (BRIEFLY if given.quick else SCENARIOS)]
    if unknown := [name for name in given.scenarios or () if name not in known]:
        _refuse(f"no scenario {unknown[0]!r}; there are: {', '.join(known)}")
    chosen = [row for row in (BRIEFLY if given.quick else SCENARIOS) if not given.scenarios or row.name in given.scenarios]
    outcomes = held_all(
        chosen,
        given.contenders,
        known=() if before is None else before.outcomes,
        model=given.model,
        processes=given.processes,
        at_once=given.at_once,
        log=given.log,
    )
    rows = {outcome.scenario for outcome in outcomes}
    interrupted = len(rows) < len(chosen)
    chosen = [row for row in chosen if row.name in rows]
    contenders = {name: load(name) for name in given.contenders}
    costs: list[Cost] = [] if before is None else list(before.costs)
    if not costs and not given.quick and not given.scenarios and not interrupted:
        try:
            costs = costs_of([name for name in ("google", "unbroken") if name in contenders], model=given.model, rounds=2)
        except KeyboardInterrupt:
            print("\ninterrupted; without what running costs", file=sys.stderr)
    return Page(
        made=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        machine=f"{sys.platform}, {os.cpu_count()} cores, TLS on loopback",
        model=given.model,
        contenders={one.NAME: one.WHAT for one in contenders.values()},
        files={one.NAME: f"benchmarks/livekit/contenders/{name}.py" for name, one in contenders.items()},
        scenarios={row.name: row.what for row in chosen},
        alone=[one.NAME for one in contenders.values() if not one.BACKUP],
        needs_backup=[row.name for row in chosen if row.needs_backup],
        outcomes=outcomes,
        costs=costs,
    )


MARKS = ("<!-- tables: python -m benchmarks.livekit -->\n", "<!-- end of tables -->\n")


def _write_page(path: Path, text: str) -> None:
    """Replaces what stands between the marks."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(MARKS[0])
    _, mark, after = rest.partition(MARKS[1])
    if not mark:
        _refuse(f"{path} has no marks; put {MARKS[0].strip()} and {MARKS[1].strip()} where the tables belong")
    path.write_text(f"{before}{MARKS[0]}\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
