"""A history that is told within its room, with the application's own words for what it leaves out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

import anyio
import pytest
from tests.session.stage import Call, stage
from tests.session.test_session import greet, until

import unbroken
from unbroken import registry
from unbroken.config import Settings
from unbroken.events import Turn

pytestmark = pytest.mark.anyio

SAID = (
    Turn(role="user", text="My name is Ada, and I would like to order."),
    Turn(role="model", text="Hello Ada, what would you like?"),
    Turn(role="user", text="Two of the red ones."),
)


async def told(
    summary: Callable[[Sequence[Turn]], Any] | None, monkeypatch: pytest.MonkeyPatch, *, links: int = 1
) -> list[list[list[str]]]:
    """Returns what each of some links is told, where there is room for the last turn and a few words."""

    async def dies(call: Call) -> None:
        call.say(ready=True)
        with anyio.move_on_after(1):
            await call.listen()
        call.socket.abort()

    async with stage(one=[*[dies] * (links - 1), greet]) as it:
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.connect(
            it.target(), history=SAID, summary=summary, settings=Settings(history_tokens=15), transport=it.transport
        ) as session:
            await until(session, unbroken.Connected)
            for _ in range(links - 1):
                await until(session, unbroken.Recovered)
        return [call.history for call in it.calls]


async def test_a_summary_is_told_in_the_place_of_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Sequence[Turn]] = []

    def summary(turns: Sequence[Turn]) -> str:
        given.append(turns)
        return "(Ada orders.)"

    assert await told(summary, monkeypatch, links=2) == [[["user", "(Ada orders.)"], ["user", "Two of the red ones."]]] * 2
    assert given == [SAID[:2]] * 2


async def test_without_one_the_last_turns_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await told(None, monkeypatch) == [[["user", "Two of the red ones."]]]


def fails(turns: Sequence[Turn]) -> str:
    raise LookupError("a secret")


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (fails, "failed with LookupError"),
        (cast("Callable[[Sequence[Turn]], str]", lambda turns: None), "returned NoneType"),
        (lambda turns: "\ud83d", "returned half a surrogate pair"),
        (cast("Callable[[Sequence[Turn]], str]", lambda: ""), "failed with TypeError"),
    ],
    ids=["raises", "returns no text", "returns what cannot be sent", "takes no turns"],
)
async def test_one_that_does_not_work_is_done_without_and_named_once(
    summary: Callable[[Sequence[Turn]], str],
    said: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await told(summary, monkeypatch, links=3) == [[["user", "Two of the red ones."]]] * 3
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert said in errors[0]
    assert "a secret" not in errors[0]
