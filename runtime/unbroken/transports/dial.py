"""From an endpoint to an upgraded byte stream: dial, TLS, upgrade. What the sockets over it do is not known here."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.http11 import Request
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from unbroken.abc import Endpoint, TransportStep
from unbroken.decisions import Ending
from unbroken.errors import ConfigError, DialFailed
from unbroken.transports.failures import BROKEN, cut, dial_failure, http_refusal, parse_head
from unbroken.transports.framing import CHUNK, MAX_MESSAGE, SILENT, ClientWire, reset
from unbroken.transports.names import Names
from unbroken.transports.proxy import proxy_failure, proxy_for, tunnel
from unbroken.transports.tcp import connect_tcp

__all__ = ["Connect", "Dialler", "Upgraded", "Wrap", "over_any_stream"]

Connect = Callable[[str, int], Awaitable[anyio.abc.ByteStream]]
"""Makes a byte stream to a host and a port; raises `OSError` where it cannot."""

Wrap = Callable[[anyio.abc.ByteStream, ssl.SSLContext, str], Awaitable[anyio.abc.ByteStream]]
"""Does the TLS handshake over a stream, for the host that is named; raises what its stream and `ssl` raise."""

BODY = 1.0
"""Seconds that the body of a refusal may take after its head: the status must not be lost to a body that never ends."""

ACCEPTED = b"HTTP/1.1 101 "
END_OF_HEAD = b"\r\n\r\n"


class Upgraded(NamedTuple):
    """A stream on which WebSocket frames are spoken from here on.

    Attributes:
        stream: whoever takes this owns it.
        wire: the protocol, open; it has seen the server's answer and nothing after it.
        rest: bytes that came with the answer, and are the first frames or a part of one.
    """

    stream: anyio.abc.ByteStream
    wire: ClientWire
    rest: bytes


async def over_any_stream(stream: anyio.abc.ByteStream, context: ssl.SSLContext, host: str) -> anyio.abc.ByteStream:
    """Is anyio's TLS, which works over anything."""
    return await TLSStream.wrap(stream, server_side=False, hostname=host, ssl_context=context, standard_compatible=False)


class Dialler:
    """Makes upgraded streams over TCP and TLS, through HTTP proxies, or over whatever `connect` gives. No extensions.

    Args:
        connect: makes the byte stream in place of TCP; no proxy then, and TLS only where the endpoint names a context,
            whatever the scheme. None: TCP.
        wrap: does TLS.
        proxy: the environment's proxies are used (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
        max_message: bytes of a message, for the wire.
        user_agent: of the upgrade, unless the endpoint's headers hold one.
        wall_clock: seconds since the epoch, for a ``Retry-After`` that is a date.
    """

    def __init__(
        self,
        *,
        connect: Connect | None = None,
        wrap: Wrap = over_any_stream,
        proxy: bool = True,
        max_message: int = MAX_MESSAGE,
        user_agent: str = "unbroken",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._wrap_stream = wrap
        self._proxy = proxy
        self._max_message = max_message
        self._user_agent = user_agent
        self._wall_clock = wall_clock
        self._default_context: ssl.SSLContext | None = None
        self._names = Names()

    async def dial(self, endpoint: Endpoint, *, on_step: Callable[[TransportStep], None]) -> Upgraded:
        """Dials, does TLS and upgrades. Cancelled at any point, it leaves nothing behind.

        Args:
            endpoint: where to, and with which headers.
            on_step: called when the named step begins. The caller has the deadlines; this method has none.

        Raises:
            DialFailed: there is no WebSocket; the ending says why.
            ConfigError: the endpoint's URL is none of a WebSocket.
        """
        uri = _parse(endpoint.url)
        stream: anyio.abc.ByteStream | None = None
        try:
            stream = await self._dial(uri)
            stream = await self._secure(stream, uri, endpoint, on_step)
            on_step("upgrade")
            wire = ClientWire(uri, max_size=self._max_message, logger=SILENT)
            rest = await self._upgrade(stream, wire, endpoint)
        except BaseException as error:
            if stream is not None:
                if not isinstance(error, Exception):
                    reset(stream)  # given up: the peer should know at once
                await anyio.aclose_forcefully(stream)
            if isinstance(error, (OSError, UnicodeError, anyio.EndOfStream, *BROKEN)):
                raise DialFailed(dial_failure(error)) from error
            raise
        return Upgraded(stream, wire, rest)

    async def _dial(self, uri: WebSocketURI) -> anyio.abc.ByteStream:
        if self._connect is not None:
            return await self._connect(uri.host, uri.port)
        proxy = proxy_for(uri.host, uri.port, secure=uri.secure) if self._proxy else None
        if proxy is None:
            return await connect_tcp(uri.host, uri.port, names=self._names)
        stream: anyio.abc.ByteStream | None = None
        try:
            stream = await connect_tcp(proxy.host, proxy.port, names=self._names)
            if proxy.secure:
                stream = await self._wrap(stream, self._context(None), proxy.host)
            await tunnel(stream, proxy, uri.host, uri.port, user_agent=self._user_agent)
        except BaseException as error:
            if stream is not None:
                await anyio.aclose_forcefully(stream)
            if isinstance(error, (OSError, UnicodeError, DialFailed, *BROKEN)):
                raise DialFailed(proxy_failure(error)) from error
            raise
        return stream

    async def _secure(
        self,
        stream: anyio.abc.ByteStream,
        uri: WebSocketURI,
        endpoint: Endpoint,
        on_step: Callable[[TransportStep], None],
    ) -> anyio.abc.ByteStream:
        wanted = endpoint.ssl is not None if self._connect is not None else uri.secure
        if not wanted:
            return stream
        on_step("tls")
        return await self._wrap(stream, self._context(endpoint.ssl), uri.host)

    async def _wrap(self, stream: anyio.abc.ByteStream, context: ssl.SSLContext, host: str) -> anyio.abc.ByteStream:
        try:
            return await self._wrap_stream(stream, context, host)
        except (anyio.EndOfStream, *BROKEN) as error:
            raise DialFailed(Ending(cause="tls", reason=cut(f"{dial_failure(error).cause} in the TLS handshake"))) from error

    def _context(self, given: ssl.SSLContext | None) -> ssl.SSLContext:
        if given is not None:
            return given
        if self._default_context is None:
            # Built once: loading the system's certificates takes tens of milliseconds.
            self._default_context = ssl.create_default_context()
        return self._default_context

    async def _upgrade(self, stream: anyio.abc.ByteStream, wire: ClientWire, endpoint: Endpoint) -> bytes:
        """Asks for the upgrade; returns what came after the answer."""
        wire.send_request(_request(wire, endpoint, self._user_agent))
        await stream.send(b"".join(wire.data_to_send()))
        raw = bytearray()
        rest = b""
        until = math.inf
        while wire.state is State.CONNECTING and wire.handshake_exc is None:
            data = b""
            with anyio.CancelScope(deadline=until):
                try:
                    data = await stream.receive(CHUNK)
                except (anyio.EndOfStream, *BROKEN):
                    if not _is_refusal(raw):
                        raise
            if not data:
                wire.receive_eof()
                break
            raw += data
            if raw.startswith(ACCEPTED):
                # Without its first frames: a close among them would look like an upgrade that failed.
                rest = bytes(raw.partition(END_OF_HEAD)[2])
                data = data[: len(data) - len(rest)]
            elif until == math.inf and _is_refusal(raw):
                until = anyio.current_time() + BODY
            wire.receive_data(data)
        if wire.state is not State.OPEN:
            raise DialFailed(self._refusal(wire, bytes(raw))) from wire.handshake_exc
        wire.events_received()  # the answer, which is of no use any more
        return rest

    def _refusal(self, wire: ClientWire, raw: bytes) -> Ending:
        now = self._wall_clock()
        error = wire.handshake_exc
        if isinstance(error, InvalidStatus):
            response = error.response
            headers = dict(response.headers.raw_items())
            return http_refusal(response.status_code, response.reason_phrase, headers, bytes(response.body), now=now)
        head = parse_head(raw)
        if head is not None and head[0] != 101:
            return http_refusal(*head, now=now)
        return Ending(cause="malformed", reason=cut(str(error)))


def _parse(url: str) -> WebSocketURI:
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError):
        # The URL is not shown: it may hold a key.
        scheme = url.partition("://")[0] if "://" in url else "none"
        raise ConfigError(f"an endpoint's URL needs the form wss://host/path, its scheme is {scheme!r}") from None


def _request(wire: ClientWire, endpoint: Endpoint, user_agent: str) -> Request:
    request = wire.connect()
    for name, value in {"User-Agent": user_agent, **endpoint.headers}.items():
        if any(ord(sign) < 32 and sign != "\t" for sign in value):
            reason = f"the header {name} holds a control character; a key read from a file often ends in a line break"
            raise DialFailed(Ending(cause="credential", reason=cut(reason)))
        if name in request.headers:
            del request.headers[name]
        request.headers[name] = value
    return request


def _is_refusal(raw: bytes | bytearray) -> bool:
    return END_OF_HEAD in raw and not raw.startswith(ACCEPTED)
