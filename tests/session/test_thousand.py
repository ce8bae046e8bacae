"""A thousand sessions cut in one instant, the service away for 20 s and then able to accept 50 links a second."""

from __future__ import annotations

import os
import random
import statistics
from array import array
from collections import Counter

import anyio
import msgspec
import pytest
from tests.session.stage import Call, Script, stage

import unbroken
from unbroken import registry
from unbroken.core.breaker import LONGEST
from unbroken.core.fleet import Fleet

pytestmark = pytest.mark.anyio

SESSIONS = {"asyncio": 1000 if os.environ.get("UNBROKEN_LONG_TESTS") else 300, "trio": 100}
"""A third of them is a queue of six seconds already; ``UNBROKEN_LONG_TESTS=1`` cuts all thousand. On trio fewer, since its
part of the virtual time takes longer and there is nothing new to see."""

RATE = 200
"""Samples per second; the least that speech can be told from silence by, so that an hour of it is small."""

AWAY = 20.0
PER_SECOND = 50
MARK = 5000
"""What a sample of the first second says."""

PAUSE = 6.0
"""Seconds from the begin of one second of speech to the begin of the next; between them the microphone is off."""

SECOND = RATE * 2
"""Bytes of a second of audio, which is sent in one piece."""


def said(second: int) -> bytes:
    """One second of speech; every sample says which."""
    return (MARK + second).to_bytes(2, "little", signed=True) * RATE


class Service:
    """Serves any number of sessions, keeps what each was heard to say, and refuses links beyond what it can accept."""

    def __init__(self) -> None:
        self.back_at = 0.0
        self.accepted: list[float] = []
        self.refused = 0
        self.heard: dict[str, Counter[int]] = {}
        self.calls: list[Call] = []

    def on_dial(self) -> Script | int:
        now = anyio.current_time()
        if now < self.back_at or sum(at > now - 1.0 for at in self.accepted[-PER_SECOND:]) >= PER_SECOND:
            self.refused += 1
            return 503
        self.accepted.append(now)
        return self.talk

    async def talk(self, call: Call) -> None:
        """Answers each second of speech, and gives a handle that holds what was heard up to there."""
        who, _, _ = (call.handle or f"{len(self.heard)}").partition(":")
        heard = self.heard.setdefault(who, Counter())
        self.calls.append(call)
        call.say(ready=True)
        turn = 0
        while True:
            await call.take()
            turn += len(call.heard)
            heard.update(array("h", bytes(call.heard)))
            call.heard.clear()
            if turn < SECOND:
                continue
            turn -= SECOND
            await anyio.sleep(0.5)  # models think; an answer that comes at once is not known to be one to what was just sent
            call.reply(ms=20, handle=f"{who}:{heard.total()}")


class Caller:
    """One session, and what became of it."""

    def __init__(self, session: unbroken.Session) -> None:
        self.session = session
        self.recoveries: list[unbroken.Recovered] = []
        self.lost_ms = 0.0
        self.seconds = 0

    async def speak(self, until: float) -> None:
        while anyio.current_time() < until:
            self.session.send_audio(said(self.seconds))
            self.seconds += 1
            await anyio.sleep(PAUSE)

    async def listen(self) -> None:
        async for event in self.session:
            match event:
                case unbroken.Recovered():
                    self.recoveries.append(event)
                    self.lost_ms += event.lost_ms
                case unbroken.AudioLost():
                    self.lost_ms += event.lost_ms
                case unbroken.Escalated():
                    raise AssertionError(event.because)


async def test_a_thousand_sessions_come_back_in_order(monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str) -> None:
    sessions = SESSIONS[anyio_backend_name]
    service, dice = Service(), random.Random(7)
    async with stage(one=service.on_dial) as it:
        it.profile = msgspec.structs.replace(it.profile, input_rate=RATE, catch_up=1000.0)
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        async with unbroken.Runtime(transport=it.transport, fleet=Fleet(), random=dice.random) as runtime:
            callers = [Caller(runtime.open(it.target())) for _ in range(sessions)]
            async with anyio.create_task_group() as tasks:
                for caller in callers:
                    tasks.start_soon(caller.listen)
                await anyio.sleep(sessions / PER_SECOND + 5)
                cut = anyio.current_time() + 10
                for caller in callers:
                    tasks.start_soon(caller.speak, cut + AWAY + 28)
                await anyio.sleep(10)
                assert len(service.accepted) == sessions
                service.back_at = cut + AWAY
                first_dial = len(it.dials)
                for caller in callers:
                    caller.recoveries.clear()  # of the crowd that dialled first, the service may have refused a few
                for call in service.calls:
                    call.socket.abort()
                await anyio.sleep(AWAY + 33)
                for caller in callers:
                    tasks.start_soon(caller.session.aclose)
            assert runtime.fleet.outstanding == 0
    dials = [at for at, _ in it.dials[first_dial:]]
    assert all(len(caller.recoveries) == 1 for caller in callers), "all come back, once"

    # no storm: the ceiling holds in every second, and after the first of them hardly anybody dials while nobody answers
    assert all(later - earlier >= 1.0 for earlier, later in zip(dials, dials[PER_SECOND:], strict=False))
    assert sum(cut + 1.0 < at < service.back_at for at in dials) <= AWAY / LONGEST, "an open breaker's probes"
    assert len(dials) <= sessions * 1.05 + PER_SECOND

    # fairness: all were cut at once, and nobody waited twice as long as the one in the middle
    waits = sorted(caller.recoveries[0].steps.total_ms for caller in callers)
    assert waits[-1] < 2 * statistics.median(waits)
    assert waits[-1] < (AWAY + sessions / PER_SECOND + 10) * 1000

    # nothing is lost but what was too old to be replayed, and of that the sessions say all (who was whom is not asked)
    seconds = callers[0].seconds
    missing = sorted(
        sum(RATE - min(RATE, heard[MARK + second]) for second in range(seconds)) * 1000 / RATE
        for heard in service.heard.values()
    )
    lost = sorted(caller.lost_ms for caller in callers)
    assert missing == pytest.approx(lost, abs=0.001)
    for caller in callers:
        assert caller.seconds == seconds
        assert caller.lost_ms <= caller.recoveries[0].steps.total_ms - 8_000
