"""``unbroken policy``: list the policies that are installed, or check one."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import tempfile
import textwrap
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from unbroken import registry
from unbroken.cli import Subparsers, add_rules, policy_named
from unbroken.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from unbroken.abc import Policy
    from unbroken.testing.policies import Verdict

__all__ = ["add"]

_SHOWN: Final = 12
"""Differences from the default policy that are printed; JSON has them all."""

_STORAGE: Final = "HYPOTHESIS_STORAGE_DIRECTORY"

_EPILOG: Final = """\
A policy is checked over every end of a connection that was really seen, in the situations in which a session may meet it,
over situations made up at random, and in whole sessions against services that keep failing. It must not raise, return what
cannot be performed, dial without a pause, wait longer than the session's patience, answer one question in two ways, go on
for ever, or take its time. What it does wrong is shown by the plainest question that was found, as Python.

Exit status: 0 where nothing is wrong, 1 where something is, 2 where there is no such policy.
"""


def add(subparsers: Subparsers) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("policy", help="list the policies that are installed, or check one")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = commands.add_parser(
        "list", help="the policies that are installed", description="Lists the installed policies."
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    checking = commands.add_parser(
        "check",
        help="ask a policy thousands of questions, and play it through sessions that fail",
        description="Looks for questions to which a policy has a wrong answer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checking.add_argument("policy", metavar="NAME", help="its name, or module:object")
    add_rules(checking)
    checking.add_argument("--examples", metavar="N", type=int, default=500, help="how much is made up (default: 500)")
    checking.add_argument("--json", action="store_true", help="print JSON")
    checking.set_defaults(run=_check)


# -- list -----------------------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    rows = list(_installed())
    if arguments.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for row in rows:
            said = Text(row["error"], style="red") if "error" in row else Text(row["summary"])
            table.add_row(Text(row["name"], style="bold"), said)
        Console(highlight=False).print(table)
    return int(any("error" in row for row in rows))


def _installed() -> Iterator[dict[str, str]]:
    for name in registry.names("unbroken.policies"):
        try:
            yield {"name": name, "summary": _summary(registry.policy(name))}
        except ConfigError as error:
            yield {"name": name, "error": str(error)}


def _summary(policy: Policy) -> str:
    """Returns the first sentence of the docstring of the policy's own class; without one, its repr."""
    own: str | None = vars(type(policy)).get("__doc__")
    if not own:
        return repr(policy)
    sentence, period, _ = " ".join(inspect.cleandoc(own).partition("\n\n")[0].split()).partition(". ")
    return sentence + period.rstrip()


# -- check ----------------------------------------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace) -> int:
    from unbroken.testing.policies import check

    if arguments.examples < 1:
        raise ConfigError(f"--examples is a whole number from 1 on, not {arguments.examples}")
    policy = policy_named(arguments.policy)
    rules = registry.rules(arguments.rules)
    with _litter_elsewhere():
        verdict = check(policy, examples=arguments.examples, rules=rules)
    if arguments.json:
        print(json.dumps(_plain(arguments.policy, verdict), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        console.print(_summary_of(arguments.policy, verdict))
        for complaint in verdict.complaints:
            console.print(Text.assemble("\n", (complaint.kind, "bold red"), f": it {complaint.what}\n"))
            print(textwrap.indent(complaint.example, "    "), end="")
        if verdict.differences:
            console.print()
            console.print(_differences(verdict))
    return int(bool(verdict.complaints))


@contextmanager
def _litter_elsewhere() -> Generator[None]:
    """Keeps hypothesis from leaving a folder of its own where the command is called."""
    if _STORAGE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="unbroken-") as folder:
        os.environ[_STORAGE] = folder
        try:
            yield
        finally:
            del os.environ[_STORAGE]


def _plain(name: str, verdict: Verdict) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": name, "ok": not verdict.complaints, **msgspec.to_builtins(verdict)}
    for told, complaint in zip(plain["complaints"], verdict.complaints, strict=True):
        told["example"] = complaint.example
    return plain


def _summary_of(name: str, verdict: Verdict) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    bad = len(verdict.complaints)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column()
    lines.add_row("policy", Text(name, style="bold"))
    if verdict.policy != name:
        lines.add_row("", Text(verdict.policy, style="dim"))
    lines.add_row("asked", f"{verdict.known:,} questions about known ends, {verdict.random:,} made up")
    if verdict.plays:
        ended = verdict.endings
        lines.add_row(
            "played",
            f"{verdict.plays:,} sessions that keep failing: {ended.get('policy', 0):,} ended by the policy,"
            f" {ended.get('session', 0):,} by a bound of the session, {ended.get('nothing', 0):,} well in between",
        )
    lines.add_row("slowest", f"{verdict.slowest_ms:.2f} ms, of {verdict.decisions:,} decisions")
    for note in verdict.notes:
        lines.add_row("note", Text(note, style="yellow"))
    lines.add_row("found", Text(f"{bad} wrong" if bad else "nothing wrong", style="bold red" if bad else "bold green"))
    return Panel(lines, title="policy check", title_align="left", border_style="red" if bad else "green")


def _differences(verdict: Verdict) -> RenderableType:
    from rich.table import Table

    table = Table(title="where it differs from the default policy", title_justify="left", box=None, padding=(0, 2))
    for column in ("known end", "fault", "default", "this policy"):
        table.add_column(column, header_style="dim", overflow="fold", no_wrap=column in ("known end", "fault"))
    for row in verdict.differences[:_SHOWN]:
        table.add_row(row.id, row.fault, row.default, row.policy)
    if (left := len(verdict.differences) - _SHOWN) > 0:
        table.add_row(f"… and {left} more", "", "", "")
    return table
