"""A TCP sender over a road that delays, loses and stands still, simulated segment by segment: what its kernel would say of
the path. For tests and benchmarks of `unbroken.core.health`; `unbroken.testing.relay` has real packets.

Simulated are, as in Linux: acknowledgements one by one (SACK) and delayed ones, the smoothed round trip and its deviation
(RFC 6298 with Linux' minimum of 200 ms), early retransmission by time (RACK), the tail loss probe (RFC 8985), the
retransmission timer and its doubling, and the window of one segment after it. The congestion window stays
what a voice has let it grow to.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from typing import Final

import msgspec

from unbroken.core.health import PathSample

__all__ = ["Pause", "Road", "Sender"]

SEGMENT: Final = 929
"""Bytes of a segment: 20 ms of speech as Gemini takes it."""

_RTO_MIN: Final = 0.2
_DELAYED_ACK: Final = 0.04
_WINDOW: Final = 15
"""Segments that may be out at once beside those of a round trip: a voice lets the congestion window grow to no more."""

_PER_SECOND: Final = 50


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which a road stands still.

    Attributes:
        start: when it begins.
        stop: when it is over; `math.inf`: never.
        keeps: what is sent meanwhile arrives when it is over, as behind a base station; otherwise it is lost.
        up: it holds for what is sent.
        down: it holds for what comes back.
    """

    start: float
    stop: float = math.inf
    keeps: bool = False
    up: bool = True
    down: bool = True


class Road:
    """A way to a peer and back. The round trip wanders between two bounds, and each packet is delayed by a little more.

    Args:
        shortest: of the round trip, seconds.
        longest: of the round trip.
        wander: seconds in which it comes to be another.
        jitter: at most added to each way of each packet, seconds.
        loss: share of the packets that are lost each way.
        random: the dice.
    """

    def __init__(
        self,
        *,
        shortest: float,
        longest: float,
        wander: float = 1.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        random: random.Random,
    ) -> None:
        self.loss = loss
        self.pauses: list[Pause] = []
        self._shortest = shortest
        self._longest = longest
        self._wander = wander
        self._jitter = jitter
        self._dice = random
        self._middle = (shortest + longest) / 2
        self._round_trip = self._middle
        self._at = 0.0
        self._last = {True: 0.0, False: 0.0}

    def arrival(self, now: float, *, up: bool) -> float | None:
        """Returns when a packet that is sent now arrives; None: never. Packets do not overtake each other.

        Args:
            now: the present; not before the last call's.
            up: it goes to the peer; otherwise it comes back.
        """
        if self.loss and self._dice.random() < self.loss:
            return None
        at = now + self.round_trip(now) / 2 + self._dice.random() * self._jitter
        for pause in self.pauses:
            if (pause.up if up else pause.down) and pause.start <= now < pause.stop:
                if not pause.keeps:
                    return None
                at = max(at, pause.stop + self._shortest / 2)
        self._last[up] = at = max(at, self._last[up] + 1e-5)
        return at

    def round_trip(self, now: float) -> float:
        """Returns the round trip of the present, without jitter; `now` as for `arrival`."""
        elapsed, self._at = now - self._at, now
        if self._longest > self._shortest and elapsed > 0:
            share = min(1.0, elapsed / self._wander)
            spread = (self._longest - self._shortest) / 2
            pull = (self._middle - self._round_trip) * share
            moved = self._round_trip + pull + self._dice.gauss(0.0, spread * math.sqrt(share))
            self._round_trip = min(self._longest, max(self._shortest, moved))
        return self._round_trip


class _Segment:
    __slots__ = ("number", "sacked", "sent_at", "tries")

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.sent_at = now
        self.tries = 1
        self.sacked = False


class Sender:
    """The sending half of a TCP connection, and the peer that acknowledges.

    Args:
        road: the way.
        now: when the connection was made.
        longest: seconds that the retransmission timer is doubled to at most.
    """

    def __init__(self, road: Road, *, now: float = 0.0, longest: float = 120.0) -> None:
        self.now = now
        self.road = road
        self.retransmits = 0
        self.sent = 0
        self.repeated = 0
        self.delivered = 0
        self.srtt = road.round_trip(now)  # of the connection's handshake
        self.mdev = self.srtt / 2
        self._longest = longest
        self._out: dict[int, _Segment] = {}
        self._queue = 0
        self._next = 0
        self._last_ack = now
        self._lossy = 0
        self._sacked = 0
        self._timer = math.inf
        self._probing = False
        self._backoff = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._received: set[int] = set()
        self._taken = 0
        self._owes_ack = False

    def __repr__(self) -> str:
        return f"<Sender {len(self._out)} out, {self._queue} waiting, at {self.now:.3f} s>"

    @property
    def rto(self) -> float:
        """Seconds of the retransmission timer, before it is doubled."""
        return min(self.srtt + max(4 * self.mdev, _RTO_MIN), self._longest)

    @property
    def _doubled(self) -> float:
        doubled: float = self.rto * 2**self._backoff
        return min(doubled, self._longest)

    def write(self) -> None:
        """Sends a segment, or keeps it until it may be sent."""
        self._queue += 1
        self._send_new()

    def run(self, until: float) -> None:
        """Lets time pass.

        Args:
            until: the new present.
        """
        while True:
            due = self._events[0][0] if self._events else math.inf
            if min(due, self._timer) > until:
                break
            if due <= self._timer:
                self.now, _, event = heapq.heappop(self._events)
                event()
            else:
                self.now = self._timer
                self._expire()
        self.now = until

    def sample(self) -> PathSample:
        """Returns what the kernel would say now."""
        return PathSample(
            unacked=len(self._out),
            since_ack=self.now - self._last_ack,
            rtt=self.srtt,
            rtt_var=self.mdev,
            retransmits=self.retransmits,
            sent=self.sent,
            repeated=self.repeated,
            unsent=self._queue * SEGMENT,
            delivered=self.delivered,
        )

    # -- sending --------------------------------------------------------------------------------------------------------

    def _send_new(self) -> None:
        window = _WINDOW + self.srtt * _PER_SECOND
        while self._queue and not self._lossy and len(self._out) - self._sacked < window:
            self._queue -= 1
            segment = _Segment(self._next, self.now)
            self._next += 1
            before = len(self._out)
            self._out[segment.number] = segment
            if not before or not (self._probing or self._backoff):  # each segment puts the tail loss probe off
                self._arm()
            self._transmit(segment)

    def _transmit(self, segment: _Segment) -> None:
        self.sent += 1
        at = self.road.arrival(self.now, up=True)
        if at is not None:
            number = segment.number
            self._later(at, lambda: self._arrive(number))

    def _again(self, segment: _Segment) -> None:
        segment.sent_at = self.now
        segment.tries += 1
        self.repeated += 1
        self._transmit(segment)

    def _arm(self) -> None:
        """Arms the tail loss probe, or the retransmission timer where one was sent already."""
        if self._probing or self._backoff or self._lossy:
            self._timer = self.now + self._doubled
        else:
            alone = _RTO_MIN if len(self._out) <= 1 else 0.0
            self._timer = self.now + min(2 * self.srtt + alone, self.rto)

    def _expire(self) -> None:
        waiting = [segment for segment in self._out.values() if not segment.sacked]
        if not waiting:
            self._timer = math.inf
        elif not self._probing and not self._backoff:
            self._probing = True
            self._again(waiting[-1])
            self._timer = self.now + self.rto
        else:
            self.retransmits += 1
            self._backoff += 1
            self._lossy = 1
            self._again(waiting[0])
            self._timer = self.now + self._doubled

    # -- the peer -------------------------------------------------------------------------------------------------------

    def _arrive(self, number: int) -> None:
        in_order = number == self._taken
        self._received.add(number)
        while self._taken in self._received:
            self._received.discard(self._taken)
            self._taken += 1
        if in_order and not self._received and not self._owes_ack:
            self._owes_ack = True
            self._later(self.now + _DELAYED_ACK, self._delayed)
        else:
            self._acknowledge()

    def _delayed(self) -> None:
        if self._owes_ack:
            self._acknowledge()

    def _acknowledge(self) -> None:
        self._owes_ack = False
        at = self.road.arrival(self.now, up=False)
        if at is not None:
            taken, more = self._taken, tuple(self._received)
            self._later(at, lambda: self._acknowledged(taken, more))

    # -- acknowledgements -----------------------------------------------------------------------------------------------

    def _acknowledged(self, taken: int, more: tuple[int, ...]) -> None:
        self._last_ack = self.now
        newest, oldest, fresh = -math.inf, math.inf, 0
        for number in [number for number in self._out if number < taken] + list(more):
            segment = self._out.get(number)
            if segment is None or segment.sacked:
                continue
            fresh += 1
            segment.sacked = True
            newest = max(newest, segment.sent_at)
            if segment.tries == 1:
                oldest = min(oldest, segment.sent_at)
        before = len(self._out)
        for number in [number for number in self._out if number < taken]:
            del self._out[number]
        self._sacked = sum(segment.sacked for segment in self._out.values())
        self.delivered += fresh
        if not fresh:
            return
        if oldest < math.inf:
            self._measure(self.now - oldest)
        self._probing = False
        if len(self._out) < before:
            self.retransmits = self._backoff = 0
        self._repair(newest, fresh)
        if self._out:
            self._arm()
        else:
            self._timer = math.inf
            self._lossy = 0
        self._send_new()

    def _repair(self, newest: float, fresh: int) -> None:
        """Sends again what was sent clearly before something that has arrived."""
        lost = [s for s in self._out.values() if not s.sacked and s.sent_at < newest - self.srtt / 4]
        if not lost:
            self._lossy = 0
            return
        for segment in lost[: max(3, 2 * fresh)]:
            self._again(segment)

    def _measure(self, round_trip: float) -> None:
        error = round_trip - self.srtt
        self.srtt += error / 8
        self.mdev += (abs(error) - self.mdev) / 4

    def _later(self, at: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, event))
