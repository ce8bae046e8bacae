"""Which part of a conversation a resumed session is told, by table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from unbroken.core.retold import Mark, retell
from unbroken.core.said import Said
from unbroken.events import ToolResult, UserText


def said(
    number: int,
    role: Literal["user", "model", "tool"],
    text: str,
    position: int | None = None,
    *,
    seq: int = 0,
    call_id: str = "",
) -> Said:
    made = Said(role, text=text, spoken=position is not None, seq=seq, call_id=call_id)
    made.number, made.position = number, position
    return made


SPOKEN = (
    said(1, "user", "A", 100),
    said(2, "model", "a", 100),
    said(3, "user", "B", 200),
    said(4, "model", "b", 200),
    said(5, "user", "C", 300),
)
WRITTEN = (
    said(1, "user", "A", seq=1),
    said(2, "model", "a", 0),
    said(3, "user", "B", seq=2),
    said(4, "tool", "t", seq=3, call_id="t"),
    said(5, "model", "b", 0),
    said(6, "user", "C", seq=4),
)


def told(
    turns: Sequence[Said],
    since: Mark,
    upto: Mark,
    *,
    settled: bool = True,
    silent: Sequence[int] = (),
) -> tuple[str, int, int]:
    """Returns what is told, and up to where the rest is held; speech that ends at a position in ``silent`` has no words."""

    def untold(heard: Sequence[tuple[int, bool]]) -> int:
        last = max(position for position, _ in heard)
        return sum(since.position < position <= last for position in silent)

    found = retell(turns, since=since, upto=upto, settled=lambda call_id: settled, untold=untold)
    for one in turns:
        item = ToolResult(call_id=one.call_id, name="f", result={}) if one.call_id else UserText(text=one.text)
        assert found.holds(one.seq or 99, item) == (one in found.said and one.seq > 0), one.text
        assert found.holds(98, item) == (one in found.said and bool(one.call_id)), "a call may have been answered twice"
    assert found.by_user == any(one.role == "user" for one in found.said)
    return "".join(one.text for one in found.said), found.known, found.seq


@pytest.mark.parametrize(
    ("since", "upto", "expected"),
    [
        (Mark(0, 0, 0), Mark(200, 0, 5), ("AaBb", 200, 0)),
        (Mark(100, 0, 2), Mark(200, 0, 5), ("Bb", 200, 0)),
        (Mark(100, 0, 1), Mark(200, 0, 5), ("aBb", 200, 0)),
        (Mark(0, 0, 1), Mark(100, 0, 2), ("Aa", 100, 0)),
        (Mark(0, 0, 2), Mark(100, 0, 2), ("Aa", 100, 0)),
        (Mark(200, 0, 4), Mark(200, 0, 5), ("", 200, 0)),
        (Mark(200, 0, 4), Mark(100, 0, 2), ("", 200, 0)),
        (Mark(0, 0, 0), Mark(0, 0, 0), ("", 0, 0)),
    ],
    ids=[
        "all that was answered",
        "since the snapshot",
        "a reply after the snapshot",
        "a turn that had begun at the snapshot",
        "a turn and its reply that an older link had heard as well",
        "nothing since",
        "a snapshot after the last reply",
        "nothing at all",
    ],
)
def test_what_was_spoken(since: Mark, upto: Mark, expected: tuple[str, int, int]) -> None:
    assert told(SPOKEN, since, upto) == expected


@pytest.mark.parametrize(
    ("silent", "expected"),
    [([300], ("AaBb", 200, 0)), ([200], ("Aa", 100, 0)), ([100], ("", 0, 0)), ([100, 200], ("", 0, 0))],
)
def test_speech_without_words_is_left_to_be_heard_and_all_that_follows_it(
    silent: Sequence[int], expected: tuple[str, int, int]
) -> None:
    assert told(SPOKEN, Mark(0, 0, 0), Mark(200, 0, 5), silent=silent) == expected


@pytest.mark.parametrize(
    ("since", "upto", "expected"),
    [
        (Mark(0, 0, 0), Mark(0, 2, 5), ("AaBtb", 0, 2)),
        (Mark(0, 1, 2), Mark(0, 2, 5), ("Btb", 0, 2)),
        (Mark(0, 1, 1), Mark(0, 1, 2), ("a", 0, 1)),
        (Mark(0, 1, 6), Mark(0, 2, 6), ("Bt", 0, 2)),
    ],
    ids=["all that was answered", "since the snapshot", "a reply", "a text that an older link had been given as well"],
)
def test_what_was_written(since: Mark, upto: Mark, expected: tuple[str, int, int]) -> None:
    assert told(WRITTEN, since, upto) == expected


def test_an_answer_to_a_tool_that_no_reply_followed_is_left_to_be_sent() -> None:
    assert told(WRITTEN, Mark(0, 0, 0), Mark(0, 2, 5), settled=False) == ("AaBb", 0, 2)


def test_where_texts_lie_between_speech_without_words_leaves_all_to_be_sent() -> None:
    turns = (said(1, "user", "A", seq=1), said(2, "model", "a", 0), said(3, "user", "", 100), said(4, "model", "b", 100))
    assert told(turns, Mark(0, 0, 0), Mark(100, 1, 4), silent=[100]) == ("", 0, 0)
