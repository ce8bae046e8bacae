"""One call: an AgentSession with a contender's model, the caller's headset, two simulated services, and faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from livekit.agents import Agent, AgentSession, CloseEvent, ErrorEvent, function_tool

from benchmarks.livekit import measured
from benchmarks.livekit.contenders import Contender
from benchmarks.livekit.headset import Microphone, Speaker
from benchmarks.livekit.measured import Outcome
from benchmarks.livekit.scenarios import Scenario, Strike
from benchmarks.suite.conversations import TOOL_RESULT, Conversation
from benchmarks.suite.model import GREET, CallModel
from unbroken.testing.service import SimulatedService, serve

__all__ = ["Events", "held"]

_GRACE = 10.0  # seconds that an application has to close


class Events(msgspec.Struct, kw_only=True):
    """What the application saw.

    Attributes:
        began: the loop's clock when the call began.
        tool_runs: how often the tool ran.
        errors: errors that the session told, as text.
        closed: seconds since the call began at which the session closed by itself; None: it did not.
        raised: what came out of the session where nothing should; "": nothing.
        lag: the longest time that the event loop was late, in seconds: more than 0.2 makes a measurement doubtful.
    """

    began: float = 0.0
    tool_runs: int = 0
    errors: list[str] = []
    closed: float | None = None
    raised: str = ""
    lag: float = 0.0


class _Host(Agent):
    """The agent: it greets, and has one tool."""

    def __init__(self, conversation: Conversation, events: Events) -> None:
        super().__init__(instructions="You take reservations.")
        self._conversation = conversation
        self._events = events

    @function_tool
    async def reserve_table(self) -> str:
        """Reserves a table for tonight."""
        self._events.tool_runs += 1
        await asyncio.sleep(self._conversation.tool_seconds)
        return TOOL_RESULT


async def held(
    contender: Contender, scenario: Scenario, *, model: str, seed: int = 0, together: asyncio.Barrier | None = None
) -> Outcome:
    """Holds one call, and returns what came of it.

    Args:
        contender: whose realtime model.
        scenario: what happens.
        model: the model's name.
        seed: of the services' dice.
        together: where calls that are held at once wait until all are ready, since making ready takes the processor.
    """
    conversation = scenario.conversation
    microphone, speaker, events = Microphone(conversation.microphone()), Speaker(), Events()
    async with _services(scenario, seed) as (primary, backup):
        try:
            realtime: Any = contender.model(model, primary, backup)
            if together is not None:
                await together.wait()
            await _talk(realtime, scenario, microphone, speaker, events, {"primary": primary, "backup": backup})
        except Exception as error:  # because what a contender raises is a result, not the end of the benchmark
            events.raised = f"{type(error).__name__}: {error}"
        return measured.outcome(contender, scenario, events, speaker.heard(), primary, backup)


@asynccontextmanager
async def _services(scenario: Scenario, seed: int) -> AsyncGenerator[tuple[SimulatedService, SimulatedService]]:
    models = [
        CallModel(scenario.conversation, ahead=scenario.ahead, hears_in_calls=scenario.hears_in_calls, seed=seed + number)
        for number in range(2)
    ]
    async with serve(models[0], seed=seed) as primary, serve(models[1], seed=seed) as backup:
        yield primary, backup


async def _talk(
    model: Any,
    scenario: Scenario,
    microphone: Microphone,
    speaker: Speaker,
    events: Events,
    services: dict[str, SimulatedService],
) -> None:
    """Runs the application from its start to the caller's hanging up."""
    loop = asyncio.get_running_loop()
    for strike in scenario.strikes:
        if not strike.at:
            services[strike.where].inject(strike.fault)
    session: Any = AgentSession(llm=model, aec_warmup_duration=None)
    session.input.audio, session.output.audio = microphone, speaker

    def closed(event: CloseEvent) -> None:
        events.closed = loop.time() - events.began

    events.began = loop.time()
    session.on("close", closed)
    session.on("error", lambda event: events.errors.append(_told(event)))
    await session.start(_Host(scenario.conversation, events))
    events.began = loop.time()
    microphone.begin(events.began)
    watching = asyncio.create_task(_watch_lag(events))
    striking = [
        asyncio.create_task(_strike(services[strike.where], strike, at=events.began + strike.at))
        for strike in scenario.strikes
        if strike.at
    ]
    for turn in scenario.conversation.turns:
        if not turn.seconds:
            await asyncio.sleep(events.began + turn.at - loop.time())
            with suppress(RuntimeError):  # which says that the session is closed already
                session.generate_reply(instructions=GREET)
    await asyncio.sleep(events.began + scenario.conversation.end - loop.time())
    watching.cancel()
    for task in striking:
        await task
    session.off("close", closed)
    try:
        async with asyncio.timeout(_GRACE):
            await session.aclose()
    except TimeoutError:
        events.raised = f"TimeoutError: closing took more than {_GRACE:g} s"


async def _strike(service: SimulatedService, strike: Strike, *, at: float) -> None:
    await asyncio.sleep(at - asyncio.get_running_loop().time())
    service.inject(strike.fault)


def _told(event: ErrorEvent) -> str:
    error: Any = event.error
    return f"{'recoverable' if getattr(error, 'recoverable', False) else 'final'}: {getattr(error, 'error', error)}"[:160]


async def _watch_lag(events: Events) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.05
        await asyncio.sleep(0.05)
        events.lag = max(events.lag, loop.time() - due)
