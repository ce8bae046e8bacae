"""Before the call: checks the environment and every target of a route before production does.

For code that starts an application up::

    report = await unbroken.doctor.examine(["gemini/gemini-3.8-live", "gemini/gemini-3.1-flash-live-preview"], config=config)
    report.raise_for_problems()

``unbroken doctor`` does the same from the command line, and the fixture ``doctor`` of `unbroken.testing.fixtures` in tests.
"""

from unbroken.abc import Finding, Verdict
from unbroken.doctor.examination import examine
from unbroken.doctor.report import ProblemsFound, Report, TargetReport

__all__ = ["Finding", "ProblemsFound", "Report", "TargetReport", "Verdict", "examine"]
