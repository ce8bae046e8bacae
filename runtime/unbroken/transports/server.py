"""WebSockets as a server, for simulated services and tests: each step can be held, refused, or done wrong."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from unbroken.decisions import Ending
from unbroken.errors import DialFailed
from unbroken.transports.failures import BROKEN, cut, dial_failure
from unbroken.transports.framing import CHUNK, MAX_MESSAGE, SILENT, ServerWire, StreamSocket, reset

__all__ = ["ServerWebSocket", "UpgradeRequest", "accept", "receive_upgrade"]

GONE = (anyio.EndOfStream, *BROKEN)


class UpgradeRequest(anyio.abc.AsyncResource):
    """A client's request for a WebSocket that has not been answered. Waiting before the answer stalls the client.

    Use it in ``async with``: at the exit a connection that no socket has taken over is closed.

    Attributes:
        path: without the query.
        query: the query's names and their values.
        headers: of the request; names in any case.
        is_upgrade: it asks for a WebSocket at all; False: it is plain HTTP, which `reject` answers.
    """

    def __init__(self, stream: anyio.abc.ByteStream, wire: ServerWire, request: Request) -> None:
        parts = urlsplit(request.path)
        self.path = parts.path
        self.query: Mapping[str, list[str]] = parse_qs(parts.query, keep_blank_values=True)
        self.headers: Headers = request.headers
        self.is_upgrade = any("websocket" in value.lower() for value in request.headers.get_all("Upgrade"))
        self._stream = stream
        self._wire = wire
        self._request = request
        self._taken_over = False

    async def accept(
        self, *, tasks: anyio.abc.TaskGroup, headers: Mapping[str, str] | None = None, auto_pong: bool = True
    ) -> ServerWebSocket:
        """Accepts the upgrade.

        Args:
            tasks: where the socket's own task runs; cancelling its scope aborts the socket.
            headers: more headers of the answer.
            auto_pong: pings are answered by themselves; else by `ServerWebSocket.pong`.

        Raises:
            DialFailed: the request is not that of a WebSocket (it was refused), or the client is gone.
        """
        response = self._wire.accept(self._request)
        response.headers.update(headers or {})
        self._wire.auto_pong = auto_pong
        await self._answer(response)
        if response.status_code != 101:
            await self.aclose()
            raise DialFailed(Ending(http_status=response.status_code, cause="malformed", sent_by_us=True))
        self._taken_over = True
        socket = ServerWebSocket(self._stream, self._wire, self)
        socket.start(tasks)
        return socket

    async def reject(self, status: int, *, headers: Mapping[str, str] | None = None, body: bytes | str = b"") -> None:
        """Refuses the upgrade, or answers plain HTTP, and closes the connection.

        Args:
            status: not 101.
            headers: of the answer; ``Content-Length`` is added where it is not given.
            body: of the answer.
        """
        content = body.encode() if isinstance(body, str) else body
        lines = Headers({"Content-Length": str(len(content)), "Connection": "close"})
        for name, value in (headers or {}).items():
            if name in lines:
                del lines[name]
            lines[name] = value
        await self._answer(Response(status, _phrase(status), lines, content))
        await self.aclose()

    async def answer_raw(self, data: bytes) -> None:
        """Sends bytes in place of an answer."""
        await self._stream.send(data)

    def abort(self) -> None:
        """Makes the end of the connection a reset, at once where its stream can do that, else when it is closed."""
        reset(self._stream)

    async def aclose(self) -> None:
        """Closes the connection, without an answer where there was none, unless a socket has taken it over."""
        if not self._taken_over:
            await anyio.aclose_forcefully(self._stream)

    async def _answer(self, response: Response) -> None:
        self._wire.send_response(response)
        try:
            await self._stream.send(b"".join(self._wire.data_to_send()))
        except (*GONE, OSError) as error:
            await self.aclose()
            raise DialFailed(dial_failure(error)) from error

    def __repr__(self) -> str:
        return f"<UpgradeRequest {self.path}>"


class ServerWebSocket(StreamSocket):
    """A server's end of a WebSocket, with the means to do things wrong.

    To stop reading, do not call `receive`: pings then go unanswered too. To be silent, do not call `send`.

    Attributes:
        request: the request that opened it.
        on_ping: told of each ping's payload; None: nobody listens.
    """

    def __init__(self, stream: anyio.abc.ByteStream, wire: ServerWire, request: UpgradeRequest) -> None:
        super().__init__(stream, wire)
        self.request = request
        self.on_ping: Callable[[bytes], None] | None = None
        self._finishing = False

    @property
    def auto_pong(self) -> bool:
        """Whether pings are answered by themselves."""
        return self._wire.auto_pong

    @auto_pong.setter
    def auto_pong(self, value: bool) -> None:
        self._wire.auto_pong = value

    def send_binary(self, data: bytes) -> None:
        """Queues one binary message, as the Gemini API sends them."""
        if self._sendable():
            self._wire.send_binary(data)
            self._flush()

    def send_fragments(self, fragments: Sequence[bytes]) -> None:
        """Queues one text message in several frames."""
        if self._sendable():
            self._wire.send_text(fragments[0], fin=len(fragments) == 1)
            for place, fragment in enumerate(fragments[1:], start=2):
                self._wire.send_continuation(fragment, fin=place == len(fragments))
            self._flush()

    def send_raw(self, data: bytes) -> None:
        """Queues bytes as they are: frames that no RFC knows."""
        if self._sendable():
            self._out += data
            self._flush()

    def pong(self, payload: bytes) -> None:
        """Answers a ping late, or one that nobody sent."""
        if self._sendable():
            self._wire.send_pong(payload)
            self._flush()

    def finish(self) -> None:
        """Sends what is queued and then a FIN, without a close frame. What the client still sends can be received."""
        if self._sendable():
            self._finishing = True
            self._flush()

    def _on_ping(self, payload: bytes) -> None:
        if self.on_ping is not None:
            self.on_ping(payload)

    async def _drain(self) -> None:
        await super()._drain()
        if self._finishing:
            bottom = self._stream
            while isinstance(bottom, TLSStream) and isinstance(bottom.transport_stream, anyio.abc.ByteStream):
                bottom = bottom.transport_stream
            with suppress(OSError, *GONE):  # the client may be gone first
                await bottom.send_eof()


async def receive_upgrade(stream: anyio.abc.ByteStream, *, max_message: int = MAX_MESSAGE) -> UpgradeRequest:
    """Reads a client's request for a WebSocket.

    Args:
        stream: just accepted, and TLS done; closed where this fails.
        max_message: bytes of a message that the socket is going to take.

    Raises:
        DialFailed: no request came, or it is not HTTP.
    """
    wire = ServerWire(max_size=max_message, logger=SILENT)
    try:
        while wire.handshake_exc is None:
            wire.receive_data(await stream.receive(CHUNK))
            for event in wire.events_received():
                if isinstance(event, Request):
                    return UpgradeRequest(stream, wire, event)
        raise DialFailed(Ending(cause="malformed", reason=cut(str(wire.handshake_exc))))
    except BaseException as error:
        await anyio.aclose_forcefully(stream)
        if isinstance(error, (*GONE, OSError)):
            raise DialFailed(dial_failure(error)) from error
        raise


async def accept(stream: anyio.abc.ByteStream, *, tasks: anyio.abc.TaskGroup) -> ServerWebSocket:
    """Reads a client's request and accepts it: `receive_upgrade` and `UpgradeRequest.accept` in one.

    Raises:
        DialFailed: it did not come to a WebSocket.
    """
    async with await receive_upgrade(stream) as request:
        return await request.accept(tasks=tasks)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
