"""The drill's own course, with a session that is played: in virtual time, without any service."""

import io
import math
from collections import deque
from typing import Any

import anyio
import pytest
from rich.console import Console

from unbroken.decisions import Closure, Ending, Fault, Retry
from unbroken.drill.audio import read_speech
from unbroken.drill.report import Struck
from unbroken.drill.run import Drill, Strike
from unbroken.drill.show import Show
from unbroken.errors import SessionEscalated
from unbroken.events import Connected, Escalated, Event, OutageBegan, Recovered, ReplyBegan, ReplyEnded, Steps

pytestmark = pytest.mark.anyio

TARGET = "gemini/gemini-3.8-live"


class Played:
    """A session that yields what the test puts into it."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, int]] = []
        self.events: deque[Event | Exception] = deque()
        self._came = anyio.Event()

    def put(self, *events: Event | Exception) -> None:
        self.events.extend(events)
        self._came.set()

    def send_audio(self, pcm: bytes) -> None:
        self.sent.append((anyio.current_time(), len(pcm)))

    def __aiter__(self) -> "Played":
        return self

    async def __anext__(self) -> Event:
        while not self.events:
            self._came = anyio.Event()
            await self._came.wait()
        event = self.events.popleft()
        if isinstance(event, Exception):
            raise event
        return event


class Stage:
    """Answers each strike with an outage of half a second."""

    def __init__(self, session: Played, *, answers: bool = True) -> None:
        self.session = session
        self.answers = answers
        self.faults: list[tuple[str, str]] = []

    def strike(self, strike: Strike, struck: Struck, *, drill: Drill) -> None:
        self.faults.append((strike.fault, drill.tally.target))
        link = drill.tally.link
        drill.struck(struck, link=link)
        began = OutageBegan(
            link=link,
            target=TARGET,
            closure=Closure(ending=Ending(cause="reset")),
            fault=Fault(kind="network", rule="test"),
            decision=Retry(),
            because="The path broke.",
        )
        self.session.put(began)
        if self.answers:
            self.session.put(Recovered(link=link + 1, target=TARGET, carry="handle", steps=Steps(setup_ms=500)))


def a_drill(session: Played, stage: Stage, *, strikes: list[float], seconds: float, console: Console | None = None) -> Drill:
    schedule = [Strike(fault="reset", at=at) for at in strikes]
    struck = [Struck(fault="reset", due=at) for at in strikes]
    console = console if console is not None else Console(file=io.StringIO(), width=120)
    played: Any = session
    return Drill(
        played,
        stage=stage,
        schedule=schedule,
        pcm=read_speech().for_seconds(seconds) + bytes(20 * 32_000),
        seconds=seconds,
        show=Show(console, strikes=struck, seconds=seconds),
        strikes=struck,
    )


async def test_every_frame_goes_out_when_it_would_have_been_recorded() -> None:
    session = Played()
    session.put(Connected(link=1, target=TARGET, steps=Steps()))
    began = anyio.current_time()
    drill = a_drill(session, Stage(session), strikes=[3.0, 7.0], seconds=10.0)
    await drill.run()
    times = [at - began for at, _ in session.sent]
    assert times == pytest.approx([0.02 * number for number in range(1, len(times) + 1)])
    assert {size for _, size in session.sent} == {640}
    assert drill.said == 320 * len(times)
    assert times[-1] == pytest.approx(12.5, abs=0.1), "two and a half quiet seconds end it"
    assert [strike.at for strike in drill.strikes] == pytest.approx([3.0, 7.0], abs=0.03)
    assert [outage.ended is not None for outage in drill.tally.outages] == [True, True]


async def test_nothing_strikes_before_the_first_link_is_live() -> None:
    session = Played()
    stage = Stage(session)
    drill = a_drill(session, stage, strikes=[1.0], seconds=6.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drill.run)
        await anyio.sleep(4.0)
        assert stage.faults == []
        session.put(Connected(link=1, target=TARGET, steps=Steps()))
    assert stage.faults == [("reset", TARGET)]
    assert drill.strikes[0].at == pytest.approx(4.0, abs=0.05)


async def test_it_waits_for_what_is_open_but_not_for_ever() -> None:
    session = Played()
    session.put(Connected(link=1, target=TARGET, steps=Steps()), ReplyBegan(reply=1, link=1))
    drill = a_drill(session, Stage(session), strikes=[], seconds=4.0)
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drill.run)
        await anyio.sleep(12.0)
        session.put(ReplyEnded(reply=1, how="complete", received_ms=100, heard_ms=100))
    assert anyio.current_time() - began == pytest.approx(14.5, abs=0.1)

    session = Played()
    session.put(Connected(link=1, target=TARGET, steps=Steps()))
    drill = a_drill(session, Stage(session, answers=False), strikes=[2.0], seconds=4.0)
    began = anyio.current_time()
    await drill.run()
    assert anyio.current_time() - began == pytest.approx(24.0, abs=0.1)
    assert drill.tally.outage is not None


async def test_a_session_that_was_given_up_ends_it() -> None:
    session = Played()
    story = Escalated(because="No target is left.")
    session.put(Connected(link=1, target=TARGET, steps=Steps()), story, SessionEscalated(story))
    drill = a_drill(session, Stage(session), strikes=[5.0], seconds=30.0)
    began = anyio.current_time()
    await drill.run()
    assert anyio.current_time() - began < 0.1
    assert drill.tally.escalated is story


async def test_a_panel_is_drawn_on_a_terminal() -> None:
    written = io.StringIO()
    console = Console(file=written, width=120, force_terminal=True, color_system="truecolor")
    session = Played()
    session.put(Connected(link=1, target=TARGET, steps=Steps()))
    drill = a_drill(session, Stage(session), strikes=[1.0, 3.0], seconds=4.0, console=console)
    with drill.show.running():
        await drill.run()
    text = written.getvalue()
    assert "unbroken drill" in text
    assert "00:03 / 00:04" in text
    assert "next reset in" in text
    assert "█" in text


async def test_who_speaks_is_known() -> None:
    drill = a_drill(Played(), Stage(Played()), strikes=[], seconds=10.0)
    assert math.isclose(drill.now, 0.0, abs_tol=0.01)
    assert not drill.user_speaks
    await anyio.sleep(1.0)
    assert drill.user_speaks
