"""Who is measured: each opens so many sessions, and then sends a frame on one of them when it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
import picows

import unbroken
import unbroken_gemini
from unbroken.abc import Connection, Endpoint, Provider, Socket, Transport
from unbroken.events import Audio
from unbroken.transports.fast import FastTransport
from unbroken.transports.websocket import WebSocketTransport

__all__ = ["SIDES", "Side"]

MODEL = "gemini-3.8-live"
SETUP = b'{"setup":{"model":"models/%s"}}' % MODEL.encode()

Send = Callable[[bytes], Awaitable[None] | None]
"""Sends 20 ms of audio; what it returns is to be awaited."""


class Side:
    """A contender in this process.

    Attributes:
        heard: messages of audio that its application was given.
    """

    def __init__(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup, port: int, context: ssl.SSLContext | None) -> None:
        self.heard = 0
        self.stack = stack
        self.tasks = tasks
        self.context = context
        self.port = port

    @property
    def url(self) -> str:
        """Of the server."""
        return f"{'ws' if self.context is None else 'wss'}://localhost:{self.port}"

    async def open(self, count: int) -> list[Send]:
        """Opens so many sessions more; returns once all of them are set up."""
        raise NotImplementedError


def _provider() -> Provider:
    return unbroken_gemini.provider(unbroken_gemini.target(MODEL, api_key="none"), config=None)


class Picows(Side):
    """The floor: nothing but a listener that decodes, and a call that encodes."""

    async def open(self, count: int) -> list[Send]:
        """Opens them one by one."""
        return [await self._one() for _ in range(count)]

    async def _one(self) -> Send:
        connection, side, ready = _provider().connection(), self, asyncio.get_running_loop().create_future()

        class Listener(picows.WSListener):
            def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
                for event in connection.receive(frame.get_payload_as_bytes()):
                    side.heard += type(event) is Audio
                if not ready.done():
                    ready.set_result(None)

        transport, _ = await picows.ws_connect(Listener, self.url + "/live", ssl_context=self.context)
        transport.send(picows.WSMsgType.TEXT, SETUP)
        await ready
        return lambda pcm: transport.send(picows.WSMsgType.TEXT, connection.audio(pcm))


class Bare(Side):
    """The floor on a transport of ours: a loop that receives and decodes, and a call that encodes."""

    transport: Callable[[], Transport]

    async def open(self, count: int) -> list[Send]:
        """Opens them one by one."""
        if not hasattr(self, "group"):
            self.group = await self.stack.enter_async_context(anyio.create_task_group())
            self.stack.callback(self.group.cancel_scope.cancel)
        return [await self._one() for _ in range(count)]

    async def _one(self) -> Send:
        endpoint = Endpoint(url=self.url + "/live", ssl=self.context)
        one = await type(self).transport().open(endpoint, tasks=self.group, on_step=lambda step: None)
        connection: Connection = _provider().connection()
        one.send(SETUP)
        connection.receive(await one.receive())
        self.group.start_soon(self._listen, one, connection)
        return lambda pcm: one.send(connection.audio(pcm))

    async def _listen(self, socket: Socket, connection: Connection) -> None:
        """Is called from where a message is read: no task waits for it."""

        def take(message: bytes) -> bool:
            for event in connection.receive(message):
                self.heard += type(event) is Audio
            return True

        await socket.pump(take)


class BareFast(Bare):
    """On asyncio's own."""

    transport = FastTransport


class LoopFast(BareFast):
    """The same as a loop that awaits each message, as an application would that has a socket and no session."""

    async def _listen(self, socket: Socket, connection: Connection) -> None:
        while True:
            for event in connection.receive(await socket.receive()):
                self.heard += type(event) is Audio


class BareAnyStream(Bare):
    """On the one over any stream."""

    transport = WebSocketTransport


class Unbroken(Side):
    """Sessions, with all that keeps them unbroken."""

    transport: Callable[[], Transport] | None = None

    async def open(self, count: int) -> list[Send]:
        """Opens them at once; the runtime paces its dials."""
        if not hasattr(self, "runtime"):
            transport = type(self).transport
            made = transport() if transport is not None else None
            self.runtime = await self.stack.enter_async_context(unbroken.Runtime(transport=made))
        base = self.url if self.context is None else self.url.replace("wss:", "https:")
        target = unbroken_gemini.target(MODEL, api_key="k", base_url=base, ssl=self.context)
        opened = [self.runtime.open(target) for _ in range(count)]
        for session in opened:
            self.tasks.create_task(self._listen(session))
        while any(session.state != "listening" for session in opened):  # noqa: ASYNC110 - the runtime paces its dials
            await asyncio.sleep(0.02)
        return [session.send_audio for session in opened]

    async def _listen(self, session: unbroken.Session) -> None:
        async for event in session:
            self.heard += type(event) is Audio


class UnbrokenAnyStream(Unbroken):
    """On the transport that works over any stream."""

    transport = WebSocketTransport


class GoogleGenai(Side):
    """The vendor's client; it speaks TLS only."""

    async def open(self, count: int) -> list[Send]:
        """Opens them one by one, from one client."""
        from google import genai
        from google.genai import types

        if not hasattr(self, "client"):
            self.client = genai.Client(
                api_key="k", http_options=types.HttpOptions(base_url=f"https://localhost:{self.port}")
            )
        ways: list[Send] = []
        for _ in range(count):
            live = await self.stack.enter_async_context(self.client.aio.live.connect(model=MODEL))
            self.tasks.create_task(self._listen(live))

            def send(pcm: bytes, live: genai.live.AsyncSession = live) -> Awaitable[None]:
                return live.send_realtime_input(audio=types.Blob(data=pcm, mime_type="audio/pcm;rate=16000"))

            ways.append(send)
        return ways

    async def _listen(self, live: object) -> None:
        while True:
            async for message in live.receive():  # type: ignore[attr-defined]
                self.heard += message.data is not None


SIDES: dict[str, type[Side]] = {
    "floor": Picows,
    "floor on the fast transport": BareFast,
    "floor on the fast transport, awaited": LoopFast,
    "floor on the transport over any stream": BareAnyStream,
    "unbroken": Unbroken,
    "unbroken on uvloop": Unbroken,
    "unbroken on the transport over any stream": UnbrokenAnyStream,
    "google-genai": GoogleGenai,
}
"""By the name in the table."""
