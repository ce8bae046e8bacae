"""TCP for the WebSocket transport: happy eyeballs, a reset on demand, and reading that outlives a failed write."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc

from unbroken.transports.names import Address, Names
from unbroken.transports.path import bound_silence

__all__ = ["TcpStream", "connect_tcp"]

ATTEMPT_DELAY = 0.25
"""Seconds that one address has before the next is tried beside it (RFC 8305, section 8)."""

LINGER_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"""``struct linger``: closing discards what is unsent and sends a reset."""


class TcpStream(anyio.abc.ByteStream):
    """A connected TCP socket.

    Differs from anyio's in three ways that a WebSocket client needs. `abort` resets the connection at once, without
    waiting. A failed send is not raised but kept: `receive` first returns what the peer sent before it went, which is
    where the close frame lies that says why, and raises the failure only then. And `send` never leaves bytes in a buffer of
    this process: when it returns, the kernel has them.

    Args:
        raw: a connected socket; the stream owns it.
    """

    def __init__(self, raw: socket.socket) -> None:
        raw.settimeout(0)
        self._raw = raw
        self._closed = False
        self._sending = False
        self._queued = bytearray()
        self._write_error: OSError | None = None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Returns the next bytes, at least one. Cancelling it loses nothing.

        Raises:
            anyio.EndOfStream: the peer has sent all that it is going to send.
            anyio.BrokenResourceError: the connection broke, now or in an earlier send; the cause says how.
            anyio.ClosedResourceError: this side closed it.
        """
        while True:
            self._check_open()
            await anyio.wait_readable(self._raw)
            try:
                data = self._raw.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                self._check_open()
                raise anyio.BrokenResourceError from (self._write_error or error)
            if data:
                return data
            if self._write_error is not None:
                raise anyio.BrokenResourceError from self._write_error
            raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        """Gives all of `item` to the kernel, waiting while its buffer is full. Returns also where the connection is broken.

        If cancelled, a part of `item` may have been sent.
        """
        self._check_open()
        if self._sending:
            # TLS may answer a key update from the reading task while the writing one waits here.
            self._queued += item
            return
        self._sending = True
        try:
            await self._send_all(item)
            while self._queued:
                queued, self._queued = self._queued, bytearray()
                await self._send_all(queued)
        finally:
            self._sending = False

    async def _send_all(self, item: bytes | bytearray) -> None:
        rest = memoryview(item)
        while rest and self._write_error is None:
            try:
                rest = rest[self._raw.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._raw)
            except OSError as error:
                self._check_open()
                self._write_error = error

    async def send_eof(self) -> None:
        """Sends a FIN; the peer may still send."""
        self._check_open()
        with suppress(OSError):  # the peer may be gone first
            self._raw.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Closes the connection: a FIN after what the kernel holds, or a reset where received bytes lie unread."""
        self._close()

    def abort(self) -> None:
        """Resets the connection at once. Never waits."""
        if not self._closed:
            with suppress(OSError):  # the option is for the peer's good; the socket is closed in any case
                self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            self._close()

    def detach(self) -> socket.socket:
        """Gives the socket away, which stays connected and does not block; the stream is closed after that."""
        self._closed = True
        return self._raw

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._raw)
            self._raw.close()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Names the socket and its addresses as anyio's TCP streams do."""
        attribute = anyio.abc.SocketAttribute
        return {
            attribute.raw_socket: lambda: self._raw,
            attribute.family: lambda: self._raw.family,
            attribute.local_address: self._raw.getsockname,
            attribute.remote_address: self._raw.getpeername,
        }

    def __repr__(self) -> str:
        return f"<TcpStream {'closed' if self._closed else self._raw.fileno()}>"


async def connect_tcp(host: str, port: int, *, names: Names | None = None) -> TcpStream:
    """Connects to the first address that answers (RFC 8305).

    Args:
        host: a name or an address.
        port: the port.
        names: what is remembered of earlier connections; where no remembered address can be reached, the resolver is asked
            after all. None: nothing is.

    Raises:
        socket.gaierror: the name cannot be resolved.
        OSError: no address could be reached; the error is that of an address that refused, else the first.
    """
    names = names if names is not None else Names()
    addresses, remembered = await names.find(host, port)
    try:
        address, raw = await _race(addresses)
    except OSError:
        if not remembered or not (moved := set(await names.ask(host, port)).difference(addresses)):
            raise
        address, raw = await _race([*moved])
    names.worked(host, port, address)
    return TcpStream(raw)


async def _race(addresses: list[Address]) -> tuple[Address, socket.socket]:
    """Connects to the first of several addresses that answers, each begun some time after the one before."""
    if len(addresses) == 1:
        return addresses[0], await _connect(addresses[0])
    errors: list[OSError] = []
    connected: list[tuple[Address, socket.socket]] = []

    async def attempt(address: Address, settled: anyio.Event) -> None:
        try:
            connected.append((address, await _connect(address)))
        except OSError as error:
            errors.append(error)
            settled.set()
        else:
            tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                settled = anyio.Event()
                tasks.start_soon(attempt, address, settled)
                with anyio.move_on_after(ATTEMPT_DELAY):
                    await settled.wait()
        if not connected:
            raise next((error for error in errors if isinstance(error, ConnectionRefusedError)), errors[0])
        return connected.pop(0)
    finally:
        for _, late in connected:
            late.close()


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, name = address
    raw = socket.socket(family, kind, protocol)
    try:
        raw.settimeout(0)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound_silence(raw)
        try:
            raw.connect(name)
        except BlockingIOError:
            await anyio.wait_writable(raw)
            if code := raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
    except BaseException:
        raw.close()
        raise
    return raw
