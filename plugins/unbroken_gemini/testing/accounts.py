"""The account of one client's audio, over all its connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unbroken.testing.intervals import Intervals, Range
from unbroken.testing.report import CallReport, Report
from unbroken_gemini.testing.contexts import SAMPLES_PER_MS, Context
from unbroken_gemini.testing.ear import Ear

if TYPE_CHECKING:
    from unbroken_gemini.testing.link import GeminiLink

__all__ = ["Caller", "report_of"]


class Caller:
    """What one client has sent.

    Attributes:
        speech: where its audio was loud, wherever it arrived.
    """

    def __init__(self) -> None:
        self.speech = Intervals()
        self._sent = Intervals()
        self._before: dict[int, Intervals] = {}  # connection -> what had been sent when its first audio came

    @property
    def end(self) -> int:
        """The position after the last that ever came."""
        return self._sent.end

    def sent_on(self, link: int, ranges: Sequence[Range]) -> list[Range]:
        """Takes note of audio. Returns what of it had been sent on an earlier connection."""
        if link not in self._before:
            self._before[link] = self._sent.copy()
        before = self._before[link]
        self._sent.update(ranges)
        return [part for start, end in ranges for part in before.within(start, end)]


def report_of(
    caller: Caller,
    links: Sequence[GeminiLink],
    *,
    calls: Sequence[CallReport],
    speech: Intervals | None,
    upto: int | None,
    replies: int,
) -> Report:
    """Returns the account.

    Args:
        caller: what the client has sent.
        links: its connections.
        calls: the tool calls issued on them.
        speech: where the original is loud; None: it is not known, so what arrived has to do.
        upto: up to which position; None: up to the last that ever came.
        replies: how many replies were finished.
    """
    # the newest one is not the last that connected: a connection may lie ready for long before or after it is set up
    newest = max((link for link in links if link.live), key=lambda it: (not it.waits, it.talks_from), default=None)
    context = newest.dialogue.context if newest is not None and newest.dialogue is not None else _nothing()
    end = caller.end if upto is None else upto
    spoken = (caller.speech if speech is None else speech).within(0, end)
    heard = context.ledger.heard.within(0, end)
    told = context.told.within(0, end) - heard
    lost = Intervals([(0, end)]) - heard - told
    forgotten = (context.forgotten - heard - told).within(0, end)
    return Report(
        upto=end,
        heard=tuple(heard),
        told=tuple(told),
        lost=tuple(lost),
        speech=tuple(spoken),
        forgotten=tuple(forgotten),
        repeated=tuple(context.ledger.repeated),
        heard_ms=_ms(heard.total),
        told_ms=_ms(told.total),
        lost_ms=_ms(lost.total),
        lost_speech_ms=_ms((lost & spoken).total),
        told_speech_ms=_ms((told & spoken).total),
        speech_ms=_ms(spoken.total),
        forgotten_ms=_ms(forgotten.total),
        repeated_ms=_ms(context.ledger.repeated_total),
        reordered_ms=_ms(context.ledger.reordered),
        late_ms=_ms(context.ledger.late),
        unstamped_ms=_ms(sum(link.dialogue.account.unstamped for link in links if link.dialogue is not None)),
        links=tuple(link.report() for link in links),
        calls=tuple(calls),
        texts=tuple(context.texts),
        history=tuple(context.history),
        results=tuple(context.results),
        turns=context.spoken_turns,
        replies=replies,
    )


def _nothing() -> Context:
    return Context(number=0, session=0, began=0.0, ear=Ear(threshold=1.0, silence=1.0))


def _ms(samples: int) -> float:
    return samples / SAMPLES_PER_MS
