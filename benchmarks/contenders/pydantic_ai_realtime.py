"""pydantic-ai's realtime session: Agent.realtime(GoogleRealtimeModel).session().

To correct how it is set up, change this file. It does what its realtime guide does: `send_audio` from one task, playing of
`stream_audio` at the device's pace with `handle_barge_in`, the events from a third. `default` has no reconnect policy, which
is opt-in, so a lost connection is the session's end. `tuned` has `reconnect` (its defaults, which bring resumption handles),
context compression, a shorter `handshake_timeout`, and pings that find a dead connection in four seconds (its client's
`http_options`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from google.genai import Client
from google.genai.types import HttpOptions
from pydantic_ai import Agent
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.realtime import RealtimeSession, RealtimeSessionErrorEvent, RealtimeSessionReconnectEvent
from pydantic_ai.realtime.google import GoogleRealtimeModel, GoogleRealtimeModelSettings

from benchmarks.contenders.stage import Stage, perform

_AHEAD = 0.04  # seconds that the device buffers, as a sound card's does


async def play(stage: Stage) -> None:
    """Holds one call."""
    agent = Agent(instructions="You take reservations.")
    if stage.job.tool is not None:
        agent.tool_plain(stage.tool, name=stage.job.tool.name, description=stage.job.tool.description)
    model = _model(stage)
    await stage.go()
    stage.tell("dialling")
    async with agent.realtime(model).session(handle_barge_in=True) as session, asyncio.TaskGroup() as tasks:
        stage.tell("up")
        others = [
            tasks.create_task(session.send_audio(stage.microphone)),
            tasks.create_task(_ask(stage, session)),
            tasks.create_task(_listen(stage, session)),
        ]
        async for event in session:
            match event:
                case RealtimeSessionReconnectEvent():
                    stage.tell("up", event.state_restored)
                case RealtimeSessionErrorEvent():
                    stage.tell("error", event.message)
                case _:
                    pass
        for task in others:
            task.cancel()


def _model(stage: Stage) -> GoogleRealtimeModel:
    settings: Any = GoogleRealtimeModelSettings()
    pings = None
    if stage.job.tuned:
        settings = GoogleRealtimeModelSettings(reconnect={}, google_context_compression={}, handshake_timeout=5)
        pings = {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 0.5, "open_timeout": 3}
    client = Client(api_key="primary", http_options=HttpOptions(base_url=stage.job.url, async_client_args=pings))
    return GoogleRealtimeModel(stage.job.model, provider=GoogleProvider(client=client), settings=settings)


async def _ask(stage: Stage, session: RealtimeSession) -> None:
    async for text in stage.asks():
        await session.send(text)


async def _listen(stage: Stage, session: RealtimeSession) -> None:
    async for chunk in session.stream_audio():
        stage.loudspeaker.play(chunk)
        await asyncio.sleep(max(0.0, stage.loudspeaker.waiting - _AHEAD))  # as a device whose buffer is full blocks


if __name__ == "__main__":
    perform(play)
