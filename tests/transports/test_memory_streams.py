from __future__ import annotations

import anyio
import pytest

from unbroken.transports.memory import MemoryNetwork, MemoryStream, memory_stream_pair

pytestmark = pytest.mark.anyio


async def test_bytes_cross_both_ways() -> None:
    near, far = memory_stream_pair()
    await near.send(b"ping")
    assert await far.receive() == b"ping"
    await far.send(b"pong")
    assert await near.receive(2) == b"po"
    assert await near.receive() == b"ng"


async def test_a_full_buffer_makes_the_sender_wait() -> None:
    near, far = memory_stream_pair(buffer=10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(near.send, b"0123456789ABCDE")
        await anyio.wait_all_tasks_blocked()
        assert repr(near) == "<MemoryStream pair (client) 0 in, 10 out>"
        assert await far.receive(5) == b"01234"
        await anyio.wait_all_tasks_blocked()
        assert await far.receive() == b"56789ABCDE"


async def test_half_close() -> None:
    near, far = memory_stream_pair()
    await near.send(b"last")
    await near.send_eof()
    assert await far.receive() == b"last"
    with pytest.raises(anyio.EndOfStream):
        await far.receive()
    await far.send(b"still here")
    assert await near.receive() == b"still here"
    with pytest.raises(anyio.BrokenResourceError):
        await near.send(b"more")


async def test_close_lets_the_peer_read_what_is_under_way() -> None:
    near, far = memory_stream_pair()
    await near.send(b"last")
    await near.aclose()
    await near.aclose()
    assert await far.receive() == b"last"
    with pytest.raises(anyio.EndOfStream):
        await far.receive()
    with pytest.raises(anyio.BrokenResourceError):
        await far.send(b"nobody there")
    for call in (near.receive(), near.send(b"x"), near.send_eof()):
        with pytest.raises(anyio.ClosedResourceError):
            await call


async def test_a_reset_loses_what_is_under_way() -> None:
    near, far = memory_stream_pair()
    await near.send(b"lost")
    near.abort()
    near.abort()
    for call in (far.receive(), far.send(b"x")):
        with pytest.raises(anyio.BrokenResourceError):
            await call
    with pytest.raises(anyio.ClosedResourceError):
        await near.receive()


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize("side", ["own", "peer"])
async def test_an_end_wakes_whoever_waits(ending: str, side: str) -> None:
    near, far = memory_stream_pair(buffer=1)
    seen: list[type[Exception]] = []

    async def receive() -> None:
        try:
            await near.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            seen.append(type(error))

    async def send() -> None:
        try:
            await near.send(b"too much")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            seen.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        stream = near if side == "own" else far
        if ending == "abort":
            stream.abort()
        else:
            await stream.aclose()
    broken = anyio.ClosedResourceError if side == "own" else anyio.BrokenResourceError
    gentle = anyio.EndOfStream if (side, ending) == ("peer", "close") else broken
    assert sorted(seen, key=str) == sorted([broken, gentle], key=str)


async def test_cancelling_receive_loses_nothing() -> None:
    near, far = memory_stream_pair()
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await far.receive())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await near.send(b"kept")
        tasks.cancel_scope.cancel()
    assert received or await far.receive() == b"kept"


async def test_a_network_connects_by_name_and_counts_its_ends() -> None:
    network = MemoryNetwork()
    async with network.listen("service", 443) as listener:
        near = await network.connect("service", 443)
        far = await listener.accept()
        assert network.open_ends == 2
        assert repr(network) == "<MemoryNetwork 1 listening, 2 ends open>"
        await near.send(b"hello")
        assert await far.receive() == b"hello"
        near.abort()
        near.abort()
        await far.aclose()
        assert network.open_ends == 0
    with pytest.raises(ConnectionRefusedError, match="nobody listens at service:443 in this memory network"):
        await network.connect("service", 443)


async def test_ports_are_given_and_taken_once() -> None:
    network = MemoryNetwork()
    first, second = network.listen("a"), network.listen("a")
    assert 0 != first.port != second.port
    assert repr(first) == f"<MemoryListener a:{first.port}>"
    with pytest.raises(OSError, match="is in use"):
        network.listen("a", first.port)
    await first.aclose()
    assert network.listen("a", first.port).port == first.port


async def test_closing_a_listener_resets_what_nobody_accepted() -> None:
    network = MemoryNetwork()
    listener = network.listen("a", 1)
    near = await network.connect("a", 1)
    await listener.aclose()
    with pytest.raises(anyio.BrokenResourceError):
        await near.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await listener.accept()
    await near.aclose()
    assert network.open_ends == 0


async def test_a_full_backlog_refuses() -> None:
    network = MemoryNetwork()
    async with network.listen("a", 1):
        with pytest.raises(ConnectionRefusedError, match="the backlog of a:1 is full"):
            for _ in range(1000):
                await network.connect("a", 1)


async def test_serve_runs_a_handler_for_each_connection() -> None:
    network = MemoryNetwork()

    async def echo(stream: MemoryStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async with anyio.create_task_group() as tasks:
        listener = network.listen("a", 1)
        tasks.start_soon(listener.serve, echo)
        streams = [await network.connect("a", 1) for _ in range(3)]
        for number, stream in enumerate(streams):
            await stream.send(b"%d" % number)
        for number, stream in enumerate(streams):
            assert await stream.receive() == b"%d" % number
            await stream.aclose()
        await listener.aclose()
    assert network.open_ends == 0
