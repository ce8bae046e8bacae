from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from unbroken.core.outbox import AudioSpan, Item, Outbox, OutboxFull, Pinned, Send
from unbroken.errors import UnbrokenError
from unbroken.events import ActivityMark, ToolResult, Turn, UserText

HELLO = UserText(text="hello")
RESULT = ToolResult(call_id="1", name="f", result={})
START = ActivityMark(mark="start")
CONTEXT = Turn(role="tool", text="tool f answered: {}")


def drain(outbox: Outbox, end: int, *, limit: int = 1000) -> list[Send]:
    sends: list[Send] = []
    while (send := outbox.next(end, limit=limit)) is not None:
        sends.append(send)
        outbox.advance(send)
    return sends


def opened(**options: int) -> Outbox:
    outbox = Outbox(**options)
    outbox.open()
    return outbox


def test_audio_goes_in_pieces_up_to_the_edge() -> None:
    outbox = opened()
    assert outbox.next(0, limit=100) is None
    assert drain(outbox, 250, limit=100) == [AudioSpan(0, 100), AudioSpan(100, 200), AudioSpan(200, 250)]
    assert outbox.clear_at(250)
    assert not outbox.clear_at(251)


def test_next_is_the_same_until_it_was_sent() -> None:
    outbox = opened()
    outbox.put(HELLO, 50)
    assert outbox.next(100, limit=10) == outbox.next(100, limit=10) == AudioSpan(0, 10)


def test_an_item_goes_before_the_audio_at_its_position() -> None:
    outbox = opened()
    assert outbox.put(START, 100) == 1
    assert outbox.put(HELLO, 300) == 2
    assert outbox.put(RESULT, 300) == 3
    assert drain(outbox, 400) == [
        AudioSpan(0, 100),
        Pinned(1, START, 100),
        AudioSpan(100, 300),
        Pinned(2, HELLO, 300),
        Pinned(3, RESULT, 300),
        AudioSpan(300, 400),
    ]


def test_what_is_pinned_back_goes_at_once() -> None:
    outbox = opened()
    outbox.advance(AudioSpan(0, 200))
    outbox.put(HELLO, 500)
    outbox.put(RESULT, 200)
    assert drain(outbox, 600) == [
        Pinned(2, RESULT, 200),
        AudioSpan(200, 500),
        Pinned(1, HELLO, 500),
        AudioSpan(500, 600),
    ]


def test_nothing_passes_a_closed_gate() -> None:
    outbox = Outbox()
    outbox.put(RESULT, 0)
    assert outbox.next(100, limit=100) is None
    assert not outbox.clear_at(0)
    outbox.open()
    assert outbox.is_open
    assert drain(outbox, 100) == [Pinned(1, RESULT, 0), AudioSpan(0, 100)]
    outbox.close()
    assert not outbox.clear_at(100)


def test_while_audio_is_held_only_tool_results_pass() -> None:
    outbox = opened()
    outbox.hold_audio("tool")
    outbox.hold_audio("catch-up")
    assert not outbox.clear_at(0)
    for item in (START, HELLO, CONTEXT, RESULT):
        outbox.put(item, 100)
    assert drain(outbox, 200) == [Pinned(4, RESULT, 100)]
    outbox.release_audio("tool")
    outbox.release_audio("never given")
    assert outbox.holds == {"catch-up"}
    assert drain(outbox, 200) == []
    outbox.release_audio("catch-up")
    assert drain(outbox, 200) == [
        AudioSpan(0, 100),
        Pinned(1, START, 100),
        Pinned(2, HELLO, 100),
        Pinned(3, CONTEXT, 100),
        AudioSpan(100, 200),
    ]


def test_the_cursor_names_the_last_item_before_the_first_that_waits() -> None:
    outbox = opened()
    assert outbox.cursor == (0, 0)
    outbox.put(HELLO, 0)
    outbox.put(START, 100)
    outbox.put(RESULT, 0)
    assert outbox.cursor == (0, 0)
    drain(outbox, 50)
    assert outbox.cursor == (50, 1), "the third was sent, the second was not"
    drain(outbox, 200)
    assert outbox.cursor == (200, 3)


def test_a_new_link_gets_again_what_the_context_does_not_hold() -> None:
    outbox = opened()
    outbox.put(HELLO, 0)
    outbox.put(START, 100)
    drain(outbox, 200)
    outbox.rewind(50, 1)
    assert outbox.waiting == (Pinned(2, START, 100),)
    assert drain(outbox, 200) == [AudioSpan(50, 100), Pinned(2, START, 100), AudioSpan(100, 200)]


def test_what_a_later_context_holds_is_not_sent_though_an_earlier_one_lacked_it() -> None:
    outbox = opened()
    outbox.put(HELLO, 0)
    drain(outbox, 100)
    outbox.rewind(0, 0)
    assert outbox.waiting == (Pinned(1, HELLO, 0),)
    outbox.rewind(100, 1)
    assert not outbox.waiting


def test_an_item_before_the_place_of_the_rewind_goes_at_once() -> None:
    outbox = opened()
    outbox.put(HELLO, 10)
    outbox.rewind(100, 0)
    assert drain(outbox, 150) == [Pinned(1, HELLO, 10), AudioSpan(100, 150)]


def test_what_is_settled_is_not_sent_again_and_what_waits_stays() -> None:
    outbox = opened()
    outbox.put(HELLO, 0)
    outbox.put(START, 100)
    drain(outbox, 50)
    outbox.settle(2)
    outbox.rewind(0, 0)
    assert drain(outbox, 200) == [AudioSpan(0, 100), Pinned(2, START, 100), AudioSpan(100, 200)]


def test_more_waiting_than_the_bound_is_an_error_that_names_it() -> None:
    outbox = opened(bound=2)
    outbox.put(HELLO, 0)
    outbox.put(HELLO, 0)
    with pytest.raises(
        OutboxFull,
        match=r"^the outbox holds 2 texts, tool results and marks that no link has taken yet, which is its bound:"
        r" wait for a Recovered event before sending more$",
    ) as caught:
        outbox.put(HELLO, 0)
    assert isinstance(caught.value, UnbrokenError)
    assert caught.value.bound == 2
    drain(outbox, 0)
    assert outbox.put(HELLO, 0) == 3


def test_what_was_sent_and_never_settled_fills_nothing_up() -> None:
    outbox = opened(bound=3)
    for number in range(1, 100):
        assert outbox.put(HELLO, number) == number
        drain(outbox, number)
    assert repr(outbox) == "<Outbox open at 99, 0 waiting, 3 unsettled>"
    assert outbox.oldest == 97
    outbox.rewind(0, 96)
    assert [pinned.seq for pinned in outbox.waiting] == [97, 98, 99], "a context that holds 96 items gets all the others"


def test_the_first_that_was_put_is_dropped_first_wherever_it_is_pinned() -> None:
    outbox = opened(bound=2)
    for position in (30, 20, 10):
        outbox.put(HELLO, position)
        drain(outbox, 50)
    assert outbox.oldest == 2
    outbox.rewind(50, 0)
    assert [pinned.seq for pinned in outbox.waiting] == [3, 2]


def test_what_was_settled_in_time_is_not_missed() -> None:
    outbox = opened(bound=2)
    for _ in range(10):
        seq = outbox.put(HELLO, 0)
        drain(outbox, 0)
        outbox.settle(seq)
    assert outbox.oldest == 1


def test_repr() -> None:
    outbox = Outbox()
    assert repr(outbox) == "<Outbox closed at 0, 0 waiting, 0 unsettled>"
    outbox.open()
    outbox.put(HELLO, 0)
    assert repr(outbox) == "<Outbox open at 0, 1 waiting, 0 unsettled>"
    drain(outbox, 160)
    outbox.hold_audio("tool")
    assert repr(outbox) == "<Outbox held: tool at 160, 0 waiting, 1 unsettled>"


class Links(RuleBasedStateMachine):
    """Every link gets everything that its context does not hold: once, in order, and through the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.end = 0
        self.put_at: dict[int, tuple[int, Item]] = {}
        self.held: set[int] = set()  # what the context of the current link holds already
        self.given: list[int] = []  # what the current link was given
        self.position = 0
        self.cursors = [(0, 0, frozenset[int]())]
        self.open = False
        self.reasons: set[str] = set()

    @rule(samples=st.integers(1, 50))
    def speak(self, samples: int) -> None:
        clear = self.outbox.clear_at(self.end)
        waiting = set(self.put_at) - self.held - set(self.given)
        assert clear == (self.open and not self.reasons and not waiting and self.position == self.end)
        if clear:
            self.outbox.advance(AudioSpan(self.end, self.end + samples))
            self.position += samples
        self.end += samples

    @rule(item=st.sampled_from([HELLO, RESULT, START, CONTEXT]), back=st.integers(0, 60))
    def put(self, item: Item, back: int) -> None:
        position = max(0, self.end - back)
        self.put_at[self.outbox.put(item, position)] = (position, item)

    @rule(limit=st.integers(1, 40))
    def send(self, limit: int) -> None:
        waiting = sorted((self.put_at[seq][0], seq) for seq in set(self.put_at) - self.held - set(self.given))
        send = self.outbox.next(self.end, limit=limit)
        if not self.open:
            assert send is None
        elif self.reasons:
            results = [seq for _, seq in waiting if self.put_at[seq][1] is RESULT]
            assert send == (Pinned(results[0], RESULT, self.put_at[results[0]][0]) if results else None)
        elif waiting and waiting[0][0] <= self.position:
            position, seq = waiting[0]
            assert send == Pinned(seq, self.put_at[seq][1], position)
        elif self.position < self.end:
            edge = min([self.end, self.position + limit, *(position for position, _ in waiting[:1])])
            assert send == AudioSpan(self.position, edge)
        else:
            assert send is None
        match send:
            case AudioSpan(stop=stop):
                self.position = stop
            case Pinned(seq=seq):
                self.given.append(seq)
            case None:
                return
        self.outbox.advance(send)

    @rule(reason=st.sampled_from(["tool", "other"]), hold=st.booleans())
    def gate(self, reason: str, hold: bool) -> None:
        if hold:
            self.outbox.hold_audio(reason)
            self.reasons.add(reason)
        else:
            self.outbox.release_audio(reason)
            self.reasons.discard(reason)

    @rule(opened=st.booleans())
    def swing(self, opened: bool) -> None:
        self.open = opened
        if opened:
            self.outbox.open()
        else:
            self.outbox.close()

    @rule()
    def snapshot(self) -> None:
        position, seq = self.outbox.cursor
        assert position == self.position
        sent = self.held | set(self.given)
        assert all(number in sent for number in range(1, seq + 1))
        assert seq + 1 not in sent
        self.cursors.append((position, seq, frozenset(range(1, seq + 1))))

    @rule(data=st.data())
    def another_link(self, data: st.DataObject) -> None:
        position, seq, holds = data.draw(st.sampled_from(self.cursors))
        self.outbox.rewind(position, seq)
        self.position, self.given, self.held = position, [], set(holds)

    @rule()
    def settle(self) -> None:
        position, seq = self.outbox.cursor
        self.outbox.settle(seq)
        self.cursors = [(position, seq, frozenset(range(1, seq + 1)))]

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert len(self.given) == len(set(self.given))
        waiting = {pinned.seq for pinned in self.outbox.waiting}
        assert waiting == set(self.put_at) - self.held - set(self.given)


TestLinks = Links.TestCase
TestLinks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(
    ("marks", "position", "left"),
    [
        ("start0 end5", 10, ""),
        ("start0 end5", 5, ""),
        ("start0 end5", 4, "start0 end5"),
        ("start0", 10, "start0"),
        ("end5", 10, "end5"),
        ("start0 end5 start5", 10, "start5"),
        ("start0 end5 start7 end20", 10, "start7 end20"),
        ("stream_end3 start5", 10, "stream_end3 start5"),
        ("start0 stream_end3 end5", 10, ""),
    ],
)
def test_marks_of_a_turn_without_any_audio_are_forgotten(marks: str, position: int, left: str) -> None:
    outbox = Outbox()
    for mark in marks.split():
        kind = mark.rstrip("0123456789")
        outbox.put(ActivityMark(mark=cast("Any", kind)), int(mark.removeprefix(kind)))
    outbox.drop_empty_turns(position)
    found = [(send.item, send.position) for send in outbox.waiting]
    assert " ".join(f"{item.mark}{at}" for item, at in found if isinstance(item, ActivityMark)) == left
