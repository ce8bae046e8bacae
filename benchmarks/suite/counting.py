"""From evidence to results: one `Call` for each session that a contender held. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from benchmarks.results import Anatomy, Call, Outcome, Reply
from benchmarks.suite.account import SAMPLES_PER_MS, lost_ms, told_ms
from benchmarks.suite.conversations import Conversation, Turn
from benchmarks.suite.evidence import Evidence, Told
from benchmarks.suite.heard import silences_in, words_in
from benchmarks.suite.model import WORD
from benchmarks.suite.outage import anatomies, attempts, outage_of
from benchmarks.suite.scenarios import Row
from unbroken.testing.intervals import Intervals

__all__ = ["TOLERATED", "count", "reply_of"]

TOLERATED: Final = 20.0
"""Milliseconds of speech, one frame, of which the loss degrades no call."""

_PAUSE: Final = 0.35  # seconds between two words from which it is a seam
_UNDERSTOOD: Final = 0.3  # of a turn's speech has to be known for its words to be
_ANSWERS_AFTER: Final = 0.8  # seconds: the silence that ends a turn, and the model's own time
_CALLS_AFTER: Final = 0.3  # the model's time to go on after a tool's result

_Words = Mapping[str, Sequence[float]]


def count(row: Row, evidence: Evidence, *, contender: str, settings: str, seed: int) -> list[Call]:
    """Counts what came of a run.

    Args:
        row: what was played.
        evidence: what it left behind.
        contender: its name.
        settings: "default" or "tuned".
        seed: of the run; the sessions of one process count on from it.
    """
    outage = outage_of(row, evidence)
    made, densest = (0, 0) if outage is None else attempts(outage, evidence.connections)
    found: Sequence[Anatomy | None] = [None] * row.sessions if outage is None else anatomies(row, evidence, outage)
    lag = max([evidence.lag, *(told.lag for told in evidence.told if told.lag is not None)])
    calls: list[Call] = []
    for session in range(row.sessions):
        told = [one for one in evidence.told if one.session == session]
        words = words_in(row.conversation, evidence.heard.get(session, ()))
        counted = _Counted(row, evidence) if row.sessions == 1 else None
        calls.append(
            Call(
                contender=contender,
                settings="tuned" if settings == "tuned" else "default",
                scenario=row.name,
                seed=seed + session,
                outcome=_outcome(row, evidence, told, words, counted, found[session]),
                anatomy=found[session],
                speech=None if counted is None else counted.speech,
                lost=None if counted is None else counted.lost,
                told=None if counted is None else counted.told,
                repeated=None if counted is None else evidence.report.repeated_ms,
                late=None if counted is None else evidence.report.late_ms,
                silence=_silence(row.conversation, evidence, session),
                reply="not_owed" if row.struck is None else reply_of(row.conversation.turns[row.struck], words),
                replies_owed=len(row.conversation.turns),
                replies_heard=_whole(row.conversation, words),
                tool_owed=sum(turn.calls for turn in row.conversation.turns),
                tool_runs=sum(one.what == "tool" for one in told),
                tool_known=evidence.knows_result if row.tool else None,
                context=None if counted is None else counted.context,
                attempts=-(-made // row.sessions),
                attempts_per_second=densest,
                raised=_raised(evidence, told),
                lag=1000 * lag,
            )
        )
    return calls


class _Counted:
    """What the services' account says of one call's speech, in milliseconds."""

    def __init__(self, row: Row, evidence: Evidence) -> None:
        conversation, report = row.conversation, evidence.report
        self.speech = conversation.speech.total / SAMPLES_PER_MS
        self.lost = lost_ms(conversation, report)
        self.told = told_ms(conversation, report)
        first = conversation.turns[0]
        before = bool(row.strikes) and min(strike.at for strike in row.strikes) > first.at + first.seconds
        self.context = _knows(conversation, first, Intervals(report.heard) | Intervals(report.told)) if before else None


def reply_of(turn: Turn, words: _Words) -> Reply:
    """Returns what the caller heard of an answer. One word that broke off at a seam, and is not said again, cuts nothing.

    Args:
        turn: whose answer.
        words: when each word was heard.
    """
    heard = [words[word] for word in turn.answer.split() if word in words]
    if not heard:
        return "none"
    if sum(len(times) > 1 for times in heard) > 1:  # one is a seam
        return "again"
    answer = turn.answer.split()
    missing = len(answer) - len(heard)
    if missing > 1 or answer[-1] not in words:
        return "cut"
    seams = [later[0] - former[0] - WORD > _PAUSE for former, later in pairwise(heard)]
    return "carried_on" if missing or any(seams) else "whole"


def _outcome(
    row: Row,
    evidence: Evidence,
    told: Sequence[Told],
    words: _Words,
    counted: _Counted | None,
    outage: Anatomy | None,
) -> Outcome:
    over = evidence.began + row.conversation.end - 0.1
    if not evidence.finished or any(one.what == "raised" and one.at < over for one in told):
        return "failed"
    if any(one.what == "closed" and one.at < over for one in told):
        return "ended"
    if row.sessions > 1:  # whose callers do not speak
        return "kept" if outage is not None and outage.reconnect is not None else "silent"
    if not any(word in words for word in row.conversation.turns[-1].answer.split()):
        return "silent"
    runs = sum(one.what == "tool" for one in told)
    losses = (
        _whole(row.conversation, words) < len(row.conversation.turns),
        row.struck is not None and reply_of(row.conversation.turns[row.struck], words) == "again",
        row.tool and (runs != 1 or not evidence.knows_result),
        counted is not None and (counted.lost > TOLERATED or counted.context is False),
    )
    return "degraded" if any(losses) else "kept"


def _whole(conversation: Conversation, words: _Words) -> int:
    return sum(reply_of(turn, words) in {"whole", "carried_on", "again"} for turn in conversation.turns)


def _silence(conversation: Conversation, evidence: Evidence, session: int) -> float:
    """Returns the longest silence where an answer was owed, in ms, beyond what the script has of it."""
    found = silences_in(conversation, evidence.heard.get(session, ()))
    beyond = [longest - _of_script(conversation, turn) for (longest, _), turn in zip(found, conversation.turns, strict=True)]
    return 1000 * max([0.0, *beyond])


def _of_script(conversation: Conversation, turn: Turn) -> float:
    return _ANSWERS_AFTER + (conversation.tool_seconds + _CALLS_AFTER if turn.calls else 0.0)


def _knows(conversation: Conversation, turn: Turn, known: Intervals) -> bool:
    start, end = conversation.range_of(turn)
    return known.within(start, end).total >= _UNDERSTOOD * (end - start)


def _raised(evidence: Evidence, told: Sequence[Told]) -> str:
    said = next((one.said for one in told if one.what == "raised"), "")
    return said or ("" if evidence.finished else evidence.last_words)
