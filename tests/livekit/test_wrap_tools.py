"""What a wrapped session's children know: tool calls and their results, the conversation, instructions and tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit.agents import function_tool, llm
from tests.livekit.scripted_models import Generation, ScriptedModel, ScriptedSession, frame

from unbroken.policies import DefaultPolicy, FailOver, Retry, override
from unbroken.testing import virtual
from unbroken_livekit.wrapping import wrap
from unbroken_livekit.wrapping.session import WrappedSession

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of LiveKit's own dependencies

ELSEWHERE = override(DefaultPolicy(), unknown=FailOver(target=1, because="Elsewhere."))


@pytest.fixture
def anyio_backend() -> Any:
    return virtual("asyncio")  # LiveKit knows no other


@function_tool
async def charge(amount: int) -> str:
    """Charges the card."""
    return f"charged {amount}"


@asynccontextmanager
async def calling(**caps: Any) -> AsyncGenerator[tuple[WrappedSession, ScriptedModel, ScriptedModel]]:
    first, second = ScriptedModel("a", **caps), ScriptedModel("b", **caps)
    session = wrap([first, second], policy=ELSEWHERE).session()
    await session.update_instructions("Be kind.")
    await session.update_tools([charge])
    try:
        await asyncio.sleep(0.05)
        yield session, first, second
    finally:
        await session.aclose()


async def call_of(session: WrappedSession, child: ScriptedSession, call_id: str = "fc-1") -> list[llm.FunctionCall]:
    """The child calls a tool. Returns what the application is given to run."""
    events: list[llm.GenerationCreatedEvent] = []
    session.once("generation_created", events.append)
    generation = Generation("calling")
    generation.functions.send_nowait(llm.FunctionCall(call_id=call_id, name="charge", arguments='{"amount": 5}'))
    child.emit(
        "generation_created",
        llm.GenerationCreatedEvent(
            message_stream=generation.messages,
            function_stream=generation.functions,
            user_initiated=False,
            response_id="calling",
        ),
    )
    generation.end()
    return [call async for call in events[0].function_stream]


async def result_of(session: WrappedSession, call: llm.FunctionCall) -> None:
    """The application gives a result, as LiveKit's agent does."""
    context = session.chat_ctx
    context.items.append(llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="charged 5", is_error=False))
    await session.update_chat_ctx(context)


def kinds(context: llm.ChatContext) -> list[str]:
    return [item.type if item.type != "message" else f"{item.role}: {item.text_content}" for item in context.items]


TOLD = 'user: (The tool charge has already run with {"amount": 5} and returned: charged 5)'


async def fail_over(first: ScriptedModel, second: ScriptedModel) -> ScriptedSession:
    first.last.fail(ValueError("gone"))
    await asyncio.sleep(1.0)
    return second.last


async def test_a_result_goes_to_the_child_that_asked_for_it() -> None:
    async with calling() as (session, first, _):
        [call] = await call_of(session, first.last)
        await result_of(session, call)
        [output] = [item for item in first.last.context.items if item.type == "function_call_output"]
        assert (output.call_id, output.output) == ("fc-1", "charged 5")
        assert first.last.asked == []


@pytest.mark.parametrize(("takes_calls", "known"), [(True, ["function_call", "function_call_output"]), (False, [TOLD])])
@pytest.mark.parametrize("when", ["before", "between", "after"])
async def test_another_child_is_told_that_a_tool_ran_and_gets_no_response_that_it_did_not_ask_for(
    when: str, takes_calls: bool, known: list[str]
) -> None:
    async with calling(manual_function_calls=takes_calls) as (session, first, second):
        [call] = await call_of(session, first.last)
        if when == "before":
            await result_of(session, call)
        first.last.fail(ValueError("gone"))
        if when == "between":
            await result_of(session, call)
        await asyncio.sleep(1.0)
        if when == "after":
            assert kinds(second.last.context) == []
            await result_of(session, call)
        assert kinds(second.last.context) == known
        asked = [options for options, _ in second.last.asked]
        assert asked == [{}]  # LiveKit expects a reply that this child would not give by itself


async def test_a_reply_to_a_result_is_announced_as_the_models_own() -> None:
    async with calling() as (session, first, second):
        [call] = await call_of(session, first.last)
        child = await fail_over(first, second)
        events: list[llm.GenerationCreatedEvent] = []
        session.on("generation_created", events.append)
        await result_of(session, call)
        child.speak("It is charged.", initiated=True).end()
        await asyncio.sleep(0.1)
        assert [event.user_initiated for event in events] == [False]


async def test_a_child_that_does_not_reply_by_itself_is_not_asked_for_what_livekit_asks_for() -> None:
    async with calling(auto_tool_reply_generation=False) as (session, first, second):
        [call] = await call_of(session, first.last)
        child = await fail_over(first, second)
        await result_of(session, call)
        assert child.asked == []


async def test_a_call_that_is_issued_again_is_answered_without_being_run() -> None:
    async with calling() as (session, first, second):
        [call] = await call_of(session, first.last)
        await result_of(session, call)
        child = await fail_over(first, second)
        assert await call_of(session, child, "fc-9") == []
        await asyncio.sleep(0.1)
        outputs = [item for item in child.context.items if item.type == "function_call_output"]
        assert [(output.call_id, output.output) for output in outputs] == [("fc-9", "charged 5")]


async def test_a_running_tools_result_answers_the_call_that_was_issued_again() -> None:
    async with calling() as (session, first, second):
        [call] = await call_of(session, first.last)
        child = await fail_over(first, second)
        assert await call_of(session, child, "fc-9") == []
        await result_of(session, call)
        outputs = [item for item in child.context.items if item.type == "function_call_output"]
        assert [(output.call_id, output.output) for output in outputs] == [("fc-9", "charged 5")]
        assert child.asked == []


async def test_a_call_of_a_later_exchange_is_run() -> None:
    async with calling() as (session, first, second):
        [call] = await call_of(session, first.last)
        await result_of(session, call)
        first.last.speak("It is charged.").end()
        await asyncio.sleep(1.0)
        child = await fail_over(first, second)
        assert [again.call_id for again in await call_of(session, child, "fc-9")] == ["fc-9"]


async def test_a_reply_that_was_owed_to_a_result_is_asked_of_the_next_child() -> None:
    async with calling() as (session, first, second):
        [call] = await call_of(session, first.last)
        await result_of(session, call)
        child = await fail_over(first, second)
        assert kinds(child.context) == [TOLD]
        assert [options for options, _ in child.asked] == [{}]


async def test_no_deadline_runs_while_a_tool_does() -> None:
    async with calling() as (session, first, second):
        [call] = await call_of(session, first.last)
        for loud in [True] * 30 + [False] * 45:
            session.push_audio(frame(loud=loud))
        await asyncio.sleep(60.0)
        assert second.sessions == []
        await result_of(session, call)
        await asyncio.sleep(20.0)
        assert len(first.sessions) + len(second.sessions) == 2


async def test_a_new_child_knows_the_conversation_the_instructions_the_tools_and_the_options() -> None:
    async with calling() as (session, first, second):
        session.update_options(tool_choice="none")
        context = session.chat_ctx
        context.add_message(role="user", content="Hello")
        await session.update_chat_ctx(context)
        first.last.emit(
            "input_audio_transcription_completed",
            llm.InputTranscriptionCompleted(item_id="i1", transcript="Who are you?", is_final=True),
        )
        first.last.speak("I am here").end()
        await asyncio.sleep(1.0)
        child = await fail_over(first, second)
        assert child.instructions == "Be kind."
        assert [tool.info.name for tool in child.tool_list if isinstance(tool, llm.FunctionTool)] == ["charge"]
        assert child.options == [{"tool_choice": "none"}]
        assert kinds(child.context) == ["user: Hello", "user: Who are you?", "assistant: I am here"]
        assert kinds(session.chat_ctx) == kinds(child.context)


async def test_updates_reach_the_child_as_changes_to_what_it_knows() -> None:
    async with calling() as (session, first, _):
        first.last.context.add_message(role="assistant", content="its own", id="own")
        context = session.chat_ctx
        context.add_message(role="user", content="one", id="one")
        await session.update_chat_ctx(context)
        assert kinds(first.last.context) == ["assistant: its own", "user: one"]
        context = session.chat_ctx
        context.remove("one")
        await session.update_chat_ctx(context)
        assert kinds(first.last.context) == ["assistant: its own"]
        assert kinds(session.chat_ctx) == []
        await session.update_chat_ctx(session.chat_ctx)
        assert len(first.last.updates) == 2  # nothing has changed, and nothing is told


async def test_updates_during_an_outage_reach_the_next_child() -> None:
    async with calling() as (session, first, second):
        first.last.fail(ValueError("gone"))
        await session.update_instructions("Be brief.")
        await session.update_tools([])
        await asyncio.sleep(1.0)
        assert second.last.instructions == "Be brief."
        assert second.last.tool_list == []
        assert session.tools.flatten() == []


async def test_a_truncation_is_kept_and_told_only_to_the_child_that_said_the_message() -> None:
    async with calling() as (session, first, second):
        first.last.speak("one ", "two ", "three").end()
        await asyncio.sleep(1.0)
        [message] = session.chat_ctx.messages()

        def truncate() -> None:
            session.truncate(message_id=message.id, modalities=["audio"], audio_end_ms=200, audio_transcript="one two")

        truncate()
        assert first.last.done == [f"truncate {message.id} at 200"]
        assert kinds(session.chat_ctx) == ["assistant: one two"]
        child = await fail_over(first, second)
        truncate()
        assert child.done == []
        assert kinds(child.context) == ["assistant: one two"]


async def test_a_decision_that_carries_nothing_tells_nothing_and_refused_audio_is_not_said_again() -> None:
    first, second = ScriptedModel("a"), ScriptedModel("b")
    fresh = Retry(carry="nothing", drop_media=True, because="Afresh.")
    session = wrap([first, second], policy=override(DefaultPolicy(), unknown=fresh)).session()
    context = session.chat_ctx
    context.add_message(role="user", content="Hello")
    await session.update_chat_ctx(context)
    await asyncio.sleep(0.05)
    assert kinds(first.last.context) == ["user: Hello"]
    for _ in range(20):
        session.push_audio(frame())
    first.last.fail(ValueError("gone"))
    await asyncio.sleep(1.0)
    assert len(first.sessions) == 2
    assert kinds(first.last.context) == []
    assert first.last.heard == []
    await session.aclose()
