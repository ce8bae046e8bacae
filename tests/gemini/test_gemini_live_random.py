"""google-genai's live session through faults by chance, in virtual time: every turn ends, nothing else leaves it, no tool is
asked for twice, and what was said is known.

``UNBROKEN_LIVE_CALLS=200 pytest tests/gemini/test_gemini_live_random.py`` plays as many; a few are played otherwise.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
from tests.gemini.test_gemini_live_session import client_of, serving
from tests.session.schedules import ANY_TIME, AT_A_STAGE, AT_THE_BEGIN, COSTLY
from tests.simulator.caller import silence, speech

import unbroken
import unbroken_gemini
from unbroken.testing import virtual
from unbroken.testing.service import SimulatedService
from unbroken_gemini.live import LiveSession

pytestmark = pytest.mark.anyio

CALLS = int(os.environ.get("UNBROKEN_LIVE_CALLS", "5"))
FIRST = int(os.environ.get("UNBROKEN_LIVE_FIRST", "0"))
ROUTE = ("gemini-3.1-flash-live-preview", "gemini-2.5-flash-native-audio-preview-12-2025")
"""Models that always answer: of one that may choose to be silent no missing answer could be told."""
CONFIG: dict[str, Any] = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
    "tools": [{"function_declarations": [{"name": "weather"}]}],
}
SETTINGS = unbroken.Settings(healthy_after=2.0)
LONGEST = 60.0
"""Seconds that a turn may take, all its outages included."""

SPOKEN = speech(600)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual("asyncio")  # google-genai knows no other


def drawn(dice: random.Random) -> list[tuple[float, str]]:
    """Up to four faults, and when each is let loose, in seconds."""
    faults: list[tuple[float, str]] = []
    for _ in range(dice.randint(1, 4)):
        at = dice.uniform(0.0, 12.0)
        fault = dice.choice([one for one in (*ANY_TIME, *AT_A_STAGE, *AT_THE_BEGIN) if one not in COSTLY])
        faults.append((at, fault))
        if fault in AT_THE_BEGIN:
            faults.append((at, "reset"))
    return sorted(faults)


class Caller:
    """Holds one conversation, as an application of google-genai's would.

    Attributes:
        said: each of the user's texts.
        called: the id of each tool call that was shown.
    """

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self.said: list[str] = []
        self.called: list[str | None] = []

    async def microphone(self) -> None:
        """Says something, and goes on listening, as a microphone does."""
        for start in range(0, len(SPOKEN), 640):
            await self._hear(SPOKEN[start : start + 640])
        while True:
            await self._hear(silence(200))

    async def _hear(self, pcm: bytes) -> None:
        await self._session.send_realtime_input(audio={"data": pcm, "mime_type": "audio/pcm;rate=16000"})
        await asyncio.sleep(len(pcm) / 32_000)

    async def turn(self, kind: str) -> None:
        """Says something and takes the turn that answers it."""
        if kind == "speak":
            speaking = asyncio.create_task(self.microphone())
            await self._take()
            speaking.cancel()
            return
        text = "please call weather {}" if kind == "tool" else f"This is text {len(self.said)}."
        self.said.append(text)
        await self._session.send_client_content(turns={"role": "user", "parts": [{"text": text}]})
        await self._take()

    async def _take(self) -> None:
        ended = False
        async for message in self._session.receive():
            assert not ended, "the word that the turn is over is its last"
            for call in message.tool_call.function_calls or [] if message.tool_call else []:
                self.called.append(call.id)
                await asyncio.sleep(0.4)
                await self._session.send_tool_response(
                    function_responses={"id": call.id, "name": call.name, "response": {"sky": "blue"}}
                )
            ended = bool(message.server_content and message.server_content.turn_complete)
        assert ended


async def strike(service: SimulatedService, faults: Sequence[tuple[float, str]]) -> None:
    began = asyncio.get_running_loop().time()
    for at, fault in faults:
        await asyncio.sleep(began + at - asyncio.get_running_loop().time())
        service.inject(fault)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CALLS))
async def test_a_conversation_through_faults_by_chance(seed: int) -> None:
    dice = random.Random(seed)
    faults = drawn(dice)
    print(faults)  # which pytest shows where it fails
    async with serving() as service:
        live = unbroken_gemini.live_connect(
            client_of(service), model=ROUTE, config=CONFIG, transport=service.transport, settings=SETTINGS
        )
        async with live as session:
            striking = asyncio.create_task(strike(service, faults))
            caller = Caller(session)
            for kind in dice.choices(("ask", "speak", "tool"), k=5):
                async with asyncio.timeout(LONGEST):
                    await caller.turn(kind)
                await asyncio.sleep(dice.uniform(0.0, 2.0))
            await striking
        assert len(set(caller.called)) == len(caller.called)
        report = service.report()
        assert report.lost_speech_ms == 0
        simulator: Any = service.simulator
        newest = max(
            (link.dialogue.context for link in simulator.links if link.dialogue), key=lambda context: context.number
        )
        known = " ".join((*newest.history, *newest.texts))
        assert [text for text in caller.said if text not in known] == []
