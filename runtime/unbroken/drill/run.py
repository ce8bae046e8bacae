"""One drill: a caller who speaks, a schedule that strikes, and a listener who keeps the books."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from unbroken.drill import calls
from unbroken.drill.audio import RATE, SAMPLE_BYTES
from unbroken.drill.report import Struck
from unbroken.drill.show import Show
from unbroken.drill.tally import Tally
from unbroken.errors import SessionEscalated
from unbroken.events import ToolCall

if TYPE_CHECKING:
    from unbroken.session import Session

__all__ = ["FRAME_MS", "Drill", "Stage", "Strike", "speaks_at"]

FRAME_MS = 20
"""Of the caller's audio, in a piece."""

_TICK = 0.1
_LOUD = 500
"""Above this amplitude of 32767 the caller is taken to speak."""

_HANGOVER_MS = 300
"""Gaps in speech up to this length are part of it."""


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a schedule.

    Attributes:
        fault: what strikes, as the stage reads it.
        at: seconds into the drill at which it is due.
        name: what people call it; "": as `fault` spells it.
        asks: what the caller writes then; "": nothing.
        hush: from when until when, in seconds from `at`, the caller begins to say nothing; None: the caller says the usual.
    """

    fault: str
    at: float
    name: str = ""
    asks: str = ""
    hush: tuple[float, float] | None = None


class Stage(Protocol):
    """Where a drill plays: it makes faults happen."""

    def strike(self, strike: Strike, struck: Struck, *, drill: Drill) -> None:
        """Lets a fault loose, to strike at once or at the moment that it names.

        Args:
            strike: what is to strike.
            struck: told, by `Drill.struck`, when it has.
            drill: how things stand.
        """
        ...


class Drill:
    """Runs one session through a schedule.

    Once `run` has returned, `tally` and `strikes` hold what happened, and `said` the number of samples that were sent.

    Args:
        session: the session, just opened.
        stage: what makes faults happen.
        schedule: in the order in which they are due.
        pcm: what the caller says, s16le at 16 kHz, and then the silence in which all that was open may end.
        seconds: how long the caller speaks.
        show: who is told.
        strikes: the schedule's entries for the books; they learn when they struck.
    """

    def __init__(
        self,
        session: Session,
        *,
        stage: Stage,
        schedule: Sequence[Strike],
        pcm: bytes,
        seconds: float,
        show: Show,
        strikes: Sequence[Struck],
    ) -> None:
        self.tally = Tally()
        self.strikes = strikes
        self.said = 0
        self._session = session
        self._stage = stage
        self._schedule = schedule
        self._pcm = pcm
        self._seconds = seconds
        self.show = show
        self._speaks = speaks_at(pcm)
        self._began = anyio.current_time()
        self._ended = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._questions = 0

    @property
    def now(self) -> float:
        """Seconds since the drill began."""
        return anyio.current_time() - self._began

    @property
    def user_speaks(self) -> bool:
        """The caller is saying something at this moment."""
        frame = int(self.now * 1000 / FRAME_MS)
        return frame < len(self._speaks) and self._speaks[frame]

    async def run(self) -> None:
        """Runs the drill to its end: the schedule is through, the caller has finished, and what was open has ended."""
        self._began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._listen)
            tasks.start_soon(self._draw)
            await self._speak()
            tasks.cancel_scope.cancel()

    async def _speak(self) -> None:
        """Sends the caller's audio, each frame when it would have been recorded, until all is said and settled."""
        size = RATE * FRAME_MS // 1000 * SAMPLE_BYTES
        restless = 0.0
        for number, start in enumerate(range(0, len(self._pcm), size), 1):
            await anyio.sleep_until(self._began + number * FRAME_MS / 1000)
            now = self.now
            self._strike_due(now)
            if now < self._seconds or not self._at_rest():
                restless = now
            if self._ended.is_set() or now - restless > _QUIET_FOR:
                return
            frame = self._pcm[start : start + size]
            self._session.send_audio(frame)
            self.said += len(frame) // SAMPLE_BYTES

    def _at_rest(self) -> bool:
        struck = all(strike.at is not None for strike in self.strikes)
        return struck and self.tally.state == "live" and not self.tally.replies.open

    def struck(self, struck: Struck, *, link: int, before_setup: bool = False) -> None:
        """Is told that a strike has struck.

        Args:
            struck: which.
            link: the link that it struck; 0: the service as a whole.
            before_setup: see `Struck.before_setup`.
        """
        struck.at, struck.link, struck.before_setup = self.now, link, before_setup
        self.show.struck(struck)

    def have_called(self, struck: Struck) -> None:
        """Has the caller write what makes the model call the tool, now and again until the strike has struck."""
        assert self._tasks is not None
        self._tasks.start_soon(self._have_called, struck)

    async def _have_called(self, struck: Struck) -> None:
        while struck.at is None:
            self._questions += 1
            await self._session.send_text(calls.question(self._questions))
            await anyio.sleep(_ASK_AGAIN)

    async def _answer(self, call: ToolCall) -> None:
        await anyio.sleep(calls.TAKES)
        answer = self.tally.calls.answer(call)
        if answer is not None:
            await self._session.send_tool_result(call, answer)

    def _strike_due(self, now: float) -> None:
        for strike, struck in zip(self._schedule, self.strikes, strict=True):
            if struck.armed is None and strike.at <= now and self.tally.state != "connecting":
                struck.armed = now
                self._stage.strike(strike, struck, drill=self)
                if strike.asks and self._tasks is not None:
                    self._tasks.start_soon(self._session.send_text, strike.asks)

    async def _listen(self) -> None:
        assert self._tasks is not None
        try:
            async for event in self._session:
                now = self.now
                self.tally.take(event, at=now)
                self.show.event(event, at=now)
                if isinstance(event, ToolCall):
                    self._tasks.start_soon(self._answer, event)
        except SessionEscalated:
            self._ended.set()

    async def _draw(self) -> None:
        while True:
            self.show.tick(self.tally, at=self.now, user_speaks=self.user_speaks)
            await anyio.sleep(_TICK)


_ASK_AGAIN = 4.0
"""Seconds after which the model is asked for a call again: whoever speaks meanwhile interrupts it."""

_QUIET_FOR = 2.5
"""Seconds without an outage and without a reply after which a drill has settled; a reply to the last turn begins sooner."""


def speaks_at(pcm: bytes) -> list[bool]:
    """Tells for each 20 ms frame of s16le audio at 16 kHz whether somebody speaks, gaps between words included."""
    samples = array.array("h", pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES])
    size = RATE * FRAME_MS // 1000
    loud = [max(map(abs, samples[start : start + size]), default=0) > _LOUD for start in range(0, len(samples), size)]
    hangover, left = _HANGOVER_MS // FRAME_MS, 0
    speaks: list[bool] = []
    for is_loud in loud:
        left = hangover if is_loud else max(0, left - 1)
        speaks.append(left > 0)
    return speaks
