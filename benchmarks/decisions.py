"""What it costs to say what an end means and what to do about it: ``python benchmarks/decisions.py [--calls N]``.

Classification reads rows in order, so its floor is a bare loop with one empty call per row that is read; a decision's floor
is the making of one such value. Both run in turns in one process; what counts is the ratio. Microseconds are medians over
the rounds, in brackets the lowest and the highest round.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from unbroken.core.classify import Rule, classify
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Ending, Facts, Retry
from unbroken.testing.closures import known, situation
from unbroken_gemini.rules import RULES

ROWS = in_order(RULES)
LONG = (
    "Request trace id: 5f0e77c1, [ORIGINAL ERROR] call of models/gemini-3.8-live came to nothing in us-central1, see details"
)
"""A reason as long as a close frame takes, without a word that a row knows."""


def _closure(code: int, reason: str = "", *, facts: Facts | None = None) -> Closure:
    ending = Ending(code=code, reason=reason)
    return Closure(
        platform="gemini", phase="live", ending=ending, facts=facts or Facts(useful=True), model="gemini-3.8-live"
    )


ENDS = {
    "first row": _closure(1000, facts=Facts(closed_by_us=True)),
    "clear words": _closure(1011, "You exceeded your current quota, please check your plan and billing details."),
    "vague words": _closure(1011, "Internal error encountered."),
    "last row": _closure(1002, LONG),
    "no row fits": _closure(4242, LONG),
}


def _nothing(row: Rule) -> None:
    pass


def _read(closure: Closure) -> Sequence[Rule]:
    """Returns the rows that are read until one fits."""
    names = [row.id for row in ROWS]
    fired = classify(closure, ROWS).rule
    return ROWS[: names.index(fired) + 1] if fired in names else ROWS


def _time(work: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls * 1e6


def _classifying(closure: Closure) -> tuple[Callable[[], object], Callable[[], object]]:
    rows = _read(closure)

    def floor() -> None:
        for row in rows:
            _nothing(row)

    return lambda: classify(closure, ROWS), floor


def _deciding(closure: Closure) -> tuple[Callable[[], object], Callable[[], object]]:
    policy, fault, where = DefaultPolicy(), classify(closure, ROWS), situation(closure)
    return lambda: policy.decide(fault, where), lambda: Retry(because="at once", rule="none")


def _both(closure: Closure) -> tuple[Callable[[], object], Callable[[], object]]:
    policy, where = DefaultPolicy(), situation(closure)
    classifying, deciding = _classifying(closure)[1], _deciding(closure)[1]

    def floor() -> None:
        classifying()
        deciding()

    return lambda: policy.decide(classify(closure, ROWS), where), floor


def _all_known() -> tuple[Callable[[], object], Callable[[], object]]:
    """Every end that was really seen, in turn."""
    policy, cases = DefaultPolicy(), [(row.closure, situation(row.closure)) for row in known()]
    calls = sum(len(_read(closure)) for closure, _ in cases)

    def work() -> None:
        for closure, where in cases:
            policy.decide(classify(closure, ROWS), where)

    def floor() -> None:
        for _ in range(calls):
            _nothing(ROWS[0])
        for _ in cases:
            Retry(because="at once", rule="none")

    return work, floor


def _measure(calls: int, rounds: int) -> None:
    print(f"{'':40}{'µs':>24}{'floor µs':>24}{'ratio':>8}")
    kinds = (("classify", _classifying), ("decide", _deciding), ("classify and decide", _both))
    for kind, measured in kinds:
        for name, closure in ENDS.items():
            read = f", row {len(_read(closure))}" if kind != "decide" else ""
            _print(f"{kind}: {name}{read}", measured(closure), calls=calls, rounds=rounds)
    ends = len(known())
    _print(f"each of {ends} ends that were seen", _all_known(), calls=max(1, calls // ends), rounds=rounds, share=ends)


def _print(
    name: str, pair: tuple[Callable[[], object], Callable[[], object]], *, calls: int, rounds: int, share: int = 1
) -> None:
    work, floor = pair
    pairs = [(_time(work, calls) / share, _time(floor, calls) / share) for _ in range(rounds)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{name:40}{_spread([a for a, _ in pairs]):>24}{_spread([b for _, b in pairs]):>24}{ratio:8.1f}")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5000, help="calls of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default: %(default)s)")
    given = parser.parse_args()
    print(
        f"Python {platform.python_version()} on {sys.platform}, msgspec {version('msgspec')};"
        f" {len(ROWS)} rows; {given.rounds} rounds of {given.calls} calls\n"
    )
    _measure(given.calls, given.rounds)


if __name__ == "__main__":
    main()
