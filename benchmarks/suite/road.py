"""A slow road in front of a service: a relay of TCP on loopback that delays, shakes and narrows what passes.

A TCP handshake on loopback takes no time. So the relay accepts, waits for a round trip as the handshake would have taken,
and only then connects onward; what the client sends meanwhile waits with it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

__all__ = ["Road", "road"]

_CHUNK = 16_384
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing resets

# Every two seconds: a client that gave a connection up while its packets were lost tells so when they pass again.
_KEEPALIVE = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 4)), 2),
    ((socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 5)), 2),
    ((socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 6)), 30),
)


class Road:
    """The relay; `road` makes it.

    Attributes:
        began: when each connection was accepted, in the order in which they reached the service (the loop's clock).
    """

    def __init__(self, to: int, *, rtt: float, jitter: float, rate: float | None, seed: int) -> None:
        self.began: list[float] = []
        self._to = to
        self._rtt = rtt
        self._jitter = jitter
        self._rate = rate
        self._dice = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection to its end."""
        began = asyncio.get_running_loop().time()
        for option, value in _KEEPALIVE:
            writer.get_extra_info("socket").setsockopt(*option, value)
        try:
            await asyncio.sleep(1.5 * self._rtt)  # SYN, SYN-ACK, and the first bytes' way
            self.began.append(began)
            onward, out = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            _reset(writer)
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, out, rate=self._rate))
                tasks.create_task(self._carry(onward, writer, rate=None))
        except* OSError:
            _reset(writer)
            _reset(out)
        finally:
            writer.close()
            out.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, rate: float | None) -> None:
        """Carries one way, in order: each piece takes its time under way, and none overtakes."""
        clock = asyncio.get_running_loop().time
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_deliver(queue, writer))
            free_at = arrives = clock()
            while True:
                try:
                    data = await reader.read(_CHUNK)
                except OSError:
                    await asyncio.sleep(self._rtt / 2)
                    raise
                free_at = max(clock(), free_at) + (len(data) / rate if rate else 0.0)
                delay = self._rtt / 2 + self._dice.uniform(0.0, self._jitter)
                arrives = max(arrives, free_at + delay)
                queue.put_nowait((arrives, data))
                if not data:
                    return
                if free_at - clock() > 0.5:  # a narrow way's buffer is full: the sender has to wait
                    await asyncio.sleep(free_at - clock() - 0.5)


async def _deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        arrives, data = await queue.get()
        if (wait := arrives - clock()) > 0:
            await asyncio.sleep(wait)
        if not data:
            with suppress(OSError):  # it is gone already
                writer.write_eof()
            return
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, AttributeError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def road(
    to: int,
    *,
    rtt: float = 0.0,
    jitter: float = 0.0,
    rate: float | None = None,
    seed: int = 0,
    listener: socket.socket | None = None,
) -> AsyncGenerator[tuple[Road, int]]:
    """Relays a port of loopback while the body runs.

    Args:
        to: the service's port.
        rtt: seconds of a round trip.
        jitter: seconds, at most, that a piece takes longer, each way.
        rate: bytes per second on the way up; None: no limit.
        seed: of the dice.
        listener: where to listen; None: a free port of loopback.

    Yields:
        The relay, and its port.
    """
    relay = Road(to, rtt=rtt, jitter=jitter, rate=rate, seed=seed)
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(relay.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    if listener is None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
    else:
        server = await asyncio.start_server(accept, sock=listener)
    try:
        yield relay, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
