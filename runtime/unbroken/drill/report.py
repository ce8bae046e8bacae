"""The drill's result: a row per strike, the service's own count of the audio, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from unbroken.drill.calls import Calls
from unbroken.drill.tally import Outage, Replies, Tally

__all__ = ["DrillReport", "Row", "ServiceCount", "Struck", "rows_of", "verdict_of"]


class Struck(msgspec.Struct, kw_only=True):
    """One strike of the schedule, and what became of it.

    Attributes:
        fault: what strikes, as the schedule names it.
        due: seconds into the drill at which it is due.
        armed: seconds into the drill at which it was let loose; None: it was not.
        at: seconds into the drill at which it struck; None: it did not.
        link: the link that it struck; 0: none, but the service as a whole.
        before_setup: the connection that it struck had sent nothing yet: it was a link coming up, or a spare.
    """

    fault: str
    due: float
    armed: float | None = None
    at: float | None = None
    link: int = 0
    before_setup: bool = False


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One strike and what it led to.

    Attributes:
        number: from 1, in the order in which they struck.
        fault: what struck, as the schedule spells it.
        due: seconds into the drill at which it was due.
        at: seconds into the drill at which it struck; None: it did not.
        link: the link that it struck; 0: none, but the service as a whole.
        outage: the outage that it led to; None: none.
        shared: the outage is an earlier row's too.
        survived: it struck, and the session went on.
    """

    number: int
    fault: str
    due: float
    at: float | None
    link: int
    outage: Outage | None
    shared: bool
    survived: bool


class ServiceCount(msgspec.Struct, frozen=True, kw_only=True):
    """What the service counted of the user's audio, in milliseconds.

    What is heard and told is counted in the context that survived; lost is what any context lacked when it ended.

    Attributes:
        sent_ms: what the caller sent, silence included.
        speech_ms: of it, speech.
        heard_ms: of it, what the service heard.
        told_ms: speech that crossed to a fresh session as a transcript.
        lost_ms: speech that the service knows in no form.
        repeated_ms: audio that came to a context which had it, on all links.
        reordered_ms: audio that came on a link after something later had come on it.
        results_missing: answers to tool calls that the model was never told.
        results_twice: answers to tool calls that the model was told more than once.
    """

    sent_ms: float = 0.0
    speech_ms: float = 0.0
    heard_ms: float = 0.0
    told_ms: float = 0.0
    lost_ms: float = 0.0
    repeated_ms: float = 0.0
    reordered_ms: float = 0.0
    results_missing: int = 0
    results_twice: int = 0


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes.

    Attributes:
        unbroken: the version that was drilled.
        provider: "gemini", …
        simulated: the service was simulated; False: the links of a real one were cut on this side.
        harsh: the simulated service had every pitfall that is known of the real one.
        seed: of a random schedule; None: the schedule was not random.
        seconds: how long the caller spoke.
        speech: what the caller said.
        route: ``provider/model``, the preferred one first.
        links: connections that carried the session.
        rows: one per strike.
        unprovoked: outages that no strike led to.
        replies: what became of the model's replies.
        calls: the model's tool calls and their answers.
        service: the service's count; None: a real service counts nothing.
        broken: promises that were broken, one sentence each; empty: all was kept.
    """

    unbroken: str
    provider: str
    simulated: bool
    harsh: bool
    seed: int | None
    seconds: float
    speech: str
    route: tuple[str, ...]
    links: int
    rows: tuple[Row, ...]
    unprovoked: tuple[Outage, ...]
    replies: Replies
    service: ServiceCount | None
    calls: Calls = msgspec.field(default_factory=Calls)
    broken: tuple[str, ...] = ()

    @property
    def outages(self) -> list[Outage]:
        """Every outage once, in order."""
        provoked = [row.outage for row in self.rows if row.outage is not None and not row.shared]
        return sorted([*provoked, *self.unprovoked], key=lambda outage: outage.began)

    @property
    def uncertain_ms(self) -> float:
        """User audio that was sent again since nothing said that it had been heard."""
        return sum(outage.recovered.uncertain_ms for outage in self.outages if outage.recovered is not None)

    @property
    def repeated_known_ms(self) -> float:
        """User audio that was sent again although it was known to have been heard."""
        return sum(outage.repeated_known_ms for outage in self.outages)


def rows_of(strikes: Sequence[Struck], tally: Tally) -> tuple[tuple[Row, ...], tuple[Outage, ...]]:
    """Gives each strike the outage it led to: the one in which the link it struck ended.

    A strike at the service as a whole led to the next outage that no link's strike led to. One at a spare led to none: where
    it struck before a setup was sent, only a link that never was live ended by it.

    Returns:
        The rows, and the outages that no strike led to.
    """
    ends = {step.link: (outage, step.phase) for outage in tally.outages for step in outage.steps}

    def ended(strike: Struck) -> Outage | None:
        outage, phase = ends.get(strike.link, (None, "live"))
        return None if strike.before_setup and phase == "live" else outage

    ordered = sorted(strikes, key=lambda strike: strike.due if strike.at is None else strike.at)
    by_link = [ended(strike) for strike in ordered if strike.at is not None]
    free = [outage for outage in tally.outages if not any(outage is known for known in by_link)]
    seen: list[Outage] = []
    rows: list[Row] = []
    for number, strike in enumerate(ordered, 1):
        outage: Outage | None = None
        if strike.at is not None and strike.link:
            outage = ended(strike)
        elif strike.at is not None:
            outage = next((other for other in free if other.began >= strike.at), None)
            free = [other for other in free if other is not outage]
        rows.append(
            Row(
                number=number,
                fault=strike.fault,
                due=strike.due,
                at=strike.at,
                link=strike.link,
                outage=outage,
                shared=any(outage is other for other in seen),
                survived=strike.at is not None and (outage is None or outage.ended is not None),
            )
        )
        if outage is not None:
            seen.append(outage)
    return tuple(rows), tuple(free)


def verdict_of(report: DrillReport, tally: Tally) -> tuple[str, ...]:
    """Names the promises that were broken, one sentence each; nothing: all were kept."""
    broken: list[str] = []
    if tally.escalated is not None:
        broken.append(f"The session was given up: {tally.escalated.because}")
    for row in report.rows:
        if row.at is None:
            broken.append(f"Strike {row.number} ({row.fault}) never struck.")
        elif not row.survived:
            broken.append(f"Strike {row.number} ({row.fault}) was not survived.")
    if any(outage.ended is None for outage in report.unprovoked):
        broken.append("An outage that no strike led to did not end.")
    broken.extend(_audio_promises(report))
    if report.service is not None and report.service.results_missing:
        broken.append(f"Answers to tool calls that the model was never told: {report.service.results_missing}.")
    if report.service is not None and report.service.results_twice:
        broken.append(f"Answers to tool calls that the model was told twice: {report.service.results_twice}.")
    if report.calls.again:
        broken.append(f"Tool calls that came again though they had been answered: {report.calls.again}.")
    if tally.replies.open > 0:
        broken.append(f"Replies that began and never ended: {tally.replies.open}.")
    return tuple(broken)


def _audio_promises(report: DrillReport) -> list[str]:
    broken: list[str] = []
    if report.repeated_known_ms > 0:
        broken.append(f"Repeated of what was known to be heard: {report.repeated_known_ms:.0f} ms of user audio.")
    count = report.service
    if count is None:
        lost = sum(outage.recovered.lost_ms for outage in report.outages if outage.recovered is not None)
        if lost > 0:
            broken.append(f"Lost by the session's own count: {lost:.0f} ms of user audio.")
        return broken
    if count.lost_ms > 0:
        broken.append(f"Lost by the service's count: {count.lost_ms:.0f} ms of user audio.")
    if count.reordered_ms > 0:
        broken.append(f"Out of order by the service's count: {count.reordered_ms:.0f} ms of user audio.")
    undeclared = count.repeated_ms - report.uncertain_ms
    if undeclared > _FRAME_MS:
        broken.append(f"Repeated by the service's count and not declared as uncertain: {undeclared:.0f} ms of user audio.")
    return broken


_FRAME_MS = 20.0
"""The service counts whole frames, the session counts samples."""
