"""``python -m benchmarks.cost``: CPU per session-second, loop lag and memory, beside the floor; a table and JSON."""

from __future__ import annotations

import argparse
import shlex
import sys

import msgspec

from benchmarks.arguments import Parser, count, counts, ended, kept, target
from benchmarks.cost.hour import memory_over_an_hour
from benchmarks.cost.rounds import cases, measure
from benchmarks.results import Cost

__all__ = ["command", "main", "table"]

ROUNDS, SECONDS = 3, 5.0


def command(given: argparse.Namespace) -> str:
    """Returns the command that measures the same again: what was asked for, but for where the figures are written."""
    words = ["python", "-m", "benchmarks.cost"]
    words += [f"--{name}" for name in ("quick", "ours", "plain", "hour") if getattr(given, name)]
    if given.sessions:
        words += ["--sessions", ",".join(map(str, given.sessions))]
    if given.rounds != ROUNDS:
        words += ["--rounds", str(given.rounds)]
    if given.seconds != SECONDS:
        words += ["--seconds", f"{given.seconds:g}"]
    return shlex.join(words)


def table(costs: list[Cost]) -> str:
    """Returns the figures as Markdown, a heading per group."""
    lines: list[str] = []
    for group in dict.fromkeys(cost.group for cost in costs):
        lines += [
            f"\n## {group}\n",
            "| what | whose | median | least to most | of the floor | goal |",
            "|---|---|--:|--:|--:|---|",
        ]
        for cost in (cost for cost in costs if cost.group == group):
            ratio = f"{cost.value / cost.floor:.2f} x" if cost.floor else ""
            goal = "" if cost.goal is None else f"{cost.goal:g}{' x' if cost.floor else f' {cost.unit}'}: "
            met = {None: "", True: "met", False: "**missed**"}[cost.met]
            spread = f"{cost.least:.1f} to {cost.most:.1f}"
            lines.append(
                f"| {cost.name} | {cost.contender} | {cost.value:.1f} {cost.unit} | {spread} | {ratio} | {goal}{met} |"
            )
    return "\n".join(lines)


def main() -> int:
    """Measures, prints the table, and returns 1 where a goal was missed."""
    return ended(_run)


def _run() -> int:
    parser = Parser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some seconds only, for being alive")
    parser.add_argument("--sessions", type=counts, help="how many at a time; default 1,8,50,150, and 10,100,500 over TLS")
    parser.add_argument("--ours", action="store_true", help="only the floors and unbroken")
    parser.add_argument("--plain", action="store_true", help="without the cases with TLS, and so without google-genai")
    parser.add_argument("--hour", action="store_true", help="only the memory over an hour of faults, in virtual time")
    parser.add_argument("--rounds", type=count, default=ROUNDS, help="of each case (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of audio, per round (default: %(default)s)")
    parser.add_argument("--json", type=target, help="writes the figures there")
    given = parser.parse_args()
    chosen = None
    if given.sessions or given.ours or given.plain:
        chosen = [
            case
            for case in cases(given.sessions or [1, 8, 50, 150], all_sides=not given.ours)
            if not (given.plain and case.tls)
        ]
    if given.hour:
        costs = memory_over_an_hour()
    else:
        costs = measure(
            given.quick,
            chosen=chosen,
            rounds=given.rounds,
            seconds=given.seconds,
            told=lambda line: print(line, file=sys.stderr),
        )
    costs = [msgspec.structs.replace(cost, command=command(given)) for cost in costs]
    print(table(costs))
    if given.json:
        kept(given.json, msgspec.json.format(msgspec.json.encode(costs)))
    return int(any(cost.met is False for cost in costs))


if __name__ == "__main__":
    sys.exit(main())
