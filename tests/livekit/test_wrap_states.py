"""A wrapped session closed in every state, and what it passes on: names, metrics, events of one plugin, spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, llm
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.telemetry import tracer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_tracer_provider
from tests.livekit.scripted_models import ScriptedModel, frame

from unbroken.policies import DefaultPolicy, FailOver, Finish, override
from unbroken.testing import virtual
from unbroken_livekit.wrapping import WrappedModel, wrap
from unbroken_livekit.wrapping.session import WrappedSession

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of LiveKit's own dependencies

ELSEWHERE = override(DefaultPolicy(), unknown=FailOver(target=1, because="Elsewhere."))
GONE = ValueError("gone")


@pytest.fixture
def anyio_backend() -> Any:
    return virtual("asyncio")  # LiveKit knows no other


def pair(**options: Any) -> tuple[WrappedModel, ScriptedModel, ScriptedModel]:
    first, second = ScriptedModel("a", supports_say=True), ScriptedModel("b", supports_say=True)
    return wrap([first, second], policy=ELSEWHERE, **options), first, second


State = Callable[[WrappedSession, ScriptedModel, ScriptedModel], Awaitable[Any]]


async def at_once(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    session.push_audio(frame())


async def up(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    await asyncio.sleep(1.0)


async def pending(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> asyncio.Future[Any]:
    await asyncio.sleep(1.0)
    return session.generate_reply()


async def speaking(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    await asyncio.sleep(1.0)
    first.last.speak("one two")
    await asyncio.sleep(0.1)


async def cut(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    await speaking(session, first, second)
    first.last.fail(GONE)
    await asyncio.sleep(0.05)


async def holding(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    await speaking(session, first, second)
    first.fails = second.fails = APIConnectionError("down")
    first.last.fail(GONE)
    await asyncio.sleep(10.0)


async def given_up(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    await holding(session, first, second)
    await asyncio.sleep(120.0)


async def a_child_that_fails_to_close(session: WrappedSession, first: ScriptedModel, second: ScriptedModel) -> None:
    await up(session, first, second)
    first.last.close_raises = APIConnectionError("what it died of")


STATES: list[State] = [at_once, up, pending, speaking, cut, holding, given_up, a_child_that_fails_to_close]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_closing_never_raises_ends_all_streams_and_leaves_no_task(state: State) -> None:
    before = asyncio.all_tasks()
    model, first, second = pair()
    session = model.session()
    generations: list[llm.GenerationCreatedEvent] = []
    session.on("generation_created", generations.append)
    asked = await state(session, first, second)
    await session.aclose()
    for generation in generations:
        async for message in generation.message_stream:
            assert "".join([piece async for piece in message.text_stream]) == "one two"
            assert await message.modalities == ["audio", "text"]
    if asked is not None:
        with pytest.raises(llm.RealtimeError, match="the session was closed"):
            await asked
    await session.aclose()
    await model.aclose()
    assert (first.closed, second.closed) == (1, 1)
    assert all(one.closed for one in first.sessions + second.sessions)
    assert asyncio.all_tasks() - before == set()


async def test_every_call_is_taken_in_every_state() -> None:
    model, first, _ = pair()
    session = model.session()

    async def all_calls() -> None:
        session.push_audio(frame())
        session.push_video(rtc.VideoFrame(2, 2, rtc.VideoBufferType.RGBA, bytes(16)))
        session.start_user_activity()
        session.commit_audio()
        session.clear_audio()
        session.interrupt()
        session.truncate(message_id="none", modalities=["audio"], audio_end_ms=5)
        session.update_options(tool_choice="auto")
        await session.update_instructions("x")
        await session.update_tools([])
        await session.update_chat_ctx(llm.ChatContext.empty())
        assert session.chat_ctx.items == []

    await all_calls()
    await asyncio.sleep(0.5)
    await all_calls()
    first.last.fail(GONE)
    await all_calls()
    await asyncio.sleep(1.0)
    await session.aclose()
    await all_calls()


async def test_a_session_that_is_over_by_decision_closes() -> None:
    first = ScriptedModel("a")
    session = wrap([first], policy=override(DefaultPolicy(), unknown=Finish(because="It is over."))).session()
    errors: list[llm.RealtimeModelError] = []
    session.on("error", errors.append)
    await asyncio.sleep(0.1)
    first.last.fail(GONE)
    await asyncio.sleep(1.0)
    assert [error.recoverable for error in errors] == [True, False]
    await session.aclose()


async def test_model_and_provider_name_the_active_one_and_metrics_pass_unchanged() -> None:
    model, first, second = pair()
    session = model.session()
    seen: list[RealtimeModelMetrics] = []
    session.on("metrics_collected", seen.append)
    await asyncio.sleep(0.5)
    assert (model.model, model.provider, model.metrics_metadata["model_name"]) == ("a", "scripted", "a")
    first.last.fail(GONE)
    await asyncio.sleep(1.0)
    assert (model.model, model.metrics_metadata["model_name"]) == ("b", "b")
    metrics = seen[-1].model_copy(update={"request_id": "r1", "input_tokens": 7, "acquire_time": 0.0})
    second.last.emit("metrics_collected", metrics)
    assert seen[-1] is metrics
    await session.aclose()


async def test_an_event_that_one_plugin_has_is_passed_on_from_every_child() -> None:
    model, first, second = pair()
    session = model.session()
    seen: list[Any] = []
    await asyncio.sleep(0.1)
    session.on("openai_server_event_received", seen.append)
    first.last.emit("openai_server_event_received", 1)
    first.last.fail(GONE)
    await asyncio.sleep(1.0)
    second.last.emit("openai_server_event_received", 2)
    first.last.emit("openai_server_event_received", 3)  # it is over
    assert seen == [1, 2]
    await session.aclose()


async def test_a_listener_that_fails_is_nobody_elses_trouble() -> None:
    model, first, _ = pair()
    session = model.session()

    def fails(event: Any) -> None:
        raise TypeError("a bug of the application")

    session.on("input_speech_started", fails)
    await asyncio.sleep(0.1)
    first.last.emit("input_speech_started", llm.InputSpeechStartedEvent())
    await asyncio.sleep(1.0)
    assert len(first.sessions) == 1
    await session.aclose()


async def pieces() -> AsyncIterator[str]:
    for piece in ("Good ", "morning"):
        yield piece


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_text_to_say_is_said_by_the_next_child_from_its_beginning(streamed: bool) -> None:
    model, first, second = pair()
    session = model.session()
    await asyncio.sleep(0.1)
    said = session.say(pieces() if streamed else "Good morning")
    text = first.last.asked[0][0]["say"]
    if streamed:
        assert await anext(text) == "Good "
    first.last.fail(GONE)
    await asyncio.sleep(1.0)
    text = second.last.asked[0][0]["say"]
    assert ("".join([piece async for piece in text]) if streamed else text) == "Good morning"
    second.last.speak("Good morning", initiated=True).end()
    assert (await said).user_initiated
    await session.aclose()


async def test_say_is_refused_where_not_all_can() -> None:
    session = wrap([ScriptedModel("a", supports_say=True), ScriptedModel("b")]).session()
    with pytest.raises(NotImplementedError, match="not all of the wrapped models"):
        session.say("Hello")
    await session.aclose()


async def test_an_outage_is_a_span_with_livekits_own_attributes() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer.set_provider(provider)
    try:
        model, first, _ = pair()
        session = model.session()
        await asyncio.sleep(0.1)
        first.last.fail(GONE)
        await asyncio.sleep(1.0)
        await session.aclose()
    finally:
        tracer.set_provider(get_tracer_provider())
    [span] = exporter.get_finished_spans()
    assert span.name == "realtime_fallback"
    told = {name: value for name, value in (span.attributes or {}).items() if name.startswith("lk.fallback")}
    assert told == {"lk.fallback.label": "scripted/b", "lk.fallback.index": 1, "lk.fallback.recovery": True}
    assert (span.attributes or {})["lk.retry_count"] == 1
