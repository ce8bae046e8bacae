"""Turns that got neither a reply nor a transcript: no crossing claims that their audio is told."""

from __future__ import annotations

import pytest

from unbroken.config import Secret, Settings
from unbroken.core.continuity import Continuity
from unbroken.core.crossing import Crossing
from unbroken.core.journal import Journal
from unbroken.core.outbox import AudioSpan
from unbroken.events import Audio, UserTranscript
from unbroken.wire import GenerationComplete, HandleIssued, TurnComplete, WireEvent

RATE = 1000
"""Samples per second, so that a position is a millisecond."""

REPLY = (Audio(bytes(480), 24_000), GenerationComplete(), TurnComplete())


def journal(*seconds: float) -> Journal:
    """A journal of quiet and speech in turn, quiet first."""
    made, now = Journal(rate=RATE, bound=600.0), 0.0
    for place, length in enumerate(seconds):
        for _ in range(round(length * 50)):
            now += 0.02
            made.append(bytes(RATE // 50 * 2), now, quiet=not place % 2)
    return made


@pytest.mark.parametrize(
    ("turns", "since", "untold"),
    [
        ([(5000, True)], 0, 0),
        ([(5000, True), (10_000, True)], 0, 0),
        ([(10_000, True)], 0, 1000),
        ([(5000, False), (10_000, True)], 0, 1000),
        ([(5000, True), (10_000, False)], 0, 3000),
        ([(10_000, True)], 5000, 0),
        ([(10_000, True)], 1500, 500),
        ([(10_000, True), (10_000, True)], 0, 0),
        ([(10_000, True), (10_000, False)], 0, 1000),
        ([], 0, 0),
    ],
)
def test_a_transcript_tells_what_was_said_since_the_last_long_pause(
    turns: list[tuple[int, bool]], since: int, untold: int
) -> None:
    """Speech from 1 to 2 s, and from 5 to 6, 7 to 8 and 8.5 to 9.5 s."""
    assert journal(1, 1, 3, 1, 1, 1, 0.5, 1, 1).untold(turns, since=since) == untold


@pytest.mark.parametrize(
    ("turns", "since", "first"),
    [
        ([(5000, True), (10_000, True)], 0, None),
        ([(10_000, True)], 0, 0),
        ([(5000, True), (10_000, False)], 0, 5000),
        ([(3000, True), (5500, False), (10_000, True)], 0, 3000),
        ([(10_000, True)], 2000, None),
        ([], 0, None),
    ],
)
def test_what_nothing_tells_begins_where_the_turn_before_ends(
    turns: list[tuple[int, bool]], since: int, first: int | None
) -> None:
    assert journal(1, 1, 3, 1, 1, 1, 0.5, 1, 1).first_untold(turns, since=since) == first


def test_what_an_earlier_plan_counted_is_not_counted_again() -> None:
    spoken = journal(1, 1, 3, 1, 4)
    plan = spoken.plan(known=0, carry="history", now=10.0, max_age=6.0)
    spoken.begin_link(1, plan.start)
    spoken.settle(plan)
    assert plan.lost == 1000
    assert spoken.untold([(8000, True)], since=0) == 0


class Call:
    """A conversation that crosses by history, unless it is given a handle."""

    def __init__(self) -> None:
        self.continuity = Continuity(rate=RATE, settings=Settings(audio_max_age=600.0))
        self.now = 0.0
        self.link = 0
        self.cross()

    def cross(self) -> Crossing:
        self.continuity.conversation.link_lost(self.now, heard=0)
        self.continuity.lost(reported=True, cut=False)
        self.continuity.cross("handle", target="t", now=self.now)
        self.link += 1
        crossing, plan = self.continuity.take_over(self.link, target="t", seed_survives=True, now=self.now, drop_media=False)
        self.continuity.outbox.advance(AudioSpan(plan.start, self.continuity.journal.end))
        self.continuity.journal.sent(self.continuity.journal.end, self.now)
        return crossing

    def hears(self, seconds: float, *, quiet: bool) -> None:
        journal, outbox = self.continuity.journal, self.continuity.outbox
        for _ in range(round(seconds * 50)):
            self.now += 0.02
            end = journal.append(bytes(RATE // 50 * 2), self.now, quiet=quiet)
            outbox.advance(AudioSpan(outbox.position, end))
            journal.sent(end, self.now)

    def turn(self, *answer: WireEvent) -> None:
        """A second of speech, what comes of it, and quiet."""
        self.hears(1.0, quiet=False)
        self.hears(1.0, quiet=True)
        for event in answer:
            outcome = self.continuity.conversation.on_event(
                event, link=self.link, now=self.now, heard=self.continuity.journal.heard
            )
            self.continuity.take(outcome, now=self.now, round_trip=0.05)
        self.hears(2.0, quiet=True)


TOLD = (UserTranscript(text="so it is"), *REPLY)


def test_a_turn_that_got_nothing_is_counted_where_the_next_one_is_told() -> None:
    call = Call()
    for answer in (TOLD, (), TOLD):
        call.turn(*answer)
    crossing = call.cross()
    assert (crossing.carry, crossing.written_off, call.continuity.account.lost_ms) == ("history", 1000, 1000.0)
    call.turn(*TOLD)
    assert call.cross().written_off == 0, "it is counted once"


def test_a_later_answer_settles_what_was_said_before_it() -> None:
    """Said again it would come behind that answer, or have what was answered said and answered twice."""
    call = Call()
    for answer in (TOLD, (), TOLD):
        call.turn(*answer)
    crossing = call.cross()
    assert crossing.known == call.continuity.conversation.told, "as far as the later turn goes"
    assert (call.continuity.account.replayed_ms, call.continuity.account.lost_ms) == (0.0, 1000.0)


def test_a_turn_that_got_nothing_is_said_again_where_the_next_one_was_not_answered_either() -> None:
    call = Call()
    for answer in (TOLD, (), (UserTranscript(text="hello?"), Audio(bytes(480), 24_000))):
        call.turn(*answer)
    answered = call.continuity.conversation.told
    crossing = call.cross()
    assert [turn.text for turn in crossing.history] == ["so it is"], "what is said again is not told, too"
    assert (crossing.known, crossing.written_off) == (1720, 0)
    assert answered == 9700
    account = call.continuity.account
    assert (account.lost_ms, account.replayed_ms) == (0.0, 8300.0), "from 0.3 s before the turn that nothing tells"


def test_a_turn_that_got_nothing_is_not_said_again_where_that_is_too_old() -> None:
    call = Call()
    call.continuity = Continuity(rate=RATE, settings=Settings(audio_max_age=6.0))
    call.cross()
    for answer in (TOLD, (), (UserTranscript(text="hello?"), Audio(bytes(480), 24_000))):
        call.turn(*answer)
    crossing = call.cross()
    assert (crossing.known, crossing.written_off) == (9700, 1000)


def test_where_every_turn_is_told_nothing_is_counted_however_long_the_call() -> None:
    call = Call()
    for _ in range(300):
        call.turn(*TOLD)
    assert call.cross().written_off == 0


def test_what_is_forgotten_was_counted_before() -> None:
    call = Call()
    for _ in range(40):
        for answer in (TOLD, (), TOLD, REPLY):
            call.turn(*answer)
    assert call.cross().written_off == 40 * 2 * 1000


def test_what_a_handle_holds_is_not_missed() -> None:
    call = Call()
    call.turn()
    call.turn(*TOLD, HandleIssued(handle=Secret("h")))
    call.continuity.issued(HandleIssued(handle=Secret("h")), now=call.now, round_trip=0.0)
    crossing = call.cross()
    assert (crossing.carry, crossing.written_off) == ("handle", 0)
