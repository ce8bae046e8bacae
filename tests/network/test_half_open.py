"""Real packets: half-open connections are found in time, bad roads end no link. Bounds are generous: machines are busy."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import anyio
import pytest
from benchmarks.half_open import CASES, WELL, Case, Found, run
from tests.session.stage import FRAME, Call, Stage, speech

import unbroken
from unbroken import registry
from unbroken.testing.relay import Relay, missing
from unbroken.transports.fast import FastTransport
from unbroken.transports.tcp import TcpStream

_MISSING = missing()

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(bool(_MISSING), reason=f"{_MISSING}; run it as root on Linux"),
]


BACKENDS = ("asyncio", "trio") if os.environ.get("UNBROKEN_LONG_TESTS") else ("asyncio",)
"""What is judged is the same code on both; ``UNBROKEN_LONG_TESTS=1`` lives every case on trio, too."""

AT_ONCE = 3
"""Connections that are lived at one time, each in a thread and on roads of its own: they wait and hardly compute, but a
relay that gets no processor for long is a road that has died."""

STOOD_STILL = 0.1
"""Seconds without the processor in which a relay's road dies, too: a suspicion is right then."""


class Lived(NamedTuple):
    """What was found, and the longest that the machine stood still meanwhile, in seconds."""

    found: Found
    longest_stop: float


async def _watched(work: Callable[[], Coroutine[Any, Any, Found]]) -> Lived:
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            began = anyio.current_time()
            await anyio.sleep(0.01)
            longest = max(longest, anyio.current_time() - began - 0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        found = await work()
        tasks.cancel_scope.cancel()
    return Lived(found, longest)


def live(case: Case, backend: str) -> Lived:
    """Lives one connection of a case: ten healthy seconds where nothing dies."""
    well = case in WELL
    work = functools.partial(run, case, healthy=10.0 if well else 1.0, wait=0.0 if well else 60.0)
    return anyio.run(_watched, work, backend=backend)


Live = Callable[[Case, str], Lived]


@pytest.fixture(scope="module")
def lived(request: pytest.FixtureRequest) -> Iterator[Live]:
    """Lives all cases that are asked for, several at a time; the tests look at what was found."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and "case" in item.fixturenames]
    given: list[dict[str, Any]] = [item.callspec.params for item in items if item.path == request.path]
    given.sort(key=lambda one: (one["case"] not in WELL, not one["case"].stops))  # those that take longest first
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = {(one["case"], one["backend"]): pool.submit(live, one["case"], one["backend"]) for one in given}
        yield lambda case, backend: found[case, backend].result()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_half_open_is_suspected_and_then_condemned(case: Case, backend: str, lived: Live) -> None:
    found, longest_stop = lived(case, backend)
    assert found.early == 0 or longest_stop > STOOD_STILL
    assert found.condemned is not None
    if not found.early:  # else it may be suspected still when it dies
        assert found.suspected is not None
        assert found.suspected < found.condemned
    assert found.cause == ("not_reading" if case.stops else "path_dead")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [WELL[3]], ids=lambda case: case.name)
def test_jitter_and_loss_end_nothing(case: Case, backend: str, lived: Live) -> None:
    assert lived(case, backend).found.condemned is None


class Listener:
    """The far end, as a `Stage` serves it."""

    def __init__(self, relay: Relay, port: int) -> None:
        self._relay = relay
        self._raw: socket.socket = relay.listen(port)

    async def serve(self, handler: Callable[[TcpStream], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                tasks.start_soon(handler, await self._relay.accept(self._raw))

    def close(self) -> None:
        self._raw.close()


class Road:
    """Stands in for a stage's memory network."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.listeners: list[Listener] = []

    def listen(self, host: str, port: int) -> Listener:
        self.listeners.append(Listener(self.relay, port))
        return self.listeners[-1]


@pytest.mark.anyio
async def test_a_session_leaves_a_path_that_dies_within_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(call: Call) -> None:
        call.say(ready=True, handle=f"h{call.number}")
        await call.listen()

    with Relay(delay=0.02) as relay:
        it, road = Stage(), Road(relay)
        it.network = road  # type: ignore[assignment]
        it.transport = FastTransport(connect=relay.connect, proxy=False)  # the one that sessions take
        monkeypatch.setattr(registry, "load", lambda group, name: it.provider)
        outages: list[unbroken.OutageBegan] = []
        recovered: list[unbroken.Recovered] = []
        live_at = told_at = 0.0
        async with anyio.create_task_group() as tasks:
            await it.serve("one", [script], tasks)
            with anyio.fail_after(120):
                async with unbroken.connect(it.target(), transport=it.transport) as session:

                    async def microphone() -> None:
                        pcm = speech(1000)
                        while True:
                            for at in range(0, len(pcm), FRAME):
                                session.send_audio(pcm[at : at + FRAME])
                                await anyio.sleep(0.02)

                    tasks.start_soon(microphone)
                    async for event in session:
                        match event:
                            case unbroken.Connected():
                                live_at = anyio.current_time()
                                await anyio.sleep(1.0)
                                relay.block("both")
                            case unbroken.OutageBegan():
                                outages.append(event)
                                told_at = anyio.current_time()
                                relay.block("neither")
                            case unbroken.Recovered():
                                recovered.append(event)
                                break
                            case _:
                                pass
                    tasks.cancel_scope.cancel()
        for listener in road.listeners:
            listener.close()
    assert [(outage.closure.ending.cause, outage.fault.rule, outage.fault.kind) for outage in outages] == [
        ("path_dead", "path-dead", "network")
    ]
    assert isinstance(outages[0].decision, unbroken.Retry)
    assert recovered[0].carry == "handle"
    assert 0 < recovered[0].steps.detect_ms <= (told_at - live_at) * 1000
