"""``unbroken replay``: what a recorded session did, done again by the same rules."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken import registry
from unbroken.abc import Policy
from unbroken.cli import Subparsers, add_rules, policy_named
from unbroken.core.classify import Rule
from unbroken.core.machine import DOING, LIVE, Command, Input, State
from unbroken.decisions import Decision, Escalate, FailOver, Finish, Retry, action_of
from unbroken.errors import ConfigError
from unbroken.recorder import Replayed, Step, header_of, replay
from unbroken.recorder.lines import (
    Announced,
    Answered,
    Expired,
    Fed,
    Header,
    Lagged,
    Outage,
    Started,
    Taken,
    Useful,
    Waited,
    plain,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["add"]

_WIDE: Final = 100
"""Columns from which on both states of a step are shown."""

_FOLDED: Final = {"handshake": 2, "talk": 3}
"""Steps from which on they are told as one."""

_SHOWN: Final = 10
"""Differences that are listed at the end."""

_COUNTED: Final = {
    Input.SPEECH_BEGAN: "speech",
    Input.TURN_ENDED: "turn",
    Input.REPLY_BEGAN: "reply",
    Input.TOOL_CALLED: "tool call",
}
"""What is counted of a conversation that is told as one."""

_STYLES: Final = {"retry": "green", "failover": "yellow", "escalate": "red", "finish": "blue"}

_EPILOG: Final = """\
Recordings are written where a session is given up (unbroken.Runtime(recordings=FOLDER), or UNBROKEN_RECORDINGS=FOLDER) and
by Session.record. Exit status: 0 where all came out as it was recorded, 1 where something did not, 2 for no recording.
"""


def add(subparsers: Subparsers) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "replay",
        help="what a recorded session did, done again by the same rules",
        description="Does again what a session's flight recorder kept, and says whether the same comes out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="a recording")
    parser.add_argument(
        "--policy",
        metavar="NAME",
        help="ask this policy what it would have decided, by name or as module:object; default: the session's own",
    )
    add_rules(parser)
    parser.add_argument("--all", action="store_true", help="show every input, also those of a quiet conversation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        lines = Path(arguments.file).read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{arguments.file} cannot be read: {error.strerror}") from error
    policy = policy_named(arguments.policy) if arguments.policy is not None else None
    rules = _rows(registry.rules(arguments.rules))
    try:
        policy = policy or _installed(header_of(lines[0] if lines else b""))
        replayed = replay(lines, policy=policy, rules=rules)
    except ConfigError as error:
        raise ConfigError(f"{arguments.file}: {error}") from error
    if arguments.json:
        print(json.dumps(_json(replayed), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        _Page(Console(highlight=False), replayed).print(everything=arguments.all)
    return 0 if replayed.same else 1


def _installed(header: Header) -> Policy | None:
    """Returns the session's own policy where it is registered here: a file has no say in what else is imported."""
    return registry.policy(header.policy) if header.policy in registry.names("unbroken.policies") else None


def _rows(own: Sequence[Rule]) -> Callable[[str], Sequence[Rule]]:
    def of(target: str) -> Sequence[Rule]:
        provider = target.partition("/")[0]
        if provider not in registry.names("unbroken.rules"):
            return own
        return (*own, *registry.load("unbroken.rules", provider))

    return of


# -- in words ---------------------------------------------------------------------------------------------------------


def _said(step: Step, began: float) -> str:
    match step.line:
        case Fed(input=happened):
            return happened.value
        case Waited(until=until):
            return f"decided: dial at {until - began:.3f} s"
        case Announced(time_left=seconds, firm=firm):
            whose = "the peer announced the end of the link" if firm else "the link may end, as documented"
            return f"{whose}, {seconds:g} s ahead"
        case Useful():
            return "something useful came on the link"
        case Outage():
            return "the outage began"
        case Lagged(paused=paused):
            return "the application takes no events" if paused else "the application takes its events again"
        case Expired():
            return step.due.value if step.due is not None else "a timer ran out, and nothing was amiss"
        case _:
            return ""


def _commands(line: Taken) -> str:
    if line.commands is None:
        return "refused"
    return ", ".join(command.name.lower().replace("_", " ") for command in line.commands)


def _how(decision: Decision, targets: Sequence[str]) -> str:
    match decision:
        case Retry(after=after, carry=carry):
            return f" {_when(after)} by {carry}{' without the audio kept' if decision.drop_media else ''}"
        case FailOver(target=index, after=after, carry=carry):
            name = targets[index] if index < len(targets) else f"target {index}"
            return f" to {name} {_when(after)} by {carry}"
        case Escalate() | Finish():
            return ""


def _when(after: float) -> str:
    return f"in {after:.3g} s" if after else "at once"


def _plural(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("ly") else f"{count} {noun}{'es' if noun.endswith('ch') else 's'}"


def _folded(steps: Sequence[Step]) -> str:
    """Tells several steps as one."""
    fed = [step.line.input for step in steps if isinstance(step.line, Fed)]
    if _kind(steps[0]) == "handshake":
        return ", ".join(happened.name.lower() for happened in fed)
    counts = Counter(fed)
    parts = [_plural(counts[happened], noun) for happened, noun in _COUNTED.items() if counts[happened]]
    return f"{', '.join(parts) or 'nothing new'} in {steps[-1].line.at - steps[0].line.at:.1f} s"


def _kind(step: Step) -> str:
    """Says what a step can be told as, together with others of its kind; "": it is told by itself."""
    line = step.line
    if step.differs or step.skipped or not isinstance(line, Fed | Useful | Expired | Outage):
        return ""
    if line.commands is None or set(line.commands) - {Command.PING}:
        return ""
    if step.before in DOING and line.state in DOING and line.state is not step.before:
        return "handshake"
    return "talk" if line.state is step.before or (line.state in LIVE and step.before in LIVE) else ""


def _groups(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Puts together what can be told as one; that an outage began is told by the end of its link."""
    for kind, run in groupby((step for step in steps if not isinstance(step.line, Outage) or step.differs), key=_kind):
        group = list(run)
        if kind and len(group) >= _FOLDED[kind]:
            yield group
        else:
            yield from ([step] for step in group)


# -- the page ---------------------------------------------------------------------------------------------------------


class _Page:
    """A replay on a terminal."""

    def __init__(self, console: Console, replayed: Replayed) -> None:
        self._console = console
        self._replayed = replayed
        self._header = replayed.header

    def print(self, *, everything: bool) -> None:
        self._print_header()
        steps = self._replayed.steps
        for group in [[step] for step in steps] if everything else _groups(steps):
            if len(group) > 1:
                self._row(group[0].line.at, _folded(group), before=group[0].before, line=group[-1].line, quiet=True)
            else:
                self._step(group[0])
        self._print_result()

    def _print_header(self) -> None:
        from rich.text import Text

        header = self._header
        policy = header.policy or header.policy_repr or "of the application's"
        self._console.print(Text(header.session, style="bold"), Text(f"on {', then '.join(header.targets)}"))
        lasted = header.now - header.began
        written = f"written {header.written}, {lasted:.1f} s into the session, by unbroken {header.unbroken}"
        self._console.print(Text(f"policy {policy}; {written}"), style="dim")
        if header.lost:
            self._console.print(Text(f"{header.lost} earlier inputs and decisions are not in it any more"), style="dim")
        self._console.print()

    def _step(self, step: Step) -> None:
        match step.line:
            case Answered() as line:
                self._answered(line)
            case Started(first=first) as line:
                target = line.situation.targets[first.target].name
                self._note(f"begins on {target}{f' {_when(first.after)}' if first.after else ''}", at=line.at)
                if first.because:
                    self._note(first.because)
            case Taken() as line:
                self._row(line.at, _said(step, self._header.began), before=step.before, line=line, quiet=bool(_kind(step)))
        if step.differs:
            self._note(f"differs: {step.differs}", style="bold red")

    def _answered(self, line: Answered) -> None:
        from rich.text import Text

        closure, fault = line.closure, line.fault
        self._note(f"link {closure.link}, in phase {closure.phase}, {closure.age:.1f} s old: {closure.ending.describe()}")
        self._note(Text.assemble((fault.kind, "bold"), f" ({fault.rule}): {fault.because}"))
        action, how = action_of(line.decision), _how(line.decision, self._header.targets)
        by = f" ({line.decision.rule})" if line.decision.rule else ""
        built_in = ", built in for a policy that failed or was late" if line.fallback else ""
        self._note(Text.assemble((action, f"bold {_STYLES[action]}"), how, f"{by}{built_in}: {line.decision.because}"))

    def _row(self, at: float, said: str, *, before: State, line: Taken | Answered | Started, quiet: bool) -> None:
        from rich.table import Table
        from rich.text import Text

        assert isinstance(line, Taken)
        wide = self._console.width >= _WIDE
        state = line.state.value
        moved = state if line.state is before else f"{before.value} → {state}" if wide else f"→ {state}"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=9, justify="right")
        grid.add_column(ratio=1)
        grid.add_column(width=27 if wide else 16)
        grid.add_column(width=14 if wide else 10)
        style = "dim" if quiet else ""
        grid.add_row(
            Text(f"{at - self._header.began:.3f}", style="dim"),
            Text(said, style=style),
            Text(moved, style=style or "cyan"),
            Text("" if quiet else _commands(line), style="" if line.commands is not None else "bold red"),
        )
        self._console.print(grid)

    def _note(self, said: str | Text, *, at: float | None = None, style: str = "") -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=9, justify="right")
        grid.add_column()
        time = f"{at - self._header.began:.3f}" if at is not None else ""
        grid.add_row(Text(time, style="dim"), Text(said, style=style) if isinstance(said, str) else said)
        self._console.print(grid)

    def _print_result(self) -> None:
        from rich.text import Text

        replayed = self._replayed
        self._console.print()
        for note in _notes(replayed):
            self._console.print(Text(note, style="yellow"))
        done = f"{_plural(replayed.inputs, 'input')} and {_plural(replayed.decisions, 'decision')} replayed"
        if replayed.same:
            self._console.print(Text.assemble(f"{done}: ", ("all the same", "bold green")))
            return
        self._console.print(Text.assemble(f"{done}: ", (_plural(len(replayed.differences), "difference"), "bold red")))
        for difference in replayed.differences[:_SHOWN]:
            self._console.print(Text(difference, style="red"))
        if len(replayed.differences) > _SHOWN:
            self._console.print(Text(f"and {len(replayed.differences) - _SHOWN} more"))


def _notes(replayed: Replayed) -> Iterator[str]:
    if replayed.cut:
        yield f"The file is not whole: {replayed.cut}."
    if skipped := sum(step.skipped for step in replayed.steps):
        yield f"{_plural(skipped, 'input')} could not be replayed: after a difference none is until the next checkpoint."
    if count := replayed.foreign_rules:
        those = "a rule that is not here stands" if count == 1 else "rules that are not here stand"
        yield f"{_plural(count, 'fault')} by {those} as recorded; --rules NAME adds rows."
    if count := replayed.foreign_policy:
        asked = replayed.header.policy or replayed.header.policy_repr or "a policy of the application's"
        stand = f"which is not here, {'stands' if count == 1 else 'stand'} as recorded"
        yield f"{_plural(count, 'decision')} of {asked}, {stand}; --policy NAME asks another."


def _json(replayed: Replayed) -> dict[str, Any]:
    whole: dict[str, Any] = plain(replayed)
    return {"same": replayed.same, **whole}
