"""The other end is not ours: websockets' own client and server, with the compression that they offer by default."""

from __future__ import annotations

import threading
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from unbroken.abc import Endpoint
from unbroken.decisions import Ending
from unbroken.errors import SocketEnded
from unbroken.transports.fast import FastTransport
from unbroken.transports.server import UpgradeRequest, receive_upgrade

pytestmark = [pytest.mark.anyio, pytest.mark.sockets]


async def test_our_client_at_their_server() -> None:
    seen: list[object] = []

    def handle(connection: ServerConnection) -> None:
        for message in connection:
            seen.append(message)
            connection.send(message)
            connection.send(b"\0" + str(message).encode())
            if message == "ping":
                connection.ping().wait(60)
                seen.append("pong")
                connection.close(1011, "Deadline expired before operation could complete.")

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    endpoint = Endpoint(url=f"ws://127.0.0.1:{server.socket.getsockname()[1]}/")
                    transport = FastTransport(proxy=False)  # which is the other one on trio
                    client = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
                    large = "ü" * 100_000
                    for message in (large, "ping"):
                        client.send(message.encode())
                        assert await client.receive() == message.encode()
                        assert await client.receive() == b"\0" + message.encode()
                    with pytest.raises(SocketEnded) as caught:
                        await client.receive()
                    reason = "Deadline expired before operation could complete."
                    assert caught.value.ending == Ending(code=1011, reason=reason)
            assert seen == [large, "ping", "pong"]
        finally:
            server.shutdown()
            await anyio.to_thread.run_sync(thread.join)


async def serve_one(listener: anyio.abc.Listener[anyio.abc.SocketStream], status: int | None) -> None:
    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with await receive_upgrade(stream) as request, anyio.create_task_group() as own:
            if status is not None:
                await request.reject(status, headers={"Retry-After": "9"}, body="quota")
            else:
                await talk(request, own)

    await listener.serve(handle)


async def talk(request: UpgradeRequest, own: anyio.abc.TaskGroup) -> None:
    server = await request.accept(tasks=own)
    assert await server.receive() == b"hello"
    server.send("héllo".encode())
    server.send_binary(b"\0\1")
    server.send_fragments([b"three ", b"in ", b"one"])
    assert await server.receive() == b"bye"
    server.close(1011, "RESOURCE_EXHAUSTED")
    with pytest.raises(SocketEnded) as caught:
        await server.receive()
    assert caught.value.ending == Ending(code=1011, reason="RESOURCE_EXHAUSTED", sent_by_us=True)


async def test_their_client_at_our_server() -> None:
    def converse(port: int) -> list[object]:
        with connect(f"ws://127.0.0.1:{port}/", proxy=None) as connection:
            connection.send("hello")
            received: list[object] = [connection.recv(60) for _ in range(3)]
            assert connection.ping().wait(60)
            connection.send(b"bye")
            with pytest.raises(ConnectionClosedError) as caught:
                connection.recv(60)
            assert caught.value.rcvd is not None
            return [*received, caught.value.rcvd.code, caught.value.rcvd.reason]

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(serve_one, listener, None)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        told = await anyio.to_thread.run_sync(partial(converse, port))
        assert told == ["héllo", b"\0\1", "three in one", 1011, "RESOURCE_EXHAUSTED"]
        tasks.cancel_scope.cancel()


async def test_their_client_is_refused_by_our_server() -> None:
    def fail(port: int) -> tuple[int, str | None, bytes]:
        with pytest.raises(InvalidStatus) as caught:
            connect(f"ws://127.0.0.1:{port}/", proxy=None)
        response = caught.value.response
        return response.status_code, response.headers.get("Retry-After"), bytes(response.body)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(serve_one, listener, 429)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        assert await anyio.to_thread.run_sync(partial(fail, port)) == (429, "9", b"quota")
        tasks.cancel_scope.cancel()
