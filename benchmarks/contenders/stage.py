"""The stage that every contender plays on: the runner's job, the caller's microphone and loudspeaker, the tool, events.

It needs the standard library only, since each contender has an environment of its own. A contender's file has a coroutine::

    async def play(stage: Stage) -> None:
        client = …                       # imports and clients: nothing is dialled yet
        await stage.go()                 # the call begins; connect at once
        …                                # until the stage cancels it, when the caller hangs up

    if __name__ == "__main__":
        perform(play)

The runner writes the job as the first line of standard input, and ``{"go": t}`` as the second once it has read
``{"what": "ready"}``; t is a time of CLOCK_MONOTONIC and at once the start of the call and position 0 of the caller's audio.
Standard output carries events, one JSON object per line; whatever else a framework prints there goes to standard error.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "IN_RATE",
    "OUT_RATE",
    "Ask",
    "Job",
    "Loudspeaker",
    "Microphone",
    "Play",
    "Stage",
    "Tool",
    "What",
    "perform",
]

IN_RATE = 16_000
"""Samples per second of the caller's voice, s16le mono."""

OUT_RATE = 24_000
"""Samples per second of what the caller hears, s16le mono."""

What = Literal["ready", "tool", "noticed", "dialling", "up", "error", "closed", "raised", "done"]
"""What a contender tells: all is ready; the tool began to run; it knows that its connection is gone; it dials; a connection
is up; something went wrong; the session ended by itself; it raised; the call is over."""

_FRAME = 640  # bytes: 20 ms
_PAUSE = 0.1  # seconds: shorter gaps between what is played are the jitter of the way
_LAG_STEP = 0.02
_CLOSING = 3.0  # seconds that a contender has to close
_Tell = Callable[[Mapping[str, Any]], object]
_MISLEADING = ("http_proxy", "https_proxy", "all_proxy", "google_", "gemini_")  # would lead a client past the service


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The application asks the model for something by a turn of text.

    Attributes:
        at: seconds since the call began.
        text: of the turn.
    """

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Tool:
    """The one function that the model can call; it has no parameters.

    Attributes:
        name: of the function.
        description: of what it does.
        result: what it returns.
        seconds: how long it takes.
    """

    name: str
    description: str
    result: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a contender has to do.

    Attributes:
        url: base URL of the service, "https://127.0.0.1:PORT"; its key is "primary".
        backup: base URL of a second service, whose key is "backup"; "": there is none.
        ca_file: the certificate authority of both.
        model: on the first service.
        backup_model: on the second.
        audio: file with the caller's voice over the whole call.
        end: seconds after which the caller hangs up.
        asks: what the application asks for, in order.
        tool: the function; None: the model has none.
        settings: "default" or "tuned".
        heard: file to write what the caller heard to.
        session_count: how many calls the process holds at once, all of them alike.
        frame: seconds from one of the microphone's frames to the next.
    """

    url: str
    backup: str
    ca_file: str
    model: str
    backup_model: str
    audio: str
    end: float
    asks: Sequence[Ask]
    tool: Tool | None
    settings: str
    heard: str
    session_count: int
    frame: float

    @classmethod
    def read(cls, line: str) -> Job:
        """Reads the job from the runner's first line."""
        told: dict[str, Any] = json.loads(line)
        tool = told.pop("tool", None)
        asks = tuple(Ask(at=ask["at"], text=ask["text"]) for ask in told.pop("asks", ()))
        told = {"backup": "", "backup_model": told["model"], "settings": "default", "session_count": 1, "frame": 0.02} | told
        return cls(**told, asks=asks, tool=None if tool is None else Tool(**tool))

    @property
    def tuned(self) -> bool:
        """The contender's documentation's best settings are wanted."""
        return self.settings == "tuned"


class Microphone:
    """Gives the caller's voice in real time, in frames of 20 ms: frame n is there at ``began + n * 0.02``, without drift.
    Where the runner asks for fewer, as for very many calls, each still has 20 ms, and what lies between is left out.

    As with a device, iterating begins with the frame that is due then. A reader that falls behind gets what it missed at
    once and in order. After the end there is silence, for ever.

    Args:
        pcm: s16le mono PCM at 16 kHz.
        began: when the call began, by the event loop's clock.
        frame: seconds from one frame to the next.
    """

    def __init__(self, pcm: bytes, *, began: float, frame: float = 0.02) -> None:
        self._pcm = pcm
        self._began = began
        self._seconds = frame

    async def __aiter__(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        number = max(0, -int((self._began - clock()) / self._seconds // 1))
        while True:
            if (wait := self._began + number * self._seconds - clock()) > 0:
                await asyncio.sleep(wait)
            at = 2 * round(number * self._seconds * IN_RATE)
            yield self._pcm[at : at + _FRAME].ljust(_FRAME, b"\0")
            number += 1

    async def feed(self, take: Callable[[bytes], object]) -> None:
        """Hands each frame to a function, for ever: for frameworks that want to be called."""
        async for frame in self:
            take(frame)


class Loudspeaker:
    """Plays what it is given at the speed of speech, and keeps what the caller heard of it and when."""

    def __init__(self) -> None:
        self._played: list[tuple[float, bytes]] = []  # when it begins to be heard, and what
        self._free_at = 0.0

    @property
    def waiting(self) -> float:
        """Seconds of audio that are still to be heard."""
        return max(0.0, self._free_at - asyncio.get_running_loop().time())

    def play(self, pcm: bytes) -> None:
        """Plays audio after what it has already. Args: pcm: s16le mono PCM at 24 kHz, of any length."""
        begins = max(asyncio.get_running_loop().time(), self._free_at)
        self._played.append((begins, pcm))
        self._free_at = begins + len(pcm) / 2 / OUT_RATE

    def interrupt(self) -> float:
        """Stops playing at once. Returns the seconds that the caller will not hear."""
        now, unheard = asyncio.get_running_loop().time(), self.waiting
        self._played = [(at, _until(pcm, now - at)) for at, pcm in self._played if at < now]
        self._free_at = min(self._free_at, now)
        return unheard

    def heard(self) -> list[tuple[float, bytes]]:
        """Returns what was heard: stretches without a pause, as when they began (the loop's clock) and PCM at 24 kHz."""
        now = asyncio.get_running_loop().time()
        stretches: list[tuple[float, bytearray]] = []
        for at, pcm in self._played:
            heard = _until(pcm, now - at)
            if stretches and at - (stretches[-1][0] + len(stretches[-1][1]) / 2 / OUT_RATE) < _PAUSE:
                stretches[-1][1].extend(heard)
            elif heard:
                stretches.append((at, bytearray(heard)))
        return [(at, bytes(pcm)) for at, pcm in stretches]


class Stage:
    """One call, for one contender.

    Attributes:
        job: what has to be done.
        number: of the call, where the process holds several at once.
        loudspeaker: the caller's ear.
        microphone: the caller's voice; there once `go` has returned.
        began: when the call began, by the event loop's clock.
    """

    def __init__(self, job: Job, *, number: int, pcm: bytes, curtain: _Curtain, tell: _Tell) -> None:
        self.job = job
        self.number = number
        self.loudspeaker = Loudspeaker()
        self.began = 0.0
        self.microphone = Microphone(pcm, began=0.0)
        self._pcm = pcm
        self._curtain = curtain
        self._tell = tell
        self._asked = 0
        self._hung_up = False

    async def go(self) -> None:
        """Says that all is ready, and returns when the call begins."""
        self.began = await self._curtain.rises()
        self.microphone = Microphone(self._pcm, began=self.began, frame=self.job.frame)
        await asyncio.sleep(self.began - asyncio.get_running_loop().time())

    def tell(self, what: What, said: object = "") -> None:
        """Tells the runner what happens, with the time at which it is told; nothing after the caller has hung up."""
        if self._hung_up:
            return
        self._tell({"at": time.monotonic(), "what": what, "said": _words(said), "session": self.number})

    def hang_up(self) -> None:
        """The call is over: how a contender closes is no matter of the benchmark."""
        self._hung_up = True

    async def tool(self) -> str:
        """Runs the tool, and returns its result."""
        tool = self.job.tool
        assert tool is not None, "this call's model has no tool"
        self.tell("tool", tool.name)
        await asyncio.sleep(tool.seconds)
        return tool.result

    async def asks(self) -> AsyncIterator[str]:
        """Gives what the application asks for, when it does; each once in a call, however often this is iterated."""
        while self._asked < len(self.job.asks):
            ask = self.job.asks[self._asked]
            await asyncio.sleep(self.began + ask.at - asyncio.get_running_loop().time())
            self._asked += 1
            yield ask.text


Play = Callable[[Stage], Awaitable[object]]
"""A contender: it holds one call."""


def perform(play: Play) -> None:
    """Reads the job, plays each of its calls to the end, writes what was heard, and ends the process."""
    tell = _own_output()
    job = Job.read(sys.stdin.readline())
    _prepare_environment(job)
    asyncio.run(_perform(play, job, tell))
    # A framework's threads that do not end would hold the process for ever.
    os._exit(0)


async def _perform(play: Play, job: Job, tell: _Tell) -> None:
    pcm = await asyncio.to_thread(Path(job.audio).read_bytes)
    curtain = _Curtain(job.session_count, lambda: tell({"what": "ready"}), lambda: sys.stdin.readline())
    stages = [Stage(job, number=number, pcm=pcm, curtain=curtain, tell=tell) for number in range(job.session_count)]
    lag = _Lag()
    watching = asyncio.create_task(lag.watch())
    playing = [asyncio.create_task(_play(play, stage, curtain)) for stage in stages]
    began = await curtain.risen()
    lag.worst, cpu = 0.0, time.process_time()
    await asyncio.wait(playing, timeout=began + job.end - asyncio.get_running_loop().time())
    cpu = time.process_time() - cpu
    watching.cancel()
    heard = [(stage.number, stretch) for stage in stages for stretch in stage.loudspeaker.heard()]
    await asyncio.to_thread(_write_heard, Path(job.heard), heard)
    for stage, task in zip(stages, playing, strict=True):
        stage.hang_up()
        task.cancel()
    await asyncio.wait(playing, timeout=_CLOSING)
    tell({"at": time.monotonic(), "what": "done", "lag": lag.worst, "cpu": cpu})


async def _play(play: Play, stage: Stage, curtain: _Curtain) -> None:
    try:
        await play(stage)
        stage.tell("closed")
    except Exception as error:  # because what a contender raises is a result
        curtain.give_up()
        stage.tell("raised", error)
    await asyncio.sleep(stage.loudspeaker.waiting)


class _Curtain:
    """Rises when every call is ready and the runner says so."""

    def __init__(self, count: int, ready: Callable[[], object], order: Callable[[], str]) -> None:
        self._missing = count
        self._ready = ready
        self._order = order
        self._went: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def rises(self) -> float:
        """Says that one more call is ready, and returns when the call is to begin, once that is known."""
        self._missing -= 1
        if not self._missing:
            self._ready()
            self._went.set_result(json.loads(await asyncio.to_thread(self._order))["go"])
        return await self.risen()

    async def risen(self) -> float:
        """Returns when the call is to begin, once that is known."""
        return await asyncio.shield(self._went)

    def give_up(self) -> None:
        """A call failed, perhaps before it was ready: then nothing begins."""
        if not self._went.done():
            self._went.set_result(asyncio.get_running_loop().time())


class _Lag:
    def __init__(self) -> None:
        self.worst = 0.0

    async def watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _LAG_STEP
            await asyncio.sleep(_LAG_STEP)
            self.worst = max(self.worst, clock() - due)


def _words(said: object) -> str:
    while isinstance(said, BaseExceptionGroup):
        said = said.exceptions[0]
    return (f"{type(said).__name__}: {said}" if isinstance(said, BaseException) else str(said))[:300]


def _own_output() -> _Tell:
    """Takes standard output for events, and sends to standard error what anything else prints there."""
    events = os.dup(1)
    os.dup2(2, 1)
    return lambda event: os.write(events, json.dumps(event).encode() + b"\n")


def _prepare_environment(job: Job) -> None:
    """Makes clients trust the service, and leaves no proxy or account of the machine between."""
    for name in list(os.environ):
        if name.lower().startswith(_MISLEADING):
            del os.environ[name]
    os.environ["SSL_CERT_FILE"] = job.ca_file


def _write_heard(path: Path, heard: Sequence[tuple[int, tuple[float, bytes]]]) -> None:
    with path.open("w") as file:
        for number, (at, pcm) in heard:
            file.write(json.dumps({"session": number, "at": at, "pcm": base64.b64encode(pcm).decode()}) + "\n")


def _until(pcm: bytes, seconds: float) -> bytes:
    return pcm[: 2 * max(0, round(seconds * OUT_RATE))]
