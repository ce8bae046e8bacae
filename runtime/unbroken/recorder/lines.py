"""A recording's lines: one JSON object each, told apart by their field ``type``.

Inputs, commands and states stand there by their names in `unbroken.core.machine`. Numbers that JSON does not have are the
strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias, cast

import msgspec

from unbroken.config import Settings
from unbroken.core.first import First
from unbroken.core.machine import Checkpoint, Command, Input, Machine, State
from unbroken.decisions import Closure, Decision, Fault, Situation, printable

__all__ = [
    "FORMAT",
    "LONGEST",
    "Announced",
    "Answered",
    "Checked",
    "Ended",
    "Entry",
    "Expired",
    "Fed",
    "Header",
    "Lagged",
    "Line",
    "Outage",
    "Started",
    "Taken",
    "Useful",
    "Waited",
    "decode",
    "encode",
    "parse",
    "plain",
]

FORMAT: Final = 1
"""The number of this format. A reader refuses a higher one; fields that it does not know it passes over."""

LONGEST: Final = 1000
"""Characters of a text that are kept: of a peer's reason, and of what rules and policies say."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="recording"):
    """The first line: whose recording it is.

    Attributes:
        format: the number of the format.
        unbroken: the version that wrote it.
        session: the session's name.
        targets: the route, by name.
        settings: the session's bounds, without its wording.
        policy: the name under which the session's policy is registered; "": it was an object of the application's.
        policy_repr: how that object shows itself.
        began: when the session took its first input, in seconds on its clock, as all times of the other lines.
        now: the time on that clock when the recording was written.
        written: the wall-clock time of that moment, as ISO 8601 has it.
        lost: inputs and decisions before the first checkpoint, which the recording has lost.
    """

    format: int
    unbroken: str
    session: str
    targets: tuple[str, ...]
    settings: Settings
    policy: str
    policy_repr: str
    began: float
    now: float
    written: str
    lost: int = 0


class Checked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="checkpoint"):
    """Where the machine stood between the line before and the line after. See `Checkpoint` for the fields."""

    state: State
    last: Input
    timers: Mapping[Input, float]
    asked_at: float
    handover_from: float
    lull_from: float = -math.inf
    quiet_left: float = 0.0

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Checked:
        """Makes a line of a checkpoint."""
        return cls(**msgspec.structs.asdict(checkpoint))

    def checkpoint(self) -> Checkpoint:
        """Returns the checkpoint."""
        return Checkpoint(**msgspec.structs.asdict(self))


class Taken(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """Something entered the machine: a call of one of its methods, which the type names.

    Attributes:
        at: the present, as the machine was told it.
        commands: what came out; None: the input was refused, as one that cannot happen in that state.
        state: where the session was after it.
    """

    at: float
    commands: tuple[Command, ...] | None = ()
    state: State

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine.

        Raises:
            IllegalInput: that one refuses it.
        """
        raise NotImplementedError


class Fed(Taken, frozen=True, kw_only=True, gc=False, tag="feed"):
    """`Machine.feed`."""

    input: Input

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        return machine.feed(self.input, self.at)


class Waited(Taken, frozen=True, kw_only=True, gc=False, tag="wait"):
    """`Machine.wait`."""

    until: float

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        return machine.wait(self.until, self.at)


class Announced(Taken, frozen=True, kw_only=True, gc=False, tag="announce"):
    """`Machine.announce`."""

    time_left: float
    firm: bool = True

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        machine.announce(self.time_left, self.at, firm=self.firm)
        return ()


class Useful(Taken, frozen=True, kw_only=True, gc=False, tag="useful"):
    """`Machine.useful`."""

    up_since: float

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        machine.useful(self.up_since, self.at)
        return ()


class Outage(Taken, frozen=True, kw_only=True, gc=False, tag="outage"):
    """`Machine.outage`; `at` is when the outage began, which may be before the line above."""

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        machine.outage(self.at)
        return ()


class Lagged(Taken, frozen=True, kw_only=True, gc=False, tag="lag"):
    """`Machine.lag`."""

    paused: bool

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        machine.lag(self.at, paused=self.paused)
        return ()


class Expired(Taken, frozen=True, kw_only=True, gc=False, tag="expire"):
    """`Machine.expire`."""

    sign_at: float
    output_at: float
    thinking: float = 0.0
    in_tools: bool = False

    def put(self, machine: Machine) -> tuple[Command, ...]:
        """Does the same with another machine."""
        return machine.expire(
            self.at, sign_at=self.sign_at, output_at=self.output_at, thinking=self.thinking, in_tools=self.in_tools
        )


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="decision"):
    """The policy's answer reached the session.

    Attributes:
        at: when.
        closure: how the link ended, with all the facts that the rules were asked with.
        situation: what the policy was asked with.
        fault: what the rules made of the closure.
        decision: what the session was told to do.
        not_before: when the runtime lets it dial; None: nothing is to be dialled.
        fallback: the decision is the built-in one, because the session's policy failed or was late.
    """

    at: float
    closure: Closure
    situation: Situation
    fault: Fault
    decision: Decision
    not_before: float | None
    fallback: bool


class Started(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="first"):
    """It was chosen where the session begins.

    Attributes:
        at: when.
        situation: the route as it was then.
        first: what was chosen.
    """

    at: float
    situation: Situation
    first: First


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The last line; without it the file is not whole.

    Attributes:
        lines: how many lines stand before this one.
    """

    lines: int


Entry: TypeAlias = Taken | Answered | Started
"""What is kept in the ring."""

Line: TypeAlias = (
    Header | Checked | Fed | Waited | Announced | Useful | Outage | Lagged | Expired | Answered | Started | Ended
)


def encode(line: Line | Entry) -> bytes:
    """Returns one line, its line break included."""
    return msgspec.json.encode(plain(line)) + b"\n"


def decode(line: str | bytes) -> Line:
    """Reads one line.

    Raises:
        ValueError: it is none; the text says why.
    """
    said = parse(line)
    if isinstance(said, dict):
        said = _members(cast("dict[str, Any]", said))
    read: Line = msgspec.convert(said, Line, strict=False)
    if isinstance(read, Started | Answered):
        _check_place(read.situation, read.first.target if isinstance(read, Started) else read.situation.current)
    return read


def parse(line: str | bytes) -> Any:
    """Reads JSON that may come from anybody: what a terminal would obey is a blank in it.

    Raises:
        ValueError: it is none, or too deep.
    """
    try:
        return _printable(msgspec.json.decode(line))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def plain(value: object) -> Any:
    """Returns a struct as dicts, lists and what JSON can say: enums by name, long texts cut, infinite numbers as strings."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case str():
            return value[:LONGEST].encode(errors="replace").decode()  # half a surrogate pair cannot be written
        case Enum():
            return value.name
        case msgspec.Struct():
            told = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
            config = value.__struct_config__
            return {config.tag_field: config.tag, **told} if config.tag_field is not None else told
        case Mapping():
            return {plain(key): plain(item) for key, item in cast("Mapping[object, object]", value).items()}
        case list() | tuple():
            return [plain(item) for item in cast("Sequence[object]", value)]
        case _:
            return value


def _printable(said: object) -> Any:
    match said:
        case str():
            return printable(said)
        case list():
            return [_printable(item) for item in cast("Sequence[object]", said)]
        case dict():
            return {_printable(name): _printable(item) for name, item in cast("Mapping[str, object]", said).items()}
        case _:
            return said


def _members(said: dict[str, Any]) -> dict[str, Any]:
    """Puts an enum's value, which is what msgspec reads, in the place of its name."""
    read = dict(said)
    for field, kind in (("state", State), ("input", Input), ("last", Input)):
        if field in said:
            read[field] = _member(kind, said[field])
    if isinstance(said.get("commands"), list):
        read["commands"] = [_member(Command, name) for name in said["commands"]]
    if isinstance(said.get("timers"), dict):
        read["timers"] = {_member(Input, name): due for name, due in said["timers"].items()}
    return read


def _check_place(situation: Situation, target: int) -> None:
    """Refuses a place on a route that no session can be in, before a policy is asked about it."""
    indexes = [state.index for state in situation.targets]
    if indexes != [*range(len(indexes))] or target not in indexes or situation.current not in indexes:
        raise ValueError(f"there is no target {target} among targets {indexes}")


def _member(kind: type[Enum], name: object) -> object:
    if not isinstance(name, str) or name not in kind.__members__:
        raise ValueError(f"there is no {kind.__name__.lower()} {name!r}")
    return kind[name].value
