"""What a caller heard: which words of the answers when, and how long nothing though an answer was owed."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.suite.conversations import Conversation, Turn
from benchmarks.suite.model import WORD
from unbroken_gemini.testing.voice import pieces

__all__ = ["OUT_RATE", "Heard", "silence_in", "silences_in", "words_in"]

OUT_RATE = 24_000
"""Samples per second of the model's voice."""

Heard = Sequence[tuple[float, bytes]]
"""Stretches without a pause: when each began, in seconds of the call, and s16le PCM at 24 kHz."""

Span = tuple[float, float]


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
        heard: what the caller heard.
    """
    return max(silences_in(conversation, heard), key=lambda found: found[0], default=(0.0, False))


def silences_in(conversation: Conversation, heard: Heard) -> list[tuple[float, bool]]:
    """Returns the same of each turn's answer."""
    words = words_in(conversation, heard)
    sounds = [(at, at + len(pcm) / 2 / OUT_RATE) for at, pcm in heard]
    silences: list[tuple[float, bool]] = []
    for turn in conversation.turns:
        since, until = _owed(conversation, turn, sounds, words)
        at, longest, to_the_end = since, 0.0, False
        for start, end in [*((start, end) for start, end in sounds if end > since and start < until), (until, until)]:
            if start - at > longest:
                longest, to_the_end = start - at, start >= conversation.end
            at = max(at, end)
        silences.append((longest, to_the_end))
    return silences


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
