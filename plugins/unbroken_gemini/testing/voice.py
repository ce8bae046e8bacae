"""What the simulated model says: words as bursts of tone, timed as speech is, with their transcript beside them."""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

__all__ = ["MESSAGE", "RATE", "Call", "Nothing", "Piece", "Reply", "Say", "pieces"]

RATE = 24_000
"""Samples per second of the model's voice."""

MESSAGE = 0.04
"""Seconds of audio per message, as recorded from the real service."""

_LOUD = 6000
_QUIET = 1  # "near-zero amplitude": every metric looks healthy (google-gemini/gemini-live-api-examples#40)


class Say(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model speaks.

    Attributes:
        text: the words.
        thought: a summary of its thinking that comes first, as 2.5 models send it; "": none.
    """

    text: str
    thought: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model calls a function, and speaks once it is answered.

    Attributes:
        name: the function's name.
        args: its arguments.
        then: what it says after the answer.
    """

    name: str
    args: Mapping[str, Any] = {}
    then: str = "It is done."


class Nothing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model ends its turn without a word, as proactive audio lets it."""


Reply: TypeAlias = Say | Call | Nothing


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One message's worth of a reply.

    Attributes:
        at: seconds into the reply at which it begins.
        pcm: s16le mono PCM at 24 kHz.
        text: the transcript that comes beside it; "": none does.
    """

    at: float
    pcm: bytes
    text: str = ""


def pieces(text: str, *, word_time: float, quiet: bool = False) -> Sequence[Piece]:
    """Returns a spoken text, message by message.

    Args:
        text: the words.
        word_time: seconds per word.
        quiet: the audio is nearly silence.
    """
    pcm = bytearray()
    words = [(" " if number else "") + word for number, word in enumerate(text.split())]
    starts: dict[int, str] = {}
    size = round(RATE * MESSAGE) * 2
    for word in words:
        number = len(pcm) // size
        starts[number] = starts.get(number, "") + word
        pcm += _burst(word.strip(), word_time, _QUIET if quiet else _LOUD)
    return [
        Piece(at=number * MESSAGE, pcm=bytes(pcm[number * size : (number + 1) * size]), text=starts.get(number, ""))
        for number in range(-(-len(pcm) // size))
    ]


@lru_cache(maxsize=512)
def _burst(word: str, seconds: float, loudness: int) -> bytes:
    """Returns a word: a tone that swells and fades, at a pitch of its own, and a short pause."""
    samples = round(RATE * seconds)
    voiced = samples * 5 // 6
    step = 2 * math.pi * (110 + zlib.crc32(word.encode()) % 130) / RATE
    swell = math.pi / max(voiced, 1)
    tone = array("h", [round(loudness * math.sin(step * n) * math.sin(swell * n)) for n in range(voiced)])
    return tone.tobytes() + bytes(2 * (samples - voiced))
