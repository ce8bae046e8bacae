"""WebSockets on asyncio without a task switch per message: an event loop's callback reads, and whoever sends writes.

Over any stream (`unbroken.transports.websocket`) a message passes a task, a stream or two, and a parser that makes a
generator and an object per frame. Here one callback reads the socket, decrypts, and hands each message in it to the taker of
`Socket.pump`. Dial, TLS handshake and upgrade are the same code for both.
"""

from __future__ import annotations

import asyncio
import contextvars
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from socket import socket as RawSocket
from ssl import SSLError, SSLWantReadError

import anyio
import anyio.abc
import anyio.lowlevel
import msgspec
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close

from unbroken.abc import Endpoint, Socket, Transport, TransportStep
from unbroken.core.health import PathSample
from unbroken.decisions import Ending
from unbroken.errors import SocketEnded
from unbroken.transports import frames
from unbroken.transports.dial import Connect, Dialler
from unbroken.transports.failures import breach, cut, read_failure
from unbroken.transports.frames import FrameReader, client_frame
from unbroken.transports.framing import CHUNK, FLUSH, MAX_MESSAGE, PINGS, parse_close
from unbroken.transports.path import tcp_path
from unbroken.transports.secure import SecureStream
from unbroken.transports.tcp import LINGER_RESET, TcpStream
from unbroken.transports.websocket import WebSocket

__all__ = ["FastSocket", "FastTransport"]

HIGH = 256 * 1024
"""Bytes of messages that nobody has received; with more, the socket is not read until half of them are taken."""

PRICE = 64
"""Bytes that a message counts for besides its own: it takes about so many to hold one, and a peer may send empty ones."""

BATCH = 64
"""Messages that `FastSocket.pump` hands over without a turn of the loop."""


class FastTransport(Transport):
    """Opens WebSockets over TCP and TLS, through HTTP proxies. No extensions.

    On asyncio it gives a `FastSocket`; on trio, on a loop that watches no sockets (Windows' proactor), where TLS runs within
    a proxy's TLS and over streams that are no `TcpStream`, a `WebSocket`, which does the same at a higher price.

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
        self._max_message = max_message
        self._dialler = Dialler(
            connect=connect,
            wrap=SecureStream.wrap,
            proxy=proxy,
            max_message=max_message,
            user_agent=user_agent,
            wall_clock=wall_clock,
        )

    async def open(
        self, endpoint: Endpoint, *, tasks: anyio.abc.TaskGroup, on_step: Callable[[TransportStep], None]
    ) -> FastSocket | WebSocket:
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
        secure = stream if isinstance(stream, SecureStream) else None
        bottom = stream if secure is None else secure.below
        loop = _watching_loop()
        if loop is None or not isinstance(bottom, TcpStream):
            wire.receive_data(rest)
            slow = WebSocket(stream, wire)
            slow.start(tasks)
            return slow
        socket = FastSocket(bottom, secure, loop=loop, max_message=self._max_message)
        socket.start(tasks, rest)
        return socket

    def __repr__(self) -> str:
        return f"<FastTransport over {'TCP' if self._over_tcp else 'streams of its own'}>"


class FastSocket(Socket):
    """A client's WebSocket over TCP, read by the event loop's own callbacks.

    `send` gives a frame to the kernel there and then; what the kernel does not take waits in a buffer. The socket is read
    as its bytes come; while nobody receives, up to `HIGH` bytes of messages. When it has ended, what is left (the answer to
    a close frame) is written within a bound, and the connection is closed.

    Args:
        stream: connected, and upgraded. The socket owns it.
        secure: the TLS over it, or over nothing else; None: there is none.
        loop: the running loop; it can watch sockets.
        max_message: bytes of a message.
    """

    def __init__(
        self, stream: TcpStream, secure: SecureStream | None, *, loop: asyncio.AbstractEventLoop, max_message: int
    ) -> None:
        self.ending: Ending | None = None
        self._loop = loop
        self._secure = secure
        self._read_path = tcp_path(stream)
        self._raw: RawSocket = stream.detach()
        self._fd = self._raw.fileno()
        self._frames = FrameReader(max_message=max_message)
        self._inbox: deque[bytes] = deque()
        self._held = 0
        self._out = bytearray()
        self._pings = 0
        self._pinged: deque[tuple[int, float]] = deque(maxlen=PINGS)
        self._slowest_pong: float | None = None
        self._closing = False
        self._reading = False
        self._write_error: OSError | SSLError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Callable[[bytes], bool] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        self._flushing: asyncio.TimerHandle | None = None
        self._last_received = loop.time()

    def start(self, tasks: anyio.abc.TaskGroup, rest: bytes) -> None:
        """Starts to read. Cancelling the task group's scope aborts the socket.

        Args:
            tasks: where the task runs that waits for that.
            rest: bytes that came with the answer to the upgrade.
        """
        tasks.start_soon(self._keep, name="FastSocket: its life")
        self._read_on()
        if rest:
            self._digest(rest)
        if self._secure is not None and self.ending is None:
            self._decrypt(self._secure, b"")  # the last record of the upgrade may have brought others along

    def send(self, data: bytes) -> None:
        """Sends one text message (UTF-8 bytes). Never waits. On a socket that has ended it does nothing."""
        if self.ending is None and not self._closing:
            self._write(client_frame(frames.TEXT, data))

    async def receive(self) -> bytes:
        """Returns the next message, text or binary, as bytes. Cancelling it loses nothing.

        Raises:
            SocketEnded: there will be no more messages; the ending says why.
        """
        while not self._inbox:
            await self._wait()
        return self._next()

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        """Hands over messages as they come, from the loop's own callback, until told to pause.

        Raises:
            SocketEnded: there will be no more messages, and all that came was taken; the ending says why.
        """
        taken = 0
        while self._inbox:
            if not take(self._next()):
                return
            taken += 1
            if taken % BATCH == 0:
                await anyio.lowlevel.checkpoint()
        context = _context_of_this_call()
        self._taker = lambda message: context.run(take, message)
        try:
            await self._wait()
        finally:
            self._taker = None

    @property
    def buffered(self) -> int:
        """Bytes accepted by `send` that the operating system has not taken; with TLS, as they are on the wire."""
        return len(self._out)

    @property
    def last_received(self) -> float:
        """When the last byte came from the peer, on the clock of `anyio.current_time`."""
        return self._last_received

    def ping(self) -> None:
        """Sends a ping; its pong shows in `last_received`."""
        if self.ending is None and not self._closing:
            self._pings += 1
            self._pinged.append((self._pings, self._loop.time()))
            self._write(client_frame(frames.PING, struct.pack("!I", self._pings)))

    @property
    def slowest_pong(self) -> float | None:
        """The longest that an answer to a ping took so far, seconds; None: none came yet."""
        return self._slowest_pong

    def path(self) -> PathSample | None:
        """Returns what Linux knows of the path of the TCP connection; None: it is not Linux, or the socket has ended."""
        return self._read_path() if self._read_path is not None and self.ending is None else None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begins the closing handshake. `receive` raises when the peer has answered or gone; the caller bounds the wait.

        Args:
            code: one that may be on the wire (RFC 6455, section 7.4).
            reason: cut at 123 bytes.
        """
        if self.ending is None and not self._closing:
            frame = client_frame(frames.CLOSE, Close(code, cut(reason)).serialize())
            self._closing = True
            self._write(frame)

    def abort(self, ending: Ending | None = None) -> None:
        """Ends the connection at once, without any handshake: a reset.

        Args:
            ending: what `receive` raises; None: an unconfirmed ending without a cause. Not used where it has ended already.
        """
        self._inbox.clear()
        if self._raw.fileno() != -1:
            with suppress(OSError):  # the option is for the peer's good; the socket is closed in any case
                self._raw.setsockopt(SOL_SOCKET, SO_LINGER, LINGER_RESET)
        self._out.clear()
        self._end(ending or Ending(sent_by_us=self._closing, confirmed=False))
        self._release()

    # Whoever waits

    async def _wait(self) -> None:
        """Waits for a message, for a taker that wants no more, or for what a taker raises."""
        if self.ending is not None:
            raise SocketEnded(self.ending)
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _next(self) -> bytes:
        message = self._inbox.popleft()
        self._held -= len(message) + PRICE
        if not self._reading and self._held < HIGH // 2 and self.ending is None:
            self._read_on()
        return message

    def _deliver(self, message: bytes) -> None:
        if self._taker is None:
            self._inbox.append(message)
            self._held += len(message) + PRICE
            self._wake()
            return
        try:
            more = self._taker(message)
        except Exception as error:  # because it belongs to the task that waits in `pump`, which raises it
            self._taker = None
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(error)
            return
        if not more:
            self._taker = None
            self._wake()

    # Reading

    def _read_on(self) -> None:
        self._reading = True
        self._loop.add_reader(self._fd, self._readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        try:
            data = self._raw.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._lose(anyio.EndOfStream())
            return
        self._last_received = self._loop.time()
        if self._secure is None:
            self._digest(data)
        else:
            self._decrypt(self._secure, data)

    def _decrypt(self, secure: SecureStream, data: bytes) -> None:
        tls, incoming = secure.tls, secure.incoming
        incoming.write(data)
        try:
            while self.ending is None:
                if plain := tls.read(CHUNK):
                    self._digest(plain)
                else:
                    self._lose(anyio.EndOfStream())
                if not incoming.pending and not tls.pending():
                    break  # asking once more would cost an exception
        except SSLWantReadError:
            pass
        except SSLError as error:
            self._lose(error)
        if secure.outgoing.pending and self.ending is None:
            self._put(secure.outgoing.read())  # the answer to a new key

    def _digest(self, data: bytes) -> None:
        for opcode, payload in self._frames.feed(data):
            if self.ending is not None:
                return  # whoever took a message has aborted the socket
            match opcode:
                case frames.TEXT:
                    self._deliver(payload)
                case frames.PING:
                    self._write(client_frame(frames.PONG, payload))
                case frames.PONG:
                    self._on_pong(payload)
                case _:
                    self._on_close(payload)
        if self._frames.error is not None and self.ending is None:
            self._on_breach(self._frames.error)
        elif self._held > HIGH:
            self._pause()

    def _on_pong(self, payload: bytes) -> None:
        for place, (number, at) in enumerate(self._pinged):
            if payload == struct.pack("!I", number):
                self._slowest_pong = max(self._slowest_pong or 0.0, self._loop.time() - at)
                for _ in range(place + 1):  # a pong may answer for the pings before, too (RFC 6455, section 5.5.3)
                    self._pinged.popleft()
                return

    def _on_close(self, payload: bytes) -> None:
        said = parse_close(payload)
        try:
            Close.parse(payload)
        except (ProtocolError, UnicodeDecodeError) as error:
            if not self._closing:
                self._write(client_frame(frames.CLOSE, Close(1002, "").serialize()))
            self._end(breach(error) if said is None else Ending(code=said[0], reason=said[1], sent_by_us=self._closing))
            return
        if not self._closing:
            self._write(client_frame(frames.CLOSE, payload))
        assert said is not None, "websockets and this package read close frames differently"
        self._end(Ending(code=said[0], reason=said[1], sent_by_us=self._closing))

    def _on_breach(self, error: ProtocolError | PayloadTooBig) -> None:
        if not self._closing:
            code = 1009 if isinstance(error, PayloadTooBig) else 1002
            self._write(client_frame(frames.CLOSE, Close(code, cut(str(error))).serialize()))
        self._end(breach(error))

    # Writing

    def _write(self, frame: bytes) -> None:
        if self._write_error is not None:
            return
        secure = self._secure
        if secure is None:
            self._put(frame)
            return
        try:
            sent = secure.tls.write(frame)
            while sent < len(frame):
                sent += secure.tls.write(frame[sent:])
        except SSLError as error:
            self._break(error)
        else:
            self._put(secure.outgoing.read())

    def _put(self, data: bytes) -> None:
        """Gives bytes to the kernel, or puts them behind those that wait for it."""
        if self._out:
            self._out += data
            return
        try:
            sent = self._raw.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._break(error)
            return
        if sent < len(data):
            self._out += memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        try:
            with memoryview(self._out) as waiting:
                sent = self._raw.send(waiting)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(error)
            return
        del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._fd)
            if self.ending is not None:
                self._release()

    def _break(self, error: OSError | SSLError) -> None:
        """Writes no more. The reading side has the last word: a close frame may lie unread before the reset."""
        self._write_error = error
        self._out.clear()
        self._loop.remove_writer(self._fd)
        if self.ending is not None:
            self._release()

    # The end

    def _lose(self, error: Exception) -> None:
        """Ends the socket because its connection did."""
        self._out.clear()
        self._end(msgspec.structs.replace(read_failure(self._write_error or error), sent_by_us=self._closing))

    def _end(self, ending: Ending) -> None:
        if self.ending is not None:
            return
        self.ending = ending
        self._pause()
        self._taker = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(SocketEnded(ending))
        if self._out:
            self._flushing = self._loop.call_later(FLUSH, self._release)
        else:
            self._release()

    def _release(self) -> None:
        """Lets go of the connection."""
        if self._flushing is not None:
            self._flushing.cancel()
        if self._raw.fileno() != -1:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._raw.close()
        if not self._gone.done():
            self._gone.set_result(None)

    async def _keep(self) -> None:
        """Waits for the end; cancelled, it makes one."""
        try:
            await self._gone
        finally:
            if self.ending is None:
                self.abort()
            self._release()

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open"
        if self.ending is not None:
            state = f"ended: {self.ending.describe()}"
        return f"<FastSocket {state}, {len(self._inbox)} received, {self.buffered} bytes to send>"


def _watching_loop() -> asyncio.AbstractEventLoop | None:
    """Returns the loop of the asyncio task that this is called in, where it can watch sockets; None: there is none such."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    if task is None:
        return None
    loop = task.get_loop()
    return None if sys.platform == "win32" and isinstance(loop, asyncio.ProactorEventLoop) else loop


def _context_of_this_call() -> contextvars.Context:
    """Copies the caller's context, for a callback of the loop, in which no task runs to tell libraries where they are."""
    context = contextvars.copy_context()
    if (sniffio := sys.modules.get("sniffio")) is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context
