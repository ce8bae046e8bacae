"""Short calls through the simulated service, while faults from random schedules strike, and what came of them."""

from __future__ import annotations

import math
import random
import re
import wave
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any

import anyio
import msgspec

import unbroken
from unbroken.config import Settings, Spare
from unbroken.events import AudioLost, Event, OutageBegan, Recovered, ReplyBegan, ReplyEnded, ToolCall, UserTranscript
from unbroken.testing.intervals import Intervals, Range
from unbroken.testing.report import LinkReport, Report
from unbroken.testing.service import serve
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import HARSH, Behaviour, Reply, SimulatedGemini
from unbroken_gemini.testing.link import GeminiLink

RATE = 16_000
FRAME = 640
CONFIG: dict[str, Any] = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
    "tools": [{"function_declarations": [{"name": "look_up", "description": "", "parameters": {"type": "OBJECT"}}]}],
}
MODELS = ("gemini-3.8-live", "gemini-3.1-flash-live-preview", "gemini-2.5-flash-native-audio-preview-12-2025")
FRAME_OF_SILENCE = 5 * FRAME
SETTLE = 40.0
"""Seconds of silence in which what is open at the end may end, at most."""

REST = 8.0
"""Seconds for which nobody speaks or waits, after which a call is over: by then a link that died unnoticed is missed."""

SPENT = "1011:You exceeded your current quota, please check your plan and billing details.@setup"
REFUSED = "1007:Invalid session handle@setup"
COSTLY = {SPENT, REFUSED}
"""Each costs a model for the rest of the call, a refused handle where none was given; one model is left."""

ANY_TIME = (
    "1011",
    "1000",
    "1012:Service restart",
    "1008:The operation was aborted.",
    "1011:Deadline expired before operation could complete.",
    "reset",
    "fin",
    "silence",
    "malformed",
    "malformed:frame",
    "goaway:1s",
    "goaway:3s",
    "no-reply",
)
AT_A_STAGE = (
    "1011@reply+0.4s",
    "reset@reply+0.2s",
    "fin@reply+1s",
    "goaway:1s@reply+0.3s",
    "reset@user+0.6s",
    "1011@user+0.3s",
    "fin@user+1.2s",
    "goaway:1s@user+0.4s",
)
AT_THE_BEGIN = (
    "http-503",
    "http-429:1",
    "stall-upgrade",
    "stall-setup",
    "1011@setup",
    REFUSED,
    SPENT,
)
"""Each strikes the link after one that is reset."""

_HEARD = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?) ms")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed comes to.

    Attributes:
        seed: of everything that is left to chance.
        harsh: the service has every known pitfall.
        spare: see `Settings.spare`.
        seconds: how long the caller speaks.
        models: of the route, best first.
        faults: what is let loose, and when, in seconds.
        speech: which of the recordings the caller says.
    """

    seed: int
    harsh: bool
    spare: Spare
    seconds: float
    models: tuple[str, ...]
    faults: tuple[tuple[float, str], ...]
    speech: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to.

    Attributes:
        broken: promises that were broken, one sentence each; empty: all were kept.
        recoveries: how often the call crossed from one link to another.
        said_ms: speech that was said.
        told_ms: of it, what crossed to the last context in words.
        lost_ms: of it, what the session counted as lost; this may err high (docs/continuity.md).
        replayed_ms: audio that was sent again or late.
        uncertain_ms: of it, what may have been heard twice, as the session reported it.
        repeated_ms: what came twice to one context, by the service's count.
        events: what the application saw.
        report: what the service counted.
    """

    broken: tuple[str, ...] = ()
    recoveries: int = 0
    said_ms: float = 0.0
    told_ms: float = 0.0
    lost_ms: float = 0.0
    replayed_ms: float = 0.0
    uncertain_ms: float = 0.0
    repeated_ms: float = 0.0
    events: tuple[Event, ...] = ()
    report: Report = Report()


def schedule_of(seed: int) -> Schedule:
    """Makes a schedule: the same seed makes the same one, and every other one is for the harsh service."""
    dice = random.Random(seed)
    seconds = dice.uniform(12.0, 22.0)
    faults: list[tuple[float, str]] = []
    at, count = dice.uniform(1.0, 4.0), dice.randint(2, 5)
    spent = 0
    for _ in range(count):
        fault = dice.choice((*ANY_TIME, *AT_A_STAGE, *AT_THE_BEGIN))
        if fault in COSTLY:
            spent += 1
            fault = fault if spent < len(MODELS) else "1011"
        faults.append((at, fault))
        if fault in AT_THE_BEGIN:
            faults.append((at, "reset"))
        at += dice.uniform(0.5, 2 * (seconds - 4) / (count + 1))
    models = list(MODELS)
    dice.shuffle(models)
    return Schedule(
        seed=seed,
        harsh=seed % 2 == 1,
        spare=dice.choice(("never", "ready", "auto", "always")),
        seconds=seconds,
        models=tuple(models),
        faults=tuple(faults),
        speech=dice.randrange(_SPEECHES),
    )


_SPEECHES = 4
_LONGEST = 50


@cache
def speech(number: int) -> bytes:
    """Returns the shipped speech from one of a few places on, over and over."""
    with wave.open(str(files("unbroken.drill") / "speech.wav")) as opened:
        pcm = opened.readframes(opened.getnframes()) + bytes(2 * RATE)
    start = len(pcm) // _SPEECHES // 2 * 2 * number
    speech: bytes = (pcm[start:] + pcm * _LONGEST)[: _LONGEST * 2 * RATE]
    return speech


async def call(schedule: Schedule, *, replies: Sequence[Reply] = ()) -> Outcome:
    """Puts a call through its schedule, and looks whether the promises about audio were kept.

    Args:
        schedule: what strikes.
        replies: what the model answers first; a tool that it calls takes three seconds.
    """
    spoken = round(schedule.seconds * 50) * FRAME
    pcm = speech(schedule.speech)[:spoken] + bytes(round(SETTLE * 50) * FRAME)
    behaviour = HARSH if schedule.harsh else Behaviour()
    simulator = SimulatedGemini(models=schedule.models, behaviour=behaviour, replies=replies, seed=schedule.seed)
    simulator.original(pcm)
    events: list[Event] = []
    numbers: dict[int, int] = {}
    async with serve(simulator, memory=True, seed=schedule.seed) as service:
        route = [service.target(model) for model in schedule.models]
        settings = Settings(healthy_after=2.0, audio_max_age=60.0, spare=schedule.spare)
        async with unbroken.Runtime(transport=service.transport, random=random.Random(schedule.seed).random) as runtime:
            session = runtime.open(route, config=CONFIG, settings=settings)
            began = anyio.current_time()

            async def microphone() -> None:
                at = restless = 0
                while at < len(pcm) and at - restless < REST * 2 * RATE:
                    upto = at + (FRAME if at < spoken else FRAME_OF_SILENCE)
                    session.send_audio(stamp(pcm[at:upto], position=at // 2))
                    at = upto
                    await anyio.sleep_until(began + at / 2 / RATE)
                    if at <= spoken or session.state != "listening":
                        restless = at
                await session.aclose()

            async def strike() -> None:
                for at, fault in schedule.faults:
                    await anyio.sleep_until(began + at)
                    service.inject(fault)

            async def answer(asked: ToolCall) -> None:
                await anyio.sleep(3)
                with suppress(unbroken.UnbrokenError):  # the call is over
                    await session.send_tool_result(asked, {"sky": "blue"})

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(microphone)
                tasks.start_soon(strike)
                try:
                    async for event in session:
                        events.append(event)
                        match event:
                            case ToolCall():
                                tasks.start_soon(answer, event)
                            case Recovered():
                                numbers[event.link] = connection_of_the_moment(simulator)
                            case _:
                                pass
                except unbroken.SessionEscalated as given_up:
                    tasks.cancel_scope.cancel()
                    return Outcome(broken=(f"The session was given up: {given_up}",))
            report = service.report(upto=len(pcm) // 2)
            told = {link.number: link.dialogue.context.told for link in simulator.links if link.dialogue is not None}
    return judge(events, report, told=told, numbers=numbers)


def judge(events: list[Event], report: Report, *, told: Mapping[int, Intervals], numbers: Mapping[int, int]) -> Outcome:
    """Compares what the session said with what the service counted.

    Args:
        events: what the application saw.
        report: what the service counted.
        told: by connection, what its context had been told in words.
        numbers: the service's number of each link that came up after an outage, by the session's.
    """
    recovered = [event for event in events if isinstance(event, Recovered)]
    spoken = Intervals(report.speech)
    lost = sum(event.lost_ms for event in events if isinstance(event, Recovered | AudioLost))
    broken: list[str] = []
    if report.lost_speech_ms:
        where = Intervals(report.lost) & spoken
        broken.append(f"Lost {report.lost_speech_ms:.0f} ms ({_shown(where)}), of which the session reported {lost:.0f} ms.")
    uncertain = sum(event.uncertain_ms for event in recovered)
    repeated = [(link.number, part) for link in report.links for part in link.repeated]
    again = sum(end - start for _, (start, end) in repeated) / 16
    if again > uncertain + 20.0 * len(recovered):
        broken.append(f"Repeated {again:.0f} ms, of which the session reported {uncertain:.0f} ms.")
    acknowledged = {numbers[link]: upto for link, upto in _acknowledged(events).items()}
    for number, part in repeated:
        known = Intervals([(0, acknowledged.get(number, 0))])
        if (back := Intervals([part]) & known & spoken).total:
            broken.append(f"Repeated from before the last acknowledged turn's end on link {number}: {_shown(back)}.")
    for link in report.links:
        if late := _out_of_order(link):
            broken.append(f"Out of order on link {link.number}: {late / 16:.0f} ms.")
        twice = Intervals(link.heard) & told.get(link.number, Intervals()) & spoken
        if not link.resumed and twice.total > FRAME // 2:
            broken.append(f"Told in words and said again on link {link.number}: {_shown(twice)}.")
    replies = [[event.reply for event in events if isinstance(event, kind)] for kind in (ReplyBegan, ReplyEnded)]
    if replies[0] != replies[1]:
        broken.append("A reply that began has not ended, or ended twice.")
    return Outcome(
        broken=tuple(broken),
        recoveries=len(recovered),
        said_ms=report.speech_ms,
        told_ms=report.told_speech_ms,
        lost_ms=lost,
        replayed_ms=sum(event.replayed_ms for event in recovered),
        uncertain_ms=uncertain,
        repeated_ms=again,
        events=tuple(events),
        report=report,
    )


def _acknowledged(events: list[Event]) -> dict[int, int]:
    """Returns by link, up to where the user's turns were certainly acknowledged before it.

    A turn whose reply ended, and which another one followed on the same link, was acknowledged before the newest handle.
    """
    known: dict[int, int] = {}
    heard, turns, floor = 0, [0, 0], 0
    for event in events:
        match event:
            case UserTranscript():
                for _, end in _HEARD.findall(event.text):
                    heard = max(heard, round(float(end) * 16))
            case ReplyEnded(how="complete"):
                turns = [turns[1], heard]
            case OutageBegan():
                floor = turns[0]
            case Recovered():
                known[event.link] = floor
                turns = [floor, floor]
            case _:
                pass
    return known


def connection_of_the_moment(simulator: SimulatedGemini) -> int:
    """Returns the service's number of the connection that was set up and ended last, or has not: it carries the session.

    The service counts spares among its connections, so that these numbers are not those of the session's links; of those
    that are set up one was told nothing.
    """
    return max((link for link in simulator.links if link.live), key=_ended).number


def _ended(link: GeminiLink) -> tuple[float, bool, int]:
    return math.inf if link.ended_at is None else link.ended_at, not link.waits, link.number


def _out_of_order(link: LinkReport) -> int:
    late = reached = 0
    for start, end in link.heard:
        late += max(0, min(end, reached) - start)
        reached = max(reached, end)
    return late


def _shown(where: Intervals) -> str:
    parts: list[Range] = list(where)
    return ", ".join(f"{start / RATE:.2f} to {end / RATE:.2f} s" for start, end in parts[:4]) + (" …" if parts[4:] else "")
