"""What a session's control was told and what it answered, kept in a ring while the session lives."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from unbroken.config import Settings, Wording
from unbroken.core.first import First
from unbroken.core.machine import Checkpoint, Command, IllegalInput, Input, Machine
from unbroken.decisions import Situation
from unbroken.messages import Decided
from unbroken.recorder.lines import (
    FORMAT,
    Announced,
    Answered,
    Checked,
    Ended,
    Entry,
    Expired,
    Fed,
    Header,
    Lagged,
    Outage,
    Started,
    Useful,
    Waited,
    encode,
)

__all__ = ["RecordedMachine", "Recording"]

SEGMENTS: Final = 4
"""Pieces of the ring. The oldest is dropped as a whole, since only its beginning has a checkpoint."""

ENTRIES: Final = 128
"""Inputs and decisions of one piece. A turn of a conversation takes about eight, a failed attempt about six."""


class RecordedMachine(Machine):
    """A machine that keeps what enters it, with what it answered, in a ring of bounded size.

    Nothing is encoded until a recording is written.

    Args:
        settings: the session's bounds.
        segments: pieces of the ring, each of which begins with a checkpoint.
        entries: inputs and decisions in each.
    """

    def __init__(self, settings: Settings, *, segments: int = SEGMENTS, entries: int = ENTRIES) -> None:
        super().__init__(settings)
        self.began: float | None = None
        """When the first input came; None: none has come."""
        self.lost = 0
        """Entries that the ring has dropped."""
        self._segments: deque[tuple[Checkpoint, list[Entry]]] = deque(maxlen=segments)
        self._size = entries
        self._begin_segment()

    def feed(self, happened: Input, now: float) -> tuple[Command, ...]:
        """See `Machine.feed`."""
        try:
            commands = super().feed(happened, now)
        except IllegalInput:
            self.keep(Fed(at=now, input=happened, commands=None, state=self.state))
            raise
        self.keep(Fed(at=now, input=happened, commands=commands, state=self.state))
        return commands

    def wait(self, until: float, now: float) -> tuple[Command, ...]:
        """See `Machine.wait`."""
        try:
            commands = super().wait(until, now)
        except IllegalInput:
            self.keep(Waited(at=now, until=until, commands=None, state=self.state))
            raise
        self.keep(Waited(at=now, until=until, commands=commands, state=self.state))
        return commands

    def announce(self, time_left: float, now: float, *, firm: bool = True) -> None:
        """See `Machine.announce`."""
        super().announce(time_left, now, firm=firm)
        self.keep(Announced(at=now, time_left=time_left, firm=firm, state=self.state))

    def useful(self, up_since: float, now: float) -> None:
        """See `Machine.useful`."""
        super().useful(up_since, now)
        self.keep(Useful(at=now, up_since=up_since, state=self.state))

    def outage(self, began: float) -> None:
        """See `Machine.outage`."""
        super().outage(began)
        self.keep(Outage(at=began, state=self.state))

    def lag(self, now: float, *, paused: bool) -> None:
        """See `Machine.lag`."""
        super().lag(now, paused=paused)
        self.keep(Lagged(at=now, paused=paused, state=self.state))

    def expire(
        self,
        now: float,
        *,
        sign_at: float = -math.inf,
        output_at: float = -math.inf,
        thinking: float = 0.0,
        in_tools: bool = False,
    ) -> tuple[Command, ...]:
        """See `Machine.expire`."""
        commands = super().expire(now, sign_at=sign_at, output_at=output_at, thinking=thinking, in_tools=in_tools)
        self.keep(
            Expired(
                at=now,
                sign_at=sign_at,
                output_at=output_at,
                thinking=thinking,
                in_tools=in_tools,
                commands=commands,
                state=self.state,
            )
        )
        return commands

    def keep(self, entry: Entry) -> None:
        """Keeps something else that happened, in its place among the inputs."""
        if self.began is None:
            self.began = entry.at
        self._segment.append(entry)
        if len(self._segment) >= self._size:
            self._begin_segment()

    def kept(self) -> Sequence[tuple[Checkpoint, Sequence[Entry]]]:
        """Returns the ring's pieces, the oldest first, each with the machine as it was before."""
        return tuple(self._segments)

    def _begin_segment(self) -> None:
        if len(self._segments) == self._segments.maxlen:
            self.lost += len(self._segments[0][1])
        self._segment: list[Entry] = []
        self._segments.append((self.checkpoint(), self._segment))


class Recording:
    """One session's flight recorder: what its machine was told, what its policy was asked, and what came of both.

    It holds no audio, no text, no handle, no key: none of them enters the machine or a question. It has the names of the
    session, its targets and models, how links ended (the peer's words too), and times.

    Args:
        session: the session's name.
        targets: the route, by name.
        settings: the session's bounds.
        policy: the name under which the session's policy is registered; "": it is an object of the application's.
        policy_repr: how that object shows itself.

    Attributes:
        session: the session's name.
        machine: the session's machine, which keeps what enters it.
    """

    def __init__(
        self, session: str, *, targets: Sequence[str], settings: Settings, policy: str = "default", policy_repr: str = ""
    ) -> None:
        self.session = session
        self.machine = RecordedMachine(settings)
        self._targets = tuple(targets)
        self._settings = settings
        self._policy = policy
        self._policy_repr = policy_repr

    def __repr__(self) -> str:
        kept = sum(len(entries) for _, entries in self.machine.kept())
        return f"<Recording of {self.session!r}, {kept} inputs and decisions kept, {self.machine.lost} lost>"

    def first(self, situation: Situation, first: First, now: float) -> None:
        """Keeps where the session begins.

        Args:
            situation: the route, as `first_target` saw it.
            first: its choice.
            now: the present.
        """
        self.machine.keep(Started(at=now, situation=situation, first=first))

    def asked(self, decided: Decided, now: float) -> None:
        """Keeps a decision.

        Args:
            decided: the answer that is going to be performed, with the question as the policy saw it.
            now: the present.
        """
        self.machine.keep(
            Answered(
                at=now,
                closure=decided.closure,
                situation=decided.situation,
                fault=decided.fault,
                decision=decided.decision,
                not_before=decided.permit.not_before if decided.permit is not None else None,
                fallback=decided.fallback,
            )
        )

    def lines(self, *, now: float, written: datetime) -> Iterator[bytes]:
        """Encodes what is kept, line by line; see `unbroken.recorder.lines`.

        Args:
            now: the present, on the session's clock.
            written: the present, on the wall.
        """
        began = self.machine.began
        header = Header(
            format=FORMAT,
            unbroken=_version(),
            session=self.session,
            targets=self._targets,
            settings=msgspec.structs.replace(self._settings, wording=Wording()),  # texts of the application's
            policy=self._policy,
            policy_repr=self._policy_repr,
            began=now if began is None else began,
            now=now,
            written=written.isoformat(timespec="milliseconds"),
            lost=self.machine.lost,
        )
        yield encode(header)
        count = 1
        for checkpoint, entries in self.machine.kept():
            yield encode(Checked.of(checkpoint))
            yield from map(encode, entries)
            count += 1 + len(entries)
        yield encode(Checked.of(self.machine.checkpoint()))
        yield encode(Ended(lines=count + 1))

    def dump(self, to: str | os.PathLike[str] | BinaryIO, *, now: float, written: datetime) -> None:
        """Writes what is kept as JSON lines. A file appears whole or not at all; one of that name is replaced.

        Blocks for the time that it takes, some milliseconds on a local disk.

        Args:
            to: the file's path, or a binary stream, which stays open.
            now: the present, on the session's clock.
            written: the present, on the wall.

        Raises:
            OSError: it could not be written.
        """
        if not isinstance(to, str | os.PathLike):
            to.writelines(self.lines(now=now, written=written))
            return
        path = Path(to)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with partial.open("wb") as stream:
                stream.writelines(self.lines(now=now, written=written))
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def _version() -> str:
    from importlib import metadata  # half of what `import unbroken` would take besides

    try:
        return metadata.version("unbroken")
    except metadata.PackageNotFoundError:
        return "(not installed)"
