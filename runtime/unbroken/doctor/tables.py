"""A report for people: a row for each check, the fix below it, the verdict last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from unbroken.abc import Finding, Verdict
from unbroken.doctor.report import Report

__all__ = ["report_tables"]

_MARKS: Final[dict[Verdict, tuple[str, str]]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "bold yellow"),
    "problem": ("✗", "bold red"),
}

_CHECK_WIDTH: Final = 12
"""Columns of the check's name, so that the tables of all targets are one."""


def report_tables(report: Report) -> RenderableType:
    """Renders a report for a console of any width."""
    parts: list[RenderableType] = [_heading("environment and route"), _table(report.findings)]
    for target in report.targets:
        parts += [_heading(target.name, target.platform), _table(target.findings)]
    return Group(*parts, Text(""), _verdict(report))


def _heading(name: str, platform: str = "") -> Text:
    return Text.assemble("\n ", (name, "bold"), (f"  {platform}" if platform else "", "dim"))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2, justify="right", no_wrap=True)
    table.add_column(width=_CHECK_WIDTH, no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        plain = finding.verdict == "ok"
        table.add_row(Text(mark, style=style), Text(finding.check, style="dim" if plain else ""), Text(finding.said))
        if finding.fix:
            fix = Table.grid(padding=(0, 1))
            fix.add_row(Text("→", style=style), Text(finding.fix, style="cyan"))
            table.add_row("", "", fix)
    return table


def _verdict(report: Report) -> Text:
    problems, warnings = len(report.having("problem")), len(report.having("warning"))
    targets = _counted(len(report.targets), "target")
    if report.verdict == "problem":
        bad = sum(target.verdict == "problem" for target in report.targets)
        where = f", at {bad} of {targets}" if bad and len(report.targets) > 1 else ""
        text = f" CALLS WOULD BREAK  {_counted(problems, 'problem')}{where}"
    else:
        text = f" CALLS WORK  {targets}"
    more = f", {_counted(warnings, 'warning')}" if warnings else ""
    return Text(
        f"{text}{more}.", style={"ok": "bold green", "warning": "bold yellow", "problem": "bold red"}[report.verdict]
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
