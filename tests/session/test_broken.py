"""What once broke a session: each of these lost something, crashed or hung before it was mended."""

from __future__ import annotations

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Stage, StageConnection, StageProvider, quiet, speech, stage
from tests.session.test_cut_replies import ASKED, cut_in_reply
from tests.session.test_session import greet, speak, talk, until

import unbroken
from unbroken import registry
from unbroken.abc import Connection, Endpoint
from unbroken.config import Settings
from unbroken.core.fleet import Fleet
from unbroken.events import UserText

pytestmark = pytest.mark.anyio


def marks(call: Call) -> list[str]:
    return [message["mark"] for message in call.other if "mark" in message]


async def test_a_reply_vouches_only_for_what_had_been_read_when_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        call.reply(ms=40, handle="h")
        await anyio.sleep(0.2)
        call.socket.abort()

    async with stage(one=[script, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.Connected)
        await session.send_text("A")
        await session.send_text("B", turn_complete=False)
        await until(session, unbroken.Recovered)
        await anyio.sleep(3)
        assert [message["text"] for message in it.calls[1].other if "text" in message] == ["B"]


@pytest.mark.parametrize("handle", ["h", None], ids=["by handle", "by history"])
async def test_a_turn_that_the_application_marks_is_marked_again(
    handle: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(call: Call) -> None:
        call.say(ready=True)
        while len(marks(call)) < 2:
            await call.take()
        call.say(transcript="hello")
        call.reply(ms=40, handle=handle)
        while len(marks(call)) < 3:
            await call.take()
        await anyio.sleep(0.5)
        call.socket.abort()

    async with stage(one=[script, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        session.send_activity("start")
        await speak(session, speech(300))
        session.send_activity("end")
        await anyio.sleep(2)
        session.send_activity("start")
        await speak(session, speech(1500))
        session.send_activity("end")
        await until(session, unbroken.Recovered)
        await anyio.sleep(3)
        assert marks(it.calls[1]) == ["start", "end"]
        assert len(it.calls[1].heard) == len(speech(1500))


async def test_a_chunk_longer_than_the_journal_is_paced_and_its_head_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(journal_bound=2.0)
    async with stage(one=[greet]) as it, talk(it, monkeypatch=monkeypatch, settings=settings) as session:
        await until(session, unbroken.Connected)
        session.send_audio(speech(5000))
        lost = await until(session, unbroken.AudioLost)
        await anyio.sleep(3)
        assert lost.lost_ms == 3000
        assert bytes(it.calls[0].heard) == speech(5000)[-2 * 32_000 :]


async def test_a_dead_link_under_constant_noise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dead(call: Call) -> None:
        call.say(ready=True)
        call.socket.auto_pong = False
        await call.listen()

    async with stage(one=[dead, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speak, session, speech(60_000))
            outage = await until(session, unbroken.OutageBegan)
            tasks.cancel_scope.cancel()
        assert outage.closure.ending.cause == "sign_deadline"


async def test_a_storm_of_announcements_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def storms(call: Call) -> None:
        call.say(ready=True)
        for _ in range(3000):
            call.say(go_away=500.0)
        call.reply()
        await call.listen()

    async with stage(one=[storms]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.ReplyEnded)
        await anyio.sleep(1)
        assert session.state == "listening"


async def test_text_that_no_wire_can_carry_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        with pytest.raises(unbroken.ConfigError, match="half a surrogate pair"):
            await session.send_text("x \ud83d")


class _Odd(StageConnection):
    def text(self, text: UserText) -> bytes:
        raise RuntimeError("the key is AIza-secret")

    def context(self, turn: unbroken.Turn) -> bytes:
        raise RuntimeError("the key is AIza-secret")


class _OddProvider(StageProvider):
    def connection(self) -> Connection:
        return _Odd()


async def test_a_bug_of_an_encoder_costs_one_link_and_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it:
        monkeypatch.setattr(Stage, "provider", lambda self, target, *, config: _OddProvider(target.model, self.profile))
        async with talk(it, monkeypatch=monkeypatch) as session:
            await until(session, unbroken.Connected)
            await session.send_text("hello")
            outage = await until(session, unbroken.OutageBegan)
            await until(session, unbroken.Recovered)
            assert outage.closure.ending.cause == "crash"
            assert "RuntimeError" in outage.closure.ending.reason
            assert "secret" not in repr(outage)
            await anyio.sleep(30)
            assert len(it.calls) == 2, "what no encoder takes is not tried again"


@pytest.mark.parametrize(
    "words", ["", "What time is it?"], ids=["before the turn is heard again", "behind what was replayed"]
)
async def test_a_bug_of_an_encoder_in_what_a_session_says_by_itself_costs_links_only(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(one=[cut_in_reply(carry="handle", words=words), greet]) as it:
        it.profile = msgspec.structs.replace(it.profile, silent_context=True)
        monkeypatch.setattr(Stage, "provider", lambda self, target, *, config: _OddProvider(target.model, self.profile))
        async with talk(it, monkeypatch=monkeypatch) as session:
            await speak(session, ASKED)
            await until(session, unbroken.OutageBegan)
            outage = await until(session, unbroken.OutageBegan)
            assert outage.closure.ending.cause == "crash"
            assert "RuntimeError" in outage.closure.ending.reason
            assert "AIza" not in repr(outage)


class _Leaky(StageProvider):
    async def endpoint(self, *, refresh: bool = False) -> Endpoint:
        raise RuntimeError("https://x?key=AIza-secret")


class _Unbuilt(StageProvider):
    def connection(self) -> Connection:
        raise KeyError("AIza-secret")


@pytest.mark.parametrize("odd", [_Leaky, _Unbuilt])
async def test_a_bug_of_a_provider_ends_links_and_never_the_process(
    odd: type[StageProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(one=[greet]) as it:
        monkeypatch.setattr(Stage, "provider", lambda self, target, *, config: odd(target.model, self.profile))
        async with talk(it, monkeypatch=monkeypatch, settings=Settings(patience=5)) as session:
            outage = await until(session, unbroken.OutageBegan)
            assert outage.closure.ending.cause == "crash"
            assert "secret" not in repr(outage)
            with pytest.raises(unbroken.SessionEscalated):
                await until(session, unbroken.Connected)


async def test_what_became_of_a_reply_is_told_though_a_second_link_died_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cuts(call: Call) -> None:
        call.say(ready=True)
        await call.hear(len(speech(900)))
        call.say(audio=500)
        await anyio.sleep(0.1)
        call.socket.abort()

    async def dies_in_the_replay(call: Call) -> None:
        call.say(ready=True)
        await call.take()
        call.socket.abort()

    async with stage(one=[cuts, dies_in_the_replay, greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await speak(session, speech(2000))
        recovered = await until(session, unbroken.Recovered)
        assert (recovered.link, recovered.reply) == (3, "cut")


async def test_audio_is_taken_from_any_buffer_and_is_then_the_sessions_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it, talk(it, monkeypatch=monkeypatch) as session:
        buffer = bytearray(speech(20))
        session.send_audio(buffer)
        buffer[:] = quiet(20)
        session.send_audio(memoryview(speech(40))[:640])
        await until(session, unbroken.Connected)
        await anyio.sleep(1)
        assert bytes(it.calls[0].heard) == speech(20) + speech(40)[:640]


async def test_first_dials_keep_to_the_fleets_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(one=[greet]) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=Fleet(dials_per_second=10)) as runtime:
            for _ in range(50):
                runtime.open(it.target())
            await anyio.sleep(10)
        times = sorted(at for at, _ in it.dials)
        assert len(times) == 50
        assert all(later - earlier >= 1.0 for earlier, later in zip(times, times[10:], strict=False))


async def test_a_withdrawn_tool_call_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def withdraws(call: Call) -> None:
        call.say(ready=True)
        call.say(tool="weather")
        call.say(withdrawn="weather")
        await call.listen()

    async with stage(one=[withdraws]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, unbroken.ToolCallCancelled)
        await anyio.sleep(1)
        assert session.state == "listening"


async def test_a_service_that_ends_every_link_in_good_order_is_not_redialled_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ends(call: Call) -> None:
        call.say(ready=True)
        call.reply(ms=20)
        call.socket.close(1001)

    async with stage(one=[ends]) as it, talk(it, monkeypatch=monkeypatch) as session:
        with pytest.raises(unbroken.SessionEscalated):
            await until(session, unbroken.Escalated)
            await until(session, unbroken.Connected)
        assert len(it.dials) <= Settings().attempts + 1


class _Restless:
    def decide(self, fault: unbroken.Fault, situation: unbroken.Situation) -> unbroken.Decision:
        return unbroken.Retry(carry="handle", because="Again.")


async def test_a_policy_that_always_says_again_is_held_to_the_sessions_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(call: Call) -> None:
        call.say(ready=True)
        call.socket.close(1011, "Internal error encountered.")

    async with stage(one=[fails]) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.connect(it.target(), policy=_Restless(), transport=it.transport) as session:
            with pytest.raises(unbroken.SessionEscalated):
                async for _ in session:
                    pass
        assert len(it.dials) <= Settings().attempts + 1
