"""What the simulated model answers: a script, and a few words that it obeys."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from unbroken_gemini.testing.voice import Call, Reply, Say

__all__ = ["Script"]

_CALL = re.compile(r"\bcall (\w+)\s*(\{.*\})?", re.DOTALL)
_USUAL = (
    "I heard you.",
    "Yes, I see what you mean.",
    "That is good to know.",
    "Let me think about that for a moment.",
)


class Script:
    """Chooses replies.

    A text with "call NAME" in it, or "call NAME {…}" with arguments as JSON, makes the model call that function if the setup
    declared it. Everything else is answered by the script's next reply, and after its end by something friendly.

    Args:
        replies: in order; a str is spoken.
    """

    def __init__(self, replies: Sequence[Reply | str] = ()) -> None:
        self._replies = tuple(Say(text=reply) if isinstance(reply, str) else reply for reply in replies)

    def reply(self, text: str, *, asked: int, functions: Collection[str]) -> Reply:
        """Returns a reply.

        Args:
            text: what the user wrote; "": the user spoke.
            asked: how often the model has been asked before, in what it knows of the conversation.
            functions: what the model may call.
        """
        if (match := _CALL.search(text)) is not None and match[1] in functions:
            return Call(name=match[1], args=_arguments(match[2]))
        if asked < len(self._replies):
            return self._replies[asked]
        return Say(text=_USUAL[asked % len(_USUAL)])


def _arguments(text: str | None) -> dict[str, object]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, object])
    except msgspec.DecodeError:
        return {}
