"""Byte streams within the process, with the back pressure, half close and reset of TCP. For tests in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

__all__ = ["MemoryListener", "MemoryNetwork", "MemoryStream", "memory_stream_pair"]

BUFFER = 64 * 1024
"""Bytes that one direction of a connection holds, as a kernel's socket buffer would, before `send` waits."""

BACKLOG = 128
"""Connections that a listener holds before it refuses more."""


class _Pipe:
    """One direction: what one end has sent and the other has not received."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.eof = False  # the sender will send no more
        self.deaf = False  # the receiver will receive no more
        self.reset = False  # an end aborted
        self._changed: anyio.Event | None = None  # made only where somebody waits

    def notify(self) -> None:
        """Wakes whoever waits on this direction."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def changed(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()


class MemoryStream(anyio.abc.ByteStream):
    """One end of a connection in memory.

    As with TCP, `send` waits while the buffer is full, `send_eof` ends one direction, and after `abort` the peer's calls
    raise `anyio.BrokenResourceError`, what was under way being lost.
    """

    def __init__(self, name: str, inbound: _Pipe, outbound: _Pipe, on_close: Callable[[], None]) -> None:
        self._name = name
        self._in = inbound
        self._out = outbound
        self._on_close = on_close
        self._closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Returns the next bytes, at least one. Cancelling it loses nothing."""
        await anyio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self._in.reset:
                raise anyio.BrokenResourceError
            if self._in.data:
                chunk = bytes(self._in.data[:max_bytes])
                del self._in.data[:max_bytes]
                self._in.notify()
                return chunk
            if self._in.eof:
                raise anyio.EndOfStream
            await self._in.changed()

    async def send(self, item: bytes) -> None:
        """Sends all of `item`, waiting while the peer does not read. If cancelled, a part of it may have been sent."""
        await anyio.lowlevel.checkpoint()
        rest = memoryview(item)
        while rest:
            self._check_open()
            if self._out.reset or self._out.deaf or self._out.eof:
                raise anyio.BrokenResourceError
            room = self._out.capacity - len(self._out.data)
            if room > 0:
                self._out.data += rest[:room]
                rest = rest[room:]
                self._out.notify()
            else:
                await self._out.changed()

    async def send_eof(self) -> None:
        """Ends this end's direction; the peer receives what is under way and then `anyio.EndOfStream`."""
        self._check_open()
        self._out.eof = True
        self._out.notify()
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Closes this end. The peer receives what is under way, then the end of the stream; its sending fails."""
        if not self._closed:
            self._out.eof = True
            self._in.deaf = True
            self._let_go()
        await anyio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Closes this end at once with a reset. Never waits."""
        if not self._closed:
            for pipe in (self._in, self._out):
                pipe.reset = True
            self._let_go()

    def _let_go(self) -> None:
        self._closed = True
        self._in.notify()
        self._out.notify()
        self._on_close()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<MemoryStream {self._name}{state} {len(self._in.data)} in, {len(self._out.data)} out>"


def memory_stream_pair(
    *, buffer: int = BUFFER, name: str = "pair", on_close: Callable[[], None] = lambda: None
) -> tuple[MemoryStream, MemoryStream]:
    """Returns the two ends of a connection.

    Args:
        buffer: bytes that each direction holds before `send` waits.
        name: of the connection, for people.
        on_close: called once for each end that closes or aborts.
    """
    there, back = _Pipe(buffer), _Pipe(buffer)
    return (
        MemoryStream(f"{name} (client)", back, there, on_close),
        MemoryStream(f"{name} (server)", there, back, on_close),
    )


class MemoryListener(anyio.abc.Listener[MemoryStream]):
    """Accepts connections of a `MemoryNetwork`.

    Attributes:
        host: where it listens.
        port: where it listens; never 0.
    """

    def __init__(self, host: str, port: int, on_close: Callable[[], None]) -> None:
        self.host = host
        self.port = port
        self._on_close = on_close
        self._waiting: deque[MemoryStream] = deque()
        self._arrived = anyio.Event()
        self._closed = False

    def offer(self, stream: MemoryStream) -> bool:
        """Puts a connection into the backlog; False where that is full."""
        if len(self._waiting) >= BACKLOG:
            return False
        self._waiting.append(stream)
        self._arrived.set()
        return True

    async def accept(self) -> MemoryStream:
        """Returns the next connection. Cancelling it loses none.

        Raises:
            anyio.ClosedResourceError: the listener is closed.
        """
        await anyio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise anyio.ClosedResourceError
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def serve(
        self, handler: Callable[[MemoryStream], Coroutine[Any, Any, object]], task_group: anyio.abc.TaskGroup | None = None
    ) -> None:
        """Runs `handler` for each connection, in a task of its own, until cancelled or closed. The handler closes it.

        Args:
            handler: given the stream.
            task_group: where the handlers run; None: in a group of this call.
        """
        async with anyio.create_task_group() as own:
            while True:
                try:
                    stream = await self.accept()
                except anyio.ClosedResourceError:
                    return
                (task_group or own).start_soon(handler, stream)

    async def aclose(self) -> None:
        """Stops listening; connections that nobody accepted are reset."""
        if not self._closed:
            self._closed = True
            self._on_close()
            while self._waiting:
                self._waiting.popleft().abort()
            self._arrived.set()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Names the address as anyio's TCP listeners do."""
        attribute = anyio.abc.SocketAttribute
        return {
            attribute.local_address: lambda: (self.host, self.port),
            attribute.local_port: lambda: self.port,
        }

    def __repr__(self) -> str:
        return f"<MemoryListener {self.host}:{self.port}{' closed' if self._closed else ''}>"


class MemoryNetwork:
    """A network within the process: names and ports, listeners and connections. `connect` fits `WebSocketTransport`.

    Args:
        buffer: bytes that each direction of a connection holds before `MemoryStream.send` waits.

    Attributes:
        open_ends: ends of connections that have been neither closed nor aborted: 0 where nothing leaked.
    """

    def __init__(self, *, buffer: int = BUFFER) -> None:
        self.open_ends = 0
        self._buffer = buffer
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._ports = count(49152)

    def listen(self, host: str, port: int = 0) -> MemoryListener:
        """Begins to listen.

        Args:
            host: a name; there is no other name resolution than by it.
            port: 0: any free one.

        Raises:
            OSError: somebody listens there already.
        """
        port = port or next(self._ports)
        if (host, port) in self._listeners:
            raise OSError(f"{host}:{port} is in use in this memory network")
        listener = MemoryListener(host, port, lambda: self._forget(host, port))
        self._listeners[host, port] = listener
        return listener

    async def connect(self, host: str, port: int) -> MemoryStream:
        """Connects to a listener.

        Raises:
            ConnectionRefusedError: nobody listens there, or the listener's backlog is full.
        """
        await anyio.lowlevel.checkpoint()
        listener = self._listeners.get((host, port))
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port} in this memory network")
        near, far = memory_stream_pair(buffer=self._buffer, name=f"{host}:{port}", on_close=self._count_close)
        if not listener.offer(far):
            raise ConnectionRefusedError(f"the backlog of {host}:{port} is full")
        self.open_ends += 2
        return near

    def _count_close(self) -> None:
        self.open_ends -= 1

    def _forget(self, host: str, port: int) -> None:
        self._listeners.pop((host, port), None)

    def __repr__(self) -> str:
        return f"<MemoryNetwork {len(self._listeners)} listening, {self.open_ends} ends open>"
