"""What a call came to, counted from what the caller's loudspeaker played and from the services' own reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from benchmarks.livekit.contenders import Contender
from benchmarks.livekit.conversations import Conversation, Turn
from benchmarks.livekit.headset import OUT_RATE
from benchmarks.livekit.model import WORD, CallModel
from benchmarks.livekit.scenarios import Scenario
from unbroken.testing.intervals import Intervals
from unbroken.testing.report import Report
from unbroken.testing.service import SimulatedService
from unbroken_gemini.testing.voice import pieces

if TYPE_CHECKING:
    from benchmarks.livekit.call import Events

__all__ = ["Outcome", "outcome", "silence_in", "words_in"]

SAMPLES_PER_MS = 16

Heard = Sequence[tuple[float, bytes]]
Span = tuple[float, float]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the table.

    Attributes:
        contender: its name.
        scenario: its name.
        silence: the longest time in seconds in which an answer was owed and the caller heard nothing; what a healthy call
            has of it (the pause that ends a turn, the model's own time) is in it.
        to_the_end: that silence lasted until the caller hung up.
        owed: replies that were owed whole.
        finished: how many of them the caller heard to the last word.
        cut: how many of them the caller heard the beginning of, and never the end.
        heard: each word of which the caller heard half, with the second of the call at which that was.
        words_repeated: words that the caller heard twice.
        lost_ms: of the caller's speech, what the model that serves in the end knows in no form.
        told_ms: of the caller's speech, what it knows as a transcript only.
        repeated_ms: of the caller's audio, what it heard twice.
        tool_owed: how often the tool should have run.
        tool_runs: how often it did.
        tool_known: the model that serves in the end knows its result.
        alive: the session was open when the caller hung up, and the last question was answered whole.
        open: the session was open when the caller hung up.
        closed: seconds since the call began at which it closed by itself; None: it did not.
        connections: that the primary and the backup service accepted.
        errors: that the application was told.
        raised: what the application met as an exception; "": none.
        lag_ms: the longest time that the event loop was late.
    """

    contender: str
    scenario: str
    silence: float
    to_the_end: bool
    owed: int
    finished: int
    cut: int
    heard: tuple[tuple[float, str], ...]
    words_repeated: int
    lost_ms: float
    told_ms: float
    repeated_ms: float
    tool_owed: int
    tool_runs: int
    tool_known: bool
    alive: bool
    open: bool
    closed: float | None
    connections: tuple[int, int]
    errors: tuple[str, ...]
    raised: str
    lag_ms: float


def outcome(
    contender: Contender,
    scenario: Scenario,
    events: Events,
    heard: Heard,
    primary: SimulatedService,
    backup: SimulatedService,
) -> Outcome:
    """Counts one call."""
    conversation = scenario.conversation
    heard = [(at - events.began, pcm) for at, pcm in heard]
    words = words_in(conversation, heard)
    owed = [turn for turn in conversation.turns if not turn.interrupted]
    finished = [turn for turn in owed if all(word in words for word in turn.answer.split())]
    last = conversation.turns[-1]
    silence, to_the_end = silence_in(conversation, heard)
    survivor = max((primary, backup), key=_live_since)
    report = survivor.report(upto=round(conversation.end * 1000) * SAMPLES_PER_MS)
    is_open = events.closed is None
    assert isinstance(survivor.simulator, CallModel)
    return Outcome(
        contender=contender.NAME,
        scenario=scenario.name,
        silence=round(silence, 2),
        to_the_end=to_the_end,
        owed=len(owed),
        finished=len(finished),
        cut=sum(turn not in finished and any(word in words for word in turn.answer.split()) for turn in owed),
        heard=tuple(sorted((round(time, 2), word) for word, times in words.items() for time in times)),
        words_repeated=sum(len(times) - 1 for times in words.values()),
        lost_ms=round(_lost(conversation, report)),
        told_ms=round(_told(conversation, report)),
        repeated_ms=round(report.repeated_ms),
        tool_owed=sum(turn.calls for turn in conversation.turns),
        tool_runs=events.tool_runs,
        tool_known=survivor.simulator.knows_result(),
        alive=is_open and last in finished,
        open=is_open,
        closed=None if events.closed is None else round(events.closed, 2),
        connections=(len(primary.connections), len(backup.connections)),
        errors=tuple(events.errors),
        raised=events.raised,
        lag_ms=round(events.lag * 1000),
    )


def words_in(conversation: Conversation, heard: Heard) -> dict[str, list[float]]:
    """Returns when each word of the answers was heard, by half of its sound: where a reply was cut and goes on, the caller
    heard a part of a word only.

    Args:
        conversation: whose words.
        heard: stretches as when they began and s16le PCM at 24 kHz.
    """
    found: dict[str, list[float]] = {}
    all_of_it = b"".join(pcm for _, pcm in heard)
    for word in (word for turn in conversation.turns for word in turn.answer.split()):
        sound = b"".join(piece.pcm for piece in pieces(word, word_time=WORD))
        sound = sound[: len(sound) // 4 * 2]
        at = all_of_it.find(sound)  # across stretches: a pause within a word leaves it a word
        while at >= 0:
            at += len(sound)
            found.setdefault(word, []).append(_time_of(at, heard))
            at = all_of_it.find(sound, at)
    return found


def _time_of(offset: int, heard: Heard) -> float:
    """Returns when the byte before an offset was heard."""
    for began, pcm in heard:
        if offset <= len(pcm):
            return began + offset / 2 / OUT_RATE
        offset -= len(pcm)
    raise ValueError("the offset is behind the end")


def silence_in(conversation: Conversation, heard: Heard) -> tuple[float, bool]:
    """Returns the longest stretch in which an answer was owed and nothing was heard, and whether it lasted to the end.

    Args:
        conversation: what was said.
        heard: stretches as when they began, in seconds of the call, and s16le PCM at 24 kHz.
    """
    words = words_in(conversation, heard)
    sounds = [(at, at + len(pcm) / 2 / OUT_RATE) for at, pcm in heard]
    longest, to_the_end = 0.0, False
    for turn in conversation.turns:
        since, until = _owed(conversation, turn, sounds, words)
        at = since
        for start, end in [*((start, end) for start, end in sounds if end > since and start < until), (until, until)]:
            if start - at > longest:
                longest, to_the_end = start - at, start >= conversation.end
            at = max(at, end)
    return longest, to_the_end


def _owed(conversation: Conversation, turn: Turn, sounds: Sequence[Span], words: dict[str, list[float]]) -> Span:
    """Returns from when to when an answer was owed: until its last word was heard, or, where that never came, until the
    caller heard something of another answer, or hung up. An answer that is interrupted on purpose is owed until then."""
    since = turn.at + turn.seconds
    mine = turn.answer.split()
    if (ends := words.get(mine[-1])) is not None:
        return since, max(since, ends[0])
    following = conversation.turns[conversation.turns.index(turn) + 1 :]
    if turn.interrupted and any(word in words for word in mine):
        return since, following[0].at if following else conversation.end
    others = [times[0] - WORD for later in following for word in later.answer.split() if (times := words.get(word))]
    return since, min((time for time in others if time >= since), default=conversation.end)


def _live_since(service: SimulatedService) -> float:
    """Returns when the service's newest connection that was set up began; before everything where there was none."""
    return max((link.began for link in service.report().links if link.live), default=-1.0)


def _lost(conversation: Conversation, report: Report) -> float:
    """Returns the caller's speech that the context knows in no form, in milliseconds."""
    return (conversation.speech - Intervals(report.heard) - Intervals(report.told)).total / SAMPLES_PER_MS


def _told(conversation: Conversation, report: Report) -> float:
    """Returns the caller's speech that the context knows as a transcript only, in milliseconds."""
    return ((conversation.speech & Intervals(report.told)) - Intervals(report.heard)).total / SAMPLES_PER_MS
