"""How soon a half-open connection is found, with real packets: ``python benchmarks/half_open.py [--runs N]``.

A WebSocket over a relay between two network namespaces (`unbroken.testing.relay`; root, on Linux) carries 50 frames of 929
bytes a second to a peer that sends as many back, or none. After three seconds the path dies: both ways, one way, or only the
peer's process. Measured is the time from there to the suspicion and to the condemnation, by the runtime's own watchdog. Then
the same connections live for a minute without a fault.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

import anyio
import anyio.abc
import msgspec

from unbroken.abc import Endpoint, Socket
from unbroken.core.health import Sample
from unbroken.errors import DialFailed, SocketEnded
from unbroken.messages import Judged
from unbroken.testing.relay import Relay, Way, missing
from unbroken.transports.fast import FastTransport
from unbroken.transports.server import ServerWebSocket, receive_upgrade
from unbroken.watchdog import Watchdog

FRAME: Final = b'{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000","data":"%s"}}}' % (b"A" * 853)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What happens.

    Attributes:
        name: for the table.
        way: what is swallowed from then on.
        talks: the peer sends as many frames as it gets; otherwise nothing.
        stops: the peer's process neither reads nor writes any more; its kernel goes on.
        jitter: seconds.
        loss: share of the packets, each way.
    """

    name: str
    way: Way = "both"
    talks: bool = True
    stops: bool = False
    jitter: float = 0.0
    loss: float = 0.0


CASES: Final = (
    Case(name="both ways lost"),
    Case(name="client to server lost", way="up"),
    Case(name="server to client lost", way="down"),
    Case(name="both ways lost, silent server", talks=False),
    Case(name="both ways lost, 0 to 30 ms jitter, 2 % loss", jitter=0.03, loss=0.02),
    Case(name="the server's process stops", way="neither", stops=True),
)

WELL: Final = (
    Case(name="clean"),
    Case(name="0 to 30 ms jitter", jitter=0.03),
    Case(name="0 to 30 ms jitter, 0.5 % loss", jitter=0.03, loss=0.005),
    Case(name="0 to 30 ms jitter, 2 % loss", jitter=0.03, loss=0.02),
    Case(name="0 to 30 ms jitter, 2 % loss, silent server", jitter=0.03, loss=0.02, talks=False),
)


class Client:
    """Stands in for a link: what the watchdog watches."""

    def __init__(self, socket: Socket) -> None:
        self.number = 1
        self.open = True
        self.index = 0
        self.socket = socket
        self.over = anyio.Event()
        self.suspected: list[float] = []
        self.condemned: tuple[float, Judged] | None = None

    def look(self, now: float) -> Sample:
        """Returns how the connection stands."""
        socket = self.socket
        return Sample(
            now=now,
            path=socket.path(),
            offered=self.index * len(FRAME),
            unsent=socket.buffered,
            silent_for=now - socket.last_received,
            slowest_pong=socket.slowest_pong,
        )

    def ping(self) -> None:
        """Asks for a pong."""
        self.socket.ping()

    def told(self, judged: Judged) -> None:
        """Is told what the watchdog sees."""
        if judged.cause is None:
            self.suspected.append(time.monotonic())
        else:
            self.condemned = (time.monotonic(), judged)
            self.open = False
            self.over.set()

    async def speak(self) -> None:
        """Sends 50 frames a second."""
        began = anyio.current_time()
        while True:
            self.index += 1
            self.socket.send(FRAME)
            await anyio.sleep_until(began + self.index * 0.02)

    async def read(self) -> None:
        """Reads to the end."""
        try:
            while True:
                await self.socket.receive()
        except SocketEnded:
            self.open = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one run showed, in seconds since the path died; None: it did not come to that.

    Attributes:
        suspected: when the link was suspected first.
        condemned: when it was condemned.
        cause: for what.
        early: suspicions before the path died.
    """

    suspected: float | None
    condemned: float | None
    cause: str | None
    early: int


async def run(case: Case, *, delay: float = 0.02, healthy: float = 3.0, wait: float = 30.0, seed: int = 1) -> Found:
    """Lives one connection.

    Args:
        case: what happens to it.
        delay: of the road, one way, seconds.
        healthy: seconds before the path dies.
        wait: seconds until it is given up that the link be condemned; 0: the path does not die.
        seed: of the relay's dice.
    """
    stopped = anyio.Event()
    with Relay(delay=delay, jitter=case.jitter, loss=case.loss, seed=seed) as relay, relay.listen() as listener:

        async def serve(tasks: anyio.abc.TaskGroup) -> None:
            stream = await relay.accept(listener)
            async with await receive_upgrade(stream) as request:
                peer = await request.accept(tasks=tasks)
                await _answer(peer, case, stopped)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, tasks)
            transport = FastTransport(connect=relay.connect, proxy=False)
            endpoint = Endpoint(url=f"ws://far:{listener.getsockname()[1]}/")
            client = Client(await transport.open(endpoint, tasks=tasks, on_step=lambda step: None))
            watchdog = Watchdog()
            watchdog.watch(client, client.told)
            for work in (watchdog.run, client.speak, client.read):
                tasks.start_soon(work)
            await anyio.sleep(healthy)
            early = len(client.suspected)
            died = relay.block(case.way) if wait else time.monotonic()
            if case.stops:
                stopped.set()
            with anyio.move_on_after(wait):
                await client.over.wait()
            tasks.cancel_scope.cancel()
    later = [at - died for at in client.suspected[early:]]
    at, judged = client.condemned or (0.0, None)
    return Found(
        suspected=later[0] if later else None,
        condemned=at - died if judged is not None else None,
        cause=judged.cause if judged is not None else None,
        early=early,
    )


async def _answer(peer: ServerWebSocket, case: Case, stopped: anyio.Event) -> None:
    while not stopped.is_set():
        try:
            await peer.receive()
        except (SocketEnded, DialFailed):
            return
        if case.talks and not stopped.is_set():
            peer.send(FRAME)
    await anyio.sleep_forever()


def _spread(values: Sequence[float | None]) -> str:
    known = [value * 1000 for value in values if value is not None]
    if not known:
        return f"never ({len(values)} of {len(values)})"
    text = f"{statistics.median(known):.0f} / {max(known):.0f}"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"


async def _measure(runs: int, trip: float, minutes: float) -> None:
    print(f"{'p50 / max in ms, ' + str(runs) + ' runs each':48}{'suspected':>18}{'condemned':>18}  cause")
    for case in CASES:
        found = [await run(case, delay=trip / 2, seed=number + 1) for number in range(runs)]
        causes = ", ".join(sorted({one.cause or "none" for one in found}))
        print(
            f"{case.name:48}{_spread([one.suspected for one in found]):>18}"
            f"{_spread([one.condemned for one in found]):>18}  {causes}",
            flush=True,
        )
    print(f"\n{f'{60 * minutes:.0f} s without a fault':48}{'suspicions':>18}{'condemned':>18}")
    for case in WELL:
        one = await run(case, delay=trip / 2, healthy=60 * minutes, wait=0.0)
        print(f"{case.name:48}{one.early:>18}{'no' if one.condemned is None else 'YES':>18}", flush=True)


def main() -> int:
    """Measures and prints; returns 1 where there can be no relay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="of each case (default: %(default)s)")
    parser.add_argument("--trip", type=float, default=0.04, help="the round trip in seconds (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=1.0, help="without a fault, each (default: %(default)s)")
    given = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    print(f"Linux {platform.release()}, Python {platform.python_version()}, {given.trip * 1000:.0f} ms round trip\n")
    anyio.run(_measure, given.runs, given.trip, given.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
