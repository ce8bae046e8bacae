"""The history within the room that there is for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.config import Settings
from unbroken.core.continuity import Continuity
from unbroken.core.history_bound import Words, bounded, room, tokens
from unbroken.events import Turn

FIVE = tuple(Words(Turn(role="user", text=letter * 30), upto=100 * place) for place, letter in enumerate("abcde", 1))
"""Of ten tokens each."""


def letters(turns: Sequence[Turn]) -> str:
    return "".join(turn.text[0] for turn in turns)


@pytest.mark.parametrize(
    ("bound", "left", "upto"),
    [(None, "abcde", 0), (50, "abcde", 0), (49, "bcde", 100), (20, "de", 300), (19, "e", 400), (1, "e", 400), (0, "e", 400)],
)
def test_the_oldest_go_first_and_the_last_never(bound: int | None, left: str, upto: int) -> None:
    turns, dropped = bounded(FIVE, bound)
    assert (letters(turns), dropped) == (left, upto)


@pytest.mark.parametrize(
    ("bound", "characters", "told"),
    [
        (50, 9, ["abcde"]),
        (49, 9, ["sum of a", "bcde"]),
        (45, 30, ["sum of ab", "cde"]),
        (30, 60, ["sum of abcd", "e"]),
        (29, 600, ["sum of abcd", "e"]),
        (10, 9, ["e"]),
    ],
)
def test_a_summary_takes_the_place_of_what_was_dropped(bound: int, characters: int, told: list[str]) -> None:
    """It has the room that is left, and up to half of all if it is longer; then it is cut."""

    def summary(turns: Sequence[Turn]) -> str:
        return f"sum of {letters(turns)} ".ljust(characters, ".")

    turns, _ = bounded(FIVE, bound, summary=summary)
    assert [letters(turns)] == told if len(told) == 1 else [turns[0].text.rstrip(".…").strip(), letters(turns[1:])] == told
    assert sum(tokens(len(turn.text)) for turn in turns) <= max(bound, 10)


def test_a_summary_is_cut_after_a_word() -> None:
    turns, _ = bounded(FIVE, 16, summary=lambda turns: "some words that go on and on and on")
    assert turns[0] == Turn(role="user", text="some words that…")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_summary_that_says_nothing_is_none(text: str) -> None:
    turns, _ = bounded(FIVE, 20, summary=lambda turns: text)
    assert letters(turns) == "de"


@given(
    st.lists(st.integers(1, 99), max_size=12),
    st.none() | st.integers(0, 120),
    st.none() | st.integers(0, 400),
)
def test_bounded(sizes: list[int], bound: int | None, summed_up: int | None) -> None:
    words = [Words(Turn(role="model", text=str(place % 10) * size), upto=place) for place, size in enumerate(sizes)]
    asked: list[int] = []

    def summary(turns: Sequence[Turn]) -> str:
        asked.append(len(turns))
        return "s" * (summed_up or 0)

    turns, upto = bounded(words, bound, summary=summary if summed_up is not None else None)
    kept = [turn for turn in turns if turn.role == "model"]
    costs = [tokens(len(turn.text)) for turn in turns]
    gone = len(words) - len(kept)
    assert kept == [one.turn for one in words[gone:]], "the newest, in order"
    assert bool(kept) == bool(words), "the last one at least"
    assert upto == (gone - 1 if gone else 0)
    if bound is None:
        assert not gone
        return
    assert sum(costs) <= bound or (len(turns) == 1 and gone == len(words) - 1), "within the bound, but for one that is alone"
    if gone and summed_up is None:
        assert sum(costs) + tokens(sizes[gone - 1]) > bound, "nothing is dropped without need"
    if gone and summed_up is not None:
        assert asked[-1] == gone, "the summary is of what was dropped"
        needed = tokens(summed_up)
        before = sum(tokens(size) for size in sizes[gone - 1 :])
        assert before + min(needed, bound // 2) > bound, "nothing is dropped without need"
    assert len(asked) <= 2


@pytest.mark.parametrize(
    ("wanted", "window", "most", "expected"),
    [
        (None, None, None, None),
        (None, 1000, None, 500),
        (900, 1000, None, 900),
        (900, None, None, 900),
        (None, 1000, 200, 200),
        (None, 300, 200, 150),
        (900, 1000, 200, 200),
        (100, 1000, 200, 100),
        (1000, 1000, None, 500),
        (90_000, 1000, 200, 200),
        (None, None, 200, 200),
    ],
)
def test_room(wanted: int | None, window: int | None, most: int | None, expected: int | None) -> None:
    assert room(wanted, window=window, most=most) == expected


def spoken(settings: Settings) -> Continuity:
    continuity = Continuity(rate=1000, settings=settings)
    roles: tuple[Literal["user", "model"], ...] = ("user", "model")
    continuity.conversation.recall(Turn(role=roles[place % 2], text=letter * 30) for place, letter in enumerate("abcde"))
    return continuity


def test_a_target_is_told_what_it_has_room_for() -> None:
    continuity = spoken(Settings())
    told = {
        window: letters(continuity.cross("history", target="t", now=0.0, window=window).history) for window in (None, 60)
    }
    assert told == {None: "abcde", 60: "cde"}
    assert continuity.history_tokens == 50


def test_a_context_that_was_full_gets_half_from_then_on() -> None:
    continuity = spoken(Settings(history_tokens=40))
    assert continuity.history_tokens == 40
    told = []
    for _ in range(7):
        told.append(letters(continuity.cross("history", target="t", now=0.0, window=1_000_000).history))
        continuity.shorten()
    assert told == ["bcde", "de", "e", "e", "e", "e", "e"]
    assert continuity.history_tokens == 1, "there is a history, however little of it is told"


def test_the_role_of_the_summary_is_the_users() -> None:
    continuity = spoken(Settings(history_tokens=40))
    continuity.summary = lambda turns: f"{len(turns)} turns"
    told = continuity.cross("history", target="t", now=0.0).history
    assert told[0] == Turn(role="user", text="2 turns")
    assert letters(told[1:]) == "cde"
