"""Which tools the model asked for, what they answered, and which link knows it: a tool is called once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import msgspec

from unbroken.errors import ConfigError
from unbroken.events import ToolCall, ToolResult, Turn

__all__ = ["Placed", "ToolLedger"]


class Placed(Protocol):
    """What stands at a position in the user's audio, once that is known.

    Attributes:
        position: up to here the user had been heard, in samples; None: not yet known.
    """

    position: int | None


class _Entry:
    """One call, under every id that it was given."""

    __slots__ = (
        "again",
        "call",
        "cancelled",
        "delivered",
        "key",
        "link",
        "number",
        "position",
        "result",
        "seq",
        "settled",
        "wire_id",
    )

    def __init__(self, call: ToolCall, *, number: int, link: int, wire_id: str, key: bytes, seq: int) -> None:
        self.call = call
        self.number = number
        """Its place among all calls of the session, from 1."""
        self.key = key
        self.link = link
        """The link that issued it last."""
        self.wire_id = wire_id
        """The id that this link knows it by."""
        self.seq = seq
        """The last item of the outbox that the context had which issued it."""
        self.position: int | None = None
        self.result: ToolResult | None = None
        self.delivered = 0
        """The link that was given the answer last; 0: none."""
        self.cancelled = False
        self.settled = False
        """A reply was completed by a context that had the answer."""
        self.again = False
        """The current context may issue it again without knowing that it did."""


class ToolLedger:
    """Every call that is in flight, or that the model might issue again after a recovery.

    Args:
        bound: calls that are remembered. Beyond it the oldest that are settled or cancelled are forgotten; those that are in
            flight stay, however many they are.

    Attributes:
        count: calls that were ever issued, each once however often it was issued again.
        given: the last item of the outbox that the current context was given; what asks for a call may come again after it.
    """

    def __init__(self, *, bound: int = 256) -> None:
        self.count: int = 0
        self.given: int = 0
        self._bound = bound
        self._entries: list[_Entry] = []
        self._by_id: dict[str, _Entry] = {}

    def call(self, call: ToolCall, *, link: int) -> tuple[ToolCall | ToolResult | None, Placed | None]:
        """The model issued a call.

        Returns:
            What follows, and where the call stands (see `Placed`). A `ToolCall` is for the application, its id made unique
            where the provider used one twice. A `ToolResult` is for the model: the call had been answered before. None: the
            application is at work on this very call, and its one answer will go to the new id.
        """
        key = _key(call)
        if any(entry.wire_id == call.call_id and entry.link == link and entry.key == key for entry in self._entries):
            return None, None
        for entry in self._entries:
            if entry.again and entry.key == key and entry.link != link:
                return self._claim(entry, call.call_id, link=link), None
        app_id = call.call_id
        while app_id in self._by_id:
            app_id = f"{app_id}~{link}"
        shown = call if app_id == call.call_id else msgspec.structs.replace(call, call_id=app_id)
        self.count += 1
        entry = _Entry(shown, number=self.count, link=link, wire_id=call.call_id, key=key, seq=self.given)
        self._entries.append(entry)
        self._by_id[app_id] = entry
        self._prune()
        return shown, entry

    def answer(self, call_id: str, result: Any, *, scheduling: str | None = None) -> ToolResult | None:
        """The application answers a call.

        Args:
            call_id: the id of its `ToolCall`.
            result: a JSON object; any other JSON value is wrapped as ``{"output": value}``.
            scheduling: see `ToolResult`.

        Returns:
            What is to be put into the outbox; None: the model no longer wants it.

        Raises:
            ConfigError: no such call is pending, or the result cannot be written as JSON.
        """
        entry = self._by_id.get(call_id)
        if entry is None or entry.call.call_id != call_id:
            pending = ", ".join(repr(call.call_id) for call in self.pending) or "none"
            raise ConfigError(f"no tool call has the id {call_id!r}; pending: {pending}")
        if entry.result is not None:
            raise ConfigError(f"the tool call {call_id!r} ({entry.call.name}) was answered before; a call is answered once")
        payload = cast("Mapping[str, Any]", result if isinstance(result, Mapping) else {"output": result})
        try:
            _json(payload)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the result of the tool {entry.call.name!r} cannot be written as JSON: {error}") from error
        entry.result = ToolResult(call_id=call_id, name=entry.call.name, result=payload, scheduling=scheduling)
        return None if entry.cancelled else entry.result

    def deliver(self, result: ToolResult, *, link: int) -> ToolResult | Turn | None:
        """Gives an answer the form in which a link can take it, when it is sent.

        Returns:
            A `ToolResult` under the link's own id where that link issued the call; a `Turn` that tells it in words
            otherwise; None: the link has it already, or the model no longer wants it.
        """
        entry = self._by_id.get(result.call_id)
        if entry is None:
            return Turn(role="tool", text=self.in_words(result))
        if entry.cancelled or entry.delivered == link:
            return None
        entry.delivered = link
        if entry.link == link:
            return msgspec.structs.replace(result, call_id=entry.wire_id)
        return Turn(role="tool", text=self.in_words(result))

    def in_words(self, result: ToolResult) -> str:
        """Tells a call and its answer in one sentence, for a model that did not issue it on this link."""
        entry = self._by_id.get(result.call_id)
        called = f", called with {_json(entry.call.arguments).decode()}," if entry is not None else ""
        return f"tool {result.name}{called} answered: {_json(result.result).decode()}"

    def cancel(self, call_ids: Iterable[str], *, link: int) -> tuple[str, ...]:
        """The model no longer wants these calls. Returns the application's ids of those that it knows of."""
        cancelled: list[str] = []
        for call_id in call_ids:
            for entry in self._entries:
                if entry.wire_id == call_id and entry.link == link and not entry.cancelled:
                    entry.cancelled = True
                    entry.again = False
                    cancelled.append(entry.call.call_id)
        return tuple(cancelled)

    def begin_link(self, link: int, *, known: int, told: bool, calls: int | None = None) -> None:
        """Another link is current.

        Args:
            link: its number.
            known: up to here its context holds the user's audio: what was called after that may be called again.
            told: its history tells every answer that was delivered, so they need not be delivered again.
            calls: what `count` was when its snapshot was taken, so that it knows of no later call; None: it has none.
        """
        for entry in self._entries:
            rolled_back = entry.position is None or entry.position > known or (calls is not None and entry.number > calls)
            entry.again = not entry.cancelled and (entry.result is None or not entry.settled or rolled_back)
            if told and entry.delivered:
                entry.delivered = link

    def settled(self, call_id: str) -> bool:
        """Says whether a reply was completed by a context that had the answer to a call."""
        entry = self._by_id.get(call_id)
        return entry is None or entry.settled

    def reply_completed(self, heard: int) -> None:
        """A reply was completed by a context that has heard the user's audio up to a position.

        It settles the calls whose answer that context has, if it was given what asked for them, too: otherwise that is still
        to come, and the call with it once more.
        """
        for entry in self._entries:
            knows = entry.position is not None and heard >= entry.position and self.given >= entry.seq
            if entry.delivered and knows:
                entry.settled = True
                entry.again = False

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The calls that the application has not answered and the model still wants."""
        return tuple(entry.call for entry in self._entries if entry.result is None and not entry.cancelled)

    def waits_for(self, link: int) -> tuple[str, ...]:
        """The ids of the calls that a link issued and was not given the answer of."""
        return tuple(
            entry.call.call_id
            for entry in self._entries
            if entry.link == link and entry.delivered != link and not entry.cancelled
        )

    def left_pending(self, link: int) -> tuple[ToolCall, ...]:
        """The calls that links before this one issued and were never given the answer of, there may be one by now or not."""
        return tuple(
            entry.call
            for entry in self._entries
            if entry.link != link and entry.delivered != entry.link and not (entry.settled or entry.cancelled)
        )

    def unknown_to(self, link: int) -> tuple[str, ...]:
        """The ids of the calls in flight whose answer will reach a link in words, since it did not issue them."""
        return tuple(
            entry.call.call_id
            for entry in self._entries
            if entry.result is None and not entry.cancelled and entry.link != link
        )

    def _claim(self, entry: _Entry, wire_id: str, *, link: int) -> ToolResult | None:
        entry.again = False
        entry.link = link
        entry.wire_id = wire_id
        entry.delivered = 0
        return entry.result

    def _prune(self) -> None:
        """Forgets down to the bound, but never a call that may still be answered or issued again."""
        while len(self._entries) > self._bound:
            over = [entry for entry in self._entries if entry.settled or entry.cancelled]
            if not over:
                return
            # the answer to a cancelled call may still come, and is no error then
            gone = min(over, key=lambda entry: entry.result is None)
            self._entries.remove(gone)
            del self._by_id[gone.call.call_id]

    def __repr__(self) -> str:
        names = ", ".join(call.name for call in self.pending)
        count = len(self._entries)
        return f"<ToolLedger {count} call{'' if count == 1 else 's'}, pending: {names or 'none'}>"


def _key(call: ToolCall) -> bytes:
    return call.name.encode() + b"\x00" + _json(call.arguments)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
