"""Where the user's speech begins and ends, where the application marks it and no model detects it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

__all__ = ["Mark", "Marks"]

Mark = Literal["start", "end", "stream_end"]


class Marks:
    """Turns what the application says of the user's speech into marks in the audio.

    Args:
        send: puts a mark behind the audio that came until now.
        manual: the application marks the turns; otherwise the model detects them, and only ends of the stream are marked.

    Attributes:
        manual: as given.
        owed: the user's turn was ended, and the answer that its end asks for has not begun.
    """

    def __init__(self, send: Callable[[Mark], None], *, manual: bool) -> None:
        self.manual = manual
        self.owed = False
        self._send = send
        self._open: Literal["user", "interruption"] | None = None

    def start(self) -> None:
        """The user begins to speak. Within speech that only an interruption began, nothing is marked again."""
        if not self.manual:
            return
        if self._open is None:
            self._send("start")
        self._open, self.owed = "user", False

    def interrupt(self) -> None:
        """Begins speech so that the model stops; whether anybody speaks is not known."""
        if self.manual and self._open is None:
            self._send("start")
            self._open, self.owed = "interruption", False

    def end(self) -> None:
        """The user has finished."""
        if not self.manual:
            self._send("stream_end")
            return
        if self._open is not None:
            self._send("end")
            # no Live model promises an answer to an interruption in which nobody spoke
            self._open, self.owed = None, self._open == "user"

    def end_open(self) -> None:
        """Ends speech that was begun, if there is any."""
        if self._open is not None:
            self.end()

    def answered(self) -> None:
        """A reply begins."""
        self.owed = False
