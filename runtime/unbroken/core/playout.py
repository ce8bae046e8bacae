"""How much of a reply can have been heard: what was received, less what a player cannot have played yet."""

from __future__ import annotations

__all__ = ["Playout"]


class Playout:
    """The clock of a player that plays a reply as it comes and waits where it has nothing.

    Attributes:
        received_ms: how much of the reply was received.
    """

    __slots__ = ("_played_out", "received_ms")

    def __init__(self) -> None:
        self.received_ms: float = 0.0
        self._played_out: float | None = None

    def add(self, size: int, *, rate: int, now: float) -> None:
        """Takes a piece of the reply.

        Args:
            size: bytes of s16le mono PCM.
            rate: samples per second.
            now: the present.
        """
        seconds = size / (2 * rate)
        self.received_ms += seconds * 1000
        played_out = self._played_out
        self._played_out = (now if played_out is None or played_out < now else played_out) + seconds

    def left_ms(self, now: float) -> float:
        """Returns how much is still to be played."""
        return 0.0 if self._played_out is None else max(0.0, self._played_out - now) * 1000

    def heard_ms(self, now: float) -> float:
        """Returns how much can have been heard: never more than was received, nor than the time since it began."""
        return max(0.0, self.received_ms - self.left_ms(now))

    def restart(self) -> None:
        """Begins the next reply. What is still being played of the last one delays it."""
        self.received_ms = 0.0

    def flush(self) -> None:
        """Stops what is being played: the user has interrupted."""
        self._played_out = None

    def __repr__(self) -> str:
        return f"<Playout {self.received_ms:.0f} ms received>"
