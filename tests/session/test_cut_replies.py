"""A reply that an outage cuts goes on, is given again or is left; one that was asked for is asked for again, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Script, Scripts, quiet, speech, stage
from tests.session.test_session import speak, talk, until

import unbroken
from unbroken.config import CutReply, Settings, Wording
from unbroken.events import Event, Interrupted, OutageBegan, Recovered, ReplyBegan, ReplyEnded

pytestmark = pytest.mark.anyio

QUOTA = "You exceeded your current quota, please check your plan and billing details."
"""Moves the session to the other target, which is told the history."""

ASKED = speech(600) + quiet(800)

GO_ON = Wording().go_on.replace("{heard}", '"It is ten"')
TOLD = Wording().told.replace("{heard}", '"It is ten"')
AGAIN = Wording().again


def cut_in_reply(*, carry: str, heard: int = len(ASKED), words: str = "What time is it?", said: str = "It is ten") -> Script:
    """Hears the user, begins to answer, and ends in the middle of it."""

    async def play(call: Call) -> None:
        call.say(ready=True)
        if carry == "handle":
            call.say(handle="h")  # before the user's turn, as services withhold it within one
        await call.hear(heard)
        if words:
            call.say(transcript=words)
        call.say(audio=400)
        if said:
            call.say(said=said)
        call.say(audio=1600)
        await anyio.sleep(0.5)
        if carry == "history":
            call.socket.close(1011, QUOTA)
        else:
            call.socket.abort()

    return play


def answers(*, after: str | int, said: str = " o'clock.", then: str = "") -> Script:
    """Replies once it has been told something, or has heard so many bytes of audio; then moves on to the next target."""

    async def play(call: Call) -> None:
        call.say(ready=True)
        if isinstance(after, int):
            await call.hear(after)
            call.say(transcript="What time is it?")
        else:
            while not any(after in str(message.get("text")) for message in call.other):
                await call.take()
        await anyio.sleep(1)  # the pause after which a service takes a turn for finished
        call.say(said=said)
        call.reply()
        await anyio.sleep(0.5)
        if then:
            call.socket.close(1011, then)

    return play


async def greet(call: Call) -> None:
    call.say(ready=True)
    await call.listen()


def texts(call: Call) -> list[Any]:
    return [next(iter(message.items())) for message in call.other]


async def completed(session: unbroken.Session, seen: list[Event]) -> None:
    while (await until(session, ReplyEnded, seen)).how != "complete":
        pass


def only(kind: type[Any], seen: Sequence[Event]) -> Any:
    (event,) = [event for event in seen if isinstance(event, kind)]
    return event


@pytest.mark.parametrize(
    ("way", "asked", "began", "became"),
    [("continue", GO_ON, (2, 1, False), "continued"), ("again", AGAIN, (2, 0, True), "again")],
)
async def test_a_cut_reply_goes_on_or_is_given_again_on_another_model(
    way: CutReply, asked: str, began: tuple[int, int, bool], became: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(on_cut_reply=way)
    hosts: dict[str, Scripts] = {
        "one": [cut_in_reply(carry="history")],
        "two": [answers(after=asked, then=QUOTA)],
        "three": [greet],
    }
    async with stage(**hosts) as it, talk(it, "one", "two", "three", monkeypatch=monkeypatch, settings=settings) as session:
        await speak(session, ASKED)
        seen: list[Event] = []
        await completed(session, seen)
        first, second = (event for event in seen if isinstance(event, ReplyBegan))
        assert (first.continues, first.again) == (0, False)
        assert (second.reply, second.continues, second.again) == began
        cut = next(event for event in seen if isinstance(event, ReplyEnded))
        assert (cut.how, cut.received_ms) == ("cut", 2000)
        recovered = only(Recovered, seen)
        assert (recovered.carry, recovered.reply, recovered.replayed_ms < 1000) == ("history", became, True)
        told = it.calls[1]
        assert told.history == [["user", "What time is it?"], ["model", "It is ten…"]]
        assert texts(told) == [("text", asked)], "exactly one thing asks for the reply"
        await until(session, Recovered)
        kept = "It is ten… o'clock." if way == "continue" else "o'clock."
        assert it.calls[2].history == [["user", "What time is it?"], ["model", kept]]


async def test_a_cut_reply_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(on_cut_reply="leave")
    hosts: dict[str, Scripts] = {"one": [cut_in_reply(carry="history")], "two": [greet]}
    async with stage(**hosts) as it, talk(it, "one", "two", monkeypatch=monkeypatch, settings=settings) as session:
        await speak(session, ASKED)
        recovered = await until(session, Recovered)
        await speak(session, quiet(20_000))
        assert (recovered.reply, recovered.link) == ("cut", 2)
        assert it.calls[1].other == []
        assert not any(it.calls[1].heard), "what was answered in part is not heard again"
        assert len(it.calls) == 2, "nobody waits for a reply"


async def test_who_speaks_on_is_not_kept_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    more = speech(1000) + quiet(600)
    hosts: dict[str, Scripts] = {
        "one": [cut_in_reply(carry="history")],
        "two": [answers(after=len(speech(1000)), said="Half past.")],
    }
    async with stage(**hosts) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        await until(session, OutageBegan)
        session.send_audio(more)
        seen: list[Event] = []
        await completed(session, seen)
        assert only(Recovered, seen).reply == "cut"
        assert only(ReplyBegan, seen).continues == 0
        assert it.calls[1].other == []


async def test_who_speaks_before_the_rest_comes_has_an_answer_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    more = speech(1000) + quiet(600)
    hosts: dict[str, Scripts] = {
        "one": [cut_in_reply(carry="history")],
        "two": [answers(after=len(more), said="Half past.")],
    }
    async with stage(**hosts) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        assert (await until(session, Recovered)).reply == "continued"
        await speak(session, more)
        assert (await until(session, ReplyBegan)).continues == 0


SAID = 'The caller said: "What time is it?" You said: "It is ten…"'
OVER = Wording().over.replace("{said}", SAID)


@pytest.mark.parametrize(
    ("silent", "told"),
    [
        (True, [("context", "What time is it?"), ("context", "It is ten…"), ("text", GO_ON)]),
        (False, [("text", f"{OVER} {GO_ON}")]),
    ],
)
async def test_a_resumed_model_is_told_the_question_and_goes_on(
    silent: bool, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: dict[str, Scripts] = {"one": [cut_in_reply(carry="handle"), answers(after=GO_ON)]}
    async with stage(**hosts) as it:
        it.profile = msgspec.structs.replace(it.profile, silent_context=silent)
        async with talk(it, monkeypatch=monkeypatch) as session:
            await speak(session, ASKED)
            seen: list[Event] = []
            await completed(session, seen)
            recovered, began = only(Recovered, seen), [event for event in seen if isinstance(event, ReplyBegan)][1]
            assert (recovered.carry, recovered.reply, recovered.lost_ms) == ("handle", "continued", 0)
            assert (began.continues, began.again) == (1, False)
            assert texts(it.calls[1]) == told
            assert not any(it.calls[1].heard), "heard again it would be answered from the beginning"


@pytest.mark.parametrize(
    ("silent", "way", "words", "told", "continues", "again", "became"),
    [
        (True, "continue", "", [("context", TOLD)], 1, False, "continued"),
        (False, "continue", "", [], 0, True, "again"),
        (True, "again", "", [], 0, True, "again"),
        (True, "again", "What time is it?", [], 0, True, "again"),
    ],
)
async def test_a_turn_that_is_heard_again_asks_by_itself(
    silent: bool,
    way: CutReply,
    told: list[Any],
    continues: int,
    again: bool,
    became: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts: dict[str, Scripts] = {"one": [cut_in_reply(carry="handle", words=words), answers(after=len(speech(600)))]}
    async with stage(**hosts) as it:
        it.profile = msgspec.structs.replace(it.profile, silent_context=silent)
        async with talk(it, monkeypatch=monkeypatch, settings=Settings(on_cut_reply=way)) as session:
            await speak(session, ASKED)
            seen: list[Event] = []
            await completed(session, seen)
            recovered, began = only(Recovered, seen), [event for event in seen if isinstance(event, ReplyBegan)][1]
            assert (recovered.carry, recovered.reply) == ("handle", became)
            assert (began.continues, began.again) == (continues, again)
            assert texts(it.calls[1]) == told


async def test_without_transcripts_the_model_is_told_for_how_long_it_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: dict[str, Scripts] = {"one": [cut_in_reply(carry="handle", words="", said=""), answers(after=len(speech(600)))]}
    async with stage(**hosts) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        await completed(session, [])
        assert texts(it.calls[1]) == [("context", Wording().told.replace("{heard}", "the first 2 seconds of it"))]


async def test_a_reply_that_is_cut_twice_goes_on_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut_again(call: Call) -> None:
        call.say(ready=True)
        while not any("text" in message for message in call.other):
            await call.take()
        call.say(said=" o'clock")
        call.say(audio=600)
        await anyio.sleep(0.3)
        call.socket.close(1011, QUOTA)

    hosts: dict[str, Scripts] = {
        "one": [cut_in_reply(carry="history")],
        "two": [cut_again],
        "three": [answers(after="o'clock", said=" sharp.")],
    }
    async with stage(**hosts) as it, talk(it, "one", "two", "three", monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        seen: list[Event] = []
        await completed(session, seen)
        assert [event.continues for event in seen if isinstance(event, ReplyBegan)] == [0, 1, 2]
        assert texts(it.calls[2]) == [("text", Wording().go_on.replace("{heard}", '"It is ten o\'clock"'))]


@pytest.mark.parametrize("before_any_of_it", [True, False])
async def test_a_link_that_dies_before_the_rest_comes_leaves_it_to_the_next(
    before_any_of_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        while not any("text" in message for message in call.other):
            await call.take()
        if not before_any_of_it:
            call.say(tool="clock")
        await anyio.sleep(0.3)
        call.socket.close(1011, QUOTA)

    hosts: dict[str, Scripts] = {"one": [cut_in_reply(carry="history")], "two": [dies], "three": [answers(after=GO_ON)]}
    async with stage(**hosts) as it, talk(it, "one", "two", "three", monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        seen: list[Event] = []
        await completed(session, seen)
        began = [event for event in seen if isinstance(event, ReplyBegan)]
        assert (began[-1].continues, texts(it.calls[2])) == (1, [("text", GO_ON)])


@pytest.mark.parametrize("carry", ["handle", "history", "nothing"])
async def test_a_reply_that_was_asked_for_is_asked_for_again_once(carry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        if carry == "handle":
            call.say(handle="h")
        if carry != "nothing":
            while not any(message.get("text") == "Who are you?" for message in call.other):
                await call.take()
            call.say(said="A clock.")
            call.reply()
        while not any(message.get("text") == "Greet the caller." for message in call.other):
            await call.take()
        await anyio.sleep(0.3)
        if carry == "history":
            call.socket.close(1011, QUOTA)
        else:
            call.socket.abort()

    hosts: dict[str, Scripts] = {"one": [dies, answers(after="Greet")], "two": [answers(after="Greet")]}
    async with stage(**hosts) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        seen: list[Event] = []
        if carry != "nothing":
            await session.send_text("Who are you?")
            await completed(session, [])
        await session.ask_reply("Greet the caller.")
        await completed(session, seen)
        assert only(Recovered, seen).carry == carry
        last = it.calls[-1]
        assert (
            texts(last) == [("text", "Greet the caller.")]
            if carry != "handle"
            else ("text", "Greet the caller.") in texts(last)
        )
        assert sum(text == ("text", "Greet the caller.") for text in texts(last)) == 1
        assert ["user", "Greet the caller."] not in last.history
        await anyio.sleep(30)
        assert sum(text == ("text", "Greet the caller.") for text in texts(last)) == 1


async def test_without_instructions_the_model_is_asked_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(wording=Wording(speak="(Bitte sprich.)"))
    async with stage(one=[answers(after="Bitte")]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        await session.ask_reply()
        await completed(session, [])
        with pytest.raises(unbroken.ConfigError, match="at least one character; leave it out"):
            await session.ask_reply("")


@pytest.mark.parametrize(("played", "kept"), [(500.0, "It is…"), (None, "It is…"), (0.0, None), (5000.0, "It is…")])
async def test_the_history_tells_what_was_played(
    played: float | None, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(ASKED))
        call.say(transcript="What time is it?")
        call.say(said="It is ten o'clock")
        call.say(audio=1600)
        await anyio.sleep(0.5)
        call.say(interrupted=True)
        await anyio.sleep(0.5)
        call.socket.close(1011, QUOTA)

    async with stage(one=[interrupted], two=[greet]) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        await until(session, Interrupted)
        ended = await until(session, ReplyEnded)
        assert (ended.how, ended.received_ms) == ("interrupted", 1600)
        assert ended.heard_ms == pytest.approx(500, abs=1)
        if played is not None:
            session.played(ended.reply, ms=played)
        session.played(99, ms=10.0)
        await until(session, Recovered)
        said = [["user", "What time is it?"]]
        assert it.calls[1].history == (said if kept is None else [*said, ["model", kept]])


async def test_a_reply_of_which_all_had_come_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends_late(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(ASKED))
        call.say(transcript="What time is it?")
        call.say(audio=400)
        call.say(generated=True)
        await anyio.sleep(0.1)
        call.socket.close(1011, QUOTA)

    async with stage(one=[ends_late], two=[greet]) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        await speak(session, ASKED)
        assert (await until(session, ReplyEnded)).how == "complete"
        assert (await until(session, Recovered)).reply == "none"
        assert it.calls[1].other == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"go_on": ""}, "Wording.go_on has no text in it"),
        ({"go_on": "{words}"}, "Wording.go_on has braces in it: {heard} is the only place it can have"),
        ({"again": "{heard}"}, "Wording.again has braces in it: it can have no places"),
    ],
)
def test_wordings_that_cannot_be_said_are_refused(bad: dict[str, str], why: str) -> None:
    with pytest.raises(unbroken.ConfigError) as refused:
        Wording(**bad)
    assert str(refused.value) == why


def test_what_becomes_of_a_cut_reply_is_one_of_three() -> None:
    with pytest.raises(unbroken.ConfigError, match="on_cut_reply has to be 'continue', 'again', 'leave', not 'repeat'"):
        Settings(on_cut_reply="repeat")  # type: ignore[arg-type]
