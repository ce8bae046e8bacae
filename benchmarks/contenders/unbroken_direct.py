"""unbroken by itself: one session over a route of two targets, with the settings it comes with.

To correct how it is set up, change this file. It does what docs/ and the README do.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict

from google.genai import types

import unbroken
import unbroken_gemini
from benchmarks.contenders.stage import OUT_RATE, Stage, perform
from benchmarks.contenders.warm import warm

INSTRUCTIONS = "You take reservations."


async def play(stage: Stage) -> None:
    """Holds one call."""
    warm()
    job = stage.job
    tls = ssl.create_default_context(cafile=job.ca_file)
    route = [unbroken_gemini.target(job.model, api_key="primary", base_url=job.url, ssl=tls)]
    if job.backup:
        other = unbroken_gemini.target(job.backup_model, api_key="backup", base_url=job.backup, ssl=tls, label="backup")
        route.append(other)
    await stage.go()
    stage.tell("dialling")
    async with unbroken.connect(route, config=configuration(stage)) as session, asyncio.TaskGroup() as tasks:
        speaking = [
            tasks.create_task(stage.microphone.feed(session.send_audio)),
            tasks.create_task(_ask(stage, session)),
        ]
        await _Application(stage, session, tasks).listen()
        for task in speaking:
            task.cancel()


def configuration(stage: Stage) -> types.LiveConnectConfig:
    """Returns the session's configuration."""
    tool = stage.job.tool
    declared = [types.FunctionDeclaration(name=tool.name, description=tool.description)] if tool is not None else []
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction=INSTRUCTIONS,
        tools=[types.Tool(function_declarations=declared)] if declared else None,
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
    )


async def _ask(stage: Stage, session: unbroken.Session) -> None:
    async for text in stage.asks():
        await session.ask_reply(text)


class _Application:
    def __init__(self, stage: Stage, session: unbroken.Session, tasks: asyncio.TaskGroup) -> None:
        self._stage = stage
        self._session = session
        self._tasks = tasks
        self._reply = 0
        self._given: defaultdict[int, float] = defaultdict(float)  # seconds of each reply that the loudspeaker was given

    async def listen(self) -> None:
        """Reads the session's events, until it is given up."""
        async for event in self._session:
            match event:
                case unbroken.ReplyBegan(reply=reply):
                    self._reply = reply
                case unbroken.Audio(pcm=pcm):
                    self._given[self._reply] += len(pcm) / 2 / OUT_RATE
                    self._stage.loudspeaker.play(pcm)
                case unbroken.Interrupted():
                    unheard = self._stage.loudspeaker.interrupt()
                    self._session.played(self._reply, ms=1000 * max(0.0, self._given[self._reply] - unheard))
                case unbroken.ToolCall():
                    self._tasks.create_task(self._run(event))
                case unbroken.OutageBegan(because=because):
                    self._stage.tell("noticed", because)
                case unbroken.Connected() | unbroken.Recovered():
                    self._stage.tell("up")
                case unbroken.Escalated(because=because):
                    self._stage.tell("error", because)
                case _:
                    pass

    async def _run(self, call: unbroken.ToolCall) -> None:
        await self._session.send_tool_result(call, {"output": await self._stage.tool()})


if __name__ == "__main__":
    perform(play)
