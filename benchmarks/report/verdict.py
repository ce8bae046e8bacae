"""A comparison for people: on a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.report.compare import Comparison, Move
from benchmarks.report.words import count

__all__ = ["markdown", "terminal"]

_HEADS = ("", "who", "where", "what", "was", "is", "n, or range")


def terminal(comparison: Comparison) -> RenderableType:
    """Returns what a terminal shows."""
    parts: list[RenderableType] = [Text(f"! {doubt}", style="yellow") for doubt in comparison.doubts]
    for title, moves in _parts(comparison):
        table = Table(*_HEADS, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for move in moves:
            words = (_sign(move), move.who, move.where, move.what, move.old, move.new, move.n)
            table.add_row(*(Text(one) for one in words), style=_style(move))
        parts.append(table)
    parts += [Text(line, style="bold" if not place else "") for place, line in enumerate(_closing(comparison))]
    return Group(*parts)


def markdown(comparison: Comparison) -> str:
    """Returns the same as Markdown."""
    lines: list[str] = [f"- Note: {_plain(doubt)}." for doubt in comparison.doubts]
    for title, moves in _parts(comparison):
        lines += ["", f"**{title}**", "", f"| {' | '.join(_HEADS)} |", "| --- " * len(_HEADS) + "|"]
        for move in moves:
            words = (_sign(move), move.who, move.where, move.what, move.old, move.new, move.n)
            lines.append(f"| {' | '.join(map(_plain, words))} |")
    return "\n".join([*lines, "", *_closing(comparison)]).lstrip("\n") + "\n"


def _parts(comparison: Comparison) -> Iterator[tuple[str, Sequence[Move]]]:
    titled = {
        "Outcomes that changed": comparison.outcomes,
        "Figures of calls that moved": comparison.calls,
        "Costs that moved": comparison.costs,
    }
    yield from ((title, sorted(moves, key=_worst_first)) for title, moves in titled.items() if moves)


def _worst_first(move: Move) -> tuple[int, bool]:
    return {False: 0, None: 1, True: 2}[move.better], not move.sure


def _closing(comparison: Comparison) -> Iterator[str]:
    cells = f"{count(comparison.cells, 'cell')} of both runs, {count(comparison.tests, 'test')} of figures"
    if not comparison.moves:
        yield f"Nothing moved beyond the noise ({cells})."
    else:
        better = sum(move.better is True and move.sure for move in comparison.moves)
        chance = sum(not move.sure for move in comparison.moves)
        yield (
            f"{len(comparison.regressions)} worse, {better} better"
            + (f", {chance} changed outcomes that few calls may have done by chance" if chance else "")
            + f" ({cells})."
        )
    if comparison.alone is not None:
        yield (
            f"There are too few calls to show that a single cell moved: that takes {comparison.alone} in each run"
            " (--runs). Contenders over all scenarios, outcomes and costs were compared."
        )


def _sign(move: Move) -> str:
    if not move.sure and move.better is not None:
        return "maybe better" if move.better else "maybe worse"
    return {True: "better", False: "WORSE", None: "changed"}[move.better]


def _style(move: Move) -> str:
    if not move.sure or move.better is None:
        return "dim"
    return "green" if move.better else "red"


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
