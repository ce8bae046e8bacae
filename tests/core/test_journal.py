from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.journal import Journal, Plan
from unbroken.decisions import Carry

RATE = 16_000
FRAME = 320


def pcm(start: int, samples: int) -> bytes:
    """Every sample is its own position, modulo 2**16."""
    return struct.pack(f"<{samples}H", *(position % 65_536 for position in range(start, start + samples)))


class Line:
    """Speaks into a journal in frames of 20 ms, in virtual time."""

    def __init__(self, *, bound: float = 60.0) -> None:
        self.journal = Journal(rate=RATE, bound=bound)
        self.now = 100.0

    def say(self, seconds: float, *, quiet: bool = False, sent: bool = True) -> int:
        for _ in range(round(seconds * 50)):
            self.now += 0.02
            end = self.journal.append(pcm(self.journal.end, FRAME), self.now, quiet=quiet)
            if sent:
                self.journal.sent(end, self.now)
        return self.journal.end

    def pause(self, seconds: float, *, sent: bool = True) -> int:
        return self.say(seconds, quiet=True, sent=sent)

    def plan(self, *, known: int, carry: Carry = "handle", max_age: float = 10.0, drop_media: bool = False) -> Plan:
        return self.journal.plan(known=known, carry=carry, now=self.now, max_age=max_age, drop_media=drop_media)


def seconds(value: float) -> int:
    return round(value * RATE)


# -- The audio ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 999), max_size=30), st.data())
def test_however_the_input_is_split_each_position_reads_the_same(cuts: list[int], data: st.DataObject) -> None:
    whole = pcm(0, 4000)
    journal = Journal(rate=RATE, bound=60)
    place = 0
    for size in cuts:
        journal.append(whole[place : place + size], 0.0, quiet=False)
        place = min(place + size, len(whole))
        assert journal.end == place // 2
    start, limit = data.draw(st.integers(0, 5000)), data.draw(st.integers(0, 5000))
    assert journal.read(start, limit) == whole[2 * start : 2 * min(start + limit, journal.end)]


def test_one_whole_chunk_is_read_without_a_copy() -> None:
    journal = Journal(rate=RATE, bound=60)
    chunks = [pcm(n * FRAME, FRAME) for n in range(3)]
    for chunk in chunks:
        journal.append(chunk, 0.0, quiet=True)
    assert journal.read(FRAME, FRAME) is chunks[1]


@pytest.mark.parametrize("upto", [FRAME, FRAME + 100, 2 * FRAME + 100])
def test_what_is_left_of_the_last_chunk_is_read_from_where_it_begins(upto: int) -> None:
    journal = Journal(rate=RATE, bound=60)
    for n in range(3):
        journal.append(pcm(n * FRAME, FRAME), 0.0, quiet=True)
    journal.forget(upto)
    for start in (FRAME, 2 * FRAME):
        begin = max(start, upto)
        assert journal.read(start, 3 * FRAME) == pcm(begin, 3 * FRAME - begin)


def test_half_a_sample_waits_for_its_other_half() -> None:
    journal = Journal(rate=RATE, bound=60)
    assert journal.append(b"\x01", 0.0, quiet=True) == 0
    assert journal.append(b"\x02\x03", 0.0, quiet=True) == 1
    assert journal.append(b"\x04", 0.0, quiet=True) == 2
    assert journal.read(0, 10) == b"\x01\x02\x03\x04"


def test_tiny_pieces_are_joined_so_that_their_number_is_bounded() -> None:
    journal = Journal(rate=RATE, bound=1)
    for position in range(40_000):
        journal.append(pcm(position, 1), position / RATE, quiet=position % 2 == 0)
    assert len(journal._chunks) - journal._head <= 52
    assert journal.read(0, RATE) == pcm(40_000 - RATE, RATE)


def test_the_bound_holds_and_what_no_link_carried_is_counted_exactly() -> None:
    line = Line(bound=2.0)
    line.journal.begin_link(1, 0)
    line.say(3.0)
    assert (line.journal.begin, line.journal.end) == (seconds(1), seconds(3))
    assert line.journal.dropped == 0, "the link had it"
    line.say(2.5, sent=False)
    assert (line.journal.begin, line.journal.end) == (seconds(3.5), seconds(5.5))
    assert line.journal.dropped == seconds(0.5)
    assert line.journal.read(0, seconds(10)) == pcm(seconds(3.5), seconds(2))


def test_a_piece_longer_than_the_bound_keeps_its_end() -> None:
    journal = Journal(rate=RATE, bound=1.0)
    journal.append(pcm(0, 3 * RATE), 5.0, quiet=False)
    assert (journal.begin, journal.end, journal.dropped) == (2 * RATE, 3 * RATE, 2 * RATE)
    assert journal.read(0, 10) == pcm(2 * RATE, 10)
    assert journal.age(2 * RATE, 6.0) == 1.0


def test_what_is_forgotten_is_gone_and_not_counted() -> None:
    line = Line(bound=2.0)
    line.say(1.5, sent=False)
    line.journal.forget(seconds(1))
    assert line.journal.begin == line.journal.floor == seconds(1)
    line.journal.forget(seconds(0.5))
    assert line.journal.floor == seconds(1)
    line.say(2.0, sent=False)
    assert line.journal.dropped == seconds(0.5)
    line.journal.forget(seconds(99))
    assert line.journal.floor == line.journal.end
    assert line.journal.read(0, 100) == b""


def test_age_and_time_are_those_of_the_chunk() -> None:
    line = Line()
    line.say(1.0)
    assert line.journal.age(seconds(0.5), line.now) == pytest.approx(0.48)
    assert line.journal.age(line.journal.end, line.now + 5) == 0.0
    assert line.journal.position_at(line.now - 0.49) == seconds(0.5)
    assert line.journal.position_at(line.now + 1) == line.journal.end
    assert line.journal.position_at(0.0) == 0


def test_speech_is_found_with_a_run_up() -> None:
    line = Line()
    line.pause(1.0)
    line.say(0.4)
    line.pause(1.0)
    assert line.journal.first_speech(0) == seconds(0.7)
    assert line.journal.first_speech(seconds(0.9)) == seconds(0.9)
    assert line.journal.first_speech(seconds(1.2)) == seconds(1.2)
    assert line.journal.first_speech(seconds(1.4)) == line.journal.end
    assert line.journal.speech_between(0, line.journal.end) == seconds(0.4)


def test_a_quiet_gap_is_the_one_before_what_is_being_said() -> None:
    line = Line()
    line.say(1.0)
    gap = line.pause(0.4)
    line.say(1.0)
    line.pause(0.2)
    line.say(0.5)
    end = line.pause(0.6)
    assert line.journal.quiet_gap_before(seconds(3.0)) == gap
    assert line.journal.quiet_gap_before(end - 10) == end - 10, "within the stretch"
    assert line.journal.quiet_gap_before(seconds(0.9)) is None
    assert line.journal.quiet_gap_before(seconds(3.0), within=1.0) is None
    assert line.journal.quiet_gap_before(seconds(3.0), shortest=0.2) == seconds(2.6)


# -- What was sent, and what is known -------------------------------------------------------------------------------------


def test_what_had_been_sent_by_a_time_is_never_overstated() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    sends: list[tuple[float, int]] = []
    for _ in range(2000):
        line.say(0.02)
        sends.append((line.now, line.journal.end))
    for time, upto in sends[-200:]:
        told = line.journal.sent_at(time)
        assert upto - 2 * FRAME <= told <= upto
    assert line.journal.sent_at(sends[0][0]) == 0, "too long ago to say"
    assert line.journal.sent_at(line.now) == line.journal.end
    assert len(line.journal._ticks) <= 256


def test_an_acknowledged_turn_is_heard() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(2.0)
    line.pause(1.0)
    assert line.journal.acknowledge(line.now, 0.2) == pytest.approx(seconds(2.8), abs=2 * FRAME)
    assert line.journal.snapshot(None) == line.journal.heard


def test_of_a_user_who_speaks_again_only_what_lies_before_the_pause_is_heard() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(2.0)
    gap = line.pause(0.6)
    line.say(0.3)
    line.pause(0.4)
    line.say(0.2)
    assert line.journal.acknowledge(line.now, 0.1) == gap, "a pause for breath ends no turn"
    line.say(0.5)
    assert line.journal.acknowledge(line.now, 0.1) == gap, "never back, and not into the new turn"


def test_where_no_pause_is_long_a_short_one_parts_what_was_said() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(2.0)
    gap = line.pause(0.4)
    line.say(0.7)
    assert line.journal.acknowledge(line.now, 0.2) == gap


def test_a_line_that_is_never_quiet_is_taken_at_its_word() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(8.0)
    assert line.journal.acknowledge(line.now, 0.5) == pytest.approx(seconds(7.5), abs=2 * FRAME)


def test_an_exact_word_counts_up_to_what_was_sent() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(1.0)
    line.say(1.0, sent=False)
    assert line.journal.acknowledge_exactly(seconds(5)) == seconds(1)
    assert line.journal.acknowledge_exactly(seconds(0.5)) == seconds(1)


def test_a_handle_with_an_index_holds_exactly_what_that_message_carried() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    for index in range(1, 101):
        line.say(0.02)
        line.journal.sent_index(index, line.journal.end)
    assert line.journal.snapshot(0) == 0
    assert line.journal.snapshot(40) == 40 * FRAME
    line.pause(1.0)
    line.journal.acknowledge(line.now, 0.1)
    assert line.journal.heard > 41 * FRAME
    assert line.journal.snapshot(41) == 41 * FRAME, "what is in the handle, not what was heard meanwhile"
    plan = line.plan(known=41 * FRAME)
    assert (plan.start, plan.uncertain) == (41 * FRAME, 0)


def test_indexes_that_nothing_consumes_are_bounded_and_never_overstated() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    for index in range(1, 20_001):
        line.journal.sent_index(index, index * 10)
    assert len(line.journal._indexes) <= 4096
    line.say(20.0)
    assert 11_900 * 10 <= line.journal.snapshot(12_000) <= 12_000 * 10


# -- The crossing ---------------------------------------------------------------------------------------------------------


def test_a_resume_replays_what_came_after_the_snapshot_and_says_what_may_be_heard_twice() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(1.0)
    line.pause(1.0)
    known = line.journal.acknowledge(line.now, 0.0)
    line.journal.snapshot(None)
    line.pause(1.0)
    line.say(2.0)
    line.say(1.0, sent=False)
    plan = line.plan(known=known)
    assert plan == Plan(
        carry="handle",
        known=seconds(2.0),
        start=seconds(2.7),
        sent=seconds(5.0),
        replayed=seconds(3.3),
        uncertain=seconds(2.3),
        silence=seconds(0.7),
    )
    line.journal.begin_link(2, plan.start)
    assert (line.journal.heard, line.journal.position) == (plan.known, plan.start)
    assert repr(line.journal) == "<Journal link 2, 6.0 s journalled, 4.0 s not known heard>"


def test_a_fresh_context_has_heard_nothing_twice() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(3.0)
    plan = line.plan(known=0, carry="history")
    assert (plan.replayed, plan.uncertain) == (seconds(3), 0)


def test_what_is_too_old_is_lost_where_it_was_speech() -> None:
    line = Line()
    line.say(4.0, sent=False)
    line.pause(2.0, sent=False)
    line.say(7.0, sent=False)
    plan = line.plan(known=0, carry="nothing", max_age=8.0)
    assert plan.lost == seconds(4)
    assert plan.start == pytest.approx(seconds(5.7))
    assert plan.known + plan.lost + plan.silence + plan.replayed == line.journal.end


def test_what_the_bound_dropped_is_lost_where_it_was_speech() -> None:
    line = Line(bound=4.0)
    line.pause(1.0, sent=False)
    line.say(6.0, sent=False)
    plan = line.plan(known=0, carry="nothing")
    assert (plan.start, plan.lost, plan.silence, plan.replayed) == (seconds(3), seconds(2), seconds(1), seconds(4))


def test_media_that_was_refused_is_left_out_and_counted() -> None:
    line = Line()
    line.say(2.0, sent=False)
    line.pause(1.0, sent=False)
    plan = line.plan(known=0, drop_media=True)
    assert (plan.start, plan.replayed, plan.lost, plan.silence) == (seconds(3), 0, seconds(2), seconds(1))


def test_media_that_was_refused_is_given_to_no_later_link_and_counted_once() -> None:
    line = Line()
    line.say(2.0)
    first = line.plan(known=0, drop_media=True)
    line.journal.begin_link(2, first.start)
    line.journal.settle(first)
    line.say(1.0)
    second = line.plan(known=0)
    assert (first.lost, second.start, second.lost, second.counted) == (seconds(2), seconds(2), 0, seconds(2))


@pytest.mark.parametrize(
    ("age", "start"), [(9.0, 0.0), (4.5, 0.5), (3.9, 2.7), (3.4, 2.7), (2.5, 2.7), (2.2, 2.8), (1.5, 3.5)]
)
def test_a_replay_begins_at_a_pause_where_there_is_one_soon(age: float, start: float) -> None:
    """Speech to 2 s, a pause to 3 s, speech to 5 s. The run-up before speech is 0.3 s; where no pause ends a phrase within a
    second, it begins in the midst of it."""
    line = Line()
    line.say(2.0)
    line.pause(1.0)
    line.say(2.0)
    assert line.plan(known=0, max_age=age).start == pytest.approx(seconds(start), abs=FRAME)


def test_what_is_told_beside_an_exact_snapshot_leaves_nothing_uncertain() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    for message in range(1, 101):
        line.journal.sent_index(message, line.say(0.02))
    exact = line.journal.snapshot(50)
    told = seconds(0.5)
    plans = [
        line.journal.plan(known=exact + more, carry="handle", now=line.now, max_age=10.0, told=told) for more in (told, 0)
    ]
    assert [(plan.replayed, plan.uncertain > 0) for plan in plans] == [(seconds(0.5), False), (seconds(1.0), True)]


def test_silence_alone_is_not_replayed() -> None:
    line = Line()
    line.pause(5.0, sent=False)
    plan = line.plan(known=0)
    assert (plan.start, plan.replayed, plan.silence, plan.lost) == (line.journal.end, 0, seconds(5), 0)


def test_what_was_counted_is_not_counted_again_once_it_was_told() -> None:
    line = Line()
    line.say(5.0, sent=False)
    first = line.plan(known=0, carry="history", max_age=1.99)
    assert first.lost == seconds(3)
    line.journal.begin_link(2, first.start)
    assert line.plan(known=0, carry="history", max_age=1.99).lost == seconds(3), "not yet told"
    line.journal.settle(first)
    line.say(1.0)
    second = line.plan(known=0, carry="history", max_age=1.99)
    assert (second.lost, second.counted) == (seconds(1), seconds(3))
    line.journal.begin_link(3, second.start)
    line.journal.settle(second)
    assert line.plan(known=0, carry="history", max_age=1.99).lost == 0


def test_what_an_earlier_link_of_the_context_was_given_stays_uncertain() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(3.0)
    first = line.plan(known=0)
    line.journal.begin_link(2, first.start)
    line.journal.sent(seconds(1), line.now)
    assert line.plan(known=0).uncertain == seconds(3), "the context may hold what the first link carried"
    fresh = line.plan(known=0, carry="history")
    line.journal.begin_link(3, fresh.start)
    line.journal.sent(seconds(2), line.now)
    assert line.plan(known=0).uncertain == seconds(2)


def test_a_plan_changes_nothing_before_its_link_begins() -> None:
    line = Line()
    line.journal.begin_link(1, 0)
    line.say(1.0)
    line.pause(1.0)
    heard = line.journal.acknowledge(line.now, 0.0)
    line.plan(known=0, carry="history")
    assert line.journal.heard == heard
    line.plan(known=heard)
    line.journal.begin_link(2, heard)
    assert line.journal.heard == heard


def test_stretches_are_merged() -> None:
    line = Line()
    line.say(10.0, sent=False)
    for start, stop in [(0, 10), (20, 30), (10, 20), (25, 26), (5, 5)]:
        line.journal.settle(Plan(known=start, start=stop))
    assert line.journal._counted == [(0, 30)]
    assert all(a[1] < b[0] for a, b in pairwise(line.journal._counted))
