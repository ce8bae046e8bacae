"""Which reply was cut, what the next one takes up, and how much of each was played."""

from __future__ import annotations

import pytest

from unbroken.core.replies import Cut, Replies
from unbroken.core.said import Said
from unbroken.events import ReplyBegan


def said(text: str) -> Said:
    return Said("model", text=text, spoken=True)


def cut(replies: Replies, text: str = "", *, ms: float = 0.0, crossing: str = "") -> Cut | None:
    """A reply begins and is cut; the crossing settles how the next one takes it up."""
    replies.begin(link=1)
    words = said(text) if text else None
    replies.end(words, received_ms=ms)
    replies.lost(words, received_ms=ms, heard=0)
    if replies.cut is not None and crossing in ("continues", "again"):
        replies.cut.crossing = crossing  # type: ignore[assignment]
    return replies.cut


@pytest.mark.parametrize(
    ("crossing", "began"),
    [
        ("continues", ReplyBegan(reply=2, link=3, continues=1)),
        ("again", ReplyBegan(reply=2, link=3, again=True)),
        ("", ReplyBegan(reply=2, link=3)),
    ],
)
def test_the_next_reply_takes_a_cut_one_up_as_the_crossing_settled(crossing: str, began: ReplyBegan) -> None:
    replies = Replies()
    taken = cut(replies, "It is ten", ms=800, crossing=crossing)
    assert replies.begin(link=3) == (began, taken if crossing else None)
    assert replies.begin(link=3) == (ReplyBegan(reply=3, link=3), None), "it is taken up once"


@pytest.mark.parametrize(
    ("text", "ms", "told"),
    [
        ("It is ten…", 800.0, '"It is ten"'),
        ("", 2400.0, "the first 2 seconds of it"),
        ("", 300.0, "the first second of it"),
        ("word " * 1000, 9000.0, '"' + ("word " * 1000)[:-1][-2000:] + '"'),
    ],
)
def test_what_the_model_is_told_of_it(text: str, ms: float, told: str) -> None:
    left = cut(Replies(), text, ms=ms)
    assert left is not None
    assert left.told == told


def test_a_reply_of_which_nothing_came_was_not_cut() -> None:
    replies = Replies()
    assert cut(replies) is None
    replies.request("Greet the caller.", seq=4)
    assert cut(replies) is None
    assert replies.requested == "Greet the caller.", "it is still to be asked for"


def test_what_was_heard_adds_up_over_several_cuts() -> None:
    replies = Replies()
    cut(replies, "It is", ms=500, crossing="continues")
    again = cut(replies, "ten", ms=700, crossing="continues")
    assert again is not None
    assert (again.text, again.received_ms, again.reply) == ("It is ten", 1200, 2)
    assert cut(replies) is again, "of the third nothing came, so the second is still what was heard last"
    assert again.crossing == ""


def test_a_request_that_is_sent_again_leaves_the_cut_reply_and_a_new_one_does_not() -> None:
    replies = Replies()
    replies.request("Tell a joke.", seq=1)
    left = cut(replies, "Two clocks meet", ms=900)
    assert left is not None
    assert left.request == "Tell a joke."
    replies.request("Tell a joke.", seq=1)
    assert replies.cut is left
    replies.request("Stop it.", seq=2)
    assert replies.cut is None


@pytest.mark.parametrize(
    ("ms", "kept"),
    [(1000.0, "one two…"), (2000.0, "one two three four"), (0.0, ""), (-5.0, ""), (9000.0, "one two three four")],
)
def test_what_was_played_is_what_the_history_tells(ms: float, kept: str) -> None:
    replies, words = Replies(), said("one two three four")
    replies.begin(link=1)
    replies.end(words, received_ms=2000.0)
    replies.played(7, ms=1.0)
    assert words.text == "one two three four"
    replies.played(1, ms=ms)
    assert words.text == kept


def test_what_is_said_later_of_what_was_played_counts_from_the_whole() -> None:
    replies, words = Replies(), said("one two three four")
    replies.begin(link=1)
    replies.end(words, received_ms=2000.0)
    replies.played(1, ms=500.0)
    replies.played(1, ms=1500.0)
    assert words.text == "one two three…"


def test_only_the_last_replies_are_remembered() -> None:
    replies, first = Replies(), said("one two")
    for words in (first, *(said("more") for _ in range(8))):
        replies.begin(link=1)
        replies.end(words, received_ms=1000.0)
    replies.played(1, ms=100.0)
    assert first.text == "one two"
