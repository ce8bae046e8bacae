"""What a realtime model costs: CPU seconds per session second, without an AgentSession around it, the service elsewhere."""

from __future__ import annotations

import asyncio
import multiprocessing
import ssl
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from benchmarks.livekit.contenders import load
from benchmarks.livekit.conversations import BRIEF
from benchmarks.livekit.headset import Microphone
from benchmarks.livekit.table import NOTHING, Cost
from benchmarks.suite.model import GREET, CallModel
from unbroken.testing.service import serve

__all__ = ["costs_of"]

SESSIONS = 4
"""At once, so that what is measured is not the start of the process."""


def costs_of(names: Sequence[str], *, model: str, rounds: int) -> list[Cost]:
    """Measures contenders in turns, and with them a model that does nothing: the measurement's own cost, which is in each
    figure.

    Args:
        names: of their files.
        model: the model's name.
        rounds: how often each is measured; a first round, which imports and compiles, is not counted.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    service = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    service.start()
    try:
        base_url, ca_file = ours.recv()
        measured: dict[str, list[float]] = {name: [] for name in ("", *names)}
        for _ in range(rounds + 1):
            for name, found in measured.items():
                found.append(asyncio.run(_round(name, model, base_url, ca_file)))
    finally:
        ours.close()
        service.join(10)
    return [
        Cost(
            contender=load(name).NAME if name else NOTHING,
            cpu=statistics.median(found[1:]),
            least=min(found[1:]),
            most=max(found[1:]),
        )
        for name, found in measured.items()
    ]


def _serve(pipe: Connection) -> None:
    """The other process: a service, until the pipe is closed."""

    async def run() -> None:
        simulator = CallModel(BRIEF, ahead=0.2, hears_in_calls=True, seed=0)
        async with serve(simulator) as service:
            pipe.send((service.base_url, service.ca_file))
            await asyncio.to_thread(_closed, pipe)

    asyncio.run(run())


def _closed(pipe: Connection) -> None:
    try:
        pipe.recv()
    except EOFError:
        return


async def _round(name: str, model: str, base_url: str, ca_file: str) -> float:
    """Holds some sessions at once. Returns CPU seconds per session second."""
    place: Any = SimpleNamespace(base_url=base_url, ssl_context=ssl.create_default_context(cafile=ca_file))
    realtime: Any = load(name).model(model, place, place) if name else _Nothing()
    began = time.process_time()
    seconds = await asyncio.gather(*(_session(realtime) for _ in range(SESSIONS)))
    spent = time.process_time() - began
    await realtime.aclose()
    return spent / sum(seconds)


class _Nothing:
    """A realtime model and its session, without any of it."""

    def session(self) -> _Nothing:
        return self

    def on(self, event: str, callback: Any) -> None:
        pass

    def generate_reply(self, *, instructions: str) -> None:
        pass

    def push_audio(self, frame: Any) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def _session(model: Any) -> float:
    """One session through the brief conversation: what an AgentSession would do to it, and nothing else."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    session = model.session()
    taking: list[asyncio.Task[None]] = []
    session.on("generation_created", lambda event: taking.append(asyncio.create_task(_take(session, event))))
    pcm = BRIEF.microphone()
    microphone = Microphone(pcm)
    await asyncio.sleep(BRIEF.turns[0].at)
    session.generate_reply(instructions=GREET)
    microphone.begin(loop.time())
    async for frame in microphone:
        session.push_audio(frame)
        if microphone.position * 2 >= len(pcm):
            break
    await session.aclose()
    await asyncio.gather(*taking)
    return loop.time() - began


async def _take(session: Any, generation: Any) -> None:
    """Takes all of a generation, as a loudspeaker and a transcript would."""
    async for message in generation.message_stream:
        await asyncio.gather(_drain(message.audio_stream), _drain(message.text_stream))
    await _drain(generation.function_stream)


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass
