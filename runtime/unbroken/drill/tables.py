"""The drill's result for people: tables that split to fit the terminal, the count of the audio, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unbroken.drill.report import DrillReport, Row
from unbroken.drill.tally import Outage
from unbroken.events import Recovered

__all__ = ["COLUMNS", "Column", "columns_that_fit", "report_tables"]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the drill's table.

    Attributes:
        head: its heading.
        cell: what stands in a row.
        number: it is right-aligned.
    """

    head: str
    cell: Callable[[Row], str]
    number: bool = True


def _of_outage(cell: Callable[[Outage], str]) -> Callable[[Row], str]:
    def in_row(row: Row) -> str:
        if row.outage is None:
            return "–"
        return "″" if row.shared else cell(row.outage)

    return in_row


def _of_recovery(cell: Callable[[Recovered], str]) -> Callable[[Row], str]:
    return _of_outage(lambda outage: cell(outage.recovered) if outage.recovered is not None else "?")


def _ms(name: str) -> Callable[[Row], str]:
    return _of_recovery(lambda recovered: _whole(getattr(recovered, name)))


def _step(name: str) -> Callable[[Row], str]:
    return _of_outage(lambda outage: _whole(getattr(outage.times, name)))


def _whole(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if 0.05 <= milliseconds < 0.95 else f"{milliseconds:.0f}"


def _runs(words: Sequence[str]) -> str:
    runs = ((word, len(list(run))) for word, run in groupby(words))
    return ", ".join(word if times == 1 else f"{word} x{times}" for word, times in runs)


def _seen_as(outage: Outage) -> str:
    return _runs([step.fault for step in outage.steps]) or "planned"


def _decision(outage: Outage) -> str:
    return _runs([step.action for step in outage.steps]) or "retry"


def _to(recovered: Recovered) -> str:
    return f"{recovered.link} other model" if recovered.failed_over else str(recovered.link)


COLUMNS: tuple[Column, ...] = (
    Column(head="#", cell=lambda row: str(row.number)),
    Column(head="fault", cell=lambda row: row.fault, number=False),
    Column(head="at s", cell=lambda row: "never" if row.at is None else f"{row.at:.1f}"),
    Column(head="seen as", cell=_of_outage(_seen_as), number=False),
    Column(head="decision", cell=_of_outage(_decision), number=False),
    Column(head="carry", cell=_of_outage(lambda outage: outage.carry or "?"), number=False),
    Column(head="to link", cell=_of_recovery(_to), number=False),
    Column(head="reply", cell=_of_recovery(lambda recovered: recovered.reply), number=False),
    Column(head="detect", cell=_step("detect_ms")),
    Column(head="decide", cell=_step("decide_ms")),
    Column(head="wait", cell=_step("wait_ms")),
    Column(head="failed", cell=_step("failed_ms")),
    Column(head="dial", cell=_step("dial_ms")),
    Column(head="TLS", cell=_step("tls_ms")),
    Column(head="upgrade", cell=_step("upgrade_ms")),
    Column(head="setup", cell=_step("setup_ms")),
    Column(head="catch-up", cell=_step("catch_up_ms")),
    Column(head="total", cell=_step("total_ms")),
    Column(head="replayed", cell=_ms("replayed_ms")),
    Column(head="uncertain", cell=_ms("uncertain_ms")),
    Column(head="told", cell=_ms("told_ms")),
    Column(head="repeated", cell=_of_outage(lambda outage: _whole(outage.repeated_known_ms))),
    Column(head="lost", cell=_ms("lost_ms")),
)
"""All columns, in order. Where they do not fit side by side, the first stands in each part."""

_GAP = 2


def columns_that_fit(rows: Sequence[Row], *, width: int) -> Iterator[tuple[Column, ...]]:
    """Splits the columns into tables that are no wider than asked, each with the first column."""
    widths = {column.head: max([len(column.head), *(len(column.cell(row)) for row in rows)]) + _GAP for column in COLUMNS}
    key, *others = COLUMNS
    part: list[Column] = [key]
    for column in others:
        if len(part) > 1 and sum(widths[each.head] for each in (*part, column)) - _GAP > width:
            yield tuple(part)
            part = [key]
        part.append(column)
    yield tuple(part)


def report_tables(report: DrillReport, *, console: Console) -> RenderableType:
    """Renders the whole result for a console of its width."""
    parts: list[RenderableType] = []
    for columns in columns_that_fit(report.rows, width=console.width):
        parts.append(Text(""))
        parts.append(_table(columns, report.rows))
    parts.append(Text(" Times and audio in milliseconds; repeated: of what was known to be heard.", style="dim"))
    parts.append(Padding(_counts(report), (1, 0, 1, 1)))
    parts.append(_verdict(report))
    return Group(*parts)


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column.head, justify="right" if column.number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in columns), style="" if row.survived else "bold red")
    return table


def _counts(report: DrillReport) -> RenderableType:
    count, replies = report.service, report.replies
    lines = [
        f"{report.seconds:.0f} s of {report.speech} over {report.links} links on {', '.join(report.route)}"
        + (", every known pitfall on" if report.harsh else ""),
    ]
    if count is not None:
        lines.append(
            f"user audio by the service's count: {_whole(count.speech_ms)} ms of speech, {_whole(count.lost_ms)} lost, "
            f"{_whole(count.told_ms)} told as a transcript; {_whole(count.repeated_ms)} repeated "
            f"({_whole(report.uncertain_ms)} declared uncertain), {_whole(count.reordered_ms)} out of order"
        )
    lines.append(
        f"replies: {replies.began} began, {replies.complete} complete, {replies.interrupted} interrupted, "
        f"{replies.cut} cut, {replies.open} never ended"
        + (f"; {replies.continued} of them carried a cut one on" if replies.continued else "")
    )
    if report.calls.called:
        lines.append(_calls(report))
    if report.unprovoked:
        causes = _runs([_seen_as(outage) for outage in report.unprovoked])
        lines.append(f"outages that no strike led to: {len(report.unprovoked)} ({causes})")
    return Text("\n".join(lines))


def _calls(report: DrillReport) -> str:
    calls, count = report.calls, report.service
    line = f"tool calls: {calls.called}, {len(calls.answers)} answered, {len(calls.cancelled)} cancelled by the model"
    if count is None:
        return line
    return f"{line}; answers that the model was never told: {count.results_missing}, told twice: {count.results_twice}"


def _verdict(report: DrillReport) -> RenderableType:
    if not report.broken:
        survived = sum(row.survived for row in report.rows)
        return Text(f" UNBROKEN  {survived} of {len(report.rows)} faults survived, nothing lost.", style="bold green")
    text = Text(" BROKEN", style="bold red")
    for sentence in report.broken:
        text.append(f"\n   {sentence}", style="red")
    return text
