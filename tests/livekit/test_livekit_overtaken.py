"""A reply that was asked for, and a caller who speaks first: no service, no socket, the session's events one by one."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

from livekit.agents import llm

import unbroken
import unbroken_livekit
from unbroken.abc import Socket, Transport

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


class Nowhere(Transport):
    """Dials for ever."""

    async def open(self, *_: Any, **__: Any) -> Socket:
        await anyio.sleep_forever()
        raise AssertionError


@pytest.fixture
async def session() -> AsyncGenerator[Any]:
    model = unbroken_livekit.RealtimeModel("gemini-3.8-live", api_key="any", transport=Nowhere())
    session = model.session()
    yield session
    await session.aclose()


@pytest.mark.parametrize("spoken", [unbroken.UserActivity(speaking=True), unbroken.UserTranscript(text="Are you open?")])
async def test_the_callers_words_interrupt_what_was_asked_for_and_their_answer_is_not_dropped_with_it(
    session: Any, spoken: unbroken.Event
) -> None:
    generations: list[llm.GenerationCreatedEvent] = []
    session.on("generation_created", generations.append)
    session.on("input_speech_started", lambda _: session.interrupt())  # as AgentSession does, within the event
    asked: asyncio.Future[Any] = session.generate_reply(instructions="greet the caller")
    session._take(spoken)
    session._take(unbroken.ReplyBegan(reply=2, link=1))
    session._take(unbroken.Audio(pcm=bytes(4800), rate=24_000))  # in the same turn of the event loop
    assert [generation.user_initiated for generation in generations] == [False]
    assert not asked.done(), "or AgentSession would take it for the speech that it interrupts, and drop it"
    asked.cancel()
    await asyncio.sleep(0)
    session._take(unbroken.Audio(pcm=bytes(4800), rate=24_000))
    session._take(unbroken.ReplyEnded(reply=2, how="complete", received_ms=200.0, heard_ms=0.0))
    [message] = [message async for message in generations[0].message_stream]
    assert sum([frame.duration async for frame in message.audio_stream]) == pytest.approx(0.2)
