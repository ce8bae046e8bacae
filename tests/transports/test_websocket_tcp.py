"""WebSockets over real TCP and TLS on loopback: what memory cannot show."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest
import trustme
from anyio.streams.tls import TLSStream

from unbroken.abc import Endpoint, Socket
from unbroken.decisions import Ending
from unbroken.errors import DialFailed, SocketEnded
from unbroken.testing.sockets import SocketPair, check_sockets
from unbroken.transports.fast import FastSocket, FastTransport
from unbroken.transports.proxy import Proxy, parse_proxy, proxy_for
from unbroken.transports.server import ServerWebSocket, receive_upgrade
from unbroken.transports.tcp import TcpStream, connect_tcp
from unbroken.transports.websocket import WebSocket, WebSocketTransport

pytestmark = [pytest.mark.anyio, pytest.mark.sockets]

Handle = Callable[[anyio.abc.ByteStream], Awaitable[object]]
Client = FastSocket | WebSocket

PATIENCE = 60.0
"""Seconds after which a test hangs: far more than a busy machine takes."""

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Certificates:
    """A certificate authority for loopback, and the two contexts that trust it."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


class Ways:
    """Which transport the tests' clients use: all of them have to keep the same promises."""

    transport: type[FastTransport] | type[WebSocketTransport] = WebSocketTransport


@pytest.fixture(params=["asyncio, fast", "asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, object]]:
    backend, _, fast = request.param.partition(", ")
    if fast:  # on trio it gives what the other one gives
        monkeypatch.setattr(Ways, "transport", FastTransport)
    return backend, {}


def raw_socket(client: Client) -> socket.socket:
    if isinstance(client, FastSocket):
        return client._raw
    raw: socket.socket = client._stream.extra(anyio.abc.SocketAttribute.raw_socket)
    return raw


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def tcp_server(handle: Handle, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Runs `handle` for each connection to a port of loopback, and yields the port."""

    async def accept(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            if tls is not None:
                stream = await TLSStream.wrap(stream, server_side=True, ssl_context=tls, standard_compatible=False)
            await handle(stream)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, accept)
        with anyio.fail_after(PATIENCE):
            yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def tcp_pair(certificates: Certificates | None = None) -> AsyncGenerator[tuple[Client, ServerWebSocket]]:
    """Connects two sockets over TCP, and over TLS where there are certificates."""
    accepted: list[ServerWebSocket] = []
    ready = anyio.Event()

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with await receive_upgrade(stream) as request, anyio.create_task_group() as own:
            accepted.append(await request.accept(tasks=own))
            ready.set()

    tls = certificates.server if certificates else None
    async with tcp_server(handle, tls=tls) as port, anyio.create_task_group() as tasks:
        client = await open_socket(port, tasks, certificates)
        await ready.wait()
        yield client, accepted[0]
        tasks.cancel_scope.cancel()


async def open_socket(
    port: int, tasks: anyio.abc.TaskGroup, certificates: Certificates | None = None, *, proxy: bool = False
) -> Client:
    scheme, context = ("wss", certificates.client) if certificates else ("ws", None)
    endpoint = Endpoint(url=f"{scheme}://localhost:{port}/live", ssl=context)
    return await Ways.transport(proxy=proxy).open(endpoint, tasks=tasks, on_step=lambda step: None)


async def fail_to_open(url: str, *, context: ssl.SSLContext | None = None, proxy: bool = False) -> Ending:
    steps: list[str] = []
    async with anyio.create_task_group() as tasks:
        with pytest.raises(DialFailed) as caught, anyio.fail_after(PATIENCE):
            await Ways.transport(proxy=proxy).open(Endpoint(url=url, ssl=context), tasks=tasks, on_step=steps.append)
    return caught.value.ending


async def ending_of(socket: Socket) -> Ending:
    with pytest.raises(SocketEnded) as caught, anyio.fail_after(PATIENCE):
        while True:
            await socket.receive()
    return caught.value.ending


def open_files() -> set[str]:
    """The sockets of this process."""
    found = set[str]()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


async def closed_but(before: set[str]) -> None:
    """Waits until no socket is open that was not open before: an event loop closes them a little later."""
    with anyio.fail_after(PATIENCE):
        while not open_files() <= before:  # noqa: ASYNC110, the operating system tells nobody
            await anyio.sleep(0.01)


async def test_the_promises_of_every_socket_over_tcp() -> None:
    await check_sockets(tcp_pair)


async def test_the_promises_of_every_socket_over_tls(certificates: Certificates) -> None:
    await check_sockets(lambda: tcp_pair(certificates))


def test_the_promises_of_every_socket_on_uvloop(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop", reason="install uvloop to see that it works there")
    monkeypatch.setattr(Ways, "transport", FastTransport)
    pair: SocketPair = lambda: tcp_pair(certificates)  # noqa: E731
    anyio.run(check_sockets, pair, backend_options={"use_uvloop": True})


@pytest.mark.parametrize("tls", [False, True])
async def test_steps_and_no_delay(tls: bool, certificates: Certificates) -> None:
    steps: list[str] = []

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with await receive_upgrade(stream) as request, anyio.create_task_group() as own:
            await request.accept(tasks=own)

    async with (
        tcp_server(handle, tls=certificates.server if tls else None) as port,
        anyio.create_task_group() as tasks,
    ):
        endpoint = Endpoint(url=f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/", ssl=certificates.client if tls else None)
        client = await Ways.transport().open(endpoint, tasks=tasks, on_step=steps.append)
        assert steps == (["tls", "upgrade"] if tls else ["upgrade"])
        raw = raw_socket(client)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        tasks.cancel_scope.cancel()


# How it ends


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("end", ["reset", "fin", "close"])
async def test_each_end_is_told_apart(end: str, tls: bool, certificates: Certificates) -> None:
    async with tcp_pair(certificates if tls else None) as (client, server):
        server.send(b"last")
        match end:
            case "reset":
                assert await client.receive() == b"last"
                server.abort()
                ending = await ending_of(client)
                assert (ending.cause, ending.confirmed) == ("reset", True)
            case "fin":
                server.finish()
                assert await client.receive() == b"last"
                assert await ending_of(client) == Ending(cause="eof")
            case _:
                server.close(1011, "Internal error encountered.")
                assert await client.receive() == b"last"
                assert await ending_of(client) == Ending(code=1011, reason="Internal error encountered.")


@pytest.mark.parametrize("tls", [False, True])
async def test_an_abort_is_a_reset_at_once(tls: bool, certificates: Certificates) -> None:
    async with tcp_pair(certificates if tls else None) as (client, server):
        client.send(b"x" * 10_000_000)  # the server does not read: there is no waiting for it
        await anyio.sleep(0.05)
        raw = raw_socket(client)
        client.abort()
        assert raw.fileno() == -1
        assert (await ending_of(server)).cause == "reset"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_close_frame_is_read_although_writing_fails_first(tls: bool, certificates: Certificates) -> None:
    """A service says why, closes its socket and is sent more audio: its kernel answers with a reset."""

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with await receive_upgrade(stream) as request:
            await stream.send(request._wire.accept(request._request).serialize())
            await go_on.wait()
            reason = struct.pack("!H", 1011) + b"The service is currently unavailable."
            await stream.send(bytes([0x88, len(reason)]) + reason)

    go_on = anyio.Event()
    tls_context = certificates.server if tls else None
    async with tcp_server(handle, tls=tls_context) as port, anyio.create_task_group() as tasks:
        client = await open_socket(port, tasks, certificates if tls else None)
        go_on.set()
        for _ in range(20):  # nobody reads here meanwhile: the application is busy
            client.send(b"x" * 1000)
            await anyio.sleep(0.01)
        assert await ending_of(client) == Ending(code=1011, reason="The service is currently unavailable.")


async def test_what_a_slow_reader_has_not_taken_is_counted() -> None:
    async with tcp_pair() as (client, server):
        message = b"x" * 1_000_000
        client.send(b"first")
        assert await server.receive() == b"first"  # on asyncio, anyio's streams read without bound until they have waited
        for _ in range(20):
            client.send(message)
        await anyio.sleep(0.1)
        held = client.buffered
        assert 0 < held < 20 * 1_000_014
        for _ in range(20):
            assert await server.receive() == message
        assert client.buffered == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_cancelling_the_task_group_leaves_no_socket(tls: bool, certificates: Certificates) -> None:
    before = open_files()
    async with tcp_pair(certificates if tls else None) as (client, server):
        client.send(b"hello")
        assert await server.receive() == b"hello"
        assert len(open_files()) > len(before)
    assert client.ending == Ending(confirmed=False)
    await closed_but(before)


@pytest.mark.parametrize("step", ["dial", "tls", "upgrade"])
async def test_cancelling_open_leaves_no_socket(step: str, certificates: Certificates) -> None:
    before = open_files()
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        port = listener.getsockname()[1]
        scheme, context = ("ws", None) if step == "upgrade" else ("wss", certificates.client)
        endpoint = Endpoint(url=f"{scheme}://127.0.0.1:{port}/", ssl=context)
        async with anyio.create_task_group() as tasks:
            reached = anyio.Event()

            async def cancel(scope: anyio.CancelScope) -> None:
                with anyio.fail_after(PATIENCE):
                    await reached.wait()
                await anyio.sleep(0.02)  # it waits for the listener by then, which never answers
                scope.cancel()

            def on_step(seen: str) -> None:
                if seen == step:
                    reached.set()

            with anyio.CancelScope() as scope:
                if step == "dial":
                    scope.cancel()
                tasks.start_soon(cancel, scope)
                await Ways.transport(proxy=False).open(endpoint, tasks=tasks, on_step=on_step)
            assert scope.cancelled_caught
            tasks.cancel_scope.cancel()
    await closed_but(before)


# How a dial fails


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ending = await fail_to_open(f"ws://127.0.0.1:{port}/")
    assert ending.cause == "refused"
    assert "Connection refused" in ending.reason


async def test_a_name_that_nobody_has() -> None:
    assert (await fail_to_open("ws://name.invalid/")).cause == "dns"


async def test_a_name_that_cannot_be() -> None:
    assert (await fail_to_open(f"ws://{'x' * 64}.example/")).cause == "dns"


async def test_a_certificate_that_nobody_trusts(certificates: Certificates) -> None:
    async def shake(stream: anyio.abc.ByteStream) -> None:
        with pytest.raises((ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError)):
            await TLSStream.wrap(stream, server_side=True, ssl_context=certificates.server, standard_compatible=False)

    async with tcp_server(shake) as port:
        ending = await fail_to_open(f"wss://localhost:{port}/")
    assert ending.cause == "tls"
    assert "unable to get local issuer certificate" in ending.reason


async def test_a_server_that_knows_no_tls(certificates: Certificates) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with tcp_server(handle) as port:
        ending = await fail_to_open(f"wss://localhost:{port}/", context=certificates.client)
    assert ending.cause == "tls"


async def test_a_server_that_hangs_up_on_tls(certificates: Certificates) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        await stream.receive()

    async with tcp_server(handle) as port:
        ending = await fail_to_open(f"wss://localhost:{port}/", context=certificates.client)
    assert ending.cause == "tls"
    assert "eof" in ending.reason.lower()  # in OpenSSL's words or in ours, by the version of Python


async def test_a_refused_upgrade_over_tls(certificates: Certificates) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with await receive_upgrade(stream) as request:
            await request.reject(403, body="billing")

    async with tcp_server(handle, tls=certificates.server) as port:
        ending = await fail_to_open(f"wss://localhost:{port}/", context=certificates.client)
    assert ending == Ending(http_status=403, reason="billing")


# Proxies


class ConnectProxy:
    """An HTTP proxy that tunnels, asking for credentials where it was given some."""

    def __init__(self, credentials: str | None = None, answer: bytes | None = None) -> None:
        self.credentials = credentials
        self.answer = answer
        self.asked: list[str] = []

    async def handle(self, stream: anyio.abc.ByteStream) -> None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += await stream.receive()
        lines = raw.decode().split("\r\n")
        self.asked.append(lines[0])
        wanted = base64.b64encode((self.credentials or "").encode()).decode()
        if self.answer is not None:
            await stream.send(self.answer)
        elif self.credentials is not None and f"Proxy-Authorization: Basic {wanted}" not in lines:
            await stream.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        else:
            host, _, port = lines[0].split()[1].rpartition(":")
            async with await anyio.connect_tcp(host, int(port)) as far, anyio.create_task_group() as tasks:
                await stream.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                tasks.start_soon(relay, stream, far, tasks.cancel_scope)
                tasks.start_soon(relay, far, stream, tasks.cancel_scope)


async def relay(source: anyio.abc.ByteStream, sink: anyio.abc.ByteStream, scope: anyio.CancelScope) -> None:
    try:
        while True:
            await sink.send(await source.receive())
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        scope.cancel()


async def echo(stream: anyio.abc.ByteStream) -> None:
    async with await receive_upgrade(stream) as request, anyio.create_task_group() as own:
        server = await request.accept(tasks=own)
        try:
            while True:
                server.send(await server.receive())
        except SocketEnded:
            pass


@pytest.mark.parametrize("secure_proxy", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_tunnel_through_a_proxy(
    tls: bool, secure_proxy: bool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = ConnectProxy("us er:p@ss")
    monkeypatch.setattr(ssl, "create_default_context", lambda: certificates.client)
    async with (
        tcp_server(echo, tls=certificates.server if tls else None) as port,
        tcp_server(proxy.handle, tls=certificates.server if secure_proxy else None) as proxy_port,
        anyio.create_task_group() as tasks,
    ):
        scheme = "https" if secure_proxy else "http"
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://us%20er:p%40ss@localhost:{proxy_port}")
        client = await open_socket(port, tasks, certificates if tls else None, proxy=True)
        client.send(b"through")
        assert await client.receive() == b"through"
        assert proxy.asked == [f"CONNECT localhost:{port} HTTP/1.1"]
        client.close()
        assert (await ending_of(client)).code == 1000
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "the proxy answered 407 Proxy Authentication Required"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered 502 Bad Gateway"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy does not speak HTTP"),
        (b"", "the proxy closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "the proxy sent more than its answer"),
    ],
)
async def test_a_proxy_that_refuses(answer: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ConnectProxy("user:password", answer)
    async with tcp_server(proxy.handle) as port:
        monkeypatch.setenv("https_proxy", f"http://user:wrong@localhost:{port}")
        assert await fail_to_open("wss://service.invalid/", proxy=True) == Ending(cause="proxy", reason=reason)


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
    ending = await fail_to_open("wss://service.invalid/", proxy=True)
    assert ending.cause == "proxy"
    assert ending.reason.startswith("refused at the proxy: ")


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("a.example", 443, secure=True) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    monkeypatch.setenv("http_proxy", "http://two:2")
    monkeypatch.setenv("NO_PROXY", "inside.example,localhost")
    assert proxy_for("a.example", 443, secure=True) == Proxy(secure=False, host="one", port=1)
    assert proxy_for("a.example", 80, secure=False) == Proxy(secure=False, host="two", port=2)
    assert proxy_for("x.inside.example", 443, secure=True) is None
    assert repr(parse_proxy("http://user:secret@one:1")) == "<Proxy one:1>"


@pytest.mark.parametrize("url", ["socks5://user:secret@one:1", "http://", "http://one:port"])
def test_a_proxy_that_cannot_be_used_is_not_shown(url: str) -> None:
    with pytest.raises(DialFailed) as caught:
        parse_proxy(url)
    assert caught.value.ending.cause == "proxy"
    assert "is not usable; http://host:port would be" in str(caught.value)
    assert "secret" not in str(caught.value)


# The stream itself


async def test_the_first_address_that_answers_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        await stream.send(b"here")

    async with tcp_server(handle) as port:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            closed = listener.getsockname()[1]

        async def resolve(host: str, port: int, **options: object) -> list[tuple[object, ...]]:
            addresses = [("::1", closed, 0, 0), ("127.0.0.1", closed), ("127.0.0.1", port)]
            families = [socket.AF_INET6, socket.AF_INET, socket.AF_INET]
            return [(f, socket.SOCK_STREAM, 6, "", a) for f, a in zip(families, addresses, strict=True)]

        monkeypatch.setattr(anyio, "getaddrinfo", resolve)
        async with await connect_tcp("anything", port) as stream:
            assert await stream.receive() == b"here"
            assert stream.extra(anyio.abc.SocketAttribute.remote_address) == ("127.0.0.1", port)


async def test_closing_wakes_a_reader_and_a_writer() -> None:
    asked = anyio.Event()

    async def handle(stream: anyio.abc.ByteStream) -> None:
        asked.set()
        await stream.receive(1)  # on asyncio, anyio's streams read without bound until they are first asked
        await anyio.sleep_forever()

    async def read(stream: TcpStream) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()

    async def write(stream: TcpStream) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x" * 50_000_000)

    async with tcp_server(handle) as port:
        for end in ("close", "abort"):
            asked = anyio.Event()
            stream = await connect_tcp("127.0.0.1", port)
            await asked.wait()
            await anyio.sleep(0.05)  # the far side waits for its first byte by then
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, stream)
                tasks.start_soon(write, stream)
                await anyio.sleep(0.05)
                if end == "abort":
                    stream.abort()
                else:
                    await stream.aclose()
            assert repr(stream) == "<TcpStream closed>"
