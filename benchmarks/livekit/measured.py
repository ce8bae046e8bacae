"""What a call came to, counted from what the caller's loudspeaker played and from the services' own reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks.livekit.contenders import Contender
from benchmarks.livekit.scenarios import Scenario
from benchmarks.suite.account import SAMPLES_PER_MS, lost_ms, told_ms
from benchmarks.suite.heard import Heard, silence_in, words_in
from benchmarks.suite.model import CallModel
from unbroken.testing.service import SimulatedService

if TYPE_CHECKING:
    from benchmarks.livekit.call import Events

__all__ = ["Outcome", "outcome"]


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
        lost_ms=round(lost_ms(conversation, report)),
        told_ms=round(told_ms(conversation, report)),
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


def _live_since(service: SimulatedService) -> float:
    """Returns when the service's newest connection that was set up began; before everything where there was none."""
    return max((link.began for link in service.report().links if link.live), default=-1.0)
