"""The simulated service's model for these calls: it answers what it has been asked, as far as it heard it or was told."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

from benchmarks.suite.conversations import TOOL_RESULT, Conversation, Turn
from unbroken_gemini.testing import Behaviour, Call, Reply, Say, SimulatedGemini
from unbroken_gemini.testing.contexts import Context

__all__ = ["GREET", "TOOL", "WORD", "CallModel"]

GREET = "Greet the caller by name."
"""How the application asks for the greeting."""

TOOL = "reserve_table"
"""The function that the model calls."""

WORD = 0.25
"""Seconds per word of the model's speech."""

_QUOTED = re.compile(r'"([^"]*)"')
_UNDERSTOOD = 0.3  # of a turn's speech has to be known for it to be understood


class CallModel(SimulatedGemini):
    """A model that does as it is told, and knows only what its own context holds.

    It answers the last turn of which it heard enough, or was told enough as a transcript. It calls the tool where the answer
    wants that, unless its context holds the result in any form. Asked to go on after words of its own that are
    quoted to it, it says the rest.

    Args:
        conversation: what it is going to be asked.
        ahead: how far it sends a reply's audio ahead of its playing, in seconds.
        hears_in_calls: it takes the caller's audio while a tool call is pending; False: it closes with 1008 for it.
        seed: of its dice.
    """

    def __init__(self, conversation: Conversation, *, ahead: float, hears_in_calls: bool, seed: int) -> None:
        behaviour = Behaviour(
            setup_time=(0.02, 0.05),
            reply_time=(0.3, 0.3),
            word_time=WORD,
            ahead=ahead,
            tool_grace=math.inf if hears_in_calls else 0.3,
        )
        super().__init__(behaviour=behaviour, seed=seed)
        self._conversation = conversation
        self._gone_on: set[str] = set()

    def reply(self, context: Context, text: str, functions: Collection[str]) -> Reply:
        """Chooses what the model answers."""
        context.asked += 1
        context.unanswered.clear()
        told = (*context.history[-1:], *context.texts[-1:])
        asked = (text,) if text.strip(" .") else told if text else ()  # "." alone asks for an answer to what was told
        if (rest := self._rest((*asked, *told))) is not None:
            return Say(text=rest)
        if any(GREET in part for part in asked):
            return Say(text=self._conversation.turns[0].answer)
        turn = self._last_understood(context)
        if turn is None:
            return Say(text="Pardon?")
        if turn.calls and TOOL in functions and not knows_result(context):
            return Call(name=TOOL, then=turn.answer)
        return Say(text=turn.answer)

    def knows_result(self) -> bool:
        """Says whether the context that survived holds the tool's result."""
        contexts = [link.dialogue.context for link in self.links if link.dialogue is not None]
        return bool(contexts) and knows_result(max(contexts, key=lambda context: context.number))

    def _last_understood(self, context: Context) -> Turn | None:
        known = context.ledger.heard | context.told
        understood: list[Turn] = []
        for turn in self._conversation.spoken:
            start, end = self._conversation.range_of(turn)
            if known.within(start, end).total >= _UNDERSTOOD * (end - start):
                understood.append(turn)
        return understood[-1] if understood else None

    def _rest(self, texts: Iterable[str]) -> str | None:
        """Returns the rest of the answer whose beginning a text quotes as what the caller heard, once; None: none does."""
        for text in texts:
            if "heard" not in text or text in self._gone_on:
                continue
            for turn in self._conversation.turns:
                words = turn.answer.split()
                quoted = [len(heard) for heard in map(str.split, _QUOTED.findall(text)) if heard == words[: len(heard)]]
                if any(quoted):
                    self._gone_on.add(text)
                    return " ".join(words[max(quoted) :]) or "Yes."
        return None


def knows_result(context: Context) -> bool:
    """Says whether a context holds the tool's result: as the answer to its call, or in words."""
    return bool(context.results) or any(TOOL_RESULT in text for text in (*context.history, *context.texts))
