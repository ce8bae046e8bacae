"""Sessions over the transport that they take on asyncio: it is that one, and it recovers there and on uvloop."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import unbroken
from unbroken.transports.fast import FastSocket
from unbroken_gemini.testing import Behaviour, simulated

SOON = Behaviour(setup_time=(0.0, 0.0), reply_time=(0.0, 0.0), word_time=0.02)


async def converse(opened: list[object]) -> None:
    """Asks once on each link, the second of which comes after a reset."""
    answers = 0
    async with (
        simulated(behaviour=SOON, replies=["One.", "Two."]) as service,
        unbroken.connect(service.target("gemini-3.8-live")) as session,
    ):
        with anyio.fail_after(60):
            await session.send_text("first")
            async for event in session:
                if isinstance(event, unbroken.ReplyEnded) and (answers := answers + 1) == 1:
                    service.inject("reset")
                if isinstance(event, unbroken.Recovered):
                    await session.send_text("second")
                if answers == 2:
                    break
    assert len(opened) >= 2


@pytest.mark.sockets
@pytest.mark.parametrize("options", [{}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def test_a_session_recovers_on_the_fast_transport(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if options:
        pytest.importorskip("uvloop", reason="install uvloop to see that sessions work there")
    opened: list[object] = []
    start = FastSocket.start

    def seen(self: FastSocket, tasks: anyio.abc.TaskGroup, rest: bytes) -> None:
        opened.append(self)
        start(self, tasks, rest)

    monkeypatch.setattr(FastSocket, "start", seen)
    anyio.run(converse, opened, backend_options=options)
