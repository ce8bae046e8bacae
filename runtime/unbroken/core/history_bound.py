"""The history that a fresh link is told, and how it is kept within the room that there is for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from unbroken.core.said import Said
from unbroken.events import Turn

__all__ = ["Summary", "Words", "bounded", "in_words", "room", "tokens"]

Summary: TypeAlias = Callable[[Sequence[Turn]], str]
"""Tells in a few words what was said in turns that there is no room for; "": it does not."""

_SHARE = 2
"""A history takes at most this part of a context window: instructions, tools and what is yet to be said need the rest."""


class Words(NamedTuple):
    """A turn of the history.

    Attributes:
        turn: the turn.
        upto: up to where the user was heard in it, in samples; 0: it tells of no audio of the user's.
    """

    turn: Turn
    upto: int = 0


def in_words(said: Iterable[Said], *, upto: int | None = None, open_turn: bool = False) -> tuple[Words, ...]:
    """Returns a conversation in words, in order; neighbours of one role are joined.

    Args:
        said: what is kept of it.
        upto: user audio from this position on will be replayed, so what was said there is left out: it would be said twice.
            None: everything.
        open_turn: with ``upto``: keep the turn that the user had not finished.
    """
    words: list[Words] = []
    for one in said:
        text = one.text.strip()
        if not text or (upto is not None and not one.stands(upto, open_turn=open_turn)):
            continue
        heard = (one.position or 0) if one.role == "user" and one.spoken else 0
        last = words[-1] if words else None
        if last is not None and last.turn.role == one.role and one.role != "tool":
            words[-1] = Words(Turn(role=one.role, text=f"{last.turn.text} {text}"), max(last.upto, heard))
        else:
            words.append(Words(Turn(role=one.role, text=text), heard))
    return tuple(words)


def tokens(characters: int) -> int:
    """Returns about how many tokens a text takes: a third of its characters, which errs high in most languages.

    (Tokens of Gemini are about four characters of English: ai.google.dev/gemini-api/docs/tokens.)
    """
    return -(-characters // 3)


def room(wanted: int | None, *, window: int | None = None, most: int | None = None) -> int | None:
    """Returns how many tokens a history may take.

    Args:
        wanted: what the application allows; None: it leaves that to the window, and so does more than the window takes.
        window: the model's context window, in tokens; None: not known.
        most: what has turned out to be the most; None: nothing has.

    Returns:
        None: there is no bound.
    """
    if window is not None and (wanted is None or wanted >= window):
        wanted = window // _SHARE
    return most if wanted is None else wanted if most is None else min(wanted, most)


def bounded(words: Sequence[Words], bound: int | None, *, summary: Summary | None = None) -> tuple[tuple[Turn, ...], int]:
    """Drops the oldest turns where there are more than there is room for; the last one is always kept.

    Args:
        words: the history.
        bound: tokens, `tokens` of each turn added up; None: there is room for all.
        summary: tells what was said in the turns that are dropped, in their place. It has the room that dropping left; more
            is dropped where that is too little for it, once, and then it is cut.

    Returns:
        The newest turns, with the summary before them where there is one; and up to where the user's audio is told by none
        of them any more, in samples.
    """
    sizes = [tokens(len(one.turn.text)) for one in words]
    gone = _surplus(sizes, bound) if bound is not None else 0
    if bound is None or not gone:
        return tuple(one.turn for one in words), 0
    text = _summed_up(words[:gone], summary)
    if text and tokens(len(text)) + sum(sizes[gone:]) > bound:
        gone = _surplus(sizes, bound - min(tokens(len(text)), bound // _SHARE))
        text = _summed_up(words[:gone], summary)
    text = _cut(text, max(0, bound - sum(sizes[gone:])) * 3)
    told = (Turn(role="user", text=text),) if text else ()
    return (*told, *(one.turn for one in words[gone:])), max(one.upto for one in words[:gone])


def _surplus(sizes: Sequence[int], bound: int) -> int:
    """Counts the turns that have to go so that the rest, or the last one alone, is left."""
    total, gone = sum(sizes), 0
    while total > bound and gone < len(sizes) - 1:
        total -= sizes[gone]
        gone += 1
    return gone


def _summed_up(words: Sequence[Words], summary: Summary | None) -> str:
    return summary(tuple(one.turn for one in words)).strip() if summary is not None else ""


def _cut(text: str, characters: int) -> str:
    """Cuts a text after a whole word, if there is one."""
    if len(text) <= characters:
        return text
    kept = text[: max(0, characters - 1)]
    kept = kept[: kept.rfind(" ") + 1].rstrip() or kept
    return f"{kept}…" if kept else ""
