"""The conversation that a wrapped session holds, and what of it a child is told, by what that child can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from livekit.agents import llm, utils

from unbroken_livekit.wrapping.calls import Calls

__all__ = ["Conversation", "Diff", "told"]


class Diff(NamedTuple):
    """What an update changes.

    Attributes:
        added: items that are new, or have other content than before.
        removed: ids of items that are gone.
    """

    added: tuple[llm.ChatItem, ...]
    removed: frozenset[str]


class Conversation:
    """The conversation as LiveKit and this side know it, whichever child serves.

    Attributes:
        items: in order.
    """

    def __init__(self) -> None:
        self.items: list[llm.ChatItem] = []

    @property
    def context(self) -> llm.ChatContext:
        """A copy, as LiveKit's sessions hand it out."""
        return llm.ChatContext(list(self.items))

    def update(self, wanted: llm.ChatContext) -> Diff:
        """Takes the application's view of the conversation. Returns what it changes."""
        had = {item.id: item for item in self.items}
        added = tuple(item for item in wanted.items if (old := had.get(item.id)) is None or _changed(old, item))
        removed = frozenset(had.keys() - {item.id for item in wanted.items})
        self.items = list(wanted.items)
        return Diff(added, removed)

    def put(self, item: llm.ChatItem) -> None:
        """Adds an item, or takes it in the place of the one of the same id."""
        for index, old in enumerate(self.items):
            if old.id == item.id:
                self.items[index] = item
                return
        place = len(self.items)
        while place and self.items[place - 1].created_at > item.created_at:
            place -= 1
        self.items.insert(place, item)

    def call_of(self, output: llm.FunctionCallOutput) -> llm.FunctionCall:
        """Returns the call that a result answers, made up of the result where it is not known."""
        for item in self.items:
            if item.type == "function_call" and item.call_id == output.call_id:
                return item
        return llm.FunctionCall(call_id=output.call_id, name=output.name or "tool", arguments="{}")

    def for_fresh(self, *, takes_calls: bool) -> llm.ChatContext:
        """Returns what a child that knows nothing is told.

        A call without a result is left out: its result is told when it comes.

        Args:
            takes_calls: the child takes calls and results that it did not make (`manual_function_calls`); else they are
                told in words.
        """
        kept: list[llm.ChatItem] = []
        for item in self.items:
            match item:
                case llm.FunctionCall():
                    continue
                case llm.FunctionCallOutput():
                    kept.extend(told(self.call_of(item), item, takes_calls=takes_calls))
                case _:
                    kept.append(item)
        return llm.ChatContext(kept)

    def for_child(
        self, known: llm.ChatContext, diff: Diff, *, calls: Calls, child: int, takes_calls: bool
    ) -> tuple[llm.ChatContext, bool]:
        """Returns a child's own context with a change made, and whether a result went to a child that had not asked for it.

        Args:
            known: the child's context; changed in place.
            diff: the change.
            calls: who issued what.
            child: the child's number.
            takes_calls: as for `for_fresh`.
        """
        had = {item.id for item in known.items}
        items = [item for item in known.items if item.id not in diff.removed]
        foreign = False
        for item in diff.added:
            match item:
                case llm.FunctionCallOutput():
                    call = calls.of(item.call_id)
                    if call is not None and call.child == child:
                        items.append(call.answer())
                    elif item.id not in had:
                        foreign = True
                        items.extend(told(self.call_of(item), item, takes_calls=takes_calls))
                case llm.FunctionCall():
                    continue
                case _ if item.id in had:
                    items = [item if old.id == item.id else old for old in items]
                case _:
                    items.append(item)
        known.items[:] = items
        return known, foreign


def told(call: llm.FunctionCall, output: llm.FunctionCallOutput, *, takes_calls: bool) -> Sequence[llm.ChatItem]:
    """Returns a call and its result for a child that did not issue it.

    Args:
        call: the call.
        output: its result.
        takes_calls: as items of their own kinds; else as a sentence.
    """
    if takes_calls:
        return (call, output)
    what = "failed with" if output.is_error else "returned"
    words = f"(The tool {call.name} has already run with {call.arguments} and {what}: {output.output})"
    return (llm.ChatMessage(id=utils.shortuuid("item_"), role="user", content=[words], created_at=output.created_at),)


def _changed(old: llm.ChatItem, new: llm.ChatItem) -> bool:
    return old is not new and old.type == "message" and new.type == "message" and old.content != new.content
