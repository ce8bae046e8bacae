"""The drill while it runs: a line per thing that happens and, on a terminal, a panel of how things stand."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unbroken.decisions import Escalate, FailOver, Finish, Retry
from unbroken.drill.report import Struck
from unbroken.drill.tally import Tally
from unbroken.events import Connected, Escalated, Event, OutageBegan, Recovered, ReplyBegan, Steps, ToolCall, Waiting

__all__ = ["STEP_COLOURS", "Show", "anatomy", "bar", "line_of"]

STEP_COLOURS = {
    "detect": "red",
    "decide": "bright_magenta",
    "wait": "bright_black",
    "failed": "dark_orange3",
    "credential": "white",
    "dial": "yellow",
    "tls": "green",
    "upgrade": "cyan",
    "setup": "blue",
    "catch_up": "magenta",
}
"""The steps of an outage, in order, and their colours in the bar."""

_STATE_STYLE = {"connecting": "yellow", "live": "bold green", "outage": "bold red", "escalated": "bold white on red"}
_BAR_WIDTH = 40
_WORTH_TELLING = 0.5
"""Seconds from which a wait gets a line of its own; the decision before has told of it."""


class Show:
    """Tells people what the drill does.

    Args:
        console: where to; on a terminal it gets the panel too.
        strikes: the schedule, whose entries learn when they struck.
        seconds: how long the caller is going to speak.
    """

    def __init__(self, console: Console, *, strikes: Sequence[Struck], seconds: float) -> None:
        self._console = console
        self._strikes = strikes
        self._seconds = seconds
        self._live: Live | None = None
        self._last: Recovered | None = None

    @contextmanager
    def running(self) -> Generator[None]:
        """Shows the panel while the body runs, on a terminal that can."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def struck(self, strike: Struck) -> None:
        """Tells of a strike."""
        self._print(strike.at or 0.0, Text.assemble(("strike  ", "bold yellow"), strike.fault))

    def event(self, event: Event, *, at: float) -> None:
        """Tells of an event, where it is one of those that matter here."""
        if isinstance(event, Recovered):
            self._last = event
        line = line_of(event, colour=self._console.is_terminal)
        if line is not None:
            self._print(at, line)

    def tick(self, tally: Tally, *, at: float, user_speaks: bool) -> None:
        """Draws the panel anew."""
        if self._live is not None:
            self._live.update(self._panel(tally, at=at, user_speaks=user_speaks), refresh=True)

    def _print(self, at: float, line: Text) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(justify="right", min_width=7, no_wrap=True)
        grid.add_column()
        grid.add_row(Text(f"{at:.2f} s", style="dim"), line)
        self._console.print(grid)

    def _panel(self, tally: Tally, *, at: float, user_speaks: bool) -> RenderableType:
        state = Text.assemble(
            ("unbroken drill", "bold"),
            f"  {_clock(at)} / {_clock(self._seconds)}  ",
            (f"● {tally.state}", _STATE_STYLE[tally.state]),
            f"  link {tally.link or 1}  {tally.target}",
        )
        speaking = Text.assemble(
            ("  caller ", "dim"),
            ("speaks " if user_speaks else "listens", "green" if user_speaks else "dim"),
            ("  model ", "dim"),
            ("speaks " if tally.model_speaks else "listens", "green" if tally.model_speaks else "dim"),
        )
        rows: list[RenderableType] = [state, speaking, self._schedule(tally, at)]
        if tally.waiting is not None:
            rows.append(Text(f"  waits {tally.waiting.seconds:.1f} s: {tally.waiting.because}", style="yellow"))
        elif self._last is not None:
            rows.append(Text.assemble(("  last outage ", "dim"), bar(self._last.steps)))
        rows.append(_audio_line(tally))
        rows.append(_legend())
        return Padding(Group(*rows), (1, 0, 0, 0))

    def _schedule(self, tally: Tally, at: float) -> Text:
        line = Text("  faults ", style="dim")
        for strike in self._strikes:
            if strike.at is None:
                line.append("· ", style="dim")
            elif tally.outage is not None and any(step.link == strike.link for step in tally.outage.steps):
                line.append("▶ ", style="bold red")
            elif tally.state == "live" and strike.link == tally.link:
                line.append("▷ ", style="yellow")  # nobody has noticed yet, or there is nothing to notice
            else:
                line.append("✓ ", style="green")
        ahead = next((strike for strike in self._strikes if strike.at is None), None)
        if ahead is not None:
            line.append(f" next {ahead.fault} in {max(0.0, ahead.due - at):.0f} s", style="dim")
        return line


def line_of(event: Event, *, colour: bool) -> Text | None:
    """Says what an event means in one line; None: it is nothing that a drill is about."""
    match event:
        case Connected():
            return Text.assemble(("live    ", "bold green"), f"link {event.link} on {event.target}: {anatomy(event.steps)}")
        case OutageBegan():
            return Text.assemble(
                ("outage  ", "bold red"),
                f"link {event.link}, {event.closure.phase}: {event.closure.ending.describe()}; ",
                (event.fault.kind, "bold"),
                f", {_decided(event)}. {event.because}",
            )
        case Waiting(seconds=seconds) if seconds >= _WORTH_TELLING:
            return Text.assemble(("waiting ", "yellow"), f"{event.seconds:.1f} s for {event.target}. {event.because}")
        case Recovered():
            return _recovered_line(event, colour=colour)
        case ReplyBegan(continues=cut) if cut:
            return Text.assemble(("reply   ", "cyan"), f"{event.reply} carries on {cut}, which was cut")
        case ToolCall():
            return Text.assemble(("call    ", "cyan"), event.name)
        case Escalated():
            return Text.assemble(("given up", "bold white on red"), f" {event.because} {event.advice}")
        case _:
            return None


def _recovered_line(event: Recovered, *, colour: bool) -> Text:
    carry = {"handle": "by handle", "history": "by history", "nothing": "with nothing"}[event.carry]
    line = Text.assemble(("live    ", "bold green"), f"link {event.link} on {event.target}, {carry}; ")
    if colour:
        line.append_text(bar(event.steps, width=_BAR_WIDTH // 2))
    else:
        line.append(anatomy(event.steps))
    line.append(f"; replayed {event.replayed_ms:.0f} ms ({event.uncertain_ms:.0f} uncertain), lost {event.lost_ms:.0f}")
    if event.reply != "none":
        line.append(f"; reply {event.reply}")
    return line


def _decided(event: OutageBegan) -> str:
    match event.decision:
        case Retry(after=after, carry=carry):
            return f"retry by {carry}" + (f" in {after:.1f} s" if after else "")
        case FailOver(target=target, carry=carry):
            return f"fail over to target {target + 1} by {carry}"
        case Escalate():
            return "escalate"
        case Finish():
            return "finish"


def _steps(steps: Steps) -> list[tuple[str, float]]:
    named = [(name, float(getattr(steps, f"{name}_ms"))) for name in STEP_COLOURS]
    return [(name, took) for name, took in named if took >= 0.5]


def anatomy(steps: Steps) -> str:
    """Says how long an outage took, as a sum: ``543 ms = detect 3 + dial 1 + setup 400 + …``."""
    parts = " + ".join(f"{name.replace('_', '-')} {took:.0f}" for name, took in _steps(steps))
    return f"{steps.total_ms:.0f} ms = {parts}" if parts else f"{steps.total_ms:.0f} ms"


def bar(steps: Steps, *, width: int = _BAR_WIDTH) -> Text:
    """Draws how long an outage took, a colour per step; every step that took time is at least one cell wide."""
    text = Text()
    total = steps.total_ms or 1.0
    for name, took in _steps(steps):
        text.append("█" * max(1, round(width * took / total)), style=STEP_COLOURS[name])
    return text.append(f" {steps.total_ms:.0f} ms")


def _legend() -> Text:
    text = Text("  ")
    for name, colour in STEP_COLOURS.items():
        text.append("█ ", style=colour).append(f"{name.replace('_', '-')}  ", style="dim")
    return text


def _audio_line(tally: Tally) -> Text:
    done = [outage.recovered for outage in tally.outages if outage.recovered is not None]
    lost = sum(recovered.lost_ms for recovered in done)
    replies = tally.replies
    return Text.assemble(
        ("  audio ", "dim"),
        f"replayed {sum(r.replayed_ms for r in done):.0f} ms ({sum(r.uncertain_ms for r in done):.0f} uncertain), ",
        (f"lost {lost:.0f} ms", "bold red" if lost else ""),
        ("  replies ", "dim"),
        f"{replies.began} began, {replies.complete} complete, {replies.interrupted} interrupted, {replies.cut} cut",
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
