"""WebSockets over memory, in virtual time."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from unbroken.abc import Endpoint
from unbroken.decisions import Ending
from unbroken.errors import ConfigError, DialFailed, SocketEnded
from unbroken.testing import cancel_everywhere, virtual
from unbroken.testing.sockets import check_sockets, memory_pair, memory_service
from unbroken.transports.framing import ClientWire, StreamSocket
from unbroken.transports.memory import MemoryNetwork, MemoryStream, memory_stream_pair
from unbroken.transports.server import ServerWebSocket, UpgradeRequest, accept, receive_upgrade
from unbroken.transports.websocket import WebSocket, WebSocketTransport

pytestmark = pytest.mark.anyio


def close_frame(payload: bytes) -> bytes:
    return bytes([0x88, len(payload)]) + payload


async def ending_of(socket: StreamSocket) -> Ending:
    with pytest.raises(SocketEnded) as caught:
        while True:
            await socket.receive()
    return caught.value.ending


async def dial(
    serve: Callable[[UpgradeRequest], Awaitable[object]], headers: dict[str, str] | None = None, **options: Any
) -> Ending:
    """Dials a service that is going to refuse, and returns how."""
    network = MemoryNetwork()
    transport = WebSocketTransport(connect=network.connect, **options)
    async with memory_service(network, serve) as endpoint, anyio.create_task_group() as tasks:
        target = Endpoint(url=endpoint.url, headers=headers or {})
        with pytest.raises(DialFailed) as caught:
            await transport.open(target, tasks=tasks, on_step=lambda step: None)
    assert network.open_ends == 0
    return caught.value.ending


async def test_the_promises_of_every_socket() -> None:
    await check_sockets(memory_pair)


async def test_the_upgrade_carries_path_headers_and_steps() -> None:
    network, seen, steps = MemoryNetwork(), list[UpgradeRequest](), list[str]()

    async def serve(request: UpgradeRequest) -> None:
        seen.append(request)
        await request.accept(tasks=tasks, headers={"X-Served-By": "test"})

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        transport = WebSocketTransport(connect=network.connect)
        target = Endpoint(url=endpoint.url, headers={"x-goog-api-key": "k", "host": "real.example"})
        socket = await transport.open(target, tasks=tasks, on_step=steps.append)
        assert steps == ["upgrade"]
        assert repr(socket) == "<WebSocket open, 0 received, 0 bytes to send>"
        assert repr(seen[0]) == "<UpgradeRequest /live>"
        assert seen[0].query == {"key": ["k"]}
        assert seen[0].headers["X-Goog-Api-Key"] == "k"
        assert seen[0].headers.get_all("Host") == ["real.example"]
        assert seen[0].headers["User-Agent"] == "unbroken"
        assert "Sec-WebSocket-Extensions" not in seen[0].headers
        tasks.cancel_scope.cancel()


async def test_messages_that_come_with_the_answer_to_the_upgrade_are_received() -> None:
    network = MemoryNetwork()

    async def serve(request: UpgradeRequest) -> None:
        socket = await request.accept(tasks=tasks)
        socket.send(b"first")
        socket.close(1011, "at once")

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        transport = WebSocketTransport(connect=network.connect)
        socket = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
        assert await socket.receive() == b"first"
        assert await ending_of(socket) == Ending(code=1011, reason="at once")
        tasks.cancel_scope.cancel()


async def test_a_close_in_one_piece_with_the_answer_to_the_upgrade_is_an_end_and_no_failed_dial() -> None:
    network = MemoryNetwork()

    async def serve(request: UpgradeRequest) -> None:
        accepted = request._wire.accept(request._request).serialize()
        await request.answer_raw(accepted + close_frame(struct.pack("!H", 1013) + b"full"))

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        transport = WebSocketTransport(connect=network.connect)
        socket = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
        assert await ending_of(socket) == Ending(code=1013, reason="full")
        tasks.cancel_scope.cancel()


# How a dial fails


async def test_a_refused_upgrade_tells_status_wait_and_words() -> None:
    headers = {"Retry-After": "12"}
    ending = await dial(lambda request: request.reject(429, headers=headers, body="Resource exhausted\nmore"))
    assert ending == Ending(http_status=429, retry_after=12, reason="Resource exhausted")


async def test_a_date_to_wait_for_is_measured_by_the_wall_clock() -> None:
    headers = {"Retry-After": "Fri, 06 Nov 2026 21:21:30 GMT"}
    ending = await dial(lambda request: request.reject(503, headers=headers), wall_clock=lambda: 1_794_000_000)
    assert ending == Ending(http_status=503, retry_after=90, reason="Service Unavailable")


async def test_an_unknown_credential() -> None:
    ending = await dial(
        lambda request: request.reject(401, body=b'{\n "error": {\n  "message": "API key not valid."\n }\n}')
    )
    assert ending == Ending(http_status=401, reason='{ "error": { "message": "API key not valid." } }')


@pytest.mark.parametrize("end", ["never", "fin"])
async def test_a_refusal_whose_body_does_not_come_keeps_its_status(end: str) -> None:
    async def serve(request: UpgradeRequest) -> None:
        head = b"HTTP/1.1 429 Slow Down\r\nContent-Length: 1000\r\nRetry-After: 3\r\n\r\nquota"
        await request.answer_raw(head)
        if end == "fin":
            await request.aclose()
        else:
            await anyio.sleep(100)

    assert await dial(serve) == Ending(http_status=429, retry_after=3, reason="quota")
    assert anyio.current_time() == pytest.approx(0 if end == "fin" else 1)


async def test_a_refusal_whose_body_drips_keeps_its_status() -> None:
    async def serve(request: UpgradeRequest) -> None:
        await request.answer_raw(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(200):
            await anyio.sleep(0.4)
            await request.answer_raw(b"q")

    assert await dial(serve) == Ending(http_status=429, reason="qq")
    assert anyio.current_time() == pytest.approx(1), "the time is that of the whole body"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "did not receive a valid HTTP response"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "missing Sec-WebSocket-Accept header",
        ),
    ],
)
async def test_an_answer_that_is_none(answer: bytes, reason: str) -> None:
    ending = await dial(lambda request: request.answer_raw(answer))
    assert ending == Ending(cause="malformed", reason=reason)


@pytest.mark.parametrize("cause", ["reset", "eof"])
async def test_a_hang_up_in_place_of_an_answer(cause: str) -> None:
    async def serve(request: UpgradeRequest) -> None:
        if cause == "reset":
            request.abort()

    assert (await dial(serve)).cause == cause


async def test_nobody_listens() -> None:
    transport = WebSocketTransport(connect=MemoryNetwork().connect)
    async with anyio.create_task_group() as tasks:
        with pytest.raises(DialFailed, match=r"^refused ") as caught:
            await transport.open(Endpoint(url="ws://nowhere/"), tasks=tasks, on_step=lambda step: None)
    assert caught.value.ending.cause == "refused"


async def test_a_key_with_a_line_break_is_refused_without_being_shown() -> None:
    ending = await dial(lambda request: request.reject(500), {"x-goog-api-key": "secret\n"})
    assert ending.cause == "credential"
    assert ending.reason.startswith("the header x-goog-api-key holds a control character")
    assert "secret" not in ending.reason


@pytest.mark.parametrize("url", ["https://example.com/?key=secret", "example.com?key=secret", "ws://:9/?key=secret"])
async def test_a_url_that_is_none_is_not_shown(url: str) -> None:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(ConfigError, match=r"^an endpoint's URL needs the form wss://host/path") as caught:
            await WebSocketTransport().open(Endpoint(url=url), tasks=tasks, on_step=lambda step: None)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_stalled_upgrade_waits_for_its_caller() -> None:
    network = MemoryNetwork()

    async def serve(request: UpgradeRequest) -> None:
        await anyio.sleep(60)
        await request.accept(tasks=tasks)

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        with anyio.move_on_after(5) as scope:
            transport = WebSocketTransport(connect=network.connect)
            await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
        assert scope.cancelled_caught
        assert network.open_ends == 1  # the service has not noticed: it sleeps
        tasks.cancel_scope.cancel()


# How a socket ends


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (struct.pack("!H", 1000), 1000, ""),
        (struct.pack("!H", 1011) + b"Internal error encountered.", 1011, "Internal error encountered."),
        (struct.pack("!H", 4999) + b"private", 4999, "private"),
        (b"", 1005, ""),
        # Not allowed on the wire (RFC 6455, section 7.4), and sent all the same.
        (struct.pack("!H", 1006) + b"abnormal", 1006, "abnormal"),
        (struct.pack("!H", 1015), 1015, ""),
        (struct.pack("!H", 1016) + b"unassigned", 1016, "unassigned"),
        (struct.pack("!H", 2999), 2999, ""),
        (struct.pack("!H", 5000) + b"beyond", 5000, "beyond"),
        (struct.pack("!H", 0), 0, ""),
        (struct.pack("!H", 1008) + b"caf\xe9", 1008, "caf�"),
    ],
)
async def test_a_close_frame_says_what_the_peer_said(payload: bytes, code: int, reason: str) -> None:
    network = MemoryNetwork()
    async with memory_pair(network=network) as (client, server):
        server.send(b"before")
        server.send_raw(close_frame(payload))
        assert await client.receive() == b"before"
        assert await ending_of(client) == Ending(code=code, reason=reason)
        assert repr(client).startswith(f"<WebSocket ended: close {code}")
        await ending_of(server)
    assert network.open_ends == 0


async def test_a_close_in_the_middle_of_a_message_keeps_its_code() -> None:
    async with memory_pair() as (client, server):
        server.send_raw(Frame(Opcode.TEXT, b"half", fin=False).serialize(mask=False))
        server.send_raw(close_frame(struct.pack("!H", 1011)))
        assert await ending_of(client) == Ending(code=1011)


async def test_both_close_at_once() -> None:
    async with memory_pair() as (client, server):
        client.close(1000, "mine")
        server.close(1001, "yours")
        assert await ending_of(client) == Ending(code=1001, reason="yours", sent_by_us=True)
        assert await ending_of(server) == Ending(code=1000, reason="mine", sent_by_us=True)


async def test_what_comes_between_the_two_close_frames_is_received() -> None:
    async with memory_pair() as (client, server):
        client.close()
        server.send(b"on its way")
        assert await client.receive() == b"on its way"


async def test_a_peer_that_does_not_answer_the_close_is_aborted_by_the_caller() -> None:
    async with memory_pair() as (client, _):
        client.close()
        assert repr(client) == "<WebSocket closing, 0 received, 8 bytes to send>"
        with anyio.move_on_after(0.25):
            await client.receive()
        client.abort()
        assert await ending_of(client) == Ending(sent_by_us=True, confirmed=False)


async def test_a_fin_without_a_close_frame() -> None:
    async with memory_pair() as (client, server):
        server.send(b"last")
        server.finish()
        assert await client.receive() == b"last"
        assert await ending_of(client) == Ending(cause="eof")


async def test_a_fin_in_answer_to_the_close() -> None:
    async with memory_pair() as (client, server):
        client.close()
        server.finish()
        assert await ending_of(client) == Ending(cause="eof", sent_by_us=True)


async def test_a_reset() -> None:
    async with memory_pair() as (client, server):
        server.abort()
        ending = await ending_of(client)
        assert (ending.cause, ending.confirmed, ending.sent_by_us) == ("reset", True, False)


async def test_a_reset_met_while_writing_is_told_by_the_reading_side() -> None:
    network = MemoryNetwork(buffer=100)
    async with memory_pair(network=network) as (client, server):
        client.send(b"x" * 10_000)
        await anyio.wait_all_tasks_blocked()
        server.abort()
        await anyio.wait_all_tasks_blocked()
        client.send(b"nobody takes it")
        assert client.buffered == 0
        assert (await ending_of(client)).cause == "reset"


async def test_a_close_frame_before_the_end_of_reading_is_still_read() -> None:
    """The service says why, then stops reading: the client's writing fails before it has read why."""
    near, far = memory_stream_pair()
    async with anyio.create_task_group() as tasks:
        client = WebSocket(near, ClientWire(parse_uri("ws://x/"), state=State.OPEN))
        client.start(tasks)
        await far.send(close_frame(struct.pack("!H", 1011) + b"why"))
        await far.aclose()
        client.send(b"into the void")
        await anyio.wait_all_tasks_blocked()
        assert await ending_of(client) == Ending(code=1011, reason="why")


async def test_a_message_over_the_limit() -> None:
    network = MemoryNetwork()
    accepted: list[ServerWebSocket] = []

    async def serve(request: UpgradeRequest) -> None:
        accepted.append(await request.accept(tasks=tasks))

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        transport = WebSocketTransport(connect=network.connect, max_message=1000)
        client = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
        accepted[0].send(b"x" * 1000)
        accepted[0].send_fragments([b"y" * 600, b"y" * 600])
        assert await client.receive() == b"x" * 1000
        ending = await ending_of(client)
        assert (ending.code, ending.cause, ending.sent_by_us, ending.confirmed) == (1009, "frame_too_big", True, False)
        assert (await ending_of(accepted[0])).code == 1009
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x83\x00",  # an opcode that no RFC knows
        b"\xc1\x01x",  # a reserved bit, as of an extension that nobody agreed on
        b"\x81\x81\0\0\0\0x",  # masked by a server
        b"\x89\x7e\x00\x80" + b"x" * 128,  # a ping of more than 125 bytes
        b"\x09\x00",  # a fragmented ping
        b"\x80\x01x",  # the rest of no message
        b"\x01\x01a\x81\x01b",  # a message within a message
        close_frame(b"\x03"),  # half a code
    ],
)
async def test_a_breach_of_the_protocol(raw: bytes) -> None:
    network = MemoryNetwork()
    async with memory_pair(network=network) as (client, server):
        server.send(b"good")
        server.send_raw(raw)
        assert await client.receive() == b"good"
        ending = await ending_of(client)
        assert (ending.code, ending.cause, ending.sent_by_us, ending.confirmed) == (None, "malformed", True, False)
        assert ending.reason
        assert (await ending_of(server)).code == 1002
    assert network.open_ends == 0


async def test_cancelling_the_task_group_aborts_the_socket() -> None:
    network = MemoryNetwork()
    seen: list[Ending] = []

    async def serve(request: UpgradeRequest) -> None:
        server = await request.accept(tasks=outer)
        seen.append(await ending_of(server))

    async with anyio.create_task_group() as outer, memory_service(network, serve) as endpoint:
        async with anyio.create_task_group() as tasks:
            transport = WebSocketTransport(connect=network.connect)
            client = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
            tasks.cancel_scope.cancel()
        assert client.ending == Ending(confirmed=False)
        await anyio.wait_all_tasks_blocked()
        assert seen[0].cause == "reset"
        assert network.open_ends == 0
        outer.cancel_scope.cancel()


async def test_an_ended_socket_waits_only_so_long_for_its_last_words() -> None:
    network = MemoryNetwork(buffer=100)
    async with memory_pair(network=network) as (client, server):
        client.send(b"x" * 10_000)
        server.send_raw(close_frame(struct.pack("!H", 1000)))
        await ending_of(client)
        assert network.open_ends == 2
        await anyio.sleep(0.3)
        assert network.open_ends == 1


# Messages, pings, back pressure


async def test_text_binary_and_fragments_are_messages_alike() -> None:
    async with memory_pair() as (client, server):
        server.send(b"text")
        server.send_binary(b"\0binary")
        server.send_fragments([b"in ", b"", b"three ", b"parts"])
        server.send_fragments([b"in one"])
        assert [await client.receive() for _ in range(4)] == [b"text", b"\0binary", b"in three parts", b"in one"]


async def test_a_ping_between_fragments() -> None:
    async with memory_pair() as (client, server):
        server.send_raw(Frame(Opcode.TEXT, b"a", fin=False).serialize(mask=False))
        server.ping()
        server.send_raw(Frame(Opcode.CONT, b"b").serialize(mask=False))
        before = server.last_received
        await anyio.sleep(1)
        assert await client.receive() == b"ab"
        with anyio.move_on_after(1):
            await server.receive()
        assert server.last_received > before


async def test_pongs_can_be_held_back() -> None:
    async with memory_pair() as (client, server):
        pings: list[bytes] = []
        server.auto_pong = False
        server.on_ping = pings.append
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ending_of, server)
            tasks.start_soon(ending_of, client)
            client.ping()
            await anyio.sleep(8)
            assert client.last_received == 0
            assert len(pings) == 1
            server.pong(pings[0])
            await anyio.sleep(1)
            assert client.last_received == 8
            server.auto_pong = True
            client.ping()
            await anyio.sleep(1)
            assert client.last_received == 9
            client.abort()


async def test_what_a_slow_reader_has_not_taken_is_counted() -> None:
    network = MemoryNetwork(buffer=1000)
    async with memory_pair(network=network) as (client, server):
        counts: list[int] = []
        for _ in range(100):
            client.send(b"x" * 640)
            await anyio.sleep(0.02)
            counts.append(client.buffered)
        assert counts == sorted(counts)
        assert 60_000 < counts[-1] < 100 * (640 + 8)
        for _ in range(100):
            assert await server.receive() == b"x" * 640
        await anyio.wait_all_tasks_blocked()
        assert client.buffered == 0


async def test_what_is_being_written_counts_as_buffered() -> None:
    network = MemoryNetwork(buffer=1000)
    async with memory_pair(network=network) as (client, server):
        client.send(b"x" * 2000)
        assert client.buffered == 2008  # the frame's head is 8 bytes: length and mask
        await anyio.wait_all_tasks_blocked()
        assert client.buffered == 2008
        assert await server.receive() == b"x" * 2000
        await anyio.wait_all_tasks_blocked()
        assert client.buffered == 0


async def test_after_an_abort_nothing_more_is_received() -> None:
    async with memory_pair() as (client, server):
        server.send(b"one")
        server.send(b"two")
        assert await client.receive() == b"one"
        client.abort()
        with pytest.raises(SocketEnded):
            await client.receive()


async def test_frames_that_pile_up_go_out_together() -> None:
    class Counting(MemoryStream):
        sends = 0

        async def send(self, item: bytes) -> None:
            Counting.sends += 1
            await super().send(item)

    network = MemoryNetwork()

    async def connect(host: str, port: int) -> anyio.abc.ByteStream:
        stream = await network.connect(host, port)
        stream.__class__ = Counting
        return stream

    async def serve(request: UpgradeRequest) -> None:
        server = await request.accept(tasks=tasks)
        for number in range(50):
            assert await server.receive() == b"%d" % number
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        client = await WebSocketTransport(connect=connect).open(endpoint, tasks=tasks, on_step=lambda step: None)
        await anyio.wait_all_tasks_blocked()
        Counting.sends = 0
        for number in range(50):
            client.send(b"%d" % number)
        await anyio.sleep(100)
    assert Counting.sends == 1


def run(backend: str, main: Callable[[], Awaitable[None]]) -> None:
    """Runs one example of a property in a loop of its own."""
    name, options = virtual(backend)
    anyio.run(main, backend=name, backend_options=options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(data=st.data())
def test_however_the_bytes_are_cut_the_messages_are_the_same(backend: str, data: st.DataObject) -> None:
    messages = data.draw(st.lists(st.binary(max_size=200), min_size=1, max_size=8))
    raw = b"".join(Frame(Opcode.BINARY, message).serialize(mask=False) for message in messages)
    raw += close_frame(struct.pack("!H", 1011) + b"end")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=10)))

    async def main() -> None:
        async with memory_pair() as (client, server):
            received: list[bytes] = []
            for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
                server.send_raw(raw[start:end])
                with anyio.move_on_after(0.01), suppress(SocketEnded):
                    while True:
                        received.append(await client.receive())
            assert received == messages
            assert client.ending == Ending(code=1011, reason="end")

    run(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(junk=st.binary(max_size=300))
def test_no_bytes_crash_the_reader(backend: str, junk: bytes) -> None:
    async def main() -> None:
        async with memory_pair() as (client, server):
            server.send_raw(junk)
            server.finish()
            ending = await ending_of(client)
            assert ending.code is not None or ending.cause in ("eof", "malformed")

    run(backend, main)


# The server's side


async def test_a_request_that_is_none() -> None:
    for junk, cause in ((b"\x16\x03\x01\x02\r\n\r\n", "malformed"), (b"GET / HT", "eof")):
        near, far = memory_stream_pair()
        await near.send(junk)
        await near.send_eof()
        with pytest.raises(DialFailed) as caught:
            await receive_upgrade(far)
        assert caught.value.ending.cause == cause
        with pytest.raises(anyio.ClosedResourceError):
            await far.receive()


async def test_a_request_for_something_else_is_refused() -> None:
    near, far = memory_stream_pair()
    await near.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with anyio.create_task_group() as tasks:
        with pytest.raises(DialFailed) as caught:
            await accept(far, tasks=tasks)
    assert caught.value.ending.http_status == 426
    assert (await near.receive()).startswith(b"HTTP/1.1 426 Upgrade Required\r\n")


async def test_a_client_gone_before_the_answer() -> None:
    near, far = memory_stream_pair()
    await near.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    request = await receive_upgrade(far)
    near.abort()
    with pytest.raises(DialFailed) as caught:
        await request.reject(500)
    assert caught.value.ending.cause == "reset"


# Cancellation


@asynccontextmanager
async def echo_service(network: MemoryNetwork) -> AsyncGenerator[Endpoint]:
    async def serve(request: UpgradeRequest) -> None:
        server = await request.accept(tasks=tasks)
        try:
            while True:
                server.send(await server.receive())
        except SocketEnded:
            pass

    async with anyio.create_task_group() as tasks, memory_service(network, serve) as endpoint:
        yield endpoint
        tasks.cancel_scope.cancel()


async def test_cancelled_anywhere_dial_talk_and_close_leave_nothing_behind() -> None:
    network = MemoryNetwork(buffer=50)
    received: list[bytes] = []

    async def scenario() -> None:
        received.clear()
        async with echo_service(network) as endpoint, anyio.create_task_group() as tasks:
            transport = WebSocketTransport(connect=network.connect)
            client = await transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
            for message in (b"a" * 100, b"b"):
                client.send(message)
            received.extend([await client.receive(), await client.receive()])
            client.close()
            await ending_of(client)

    async def tasks_left() -> int:
        return len(anyio.get_running_tasks())

    before = await tasks_left()

    def check() -> None:
        assert network.open_ends == 0
        assert network._listeners == {}
        assert len(anyio.get_running_tasks()) == before

    assert await cancel_everywhere(scenario, check=check) > 50
    assert received == [b"a" * 100, b"b"]
