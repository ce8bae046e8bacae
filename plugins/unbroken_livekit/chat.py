"""LiveKit's chat context as unbroken's turns: what is new in it, and how it is told."""

from __future__ import annotations

from collections.abc import Collection

from livekit.agents import llm

import unbroken
from unbroken_livekit.tools import wants_reply

__all__ = ["Changes", "changes", "turn_of"]


class Changes:
    """What a chat context has that the model has not been told.

    Attributes:
        turns: what is to be told without being answered, in order.
        said: the user's words that end it, which the model should answer if it is asked for a reply; "": it ends otherwise.
        results: answers to tool calls that wait for one.
        told: ids of the other calls whose results are among the turns, and that a reply should follow.
        unheard: ids of the messages at the end of what was known that are gone: LiveKit takes back what was never played. A
            context that begins anew, as another agent's does, takes nothing back.
    """

    def __init__(self) -> None:
        self.turns: list[unbroken.Turn] = []
        self.said = ""
        self.results: list[llm.FunctionCallOutput] = []
        self.told: list[str] = []
        self.unheard: list[str] = []


def changes(known: llm.ChatContext, context: llm.ChatContext, *, pending: Collection[str]) -> Changes:
    """Compares a chat context with what the model knows.

    Args:
        known: what it knows.
        context: the context to be known.
        pending: ids of the tool calls that wait for a result.
    """
    found = Changes()
    before = [item.id for item in known.items]
    gone = [item_id for item_id in before if context.get_by_id(item_id) is None]
    if gone and len(gone) < len(before) and before[-len(gone) :] == gone:
        found.unheard = gone
    new = [item for item in context.items if item.id not in set(before)]
    results: dict[str, llm.FunctionCallOutput] = {}  # a call is answered once
    for item in new:
        if isinstance(item, llm.FunctionCallOutput) and item.call_id in pending:
            results[item.call_id] = item
        elif (turn := turn_of(item, context)) is not None:
            found.turns.append(turn)
            if isinstance(item, llm.FunctionCallOutput) and wants_reply(item):
                found.told.append(item.call_id)
    found.results = list(results.values())
    last = context.items[-1] if context.items else None
    if new and last is new[-1] and isinstance(last, llm.ChatMessage) and last.role == "user" and last.text_content:
        found.said = found.turns.pop().text
    return found


def turn_of(item: llm.ChatItem, context: llm.ChatContext) -> unbroken.Turn | None:
    """Returns an item in words; None: there is nothing in it to tell.

    System and developer messages are the instructions' business, and a call is told with its result.
    """
    match item:
        case llm.ChatMessage(role="user" | "assistant"):
            text = (item.text_content or "").strip()
            return unbroken.Turn(role="user" if item.role == "user" else "model", text=text) if text else None
        case llm.FunctionCallOutput():
            call = next((one for one in context.items if _is_call(one, item.call_id)), None)
            name = item.name or (call.name if isinstance(call, llm.FunctionCall) else "tool")
            arguments = call.arguments if isinstance(call, llm.FunctionCall) else ""
            return unbroken.Turn(role="tool", text=f"The function {name}({arguments}) returned: {item.output}")
        case _:
            return None


def _is_call(item: llm.ChatItem, call_id: str) -> bool:
    return isinstance(item, llm.FunctionCall) and item.call_id == call_id
