"""A provider with a wire of its own and a service that plays scripts, to put a session through exact situations."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import anyio
import anyio.abc

from unbroken.abc import Connection, Endpoint, Profile, Provider, Transport
from unbroken.config import Secret, Target
from unbroken.errors import ConfigError, DialFailed, SocketEnded, WireError
from unbroken.events import (
    ActivityMark,
    Audio,
    Interrupted,
    ModelTranscript,
    ToolCall,
    ToolCallCancelled,
    ToolResult,
    Turn,
    UserText,
    UserTranscript,
)
from unbroken.transports.memory import MemoryListener, MemoryNetwork
from unbroken.transports.server import ServerWebSocket, receive_upgrade
from unbroken.transports.websocket import WebSocketTransport
from unbroken.wire import GenerationComplete, GoAway, HandleIssued, ProviderFault, SetupDone, TurnComplete, WireEvent

RATE = 16_000
FRAME = 640
"""Bytes of 20 ms."""


def speech(ms: int) -> bytes:
    """Loud audio, each sample different from the one before, so that order shows."""
    count = RATE * ms // 1000
    return b"".join((4000 + i % 4000).to_bytes(2, "little", signed=True) for i in range(count))


def quiet(ms: int) -> bytes:
    return bytes(RATE * ms // 1000 * 2)


class StageConnection(Connection):
    def __init__(self, config: Any = None) -> None:
        self.config = config

    def setup(self, *, handle: Secret | None, seeded: bool) -> bytes:
        assert not (handle and seeded), "never both"
        self._seeded = seeded
        setup = {"handle": handle.reveal() if handle else None, "seeded": seeded, "config": self.config}
        return json.dumps({"setup": setup}).encode()

    def opening(self, history: Sequence[Turn]) -> Sequence[bytes]:
        assert self._seeded or not history, "it was not announced"
        told = [[turn.role, turn.text] for turn in history]
        return [json.dumps({"history": told}).encode()] if self._seeded else []

    def receive(self, data: bytes | str) -> Sequence[WireEvent]:
        try:
            said = json.loads(data)
        except ValueError as error:
            raise WireError(f"not JSON: {data!r}") from error
        return [event for key, value in said.items() for event in _event(key, value)]

    def audio(self, pcm: bytes | memoryview) -> bytes:
        return json.dumps({"audio": base64.b64encode(pcm).decode()}).encode()

    def text(self, text: UserText) -> bytes:
        return json.dumps({"text": text.text}).encode()

    def context(self, turn: Turn) -> bytes:
        return json.dumps({"context": turn.text}).encode()

    def tool_result(self, result: ToolResult) -> bytes:
        return json.dumps({"result": [result.call_id, dict(result.result)]}).encode()

    def activity(self, mark: ActivityMark) -> bytes:
        return json.dumps({"mark": mark.mark}).encode()

    def image(self, data: bytes, *, mime_type: str) -> bytes:
        return json.dumps({"image": [mime_type, data.decode()]}).encode()


def _event(key: str, value: Any) -> list[WireEvent]:
    match key:
        case "ready":
            return [SetupDone()]
        case "audio":
            return [Audio(bytes(24 * 2 * value), 24_000)]
        case "transcript":
            return [UserTranscript(text=value, finished=True)]
        case "words":
            return [UserTranscript(text=value)]
        case "said":
            return [ModelTranscript(text=value)]
        case "end":
            return [GenerationComplete(), TurnComplete()]
        case "generated":
            return [GenerationComplete()]
        case "interrupted":
            return [Interrupted(), TurnComplete()]
        case "handle":
            return [HandleIssued(handle=Secret(value), resumable=True)]
        case "go_away":
            return [GoAway(time_left=value)]
        case "tool":
            return [ToolCall(call_id=value, name="look_up", arguments={"of": value})]
        case "again":
            return [ToolCall(call_id=f"{value} again", name="look_up", arguments={"of": value})]
        case "withdrawn":
            return [ToolCallCancelled(call_ids=(value,))]
        case "tools":
            return [ToolCall(call_id=str(n), name="look_up", arguments={"of": n}) for n in range(value)]
        case "fault":
            return [ProviderFault(code=value, reason="said in a message")]
    raise WireError(f"unknown {key}")


class StageProvider(Provider):
    def __init__(self, host: str, profile: Profile, config: Any = None) -> None:
        if config == "wrong":
            raise ConfigError("the config is 'wrong'; expected anything else")
        self._host = host
        self._config = config
        self.profile = profile
        self.refreshed = 0

    @property
    def host(self) -> str:
        return self._host

    async def endpoint(self, *, refresh: bool = False) -> Endpoint:
        self.refreshed += refresh
        return Endpoint(url=f"ws://{self._host}/talk", headers={"authorization": "a secret"})

    def connection(self) -> Connection:
        return StageConnection(self._config)


class Call:
    """One connection as a script sees it."""

    def __init__(self, number: int, socket: ServerWebSocket, setup: dict[str, Any]) -> None:
        self.number = number
        self.socket = socket
        self.handle: str | None = setup["handle"]
        self.seeded: bool = setup["seeded"]
        self.history: list[list[str]] = []
        self.config: Any = setup["config"]
        self.heard = bytearray()
        self.other: list[dict[str, Any]] = []

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message).encode())

    def reply(self, *, ms: int = 200, handle: str | None = None) -> None:
        self.say(audio=ms)
        self.say(end=True)
        if handle is not None:
            self.say(handle=handle)

    async def take(self) -> dict[str, Any]:
        """Takes one message; audio is kept in `heard`, what comes as history in `history`, the rest in `other`."""
        message: dict[str, Any] = json.loads(await self.socket.receive())
        if "history" in message:
            self.history = message["history"]
            return await self.take()
        if "audio" in message:
            self.heard += base64.b64decode(message["audio"])
        else:
            self.other.append(message)
        return message

    async def hear(self, size: int) -> None:
        """Listens until so many bytes of audio have come on this connection."""
        while len(self.heard) < size:
            await self.take()

    async def listen(self) -> None:
        """Listens until the connection ends."""
        while True:
            await self.take()


Script = Callable[[Call], Awaitable[None]]

Scripts: TypeAlias = "Sequence[Script | int] | Callable[[], Script | int]"
"""What a host plays: connection by connection, the last one for ever, or what it is told at each; a number is the HTTP
status by which it refuses."""


class Stage:
    """Hosts of a memory network, each of which plays its scripts connection by connection, the last one for ever."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.transport: Transport = WebSocketTransport(connect=self.network.connect, proxy=False)
        self.listeners: list[MemoryListener] = []
        self.calls: list[Call] = []
        self.dials: list[tuple[float, str]] = []
        self.profile = Profile(platform="stage", model="m")

    def target(self, host: str = "one", *, quota_group: str | None = None) -> Target:
        return Target(model=host, provider="stage", quota_group=quota_group)

    def provider(self, target: Target, *, config: Any) -> StageProvider:
        return StageProvider(target.model, self.profile, config if target.config is None else target.config)

    async def serve(self, host: str, scripts: Scripts, tasks: anyio.abc.TaskGroup) -> None:
        listener = self.network.listen(host, 80)
        count = 0

        async def play(stream: anyio.abc.ByteStream) -> None:
            nonlocal count
            script = scripts() if callable(scripts) else scripts[min(count, len(scripts) - 1)]
            count += 1
            self.dials.append((anyio.current_time(), host))
            async with stream, anyio.create_task_group() as own:
                try:
                    request = await receive_upgrade(stream)
                    if isinstance(script, int):
                        await request.reject(script)
                        return
                    socket = await request.accept(tasks=own)
                except DialFailed:
                    return  # the client has gone meanwhile
                call = Call(len(self.calls) + 1, socket, {"handle": None, "seeded": False, "config": None})
                try:
                    setup = json.loads(await socket.receive())["setup"]
                    call = Call(len(self.calls) + 1, socket, setup)
                    self.calls.append(call)
                    await script(call)
                except Exception:  # because a script's connection may end under it at any moment
                    pass
                with anyio.move_on_after(1), suppress(SocketEnded):
                    await call.listen()
                own.cancel_scope.cancel()

        self.listeners.append(listener)
        tasks.start_soon(listener.serve, play)


@asynccontextmanager
async def stage(**hosts: Scripts) -> AsyncGenerator[Stage]:
    """Serves the scripts of each host for the block."""
    it = Stage()
    failed: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            for host, scripts in hosts.items():
                await it.serve(host, scripts, tasks)
            try:
                yield it
            except Exception as error:  # because the group would wrap it; raised again below
                failed = error
            tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(1, shield=True):
            for listener in it.listeners:
                await listener.aclose()
    if failed is not None:
        raise failed
