"""A tool call, its result and a cut in every order, resumed by handle or carried over by history, issued again or not."""

from __future__ import annotations

from itertools import product
from typing import Literal

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Script, quiet, speech, stage
from tests.session.test_session import speak, talk, until

import unbroken
from unbroken.events import Event, OutageBegan, Recovered, ReplyEnded, ToolCall
from unbroken.testing.service import serve
from unbroken_gemini import testing as gemini
from unbroken_gemini.testing import Behaviour, SimulatedGemini

pytestmark = pytest.mark.anyio

Cut = Literal["before the call", "before the result", "during the outage", "before the reply", "after the reply"]
"""Where the cut comes; "during the outage": before the result, which the application gives while no link is up."""

CUTS: tuple[Cut, ...] = (
    "before the call",
    "before the result",
    "during the outage",
    "before the reply",
    "after the reply",
)
CARRIES = ("handle", "history")
ANSWER = {"sky": "blue"}
QUOTA = "You exceeded your current quota, please check your plan and billing details."


def first_link(cut: Cut, carry: str) -> Script:
    """Plays the conversation up to the cut. A handle is issued before all of it, as none is while a call is pending."""

    async def play(call: Call) -> None:
        call.say(ready=True)
        if carry == "handle":
            call.say(handle="h")
        await call.take()
        if cut != "before the call":
            call.say(tool="weather")
            await anyio.sleep(0.5)
        if cut in ("before the reply", "after the reply"):
            while not any("result" in message for message in call.other):
                await call.take()
        if cut == "after the reply":
            call.reply()
            await anyio.sleep(0.5)
        if carry == "history":
            call.socket.close(1011, QUOTA)  # moves the conversation to the other target
        else:
            call.socket.abort()

    return play


def second_link(cut: Cut, *, again: bool) -> Script:
    """Takes the conversation over: it issues the call (again) or does not, and answers what the user says next."""

    async def play(call: Call) -> None:
        call.say(ready=True)
        if cut == "before the call":
            call.say(tool="weather")
        elif again:
            call.say(again="weather")
        while not any(message.get("text") == "And tomorrow?" for message in call.other):
            await call.take()
        call.reply()

    return play


async def application(session: unbroken.Session, cut: Cut, seen: list[Event]) -> list[ToolCall]:
    """Answers each call once, at the moment that the order wants, and asks another question in the end."""
    calls: list[ToolCall] = []
    asked = False

    async def go_on() -> None:
        nonlocal asked
        await anyio.sleep(0.2)
        if cut == "before the result":
            await session.send_tool_result(calls[0], ANSWER)
        await anyio.sleep(5)
        asked = True
        await session.send_text("And tomorrow?")

    async with anyio.create_task_group() as tasks:
        async for event in session:
            seen.append(event)
            match event:
                case ToolCall():
                    calls.append(event)
                    if cut not in ("before the result", "during the outage"):
                        await session.send_tool_result(event, ANSWER)
                case OutageBegan() if cut == "during the outage":
                    await session.send_tool_result(calls[0], ANSWER)
                case Recovered():
                    tasks.start_soon(go_on)
                case ReplyEnded(how="complete") if asked:
                    return calls
                case _:
                    pass
    raise AssertionError("the next question was not answered")


@pytest.mark.parametrize("lost_calls", ["ignored", "error_first"])
@pytest.mark.parametrize(("cut", "carry", "again"), list(product(CUTS, CARRIES, [False, True])))
async def test_every_order_on_a_script(
    cut: Cut, carry: str, again: bool, lost_calls: Literal["ignored", "error_first"], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = first_link(cut, carry), second_link(cut, again=again)
    hosts = {"one": [first, second]} if carry == "handle" else {"one": [first], "two": [second]}
    seen: list[Event] = []
    async with stage(**hosts) as it:
        it.profile = msgspec.structs.replace(it.profile, lost_calls=lost_calls)
        async with talk(it, *hosts, monkeypatch=monkeypatch) as session:
            await session.send_text("What is the weather?")
            calls = await application(session, cut, seen)
    if again and cut == "after the reply" and carry == "history":
        assert len(calls) == 2, "the new model has the answer and the reply in words: what it asks now it asks anew"
        return
    assert len(calls) == 1, "a tool is called once"
    assert (it.calls[1].handle, len(it.calls)) == ("h" if carry == "handle" else None, 2)
    told = [turn for turn in it.calls[1].history if "blue" in turn[1]]
    contexts = [message for message in it.calls[1].other if "blue" in message.get("context", "")]
    results = [message["result"] for message in it.calls[1].other if "result" in message]
    errors = [result for result in results if "error" in result[1]]
    answers = [result for result in results if result not in errors]
    issued = "weather" if cut == "before the call" else "weather again" if again else None
    assert [answer[0] for answer in answers] == ([issued] if issued else []), "a response where that link issued the call"
    assert len(told) + len(contexts) <= 1
    assert len(answers) + len(told) + len(contexts) >= 1, "the result has reached the model"
    never_answered = carry == "handle" and lost_calls == "error_first" and cut in ("before the result", "during the outage")
    assert [error[0] for error in errors] == (["weather"] if never_answered else [])
    if errors:
        assert "result" in it.calls[1].other[0], "before anything else"


@pytest.mark.parametrize("cut", [None, "before the result", "before the result, issued again"])
async def test_what_is_said_during_a_call_waits_at_the_gate_and_goes_in_order(
    cut: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []

    async def listens(call: Call) -> None:
        while True:
            message = await call.take()
            (kind,) = message
            if kind != "audio":
                came.append(f"{kind} after {len(call.heard)}")

    async def calls(call: Call) -> None:
        call.say(ready=True)
        call.say(handle="h")
        await call.take()
        call.say(tool="weather")
        if cut is None:
            await listens(call)
        await anyio.sleep(2)
        assert not call.heard
        call.socket.abort()

    async def goes_on(call: Call) -> None:
        call.say(ready=True)
        if cut == "before the result, issued again":
            call.say(again="weather")
        await listens(call)

    async with stage(one=[calls, goes_on]) as it:
        it.profile = msgspec.structs.replace(it.profile, input_in_tool_call=False)
        async with talk(it, monkeypatch=monkeypatch) as session:
            await session.send_text("What is the weather?")
            asked = await until(session, ToolCall)
            await speak(session, speech(300))
            await session.send_text("Well?")
            await speak(session, speech(200))
            await anyio.sleep(0.1)
            assert not any(call.heard for call in it.calls)
            if cut is not None:
                await until(session, Recovered)
                await anyio.sleep(1)
            await session.send_tool_result(asked, ANSWER)
            await anyio.sleep(2)
            await session.send_text("Thanks.")
            await anyio.sleep(1)
    first, last = len(speech(300)), len(speech(500))
    said = {
        None: ["result after 0", f"text after {first}", f"text after {last}"],
        "before the result": ["text after 0", f"text after {first}", f"context after {last}", f"text after {last}"],
        "before the result, issued again": ["text after 0", "result", f"text after {first}", f"text after {last}"],
    }
    came = ["result" if cut and entry.startswith("result") and int(entry.split()[-1]) <= 3200 else entry for entry in came]
    assert came == said[cut], "only what was under way when the call came may have passed it"
    assert bytes(it.calls[-1].heard) == speech(300) + speech(200)


MODELS = ("gemini-3.8-live", "gemini-3.1-flash-live-preview", "gemini-2.5-flash-native-audio-preview-12-2025")
CONFIG = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
    "tools": [{"function_declarations": [{"name": "look_up", "description": "", "parameters": {"type": "OBJECT"}}]}],
}
STAGES: dict[Cut, str] = {
    "before the call": "@user+0.1s",
    "before the result": "@tool+0.2s",
    "during the outage": "@tool+0.2s",
    "before the reply": "@reply+0.01s",
    "after the reply": "@6s",
}
ENDS = {"handle": "reset", "history": f"1011:{QUOTA}"}


@pytest.mark.parametrize("harsh", [False, True], ids=["plain", "harsh"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("cut", "carry"), list(product(CUTS, CARRIES)))
async def test_every_order_on_the_simulated_service(cut: Cut, carry: str, model: str, harsh: bool) -> None:
    ways = gemini.HARSH if harsh else Behaviour()
    simulator = SimulatedGemini(
        behaviour=msgspec.structs.replace(ways, lost_calls_eat_input=True), replies=[gemini.Call(name="look_up")], seed=5
    )
    other = next(name for name in MODELS if name != model)
    seen: list[Event] = []
    async with serve(simulator, faults=[ENDS[carry] + STAGES[cut]], memory=True, seed=5) as service:
        route = [service.target(model), service.target(other)]
        async with unbroken.connect(route, config=CONFIG, transport=service.transport) as session:
            with anyio.fail_after(120):
                await until(session, unbroken.Connected)
                await speak(session, quiet(300) + speech(900) + quiet(900))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(speak, session, quiet(60_000))  # an open microphone, also while a call is pending
                    calls = await application(session, cut, seen)
                    tasks.cancel_scope.cancel()
        report = service.report()
    assert len(calls) == 1, "a tool is called once"
    by_link = {link.number: link for link in report.links}
    assert not any(link.closed.startswith(("close 1007", "close 1008")) for link in report.links), by_link
    newest = [call for call in report.calls if call.id in report.results]
    dialogue = simulator.links[-1].dialogue
    assert dialogue is not None
    told = [text for text in (*report.texts, *dialogue.context.history) if "blue" in text]
    assert newest or told, "the result has reached the model"
    assert all(call.answers <= 1 for call in report.calls)
    assert not any(call.refused for call in report.calls if call.link == max(by_link)), "no call is answered twice"


async def test_an_answer_is_not_told_before_what_asked_for_it_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said = speech(2000) + quiet(1500)

    async def asks(call: Call) -> None:
        call.say(ready=True)
        call.say(handle="h")
        while not any(message.get("text") == "And the weather?" for message in call.other):
            await call.take()
        call.say(tool="weather")
        await anyio.sleep(0.5)
        call.socket.abort()

    async def asked_again(call: Call) -> None:
        call.say(ready=True)
        while not any(message.get("text") == "And the weather?" for message in call.other):
            await call.take()
        call.say(again="weather")
        while not any("result" in message for message in call.other):
            await call.take()
        call.reply()
        await call.listen()

    calls: list[ToolCall] = []
    async with stage(one=[asks, asked_again]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Connected)
        await speak(session, said)  # nothing says that it was heard, so it goes before the question once more
        await session.send_text("And the weather?")

        async def answer() -> None:
            await anyio.sleep(0.5)  # in the midst of that
            await session.send_tool_result(calls[0], ANSWER)

        async with anyio.create_task_group() as tasks:
            async for event in session:
                match event:
                    case ToolCall():
                        calls.append(event)
                    case OutageBegan():
                        tasks.start_soon(answer)
                    case ReplyEnded(how="complete"):
                        break
                    case _:
                        pass
    assert [call.call_id for call in calls] == ["weather"], "it is answered from the ledger"
    assert [next(iter(message)) for message in it.calls[1].other] == ["text", "context", "result"]
    assert it.calls[1].other[-1] == {"result": ["weather again", ANSWER]}
