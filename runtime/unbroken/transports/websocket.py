"""WebSockets as a client, over any byte stream."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio.abc

from unbroken.abc import Endpoint, Transport, TransportStep
from unbroken.transports.dial import Connect, Dialler
from unbroken.transports.framing import MAX_MESSAGE, StreamSocket

__all__ = ["Connect", "WebSocket", "WebSocketTransport"]


class WebSocket(StreamSocket):
    """A client's WebSocket, as `WebSocketTransport.open` returns it."""


class WebSocketTransport(Transport):
    """Opens WebSockets over TCP and TLS, through HTTP proxies, or over whatever `connect` gives. No extensions.

    Args:
        connect: makes the byte stream in place of TCP; no proxy then, and TLS only where the endpoint names a context,
            whatever the scheme. None: TCP.
        proxy: the environment's proxies are used (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
        max_message: bytes of a message; a longer one ends the socket with 1009.
        user_agent: of the upgrade, unless the endpoint's headers hold one.
        wall_clock: seconds since the epoch, for a ``Retry-After`` that is a date.
    """

    def __init__(
        self,
        *,
        connect: Connect | None = None,
        proxy: bool = True,
        max_message: int = MAX_MESSAGE,
        user_agent: str = "unbroken",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._over_tcp = connect is None
        self._dialler = Dialler(
            connect=connect, proxy=proxy, max_message=max_message, user_agent=user_agent, wall_clock=wall_clock
        )

    async def open(
        self, endpoint: Endpoint, *, tasks: anyio.abc.TaskGroup, on_step: Callable[[TransportStep], None]
    ) -> WebSocket:
        """Dials, does TLS and upgrades. Cancelled at any point, it leaves nothing behind.

        Args:
            endpoint: where to, and with which headers.
            tasks: where the socket's own task runs; cancelling its scope aborts the socket.
            on_step: called when the named step begins. The caller has the deadlines; this method has none.

        Raises:
            DialFailed: there is no WebSocket; the ending says why.
            ConfigError: the endpoint's URL is none of a WebSocket.
        """
        stream, wire, rest = await self._dialler.dial(endpoint, on_step=on_step)
        wire.receive_data(rest)
        socket = WebSocket(stream, wire)
        socket.start(tasks)
        return socket

    def __repr__(self) -> str:
        return f"<WebSocketTransport over {'TCP' if self._over_tcp else 'streams of its own'}>"
