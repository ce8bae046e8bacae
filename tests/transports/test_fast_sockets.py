"""The sockets of asyncio's own transport: what they find in the bytes, how they end, and how they hand messages over."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from unbroken.decisions import Ending
from unbroken.errors import SocketEnded
from unbroken.transports.fast import HIGH, FastSocket, FastTransport, _watching_loop
from unbroken.transports.frames import FrameReader, client_frame
from unbroken.transports.framing import ClientWire
from unbroken.transports.tcp import TcpStream

LIMIT = 100_000


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=False)


def close_frame(payload: bytes) -> bytes:
    return bytes([0x88, len(payload)]) + payload


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def fast_pair() -> AsyncGenerator[tuple[FastSocket, socket.socket]]:
    """A client's socket, and the bare far end of its connection."""
    near, far = socket.socketpair()
    loop = _watching_loop()
    assert loop is not None
    with far:
        far.settimeout(60)
        async with anyio.create_task_group() as tasks:
            client = FastSocket(TcpStream(near), None, loop=loop, max_message=LIMIT)
            client.start(tasks, b"")
            with anyio.fail_after(60):
                yield client, far
            tasks.cancel_scope.cancel()


async def ending_of(client: FastSocket) -> Ending:
    with pytest.raises(SocketEnded) as caught:
        while True:
            await client.receive()
    return caught.value.ending


# What is in the bytes


def read_all(raw: bytes, cuts: list[int]) -> tuple[list[tuple[int, bytes]], FrameReader]:
    reader = FrameReader(max_message=LIMIT)
    found: list[tuple[int, bytes]] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += reader.feed(raw[start:end])
    return found, reader


@given(data=st.data())
def test_however_the_bytes_are_cut_the_messages_are_the_same(data: st.DataObject) -> None:
    sizes = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 90_000])
    messages = [bytes([n]) * size for n, size in enumerate(data.draw(st.lists(sizes, min_size=1, max_size=5)))]
    raw = b"".join(frame(Opcode.BINARY, message) for message in messages) + frame(Opcode.CLOSE, b"\x03\xf3end")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    found, reader = read_all(raw, cuts)
    assert found == [*((1, message) for message in messages), (8, b"\x03\xf3end")]
    assert reader.error is None
    assert reader.feed(frame(Opcode.TEXT, b"after the close")) == []


@given(junk=st.binary(max_size=300), data=st.data())
def test_junk_is_refused_where_websockets_refuses_it(junk: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(junk) - 1), max_size=5))) if len(junk) > 1 else []
    found, reader = read_all(junk, cuts)
    wire = ClientWire(parse_uri("ws://x/"), state=State.OPEN, max_size=LIMIT)
    wire.receive_data(junk)
    if wire.peer_close is None and not any(opcode == 8 for opcode, _ in found):
        # a frame that breaks a rule is refused here before all of it has come
        assert reader.error is not None or wire.parser_exc is None
        assert reader.error is None or wire.parser_exc is None or str(reader.error) == str(wire.parser_exc)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"\x83\x00", "invalid opcode"),
        (b"\xc1\x01x", "reserved bits must be 0"),
        (b"\x81\x81\0\0\0\0x", "incorrect masking"),
        (b"\x89\x7e\x00\x80", "control frame too long"),
        (b"\x09\x00", "fragmented control frame"),
        (b"\x80\x01x", "unexpected continuation frame"),
        (b"\x01\x01a\x81\x01b", "expected a continuation frame"),
    ],
)
def test_each_breach_is_named_and_what_came_before_it_is_kept(raw: bytes, error: str) -> None:
    reader = FrameReader(max_message=LIMIT)
    assert reader.feed(frame(Opcode.TEXT, b"good") + raw) == [(1, b"good")]
    assert isinstance(reader.error, ProtocolError)
    assert str(reader.error) == error
    assert reader.feed(frame(Opcode.TEXT, b"more")) == []


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"\x81\x7f" + struct.pack("!Q", LIMIT + 1), PayloadTooBig),
        (b"\x81\xff" + struct.pack("!Q", LIMIT), ProtocolError),
        (b"\x89\x7f" + struct.pack("!Q", LIMIT), ProtocolError),
        (b"\x82\x7e\xff\xff", None),
        (b"\x82\x7f" + struct.pack("!Q", LIMIT), None),
    ],
)
def test_a_head_is_judged_when_it_has_come_however_it_was_cut(head: bytes, error: type[Exception] | None) -> None:
    for cut in range(1, len(head)):
        found, reader = read_all(head, [cut])
        assert found == []
        assert type(reader.error) is (error or type(None)), cut
        found, reader = read_all(head, [*range(1, len(head))])
        assert type(reader.error) is (error or type(None))


@pytest.mark.parametrize("parts", [[LIMIT + 1], [LIMIT, 1]])
def test_a_message_over_the_limit_is_refused_by_its_length_alone(parts: list[int]) -> None:
    reader = FrameReader(max_message=LIMIT)
    whole = [frame(Opcode.TEXT if not n else Opcode.CONT, b"x" * size, fin=False) for n, size in enumerate(parts)]
    assert reader.feed(b"".join(whole[:-1]) + whole[-1][:10]) == []
    assert isinstance(reader.error, PayloadTooBig)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_what_we_send_is_read_by_websockets(size: int) -> None:
    raw = client_frame(1, b"x" * size)
    assert raw != client_frame(1, b"x" * size)  # another mask each time
    data = iter(raw)
    parser = Frame.parse(lambda n: iter_exact(data, n), mask=True)
    with pytest.raises(StopIteration) as done:
        next(parser)
    assert done.value.value == Frame(Opcode.TEXT, b"x" * size)


def iter_exact(data: object, count: int):  # type: ignore[no-untyped-def]
    return bytes(next(data) for _ in range(count))  # type: ignore[call-overload]
    yield


# How a socket ends


@pytest.mark.anyio
@pytest.mark.sockets
@pytest.mark.parametrize(
    ("payload", "code", "reason", "answer"),
    [
        (struct.pack("!H", 1011) + b"Internal error encountered.", 1011, "Internal error encountered.", 1011),
        (struct.pack("!H", 4999) + b"private", 4999, "private", 4999),
        (b"", 1005, "", None),
        # Not allowed on the wire (RFC 6455, section 7.4), and sent all the same.
        (struct.pack("!H", 1006) + b"abnormal", 1006, "abnormal", 1002),
        (struct.pack("!H", 1016) + b"unassigned", 1016, "unassigned", 1002),
        (struct.pack("!H", 5000) + b"beyond", 5000, "beyond", 1002),
        (struct.pack("!H", 0), 0, "", 1002),
        (struct.pack("!H", 1008) + b"caf\xe9", 1008, "caf�", 1002),
    ],
)
async def test_a_close_frame_says_what_the_peer_said(payload: bytes, code: int, reason: str, answer: int | None) -> None:
    async with fast_pair() as (client, far):
        far.sendall(frame(Opcode.TEXT, b"before") + close_frame(payload) + frame(Opcode.TEXT, b"after"))
        assert await client.receive() == b"before"
        assert await ending_of(client) == Ending(code=code, reason=reason)
        raw = far.recv(1000)
        said = bytes(a ^ b for a, b in zip(raw[6:], raw[2:6] * 32, strict=False))
        assert (struct.unpack("!H", said[:2])[0] if said else None) == answer
        assert far.recv(1) == b""


@pytest.mark.anyio
@pytest.mark.sockets
async def test_half_a_code_is_a_breach() -> None:
    async with fast_pair() as (client, far):
        far.sendall(close_frame(b"\x03"))
        ending = await ending_of(client)
        assert (ending.code, ending.cause, ending.sent_by_us, ending.confirmed) == (None, "malformed", True, False)


@pytest.mark.anyio
@pytest.mark.sockets
async def test_a_peer_that_takes_nothing_gets_no_more_than_a_moment_for_our_last_words() -> None:
    async with fast_pair() as (client, far):
        while not client.buffered:
            client.send(b"x" * 50_000)
        far.sendall(close_frame(struct.pack("!H", 1000)))
        assert (await ending_of(client)).code == 1000
        assert client._raw.fileno() != -1
        await client._gone
        assert client._raw.fileno() == -1


# How messages are handed over


@pytest.mark.anyio
@pytest.mark.sockets
async def test_what_nobody_receives_is_left_to_the_peer_beyond_a_bound() -> None:
    async with fast_pair() as (client, far):
        far.setblocking(False)
        message = frame(Opcode.TEXT, b"x" * 10_000)
        sent = 0
        for _ in range(200):
            try:
                sent += far.send(message * 4)
            except BlockingIOError:
                break
            await anyio.sleep(0.001)
        else:
            raise AssertionError("all was read, and nobody had asked for it")
        assert HIGH < client._held < 2 * HIGH
        received = 0
        while received < sent // len(message):
            assert await client.receive() == b"x" * 10_000
            received += 1
        far.send(frame(Opcode.TEXT, b"y" * 10_000)[sent % len(message) :])
        with anyio.move_on_after(0.05):
            assert len(await client.receive()) == 10_000


@pytest.mark.anyio
@pytest.mark.sockets
async def test_empty_messages_that_nobody_receives_have_a_bound_too() -> None:
    async with fast_pair() as (client, far):
        far.setblocking(False)
        empty = frame(Opcode.TEXT, b"") * 10_000
        for _ in range(500):
            try:
                far.send(empty)
            except BlockingIOError:
                break
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        else:
            raise AssertionError("all was read, and nobody had asked for it")
        assert await client.receive() == b""


@pytest.mark.anyio
@pytest.mark.sockets
async def test_a_taker_is_called_where_libraries_know_their_loop_until_it_wants_no_more() -> None:
    async with fast_pair() as (client, far):
        taken: list[bytes] = []

        def take(message: bytes) -> bool:
            taken.append(message)
            assert anyio.current_time() > 0
            return message != b"enough"

        far.sendall(frame(Opcode.TEXT, b"before"))
        await anyio.sleep(0.01)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.pump, take)
            await anyio.sleep(0.01)
            for message in (b"one", b"enough", b"kept"):
                far.sendall(frame(Opcode.TEXT, message))
        assert taken == [b"before", b"one", b"enough"]
        assert await client.receive() == b"kept"
        far.sendall(frame(Opcode.TEXT, b"last") + close_frame(struct.pack("!H", 1000)))
        with pytest.raises(SocketEnded):
            await client.pump(take)
        assert taken[3:] == [b"last"]


@pytest.mark.anyio
@pytest.mark.sockets
async def test_what_a_taker_raises_is_raised_by_the_pump_and_what_came_after_is_kept() -> None:
    async with fast_pair() as (client, far):

        def take(message: bytes) -> bool:
            raise ValueError(message.decode())

        async with anyio.create_task_group() as tasks:

            async def pump() -> None:
                with pytest.raises(ValueError, match=r"^one$"):
                    await client.pump(take)

            tasks.start_soon(pump)
            await anyio.sleep(0.01)
            far.sendall(frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))
        assert await client.receive() == b"two"
        assert client.ending is None


@pytest.mark.anyio
@pytest.mark.sockets
async def test_an_abort_in_the_midst_of_a_read_takes_nothing_more() -> None:
    async with fast_pair() as (client, far):
        taken: list[bytes] = []
        given = Ending(cause="crash")

        def take(message: bytes) -> bool:
            taken.append(message)
            client.abort(given)
            return True

        async with anyio.create_task_group() as tasks:

            async def pump() -> None:
                with pytest.raises(SocketEnded):
                    await client.pump(take)

            tasks.start_soon(pump)
            await anyio.sleep(0.01)
            far.sendall(frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))
        assert taken == [b"one"]
        assert client.ending == given
        assert repr(client).startswith("<FastSocket ended: ")


def test_there_is_no_loop_outside_of_one() -> None:
    assert _watching_loop() is None
    assert repr(FastTransport()) == "<FastTransport over TCP>"
