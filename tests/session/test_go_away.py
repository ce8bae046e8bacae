"""An announced end, whatever the moment: no audio is lost or said again unsaid, and one handover is made for it."""

from __future__ import annotations

import anyio
import pytest
from tests.session import stage
from tests.session.schedules import MODELS, Outcome, Schedule, call
from tests.session.test_session import greet, talk, until

from unbroken.config import Settings
from unbroken.events import Event, OutageBegan, Recovered, ReplyEnded, ToolCall
from unbroken_gemini.testing import Call, Reply, Say

pytestmark = pytest.mark.anyio

STORY = Say(text=" ".join(["and so on"] * 5) + ".")
"""A reply of four and a half seconds."""

MOMENTS = {"reply": "@reply+0.5s", "user": "@user+0.5s", "tool": "@tool+0.5s", "idle": ""}
"""When the end is announced: while the model speaks, while the user does, in a tool call, and while nobody does anything."""

REST = 4.8
"""Seconds into the call: the user's first turn has been answered, and the second has not begun."""

TOGETHER = [
    (when, left, MODELS[number % len(MODELS)], bool(number % 2))
    for number, (when, left) in enumerate((when, left) for when in MOMENTS for left in (50.0, 3.0, 1.0))
]
"""Every moment with every time left; models and the service's ways take turns."""


async def announced(
    when: str, left: float, *, model: str, harsh: bool = False, then: tuple[float, str] | None = None
) -> Outcome:
    """A call on one model, of which one end is announced; the user speaks for 15 s.

    Args:
        when: one of `MOMENTS`.
        left: seconds from the announcement to the end.
        model: of the only target.
        harsh: the service has every known pitfall.
        then: what strikes so many seconds after the announcement, on the same connection.
    """
    faults = [_at(when, 0.0, f"goaway:{left:g}s")]
    if then is not None:
        faults.append(_at(when, *then))
    replies: dict[str, Reply] = {"tool": Call(name="look_up", then=STORY.text), "idle": Say(text="Yes.")}
    schedule = Schedule(
        seed=3,
        harsh=harsh,
        spare="never",
        seconds=15.0,
        models=(model,),
        faults=tuple(faults),
        speech=2 if when == "user" else 0,
    )
    return await call(schedule, replies=[replies.get(when, STORY)])


def _at(when: str, after: float, fault: str) -> tuple[float, str]:
    if when == "idle":
        return REST + after, fault
    stage, _, seconds = MOMENTS[when].partition("+")
    return 1.0, f"{fault}{stage}+{float(seconds[:-1]) + after:g}s"


def check(outcome: Outcome, when: str) -> None:
    """Checks what holds at every announced end: the service counts as the session says, and there is one handover."""
    assert outcome.broken == ()
    assert outcome.report.lost_speech_ms == 0
    assert outcome.lost_ms == 0
    assert len([event for event in outcome.events if isinstance(event, ToolCall)]) == (when == "tool")
    outages = [event for event in outcome.events if isinstance(event, OutageBegan)]
    assert [(outage.link, outage.fault.kind, outage.closure.ending.cause) for outage in outages] == [
        (1, "planned", "handover")
    ]
    assert outcome.recoveries == 1
    assert [link.closed for link in outcome.report.links] == ["", ""], "the service never had to end a connection"


@pytest.mark.parametrize(("when", "left", "model", "harsh"), TOGETHER)
async def test_an_announced_end_costs_no_audio(when: str, left: float, model: str, harsh: bool) -> None:
    outcome = await announced(when, left, model=model, harsh=harsh)
    check(outcome, when)
    ended = [event.how for event in outcome.events if isinstance(event, ReplyEnded)]
    if left == 50.0 or when in ("user", "idle"):
        assert "cut" not in ended, "there was time to wait for the end of the reply, or none was given"
    if left == 50.0 or when == "idle":
        assert outcome.replayed_ms == 0, "at a turn boundary there is nothing to be sent again"
        assert outcome.repeated_ms == 0


@pytest.mark.parametrize("when", ["reply", "user", "tool"])
async def test_a_service_that_falls_silent_after_the_announcement_is_left_in_time(when: str) -> None:
    outcome = await announced(when, 3.0, model=MODELS[0], then=(0.3, "silence"))
    check(outcome, when)


@pytest.mark.parametrize("when", ["reply", "user", "tool"])
async def test_announcements_that_come_again_are_one_handover(when: str) -> None:
    outcome = await announced(when, 50.0, model=MODELS[0], then=(0.2, "goaway:49s"))
    check(outcome, when)


async def test_a_tools_answer_is_left_to_the_link_that_has_it_until_its_reply_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the user said can be heard again on the next link; what a tool answered is of full use to the one that asked."""

    async def thinks_it_over(call: stage.Call) -> None:
        call.say(ready=True)
        call.say(handle="h1")
        await call.take()
        call.say(tool="x")
        await call.take()
        call.say(go_away=8.0)
        await anyio.sleep(3.0)
        call.reply(ms=500)
        await call.listen()

    async with (
        stage.stage(one=[thinks_it_over, greet]) as it,
        talk(it, monkeypatch=monkeypatch) as session,
    ):
        await session.send_text("Look it up.")
        asked = await until(session, ToolCall)
        await session.send_tool_result(asked.call_id, {"found": True})
        seen: list[Event] = []
        await until(session, Recovered, seen)
        assert [event.how for event in seen if isinstance(event, ReplyEnded)] == ["complete"]
        assert [type(event) for event in seen if isinstance(event, ReplyEnded | OutageBegan)] == [ReplyEnded, OutageBegan]
        assert it.calls[1].handle == "h1"


async def test_a_reply_that_has_begun_is_sign_enough_that_the_model_had_the_users_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answers(call: stage.Call) -> None:
        call.say(ready=True)
        call.say(handle="h1")
        await call.take()
        call.say(go_away=50.0)
        call.reply(ms=500, handle="h2")
        await call.listen()

    async with (
        stage.stage(one=[answers, greet]) as it,
        talk(it, monkeypatch=monkeypatch, settings=Settings(spare="never")) as session,
    ):
        await session.send_text("Hello?")
        began = anyio.current_time()
        await until(session, Recovered)
        assert anyio.current_time() - began < 1.0, "not four seconds after the turn"
        assert it.calls[1].handle == "h2"
