"""Names: asked of the resolver, remembered for a while, and of use when the resolver is not."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest

from unbroken.transports import tcp
from unbroken.transports.names import FRESH, SLOW, STALE, Address, Names
from unbroken.transports.tcp import connect_tcp

pytestmark = pytest.mark.anyio


class Resolver:
    """Stands in for the system's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] | None = ["192.0.2.1", "192.0.2.2"]
        self.takes = 0.0
        self.asked = 0
        monkeypatch.setattr(anyio, "getaddrinfo", self.answer)

    async def answer(self, host: str, port: int, **options: object) -> list[tuple[Any, ...]]:
        self.asked += 1
        await anyio.sleep(self.takes)
        if self.addresses is None:
            raise socket.gaierror(socket.EAI_AGAIN, "no name service")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


def hosts(addresses: list[Address]) -> list[str]:
    return [address[3][0] for address in addresses]


async def test_an_answer_is_used_for_a_minute_without_asking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    assert not (await names.find("here", 443))[1]
    await anyio.sleep(FRESH - 1)
    assert (await names.find("here", 443))[1]
    assert resolver.asked == 1
    await anyio.sleep(1)
    assert not (await names.find("here", 443))[1]
    assert resolver.asked == 2


async def test_the_address_that_worked_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    addresses, _ = await names.find("here", 443)
    names.worked("here", 443, addresses[1])
    assert hosts((await names.find("here", 443))[0]) == ["192.0.2.2", "192.0.2.1"]
    await anyio.sleep(FRESH)
    assert hosts((await names.find("here", 443))[0]) == ["192.0.2.2", "192.0.2.1"], "while the resolver still names it"
    resolver.addresses = ["192.0.2.1"]
    await anyio.sleep(FRESH)
    assert hosts((await names.find("here", 443))[0]) == ["192.0.2.1"]


@pytest.mark.parametrize("trouble", ["fails", "is slow"])
async def test_an_older_answer_helps_where_the_resolver_is_in_trouble(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    await names.find("here", 443)
    await anyio.sleep(600)
    if trouble == "fails":
        resolver.addresses = None
    else:
        resolver.takes = 30.0
    began = anyio.current_time()
    addresses, remembered = await names.find("here", 443)
    assert remembered
    assert hosts(addresses) == ["192.0.2.1", "192.0.2.2"]
    assert anyio.current_time() - began < SLOW + 0.01


async def test_nothing_is_remembered_for_longer_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    await names.find("here", 443)
    await anyio.sleep(STALE)
    resolver.addresses = None
    with pytest.raises(socket.gaierror):
        await names.find("here", 443)


async def test_an_address_needs_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    assert hosts((await Names().find("127.0.0.1", 443))[0]) == ["127.0.0.1"]
    assert hosts((await Names().find("::1", 443))[0]) == ["::1"]
    assert resolver.asked == 0


async def test_a_memory_that_leads_nowhere_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    dialled: list[str] = []

    async def connect(address: Address) -> socket.socket:
        dialled.append(address[3][0])
        if address[3][0] != good:
            raise ConnectionRefusedError
        return socket.socket()

    monkeypatch.setattr(tcp, "_connect", connect)
    resolver.addresses, good = ["192.0.2.1"], "192.0.2.1"
    await (await connect_tcp("here", 443, names=names)).aclose()
    resolver.addresses, good = ["192.0.2.9"], "192.0.2.9"
    await (await connect_tcp("here", 443, names=names)).aclose()
    assert dialled == ["192.0.2.1", "192.0.2.1", "192.0.2.9"]
    good = "nowhere"
    with pytest.raises(ConnectionRefusedError):
        await connect_tcp("here", 443, names=names)
    assert dialled[3:] == ["192.0.2.9"], "where the resolver says the same, nothing is dialled twice"


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch)
    names = Names()
    for number in range(300):
        await names.find(f"host-{number}", 443)
    assert repr(names) == "<Names 256 remembered>"
