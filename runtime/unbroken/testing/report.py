"""What a simulated service has counted: the user's audio to the sample, links, tool calls, texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from unbroken.testing.intervals import Range

__all__ = ["CallReport", "LinkReport", "Report", "Steps"]


class LinkReport(msgspec.Struct, frozen=True, kw_only=True):
    """One connection, as the service had it. Positions are samples of the user's audio.

    Attributes:
        number: from 1, in the order in which they were accepted.
        began: seconds on the service's clock (`anyio.current_time`).
        ended: the same; None: it is open.
        platform: "gemini", "vertex", …; "": it did not come that far.
        model: the model's bare name; "": no setup came.
        live: the setup was accepted.
        resumed: it was set up with a resumption handle.
        history: turns that were told as history.
        closed: how the service ended it ("close 1011 …", "reset", …); "": it did not.
        faults: what struck it, as written.
        context: the number of its context (connections that resume share one's past, not its number).
        heard: ranges in order of arrival, as they came; what is repeated is in here twice.
        replayed: what of it had been sent on an earlier connection.
        repeated: what of it the context held already when it came.
        said: milliseconds of the model's speech that were sent on it.
        images: images of what the user shows that came on it.
        heard_at: when the first of the user's audio came; None: none has.
        said_at: when the first of the model's speech was sent; None: nothing was.
    """

    number: int
    began: float
    ended: float | None = None
    platform: str = ""
    model: str = ""
    live: bool = False
    resumed: bool = False
    history: int = 0
    closed: str = ""
    faults: tuple[str, ...] = ()
    context: int = 0
    heard: tuple[Range, ...] = ()
    replayed: tuple[Range, ...] = ()
    repeated: tuple[Range, ...] = ()
    said: float = 0.0
    images: int = 0
    heard_at: float | None = None
    said_at: float | None = None

    @property
    def first_position(self) -> int | None:
        """Where its audio began; None: none came."""
        return self.heard[0][0] if self.heard else None

    @property
    def last_position(self) -> int | None:
        """The position after the last that came; None: none came."""
        return self.heard[-1][1] if self.heard else None


class Steps(msgspec.Struct, kw_only=True):
    """When a connection came how far, in seconds on the service's clock; None: it has not.

    Attributes:
        accepted: its TCP connection.
        secured: its TLS handshake was over; without TLS that is at once.
        upgraded: its HTTP upgrade was answered with 101.
        setup: its setup had come.
        live: setupComplete was sent, or whatever is the provider's word for it.
    """

    accepted: float
    secured: float | None = None
    upgraded: float | None = None
    setup: float | None = None
    live: float | None = None


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call that the model issued.

    Attributes:
        id: the call's.
        name: the function's.
        args: its arguments.
        link: the connection that it was issued on.
        answers: how often an answer was taken.
        refused: how often an answer came that was not: on another connection, or after it was cancelled.
        cancelled: the model no longer wanted it.
    """

    id: str
    name: str
    args: Mapping[str, Any]
    link: int
    answers: int = 0
    refused: int = 0
    cancelled: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The service's account of one client. What is said about audio is said about the context that survived: the newest one
    that was set up, with what its handle brought along.

    Ranges are half-open, in samples of the user's audio.

    Attributes:
        upto: up to here the audio is accounted for: the last position that ever came, or what was asked for.
        heard: what the context heard.
        told: what it was told as transcripts and did not hear.
        lost: what it knows in no form.
        speech: where the user spoke: by the original, or else by what arrived on any connection.
        forgotten: what it had been told and lost again because the service forgot.
        repeated: what it heard again, once per time.
        heard_ms: of `heard`.
        told_ms: of `told`.
        lost_ms: of `lost`.
        lost_speech_ms: of `lost`, what is speech.
        told_speech_ms: of `told`, what is speech.
        speech_ms: of `speech`.
        forgotten_ms: of `forgotten`.
        repeated_ms: of `repeated`.
        reordered_ms: what came for the first time after something later.
        late_ms: what came for the first time more than a second late.
        unstamped_ms: audio that carried no position, on all connections.
        links: every connection, in order.
        calls: every call that was issued.
        texts: the user's texts that the context holds.
        history: the turns that the context was told as history.
        results: ids of the calls whose answers the context holds.
        turns: turns of the user by speech that ended.
        replies: replies that the model finished, on all connections.
    """

    upto: int = 0
    heard: tuple[Range, ...] = ()
    told: tuple[Range, ...] = ()
    lost: tuple[Range, ...] = ()
    speech: tuple[Range, ...] = ()
    forgotten: tuple[Range, ...] = ()
    repeated: tuple[Range, ...] = ()
    heard_ms: float = 0.0
    told_ms: float = 0.0
    lost_ms: float = 0.0
    lost_speech_ms: float = 0.0
    told_speech_ms: float = 0.0
    speech_ms: float = 0.0
    forgotten_ms: float = 0.0
    repeated_ms: float = 0.0
    reordered_ms: float = 0.0
    late_ms: float = 0.0
    unstamped_ms: float = 0.0
    links: tuple[LinkReport, ...] = ()
    calls: tuple[CallReport, ...] = ()
    texts: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    turns: int = 0
    replies: int = 0
