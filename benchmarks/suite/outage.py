"""The anatomy of an outage, read off the connections that the services saw. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.results import Anatomy
from benchmarks.suite.evidence import Connection, Evidence
from benchmarks.suite.scenarios import Row

__all__ = ["Outage", "anatomies", "attempts", "outage_of"]

_LASTED = 1.0  # seconds that a connection must last, or to the call's end, to be the one that came back

_OF_A_SERVICE = ("down", "lifetime", "no-reply", "refuse-model")  # faults that strike no connection by themselves


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """From when on whose connection was gone.

    Attributes:
        since: when the fault struck, or was announced: attempts count from here.
        at: when the outage began: with the fault, or with the end that was announced.
        struck: the connections that were hit; empty: there had been none yet.
    """

    since: float
    at: float
    struck: Sequence[Connection]


def outage_of(row: Row, evidence: Evidence) -> Outage | None:
    """Returns when the outage began; None: the row has none, or no connection ended."""
    hits = [hit for hit in evidence.struck if hit.number and not hit.fault.startswith(_OF_A_SERVICE)]
    if not row.strikes:
        return None
    if not hits and not row.announced:
        if any(strike.at for strike in row.strikes):
            return None
        return Outage(since=evidence.began, at=evidence.began, struck=())
    live = [one for one in evidence.connections if one.link is not None and one.link.live]
    if hits:
        since = hits[0].at
        first = {(hit.where, hit.number) for hit in hits if hit.fault == hits[0].fault}
        struck = [one for one in live if (one.where, one.number) in first and one.began < since]
    else:
        since, struck = evidence.began, live[:1]  # by its lifetime
    if not row.announced:
        return Outage(since=since, at=since, struck=struck)
    ends = [one.link.ended for one in struck if one.link is not None and one.link.ended is not None]
    if not ends or min(ends) > evidence.began + row.conversation.end - 0.1:
        return None
    return Outage(since=since if hits else min(ends), at=min(ends), struck=struck)


def attempts(outage: Outage, connections: Sequence[Connection]) -> tuple[int, int]:
    """Returns how many connections were begun since the fault, and the most of them within one second."""
    times = sorted(one.began for one in connections if one.began >= outage.since)
    densest = max(
        (sum(start <= time < start + 1.0 for time in times[n : n + 1000]) for n, start in enumerate(times)), default=0
    )
    return len(times), densest


def anatomies(row: Row, evidence: Evidence, outage: Outage) -> Sequence[Anatomy]:
    """Returns an outage's anatomy: one, or where many sessions were struck one per session, the quick ones first.

    Which of many connections belongs to which session is not seen, and does not matter for their distribution.
    """
    end = evidence.began + row.conversation.end
    back = sorted(_came_back(outage, evidence.connections, end=end), key=lambda one: _heard(one) or end)
    detect, decide = _told(evidence, outage)
    if row.sessions == 1:
        detected = detect if detect is None or not back else min(detect, max(0.0, (_heard(back[0]) or 0) - outage.at))
        return [_anatomy(outage, evidence.connections, back[0] if back else None, detect=detected, decide=decide)]
    missing = [None] * max(0, row.sessions - len(back))
    return [_anatomy(outage, [] if one is None else [one], one) for one in [*back[: row.sessions], *missing]]


def _came_back(outage: Outage, connections: Sequence[Connection], *, end: float) -> list[Connection]:
    """Returns the connections that took the user's audio after those that were struck, and lasted."""
    struck = {(one.where, one.number) for one in outage.struck}
    before = max((_heard(one) or 0.0 for one in outage.struck), default=0.0)
    found: list[Connection] = []
    for one in connections:
        heard, live = _heard(one), one.steps.live
        if (one.where, one.number) in struck or heard is None or live is None or heard <= before:
            continue
        ended = end if one.link is None or one.link.ended is None else one.link.ended
        if ended - live >= _LASTED or ended >= end - 0.1:
            found.append(one)
    return found


def _anatomy(
    outage: Outage,
    connections: Sequence[Connection],
    back: Connection | None,
    *,
    detect: float | None = None,
    decide: float | None = None,
) -> Anatomy:
    fault = outage.at

    def step(start: float | None, end: float | None) -> float | None:
        """What of a step lies behind the fault: a connection may have been begun before it."""
        if start is None or end is None:
            return None
        return 1000 * (max(end, fault) - max(start, fault))

    began = [one.began for one in connections if one.began >= fault]
    first = min([*began, *([] if back is None else [max(fault, back.began)])], default=None)
    said = Anatomy(
        detect=None if detect is None else 1000 * detect,
        decide=None if decide is None else 1000 * decide,
        notice=step(fault, first),
    )
    if back is None or back.link is None:
        return said
    steps = back.steps
    return msgspec.structs.replace(
        said,
        failed=step(first, back.began),
        dial=step(back.began, steps.accepted) if back.dialled else None,
        tls=step(steps.accepted, steps.secured),
        upgrade=step(steps.secured, steps.upgraded),
        setup=step(steps.upgraded, steps.live),
        audio=step(steps.live, back.link.heard_at),
        reply=step(back.link.heard_at, back.link.said_at),
    )


def _told(evidence: Evidence, outage: Outage) -> tuple[float | None, float | None]:
    """Returns seconds from the outage until the contender knew, and from there until it dialled, by its own word."""
    noticed = next((told.at for told in evidence.told if told.what == "noticed" and told.at >= outage.since), None)
    if noticed is None:
        return None, None
    dialled = next((told.at for told in evidence.told if told.what == "dialling" and told.at >= noticed), None)
    return max(0.0, noticed - outage.at), None if dialled is None else dialled - max(noticed, outage.at)


def _heard(connection: Connection) -> float | None:
    return None if connection.link is None else connection.link.heard_at
