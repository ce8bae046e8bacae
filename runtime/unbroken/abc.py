"""The ports: what a plugin author implements. A provider speaks a service's protocol, a transport carries bytes, a policy
decides. None of them knows the others."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import anyio.abc
import anyio.lowlevel
import msgspec

from unbroken.config import Secret, Target
from unbroken.core.classify import Rule
from unbroken.core.fleet import Fleet
from unbroken.core.health import PathSample
from unbroken.decisions import Decision, Ending, Fault, Situation, TargetState
from unbroken.events import ActivityMark, Event, ToolResult, Turn, UserText
from unbroken.wire import WireEvent

__all__ = [
    "Connection",
    "Endpoint",
    "Finding",
    "Observer",
    "Policy",
    "Profile",
    "Provider",
    "ProviderFactory",
    "Socket",
    "Transport",
    "TransportStep",
    "Verdict",
]

TransportStep = Literal["tls", "upgrade"]

_BATCH = 64
"""Messages that are taken without a turn of the loop: a flood must not starve the other tasks."""

Verdict = Literal["ok", "warning", "problem"]
"""What a check comes to: all is well; calls work, but may not tomorrow or in an outage; calls break."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where a link dials, and with which credential. Never printed: headers and URL may hold keys.

    Attributes:
        url: ``wss://…`` or ``ws://…``.
        headers: HTTP headers of the upgrade.
        ssl: the TLS context, built once and kept by the provider; None: the system's default context, or ``ws://``.
        single_use: the credential lets one connection in, so no spare is opened with it.
    """

    url: str
    headers: Mapping[str, str] = {}
    ssl: ssl.SSLContext | None = None
    single_use: bool = False

    def __repr__(self) -> str:
        return "<Endpoint>"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can do and how it must be handled: one row of a provider's catalog, as the runtime, policies and tools
    read it.

    Attributes:
        platform: the platform's name in closures and rules ("gemini", "vertex").
        model: the model's name.
        input_rate: samples per second of the user's audio on the wire.
        output_rate: samples per second of the model's audio where the wire does not say.
        resumption: sessions can be resumed by handle.
        close_first: a resume is refused while the old socket is open, so it is closed before the next dial.
        consumed_index: handle updates say which client message they hold.
        turn_survives: a turn in flight is known to the resumed session, so a reply may be owed there.
        seed_survives: a resumed session still knows the history that its first link was seeded with; otherwise a context
            that began with history is carried over by history again, and its handles are not used.
        lost_calls: what a resumed session does with a tool call that its old link left pending: "ignored" takes no notice;
            "error_first" has to be told that the call failed before anything else, or it eats what the user says next.
        input_in_tool_call: realtime input may be sent while a tool call is pending; otherwise it waits.
        silent_context: what it is told in words (`Connection.context`) it takes in without answering it.
        catch_up: replayed audio is sent at this multiple of real time; faster is refused by some services.
        context_tokens: the model's context window; None: not known.
        lifetime: seconds after which the service ends a connection; None: not known.
        thinking: seconds that it may think before it speaks, on top of the session's deadlines for a reply.
        may_be_silent: it may choose to give no reply, so that a turn without one says nothing about the link.
        modalities: what it answers in.
        tools: it can call tools.
        resumes_changed: a session can be resumed by handle with another setup than it had, so that `Session.update` crosses
            by it; otherwise that crosses by history.
        images: it takes images of what the user shows (`Connection.image`).
    """

    platform: str
    model: str
    input_rate: int = 16_000
    output_rate: int = 24_000
    resumption: bool = True
    close_first: bool = True
    consumed_index: bool = False
    turn_survives: bool = False
    seed_survives: bool = True
    lost_calls: Literal["ignored", "error_first"] = "ignored"
    input_in_tool_call: bool = True
    silent_context: bool = True
    catch_up: float = 3.0
    context_tokens: int | None = None
    lifetime: float | None = None
    thinking: float = 0.0
    may_be_silent: bool = False
    modalities: tuple[str, ...] = ("AUDIO",)
    tools: bool = True
    resumes_changed: bool = False
    images: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check before the call has found; see `unbroken.doctor`.

    Attributes:
        check: what was looked at, in a word ("credential", "model").
        verdict: what it comes to.
        said: one plain sentence, without any secret or a part of one.
        fix: what a person can do about it; "": nothing is to be done, or the sentence says it.
    """

    check: str
    verdict: Verdict = "ok"
    said: str
    fix: str = ""


class Connection(ABC):
    """One link's conversation with the service, without any I/O: bytes in, bytes out.

    The caller's duty, in order: send what `setup` returns; feed every received message to `receive` until it yields
    `SetupDone`; send what `opening` returns; then encode and send freely. A connection is used for one link and thrown away.
    Minutes may lie between `SetupDone` and `opening`: a spare is set up before anybody knows what it will have to be told.

    Each encoder returns exactly one message, which the caller sends as one WebSocket message and counts: the setup is
    client message 0 (`HandleIssued.consumed_index`).
    """

    @abstractmethod
    def setup(self, *, handle: Secret | None, seeded: bool) -> bytes:
        """Encodes the setup.

        Args:
            handle: resume by this handle; None: a fresh session.
            seeded: `opening` is going to be given a history, or may be: an empty one is still possible then. False with a
                handle: never both.
        """

    @abstractmethod
    def opening(self, history: Sequence[Turn]) -> Sequence[bytes]:
        """Encodes what has to be the first after the setup: the history, in the form that the model allows. May be empty.

        Args:
            history: turns to replay, the oldest first. Empty where the setup was not `seeded`.
        """

    @abstractmethod
    def receive(self, data: bytes | str) -> Sequence[WireEvent]:
        """Decodes one message from the service into events, in the order in which they apply.

        What is unknown is skipped and yields `Skipped`.

        Raises:
            WireError: the message is not of the protocol at all.
        """

    @abstractmethod
    def audio(self, pcm: bytes | memoryview) -> bytes:
        """Encodes user audio: s16le mono PCM at the profile's input rate, any whole number of samples."""

    @abstractmethod
    def text(self, text: UserText) -> bytes:
        """Encodes a user's turn in words, in the form that the model allows at this point of this connection."""

    @abstractmethod
    def context(self, turn: Turn) -> bytes:
        """Encodes something the model should know without answering at once where the model allows that."""

    @abstractmethod
    def tool_result(self, result: ToolResult) -> bytes:
        """Encodes the answer to a call that was issued on this very connection."""

    @abstractmethod
    def activity(self, mark: ActivityMark) -> bytes:
        """Encodes a mark in the user's audio."""

    def told(self, turns: Sequence[Turn]) -> Sequence[bytes]:
        """Encodes turns of the conversation that the application tells, in as few messages as the model allows: like
        `context`, they are not to be answered. Each message is sent and counted."""
        return [self.context(turn) for turn in turns]

    def image(self, data: bytes, *, mime_type: str) -> bytes:
        """Encodes an image of what the user shows. Not asked for where the profile says that the model takes none.

        Args:
            data: the image.
            mime_type: how it is encoded, such as "image/jpeg".
        """
        raise NotImplementedError(f"{type(self).__name__} encodes no images, and its profile says that its model takes some")


class Provider(ABC):
    """One target, ready to be dialled any number of times. Heavy objects (clients, TLS contexts) are built once and shared.

    Attributes:
        profile: what the model can do.
        rules: the provider's rows for `unbroken.core.classify`, in order; they come before the protocols' own.
    """

    profile: Profile
    rules: Sequence[Rule] = ()

    @property
    def advice(self) -> str:
        """What to do where the catalog says that the model is not served at this place; "": it does not say so."""
        return ""

    @property
    def unfit(self) -> str:
        """What the configuration asks for and the model does not have (tools, a modality, a language), in one sentence;
        "": it has everything, as far as the catalog knows. No session fails over to a target that is unfit."""
        return ""

    @property
    def host(self) -> str:
        """The endpoint's host, which targets may share: the runtime's ceilings on dials hold for each host."""
        return self.profile.platform

    @abstractmethod
    async def endpoint(self, *, refresh: bool = False) -> Endpoint:
        """Names the endpoint and its credential; asked once per link and spare. Must be cancellable: it has a deadline.

        Args:
            refresh: the last credential was refused: get a new one where that can be done.

        Raises:
            ConfigError: there is no credential; the text says how to give one.
        """

    @abstractmethod
    def connection(self) -> Connection:
        """Begins the conversation of one link."""

    async def check(self, *, online: bool) -> Sequence[Finding]:
        """Looks at what only the provider knows before the first call: the credential's kind, the model's standing at this
        place, the configuration. Dials no session. Must be cancellable: it has a deadline.

        Args:
            online: the service may be asked too, such as which models it lists; False: only what is known here counts.

        Returns:
            What was found, in the order in which people should read it. A finding of the checks "model", "listed", "config",
            "credential" or "environment" that is not "ok" is taken to explain a setup that fails for such a reason.
        """
        return ()


class ProviderFactory(Protocol):
    """What an entry point of the group ``unbroken.providers`` names."""

    def __call__(self, target: Target, *, config: Any) -> Provider:
        """Builds the provider of a target.

        Args:
            target: where to go.
            config: the session's configuration in the provider's own terms (`Target.config` wins); None: defaults.

        Raises:
            ConfigError: the target cannot work; the text says what would have worked.
        """
        ...


class Socket(ABC):
    """An open WebSocket. Sending never waits; receiving is one task's business.

    Attributes:
        ending: how it ended; None: it has not.
    """

    ending: Ending | None

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Queues one text message (UTF-8 bytes). Never waits. On a socket that has ended it does nothing."""

    @abstractmethod
    async def receive(self) -> bytes:
        """Returns the next message, text or binary, as bytes. Cancelling it loses nothing.

        Raises:
            SocketEnded: there will be no more messages; the ending says why.
        """

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        """Hands over messages as they come, in order, until told to pause: the short way for a link that is up.

        A transport whose bytes come by callback can call `take` from there, which saves a task switch for each message. It
        then has to raise here what `take` raises, and to call it where anyio knows its event loop: in a copy of this call's
        context, with ``sniffio.current_async_library_cvar`` set where there is sniffio. Never called beside `receive`; after
        it has returned, either may be called.

        Args:
            take: given each message; never waits. False: no more for now. What has come already is kept for the next call.

        Raises:
            SocketEnded: there will be no more messages, and all that came was taken; the ending says why.
        """
        taken = 0
        while take(await self.receive()):
            taken += 1
            if taken % _BATCH == 0:
                await anyio.lowlevel.checkpoint()  # what came in one read is taken without a turn of the loop

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes accepted by `send` that the operating system has not taken."""

    @property
    @abstractmethod
    def last_received(self) -> float:
        """When the last byte came from the peer, on the clock of `anyio.current_time`."""

    @abstractmethod
    def ping(self) -> None:
        """Sends a ping; its pong shows in `last_received`."""

    @property
    def slowest_pong(self) -> float | None:
        """The longest that an answer to a ping took so far, seconds; None: none came yet, or nobody looks."""
        return None

    def path(self) -> PathSample | None:
        """Returns what the operating system knows of the path to the peer, or to the proxy on the way there. Never waits.

        None: platform or transport cannot tell. Then a dead path shows only by the peer's silence.
        """
        return None

    @abstractmethod
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begins the closing handshake. `receive` raises when the peer has answered or gone; the caller bounds the wait."""

    @abstractmethod
    def abort(self, ending: Ending | None = None) -> None:
        """Ends the connection at once, without any handshake (TCP: a reset where the platform can).

        Args:
            ending: what `receive` raises; None: an unconfirmed ending without a cause.
        """


class Transport(ABC):
    """Opens WebSockets. Holds no connection itself, and may be used by any number of links at once."""

    @abstractmethod
    async def open(
        self, endpoint: Endpoint, *, tasks: anyio.abc.TaskGroup, on_step: Callable[[TransportStep], None]
    ) -> Socket:
        """Dials, does TLS and upgrades.

        Args:
            endpoint: where to, and with which headers.
            tasks: where the socket's own tasks run; cancelling its scope aborts the socket.
            on_step: called when the named step begins. The caller has the deadlines; this method has none.

        Raises:
            DialFailed: there is no WebSocket; the ending says why.
        """


class Observer:
    """Is told what happens in one runtime's sessions: for metrics, traces, alarms. A subclass overrides what it needs.

    Called on the event loop's thread, in the middle of the sessions' own work, so it has to be cheap and cannot wait. What
    it raises is logged once and reaches nobody else.
    """

    def started(self, fleet: Fleet) -> None:
        """The runtime runs.

        Args:
            fleet: what its sessions share. It is the loop's own: not to be read in another thread.
        """

    def opened(self, session: str, *, targets: Sequence[TargetState], profiles: Sequence[Profile], now: float) -> None:
        """A session was opened.

        Args:
            session: its name, unique among those that are open.
            targets: its route.
            profiles: of the targets, in the same order.
            now: seconds on the sessions' clock.
        """

    def event(self, session: str, event: Event, *, now: float) -> None:
        """Something happened in a session; the application may not have read of it yet.

        Args:
            session: its name.
            event: as the application sees it. What is said (audio, text, transcripts) is left out.
            now: seconds on the sessions' clock.
        """

    def closed(self, session: str, *, now: float) -> None:
        """A session has ended, by whatever means.

        Args:
            session: its name.
            now: seconds on the sessions' clock.
        """


@runtime_checkable
class Policy(Protocol):
    """Decides what to do about a fault. Pure and synchronous: no clock, no randomness but `Situation.random`, no waiting."""

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        """Returns what is to be done."""
        ...
