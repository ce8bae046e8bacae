"""What Linux says of a path, on loopback; and what a socket says of its pongs."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest

from unbroken.core.health import PathSample
from unbroken.testing import memory_pair
from unbroken.transports.path import RETRANSMISSION, USER_TIMEOUT, bound_silence, read_path, tcp_path
from unbroken.transports.tcp import TcpStream, connect_tcp

RTO_MAX_MS = 44
"""``TCP_RTO_MAX_MS`` of linux/tcp.h."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="tcp_info is Linux'; run it there")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        with near, far:
            yield near, far


@linux
@pytest.mark.sockets
def test_what_is_sent_and_acknowledged_is_counted(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    before = read_path(near)
    near.sendall(b"x" * 1000)
    assert far.recv(1000)
    after = read_path(near)
    while after is not None and after.unacked:  # a busy kernel takes in an acknowledgement a little later
        time.sleep(0.001)
        after = read_path(near)
    assert before is not None
    assert after is not None
    assert (after.sent or 0) - (before.sent or 0) == (after.delivered or 0) - (before.delivered or 0) == 1
    assert (after.unacked, after.retransmits, after.repeated, after.unsent, after.full) == (0, 0, 0, 0, False)
    assert 0 < after.rtt < 30


@linux
@pytest.mark.sockets
def test_a_peer_that_reads_nothing_has_no_room_in_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    near.setblocking(False)
    seen = read_path(near)
    while seen is not None and not (seen.full and seen.unsent):
        with suppress(BlockingIOError):
            near.send(b"x" * 65536)
        seen = read_path(near)
    assert seen is not None


@linux
@pytest.mark.sockets
def test_there_is_no_path_where_there_is_no_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    near.shutdown(socket.SHUT_WR)
    assert read_path(near) is None, "it is closing"
    far.close()
    near.close()
    assert read_path(near) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert read_path(datagrams) is None


class Old:
    """A socket of a kernel that knows less."""

    family = socket.AF_INET

    def __init__(self, size: int) -> None:
        self._size = size

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        fields = (1, 0, 2, 0, 0, 0, 0, 0, *range(8, 32))
        return (struct.pack("8B24I", *fields) + struct.pack("=40I", *range(26, 66)))[: self._size]


@linux
@pytest.mark.parametrize(
    ("size", "later"),
    [
        (103, None),
        (104, {"sent": None, "delivered": None, "unsent": 0, "full": False}),
        (192, {"sent": 39, "delivered": None, "unsent": 36, "full": False}),
        (232, {"sent": 39, "delivered": 48, "unsent": 36, "full": False}),
    ],
)
def test_an_old_kernel_says_less(size: int, later: dict[str, object] | None) -> None:
    seen = read_path(Old(size))  # type: ignore[arg-type]
    if later is None:
        assert seen is None
    else:
        assert seen is not None
        assert seen == PathSample(
            unacked=12,
            since_ack=0.02,
            rtt=23e-6,
            rtt_var=24e-6,
            retransmits=2,
            repeated=31,
            **later,  # type: ignore[arg-type]
        )


@linux
@pytest.mark.sockets
def test_a_connection_is_given_up_by_the_kernel_where_nobody_watches(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    bound_silence(near)
    assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT * 1000


@linux
@pytest.mark.sockets
def test_the_kernel_does_not_wait_longer_and_longer_before_it_sends_again(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = pair
    try:
        near.getsockopt(socket.IPPROTO_TCP, RTO_MAX_MS)
    except OSError:
        pytest.skip("TCP_RTO_MAX_MS came with Linux 6.15")
    bound_silence(near)
    assert near.getsockopt(socket.IPPROTO_TCP, RTO_MAX_MS) == RETRANSMISSION * 1000


@linux
@pytest.mark.sockets
@pytest.mark.anyio
async def test_a_stream_over_tcp_has_a_path_and_is_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await connect_tcp("127.0.0.1", listener.getsockname()[1])
        assert isinstance(stream, TcpStream)
        read = tcp_path(stream)
        assert read is not None
        assert read() is not None
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT * 1000
        await stream.aclose()
        assert read() is None


@pytest.mark.anyio
async def test_a_stream_in_memory_has_none() -> None:
    async with memory_pair() as (client, server):
        assert client.path() is None
        assert server.path() is None


@pytest.mark.anyio
async def test_the_slowest_pong_is_kept() -> None:
    async with memory_pair() as (client, server), anyio.create_task_group() as tasks:
        assert client.slowest_pong is None

        async def read() -> None:
            await client.receive()

        async def answer() -> None:
            await server.receive()

        tasks.start_soon(read)
        client.ping()
        client.ping()
        await anyio.sleep(8.0)
        assert client.slowest_pong is None, "the peer has not read yet"
        tasks.start_soon(answer)
        await anyio.sleep(0.1)
        assert client.slowest_pong == pytest.approx(8.0, abs=0.1)
        client.ping()
        await anyio.sleep(0.1)
        assert client.slowest_pong == pytest.approx(8.0, abs=0.1)
        tasks.cancel_scope.cancel()
