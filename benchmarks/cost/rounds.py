"""Measures all contenders in turns: a fresh process for each, the server in another one and on another core."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.cost.client import Found, Order
from benchmarks.cost.server import Place
from benchmarks.cost.sides import SIDES
from benchmarks.results import Cost

__all__ = ["Case", "measure"]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m benchmarks.cost"

FLOOR = "floor"
OURS = ("unbroken", "unbroken on uvloop", "unbroken on the transport over any stream")
CPU_GOAL, LAG_GOAL, IDLE_GOAL = 1.5, 20.0, 60.0
LAG_AT = 150
"""So many sessions have to leave a core's loop on time."""

AWAITED = "floor on the fast transport, awaited"
"""A loop, as an application has one; the other floors take messages in the callback that reads them."""

MEMORY_OF = "floor on the fast transport"
"""Whose memory is that of a socket and its TLS."""


class Case(NamedTuple):
    """How many sessions of whom, and over what."""

    sessions: int
    tls: bool
    sides: tuple[str, ...]

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.sessions} session{'s' if self.sessions > 1 else ''}{', TLS' if self.tls else ''}"


def cases(sessions: Iterable[int], *, all_sides: bool) -> list[Case]:
    """Returns what is measured: google-genai speaks TLS only."""
    plain = tuple(name for name in SIDES if name != "google-genai") if all_sides else (FLOOR, MEMORY_OF, AWAITED, "unbroken")
    secure = (FLOOR, MEMORY_OF, AWAITED, "unbroken", "google-genai")
    return [Case(count, tls, secure if tls else plain) for count in sessions for tls in (False, True)]


def _usual() -> list[Case]:
    """Returns what the targets are about, and how it goes on to more sessions than a core carries."""
    more = [case for case in cases((10, 100, 500), all_sides=True) if case.tls]
    return sorted((*cases((1, 8, 50, 150), all_sides=True), *more), key=lambda case: case.sessions)


def measure(
    quick: bool,  # noqa: FBT001 - the suite calls every part so
    *,
    chosen: list[Case] | None = None,
    rounds: int = 3,
    seconds: float = 5.0,
    told: Callable[[str], object] = lambda line: None,
) -> list[Cost]:
    """Returns what each contender costs.

    Args:
        quick: for being alive only; some seconds less.
        chosen: what to measure; None: what the targets are about, and TLS with 10, 100 and 500 sessions.
        rounds: how often, each contender in turn.
        seconds: of audio both ways, per round.
        told: is given a line before each measurement.
    """
    if quick:
        rounds, seconds = 1, 1.0
    if chosen is None:
        chosen = cases((8,), all_sides=False)[:1] if quick else _usual()
    costs: list[Cost] = []
    with _server() as place:
        for case in chosen:
            found: dict[str, list[Found]] = {side: [] for side in case.sides}
            for number in range(rounds):
                for side in case.sides:
                    told(f"{case.name}, round {number + 1}: {side}")
                    if (one := _run(_order(side, case, place, seconds))) is not None:
                        found[side].append(one)
            costs += _costs(case, found)
        if not quick:
            costs += _traced(place, told)
    return costs


@contextmanager
def _server() -> Generator[Place]:
    cores = _cores()
    command = [sys.executable, "-m", "benchmarks.cost.server", *([str(cores[1])] if len(cores) > 1 else [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            place = msgspec.json.decode(process.stdout.readline(), type=Place)
            yield place
            Path(place.ca_file).unlink(missing_ok=True)
        finally:
            process.kill()


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _order(side: str, case: Case, place: Place, seconds: float) -> Order:
    cores = _cores()
    return Order(
        side=side,
        sessions=case.sessions,
        seconds=seconds,
        port=place.tls if case.tls else place.plain,
        ca_file=place.ca_file if case.tls else "",
        core=cores[0] if len(cores) > 1 else None,
    )


def _run(order: Order) -> Found | None:
    """Runs one contender; None: it did not come to an end, which is told on the standard error."""
    command = [sys.executable, "-m", "benchmarks.cost.client", msgspec.json.encode(order).decode()]
    limit = 60 + order.seconds + order.sessions / 2
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        print(f"{order.side}, {order.sessions} sessions: no end within {limit:.0f} s", file=sys.stderr)
        return None
    if done.returncode or not done.stdout:
        print(f"{order.side}, {order.sessions} sessions: {done.stderr.decode()[-500:]}", file=sys.stderr)
        return None
    return msgspec.json.decode(done.stdout, type=Found)


def _costs(case: Case, found: dict[str, list[Found]]) -> list[Cost]:
    costs: list[Cost] = []
    for side, rows in found.items():
        if not rows:
            continue
        ours = side == "unbroken"
        floor = [row.cpu for row in found.get(FLOOR, ())] if side != FLOOR else []
        goal = CPU_GOAL if ours and floor else None
        costs.append(_cost("CPU per session-second", case.name, side, "ms", [row.cpu for row in rows], floor, goal))
        floor = [row.carried for row in found.get(FLOOR, ())] if side != FLOOR else []
        carried = _cost("sessions per core", case.name, side, "sessions", [row.carried for row in rows], floor, None)
        costs.append(msgspec.structs.replace(carried, rising=True))
        late = case.sessions >= LAG_AT and ours
        for word, at in (("p50", 0), ("p99", 1), ("max", 2)):
            values = [row.lag[at] for row in rows]
            goal = LAG_GOAL if late and case.sessions == LAG_AT and word == "p99" else None
            costs.append(_cost("event-loop lag", f"{case.name}, {word}", side, "ms", values, [], goal))
        if case.sessions >= 50:
            socket = statistics.median(row.idle for row in found[MEMORY_OF]) if found.get(MEMORY_OF) else 0.0
            busy = statistics.median(row.active for row in found[MEMORY_OF]) if found.get(MEMORY_OF) else 0.0
            for word, values in (
                ("idle", [row.idle - socket for row in rows]),
                ("active", [row.active - busy for row in rows]),
            ):
                if side in (*OURS, "google-genai"):
                    goal = IDLE_GOAL if ours and word == "idle" else None
                    group = "memory per session, beyond its socket and TLS"
                    costs.append(_cost(group, f"{case.name}, {word}", side, "KiB", values, [], goal))
    return costs


def _traced(place: Place, told: Callable[[str], object]) -> list[Cost]:
    """Counts what Python allocates for an idle session, beyond what it allocates for a socket."""
    case = Case(50, tls=True, sides=(MEMORY_OF, "unbroken"))
    idle: dict[str, float] = {}
    for side in case.sides:
        told(f"{case.name}: {side}, what Python allocates")
        order = msgspec.structs.replace(_order(side, case, place, 0.0), traced=True)
        if (one := _run(order)) is not None:
            idle[side] = one.idle
    if len(idle) < len(case.sides):
        return []
    value = [idle["unbroken"] - idle[MEMORY_OF]]
    name = f"{case.name}, idle, allocated by Python"
    return [_cost("memory per session, beyond its socket and TLS", name, "unbroken", "KiB", value, [], IDLE_GOAL)]


def _cost(group: str, name: str, side: str, unit: str, values: list[float], floor: list[float], goal: float | None) -> Cost:
    return Cost(
        group=group,
        name=name,
        contender=side,
        unit=unit,
        value=statistics.median(values),
        least=min(values),
        most=max(values),
        floor=statistics.median(floor) if floor else None,
        goal=goal,
        command=COMMAND,
    )
