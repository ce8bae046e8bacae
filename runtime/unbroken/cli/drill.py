"""``unbroken drill``: carry a session through a minute of faults.

On a simulated service; on the real one only this side's cutting the link can strike.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import anyio
import msgspec
from rich.console import Console

from unbroken.cli import Subparsers
from unbroken.drill.audio import read_speech
from unbroken.drill.plan import make_plan
from unbroken.drill.play import play
from unbroken.drill.report import DrillReport
from unbroken.drill.tables import report_tables
from unbroken.errors import ConfigError
from unbroken.testing.faults import FAULTS

__all__ = ["add"]

_EPILOG = """\
A fault is written FAULT@TIME: --fault 1011@3s --fault goaway:3s@10s. FAULT@MOMENT@TIME waits from that time on for a moment
of the connection (live, reply, user, tool): --fault reset@reply@8s. A fault of a connection's beginning (http-503,
stall-setup, 1008@setup) is followed by a reset, so that there is a beginning. The kinds:

{kinds}

Exit status: 0 where every promise was kept, 1 where one was broken, 2 where what was asked for cannot work.
"""


def add(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "drill",
        help="carry a session through a minute of faults",
        description="Streams recorded speech through a session, in real time, while faults from a schedule strike.",
        epilog=_EPILOG.format(
            kinds=textwrap.fill(", ".join(FAULTS), width=100, initial_indent="  ", subsequent_indent="  ")
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--audio", metavar="FILE", help="what the caller says: any WAV or FLAC (default: a shipped speech)")
    parser.add_argument(
        "--fault", metavar="FAULT@TIME", action="append", default=[], help="one fault of one's own schedule; repeatable"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="a random schedule; the same seed makes the same one")
    parser.add_argument("--duration", metavar="SECONDS", type=float, help="how long the caller speaks")
    parser.add_argument("--harsh", action="store_true", help="switch on every known pitfall of the real service")
    parser.add_argument(
        "--model", metavar="NAME", action="append", default=[], help="a model of the route; repeatable, best first"
    )
    parser.add_argument("--provider", metavar="NAME", help="run on this provider's real service; needs its key")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON, too ('-': to standard output)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    to_stdout = arguments.json == "-"
    console = Console(stderr=to_stdout, width=None if sys.stdout.isatty() and not to_stdout else _WIDTH, highlight=False)
    plan = make_plan(
        speech=read_speech(arguments.audio),
        faults=arguments.fault,
        seed=arguments.seed,
        seconds=arguments.duration,
        harsh=arguments.harsh,
        models=arguments.model,
        provider=arguments.provider,
    )
    _check_writable(arguments.json)
    report = anyio.run(play, plan, console)
    console.print(report_tables(report, console=console))
    if arguments.json:
        _write(report, arguments.json)
    return 1 if report.broken else 0


_WIDTH = 120
"""Columns of what is written to a file or a pipe."""


def _check_writable(path: str | None) -> None:
    if path in (None, "-"):
        return
    try:
        with Path(path or "").open("a"):
            pass
    except OSError as refused:
        raise ConfigError(f"cannot write {path!r}: {refused.strerror}; name another file for --json") from refused


def _write(report: DrillReport, path: str) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if path == "-":
        sys.stdout.buffer.write(encoded)
        sys.stdout.buffer.flush()
    else:
        Path(path).write_bytes(encoded)
