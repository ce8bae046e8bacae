"""google-adk's Runner.run_live with one agent.

To correct how it is set up, change this file. It does what ADK's streaming guide does: a `LiveRequestQueue` upstream, the
events of `run_live` downstream. `default` has no session resumption, as `RunConfig` has none; without a handle it does not
reconnect. `tuned` has what the guide names for production: `session_resumption` and `context_window_compression`, and pings
that find a dead connection in four seconds (its client's `http_options`).
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import google.adk.flows.llm_flows.auto_flow
import google.adk.live._live_llm_flow
import google.adk.workflow._function_node
import google.adk.workflow._tool_node  # noqa: F401 - run_live loads these when it begins: here, before the call does
from google.adk.agents import Agent, LiveRequestQueue
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models import Gemini
from google.adk.runners import InMemoryRunner
from google.adk.tools import FunctionTool
from google.genai import Client, types

from benchmarks.contenders.stage import IN_RATE, Stage, perform

_APP, _USER = "reservations", "caller"


async def play(stage: Stage) -> None:
    """Holds one call."""
    runner = InMemoryRunner(agent=_agent(stage), app_name=_APP)
    session = await runner.session_service.create_session(app_name=_APP, user_id=_USER)
    queue = LiveRequestQueue()
    await stage.go()
    stage.tell("dialling")
    sending = [
        asyncio.create_task(stage.microphone.feed(lambda pcm: queue.send_realtime(_audio(pcm)))),
        asyncio.create_task(_ask(stage, queue)),
    ]
    live = runner.run_live(user_id=_USER, session_id=session.id, live_request_queue=queue, run_config=_configuration(stage))
    try:
        async with aclosing(live) as events:
            async for event in events:
                _take(stage, event)
    finally:
        for task in sending:
            task.cancel()


def _agent(stage: Stage) -> Agent:
    pings = {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 0.5, "open_timeout": 3}
    options = types.HttpOptions(
        base_url=stage.job.url, api_version="v1alpha", async_client_args=pings if stage.job.tuned else None
    )
    model = Gemini(model=stage.job.model, client=Client(api_key="primary", http_options=options))
    tools = [FunctionTool(_tool(stage))] if stage.job.tool is not None else []
    return Agent(name=_APP, model=model, instruction="You take reservations.", tools=tools)


def _tool(stage: Stage) -> Any:
    async def run() -> dict[str, str]:
        return {"output": await stage.tool()}

    tool = stage.job.tool
    assert tool is not None
    run.__name__, run.__doc__ = tool.name, tool.description
    return run


def _configuration(stage: Stage) -> RunConfig:
    more: dict[str, Any] = {}
    if stage.job.tuned:
        more["session_resumption"] = types.SessionResumptionConfig()
        more["context_window_compression"] = types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow())
    return RunConfig(
        streaming_mode=StreamingMode.BIDI,
        response_modalities=[types.Modality.AUDIO],
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        **more,
    )


def _audio(pcm: bytes) -> types.Blob:
    return types.Blob(data=pcm, mime_type=f"audio/pcm;rate={IN_RATE}")


async def _ask(stage: Stage, queue: LiveRequestQueue) -> None:
    async for text in stage.asks():
        queue.send_content(types.Content(role="user", parts=[types.Part(text=text)]))


def _take(stage: Stage, event: Any) -> None:
    for part in event.content.parts or () if event.content is not None else ():
        if part.inline_data is not None and part.inline_data.data:
            stage.loudspeaker.play(part.inline_data.data)
    if event.interrupted:
        stage.loudspeaker.interrupt()
    if event.error_code:
        stage.tell("error", event.error_message)


if __name__ == "__main__":
    perform(play)
