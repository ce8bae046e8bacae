"""Puts a drill on, at a simulated service or at a real one, and makes the report of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console

import unbroken
from unbroken import registry
from unbroken.config import Settings, Target
from unbroken.drill import calls
from unbroken.drill.plan import Plan
from unbroken.drill.report import DrillReport, ServiceCount, Struck, rows_of, verdict_of
from unbroken.drill.run import Drill, Strike
from unbroken.drill.show import Show
from unbroken.session import Session
from unbroken.testing import faults
from unbroken.testing.intervals import Intervals
from unbroken.testing.report import LinkReport, Report
from unbroken.testing.service import SimulatedService, serve
from unbroken.testing.simulator import SimulatorFactory

__all__ = ["SIMULATED", "CutStage", "SimulatedStage", "play"]

SIMULATED = "gemini"
"""The simulator that drills take where no real service is asked for."""

_ROUTE = (
    "gemini-3.8-live",
    "gemini-3.1-flash-live-preview",
    "gemini-2.5-flash-native-audio-preview-12-2025",
    "gemini-2.5-flash-native-audio-preview-09-2025",
)
"""Models that the simulated service serves to a drill: three can be lost."""

_CONFIG: Mapping[str, object] = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
}
"""Speech, and transcripts, since they are what crosses to another model."""

_SETTINGS = Settings(healthy_after=2.0, audio_max_age=60.0, catch_up=4.0)
"""A drill puts into a minute what a week brings: a link that answered is healthy sooner here, so that every fault is judged
by itself and not as the next in a row. Nothing is too old to be sent again, so that every lost millisecond counts, and the
user's audio is live again before the next fault strikes."""

_SAMPLES_PER_MS = 16

_BEGINNINGS = frozenset({"dial", "upgrade", "setup"})


class CutStage:
    """A real service: nothing can be done there, so the link is cut on this side.

    Args:
        session: the session that is drilled.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def strike(self, strike: Strike, struck: Struck, *, drill: Drill) -> None:
        """Cuts the link."""
        drill.struck(struck, link=drill.tally.link)
        self._session.cut()

    def count(self, drill: Drill) -> ServiceCount | None:
        """Nothing: a real service counts nothing."""
        return None


class SimulatedStage:
    """A simulated service, as the drill has it strike and count.

    The service numbers connections, spares among them, and the session its links. A connection carries the link that is
    coming up when its setup arrives.

    Attributes:
        service: the service; None: it is not served yet.
        drill: the drill; None: it has not begun.
    """

    def __init__(self) -> None:
        self.service: SimulatedService | None = None
        self.drill: Drill | None = None
        self._links: dict[int, int] = {}
        self._loose: list[tuple[str, Struck]] = []
        self._lost = Intervals()
        self._delivered = calls.Delivered()

    def watch(self, seconds: float, connection: int, what: str) -> None:
        """Is told by the service what happens: a link's setup arrives; the first fault of a name that is loose strikes."""
        if self.drill is None:
            return
        moment = self.drill.tally.link_of_the_moment
        if what == "setup":
            self._links[connection] = moment
        for entry in self._loose:
            if what == f"fault: {entry[0]}":
                self._loose.remove(entry)
                at_all = connection == 0
                link = 0 if at_all else self._links.get(connection, moment)
                self.drill.struck(entry[1], link=link, before_setup=not at_all and connection not in self._links)
                return

    def strike(self, strike: Strike, struck: Struck, *, drill: Drill) -> None:
        """Lets the fault loose; one of a connection's beginning comes with a reset, so that there is a beginning, and for
        one of a tool call the caller has the model call one."""
        assert self.service is not None
        if drill.tally.state == "live":
            self._look(drill)  # a failover to come would leave only the new context to be looked at
        fault = faults.parse(strike.fault.replace("{model}", drill.tally.target.partition("/")[2]))
        self._loose.append((str(fault), struck))
        self.service.inject(fault)
        if fault.when.stage in _BEGINNINGS or isinstance(fault.strike, faults.RefuseModel):
            self.service.inject("reset")
        if fault.when.stage == "tool":
            drill.have_called(struck)

    def count(self, drill: Drill) -> ServiceCount:
        """Asks the service what it has of the user's audio and of the answers to tool calls."""
        upto = drill.said
        report = self._look(drill, upto=upto)
        repeated = sum(end - start for link in report.links for start, end in link.repeated)
        return ServiceCount(
            sent_ms=upto / _SAMPLES_PER_MS,
            speech_ms=report.speech_ms,
            heard_ms=report.heard_ms,
            told_ms=report.told_speech_ms,
            lost_ms=self._lost.total / _SAMPLES_PER_MS,
            repeated_ms=repeated / _SAMPLES_PER_MS,
            reordered_ms=sum(map(_out_of_order, report.links)) / _SAMPLES_PER_MS,
            results_missing=self._delivered.missing(drill.tally.calls),
            results_twice=self._delivered.twice(),
        )

    def _look(self, drill: Drill, *, upto: int | None = None) -> Report:
        """Asks for the account, and keeps what is lost by it: what was lost once stays lost."""
        assert self.service is not None
        report = self.service.report(upto=upto)
        self._lost.update(Intervals(report.lost) & Intervals(report.speech))
        self._delivered.look(report, drill.tally.calls)
        return report


def _out_of_order(link: LinkReport) -> int:
    """Counts the samples that came on a link after something later had come on it."""
    late, reached = 0, 0
    for start, end in link.heard:
        late += max(0, min(end, reached) - start)
        reached = max(reached, end)
    return late


async def play(plan: Plan, console: Console, *, memory: bool = False) -> DrillReport:
    """Runs a planned drill, showing it.

    Args:
        plan: what it is to be.
        console: where it is shown.
        memory: the simulated service is in memory, which virtual time needs; otherwise it is on loopback, over TLS.

    Raises:
        ConfigError: the route cannot work: an unknown model, or no key for the real service.
    """
    if plan.provider is not None:
        models = plan.models or ("gemini-3.8-live",)
        route = [Target(model=model, provider=plan.provider) for model in models]
        return await _drill(plan, console, route=route, stage=None)
    models = plan.models or _ROUTE
    make: SimulatorFactory = registry.load("unbroken.simulators", SIMULATED)
    simulator = make(models=models, harsh=plan.harsh, seed=plan.seed or 0)
    for model in models:  # a name that nobody knows is refused before anything is served
        target = simulator.target(model, base_url="ws://localhost", context=None)
        registry.load("unbroken.providers", target.provider)(target, config=None)
    simulator.original(plan.pcm())
    stage = SimulatedStage()
    async with serve(simulator, memory=memory, seed=plan.seed or 0, watch=stage.watch) as stage.service:
        service = stage.service
        route = [service.target(model) for model in models]
        return await _drill(plan, console, route=route, stage=stage)


async def _drill(plan: Plan, console: Console, *, route: Sequence[Target], stage: SimulatedStage | None) -> DrillReport:
    strikes = [Struck(fault=strike.name or strike.fault, due=strike.at) for strike in plan.schedule]
    show = Show(console, strikes=strikes, seconds=plan.seconds)
    transport = stage.service.transport if stage is not None and stage.service is not None else None
    config = {**_CONFIG, **calls.CONFIG} if stage is not None else _CONFIG
    async with unbroken.connect(route, config=config, settings=_SETTINGS, transport=transport) as session:
        there = stage if stage is not None else CutStage(session)
        drill = Drill(
            session,
            stage=there,
            schedule=plan.schedule,
            pcm=plan.pcm(),
            seconds=plan.seconds,
            show=show,
            strikes=strikes,
        )
        if stage is not None:
            stage.drill = drill
        with show.running():
            await drill.run()
        count = there.count(drill)
    return _report(plan, drill, route=route, count=count)


def _report(plan: Plan, drill: Drill, *, route: Sequence[Target], count: ServiceCount | None) -> DrillReport:
    rows, unprovoked = rows_of(drill.strikes, drill.tally)
    report = DrillReport(
        unbroken=unbroken.__version__,
        provider=plan.provider or SIMULATED,
        simulated=plan.provider is None,
        harsh=plan.harsh,
        seed=plan.seed,
        seconds=plan.seconds,
        speech=plan.speech.name,
        route=tuple(target.name for target in route),
        links=drill.tally.link,
        rows=rows,
        unprovoked=unprovoked,
        replies=drill.tally.replies,
        calls=drill.tally.calls,
        service=count,
    )
    return msgspec.structs.replace(report, broken=verdict_of(report, drill.tally))
