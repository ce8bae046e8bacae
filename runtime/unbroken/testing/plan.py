"""When faults strike: a schedule that is asked at every step of a connection, and knows no clock of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from unbroken.testing.faults import Down, Fault, Latency, Lifetime, NoReply, QuietAudio, RefuseModel, Stage

__all__ = ["FaultPlan"]


OF_THE_SERVICE = (Down, Latency, Lifetime, NoReply, QuietAudio, RefuseModel)
"""Strikes that concern no single connection."""


class _Entry:
    """A fault that may still strike."""

    def __init__(self, fault: Fault, armed_at: float) -> None:
        self.fault = fault
        self.left = fault.times
        self.armed_at = armed_at
        self.struck: set[int] = set()
        # What concerns no connection strikes at its time, unless a moment of a connection was asked for.
        self.at_once = isinstance(fault.strike, OF_THE_SERVICE) and fault.when.stage is None and fault.when.messages is None
        self.since: dict[int, float] = {}  # connection -> when it came to the stage that a delay is counted from


class FaultPlan:
    """The faults that may still strike.

    All times are seconds since the service began.

    Args:
        faults: in the order in which they strike where several could.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._entries: list[_Entry] = []
        for fault in faults:
            self.add(fault, now=0.0)

    def add(self, fault: Fault, *, now: float) -> None:
        """Adds a fault. With a moment before `now` it strikes as soon as it can."""
        self._entries.append(_Entry(fault, max(now, fault.when.seconds or 0.0)))

    @property
    def pending(self) -> tuple[Fault, ...]:
        """Those that have not struck as often as they are to; those without an end are left out."""
        return tuple(entry.fault for entry in self._entries if entry.left)

    def deadline(self, *, now: float) -> float | None:
        """Returns when the plan wants to be asked again though nothing happens; None: not by itself."""
        times = [entry.armed_at for entry in self._entries if entry.armed_at > now]
        times += [since + entry.fault.when.delay for entry in self._entries for since in entry.since.values()]
        return min((time for time in times if time > now), default=None)

    def take(
        self, *, now: float, connection: int, stages: Collection[Stage], messages: int = 0, newest: bool = True
    ) -> Fault | None:
        """Returns a fault that strikes a connection now; ask again until there is none.

        Args:
            now: the time.
            connection: its number.
            stages: all that it is at. Empty: its WebSocket is open and no setup has come.
            messages: how many its client has sent.
            newest: no younger connection is open.
        """
        for entry in self._entries:
            ready = now >= entry.armed_at and connection not in entry.struck and not entry.at_once
            if ready and self._fits(entry, now=now, connection=connection, stages=stages, messages=messages, newest=newest):
                entry.struck.add(connection)
                entry.since.pop(connection, None)
                if entry.left is not None:
                    entry.left -= 1
                    if entry.left <= 0:
                        self._entries.remove(entry)
                return entry.fault
        return None

    def take_for_all(self, *, now: float) -> Fault | None:
        """Returns a fault that strikes the service as a whole now, once for all its times; ask again until there is none."""
        for entry in self._entries:
            if entry.at_once and now >= entry.armed_at:
                self._entries.remove(entry)
                return entry.fault
        return None

    def forget(self, connection: int) -> None:
        """Takes note that a connection is over."""
        for entry in self._entries:
            entry.since.pop(connection, None)

    def _fits(
        self, entry: _Entry, *, now: float, connection: int, stages: Collection[Stage], messages: int, newest: bool
    ) -> bool:
        when = entry.fault.when
        if when.messages is not None:
            return messages >= when.messages
        if when.stage is None:
            return newest and not {"dial", "upgrade"} & set(stages)
        if when.stage not in stages:
            entry.since.pop(connection, None)
            return False
        return now >= entry.since.setdefault(connection, now) + when.delay
