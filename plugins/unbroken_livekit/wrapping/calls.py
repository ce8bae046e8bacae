"""The tool calls of a wrapped session: who issued them, what came of them, and which may come again."""

from __future__ import annotations

import json
from collections import OrderedDict

from livekit.agents import llm, utils

__all__ = ["Calls", "Known"]

_BOUND = 256
"""Calls that are remembered."""


class Known:
    """One call.

    Args:
        call: as the first child issued it.
        child: the number of the child that waits for its result.

    Attributes:
        wire_id: the id by which that child knows it.
        output: its result; None: the tool still runs.
        open: no reply has been completed since, so that another child may issue it again.
    """

    __slots__ = ("call", "child", "open", "output", "wire_id")

    def __init__(self, call: llm.FunctionCall, *, child: int) -> None:
        self.call = call
        self.child = child
        self.wire_id = call.call_id
        self.output: llm.FunctionCallOutput | None = None
        self.open = True

    def answer(self) -> llm.FunctionCallOutput:
        """Returns the result under the id by which the child that waits for it knows the call."""
        assert self.output is not None, "only a call that has a result is answered"
        if self.wire_id == self.output.call_id:
            return self.output
        return self.output.model_copy(update={"call_id": self.wire_id, "id": utils.shortuuid("item_")})


class Calls:
    """Remembers calls by id, and by name and arguments where one comes again after its child died."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()

    def issued(self, call: llm.FunctionCall, *, child: int) -> Known | None:
        """A child issues a call.

        Args:
            call: the call.
            child: the child's number.

        Returns:
            The same call of a child that died before its exchange was over, now waited for by this one; it is not to be
            run again. None: it is a call like any other.
        """
        for known in self._known.values():
            if known.open and known.child != child and _key(known.call) == _key(call):
                known.child, known.wire_id = child, call.call_id
                return known
        self._known[call.call_id] = Known(call, child=child)
        while len(self._known) > _BOUND:
            self._known.popitem(last=False)
        return None

    def result(self, output: llm.FunctionCallOutput) -> Known | None:
        """The application gives a result. Returns its call; None: no child of this session issued it."""
        known = self._known.get(output.call_id)
        if known is not None:
            known.output = output
        return known

    def of(self, call_id: str) -> Known | None:
        """Returns a call; None: it is not known."""
        return self._known.get(call_id)

    def replied(self) -> None:
        """A reply in words has been completed: what was called before belongs to an exchange that is over.

        A call whose tool still runs stays open.
        """
        for known in self._known.values():
            if known.output is not None:
                known.open = False

    def waited_for(self, *, child: int) -> bool:
        """Says whether a child waits for a result."""
        return any(known.child == child and known.output is None for known in self._known.values())

    def __repr__(self) -> str:
        running = sum(known.output is None for known in self._known.values())
        return f"<Calls {len(self._known)} known, {running} running>"


def _key(call: llm.FunctionCall) -> tuple[str, str]:
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), sort_keys=True)
    except ValueError:
        arguments = call.arguments
    return call.name, arguments
