"""One session to one target: opened with the real configuration, watched for a moment, and closed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import msgspec

from unbroken.abc import Transport
from unbroken.config import Settings, Target
from unbroken.core.classify import Rule
from unbroken.core.defaults import DEFAULTS
from unbroken.decisions import Decision, Escalate, Fault, FaultKind, Retry, Situation
from unbroken.errors import SessionEscalated
from unbroken.events import (
    Audio,
    Connected,
    Escalated,
    Event,
    ModelTranscript,
    OutageBegan,
    ReplyBegan,
    ReplyEnded,
    Text,
    ToolCall,
)
from unbroken.runtime import Runtime
from unbroken.session import Session

__all__ = ["HANDLE_WAIT", "OneMoreTry", "Seen", "probe"]

HANDLE_WAIT: Final = 3.0
"""Seconds that the first resumption handle may take."""

_REPLY_WAIT: Final = 30.0
"""Seconds that a reply to `_ASKED` may take in all."""

_ASKED: Final = "Please say hello in one short sentence."

_TICK: Final = 0.02

_PASSING: Final[frozenset[FaultKind]] = frozenset({"network", "hung", "server", "planned", "protocol", "unknown"})
"""Faults of the moment: production would try again, and so does the examination, once."""


class OneMoreTry:
    """Tries once more what may pass by itself, and a credential that may be renewed; tells the rest at once."""

    def __repr__(self) -> str:
        return "OneMoreTry()"

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        """Returns what is to be done."""
        if situation.attempt < 2 and (fault.kind in _PASSING or fault.action == "retry"):
            return Retry(carry="nothing", because="It may pass by itself, so it is tried once more.")
        return Escalate(advice=fault.advice or DEFAULTS[fault.kind].advice, because=fault.because)


class Seen(msgspec.Struct, kw_only=True):
    """What was seen of a session. Times are seconds on the clock of `anyio.current_time`; None: it did not happen.

    Attributes:
        connected: the first link came up.
        connected_at: when that was.
        handle_at: when a resumption handle was first seen to be held.
        asked_at: when a reply was asked for.
        reply_at: when it began.
        reply: how it ended.
        words: its transcript or text, as far as any came.
        tool: the tool that the model asked for instead.
        outages: links that ended and should not have, in order.
        escalated: the session was given up.
        over: no more events come.
    """

    connected: Connected | None = None
    connected_at: float = 0.0
    handle_at: float | None = None
    asked_at: float | None = None
    reply_at: float | None = None
    reply: ReplyEnded | None = None
    words: str = ""
    tool: str = ""
    outages: list[OutageBegan] = []
    escalated: Escalated | None = None
    over: bool = False

    def take(self, event: Event, *, now: float) -> None:
        """Takes note of an event."""
        match event:
            case Connected():
                self.connected, self.connected_at = event, now
            case OutageBegan():
                self.outages.append(event)
            case Escalated():
                self.escalated = event
            case ReplyBegan() if self.reply_at is None:
                self.reply_at = now
            case ReplyEnded() if self.asked_at is not None:
                self.reply = event
            case ModelTranscript(text=text) | Text(text=text, thought=False):
                self.words += text
            case ToolCall(name=name):
                self.tool = self.tool or name
            case Audio() | _:
                pass

    @property
    def answered(self) -> bool:
        """The model has answered to its end, or has asked for a tool."""
        return bool(self.tool) or (self.reply is not None and self.reply.how == "complete")


async def probe(
    target: Target,
    *,
    config: Any,
    rules: Sequence[Rule],
    settings: Settings,
    transport: Transport | None,
    speak: bool,
    seen: Seen,
) -> None:
    """Opens a session to one target, watches it until nothing more is to be expected of it, and closes it.

    Args:
        target: where to.
        config: see `unbroken.Runtime.open`, as the next three.
        rules: the application's own rows.
        settings: the session's bounds.
        transport: what links go over; None: the runtime's own.
        speak: ask for a reply.
        seen: where what happens is noted, also where this is cancelled.
    """
    async with Runtime(transport=transport) as runtime:
        session = runtime.open(target, config=config, policy=OneMoreTry(), rules=rules, settings=settings)
        async with anyio.create_task_group() as tasks:
            up, answered = anyio.Event(), anyio.Event()
            tasks.start_soon(_watch, session, seen, up, answered)
            await up.wait()
            await _await_handle(session, seen)
            if speak and not seen.over:
                await _await_reply(session, seen, answered)
                await _await_handle(session, seen)
            await session.aclose()


async def _watch(session: Session, seen: Seen, up: anyio.Event, answered: anyio.Event) -> None:
    try:
        async for event in session:
            seen.take(event, now=anyio.current_time())
            if seen.connected is not None:
                up.set()
            if seen.answered:
                answered.set()
    except SessionEscalated:
        pass  # the event before it said so
    finally:
        seen.over = True
        up.set()
        answered.set()


async def _await_handle(session: Session, seen: Seen) -> None:
    """Looks for a handle from time to time: no event tells of it, since no application has to know."""
    with anyio.move_on_after(HANDLE_WAIT):
        while seen.handle_at is None and not seen.over:
            if session.resumable:
                seen.handle_at = anyio.current_time()
            else:
                await anyio.sleep(_TICK)


async def _await_reply(session: Session, seen: Seen, answered: anyio.Event) -> None:
    seen.asked_at = anyio.current_time()
    with suppress(SessionEscalated), anyio.move_on_after(_REPLY_WAIT):
        await session.send_text(_ASKED)
        await answered.wait()
