"""Wrapped sessions through random schedules, in virtual time: what must hold, holds in every one of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIStatusError, llm
from tests.livekit.scripted_models import ScriptedModel, ScriptedSession, frame

from unbroken.testing import virtual
from unbroken_livekit.wrapping import wrap
from unbroken_livekit.wrapping.session import WrappedSession

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of LiveKit's own dependencies

ERRORS = (APIConnectionError("close 1011"), APIStatusError("busy", status_code=503), ConnectionResetError("reset"))


@pytest.fixture
def anyio_backend() -> Any:
    return virtual("asyncio")  # LiveKit knows no other


class Agent:
    """What LiveKit's agent does with a session: it takes every reply to its end, runs tools, and gives their results."""

    def __init__(self, session: WrappedSession) -> None:
        self.session = session
        self.replies = 0
        self.ended = 0
        self.ran: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.errors: list[bool] = []
        session.on("error", lambda event: self.errors.append(event.recoverable))
        session.on("generation_created", lambda event: None if event.user_initiated else self.take(event))

    def take(self, event: llm.GenerationCreatedEvent) -> None:
        self.replies += 1
        self.start(self.play(event))

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def ask(self) -> None:
        with contextlib.suppress(llm.RealtimeError):
            self.take(await self.session.generate_reply(instructions="now"))

    async def play(self, event: llm.GenerationCreatedEvent) -> None:
        async for message in event.message_stream:
            async for _ in message.text_stream:
                pass
            async for _ in message.audio_stream:
                pass
            assert await message.modalities
        calls = [call async for call in event.function_stream]
        self.ended += 1
        for call in calls:
            self.ran.append(f"{call.name} {call.arguments}")
            await asyncio.sleep(1.0)
            context = self.session.chat_ctx
            context.items.append(llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="ok", is_error=False))
            await self.session.update_chat_ctx(context)


def live(models: tuple[ScriptedModel, ScriptedModel]) -> ScriptedSession | None:
    return next((one for model in models for one in model.sessions if not one.closed), None)


def serve(child: ScriptedSession, dice: random.Random, number: int) -> None:
    """The model does something: it begins to speak, speaks on, calls a tool, or ends what it says."""
    current = child.generations[-1] if child.generations else None
    speaking = current is not None and not current.text.closed
    asked = any(not future.done() for _, future in child.asked)
    match dice.randrange(4):
        case 0 | 1 if not speaking:
            child.speak("word ", initiated=asked)
        case 2 if speaking and current is not None:
            name = f"f{number}"
            current.functions.send_nowait(llm.FunctionCall(call_id=f"{current.name}-{number}", name=name, arguments="{}"))
            current.end()
        case 3 if speaking and current is not None:
            current.end()
        case _ if speaking and current is not None:
            current.say("word ")
        case _:
            pass


async def step(agent: Agent, models: tuple[ScriptedModel, ScriptedModel], dice: random.Random, number: int) -> None:
    child = live(models)
    match dice.randrange(12):
        case 0 if child is not None:
            child.fail(dice.choice(ERRORS))
        case 1:
            agent.start(agent.ask())
        case 2:
            agent.session.interrupt()
        case 3:
            await agent.session.update_instructions(f"{number}")
        case 4:
            dice.choice(models).fails = dice.choice([None, None, APIConnectionError("down")])
        case 5 | 6:
            for loud in [True] * 15 + [False] * 45:
                agent.session.push_audio(frame(loud=loud))
        case _ if child is not None:
            serve(child, dice, number)
        case _:
            pass
    await asyncio.sleep(dice.choice((0.0, 0.01, 0.2, 1.0, 3.0)))


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_no_turn_hangs_no_tool_runs_twice_and_no_task_is_left(seed: int) -> None:
    dice = random.Random(seed)
    before = asyncio.all_tasks()
    models = ScriptedModel("a"), ScriptedModel("b")
    agent = Agent(wrap(models).session())
    for number in range(80):
        await step(agent, models, dice, number)
    for model in models:
        model.fails = None
    given_up = False in agent.errors
    await agent.session.aclose()
    await asyncio.sleep(2.0)
    assert agent.tasks == set()
    assert agent.ended == agent.replies
    assert len(agent.ran) == len(set(agent.ran))
    assert agent.errors.count(False) == int(given_up)
    assert all(child.closed for model in models for child in model.sessions)
    assert asyncio.all_tasks() == before
