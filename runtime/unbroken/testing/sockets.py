"""Two connected sockets over memory, and checks that hold for every such pair: for the authors of transports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.lowlevel

from unbroken.abc import Endpoint, Socket
from unbroken.decisions import Ending
from unbroken.errors import SocketEnded
from unbroken.transports.memory import MemoryNetwork, MemoryStream
from unbroken.transports.server import ServerWebSocket, UpgradeRequest, receive_upgrade
from unbroken.transports.websocket import WebSocket, WebSocketTransport

__all__ = ["SocketPair", "check_sockets", "memory_pair", "memory_service"]

SocketPair = Callable[[], AbstractAsyncContextManager[tuple[Socket, Socket]]]
"""Makes two connected sockets, the client's first, and lets go of them at its exit."""

PATIENCE = 30.0
"""Seconds that one check may take; in virtual time they cost nothing."""


@asynccontextmanager
async def memory_service(
    network: MemoryNetwork, serve: Callable[[UpgradeRequest], Awaitable[object]]
) -> AsyncGenerator[Endpoint]:
    """Answers upgrade requests over a memory network, and yields the endpoint to dial.

    Args:
        network: whose `connect` the client's transport uses.
        serve: given each request, in a task of its own.
    """

    async def handle(stream: MemoryStream) -> None:
        async with await receive_upgrade(stream) as request:
            await serve(request)

    async with network.listen("service") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield Endpoint(url=f"ws://service:{listener.port}/live?key=k")
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def memory_pair(*, network: MemoryNetwork | None = None) -> AsyncGenerator[tuple[WebSocket, ServerWebSocket]]:
    """Connects two sockets over memory, the client's first, and aborts them at its exit.

    Args:
        network: None: one of its own.
    """
    network = network or MemoryNetwork()
    accepted: list[ServerWebSocket] = []
    async with anyio.create_task_group() as tasks:

        async def serve(request: UpgradeRequest) -> None:
            accepted.append(await request.accept(tasks=tasks))

        async with memory_service(network, serve) as endpoint:
            transport = WebSocketTransport(connect=network.connect)
            client = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
            yield client, accepted[0]
        tasks.cancel_scope.cancel()


async def check_sockets(pair: SocketPair) -> None:
    """Checks what `unbroken.abc.Socket` promises, each promise on a new pair.

    Args:
        pair: makes the pair to check.

    Raises:
        AssertionError: a promise was broken; the note says which.
        TimeoutError: something never came.
    """
    for check in CHECKS:
        broken: Exception | None = None
        async with pair() as (client, server):
            try:
                with anyio.fail_after(PATIENCE):
                    await check(client, server)
            except Exception as error:  # because a pair made in a task group would wrap it; raised again below
                broken = error
        if broken is not None:
            broken.add_note(f"in {check.__name__}")
            raise broken


async def ended(socket: Socket) -> Ending:
    """Reads a socket to its end, and returns how it ended."""
    while True:
        try:
            await socket.receive()
        except SocketEnded:
            break
    assert socket.ending is not None, "receive said that the socket has ended, the attribute says that it has not"
    return socket.ending


async def messages_keep_their_order_and_their_edges(client: Socket, server: Socket) -> None:
    """Messages of any size arrive whole, and in order, both ways."""
    messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65_535, b"e" * 65_536, b"f" * 300_000, b"end"]
    for near, far in ((client, server), (server, client)):
        for message in messages:
            near.send(message)
        for message in messages:
            assert await far.receive() == message
    assert client.ending is None
    assert server.ending is None


async def both_ways_at_once(client: Socket, server: Socket) -> None:
    """Neither direction waits for the other."""

    async def read(socket: Socket, letter: bytes) -> None:
        for number in range(50):
            assert await socket.receive() == letter * 5000 + b"%d" % number

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, client, b"s")
        tasks.start_soon(read, server, b"c")
        for number in range(50):
            client.send(b"c" * 5000 + b"%d" % number)
            server.send(b"s" * 5000 + b"%d" % number)


async def sending_never_waits_and_is_counted(client: Socket, server: Socket) -> None:
    """`buffered` grows while the peer does not read, and falls to 0 when it does."""
    message = b"x" * 1_000_000
    for _ in range(16):
        client.send(message)
    held = client.buffered  # more than the operating system takes at once
    assert held > 0
    for _ in range(4):
        client.send(message)
    assert client.buffered >= held + 4 * len(message)
    for _ in range(20):
        assert await server.receive() == message
    server.send(b"done")
    assert await client.receive() == b"done"
    assert client.buffered == 0


async def cancelling_receive_loses_nothing(client: Socket, server: Socket) -> None:
    """A message that arrives while `receive` is cancelled is returned by the next."""
    received: list[bytes] = []

    async def read(scope: anyio.CancelScope) -> None:
        with scope:
            received.append(await client.receive())

    for number in range(10):
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, scope)
            await anyio.wait_all_tasks_blocked()
            server.send(b"%d" % number)
            for _ in range(number):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    while len(received) < 10:
        received.append(await client.receive())
    assert received == [b"%d" % number for number in range(10)]


async def a_ping_shows_life(client: Socket, server: Socket) -> None:
    """The pong of a peer that reads moves `last_received`."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ended, server)
        before = client.last_received
        await anyio.sleep(0.05)
        client.ping()
        tasks.start_soon(ended, client)
        while client.last_received <= before:  # noqa: ASYNC110 (a pong tells nobody)
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def the_closing_handshake_tells_both(client: Socket, server: Socket) -> None:
    """Code and reason of the one that closes reach the other, after what was sent before."""
    server.send(b"last words")
    server.close(4321, "that is all")
    server.send(b"too late")
    server.close(1000, "never said")
    async with anyio.create_task_group() as tasks:

        async def closer() -> None:
            ending = await ended(server)
            assert ending == Ending(code=4321, reason="that is all", sent_by_us=True)

        tasks.start_soon(closer)
        assert await client.receive() == b"last words"
        assert await ended(client) == Ending(code=4321, reason="that is all")
    await the_end_is_final(client)
    await the_end_is_final(server)


async def a_long_reason_is_cut(client: Socket, server: Socket) -> None:
    """A close frame holds 123 bytes of reason; no character is broken."""
    client.close(1000, "é" * 100)
    assert (await ended(server)).reason == "é" * 61


async def an_abort_is_told_as_given(client: Socket, server: Socket) -> None:
    """`abort` wakes `receive` with the ending that it was given, and the peer sees the connection break."""
    given = Ending(cause="ping_timeout", reason="no pong", confirmed=False)
    seen: list[Ending] = []

    async def read() -> None:
        seen.append(await ended(client))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        client.abort(given)
        client.abort(Ending(cause="crash"))
    assert seen == [given]
    far = await ended(server)
    assert far.code is None
    assert far.cause in ("reset", "eof")
    await the_end_is_final(client)
    await the_end_is_final(server)


async def an_abort_without_words_is_unconfirmed(client: Socket, server: Socket) -> None:
    """Nobody knows whether the peer has let go, and what was received and not read is gone."""
    server.send(b"unread")
    await anyio.sleep(0.05)
    client.abort()
    assert await ended(client) == Ending(confirmed=False)


async def the_end_is_final(socket: Socket) -> None:
    """An ended socket ends `receive` each time, and takes nothing more."""
    first = socket.ending
    socket.send(b"ignored")
    socket.ping()
    socket.close()
    socket.abort(Ending(cause="crash"))
    assert await ended(socket) == first
    assert await ended(socket) == first


CHECKS: tuple[Callable[[Socket, Socket], Awaitable[None]], ...] = (
    messages_keep_their_order_and_their_edges,
    both_ways_at_once,
    sending_never_waits_and_is_counted,
    cancelling_receive_loses_nothing,
    a_ping_shows_life,
    the_closing_handshake_tells_both,
    a_long_reason_is_cut,
    an_abort_is_told_as_given,
    an_abort_without_words_is_unconfirmed,
)
