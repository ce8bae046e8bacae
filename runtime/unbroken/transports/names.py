"""Where names lead: asked of the resolver, and remembered for as long as this page says."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

import anyio

__all__ = ["FRESH", "SLOW", "STALE", "Address", "Names"]

Address: TypeAlias = tuple[int, int, int, Any]
"""Family, type, protocol, address."""

FRESH: Final = 60.0
"""Seconds for which an answer is used without asking again."""

STALE: Final = 3600.0
"""Seconds for which an answer is used where the resolver fails or is slow: an outage often takes the name service along."""

SLOW: Final = 0.1
"""Seconds that the resolver has where an older answer is at hand."""

_HELD: Final = 256
"""Names that are remembered; the ones asked for longest ago go first."""


class _Known:
    """What is known of one name."""

    __slots__ = ("addresses", "asked_at", "good")

    def __init__(self, addresses: list[Address], asked_at: float) -> None:
        self.addresses = addresses
        self.asked_at = asked_at
        self.good: Address | None = None


class Names:
    """Resolves names, and remembers where they led. The address that last worked is the first to be tried."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Known] = {}

    def __repr__(self) -> str:
        return f"<Names {len(self._known)} remembered>"

    async def find(self, host: str, port: int) -> tuple[list[Address], bool]:
        """Returns the addresses of a name, in the order in which they are to be tried, and whether that is by memory.

        Raises:
            socket.gaierror: the name cannot be resolved, and nothing is remembered.
        """
        known = self._known.get((host, port))
        age = math.inf if known is None else anyio.current_time() - known.asked_at
        if known is None or age >= STALE:
            return await self.ask(host, port), False
        if age < FRESH:
            return _first(known.good, known.addresses), True
        try:
            with anyio.move_on_after(SLOW):
                return await self.ask(host, port), False
        except OSError:
            pass  # an older answer is better than none
        return _first(known.good, known.addresses), True

    async def ask(self, host: str, port: int) -> list[Address]:
        """Asks the resolver.

        Raises:
            socket.gaierror: the name cannot be resolved.
        """
        addresses = _literal(host, port) or await _resolve(host, port)
        good = self._known[host, port].good if (host, port) in self._known else None
        self._known.pop((host, port), None)
        self._known[host, port] = known = _Known(addresses, anyio.current_time())
        if good in addresses:
            known.good = good
        while len(self._known) > _HELD:
            del self._known[next(iter(self._known))]
        return _first(known.good, addresses)

    def worked(self, host: str, port: int, address: Address) -> None:
        """An address was connected to."""
        if (known := self._known.get((host, port))) is not None:
            known.good = address


def _first(good: Address | None, addresses: list[Address]) -> list[Address]:
    return addresses if good is None else [good, *(address for address in addresses if address != good)]


def _literal(host: str, port: int) -> list[Address]:
    """Reads an address that needs no resolver; empty: it is a name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return []
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


async def _resolve(host: str, port: int) -> list[Address]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [(family, kind, protocol, address) for family, kind, protocol, _, address in found]
    first = addresses[0][0]
    # Families take turns, so that one broken family costs one delay (RFC 8305, section 4).
    pairs: Iterable[tuple[Address | None, Address | None]] = zip_longest(
        [a for a in addresses if a[0] == first], [a for a in addresses if a[0] != first]
    )
    return [address for address in chain.from_iterable(pairs) if address is not None]
