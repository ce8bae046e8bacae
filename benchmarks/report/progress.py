"""The run while it goes on: what is done, what is held now, how long it still takes, and how the last calls ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks.report.words import count, label, length, milliseconds
from benchmarks.results import Call, Outcome

__all__ = ["Progress", "line_of"]

STYLES: Final[dict[Outcome, str]] = {
    "kept": "green",
    "degraded": "yellow",
    "silent": "magenta",
    "ended": "red",
    "failed": "bold red",
}

_LAST = 8
_AT_ONCE = 12
_WIDTH = 48

_Key: TypeAlias = "tuple[str, str, str, int]"


class Progress:
    """Tells people how a run goes, as a context manager around it.

    On a terminal a panel that is drawn anew four times a second; elsewhere a line per call, as it ends, so that a log says
    the same.

    Args:
        total: how many calls there will be, those that a contender cannot hold included.
        console: where to.
        clock: seconds, from anywhere.
    """

    def __init__(self, total: int, *, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._console = console
        self._clock = clock
        self._began = clock()
        self._held: dict[_Key, tuple[Call, float]] = {}
        self._last: deque[Call] = deque(maxlen=_LAST)
        self._done = 0
        self._skipped = 0
        self._stage = ""
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        self._began = self._clock()
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self.panel, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(f"{count(self._done, 'call')} in {length(self._clock() - self._began)}", highlight=False)

    def stage(self, what: str) -> None:
        """Says what the run does beside calls from now on ("environments: pipecat", "cost: 8 sessions"); "": nothing."""
        self._stage = what
        if what and self._live is None:
            self._console.print(what, highlight=False)

    def began(self, call: Call) -> None:
        """Says that a call is being held; of it, contender, settings, scenario and seed count."""
        self._held[_key(call)] = (call, self._clock())

    def ended(self, call: Call) -> None:
        """Says how a call ended; one that nobody said began is counted too."""
        self._held.pop(_key(call), None)
        self._done += 1
        self._skipped += bool(call.cannot)
        self._last.append(call)
        if self._live is None:
            wide = len(str(self._total))
            head = f"{self._done:>{wide}}/{self._total}  "
            self._console.print(Text.assemble(head, line_of(call)), soft_wrap=True)

    def left(self) -> float | None:
        """Returns the seconds that the rest will take where calls go on at the pace so far; None: none has ended yet."""
        held = self._done - self._skipped
        if not held:
            return None
        return (self._clock() - self._began) / held * max(0, self._total - self._done)

    def panel(self) -> RenderableType:
        """Returns what a terminal shows now."""
        now = self._clock()
        left = self.left()
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=max(1, self._total), completed=self._done, width=_WIDTH),
            Text(f"{self._done}/{self._total}", style="bold"),
            Text(f"{length(now - self._began)} so far"),
            Text("" if left is None else f"about {length(left)} left"),
        )
        parts: list[RenderableType] = [head]
        if self._stage:
            parts.append(Text(self._stage, style="bold"))
        if self._last:
            parts += [Text(""), *(line_of(call) for call in self._last)]
        if self._held:
            parts += [Text(""), self._now(now)]
        return Group(*parts)

    def _now(self, now: float) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(justify="right", min_width=6)
        shown = list(self._held.values())[:_AT_ONCE]
        for call, since in shown:
            grid.add_row(Text(length(now - since), style="dim"), f"{label(call)} · {call.scenario}")
        if len(self._held) > len(shown):
            grid.add_row("", Text(f"and {count(len(self._held) - len(shown), 'other')}", style="dim"))
        return grid


def line_of(call: Call) -> Text:
    """Returns how a call ended, in a line."""
    head = Text(f"{label(call)} · {call.scenario}: ", overflow="ellipsis", no_wrap=True)
    if call.cannot:
        return head.append(f"cannot: {call.cannot}", style="dim")
    if call.outcome is None:
        return head.append("not measured", style="dim")
    head.append(call.outcome, style=STYLES[call.outcome])
    if call.anatomy is not None and call.anatomy.reconnect is not None:
        head.append(f", audio again after {milliseconds(call.anatomy.reconnect)}")
    if call.lost:
        head.append(f", {milliseconds(call.lost)} of speech lost")
    if call.raised:
        head.append(f" ({call.raised.splitlines()[0]})", style="dim")
    return head


def _key(call: Call) -> _Key:
    return (call.contender, call.settings, call.scenario, call.seed)
