"""The far side of ``benchmarks/recovery.py``, in its own process: a Gemini Live that answers at once and fails on demand.

It is as fast as a service can be, so that what is measured is the near side. It reads commands from its standard input, one
JSON list per line, and writes one line first: its ports and the file of its certificate authority.

* ``["strike", kind, who]``: the connection of "the session" or "by hand" ends that was set up, or first spoken on, last:
  "reset", "fin", or a close code with its reason.
* ``["refuse", port, kind, times]``: the next connections to a port meet an HTTP status, "close CODE REASON" after the setup,
  or "accept CODE REASON" right after it was accepted.
* ``["clear"]``: nothing is refused any more.

A connection's first audio is answered by a transcript: the clock's time of the last strike, and that when the audio came.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import time
from collections import deque
from typing import Any

from unbroken.testing import certificates

PORTS = ("first", "second")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LINGER = struct.pack("ii", 1, 0)


class Peer:
    """What all connections share."""

    def __init__(self) -> None:
        self.newest: dict[str, Connection] = {}
        self.struck_at = 0.0
        self.refusals: dict[str, deque[str]] = {port: deque() for port in PORTS}
        self.handles = 0

    def command(self, line: bytes) -> None:
        match json.loads(line):
            case ["strike", kind, who]:
                self.struck_at = time.monotonic()
                self.newest[who].end(kind)
            case ["refuse", port, kind, times]:
                self.refusals[port].extend([kind] * times)
            case ["clear"]:
                for waiting in self.refusals.values():
                    waiting.clear()


class Connection:
    """One WebSocket, by hand."""

    def __init__(self, peer: Peer, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer
        self.heard = False
        self.who = ""
        refusals = peer.refusals[port]
        self.refusal = refusals.popleft() if refusals else ""

    async def serve(self) -> None:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            if self.refusal.isdigit():
                self.writer.write(f"HTTP/1.1 {self.refusal} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            self.who = "by hand" if head.startswith(b"GET /by-hand") else "the session"
            lines = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head.split(b"\r\n")}
            key = lines[b"sec-websocket-key"]
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
            self.writer.write(
                f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            )
            while await self.take():
                pass
        except (OSError, EOFError):
            pass
        finally:
            self.writer.close()

    async def take(self) -> bool:
        first, size = await self.reader.readexactly(2)
        size &= 0x7F
        if size >= 126:
            form, width = ("!H", 2) if size == 126 else ("!Q", 8)
            (size,) = struct.unpack(form, await self.reader.readexactly(width))
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(size)
        if first & 0x0F == 0x8:
            self.frame(0x88, b"")
            return False
        if first & 0x0F == 0x1:
            repeated = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            self.message((int.from_bytes(masked, "big") ^ repeated).to_bytes(size, "big"))
        return True

    def message(self, data: bytes) -> None:
        if data.startswith(b'{"setup"'):
            kind, _, rest = self.refusal.partition(" ")
            if kind != "close":
                self.say(setupComplete={})
                self.peer.newest[self.who] = self
            if kind in ("close", "accept"):
                self.end(rest)
        elif b'"audio"' in data and not self.heard:
            self.heard = True
            self.peer.newest[self.who] = self  # one that only lies ready does not carry the session
            came = time.monotonic()
            self.peer.handles += 1
            self.say(serverContent={"inputTranscription": {"text": "heard", "finished": True}})
            told = {"outputTranscription": {"text": f"{self.peer.struck_at} {came}"}, "turnComplete": True}
            self.say(serverContent=told)
            self.say(sessionResumptionUpdate={"newHandle": f"h{self.peer.handles}", "resumable": True})

    def say(self, **message: Any) -> None:
        self.frame(0x81, json.dumps(message).encode())

    def frame(self, first: int, data: bytes) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
        self.writer.write(bytes([first]) + size + data)

    def end(self, kind: str) -> None:
        raw = self.writer.get_extra_info("socket")
        match kind:
            case "reset":
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                self.writer.transport.abort()
            case "fin":
                self.writer.transport.abort()
            case _:
                code, _, reason = kind.partition(" ")
                self.frame(0x88, struct.pack("!H", int(code)) + reason.encode())


class Relay(asyncio.Protocol):
    """One end of a connection through which everything takes its time, the end included."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.transport: asyncio.Transport | None = None
        self.other: Relay | None = None
        self.due: deque[bytes | str | None] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.later(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.later("reset" if exc is not None else None)

    def later(self, what: bytes | str | None) -> None:
        self.due.append(what)
        asyncio.get_running_loop().call_later(self.delay, self.deliver)

    def deliver(self) -> None:
        other = self.other
        if other is None or other.transport is None:  # the far end is being dialled yet
            asyncio.get_running_loop().call_later(0.001, self.deliver)
            return
        what = self.due.popleft()
        match what:
            case bytes():
                other.transport.write(what)
            case None:
                other.transport.close()
            case _:
                if not other.transport.is_closing():
                    other.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                other.transport.abort()


class Entrance(Relay):
    """The near end, which dials the far one."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self.port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.dialling = asyncio.ensure_future(self.dial())

    async def dial(self) -> None:
        far = Relay(self.delay)
        far.other = self
        await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self.port)
        self.other = far


async def main(delay: float) -> None:
    loop, peer, certificate = asyncio.get_running_loop(), Peer(), certificates.make()
    ports: dict[str, int] = {}
    for name in PORTS:

        async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
            await Connection(peer, name, reader, writer).serve()

        server = await asyncio.start_server(welcome, "127.0.0.1", 0, ssl=certificate.server)
        ports[name] = server.sockets[0].getsockname()[1]
        if delay:
            relay = await loop.create_server(lambda name=name: Entrance(delay, ports[name]), "127.0.0.1", 0)  # type: ignore[misc]
            entrance = relay.sockets[0].getsockname()[1]
            loop.call_soon(ports.__setitem__, f"{name} far", ports[name])
            ports[f"{name} near"] = entrance
    near = {name: ports.get(f"{name} near", ports[name]) for name in PORTS}
    print(json.dumps({"ports": near, "ca_file": str(certificate.ca_file)}), flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    try:
        while line := await commands.readline():
            peer.command(line)
    finally:
        certificate.discard()
        os._exit(0)  # nobody is to hear what asyncio says of connections that are cut off here


if __name__ == "__main__":
    assert ssl.HAS_TLSv1_3
    asyncio.run(main(float(sys.argv[1])))
