"""google-genai's live session in a plain reconnect loop: after each end it waits a second and connects anew, with nothing.

To correct how it is set up, change this file. It does what the SDK's examples do: a task sends the microphone, one receives.
What the microphone gives while there is no connection is dropped, as a stream that nobody reads drops it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google import genai
from google.genai import types
from google.genai.live import AsyncSession

from benchmarks.contenders.stage import IN_RATE, Stage, perform

__all__ = ["configuration", "converse"]


async def play(stage: Stage) -> None:
    """Holds one call."""
    job = stage.job
    client = genai.Client(api_key="primary", http_options=types.HttpOptions(base_url=job.url))
    config = configuration(stage)
    await stage.go()
    while True:
        try:
            stage.tell("dialling")
            async with client.aio.live.connect(model=job.model, config=config) as session:
                stage.tell("up")
                await converse(stage, session)
        except Exception as error:  # because this is how such loops are written
            stage.tell("noticed", error)
        await asyncio.sleep(1)


def configuration(stage: Stage, **more: Any) -> types.LiveConnectConfig:
    """Returns the session's configuration."""
    tool = stage.job.tool
    declared = [types.FunctionDeclaration(name=tool.name, description=tool.description)] if tool is not None else []
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction="You take reservations.",
        tools=[types.Tool(function_declarations=declared)] if declared else None,
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        **more,
    )


async def converse(stage: Stage, session: AsyncSession, see: Callable[[types.LiveServerMessage], object] = id) -> None:
    """Sends and receives until the connection ends, which raises. Each message is shown to `see`, too."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_speak(stage, session))
        tasks.create_task(_ask(stage, session))
        while True:  # each receive() is one turn of the model's
            async for message in session.receive():
                _take(stage, session, message, tasks)
                see(message)


async def _speak(stage: Stage, session: AsyncSession) -> None:
    async for frame in stage.microphone:
        await session.send_realtime_input(audio=types.Blob(data=frame, mime_type=f"audio/pcm;rate={IN_RATE}"))


async def _ask(stage: Stage, session: AsyncSession) -> None:
    async for text in stage.asks():
        await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text=text)]))


def _take(stage: Stage, session: AsyncSession, message: types.LiveServerMessage, tasks: asyncio.TaskGroup) -> None:
    if message.data is not None:
        stage.loudspeaker.play(message.data)
    if message.server_content is not None and message.server_content.interrupted:
        stage.loudspeaker.interrupt()
    for call in message.tool_call.function_calls or () if message.tool_call is not None else ():
        tasks.create_task(_run(stage, session, call))


async def _run(stage: Stage, session: AsyncSession, call: types.FunctionCall) -> None:
    response = types.FunctionResponse(id=call.id, name=call.name, response={"output": await stage.tool()})
    await session.send_tool_response(function_responses=response)


if __name__ == "__main__":
    perform(play)
