"""Programs in the shape in which Google publishes them for the Live API (ai.google.dev/gemini-api/docs/live), in our words.

Each takes ``connect`` for its one line that differs: ``client.aio.live.connect``, or ``unbroken_gemini.live_connect`` with
the client. The microphone is a recording that is read the way pyaudio's stream is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from google.genai import types

MODEL = "gemini-3.8-live"
CONFIG = {"response_modalities": ["AUDIO"], "input_audio_transcription": {}, "output_audio_transcription": {}}
TOOLS = [{"function_declarations": [{"name": "turn_on_the_lights"}, {"name": "turn_off_the_lights"}]}]

CHUNK = 1024
RATE = 16_000

Connect = Callable[..., AbstractAsyncContextManager[Any]]


class Goodbye(Exception):
    """The person at the microphone has hung up."""


class Microphone:
    """Says a recording's pieces, one per turn, and is silent between them; twice as fast as people do."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.said = b""
        self._pieces: Iterator[bytes] = iter(pieces)
        self._left = next(self._pieces)
        self._over = threading.Event()

    def answered(self) -> None:
        """The person has heard an answer, and says the next thing or hangs up."""
        piece = next(self._pieces, None)
        if piece is None:
            self._over.set()
        else:
            self._left = piece

    def read(self, frames: int) -> bytes:
        """Like pyaudio's stream: waits for so many frames."""
        time.sleep(frames / RATE / 2)
        if self._over.is_set():
            raise Goodbye
        piece, self._left = self._left[: 2 * frames], self._left[2 * frames :]
        piece = piece.ljust(2 * frames, b"\0")
        self.said += piece
        return piece


class VoiceLoop:
    """Microphone to speaker: four tasks and two queues."""

    def __init__(self, connect: Connect, microphone: Microphone, *, stamped: Callable[..., bytes]) -> None:
        self.connect = connect
        self.microphone = microphone
        self.stamped = stamped
        self.heard: list[str] = []
        self.spoken = 0
        self.audio_queue_output: asyncio.Queue[bytes] = asyncio.Queue()
        self.audio_queue_mic: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=5)

    async def listen_audio(self) -> None:
        position = 0
        while True:
            data = await asyncio.to_thread(self.microphone.read, CHUNK)
            data, position = self.stamped(data, position=position), position + len(data) // 2
            await self.audio_queue_mic.put({"data": data, "mime_type": "audio/pcm"})

    async def send_realtime(self, session: Any) -> None:
        while True:
            msg = await self.audio_queue_mic.get()
            await session.send_realtime_input(audio=msg)

    async def receive_audio(self, session: Any) -> None:
        while True:
            words = ""
            turn = session.receive()
            async for response in turn:
                if response.server_content and response.server_content.model_turn:
                    for part in response.server_content.model_turn.parts:
                        if part.inline_data and isinstance(part.inline_data.data, bytes):
                            self.audio_queue_output.put_nowait(part.inline_data.data)
                if response.server_content and response.server_content.output_transcription:
                    words += response.server_content.output_transcription.text or ""
            # empty the queue, so that an interruption is heard at once
            while not self.audio_queue_output.empty():
                self.spoken += len(self.audio_queue_output.get_nowait())
            self.heard.append(" ".join(words.split()))
            self.microphone.answered()

    async def play_audio(self) -> None:
        while True:
            data = await self.audio_queue_output.get()  # on a line of its own: what is emptied meanwhile counts too
            self.spoken += len(data)

    async def run(self) -> None:
        try:
            async with self.connect(model=MODEL, config=CONFIG) as live_session, asyncio.TaskGroup() as tg:
                tg.create_task(self.send_realtime(live_session))
                tg.create_task(self.listen_audio())
                tg.create_task(self.receive_audio(live_session))
                tg.create_task(self.play_audio())
        except* Goodbye:
            pass


async def chat(connect: Connect, lines: Sequence[str]) -> list[str]:
    """Text in, the transcript of speech out, turn by turn."""
    answers: list[str] = []
    async with connect(model=MODEL, config=CONFIG) as session:
        for message in lines:
            await session.send_client_content(turns={"role": "user", "parts": [{"text": message}]}, turn_complete=True)
            answer = ""
            async for response in session.receive():
                if response.server_content and response.server_content.output_transcription:
                    answer += response.server_content.output_transcription.text or ""
            answers.append(" ".join(answer.split()))
    return answers


async def lights(connect: Connect, *, work: float = 0.0) -> list[str]:
    """Function calling: the model's calls are answered from within the turn."""
    seen: list[str] = []
    async with connect(model=MODEL, config={**CONFIG, "tools": TOOLS}) as session:
        prompt = "call turn_on_the_lights please"
        await session.send_client_content(turns={"parts": [{"text": prompt}]})
        said = ""
        async for chunk in session.receive():
            if chunk.server_content:
                if chunk.server_content.output_transcription:
                    said += chunk.server_content.output_transcription.text or ""
            elif chunk.tool_call:
                function_responses = []
                for fc in chunk.tool_call.function_calls:
                    seen.append(fc.name)
                    await asyncio.sleep(work)
                    function_responses.append(types.FunctionResponse(id=fc.id, name=fc.name, response={"result": "ok"}))
                await session.send_tool_response(function_responses=function_responses)
        seen.append(" ".join(said.split()))
    return seen
