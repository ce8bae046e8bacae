"""Ten minutes of speech through the simulated service, with fifty faults, in virtual time: nothing said is lost.

With pitfalls or spares it is five minutes with 25 faults, and on trio two with ten, of every kind: its part of the virtual
time takes longer, and how long a session lives has nothing to do with the backend. ``UNBROKEN_LONG_TESTS=1`` plays all ten
minutes everywhere.
"""

from __future__ import annotations

import os
import random
import wave
from importlib.resources import files
from typing import Any

import anyio
import pytest
from tests.session.schedules import connection_of_the_moment

import unbroken
from unbroken.config import Spare
from unbroken.events import Event, Recovered, ReplyBegan, ReplyEnded
from unbroken.testing.service import serve
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import HARSH, Behaviour, SimulatedGemini

pytestmark = pytest.mark.anyio

LONG = bool(os.environ.get("UNBROKEN_LONG_TESTS"))
CONFIG: dict[str, Any] = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
}
KINDS = ["1011", "reset", "fin", "1011", "1012", "goaway:3s", "malformed", "1001", "reset", "http-503"]


def said(minutes: int) -> bytes:
    with wave.open(str(files("unbroken.drill") / "speech.wav")) as speech:
        pcm = speech.readframes(speech.getnframes())
    return stamp((pcm * (1 + minutes * 60 * 32_000 // len(pcm)))[: minutes * 60 * 32_000])


def schedule(seed: int, *, minutes: int) -> list[str]:
    """Five faults a minute; a refusal of the upgrade strikes the link after the one that ends a second before."""
    dice = random.Random(seed)
    faults: list[str] = []
    for number in range(5 * minutes):
        at, kind = 5.0 + 11.6 * number + dice.uniform(0, 3), KINDS[number % len(KINDS)]
        faults.append(f"{kind}@{at:.2f}s")
        if kind.startswith("http"):
            faults.append(f"reset@{at + 1:.2f}s")
    return faults


@pytest.mark.parametrize(
    ("harsh", "spare"), [(False, "auto"), (True, "auto"), (False, "never")], ids=["plain", "harsh", "plain without spares"]
)
async def test_ten_minutes_with_fifty_faults(harsh: bool, spare: Spare, anyio_backend_name: str) -> None:
    usual = anyio_backend_name == "asyncio"
    minutes = 10 if LONG or (usual and not harsh and spare == "auto") else 5 if usual else 2
    pcm = said(minutes)
    events: list[Event] = []
    numbers: dict[int, int] = {}
    service_of = SimulatedGemini(behaviour=HARSH if harsh else Behaviour(), seed=3)
    async with serve(service_of, faults=schedule(3, minutes=minutes), memory=True, seed=3) as service:
        service.original(pcm)
        route = [service.target("gemini-3.8-live"), service.target("gemini-3.1-flash-live-preview")]
        async with unbroken.Runtime(transport=service.transport, random=random.Random(3).random) as runtime:
            session = runtime.open(route, config=CONFIG, settings=unbroken.Settings(spare=spare))

            async def microphone() -> None:
                began = anyio.current_time()
                for number, at in enumerate(range(0, len(pcm), 640)):
                    session.send_audio(pcm[at : at + 640])
                    await anyio.sleep_until(began + 0.02 * (number + 1))
                await anyio.sleep(20)
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(microphone)
                async for event in session:
                    events.append(event)
                    if isinstance(event, Recovered):
                        numbers[event.link] = connection_of_the_moment(service_of)
        report = service.report()
    recovered = [event for event in events if isinstance(event, Recovered)]
    assert len(recovered) >= 4.5 * minutes
    assert any(event.spare for event in recovered) == (spare == "auto")
    assert report.lost_speech_ms == 0
    assert sum(event.lost_ms for event in recovered) == 0, "the client says the same"
    assert report.told_speech_ms > 0 or not any(event.carry == "history" for event in recovered)
    began = [event.reply for event in events if isinstance(event, ReplyBegan)]
    ended = [event.reply for event in events if isinstance(event, ReplyEnded)]
    assert began == ended, "every reply that began has ended, once"
    links = {link.number: link for link in report.links}
    for event in recovered:
        heard = links[numbers[event.link]].heard
        assert not heard or heard[0][0] >= event.known_position, "what is known to be heard is not sent again"
