"""livekit's openai plugin, wrapped, in a real `AgentSession` over two servers that speak what it needs of the protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

pytest.importorskip("livekit.plugins.openai", reason="install the dependency group `test` for LiveKit's openai plugin")

from livekit.agents import Agent, AgentSession, function_tool, llm
from livekit.plugins import openai

from unbroken_livekit.wrapping import WrappedModel, wrap

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.sockets,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of LiveKit's own dependencies
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


_numbers = itertools.count(1)
"""Ids are unique over all servers, as the service's are."""


class Server:
    """Speaks, calls a tool, or dies. A response is its words, or a call as a dict; after so many it is gone for good."""

    def __init__(self, responses: Sequence[str | dict[str, Any]], *, dies: int | None = None) -> None:
        self.responses = list(responses)
        self.dies = dies
        self.asked: list[str] = []
        self.items: list[dict[str, Any]] = []
        self.gone = False
        self._socket: web.WebSocketResponse | None = None
        self._request: web.Request | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def die(self) -> None:
        self.gone = True
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.gone:
            return web.Response(status=503)
        self._request, self._socket = request, web.WebSocketResponse()
        await self._socket.prepare(request)
        async for message in self._socket:
            if message.type == WSMsgType.TEXT:
                await self._take(json.loads(message.data))
        return self._socket

    async def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "conversation.item.create":
                await self._add(event["item"], previous_item_id=event.get("previous_item_id"))
            case "response.create":
                task = asyncio.create_task(self._respond(event["response"]))
                self._tasks.add(task)

    async def _send(self, kind: str, **fields: Any) -> None:
        assert self._socket is not None
        await self._socket.send_str(json.dumps({"type": kind, **fields}))

    async def _add(self, item: dict[str, Any], *, previous_item_id: str | None) -> None:
        self.items.append(item)
        await self._send("conversation.item.added", previous_item_id=previous_item_id, item=item)

    async def _respond(self, wanted: dict[str, Any]) -> None:
        self.asked.append(wanted.get("instructions") or "")
        number, response = next(_numbers), self.responses.pop(0)
        told: dict[str, Any] = {"id": f"resp{number}", "metadata": wanted.get("metadata"), "usage": None, "output": []}
        last = self.items[-1]["id"] if self.items else None
        await self._send("response.created", response={**told, "status": "in_progress"})
        item: dict[str, Any] = {"id": f"item{number}", "status": "completed"}
        if isinstance(response, dict):
            item |= {"type": "function_call", "call_id": f"call{number}", **response}
        else:
            item |= {"type": "message", "role": "assistant", "content": []}
        await self._send("response.output_item.added", response_id=told["id"], output_index=0, item=item)
        await self._add(item, previous_item_id=last)
        if isinstance(response, str) and not await self._speak(response, {"response_id": told["id"], "item_id": item["id"]}):
            return
        await self._send("response.output_item.done", response_id=told["id"], output_index=0, item=item)
        await self._send("response.done", response={**told, "status": "completed"})

    async def _speak(self, words: str, place: dict[str, Any]) -> bool:
        place |= {"output_index": 0, "content_index": 0}
        await self._send("response.content_part.added", **place, part={"type": "audio", "transcript": ""})
        for number, word in enumerate(words.split(), 1):
            await asyncio.sleep(0.02)
            await self._send("response.output_audio_transcript.delta", **place, delta=f"{word} ")
            await self._send("response.output_audio.delta", **place, delta=base64.b64encode(bytes(960)).decode())
            if number == self.dies:
                await asyncio.sleep(0.05)
                self.die()
                return False
        await self._send("response.output_audio.done", **place)
        return True


@asynccontextmanager
async def two(first: Server, second: Server) -> AsyncGenerator[WrappedModel]:
    runners: list[web.AppRunner] = []
    models: list[llm.RealtimeModel] = []
    for server in (first, second):
        app = web.Application()
        app.router.add_get("/v1/realtime", server.serve)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        port = runners[-1].addresses[0][1]
        models.append(openai.realtime.RealtimeModel(api_key="any", base_url=f"http://127.0.0.1:{port}/v1"))
    model = wrap(models)
    try:
        async with asyncio.timeout(60):
            yield model
    finally:
        await model.aclose()
        for runner in runners:
            await runner.cleanup()


def said(session: AgentSession[None]) -> list[str]:
    return [f"{item.role}: {(item.text_content or '').strip()}" for item in session.history.messages()]


async def test_the_backup_carries_the_reply_on_in_one_message() -> None:
    first, second = Server(["one two three four five six"], dies=3), Server(["four five six"])
    async with two(first, second) as model, AgentSession[None](llm=model) as session:
        await session.start(Agent(instructions="Count."))
        handle = session.generate_reply(user_input="Count to six.")
        await handle
        assert handle.exception() is None
        assert said(session) == ["user: Count to six.", "assistant: one two three four five six"]
        assert 'The caller heard "one two three"' in second.asked[0]
        assert [item["content"][0]["text"] for item in second.items[:1]] == ["Count to six."]


async def test_a_tool_that_ran_while_its_child_died_is_told_as_call_and_output() -> None:
    first = Server([{"name": "charge", "arguments": '{"amount": 5}'}])
    second = Server(["It is charged."])

    @function_tool
    async def charge(amount: int) -> str:
        """Charges the card.

        Args:
            amount: how much.
        """
        first.die()
        await asyncio.sleep(0.3)
        return f"charged {amount}"

    async with two(first, second) as model, AgentSession[None](llm=model) as session:
        await session.start(Agent(instructions="Charge.", tools=[charge]))
        result: Any = await session.run(user_input="Charge me.")
        result.expect.contains_function_call(name="charge", arguments={"amount": 5})
        result.expect.contains_message(role="assistant")
        assert [item["type"] for item in second.items[:3]] == ["message", "function_call", "function_call_output"]
        assert second.items[2]["output"] == "charged 5"
        assert said(session)[-1] == "assistant: It is charged."
