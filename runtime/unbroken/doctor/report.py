"""What an examination has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from unbroken.abc import Finding, Verdict
from unbroken.decisions import Closure, Fault
from unbroken.errors import UnbrokenError
from unbroken.events import Steps

__all__ = ["ProblemsFound", "Report", "TargetReport", "worst"]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Returns the worst of some verdicts; "ok" where there are none."""
    found = set(verdicts)
    return "problem" if "problem" in found else "warning" if "warning" in found else "ok"


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one target.

    Attributes:
        name: ``provider/model`` or ``provider/model@label``.
        findings: in the order in which people should read them.
        platform: where it goes ("gemini", "vertex"); "": that could not be told.
        steps: how long the steps of the handshake took, in milliseconds; None: no link came up, or none was dialled.
        closure: how the last link that failed ended; None: none did.
        fault: what that means.
    """

    name: str
    findings: tuple[Finding, ...]
    platform: str = ""
    steps: Steps | None = None
    closure: Closure | None = None
    fault: Fault | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings'."""
        return worst(finding.verdict for finding in self.findings)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the environment, the route and each of its targets.

    Attributes:
        findings: those of the environment and of the route as a whole.
        targets: one for each target, in the route's order.
    """

    findings: tuple[Finding, ...]
    targets: tuple[TargetReport, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all. A problem of any target counts: calls break where they begin there or move there."""
        return worst((*(finding.verdict for finding in self.findings), *(target.verdict for target in self.targets)))

    def having(self, verdict: Verdict) -> Sequence[tuple[str, Finding]]:
        """Returns the findings of one verdict, each with the name of its target ("": of the environment or the route)."""
        named = [("", finding) for finding in self.findings]
        named += [(target.name, finding) for target in self.targets for finding in target.findings]
        return [(name, finding) for name, finding in named if finding.verdict == verdict]

    def raise_for_problems(self) -> None:
        """Does nothing where calls work, whatever the warnings.

        Raises:
            ProblemsFound: calls would break.
        """
        if self.verdict == "problem":
            raise ProblemsFound(self)


class ProblemsFound(UnbrokenError):
    """Calls would break as things are; the text has a line for each problem, with what to do about it.

    Attributes:
        report: all that was found.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        lines = [_line(name, finding) for name, finding in report.having("problem")]
        super().__init__("\n".join(["calls would break:", *lines]))


def _line(name: str, finding: Finding) -> str:
    where = f"{name}, {finding.check}" if name else finding.check
    return f"  {where}: {finding.said}" + (f" {finding.fix}" if finding.fix else "")
