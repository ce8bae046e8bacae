"""How fast the user's audio goes out that had to wait for a link."""

from __future__ import annotations

__all__ = ["Pace"]

_AT_ONCE = 0.3
"""Seconds of audio that may be sent at once; more is paced."""

_AHEAD = 0.02
"""Seconds of audio that are sent ahead of the pace, so that a step of the replay has something to send."""

_LEAST = 1.25
"""Times real time, below which no refusal lowers the pace: at 1 the user would never be caught up with."""


class Pace:
    """The pace of a session's replays, in times real time.

    Args:
        rate: samples per second.
        wanted: the pace that the application wants; None: each model's own.

    Attributes:
        going: what waited is being sent at the pace; otherwise the user's audio is live.
    """

    __slots__ = ("_from", "_limit", "_own", "_rate", "_wanted", "going")

    def __init__(self, *, rate: int, wanted: float | None = None) -> None:
        self.going: bool = False
        self._rate = rate
        self._wanted = wanted
        self._own = 1.0
        self._limit = float("inf")
        self._from = (0.0, 0)

    @property
    def times(self) -> float:
        """How much faster than real time audio goes out that has waited."""
        return min(self._own if self._wanted is None else self._wanted, self._limit)

    def begin_link(self, own: float) -> None:
        """Another link is current.

        Args:
            own: its model's pace (`unbroken.abc.Profile.catch_up`).
        """
        self._own = own
        self.going = False

    def refused(self) -> str:
        """What was replayed was refused: halves the pace of all replays to come.

        Returns:
            What that comes to, in one sentence.
        """
        self._limit = min(self.times, max(_LEAST, self.times / 2))
        return f"What has to wait for a link goes out at {self.times:.3g} times real time from now on."

    def stop(self) -> None:
        """All that waited has been sent, or there is no link to send it on."""
        self.going = False

    def consider(self, waits: int, *, position: int, now: float) -> None:
        """Begins to pace where more waits than may be sent at once.

        Args:
            waits: samples.
            position: from there on it waits.
            now: the present.
        """
        if not self.going and self.too_much(waits):
            self.restart(position=position, now=now)

    def restart(self, *, position: int, now: float) -> None:
        """Paces what follows a position from now on."""
        self.going, self._from = True, (now, position)

    def too_much(self, waits: int) -> bool:
        """Says whether so many samples may not be sent at once."""
        return waits > _AT_ONCE * self._rate

    def allowed(self, position: int, *, now: float) -> int:
        """Returns how many samples may be sent now, at most a tenth of a second; 0 or less: none.

        Args:
            position: up to here audio was sent.
            now: the present.
        """
        chunk = self._rate // 10
        if not self.going:
            return chunk
        since, start = self._from
        due = start + int(((now - since) * self.times + _AHEAD) * self._rate)
        return min(chunk, due - position)

    def __repr__(self) -> str:
        return f"<Pace {self.times:g} times real time, {'going' if self.going else 'live'}>"
