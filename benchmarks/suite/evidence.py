"""What one run of a contender leaves behind: what it told, what its callers heard, and what the services saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.suite.heard import Heard
from unbroken.testing.report import LinkReport, Report, Steps

__all__ = ["Connection", "Evidence", "Struck", "Told"]


class Told(msgspec.Struct, frozen=True):
    """An event that the contender told; see `benchmarks.contenders.stage.What`.

    Attributes:
        what: its kind.
        at: CLOCK_MONOTONIC; 0: it has no time.
        said: the words with it.
        session: which of the calls.
        lag: of the event "done": the longest that its loop was late, in seconds.
        cpu: of the event "done": CPU seconds of the process during the call.
    """

    what: str
    at: float = 0.0
    said: str = ""
    session: int = 0
    lag: float | None = None
    cpu: float | None = None


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that reached a service. Times are of CLOCK_MONOTONIC.

    Attributes:
        where: which service, "primary" or "backup".
        number: of the connection there.
        began: when the client dialled, as far as it can be seen: at the road's near end, where there is a road.
        dialled: there is a road, so that `began` is before the service accepted.
        steps: how far it came, and when.
        link: what was said on it; None: it was no WebSocket.
    """

    where: str
    number: int
    began: float
    dialled: bool
    steps: Steps
    link: LinkReport | None


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that struck.

    Attributes:
        at: when, on CLOCK_MONOTONIC.
        where: which service.
        number: which connection; 0: none in particular.
        fault: as written.
    """

    at: float
    where: str
    number: int
    fault: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a contender in one row.

    Attributes:
        began: when the call began, on CLOCK_MONOTONIC.
        told: the contender's events.
        heard: what each caller heard, by the number of its session.
        finished: the process came to its end; False: it died, or had to be killed.
        lag: the longest that the loop of the services was late, in seconds.
        last_words: of its standard error.
        connections: all, in the order in which they began.
        struck: the faults, in order.
        report: of the service that serves in the end.
        knows_result: that service's model knows the tool's result.
    """

    began: float
    told: Sequence[Told]
    heard: Mapping[int, Heard]
    finished: bool
    lag: float
    last_words: str
    connections: Sequence[Connection]
    struck: Sequence[Struck]
    report: Report
    knows_result: bool
