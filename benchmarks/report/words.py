"""How figures and outcomes are called in every page, table and line: the same words everywhere."""

from __future__ import annotations

import math
from typing import Final

from benchmarks.results import Call, Contender, Outcome, Reply

__all__ = [
    "GROUPS",
    "NOTHING",
    "OUTCOMES",
    "REPLIES",
    "SIGNS",
    "count",
    "figure",
    "label",
    "length",
    "milliseconds",
    "share",
]

NOTHING: Final = "–"
"""Stands where there is nothing to measure."""

OUTCOMES: Final[dict[Outcome, str]] = {
    "kept": "a pause at most",
    "degraded": "goes on, something was lost",
    "silent": "open, and answers no more",
    "ended": "ended, and said so",
    "failed": "raised, or its process died",
}
"""What each outcome means for the caller, from the best to the worst."""

SIGNS: Final[dict[Outcome, str]] = {"kept": "✓", "degraded": "~", "silent": "…", "ended": "×", "failed": "!"}
"""One character for each outcome, so that colour alone tells nothing."""

REPLIES: Final[dict[Reply, str]] = {
    "whole": "whole",
    "carried_on": "carried on",
    "again": "heard twice",
    "cut": "cut",
    "none": "lost",
    "not_owed": NOTHING,
}
"""What became of the reply that the fault struck, from the best to the worst."""

GROUPS: Final = {
    "nothing": "Nothing happens",
    "closes": "The service closes",
    "path": "The path breaks",
    "announced": "The end is announced",
    "setup": "Connecting fails",
    "targets": "A whole target fails",
    "tools": "Tools and silent models",
    "many": "Many sessions at once",
}
"""The headings of `Scenario.group`; one that is not here is its own heading."""

_SECONDS_FROM = 1000.0
_MINUTES_FROM = 100.0


def label(of: Contender | Call) -> str:
    """Returns the name under which a contender stands in a table: its settings too, unless they are the default."""
    name = of.name if isinstance(of, Contender) else of.contender
    return name if of.settings == "default" else f"{name}, {of.settings}"


def milliseconds(value: float | None) -> str:
    """Returns a time with its unit ("0.4 ms", "312 ms", "1.24 s", "104 s"); an infinite one is "never"."""
    if value is None:
        return NOTHING
    if math.isinf(value):
        return "never"
    if abs(value) < _SECONDS_FROM - 0.5:
        return f"{figure(value)} ms"
    return f"{figure(value / 1000)} s"


def figure(value: float) -> str:
    """Returns a number with three digits that say something, thousands apart ("0.04", "3.1", "312", "12 480")."""
    size = abs(value)
    if size == 0:
        return "0"
    digits = 0 if size >= _MINUTES_FROM - 0.5 else 1 if size >= 10 - 0.05 else 2
    if size < 0.01:
        return f"{value:.1e}"
    text = f"{value:,.{digits}f}".replace(",", "\N{NO-BREAK SPACE}")
    return text.rstrip("0").rstrip(".") if digits else text


def share(part: float, whole: float) -> str:
    """Returns a part of a whole ("12 %", "0.3 %"); of nothing, there is none."""
    if not whole:
        return NOTHING
    return f"{figure(100 * part / whole)} %"


def length(seconds: float) -> str:
    """Returns how long something takes, for people ("48 s", "3:05", "1:02:09")."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: int, one: str, *, many: str = "") -> str:
    """Returns a number with its noun ("1 call", "3 calls")."""
    return f"{number} {one if number == 1 else many or one + 's'}"
