"""A WebSocket over any byte stream: what client and server share. One task writes; the caller's own task reads."""

from __future__ import annotations

import logging
import socket
import struct
from collections import deque
from typing import Protocol, runtime_checkable

import anyio
import anyio.abc
import msgspec
from anyio.streams.tls import TLSStream
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.server import ServerProtocol

from unbroken.abc import Socket
from unbroken.core.health import PathSample
from unbroken.decisions import Ending
from unbroken.errors import SocketEnded
from unbroken.transports.failures import BROKEN, breach, cut, read_failure
from unbroken.transports.path import tcp_path
from unbroken.transports.tcp import LINGER_RESET

__all__ = ["MAX_MESSAGE", "SILENT", "ClientWire", "ServerWire", "StreamSocket", "Wire", "parse_close", "reset"]

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message. websockets' own default of 1 MiB has ended conversations (`frame_too_big`)."""

CHUNK = 64 * 1024
"""Bytes given to the stream at once, and read from it at most: `Socket.buffered` falls in such steps."""

FLUSH = 0.25
"""Seconds that the answer to a close frame may take; then the connection is let go without it."""

PINGS = 16
"""Unanswered pings whose times are kept."""

SILENT = logging.Logger("unbroken.transports", level=logging.CRITICAL + 1)
"""Given to websockets, whose own logger writes the upgrade's path and headers, and with them keys, at level DEBUG."""


class Wire(WebSocketProtocol):
    """websockets' sans-I/O protocol, with the peer's close frame kept as it came, and pongs on demand.

    Attributes:
        peer_close: code and reason of the peer's close frame; None: none came. websockets takes a code that may not be on
            the wire (RFC 6455, section 7.4) for a breach and forgets it; here it is what the peer said, whatever that is.
        auto_pong: pings are answered by themselves.
    """

    peer_close: tuple[int, str] | None = None
    auto_pong: bool = True

    def recv_frame(self, frame: Frame) -> None:
        """Processes an incoming frame."""
        if frame.opcode is Opcode.CLOSE and self.peer_close is None:
            self.peer_close = parse_close(bytes(frame.data))
        if frame.opcode is Opcode.PING and not self.auto_pong:
            self.events.append(frame)
        else:
            super().recv_frame(frame)


class ClientWire(Wire, ClientProtocol):
    """The client's side of `Wire`."""


class ServerWire(Wire, ServerProtocol):
    """The server's side of `Wire`."""


def parse_close(data: bytes) -> tuple[int, str] | None:
    """Returns what a close frame says, whether its code may be on the wire or not; None: half a code says nothing."""
    match len(data):
        case 0:
            return 1005, ""  # RFC 6455, section 7.1.5: a close frame without a code
        case 1:
            return None  # malformed, and says nothing
        case _:
            return struct.unpack("!H", data[:2])[0], data[2:].decode(errors="replace")


@runtime_checkable
class Abortable(Protocol):
    """A stream that can be reset without waiting."""

    def abort(self) -> None:
        """Closes it at once with a reset."""
        ...


def reset(stream: anyio.abc.ByteStream) -> None:
    """Resets a connection, below TLS too: at once where its stream can do that, else when the stream is closed."""
    bottom: object = stream
    while isinstance(bottom, TLSStream):
        bottom = bottom.transport_stream
    if isinstance(bottom, Abortable):
        bottom.abort()
        return
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket, None)
    if raw is not None and raw.fileno() != -1:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)


class StreamSocket(Socket):
    """A WebSocket over a byte stream, once the upgrade is done.

    `send` frames a message into a buffer that one task empties into the stream, so that the sender never waits and frames
    that pile up go out together. `receive` reads the stream in the caller's own task. When the socket has ended, the writing
    task flushes what is left (the answer to a close frame) within a bound, and closes the stream; nothing else closes it.

    Args:
        stream: the socket owns it from `start` on.
        wire: its protocol, open.
    """

    def __init__(self, stream: anyio.abc.ByteStream, wire: Wire) -> None:
        self.ending: Ending | None = None
        self._stream = stream
        self._wire = wire
        self._inbox: deque[bytes] = deque()
        self._fragments: bytearray | None = None
        self._out = bytearray()
        self._in_flight = 0
        self._pings = 0
        self._pinged: deque[tuple[int, float]] = deque(maxlen=PINGS)
        self._slowest_pong: float | None = None
        self._read_path = tcp_path(stream)
        self._closing = False
        self._broken = False
        self._idle: anyio.Event | None = None
        self._writing = anyio.CancelScope()
        self._last_received = anyio.current_time()

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Starts the writing task. Cancelling its scope aborts the socket."""
        self._digest()
        tasks.start_soon(self._keep, name=f"{type(self).__name__}: writing")

    def send(self, data: bytes) -> None:
        """Queues one text message (UTF-8 bytes). Never waits. On a socket that has ended it does nothing."""
        if self._sendable():
            self._wire.send_text(data)
            self._flush()

    async def receive(self) -> bytes:
        """Returns the next message, text or binary, as bytes. Cancelling it loses nothing.

        Raises:
            SocketEnded: there will be no more messages; the ending says why.
        """
        while not self._inbox:
            if self.ending is not None:
                raise SocketEnded(self.ending)
            try:
                data = await self._stream.receive(CHUNK)
            except (anyio.EndOfStream, *BROKEN, OSError) as error:
                self._lose(error)
            else:
                self._last_received = anyio.current_time()
                self._wire.receive_data(data)
                self._digest()
        return self._inbox.popleft()

    @property
    def buffered(self) -> int:
        """Bytes accepted by `send` that the operating system has not taken."""
        return len(self._out) + self._in_flight

    @property
    def last_received(self) -> float:
        """When the last byte came from the peer, on the clock of `anyio.current_time`."""
        return self._last_received

    def ping(self) -> None:
        """Sends a ping; its pong shows in `last_received`."""
        if self._sendable():
            self._pings += 1
            self._pinged.append((self._pings, anyio.current_time()))
            self._wire.send_ping(struct.pack("!I", self._pings))
            self._flush()

    @property
    def slowest_pong(self) -> float | None:
        """The longest that an answer to a ping took so far, seconds; None: none came yet."""
        return self._slowest_pong

    def path(self) -> PathSample | None:
        """Returns what Linux knows of the path of the TCP connection below; None: there is none, or it is not Linux."""
        return self._read_path() if self._read_path is not None and self.ending is None else None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begins the closing handshake. `receive` raises when the peer has answered or gone; the caller bounds the wait.

        Args:
            code: one that may be on the wire (RFC 6455, section 7.4).
            reason: cut at 123 bytes.
        """
        if self._sendable():
            self._wire.send_close(code, cut(reason))
            self._closing = True
            self._flush()

    def abort(self, ending: Ending | None = None) -> None:
        """Ends the connection at once, without any handshake: a reset where the stream can do that.

        Args:
            ending: what `receive` raises; None: an unconfirmed ending without a cause. Not used where it has ended already.
        """
        self._inbox.clear()
        self._end(ending or Ending(sent_by_us=self._closing, confirmed=False), flush=False)
        reset(self._stream)
        self._writing.cancel()

    def _sendable(self) -> bool:
        return self.ending is None and not self._closing and not self._broken

    def _flush(self) -> None:
        """Hands the wire's frames to the writing task."""
        for data in self._wire.data_to_send():
            self._out += data  # websockets' mark for a half close is empty: the writing task closes the stream at the end
        if self._idle is not None:
            self._idle.set()

    def _digest(self) -> None:
        """Takes what the wire has made of the bytes that came."""
        for event in self._wire.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        if self._wire.peer_close is not None:
            code, reason = self._wire.peer_close
            self._end(Ending(code=code, reason=reason, sent_by_us=self._closing))
        elif self._wire.parser_exc is not None:
            self._end(breach(self._wire.parser_exc))

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                if self._fragments is not None:
                    self._fragments += frame.data
                elif frame.fin:
                    self._inbox.append(bytes(frame.data))
                else:
                    self._fragments = bytearray(frame.data)
                if frame.fin and self._fragments is not None:
                    self._inbox.append(bytes(self._fragments))
                    self._fragments = None
            case Opcode.PING:
                self._on_ping(bytes(frame.data))
            case Opcode.PONG:
                self._on_pong(bytes(frame.data))
            case _:
                pass

    def _on_ping(self, payload: bytes) -> None:
        """Is told of each ping; the wire answers it unless told otherwise."""

    def _on_pong(self, payload: bytes) -> None:
        for place, (number, at) in enumerate(self._pinged):
            if payload == struct.pack("!I", number):
                self._slowest_pong = max(self._slowest_pong or 0.0, anyio.current_time() - at)
                for _ in range(place + 1):  # a pong may answer for the pings before, too (RFC 6455, section 5.5.3)
                    self._pinged.popleft()
                return

    def _lose(self, error: Exception) -> None:
        """Ends the socket because its stream did."""
        self._end(msgspec.structs.replace(read_failure(error), sent_by_us=self._closing), flush=False)
        self._writing.cancel()

    def _end(self, ending: Ending, *, flush: bool = True) -> None:
        if not flush:
            self._out.clear()
        if self.ending is None:
            self.ending = ending
            self._writing.deadline = anyio.current_time() + FLUSH
        if self._idle is not None:
            self._idle.set()

    async def _keep(self) -> None:
        """Is the writing task: writes until the socket has ended, then lets go of the stream."""
        try:
            with self._writing:
                await self._write()
        finally:
            if self.ending is None:
                # The task group was cancelled.
                self.abort()
            self._in_flight = 0
            with anyio.move_on_after(FLUSH, shield=True):
                await anyio.aclose_forcefully(self._stream)

    async def _write(self) -> None:
        while self.ending is None or self._out:
            try:
                await self._drain()
            except (*BROKEN, OSError):
                # The reading side has the last word: a close frame may lie unread before the reset.
                self._broken = True
                self._in_flight = 0
                self._out.clear()
            if self.ending is None:
                self._idle = anyio.Event()
                await self._idle.wait()
                self._idle = None

    async def _drain(self) -> None:
        while self._out:
            chunk = bytes(self._out[:CHUNK])
            del self._out[:CHUNK]
            self._in_flight = len(chunk)
            await self._stream.send(chunk)
            self._in_flight = 0

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open"
        if self.ending is not None:
            state = f"ended: {self.ending.describe()}"
        return f"<{type(self).__name__} {state}, {len(self._inbox)} received, {self.buffered} bytes to send>"
