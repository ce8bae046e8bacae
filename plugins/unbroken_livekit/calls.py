"""The model's calls of functions: which wait for a result, and which the application overtook by asking for a reply."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import unbroken

__all__ = ["Calls"]


class Calls:
    """Holds the calls of a session until they are answered.

    A model that waits for a result withdraws its call when it is asked to speak meanwhile, as by a tool that has the caller
    told to wait. The result is still what the caller waits for, unless the speech was interrupted.

    Attributes:
        pending: the calls that wait for a result, by id.
    """

    def __init__(self) -> None:
        self.pending: dict[str, unbroken.ToolCall] = {}
        self._interrupted: set[str] = set()
        self._overtaken: set[str] = set()

    def add(self, call: unbroken.ToolCall) -> None:
        """The model calls a function."""
        self.pending[call.call_id] = call

    def answer(self, call_id: str) -> unbroken.ToolCall:
        """Returns a call that waits for a result, which has come."""
        self._interrupted.discard(call_id)
        return self.pending.pop(call_id)

    def interrupt(self) -> None:
        """The application has interrupted all speech: nobody waits to hear of the results that are still to come."""
        self._interrupted.update(self.pending)
        self._overtaken.clear()

    def cancelled(self, call_ids: Collection[str], *, overtaken: bool) -> None:
        """The model does not wait for these results any more.

        Args:
            call_ids: the calls.
            overtaken: because the application has asked for a reply.
        """
        for call_id in call_ids:
            self.pending.pop(call_id, None)
            if overtaken and call_id not in self._interrupted:
                self._overtaken.add(call_id)
            self._interrupted.discard(call_id)

    def awaited(self, call_ids: Sequence[str]) -> bool:
        """Says whether one of these results, which the model was told in words, is to be followed by a reply."""
        found = self._overtaken.intersection(call_ids)
        self._overtaken -= found
        return bool(found)
