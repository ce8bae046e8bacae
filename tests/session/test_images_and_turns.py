"""Images of what the user shows, and turns that the application tells: on the wire, and over an outage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from tests.session.stage import FRAME, Call, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.abc import Profile
from unbroken.events import Event, Turn

pytestmark = pytest.mark.anyio

TOLD = [
    Turn(role="user", text="I am Ada."),
    Turn(role="model", text="Hello, Ada."),
    Turn(role="tool", text="Ada has a dog."),
]


async def serves(call: Call) -> None:
    call.say(ready=True)
    await call.listen()


async def answers(call: Call) -> None:
    """Answers each text, and ends the link after "die"."""
    call.say(ready=True)
    while True:
        said = await call.take()
        if said.get("text") == "die":
            call.socket.abort()
        elif "text" in said:
            call.reply(ms=20)


async def until(session: AsyncIterator[Event], kind: type[Event]) -> Event:
    with anyio.fail_after(20):
        async for event in session:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__} came")


async def opened(it: Stage, runtime: unbroken.Runtime, **options: object) -> unbroken.Session:
    session = runtime.open(it.target(), **options)  # type: ignore[arg-type]
    await until(session, unbroken.Connected)
    return session


@pytest.fixture
def sees(monkeypatch: pytest.MonkeyPatch) -> Profile:
    return Profile(platform="stage", model="m", images=True, seed_survives=True)


def put_on(it: Stage, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    it.profile = profile
    monkeypatch.setattr(registry, "load", lambda group, name: it.provider)


async def test_an_image_goes_through_in_its_place(sees: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[serves]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await opened(it, runtime)
            session.send_audio(quiet(20))
            session.send_image(bytearray(b"what I see"))
            session.send_image(b"a screen", mime_type="image/png")
            await session.send_text("What is that?")
            await anyio.sleep(0.1)
            assert it.calls[0].other == [
                {"image": ["image/jpeg", "what I see"]},
                {"image": ["image/png", "a screen"]},
                {"text": "What is that?"},
            ]
            assert len(it.calls[0].heard) == FRAME


@pytest.mark.parametrize(("refused_for", "sent"), [(0.5, [["image/jpeg", "third"]]), (3.0, [])])
async def test_of_the_images_of_an_outage_only_a_new_one_is_sent(
    refused_for: float, sent: list[list[str]], sees: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_then = 0.0

    def script() -> object:
        return serves if anyio.current_time() >= until_then else 503

    async with stage(one=script) as it:  # type: ignore[arg-type]
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport, random=lambda: 0.01) as runtime:
            session = await opened(it, runtime)
            until_then = anyio.current_time() + refused_for
            session.cut()
            session.send_audio(speech(100))
            for image in (b"first", b"second", b"third"):
                session.send_image(image)
            session.send_audio(speech(100))
            await until(session, unbroken.Recovered)
            await anyio.sleep(0.5)
            call = it.calls[-1]
            assert [said["image"] for said in call.other if "image" in said] == sent
            assert len(call.heard) == 10 * FRAME, "nothing of the audio is missing for it"


async def test_an_image_waits_behind_audio_that_is_being_caught_up(sees: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []

    async def notes(call: Call) -> None:
        call.say(ready=True)
        while True:
            if "image" in await call.take():
                came.append(len(call.heard))

    async with stage(one=[notes]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await opened(it, runtime)
            session.send_audio(speech(2000))
            session.send_image(b"now")
            await anyio.sleep(2)
            assert came == [100 * FRAME]


async def test_what_is_no_image_or_goes_nowhere_is_refused(sees: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[serves]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = runtime.open(it.target(), name="caller-7")
            with pytest.raises(
                unbroken.ConfigError, match=r"send_image needs a mime_type such as 'image/jpeg', not 'audio/pcm'"
            ):
                session.send_image(b"x", mime_type="audio/pcm")
            with pytest.raises(unbroken.ConfigError, match="send_image needs an image; this has no bytes in it"):
                session.send_image(b"")
            await session.aclose()
            with pytest.raises(unbroken.SessionClosed, match="caller-7 was closed; open a new session to send images"):
                session.send_image(b"x")
            it.profile = Profile(platform="stage", model="m")
            blind = runtime.open(it.target(), name="caller-8")
            with pytest.raises(unbroken.ConfigError, match="no target of caller-8 takes images"):
                blind.send_image(b"x")


async def test_told_turns_come_before_the_next_input_and_cross_a_failover(
    sees: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await opened(it, runtime)
            await session.tell(TOLD)
            await session.tell([])
            await session.send_text("Who am I?")
            await until(session, unbroken.ReplyEnded)
            assert it.calls[0].other == [*({"context": turn.text} for turn in TOLD), {"text": "Who am I?"}]
            await session.send_text("die")
            recovered = await until(session, unbroken.Recovered)
            assert isinstance(recovered, unbroken.Recovered)
            assert recovered.carry == "history"
            told = [[turn.role, turn.text] for turn in TOLD]
            assert it.calls[1].history == [*told, ["user", "Who am I? die"]]
            assert not any("context" in said for said in it.calls[1].other), "what the history tells is not told twice"


async def test_turns_that_are_told_while_no_link_is_up_are_told_once(sees: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[answers]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await opened(it, runtime)
            await session.send_text("Hello")
            await until(session, unbroken.ReplyEnded)
            session.cut()
            await session.tell(TOLD[:1])
            await until(session, unbroken.Recovered)
            await session.send_text("Who am I?")
            await until(session, unbroken.ReplyEnded)
            assert it.calls[1].history == [["user", "Hello"]]
            assert it.calls[1].other == [{"context": "I am Ada."}, {"text": "Who am I?"}]


async def test_a_session_begins_with_the_history_it_is_given(sees: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[503, answers]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = runtime.open(it.target(), history=TOLD)
            await session.send_text("Who am I?")
            await until(session, unbroken.Connected)
            await until(session, unbroken.ReplyEnded)
            told = [[turn.role, turn.text] for turn in TOLD]
            assert it.calls[0].history == told
            assert it.calls[0].other == [{"text": "Who am I?"}]
            session.cut()
            await until(session, unbroken.Recovered)
            assert it.calls[1].history == [*told, ["user", "Who am I?"]]
            assert it.calls[1].other == []


async def test_what_is_no_turn_is_refused_and_nothing_is_told(sees: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[serves]) as it:
        put_on(it, sees, monkeypatch)
        async with unbroken.Runtime(transport=it.transport) as runtime:
            session = await opened(it, runtime)
            wrong = [
                (
                    [TOLD[0], {"role": "user"}],
                    r"tell needs turns such as unbroken.Turn\(role='user', text='…'\), not {'role'",
                ),
                ([TOLD[0], Turn(role="user", text="")], "tell needs at least one character; leave a turn without words out"),
                ([TOLD[0], Turn(role="user", text="\ud800")], "tell needs text that UTF-8 can carry"),
            ]
            for turns, text in wrong:
                with pytest.raises(unbroken.ConfigError, match=text):
                    await session.tell(turns)  # type: ignore[arg-type]
            with pytest.raises(unbroken.ConfigError, match="history needs at least one character"):
                runtime.open(it.target(), history=[Turn(role="model", text="")])
            await anyio.sleep(0.1)
            assert it.calls[0].other == []


async def test_a_reply_that_is_owed_is_asked_for_although_something_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        call.socket.abort()

    async with stage(one=[dies, answers]) as it:
        put_on(it, Profile(platform="stage", model="m", silent_context=False), monkeypatch)
        async with unbroken.Runtime(transport=it.transport, random=lambda: 0.01) as runtime:
            session = await opened(it, runtime)
            await session.send_text("What is the time?")
            await until(session, unbroken.OutageBegan)
            await session.tell(TOLD[:1])
            await until(session, unbroken.Recovered)
            await until(session, unbroken.ReplyEnded)
            assert it.calls[1].other == [{"context": "I am Ada."}, {"text": unbroken.Wording().owed}]
