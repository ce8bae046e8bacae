"""Targets that let nobody in, and where the conversation goes then: at once, where there is another one to go to."""

from __future__ import annotations

import anyio
import anyio.abc
import msgspec
import pytest
from tests.session.stage import Call, quiet, speech, stage
from tests.session.test_session import greet, speak, talk, until

from unbroken.config import Deadlines, Settings
from unbroken.events import Connected, Event, OutageBegan, Recovered, ReplyEnded

pytestmark = pytest.mark.anyio

D = Deadlines()
SAID = speech(400) + quiet(1000)


async def hang(call: Call) -> None:
    await call.listen()


async def answers(call: Call) -> None:
    call.say(ready=True)
    await call.hear(len(SAID))
    call.say(transcript="Are you open?")
    call.reply(handle="h1")
    await call.listen()


def rules(seen: list[Event]) -> list[str]:
    return [event.decision.rule for event in seen if isinstance(event, OutageBegan)]


async def test_a_setup_that_hangs_costs_one_deadline_where_another_target_is_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(one=[hang], two=[answers]) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        seen: list[Event] = []
        await speak(session, SAID)
        await until(session, ReplyEnded, seen)
        assert [(round(at, 1), host) for at, host in it.dials] == [
            (it.dials[0][0], "one"),
            (it.dials[0][0] + D.setup, "two"),
        ]
        assert bytes(it.calls[1].heard) == SAID, "what was said while the first hung is answered by the second"
    assert rules(seen) == ["hung-elsewhere"]
    recovered = next(event for event in seen if isinstance(event, Recovered))
    assert (recovered.failed_over, recovered.lost_ms, recovered.attempts) == (True, 0, 1)


async def test_a_setup_that_hangs_is_tried_again_with_patience_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(one=[hang, hang, hang, hang, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        seen: list[Event] = []
        await until(session, Connected, seen)
        assert len(it.dials) == 5
    assert set(rules(seen)) == {"hung-resume", "hung-hold"}


async def test_a_backup_that_hangs_too_brings_the_conversation_back_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resets(call: Call) -> None:
        call.say(ready=True)
        call.say(said="Good morning.")
        call.reply(handle="h1")
        await anyio.sleep(1)
        call.socket.abort(None)

    alone = Settings(spare="never")
    async with (
        stage(one=[resets, hang, answers], two=[hang]) as it,
        talk(it, "one", "two", monkeypatch=monkeypatch, settings=alone) as session,
    ):
        seen: list[Event] = []
        await until(session, OutageBegan, seen)
        began = anyio.current_time()
        await anyio.sleep(D.setup)
        await speak(session, SAID)
        recovered = await until(session, Recovered, seen)
        assert anyio.current_time() - began < 2 * D.setup + 1.0
        assert [host for _, host in it.dials] == ["one", "one", "two", "one"]
        await until(session, ReplyEnded, seen)
        assert bytes(it.calls[-1].heard) == SAID
    assert rules(seen) == ["network-resume", "hung-elsewhere", "hung-elsewhere"]
    assert (recovered.failed_over, recovered.lost_ms, recovered.carry) == (False, 0, "history")


async def test_a_host_that_takes_connections_and_says_nothing_is_left_for_another_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def says_nothing(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with stage(two=[greet]) as it, anyio.create_task_group() as tasks:
        listener = it.network.listen("one", 80)
        tasks.start_soon(listener.serve, says_nothing)
        async with talk(it, "one", "two", monkeypatch=monkeypatch) as session:
            seen: list[Event] = []
            began = anyio.current_time()
            connected = await until(session, Connected, seen)
            assert connected.target == "stage/two"
            assert anyio.current_time() - began == pytest.approx(D.upgrade, abs=0.1)
        await listener.aclose()
        tasks.cancel_scope.cancel()
    assert rules(seen) == ["hung-elsewhere"]


async def test_a_first_target_that_refuses_everybody_is_dialled_twice_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(one=[503], two=[greet]) as it, talk(it, "one", "two", monkeypatch=monkeypatch) as session:
        seen: list[Event] = []
        began = anyio.current_time()
        connected = await until(session, Connected, seen)
        assert anyio.current_time() == began, "in time that knows no round trips, nothing was waited for"
        assert [host for _, host in it.dials] == ["one", "one", "two"]
    assert connected.target == "stage/two"
    assert rules(seen) == ["server-once-more", "server-elsewhere"]


@pytest.mark.parametrize(
    ("hosts", "dialled", "within"), [(("one",), "one", 1.5), (("one", "two"), "two", 0.1)], ids=["no other", "another"]
)
async def test_a_reset_and_two_refusals_after_it(
    hosts: tuple[str, ...], dialled: str, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resets(call: Call) -> None:
        call.say(ready=True)
        call.say(said="Good morning.")
        call.reply(handle="h1")
        await anyio.sleep(1)
        call.socket.abort(None)

    async with (
        stage(one=[resets, 503, 503, greet], two=[greet]) as it,
        talk(it, *hosts, monkeypatch=monkeypatch) as session,
    ):
        await until(session, OutageBegan)
        began = anyio.current_time()
        recovered = await until(session, Recovered)
        assert anyio.current_time() - began <= within
    assert (recovered.target, recovered.lost_ms) == (f"stage/{dialled}", 0)
    assert (recovered.carry == "handle") == (dialled == "one")


async def test_a_refusal_that_passes_moves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        stage(one=[503, greet], two=[greet]) as it,
        talk(it, "one", "two", monkeypatch=monkeypatch) as session,
    ):
        assert (await until(session, Connected)).target == "stage/one"


async def test_a_history_that_is_larger_than_the_next_window_crosses_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def talks(call: Call) -> None:
        call.say(ready=True)
        for _ in range(6):
            await call.take()
            call.say(said="I see.")
            call.reply()
        await anyio.sleep(1)
        call.socket.abort(None)

    async with stage(one=[talks, 503], two=[greet]) as it:
        it.profile = msgspec.structs.replace(it.profile, context_tokens=60)
        async with talk(it, "one", "two", monkeypatch=monkeypatch) as session:
            for number in range(6):
                await session.send_text(f"This is the sentence number {number} of a long story.")
                await until(session, ReplyEnded)
            recovered = await until(session, Recovered)
            assert (recovered.target, recovered.carry) == ("stage/two", "history")
            assert [text for _, text in it.calls[-1].history] == [
                "I see.",
                "This is the sentence number 5 of a long story.",
                "I see.",
            ]
