"""The ports of a simulated service: what a provider implements, without any I/O, for `unbroken.testing.service` to serve.

The host's duty towards a `SimulatedLink`, in a loop: feed every message to `receive`, call `advance` when something came or
the `deadline` has passed, send what it returns, and say `ended` once, when the connection is over.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from unbroken.config import Target
from unbroken.testing.faults import Close, HttpStatus, Stage, Strike
from unbroken.testing.report import Report

__all__ = ["Answer", "Message", "Output", "Request", "SimulatedLink", "Simulator", "SimulatorFactory"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A client asks for a WebSocket, or something by a plain GET.

    Attributes:
        number: the connection's, from 1.
        path: without the query.
        query: the query's names and values.
        headers: names in lower case.
    """

    number: int
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a plain GET.

    Attributes:
        body: its bytes.
        status: the HTTP status.
        content_type: of the body.
    """

    body: bytes
    status: int = 200
    content_type: str = "application/json; charset=UTF-8"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to the client.

    Attributes:
        data: its bytes.
        binary: a binary frame; False: a text frame.
    """

    data: bytes
    binary: bool = False


Output: TypeAlias = Message | Close


class SimulatedLink(ABC):
    """One connection, without I/O. Times are seconds on the host's clock."""

    @property
    @abstractmethod
    def stages(self) -> Collection[Stage]:
        """All that it is at; empty until a setup came."""

    @property
    @abstractmethod
    def deadline(self) -> float | None:
        """When `advance` wants to be called though nothing came; None: not by itself."""

    @property
    def waits(self) -> bool:
        """It was set up ahead of need, as far as can be seen: nobody's conversation is carried on it."""
        return False

    @property
    def pong_time(self) -> float:
        """Seconds until the next ping is answered."""
        return 0.0

    @abstractmethod
    def receive(self, data: bytes, *, now: float) -> None:
        """Takes a message from the client."""

    @abstractmethod
    def advance(self, now: float) -> Sequence[Output]:
        """Returns what is to be sent now, in order; nothing follows a `Close`."""

    @abstractmethod
    def strike(self, strike: Strike, *, now: float) -> None:
        """Makes a fault happen that is the provider's business (goAway, no reply, …)."""

    @abstractmethod
    def struck(self, fault: str) -> None:
        """Takes note for the report that a fault struck this connection, as people write it."""

    @abstractmethod
    def silenced(self, *, now: float) -> None:
        """The path is dead, and the service does not know: it still takes the connection for open."""

    @abstractmethod
    def ended(self, *, now: float, how: str = "", confirmed: bool) -> None:
        """The connection is over. Called again, it does nothing.

        Args:
            now: the time.
            how: how the service ended it, for the report; "": the client did.
            confirmed: both sides know: by close frames. Otherwise the service may take a while to notice.
        """


class Simulator(ABC):
    """A provider's service, without I/O.

    Attributes:
        provider: the provider's registered name.
    """

    provider: str

    @abstractmethod
    def admit(self, request: Request, *, now: float) -> SimulatedLink | HttpStatus:
        """Answers an upgrade."""

    def answer(self, request: Request, *, now: float) -> Answer | None:
        """Answers a plain GET, such as for the list of models; None: it is taken for an upgrade, and refused as none."""
        return None

    @abstractmethod
    def check(self, strike: Strike) -> None:
        """Looks at a fault before it is planned.

        Raises:
            UnknownName: it names something that the service does not have; the text names the near ones.
        """

    @abstractmethod
    def strike(self, strike: Strike, *, now: float, times: int | None) -> None:
        """Makes a fault happen that concerns no single connection.

        Args:
            strike: what.
            now: the time.
            times: how often; None: from now on.
        """

    @abstractmethod
    def target(
        self, model: str, *, base_url: str, context: ssl.SSLContext | None, options: Mapping[str, Any] = {}
    ) -> Target:
        """Returns a target that leads here.

        Args:
            model: the model's name.
            base_url: where the service is.
            context: the client's TLS context, which trusts the service; None: there is no TLS.
            options: what else is asked of the target, by the provider's own names.
        """

    @abstractmethod
    def original(self, pcm: bytes) -> None:
        """Is given what the user says from position 0 on, so that lost speech can be told from lost silence."""

    @abstractmethod
    def report(self, *, upto: int | None = None, client: str | None = None) -> Report:
        """Returns the account.

        Args:
            upto: up to which position of the user's audio; None: up to the last that ever came.
            client: one client, by its credential; None: the one whose connection came last.
        """


class SimulatorFactory(Protocol):
    """What an entry point of the group ``unbroken.simulators`` names."""

    def __call__(self, *, models: Sequence[str] = (), harsh: bool = False, seed: int = 0) -> Simulator:
        """Makes a simulated service.

        Args:
            models: the only models that are served; empty: all that the real service serves.
            harsh: with every pitfall that is known of the real service.
            seed: of its dice.
        """
        ...
