"""A call without a room: an AgentSession with the plugin, a microphone, a speaker, and the simulated service in memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.genai import types
from livekit import rtc
from livekit.agents import Agent, AgentSession, RunContext, function_tool, llm
from tests.simulator.caller import silence, speech

import unbroken
import unbroken_livekit
from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Behaviour, Call, Say, simulated
from unbroken_livekit.testing import Microphone, Speaker

BRISK = Behaviour(setup_time=(0.0, 0.01), reply_time=(0.03, 0.04), word_time=0.08, ahead=0.2, silence=0.3)


class Host(Agent):
    """Has a tool, and another agent to hand over to."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.asked: list[str] = []

    @function_tool
    async def weather(self, city: str) -> str:
        """Tells the weather.

        Args:
            city: where.
        """
        self.asked.append(city)
        return f"rain in {city}"

    @function_tool
    async def to_the_cashier(self, context: RunContext[None]) -> Agent:
        """Hands the call over to the cashier."""
        return Cashier()


class Cashier(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You take the money.")

    @function_tool
    async def charge(self, amount: int) -> str:
        """Charges the card.

        Args:
            amount: in euros.
        """
        return f"charged {amount}"


class StampedMicrophone(Microphone):
    """Writes each sample's position into it, silence included, so that the service can tell what it has heard."""

    def __init__(self) -> None:
        super().__init__()
        self._position = 0

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await super().__anext__()
        stamped = stamp(bytes(frame.data), position=self._position)
        self._position += len(stamped) // 2
        return rtc.AudioFrame(stamped, frame.sample_rate, 1, len(stamped) // 2)


class Stage:
    """What a test sees of a call."""

    def __init__(self, service: SimulatedService, model: unbroken_livekit.RealtimeModel, agent: Agent) -> None:
        self.service = service
        self.model = model
        self.agent = agent
        self.microphone = StampedMicrophone()
        self.speaker = Speaker()
        self.session: AgentSession[None] = AgentSession(llm=model, aec_warmup_duration=None)
        self.session.input.audio, self.session.output.audio = self.microphone, self.speaker
        self.items: list[llm.ChatItem] = []
        self.errors: list[llm.RealtimeModelError] = []
        self.events: list[unbroken.Event] = []
        self.metrics: list[Any] = []
        self.closed: list[Any] = []
        self.session.on("conversation_item_added", lambda event: self.items.append(event.item))
        self.session.on("error", lambda event: self.errors.append(event.error))
        self.session.on("metrics_collected", lambda event: self.metrics.append(event.metrics))
        self.session.on("close", self.closed.append)

    async def start(self) -> None:
        await self.session.start(self.agent)
        self.watch()

    def watch(self) -> None:
        """Keeps what unbroken says from now on."""
        self.realtime.on("unbroken_event", self.events.append)

    @property
    def realtime(self) -> Any:
        return self.session.current_agent.realtime_llm_session

    @property
    def said(self) -> list[str]:
        """What the agent said, message by message."""
        messages = [item for item in self.items if isinstance(item, llm.ChatMessage) and item.role == "assistant"]
        return [(message.text_content or "").strip() for message in messages]

    def recovered(self) -> list[unbroken.Recovered]:
        return [event for event in self.events if isinstance(event, unbroken.Recovered)]

    async def speak(self, ms: int = 500) -> None:
        """The user speaks, and is silent for as long as a turn's end needs. A session that has closed listens no more."""
        said = asyncio.ensure_future(self.microphone.say(speech(ms) + silence(500)))
        await self.until(lambda: said.done() or self.closed, seconds=30.0)
        said.cancel()

    async def until(self, condition: Callable[[], Any], *, seconds: float = 8.0) -> None:
        for _ in range(round(seconds * 100)):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"it did not come true within {seconds:g} s")


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None]:
    """Holds that no task of the plugin or the runtime outlives the body."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if not task.done() and "unbroken" in task.get_name()]
    assert left == []


@asynccontextmanager
async def call(
    *,
    agent: Agent | None = None,
    route: Sequence[str] = ("gemini-3.8-live",),
    models: Sequence[str] = (),
    replies: Sequence[Say | Call | str] = (),
    faults: Sequence[str] = (),
    behaviour: Behaviour = BRISK,
    seed: int = 0,
    **arguments: Any,
) -> AsyncGenerator[Stage]:
    """Begins a call, and ends it."""
    async with simulated(
        behaviour=behaviour, models=models, replies=replies, faults=faults, seed=seed, memory=True
    ) as service:
        http = types.HttpOptions(base_url=service.base_url)
        model = unbroken_livekit.RealtimeModel(
            route, api_key="any", http_options=http, transport=service.transport, **arguments
        )
        stage = Stage(service, model, agent if agent is not None else Host())
        async with asyncio.timeout(60):
            await stage.start()
            try:
                yield stage
            finally:
                await stage.session.aclose()
