"""A connection that was opened ahead of need: dialled, or set up besides, with nobody's conversation on it yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import anyio
import anyio.abc
import msgspec

from unbroken.abc import Connection, Provider, Socket, Transport, TransportStep
from unbroken.config import Deadlines, Secret
from unbroken.core.redaction import secrets_of
from unbroken.wire import GoAway, HandleIssued, SetupDone, WireEvent

__all__ = ["Dialled", "SetUp", "dial"]

_MOST = 64
"""Events that are kept of a session in which nothing was said: some notices, as a rule."""


class SetUp(msgspec.Struct, kw_only=True, eq=False):
    """What was done and heard on a connection that is set up, but was told nothing yet.

    Attributes:
        connection: its encoder, whose `opening` has not been sent.
        at: since when it is set up, on the clock of `anyio.current_time`.
        ends_at: when the service ends it, as announced; `math.inf`: nothing was announced.
        events: what came and is the application's, in order.
    """

    connection: Connection
    at: float
    ends_at: float = math.inf
    events: list[WireEvent] = []

    def heard(self, events: Sequence[WireEvent]) -> None:
        """Keeps what will matter when a conversation is carried here.

        A handle does not: it holds a session in which nothing was said.
        """
        for event in events:
            match event:
                case GoAway(time_left=time_left):
                    self.ends_at = min(self.ends_at, anyio.current_time() + time_left)
                case SetupDone() | HandleIssued():
                    pass
                case _:
                    self.events.append(event)
                    del self.events[:-_MOST]

    def told(self, now: float) -> list[WireEvent]:
        """Returns what the link that takes it has to deliver first.

        Args:
            now: the present.
        """
        ends = [] if self.ends_at == math.inf else [GoAway(time_left=max(0.0, self.ends_at - now))]
        return [*self.events, *ends]


class Dialled(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An open connection on which nothing was sent, or only the setup.

    Attributes:
        socket: the WebSocket. Its own tasks run elsewhere and end with it: who takes it has to end it.
        round_trip: seconds; the shortest of its dial, TLS and upgrade steps, an upper bound for the path's round trip.
        released: set when nobody else reads the socket any more.
        secrets: what its request held that must not be shown where the peer quotes it.
        set_up: how it was set up; None: it was not.
    """

    socket: Socket
    round_trip: float
    released: anyio.Event
    secrets: tuple[Secret, ...] = ()
    set_up: SetUp | None = None


async def dial(provider: Provider, transport: Transport, *, bounds: Deadlines, tasks: anyio.abc.TaskGroup) -> Dialled | None:
    """Opens a connection ahead of need.

    Args:
        provider: where it leads.
        transport: what it goes over.
        bounds: of its steps, which have one deadline together.
        tasks: where the socket's own tasks run.

    Returns:
        The open connection; None: the credential lets one connection in, and that is not for a spare.

    Raises:
        ConfigError: there is no credential.
        DialFailed: there is no connection.
        TimeoutError: it took too long.
    """
    with anyio.fail_after(bounds.credential + bounds.dial + bounds.tls + bounds.upgrade):
        endpoint = await provider.endpoint()
        if endpoint.single_use:
            return None
        marks = [anyio.current_time()]

        def on_step(step: TransportStep) -> None:
            marks.append(anyio.current_time())

        socket = await transport.open(endpoint, tasks=tasks, on_step=on_step)
        marks.append(anyio.current_time())
    return Dialled(
        socket=socket,
        round_trip=min(after - at for at, after in pairwise(marks)),
        released=anyio.Event(),
        secrets=secrets_of(endpoint.url, endpoint.headers),
    )
