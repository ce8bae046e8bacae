"""Whole sessions and their recordings: what a session decided, its recording decides again, and nothing secret is in it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.session.stage import FRAME, Call, Stage, quiet, speech, stage

import unbroken
from unbroken import registry
from unbroken.config import Settings, Wording
from unbroken.core.machine import Input, State
from unbroken.core.policy import DefaultPolicy
from unbroken.decisions import Decision, Escalate, Fault, Situation
from unbroken.recorder import Replayed, replay
from unbroken.recorder.lines import Answered, Fed
from unbroken.testing.service import serve
from unbroken_gemini.rules import RULES
from unbroken_gemini.testing import simulator

pytestmark = pytest.mark.anyio


def read(path: Path, **named: Any) -> Replayed:
    return replay(path.read_bytes().splitlines(), **named)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def only(folder: Path) -> Path:
    (name,) = names(folder)
    return folder / name


def decisions(replayed: Replayed) -> list[tuple[str, Decision]]:
    return [(step.line.fault.rule, step.line.decision) for step in replayed.steps if isinstance(step.line, Answered)]


@asynccontextmanager
async def talk(it: Stage, *hosts: str, monkeypatch: pytest.MonkeyPatch, **named: Any) -> AsyncGenerator[unbroken.Session]:
    monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
    with anyio.fail_after(600):
        async with unbroken.connect([it.target(h) for h in hosts or ("one",)], transport=it.transport, **named) as session:
            yield session


async def until_over(session: unbroken.Session) -> list[unbroken.Event]:
    events: list[unbroken.Event] = []
    with pytest.raises(unbroken.SessionEscalated):
        async for event in session:
            events.append(event)
    return events


async def fails(call: Call) -> None:
    call.say(ready=True)
    call.say(handle="a handle that is a secret")
    call.say(transcript="my card number is secret")
    call.reply(ms=100)
    await anyio.sleep(1)
    call.socket.close(1011, "Internal error encountered.")


async def test_a_session_with_faults_is_decided_again(tmp_path: Path) -> None:
    faults = ["1011@4s", "reset@9s", "goaway:3s@15s", "malformed@25s", "http-503@30.5s", "reset@31s", "1001@40s"]
    pcm = speech(50_000)
    async with serve(simulator(seed=3), faults=faults, memory=True, seed=3) as service:
        route = [service.target("gemini-3.8-live"), service.target("gemini-3.1-flash-live-preview")]
        async with unbroken.Runtime(transport=service.transport, random=random.Random(3).random) as runtime:
            session = runtime.open(route, config={"response_modalities": ["AUDIO"]}, name="caller-7")

            async def microphone() -> None:
                for at in range(0, len(pcm), FRAME):
                    session.send_audio(pcm[at : at + FRAME])
                    await anyio.sleep(0.02)
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(microphone)
                events = [event async for event in session]
            path = session.record(tmp_path)
    outages = [event for event in events if isinstance(event, unbroken.OutageBegan)]
    assert len(outages) >= 7
    replayed = read(path, rules=lambda target: RULES)
    assert replayed.differences == ()
    assert decisions(replayed) == [(event.fault.rule, event.decision) for event in outages]
    assert (replayed.foreign_rules, replayed.foreign_policy, replayed.cut) == (0, 0, "")
    assert (replayed.header.session, replayed.header.lost) == ("caller-7", 0)
    last = replayed.steps[-1].line
    assert isinstance(last, Fed)
    assert last.state is State.CLOSED


async def test_an_update_is_decided_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def serves(call: Call) -> None:
        call.say(ready=True)
        await call.listen()

    async with stage(one=[serves]) as it, talk(it, monkeypatch=monkeypatch, config="first") as session:
        async for event in session:
            match event:
                case unbroken.Connected():
                    await session.update("a configuration that is a secret", within=3)
                case unbroken.Recovered():
                    break
                case _:
                    pass
        path = session.record(tmp_path / "update.jsonl")
    again = read(path)
    assert again.same
    assert [rule for rule, _ in decisions(again)] == ["update"]
    assert "secret" not in path.read_text()


async def test_a_session_that_is_given_up_leaves_its_recording(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(attempts=3)
    async with (
        stage(one=[fails, 503]) as it,
        talk(it, monkeypatch=monkeypatch, settings=settings, recordings=tmp_path / "made", name="caller/7") as session,
    ):
        async for event in session:
            if isinstance(event, unbroken.Escalated):
                story = event.story
                break
        path = only(tmp_path / "made")  # it is there when the application hears of it
    assert re.fullmatch(r"caller_7-\d{8}-\d{6}-\d{3}\.jsonl", path.name)
    replayed = read(path)
    assert (replayed.same, replayed.header.targets) == (True, ("stage/one",))
    assert decisions(replayed) == [(outage.fault.rule, outage.decision) for outage in story]
    assert replayed.steps[-1].line.at - replayed.header.began == pytest.approx(replayed.header.now - replayed.header.began)


async def test_nothing_secret_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(attempts=3, wording=Wording(owed="a secret wording"))
    async with (
        stage(one=[fails, fails, 503]) as it,
        talk(it, monkeypatch=monkeypatch, settings=settings, recordings=tmp_path) as session,
    ):
        await session.send_text("a secret that the user types")
        for at in range(0, 200):
            session.send_audio((speech(400) + quiet(400))[at * FRAME : (at + 1) * FRAME])
        await until_over(session)
    assert any(call.handle == "a handle that is a secret" for call in it.calls), "a handle was used"
    assert any("text" in message for call in it.calls for message in call.other), "a text was sent"
    path = only(tmp_path)
    written = path.read_text()
    assert "secret" not in written
    assert len(written) < 20_000, "no audio either"
    assert read(path).same


async def test_without_a_folder_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNBROKEN_RECORDINGS", raising=False)
    async with stage(one=[503]) as it, talk(it, monkeypatch=monkeypatch, settings=Settings(attempts=1)) as session:
        await until_over(session)
    assert names(tmp_path) == []


async def test_the_environment_names_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNBROKEN_RECORDINGS", str(tmp_path))
    async with stage(one=[503]) as it, talk(it, monkeypatch=monkeypatch, settings=Settings(attempts=1)) as session:
        await until_over(session)
    path = only(tmp_path)
    assert read(path).same


async def test_a_folder_that_cannot_be_written_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = Settings(attempts=1)
    async with (
        stage(one=[503]) as it,
        talk(it, monkeypatch=monkeypatch, settings=settings, recordings=tmp_path / "file") as session,
    ):
        events = await until_over(session)
        assert isinstance(events[-1], unbroken.Escalated)
        with pytest.raises(OSError, match="file"):
            session.record(tmp_path / "file" / "call.jsonl")
    assert any("no recording in" in message for message in caplog.messages)


async def test_a_bug_of_this_side_is_in_the_recording(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def ready(call: Call) -> None:
        call.say(ready=True)

    async with stage(one=[ready]) as it, talk(it, monkeypatch=monkeypatch, recordings=tmp_path) as session:
        machine = session._supervisor.machine
        monkeypatch.setattr(session._supervisor, "_feed", lambda happened, now: machine.feed(Input.GO, now))
        await until_over(session)
    path = only(tmp_path)
    replayed = read(path)
    last = replayed.steps[-1].line
    assert isinstance(last, Fed)
    assert (last.input, last.commands, replayed.same) == (Input.GO, None, True)


class Mine:
    """Gives up at once."""

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        return Escalate(because="I give up.", rule="mine")

    def __repr__(self) -> str:
        return "<Mine>"


async def test_an_applications_own_policy_is_named_and_can_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = unbroken.Rule(id="own-rule", fault="quota", http=(503,))
    async with (
        stage(one=[503]) as it,
        talk(it, monkeypatch=monkeypatch, policy=Mine(), rules=[own], recordings=tmp_path) as session,
    ):
        await until_over(session)
    path = only(tmp_path)
    replayed = read(path)
    assert (replayed.header.policy, replayed.header.policy_repr) == ("", "<Mine>")
    assert (replayed.same, replayed.foreign_rules, replayed.foreign_policy) == (True, 1, 1)
    replayed = read(path, policy=Mine(), rules=lambda target: [own] if target == "stage/one" else [])
    assert (replayed.same, replayed.foreign_rules, replayed.foreign_policy) == (True, 0, 0)
    assert not read(path, policy=DefaultPolicy()).same


async def test_a_recording_can_be_had_at_any_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def greet(call: Call) -> None:
        call.say(ready=True)
        await call.listen()

    async with stage(one=[greet]) as it, talk(it, monkeypatch=monkeypatch, name="caller-7") as session:
        first = session.record(tmp_path / "first.jsonl")
        async for event in session:
            if isinstance(event, unbroken.Connected):
                break
        second = session.record(str(tmp_path))
        await session.aclose()
        third = session.record(tmp_path / "first.jsonl")
        assert first == third == tmp_path / "first.jsonl"
    assert re.fullmatch(r"caller-7-\d{8}-\d{6}-\d{3}\.jsonl", second.name)
    assert json.loads(second.read_bytes().splitlines()[-2])["state"] == "LISTENING"
    assert json.loads(third.read_bytes().splitlines()[-2])["state"] == "CLOSED"
    assert read(second).same
    assert read(third).same
