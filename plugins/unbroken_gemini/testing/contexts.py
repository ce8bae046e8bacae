"""What the model knows: a context per conversation, copied with every handle that is issued and every one that is used."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from unbroken.testing.intervals import Intervals, Ledger, Range
from unbroken_gemini.testing.ear import Ear

__all__ = ["Context", "Handle", "Piece", "positions_in", "transcript"]

SAMPLES_PER_MS = 16
_TOLD = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?) ms")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A message of audio since the end of the last turn.

    Attributes:
        message: its number on its connection; the setup is 0.
        ranges: the positions that came to light with it.
        now: when it came.
        ear: the state of hearing after it.
    """

    message: int
    ranges: tuple[Range, ...]
    now: float
    ear: Ear


class Context:
    """What the model knows of one conversation.

    Attributes:
        number: which context it is; a resumed one is a new one, with the past of the old.
        session: what all contexts of one session share; connections to one session exclude each other.
        began: when the session began, on the service's clock.
        ledger: the user's audio.
        told: positions that it was told as transcripts.
        seeded: of them, what a fresh session was told by client content.
        forgotten: positions that it had been told, and that a resume lost.
        texts: the user's texts.
        history: turns that it was told as history.
        unanswered: the user's texts since the model's last word.
        results: ids of tool calls whose answers it has.
        turns: turns of the user, by speech or text, that ended.
        spoken_turns: those by speech.
        asked: how often the model was asked to answer; what it answers goes by that.
        said: what the model said, in words.
        tokens: what the context holds, roughly as the service counts.
        transcription: the last transcription of the user's speech; "": none.
        ear: the state of hearing.
        turn: audio since the end of the last turn.
    """

    def __init__(self, *, number: int, session: int, began: float, ear: Ear) -> None:
        self.number = number
        self.session = session
        self.began = began
        self.ledger = Ledger()
        self.told = Intervals()
        self.seeded = Intervals()
        self.forgotten = Intervals()
        self.texts: list[str] = []
        self.history: list[str] = []
        self.unanswered: list[str] = []
        self.results: list[str] = []
        self.turns = 0
        self.spoken_turns = 0
        self.asked = 0
        self.said: list[str] = []
        self.tokens = 0
        self.transcription = ""
        self.ear = ear
        self.turn: list[Piece] = []
        self._seeds = 0  # turns of the history that were told while the session was fresh
        self._settled = self.ledger.copy()  # what had been heard at the end of the last turn
        self._settled_ear = ear.copy()

    def hear(self, piece: Piece) -> list[Range]:
        """Takes a message of audio. Returns what of it the context held already."""
        self.turn.append(piece)
        repeated: list[Range] = []
        for start, end in piece.ranges:
            repeated += self.ledger.arrived(start, end, now=piece.now)
        return repeated

    def settle(self) -> Intervals:
        """Ends the user's turn. Returns the positions that came since the end of the last one."""
        heard = Intervals(r for piece in self.turn for r in piece.ranges)
        self.turn.clear()
        self._settled = self.ledger.copy()
        self._settled_ear = self.ear.copy()
        return heard

    def tell(self, turns: Sequence[tuple[str, str]], *, fresh: bool = True) -> None:
        """Tells it history, as role and text; what the user's turns quote of transcripts is known by word.

        Args:
            turns: the history.
            fresh: the session is no resumed one.
        """
        self._seeds += len(turns) if fresh else 0
        for role, text in turns:
            self.history.append(text)
            if role == "model":
                self.unanswered.clear()
            else:
                self.unanswered.append(text)
                self.told.update(positions_in(text))
                self.seeded.update(positions_in(text) if fresh else ())

    def snapshot(self, *, pieces: int) -> Context:
        """Returns a copy as of some messages after the end of the last turn.

        Args:
            pieces: how many of the messages in `turn` are in it.
        """
        copy = Context(number=self.number, session=self.session, began=self.began, ear=self._settled_ear.copy())
        copy.ledger, copy._settled = self._settled.copy(), self._settled.copy()
        copy._settled_ear = self._settled_ear.copy()
        for piece in self.turn[:pieces]:
            copy.hear(piece)
            copy.ear = piece.ear.copy()
        copy.told, copy.seeded, copy.forgotten = self.told.copy(), self.seeded.copy(), self.forgotten.copy()
        copy._seeds = self._seeds
        copy.texts, copy.history, copy.results = self.texts.copy(), self.history.copy(), self.results.copy()
        copy.unanswered = self.unanswered.copy()
        copy.turns, copy.spoken_turns, copy.asked = self.turns, self.spoken_turns, self.asked
        copy.said = self.said.copy()
        copy.tokens, copy.transcription = self.tokens, self.transcription
        return copy

    def forget_history(self) -> None:
        """Loses what the session was told as history while it was fresh."""
        self.forgotten |= self.seeded
        self.told = self.told - self.seeded
        del self.history[: self._seeds]
        self.unanswered.clear()
        self.seeded, self._seeds = Intervals(), 0

    def __repr__(self) -> str:
        return f"<Context {self.number} of session {self.session}: {self.ledger!r}, {len(self.history)} told>"


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """A resumption handle, as the service keeps it.

    Attributes:
        context: the snapshot.
        model: the model that it is good for.
        platform: the platform that it is good for.
        link: the connection that it was issued on.
    """

    context: Context
    model: str
    platform: str
    link: int


def transcript(heard: Intervals) -> str:
    """Returns the positions of a turn as its transcript: "[0-1280 ms]"; exact, since a sample is a sixteenth of one."""
    return "[" + ", ".join(f"{_ms(start)}-{_ms(end)} ms" for start, end in heard) + "]"


def positions_in(text: str) -> list[Range]:
    """Returns the positions that a text quotes of transcripts."""
    return [(round(float(start) * SAMPLES_PER_MS), round(float(end) * SAMPLES_PER_MS)) for start, end in _TOLD.findall(text)]


def _ms(position: int) -> str:
    whole, rest = divmod(position, SAMPLES_PER_MS)
    return f"{whole + rest / SAMPLES_PER_MS:.4f}".rstrip("0") if rest else str(whole)
