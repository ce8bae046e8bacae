"""Updates, images and told turns on the simulated service: it is set up as asked, and has all of the user's audio once."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from importlib.resources import files

import anyio
import pytest

import unbroken
from unbroken.events import Event, Recovered, ReplyBegan, ReplyEnded, Turn
from unbroken.testing.faults import Latency
from unbroken.testing.service import SimulatedService, serve
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import simulated, simulator

pytestmark = pytest.mark.anyio


def config(instructions: str) -> dict[str, object]:
    return {"system_instruction": instructions, "input_audio_transcription": {}, "output_audio_transcription": {}}


def said(seconds: int) -> bytes:
    with wave.open(str(files("unbroken.drill") / "speech.wav")) as speech:
        pcm = speech.readframes(speech.getnframes())
    return stamp((pcm * (1 + seconds * 32_000 // len(pcm)))[: seconds * 32_000])


LINKS_ARE_CONNECTIONS = unbroken.Settings(spare="never")
"""The service counts spares among its connections: without any, its numbers are those of the session's links."""


async def speak(session: unbroken.Session, pcm: bytes) -> None:
    """Is the microphone; closes the session when the model has had time to answer."""
    began = anyio.current_time()
    for number, at in enumerate(range(0, len(pcm), 640)):
        session.send_audio(pcm[at : at + 640])
        await anyio.sleep_until(began + 0.02 * (number + 1))
    await anyio.sleep(15)
    await session.aclose()


def instructions(service: SimulatedService) -> list[str]:
    """Returns what the links that were accepted were told to be, in order."""
    setups = [link.setup for link in service.simulator.links if link.live]  # type: ignore[attr-defined]
    return [setup.system_instruction.parts[0].text for setup in setups]


def check(service: SimulatedService, events: Sequence[Event]) -> None:
    """Nothing is lost by either side's count, what is known is not sent again, and every reply has one end."""
    report = service.report()
    assert report.lost_speech_ms == 0
    recovered = [event for event in events if isinstance(event, Recovered)]
    assert sum(event.lost_ms for event in recovered) == 0
    links = {link.number: link for link in report.links}
    for event in recovered:
        heard = links[event.link].heard
        assert not heard or heard[0][0] >= event.known_position
    began = [event.reply for event in events if isinstance(event, ReplyBegan)]
    assert began == [event.reply for event in events if isinstance(event, ReplyEnded)]


@pytest.mark.parametrize("harsh", [False, True], ids=["plain", "harsh"])
async def test_updates_in_the_midst_of_a_call(harsh: bool) -> None:
    pcm = said(30)
    events: list[Event] = []
    async with serve(simulator(harsh=harsh, seed=5), memory=True, seed=5) as service:
        service.original(pcm)
        async with unbroken.Runtime(transport=service.transport, random=lambda: 0.5) as runtime:
            session = runtime.open(
                service.target("gemini-3.8-live"), config=config("agent 0"), settings=LINKS_ARE_CONNECTIONS
            )

            async def change() -> None:
                for number in range(1, 5):
                    await anyio.sleep(6.3)
                    await session.update(config(f"not agent {number}"), within=6)
                    await session.update(config(f"agent {number}"), within=6)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(speak, session, pcm)
                tasks.start_soon(change)
                events = [event async for event in session]
        assert instructions(service) == [f"agent {number}" for number in range(5)]
        check(service, events)
    recovered = [event for event in events if isinstance(event, Recovered)]
    assert [event.planned for event in recovered] == [True] * 4
    assert {event.carry for event in recovered} == {"handle"}


@pytest.mark.parametrize(
    ("after", "model"),
    [
        *((after / 100, "gemini-3.8-live") for after in range(0, 60, 5)),
        *((after / 100, "gemini-live-2.5-flash-native-audio") for after in (10, 25, 45)),
    ],
)
async def test_a_cut_at_every_phase_of_an_update(after: float, model: str) -> None:
    pcm = said(8)
    events: list[Event] = []
    async with serve(simulator(seed=7), memory=True, seed=7) as service:
        service.original(pcm)
        service.latency = Latency(seconds=0.05)
        vertex = {"vertexai": True, "location": "us-central1"} if model.startswith("gemini-live-2.5") else {}
        async with unbroken.Runtime(transport=service.transport, random=lambda: 0.1) as runtime:
            session = runtime.open(service.target(model, **vertex), config=config("one"), settings=LINKS_ARE_CONNECTIONS)

            async def change() -> None:
                await anyio.sleep(3)
                await session.update(config("two"), within=0)
                await anyio.sleep(after)
                session.cut()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(speak, session, pcm)
                tasks.start_soon(change)
                events = [event async for event in session]
        links = instructions(service)
        assert links[0] == "one"
        assert set(links[1:]) == {"two"}
        check(service, events)


async def test_images_arrive_and_told_turns_come_before_the_next_input() -> None:
    async with simulated(memory=True, seed=1) as service:
        async with unbroken.Runtime(transport=service.transport) as runtime:
            session = runtime.open(service.target("gemini-3.8-live"), config=config("one"))
            for _ in range(5):
                session.send_image(b"\xff\xd8 an image")
                await anyio.sleep(1)
            await session.tell([Turn(role="user", text="I am Ada."), Turn(role="model", text="Hello, Ada.")])
            await session.send_text("Who am I?")
            async for event in session:
                if isinstance(event, ReplyEnded):
                    break
        [link] = service.simulator.links  # type: ignore[attr-defined]
        assert link.dialogue.context.texts == [
            'I am Ada.\nYou said before: "Hello, Ada." (For your information; this needs no answer.)',
            "Who am I?",
        ]
        assert service.report().links[0].images == 5
        assert len(link.dialogue.context.said) == 1, "what was told was not answered"


@pytest.mark.parametrize("model", ["gemini-3.8-live", "gemini-live-2.5-flash-native-audio"])
async def test_a_session_begins_with_a_history_and_keeps_it(model: str) -> None:
    history = [Turn(role="user", text="I am Ada."), Turn(role="model", text="Hello, Ada.")]
    vertex = {"vertexai": True, "location": "us-central1"} if model.startswith("gemini-live-2.5") else {}
    async with simulated(memory=True, seed=1) as service:
        async with unbroken.Runtime(transport=service.transport) as runtime:
            session = runtime.open(service.target(model, **vertex), config=config("one"), history=history)
            await session.send_text("Who am I?")
            async for event in session:
                match event:
                    case ReplyEnded(reply=1):
                        session.cut()
                    case Recovered():
                        break
        first, second = service.simulator.links  # type: ignore[attr-defined]
        assert first.dialogue.context.history == ["I am Ada.", "Hello, Ada."]
        assert second.dialogue.context.history[:3] == ["I am Ada.", "Hello, Ada.", "Who am I?"]
        assert second.setup.session_resumption.handle is None, "a context that began with history is told it again"
