"""Google's published examples run unchanged but for one line, on real sockets, and survive what ends its own session."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from tests.gemini.live_examples import Connect, Microphone, VoiceLoop, chat, lights

import unbroken_gemini
from unbroken.drill.audio import read_speech
from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Behaviour, simulated

pytestmark = [pytest.mark.anyio, pytest.mark.sockets]

SLOWLY = 0.07
"""Seconds per word where a fault has to strike in a reply."""

REPLY = "It opens at nine in the morning."
"""The answer to everything: a turn that is asked for again is the simulated model's next one."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # google-genai knows no other


@asynccontextmanager
async def service_with(
    contender: str, *, faults: Sequence[str] = (), word_time: float = 0.02
) -> AsyncGenerator[tuple[SimulatedService, Connect]]:
    """A service, and the one line by which a contender connects to it. Nothing may run on after the body."""
    ways = Behaviour(setup_time=(0.0, 0.01), reply_time=(0.02, 0.03), word_time=word_time, ahead=0.02)
    async with simulated(behaviour=ways, replies=[REPLY] * 9, faults=faults) as service:
        arguments: dict[str, Any] = {"ssl": service.ssl_context, "proxy": None}
        unused = {"verify": service.ssl_context}  # else the client builds contexts for HTTP, which take longer than a test
        options = types.HttpOptions(
            base_url=service.base_url, api_version="v1beta", async_client_args=arguments | unused, client_args=unused
        )
        client = genai.Client(api_key="any", http_options=options)
        ours = functools.partial(unbroken_gemini.live_connect, client)
        async with asyncio.timeout(60):
            yield service, client.aio.live.connect if contender == "google-genai" else ours
    assert [task for task in asyncio.all_tasks() if "unbroken" in task.get_name()] == []


both = pytest.mark.parametrize("contender", ["google-genai", "unbroken"])


# -- text -----------------------------------------------------------------------------------------------------------------

LINES = ("Good morning!", "When does it open?", "Thanks, bye.")


@both
async def test_the_chat_is_fair(contender: str) -> None:
    async with service_with(contender) as (_, connect):
        assert await chat(connect, LINES) == [REPLY] * 3


@pytest.mark.parametrize("fault", ["1011@reply+0.1s", "reset@reply+0.1s"])
async def test_the_chat_ends_with_google_genais_session(fault: str) -> None:
    async with service_with("google-genai", faults=[fault], word_time=SLOWLY) as (_, connect):
        with pytest.raises(errors.APIError):
            await chat(connect, LINES)


@pytest.mark.parametrize("fault", ["1011@reply+0.1s", "fin@reply+0.1s"])
async def test_the_chat_goes_on_in_the_same_turn_where_a_reply_was_cut(fault: str) -> None:
    async with service_with("unbroken", faults=[fault], word_time=SLOWLY) as (service, connect):
        answers = await chat(connect, LINES)
        assert len(service.report().links) == 2
        assert service.report().texts[1].startswith('(The line was cut while you were speaking. The caller heard "It opens')
    assert answers[1:] == [REPLY] * 2
    heard = answers[0].removesuffix(REPLY)  # what the simulated model goes on with is its whole answer
    assert heard != answers[0]
    assert heard
    assert REPLY.startswith(heard)


@pytest.mark.parametrize("fault", ["goaway:30s@live", "reset@#2", "http-503@upgrade", "1011@#3"])
async def test_the_chat_has_every_turn_whole(fault: str) -> None:
    async with service_with("unbroken", faults=[fault]) as (service, connect):
        assert await chat(connect, LINES) == [REPLY] * 3
        assert len(service.connections) > 1


# -- a microphone -----------------------------------------------------------------------------------------------------------


SPOKEN = 2 * len(REPLY.split()) * 2 * 24_000 // 50
"""Bytes of two replies, in words of 20 ms."""


async def talk(service: SimulatedService, connect: Connect) -> VoiceLoop:
    recording = read_speech().pcm
    loop = VoiceLoop(connect, Microphone([recording[8_960:28_160], recording[184_320:204_800]]), stamped=stamp)
    await asyncio.create_task(loop.run())  # as asyncio.run would: 3.11's TaskGroup leaves its task marked as being cancelled
    return loop


async def test_the_voice_loop_is_fair() -> None:
    async with service_with("google-genai") as (service, connect):
        loop = await talk(service, connect)
        assert loop.heard == [REPLY] * 2
        assert loop.spoken == SPOKEN


@pytest.mark.parametrize("fault", ["1011@user", "goaway:1s@user", "reset@user+0.1s"])
async def test_the_voice_loop_loses_neither_a_word_nor_a_turn(fault: str) -> None:
    async with service_with("unbroken", faults=[fault]) as (service, connect):
        loop = await talk(service, connect)
        report = service.report()
        assert loop.heard == [REPLY] * 2
        assert loop.spoken == SPOKEN
        assert report.links[0].faults
        assert report.lost_speech_ms == 0


async def test_the_voice_loop_ends_with_google_genais_session() -> None:
    async with service_with("google-genai", faults=["1011@user"]) as (service, connect):
        with pytest.raises(ExceptionGroup):
            await talk(service, connect)


# -- tools ------------------------------------------------------------------------------------------------------------------

LIT = ["turn_on_the_lights", "It is done."]


@both
async def test_the_tools_are_fair(contender: str) -> None:
    async with service_with(contender) as (_, connect):
        assert await lights(connect, work=0.1) == LIT


@pytest.mark.parametrize("fault", ["reset@tool+0.05s", "1011@tool+0.05s", "goaway:0.2s@tool"])
async def test_the_tool_runs_once_and_its_answer_arrives(fault: str) -> None:
    async with service_with("unbroken", faults=[fault]) as (service, connect):
        assert await lights(connect, work=1.5) == LIT
        assert len(service.report().links) == 2
        assert [(call.link, call.answers) for call in service.report().calls] == [(1, 0), (2, 1)]


async def test_the_tools_end_with_google_genais_session() -> None:
    async with service_with("google-genai", faults=["reset@tool+0.05s"]) as (_, connect):
        with pytest.raises(Exception, match=r"1006|no close frame"):
            await lights(connect, work=1.5)
