"""The examination: every target for itself, some at a time, each within a bound; then what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import anyio
import msgspec

from unbroken import registry
from unbroken.abc import Finding, Provider, Transport
from unbroken.config import Route, Settings, Target, targets_of
from unbroken.core.classify import Rule
from unbroken.decisions import Closure, Fault
from unbroken.doctor import surroundings
from unbroken.doctor.diagnosis import diagnosed, failure, findings_of, softened
from unbroken.doctor.probe import Seen, probe
from unbroken.doctor.report import Report, TargetReport
from unbroken.errors import ConfigError

__all__ = ["examine"]

_AT_ONCE: Final = 4
"""Targets that are examined at a time: each takes a session, and an account may have few."""

_REPORT: Final = "Please report it to the provider's authors."


async def examine(
    route: Route,
    *,
    config: Any = None,
    rules: str | Sequence[Rule | str] = (),
    settings: Settings | None = None,
    transport: Transport | None = None,
    online: bool = True,
    speak: bool = False,
    timeout: float = 60.0,
) -> Report:
    """Checks the environment and every target of a route, as production is going to use them.

    For each target a session is opened with the real configuration, watched for a moment, and closed. What may pass by
    itself is tried once more; everything else is told at once.

    Args:
        route: where sessions may go; see `unbroken.Runtime.open`, as for the next three.
        config: the provider's own session configuration, for targets without one of their own.
        rules: the application's own rows of classification, or the names of their sets.
        settings: the sessions' bounds, whose deadlines the links are held to; None: the defaults.
        transport: what links go over; None: WebSockets over TCP and TLS. With one of one's own nothing else is asked on the
            network either, since it would go another way.
        online: links are dialled, and services asked; False: only what can be known here is looked at.
        speak: each model is asked for one reply, which costs a few tokens.
        timeout: seconds for each target in all.

    Returns:
        All that was found; a target that cannot even be built is a finding too.

    Raises:
        ConfigError: the request makes no sense: no target, one named twice, rules that are not there, or a reply from a link
            that is not dialled.
    """
    if speak and not online:
        raise ConfigError("a reply needs a link: leave speak or offline out")
    if not timeout > 0:
        raise ConfigError(f"the timeout has to be above 0 s, not {timeout:g}")
    targets, rows = targets_of(route), registry.rules(rules)
    settings = settings if settings is not None else Settings()
    settings = msgspec.structs.replace(settings, patience=max(settings.patience, timeout))
    cases = [_Case(target, config=config, first=target is targets[0]) for target in targets]
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def look_at(case: _Case) -> None:
        async with limiter:
            with anyio.move_on_after(timeout) as bound:
                await case.examine(rules=rows, settings=settings, transport=transport, online=online, speak=speak)
            if bound.cancelled_caught:
                case.give_up(timeout)

    async with anyio.create_task_group() as tasks:
        for case in cases:
            tasks.start_soon(look_at, case)
    providers = [case.provider for case in cases]
    common = [surroundings.machine(), *surroundings.route(targets, providers)]
    if online and transport is None and None in providers:
        # a proxy may be what a provider's own client fails at before it can be asked for its host
        common += [finding for finding in surroundings.way_out("any.example") if finding.verdict == "problem"]
    reports = [case.report() for case in cases]
    shared = _shared(reports)
    return Report(
        findings=(*common, *shared),
        targets=tuple(
            msgspec.structs.replace(report, findings=tuple(one for one in report.findings if one not in shared))
            for report in reports
        ),
    )


def _shared(reports: Sequence[TargetReport]) -> Sequence[Finding]:
    """Returns the warnings that all of several targets have in the same words: they are the route's, and said once."""
    first, *others = reports
    return [
        finding
        for finding in first.findings
        if others and finding.verdict == "warning" and all(finding in other.findings for other in others)
    ]


class _Case:
    """One target under examination.

    Args:
        target: the target.
        config: the session's configuration.
        first: sessions begin there; otherwise they fail over to it.
    """

    def __init__(self, target: Target, *, config: Any, first: bool) -> None:
        self.target = target
        self.provider: Provider | None = None
        self._config = config
        self._first = first
        self._known: Sequence[Finding] = ()
        self._of_link: list[Finding] = []
        self._seen = Seen()
        self._doing = "the provider's own checks"
        self._closure: Closure | None = None
        self._fault: Fault | None = None
        try:
            factory = registry.load("unbroken.providers", target.provider)
            self.provider = factory(target, config=config)
        except ConfigError as error:
            self._known = [surroundings.refusal(error)]
        except Exception as failed:  # because a plugin's bug must not hide what there is to be found of the other targets
            said = f"The provider cannot be built: {type(failed).__name__}, {surroundings.sentence(str(failed))}"
            self._known = [Finding(check="provider", verdict="problem", said=said, fix=_REPORT)]

    async def examine(
        self, *, rules: Sequence[Rule], settings: Settings, transport: Transport | None, online: bool, speak: bool
    ) -> None:
        """Looks at all there is to be seen."""
        provider = self.provider
        if provider is None:
            return
        known = [*await _own_checks(provider, online=online and transport is None)]
        if provider.unfit and not self._first:
            told = any(finding.check == "config" and finding.verdict != "ok" for finding in known)
            why = ", whose model does not suit the config." if told else f": {provider.unfit}"
            fix = "Give this target a config of its own, or leave it out of the route."
            known.append(
                Finding(check="failover", verdict="warning", said=f"No session fails over to this target{why}", fix=fix)
            )
        if online and transport is None:
            known += surroundings.way_out(provider.host)
        self._known = known
        if online:
            self._doing = "a link"
            try:
                await probe(
                    self.target,
                    config=self._config,
                    rules=rules,
                    settings=settings,
                    transport=transport,
                    speak=speak,
                    seen=self._seen,
                )
            finally:  # what was seen until the time was over counts too
                self._judge(provider, settings)

    def give_up(self, after: float) -> None:
        """Takes note that there was not enough time."""
        said = f"It was not done within {after:g} s; what it waited for is {self._doing}."
        fix = "Give it more time, or look at what stands between this machine and the service."
        self._of_link.append(Finding(check="timeout", verdict="problem", said=said, fix=fix))

    def report(self) -> TargetReport:
        """Returns what was found."""
        steps = self._seen.connected.steps if self._seen.connected is not None else None
        return TargetReport(
            name=self.target.name,
            platform=self.provider.profile.platform if self.provider is not None else "",
            findings=(*self._known, *self._of_link),
            steps=steps,
            closure=self._closure,
            fault=self._fault,
        )

    def _judge(self, provider: Provider, settings: Settings) -> None:
        seen = self._seen
        if seen.outages:
            last = seen.outages[-1]
            self._closure, self._fault = last.closure, diagnosed(last, self._known)
        if seen.connected is not None:
            self._of_link += findings_of(
                seen, known=self._known, deadlines=settings.deadlines, resumption=provider.profile.resumption
            )
            self._known = softened(self._known)
        elif self._fault is not None:
            self._of_link.append(failure(seen.outages[-1], self._fault, self._known))
        elif seen.escalated is not None:
            story = seen.escalated
            self._of_link.append(Finding(check="link", verdict="problem", said=story.because, fix=story.advice))


async def _own_checks(provider: Provider, *, online: bool) -> Sequence[Finding]:
    try:
        return await provider.check(online=online)
    except Exception as failed:  # because a plugin's bug must not hide what there is to be found besides
        said = f"The provider's own checks failed with {type(failed).__name__}."
        return [Finding(check="provider", verdict="warning", said=said, fix=_REPORT)]
