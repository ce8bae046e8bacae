"""The other side, in a process of its own: takes the setup, then speaks without end from the first frame on."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import picows

from unbroken.testing import certificates

__all__ = ["Place", "main"]

REPLY = b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"%s"}}]}}}' % (
    b"QUJD" * 640
)
"""40 ms of 24 kHz, as the service sends it."""

EVERY = 0.04
PHASES = 10
"""Messages of different sessions come at different times, as in life."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where it serves.

    Attributes:
        plain: port without TLS.
        tls: port with TLS.
        ca_file: whom a client of the second has to trust.
    """

    plain: int
    tls: int
    ca_file: str


class _Call(picows.WSListener):
    def __init__(self, phases: list[set[picows.WSTransport]], number: int) -> None:
        self._phase = phases[number % PHASES]
        self._set_up = False
        self._speaking = False

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
        elif not self._set_up:
            self._set_up = True
            transport.send(picows.WSMsgType.TEXT, b'{"setupComplete":{}}')
        elif not self._speaking and b"audio" in frame.get_payload_as_bytes()[:200]:
            self._speaking = True
            self._phase.add(transport)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._phase.discard(transport)


async def _serve() -> None:
    phases: list[set[picows.WSTransport]] = [set() for _ in range(PHASES)]
    count = 0

    def answer(request: picows.WSUpgradeRequest) -> _Call:
        nonlocal count
        count += 1
        return _Call(phases, count)

    certificate = certificates.make()
    loop = asyncio.get_running_loop()
    plain = await picows.ws_create_server(answer, "127.0.0.1", 0, backlog=1000)
    secure = await picows.ws_create_server(answer, "127.0.0.1", 0, ssl=certificate.server, backlog=1000)
    ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
    place = Place(plain=ports[0], tls=ports[1], ca_file=str(certificate.ca_file))
    print(msgspec.json.encode(place).decode(), flush=True)
    at = loop.time()
    while True:
        for phase in phases:
            for transport in tuple(phase):
                transport.send(picows.WSMsgType.TEXT, REPLY)
            at = max(at + EVERY / PHASES, loop.time() - 1)
            await asyncio.sleep(at - loop.time())


def main() -> None:
    """Serves until it is killed."""
    if len(sys.argv) > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
