"""A recording, done again by the pure core: the same inputs and questions, compared with what came of them then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from unbroken.abc import Policy
from unbroken.core.classify import Rule, classify
from unbroken.core.first import first_target
from unbroken.core.machine import Command, IllegalInput, Input, Machine, State
from unbroken.core.policy import DefaultPolicy, settled
from unbroken.core.rules import in_order
from unbroken.decisions import Decision, Fault
from unbroken.errors import ConfigError
from unbroken.recorder.lines import (
    FORMAT,
    Answered,
    Checked,
    Ended,
    Entry,
    Expired,
    Header,
    Line,
    Started,
    Taken,
    decode,
    parse,
    plain,
)

__all__ = ["Replayed", "Step", "header_of", "replay"]

_DEFAULT: Final = DefaultPolicy()

_NOT_COMPARED: Final = ("because", "advice", "confidence")
"""What is said of a fault or a decision is for people, and may be said better in a later version."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a recording, done again.

    Attributes:
        number: of the line in the file, from 1.
        line: what was recorded.
        before: the state before it, as recorded.
        due: of a timer that ran out: the input that the machine took; None: a sign of life excused it.
        fault: of a decision: what the rules make of the closure now.
        decision: of a decision: what the policy decides now; None: it is not here, and the decision stands as recorded.
        differs: what is different now, in one sentence; "": nothing is.
        skipped: the machine was not driven through it, since it had gone another way before.
    """

    number: int
    line: Entry
    before: State
    due: Input | None = None
    fault: Fault | None = None
    decision: Decision | None = None
    differs: str = ""
    skipped: bool = False


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a replay.

    Attributes:
        header: whose recording it is.
        steps: what was recorded and done again, in order.
        differences: what came out differently, in order, each with its place in the file.
        inputs: inputs that the machine was driven through.
        decisions: questions that were classified and decided again.
        foreign_rules: faults by rules that are not among the rows here (an application's own), taken as recorded.
        foreign_policy: decisions of a policy that is not here, taken as recorded.
        cut: what is missing of the file; "": nothing.
    """

    header: Header
    steps: tuple[Step, ...]
    differences: tuple[str, ...]
    inputs: int
    decisions: int
    foreign_rules: int = 0
    foreign_policy: int = 0
    cut: str = ""

    @property
    def same(self) -> bool:
        """Everything came out as it was recorded."""
        return not self.differences


def replay(
    lines: Iterable[str | bytes],
    *,
    policy: Policy | None = None,
    rules: Callable[[str], Sequence[Rule]] = lambda target: (),
) -> Replayed:
    """Does again what a recording holds.

    A fresh machine takes the recorded inputs; its commands, its states and the later checkpoints are compared. Each closure
    is classified again, and the policy asked again in the recorded situation. What is said for people is not compared.

    Args:
        lines: of the recording.
        policy: is asked; None: the default policy where the session had that one, and otherwise nobody. A decision that
            the default policy took in the place of another one (`Answered.fallback`) is always asked of the default policy.
        rules: returns a target's rows, by the target's name: an application's own and those of its provider. The protocols'
            own are added here.

    Raises:
        ConfigError: it is no recording, or one of a later version; the text says what is wrong.
    """
    header, numbered, cut = _read(lines)
    if policy is None and header.policy == "default":
        policy = _DEFAULT
    again = _Again(header, policy=policy, rules=rules)
    for number, line in numbered:
        again.take(number, line)
    return again.replayed(cut)


class _Again:
    """A replay while it goes on."""

    def __init__(self, header: Header, *, policy: Policy | None, rules: Callable[[str], Sequence[Rule]]) -> None:
        self._header = header
        self._policy = policy
        self._rules = rules
        self._machine: Machine | None = None
        self._state = State.NEW
        self._steps: list[Step] = []
        self._differences: list[str] = []
        self._inputs = 0
        self._decisions = 0
        self._foreign_rules = 0
        self._foreign_policy = 0

    def replayed(self, cut: str) -> Replayed:
        return Replayed(
            header=self._header,
            steps=tuple(self._steps),
            differences=tuple(self._differences),
            inputs=self._inputs,
            decisions=self._decisions,
            foreign_rules=self._foreign_rules,
            foreign_policy=self._foreign_policy,
            cut=cut,
        )

    def take(self, number: int, line: Line) -> None:
        match line:
            case Checked():
                self._check(number, line)
            case Answered():
                self._decide(number, line)
            case Started():
                self._start(number, line)
            case Header() | Ended():
                raise ConfigError(f"line {number} has no place there: a recording begins once and ends once")
            case _:
                self._put(number, line)

    def _check(self, number: int, line: Checked) -> None:
        if self._machine is not None:
            now = Checked.of(self._machine.checkpoint())
            if plain(now) != plain(line):
                self._differ(number, f"the machine stands otherwise than at the checkpoint: {_contrast(line, now)}")
        self._machine = Machine(self._header.settings)
        self._machine.restore(line.checkpoint())
        self._state = line.state

    def _put(self, number: int, line: Taken) -> None:
        before, self._state = self._state, line.state
        if self._machine is None:
            self._steps.append(Step(number=number, line=line, before=before, skipped=True))
            return
        self._inputs += 1
        commands = _put(line, self._machine)
        state = self._machine.state
        differs = ""
        if (commands, state) != (line.commands, line.state):
            differs = f"it comes to {_result(commands, state)}; recorded is {_result(line.commands, line.state)}"
            self._machine = None  # it has gone another way; the next checkpoint brings it back
            self._differ(number, differs, at=line.at)
        due = _due(line, before, self._machine)
        self._steps.append(Step(number=number, line=line, before=before, due=due, differs=differs))

    def _start(self, number: int, line: Started) -> None:
        self._decisions += 1
        differs = _different("the beginning", line.first, first_target(line.situation))
        if differs:
            self._differ(number, differs, at=line.at)
        self._steps.append(Step(number=number, line=line, before=self._state, differs=differs))

    def _decide(self, number: int, line: Answered) -> None:
        self._decisions += 1
        targets, current = line.situation.targets, line.situation.current
        rows = in_order(self._rules(targets[current].name) if current < len(targets) else ())
        if line.fault.rule == "unknown" or any(rule.id == line.fault.rule for rule in rows):
            fault = classify(line.closure, rows)
        else:
            fault = line.fault
            self._foreign_rules += 1
        decision: Decision | None = None
        if line.fallback:
            decision = _DEFAULT.decide(fault, line.situation)
        elif self._policy is not None:
            decision = settled(self._policy, fault, line.situation).decision
            if decision is None:
                decision = _DEFAULT.decide(fault, line.situation)
        else:
            self._foreign_policy += 1
        differs = _different("the fault", line.fault, fault)
        if decision is not None:
            differs = "; ".join(part for part in (differs, _different("the decision", line.decision, decision)) if part)
        if differs:
            self._differ(number, differs, at=line.at)
        self._steps.append(
            Step(number=number, line=line, before=self._state, fault=fault, decision=decision, differs=differs)
        )

    def _differ(self, number: int, what: str, *, at: float | None = None) -> None:
        when = f", {at - self._header.began:.3f} s" if at is not None else ""
        self._differences.append(f"line {number}{when}: {what}")


def _put(line: Taken, machine: Machine) -> tuple[Command, ...] | None:
    try:
        return line.put(machine)
    except IllegalInput:
        return None


def _due(line: Taken, before: State, machine: Machine | None) -> Input | None:
    if machine is None or not isinstance(line, Expired) or not line.commands:
        return None
    excused = line.commands == (Command.PING,) and line.state is before
    return None if excused else machine.last


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(lines: Iterable[str | bytes]) -> tuple[Header, list[tuple[int, Line]], str]:
    """Returns the header, the numbered lines between it and the end, and what is missing."""
    texts = [(number, text) for number, text in enumerate(lines, start=1) if text.strip()]
    header = header_of(texts[0][1] if texts else "")
    read: list[tuple[int, Line]] = []
    for number, text in texts[1:]:
        try:
            read.append((number, decode(text)))
        except (ValueError, ConfigError) as error:
            if number == texts[-1][0]:
                return header, read, f"it breaks off within line {number}"
            raise ConfigError(f"line {number} is none of a recording: {error}") from error
    match read[-1:]:
        case [(number, Ended(lines=count))]:
            whole = count == len(read)  # of which one is the end, in the place of the header
            return header, read[:-1], "" if whole else f"it has {len(read)} lines before its end, where {count} were written"
        case _:
            return header, read, f"it breaks off after line {texts[-1][0]}"


def header_of(text: str | bytes) -> Header:
    """Reads the first line of a recording.

    Raises:
        ConfigError: it is no such line, or one of a later version; the text says what is wrong.
    """
    if not text.strip():
        raise ConfigError("it is empty, so no recording")
    try:
        said = parse(text)
        if said["type"] != "recording":
            raise ValueError(f"its first line is of type {said['type']!r}")
        version, writer = int(said["format"]), said["unbroken"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError("its first line is not that of a recording; Session.record writes one") from error
    if version > FORMAT:
        raise ConfigError(
            f"it is of format {version}, by unbroken {writer}, and this version reads up to {FORMAT}:"
            f" pip install 'unbroken>={writer}'"
        )
    try:
        header: Header = msgspec.convert(said, Header, strict=False)
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"its first line is not that of a recording: {error}") from error
    return header


# -- telling apart ----------------------------------------------------------------------------------------------------


def _result(commands: Sequence[Command] | None, state: State) -> str:
    said = "a refusal" if commands is None else ", ".join(command.name for command in commands) or "no command"
    return f"{state.name} with {said}"


def _different(what: str, then: msgspec.Struct, now: msgspec.Struct) -> str:
    one, two = ({name: value for name, value in plain(told).items() if name not in _NOT_COMPARED} for told in (then, now))
    if one == two:
        return ""
    return f"{what} is {_fields(two, one)}; recorded is {_fields(one, two)}"


def _contrast(then: Checked, now: Checked) -> str:
    one, two = plain(then), plain(now)
    return f"{_fields(two, one)}; recorded is {_fields(one, two)}"


def _fields(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Names the fields that the other has not, or not so."""
    told: list[str] = []
    for name, value in one.items():
        theirs = other.get(name)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping) and value != theirs:
            told.append(f"{name} {_fields(cast('Mapping[str, Any]', value), cast('Mapping[str, Any]', theirs))}")
        elif name not in other or theirs != value:
            told.append(f"{name} {value!r}")
    return ", ".join(told)
