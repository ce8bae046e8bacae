"""The world of one call: the simulated services, the road to them, and what they saw in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.suite.evidence import Connection, Struck
from benchmarks.suite.model import CallModel
from benchmarks.suite.road import Road, road
from benchmarks.suite.scenarios import LOSE, Row, Strike
from unbroken.testing.relay import FAR, Relay
from unbroken.testing.report import Report
from unbroken.testing.service import SimulatedService, serve

__all__ = ["Place", "World", "world"]

_AHEAD = 0.2  # seconds that a service sends a reply ahead of its playing
_FAULT = "fault: "


class Place:
    """One service, and the road to it.

    Attributes:
        name: "primary" or "backup".
        service: itself.
        road: to it; None: there is nothing between.
        url: for contenders.
    """

    def __init__(self, name: str, service: SimulatedService, relay: Road | None, url: str) -> None:
        self.name = name
        self.service = service
        self.road = relay
        self.url = url

    def connections(self) -> list[Connection]:
        """Returns every connection that reached the service."""
        began = self.road.began if self.road is not None else []
        links = {link.number: link for link in self.service.report().links}
        return [
            Connection(
                where=self.name,
                number=visit.number,
                began=began[place] if place < len(began) else visit.steps.accepted,
                dialled=place < len(began),
                steps=visit.steps,
                link=links.get(visit.number),
            )
            for place, visit in enumerate(self.service.connections)
        ]


class World:
    """Both services of a call.

    Attributes:
        primary: the first target.
        backup: the second; None: the row has none.
        struck: the faults that struck so far.
        ca_file: with the certificate authorities of both.
        namespace: the network namespace from which the services can be reached, as a file; "": the machine's own.
    """

    def __init__(self, places: Sequence[Place], struck: list[Struck], ca_file: Path, packets: Relay | None) -> None:
        self.primary = places[0]
        self.backup = places[1] if len(places) > 1 else None
        self.struck = struck
        self.ca_file = ca_file
        self.namespace = "" if packets is None else packets.entrance
        self._packets = packets
        self._places = places

    @property
    def connections(self) -> list[Connection]:
        """Every connection, in the order in which they began."""
        return sorted((one for place in self._places for one in place.connections()), key=lambda one: one.began)

    def account(self, *, upto: int) -> tuple[Report, bool]:
        """Returns the report of the service that serves in the end, and whether its model knows the tool's result.

        Args:
            upto: up to which position of the caller's audio.
        """
        serving = max(self._places, key=lambda place: _heard_last(place.service))
        model = serving.service.simulator
        assert isinstance(model, CallModel)
        return serving.service.report(upto=upto), model.knows_result()

    async def strike(self, row: Row, *, began: float) -> None:
        """Lets the row's faults strike at their moments; those of the beginning are there already."""
        clock = asyncio.get_running_loop().time
        for strike in sorted((one for one in row.strikes if one.at), key=lambda one: one.at):
            await asyncio.sleep(began + strike.at - clock())
            if strike.fault.startswith(LOSE):
                await self._lose(strike, seconds=float(strike.fault.removeprefix(LOSE).removesuffix("s")))
            else:
                self.inject(strike.fault, strike.where)

    async def _lose(self, strike: Strike, *, seconds: float) -> None:
        assert self._packets is not None, "the row has no packets to lose"
        newest = self.primary.service.open[-1].number if self.primary.service.open else 0
        at = self._packets.block("both")
        self.struck.append(Struck(at=at, where=strike.where, number=newest, fault=strike.fault))
        await asyncio.sleep(seconds)
        self._packets.block("neither")

    def inject(self, fault: str, where: str) -> None:
        """Makes a fault strike at its moment."""
        for place in self._places:
            if place.name == where:
                place.service.inject(fault)


@asynccontextmanager
async def world(row: Row, *, seed: int, folder: Path, backup: bool) -> AsyncGenerator[World]:
    """Makes the world of one call while the body runs.

    Args:
        row: what is going to happen.
        seed: of the services' and the road's dice.
        folder: for the certificates.
        backup: there is a second target.
    """
    places: list[Place] = []
    struck: list[Struck] = []
    async with AsyncExitStack() as stack:
        authorities: list[bytes] = []
        packets = stack.enter_context(Relay(delay=row.rtt / 2000, seed=seed)) if row.packets else None
        for number, name in enumerate(("primary", "backup") if backup else ("primary",)):
            clock = asyncio.get_running_loop().time
            model = CallModel(row.conversation, ahead=_AHEAD, hears_in_calls=True, seed=seed + number)
            note = partial(_note, struck, name, clock)
            service = await stack.enter_async_context(serve(model, seed=seed + number, watch=note))
            assert service.ca_file is not None
            authorities.append(service.ca_file.read_bytes())
            relay, url = await _road_to(service, row, stack, packets, seed=seed + number)
            places.append(Place(name, service, relay, url))
        ca_file = folder / "authorities.pem"
        ca_file.write_bytes(b"".join(authorities))
        made = World(places, struck, ca_file, packets)
        for strike in row.strikes:
            if not strike.at:
                made.inject(strike.fault, strike.where)
        yield made


async def _road_to(
    service: SimulatedService, row: Row, stack: AsyncExitStack, packets: Relay | None, *, seed: int
) -> tuple[Road | None, str]:
    if not row.rtt and not row.jitter and row.uplink is None and packets is None:
        return None, service.base_url
    port = urlsplit(service.base_url).port
    assert port is not None
    if packets is not None:  # whose packets are under way long enough without a relay of bytes
        _, near = await stack.enter_async_context(road(port, listener=packets.listen()))
        return None, f"https://{FAR}:{near}"
    rate = None if row.uplink is None else row.uplink * 1000 / 8
    way = road(port, rtt=row.rtt / 1000, jitter=row.jitter / 1000, rate=rate, seed=seed)
    relay, near = await stack.enter_async_context(way)
    return relay, f"https://127.0.0.1:{near}"


def _note(struck: list[Struck], where: str, clock: Callable[[], float], _: float, number: int, what: str) -> None:
    if what.startswith(_FAULT):
        struck.append(Struck(at=clock(), where=where, number=number, fault=what.removeprefix(_FAULT)))


def _heard_last(service: SimulatedService) -> float:
    """Returns when the newest connection that heard the caller began to; before everything where there is none."""
    return max((link.heard_at for link in service.report().links if link.heard_at is not None), default=-1.0)
