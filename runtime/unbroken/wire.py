"""What a provider's wire says: the events that the application sees as they came, and those meant for the runtime."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from unbroken.config import Secret
from unbroken.events import (
    Audio,
    Interrupted,
    ModelTranscript,
    ProviderMessage,
    Text,
    ToolCall,
    ToolCallCancelled,
    Usage,
    UserActivity,
    UserTranscript,
)

__all__ = [
    "GenerationComplete",
    "GoAway",
    "HandleIssued",
    "ProviderFault",
    "SetupDone",
    "Skipped",
    "TurnComplete",
    "WireEvent",
]


class SetupDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The provider accepted the setup.

    Attributes:
        session_id: the provider's id; "": it gave none.
    """

    session_id: str = ""


class GenerationComplete(msgspec.Struct, frozen=True, tag=True):
    """The model has produced all of its reply; it may still be played."""


class TurnComplete(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model's turn is over.

    Attributes:
        reason: why, where it did not simply end ("MALFORMED_FUNCTION_CALL", …); "": it simply ended.
        more: the provider said that more output follows by itself.
    """

    reason: str = ""
    more: bool = False


class GoAway(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The provider announces the end of this connection.

    Attributes:
        time_left: seconds until it ends.
    """

    time_left: float


class HandleIssued(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The provider's word on session resumption.

    Attributes:
        handle: the newest handle; None: none was given (keep the last one).
        resumable: the session could be resumed from this very moment.
        consumed_index: the last client message, counted from 0 for the setup on this link, that the handle holds (Vertex);
            None: the provider does not say.
    """

    handle: Secret | None = None
    resumable: bool = False
    consumed_index: int | None = None


class ProviderFault(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An error that the provider sent as a message; the link is closed and classified by it.

    Attributes:
        code: a number the provider gave (an HTTP or gRPC status, a close code); None: it gave none.
        reason: its words.
    """

    code: int | None = None
    reason: str = ""


class Skipped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A message or a part of one that this version does not know; it was skipped and is counted.

    Attributes:
        what: the name of what was skipped.
    """

    what: str


WireEvent: TypeAlias = (
    Audio
    | Text
    | UserTranscript
    | ModelTranscript
    | ToolCall
    | ToolCallCancelled
    | Interrupted
    | UserActivity
    | Usage
    | ProviderMessage
    | SetupDone
    | GenerationComplete
    | TurnComplete
    | GoAway
    | HandleIssued
    | ProviderFault
    | Skipped
)
"""What a provider's `unbroken.abc.Connection` makes of received bytes."""
