"""The short way of audio: what it may not change."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from tests.session.stage import Call, speech, stage
from tests.session.test_session import talk, until

from unbroken.abc import Socket
from unbroken.decisions import Ending
from unbroken.errors import SocketEnded
from unbroken.events import Connected

pytestmark = pytest.mark.anyio


class Listed(Socket):
    """Receives what it is given at its making, then ends."""

    def __init__(self, messages: list[bytes]) -> None:
        self.ending: Ending | None = None
        self.messages = messages

    async def receive(self) -> bytes:
        if not self.messages:
            raise SocketEnded(Ending(code=1000))
        return self.messages.pop(0)

    @property
    def buffered(self) -> int:
        return 0

    @property
    def last_received(self) -> float:
        return 0.0

    def send(self, data: bytes) -> None: ...

    def ping(self) -> None: ...

    def close(self, code: int = 1000, reason: str = "") -> None: ...

    def abort(self, ending: Ending | None = None) -> None: ...


async def test_any_socket_hands_over_in_order_pauses_when_told_to_and_goes_on() -> None:
    socket, taken = Listed([b"1", b"2", b"3"]), list[bytes]()

    def take(message: bytes) -> bool:
        taken.append(message)
        return message != b"2"

    await socket.pump(take)
    assert taken == [b"1", b"2"]
    with pytest.raises(SocketEnded):
        await socket.pump(take)
    assert taken == [b"1", b"2", b"3"]


async def test_a_flood_leaves_turns_of_the_loop_to_others() -> None:
    socket, taken, seen = Listed([b"x"] * 1000), list[bytes](), list[int]()

    async def other() -> None:
        while True:
            seen.append(len(taken))
            await anyio.lowlevel.checkpoint()

    def take(message: bytes) -> bool:
        taken.append(message)
        return True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        with pytest.raises(SocketEnded):
            await socket.pump(take)
        tasks.cancel_scope.cancel()
    assert len(taken) == 1000
    assert len({count for count in seen if 0 < count < 1000}) >= 10


async def test_half_a_sample_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[int] = []

    async def counts(call: Call) -> None:
        call.say(ready=True)
        while True:
            before = len(call.heard)
            await call.take()
            messages.append(len(call.heard) - before)

    pcm = speech(20)
    async with stage(one=[counts]) as it, talk(it, monkeypatch=monkeypatch) as session:
        await until(session, Connected, [])
        await anyio.sleep(1)
        for piece in (pcm[:1], pcm[1:2], pcm[2:101], pcm[101:]):
            session.send_audio(piece)
            await anyio.sleep(0.1)
        assert bytes(it.calls[0].heard) == pcm
    assert messages == [2, 98, 540]
