"""The user's turns, made of what the model wrote down of them, and the events by which LiveKit follows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livekit.agents import llm, utils

import unbroken

__all__ = ["UserTurns"]

_QUIET = 3.0
"""Seconds after the last word written down, after which the user counts as silent, though nothing said so."""


class _Turn:
    def __init__(self) -> None:
        self.id: str = utils.shortuuid("GI_")
        self.text = ""
        self.started_at = time.time()
        self.final = False
        self.answered = False
        self.stale = False


class UserTurns:
    """Turns pieces of transcript into turns.

    A crossing makes the model hear again, and write down again, what it had not answered: these words replace those that
    they repeat, and begin no turn.

    Args:
        started: the user begins to speak.
        stopped: the user has stopped.
        transcribed: the model wrote down some of it, or, final, all.
    """

    def __init__(
        self,
        *,
        started: Callable[[], None],
        stopped: Callable[[], None],
        transcribed: Callable[[llm.InputTranscriptionCompleted], None],
    ) -> None:
        self._started, self._stopped, self._transcribed = started, stopped, transcribed
        self._turn: _Turn | None = None
        self._speaking = False
        self._crossing = False
        self._echo = ""
        self._timer: asyncio.TimerHandle | None = None

    def wrote(self, event: unbroken.UserTranscript, *, replying: bool) -> None:
        """The model wrote down a piece of what the user said.

        Args:
            event: the piece.
            replying: a reply is in flight, so the piece is of the turn that it answers or of one that will interrupt it.
        """
        text = event.text
        turn = self._turn
        if turn is not None and turn.final and self._crossing:
            self._echo += text
            if turn.text.strip().startswith(self._echo.strip()):
                return
            text, self._crossing = self._echo, False
        if turn is None or turn.final or (turn.answered and not replying and not self._crossing):
            if not text.strip() and not event.finished:
                return
            turn = self._begin()
        if not replying and not turn.answered:
            self._speaks()
        if event.interim:
            self._show(turn, turn.text + text)
            return
        if turn.stale:
            turn.text, turn.stale = "", False
        turn.text += text if turn.text else text.lstrip()
        if text:
            self._show(turn, turn.text)
        if event.finished:
            self._finish()

    def activity(self, *, speaking: bool) -> None:
        """The service says that the user began to speak, or stopped."""
        if speaking:
            if self._turn is not None and self._turn.answered:
                self._finish()
            self._speaks()
        else:
            self.silent()

    def interrupted(self) -> None:
        """The user spoke while the model did."""
        self._finish()
        self._speaks()

    def reply_begins(self, *, unasked: bool) -> None:
        """The model begins to answer the user, who is taken to have finished.

        Args:
            unasked: neither the application nor a tool's result asked for it, so the user must have spoken, whether that
                was written down or not: what is still played of an earlier reply is out of date.
        """
        if unasked and not self._speaking and (self._turn is None or self._turn.final or self._turn.answered):
            self._speaks()
        self.silent()
        self._crossing = False
        if self._turn is not None:
            self._turn.answered = True

    def reply_ended(self) -> None:
        """A reply has ended, and was not cut: what came of the user's turn until then is all of it."""
        if self._turn is not None and self._turn.answered:
            self._finish()

    def crosses(self) -> None:
        """A link has ended: the next one may write down again what this one had."""
        self._crossing, self._echo = True, ""
        if self._turn is not None and not self._turn.final:
            self._turn.stale = True

    def crossed(self) -> None:
        """The user's audio is live again."""
        self._crossing = False

    def silent(self) -> None:
        """The user does not speak any more."""
        self._unwind()
        if self._speaking:
            self._speaking = False
            self._stopped()

    def close(self) -> None:
        """The session ends: the turn that was not finished is."""
        self._finish()
        self.silent()

    def _begin(self) -> _Turn:
        self._finish()
        self._turn = _Turn()
        return self._turn

    def _speaks(self) -> None:
        self._unwind()
        self._timer = asyncio.get_running_loop().call_later(_QUIET, self.silent)
        if not self._speaking:
            self._speaking = True
            self._started()

    def _show(self, turn: _Turn, text: str) -> None:
        self._transcribed(
            llm.InputTranscriptionCompleted(
                item_id=turn.id, transcript=text, is_final=False, turn_started_at=turn.started_at
            )
        )

    def _finish(self) -> None:
        turn = self._turn
        if turn is None or turn.final:
            return
        turn.final = True
        turn.text = turn.text.strip()
        if turn.text:
            self._transcribed(
                llm.InputTranscriptionCompleted(
                    item_id=turn.id, transcript=turn.text, is_final=True, turn_started_at=turn.started_at
                )
            )

    def _unwind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
