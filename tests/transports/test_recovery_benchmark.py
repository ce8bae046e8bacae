"""The benchmark of recoveries runs; what it measures is asked of no machine that has other work to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from benchmarks.recovery import Other, Result, Run, markdown, missed, ratios

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "recovery.py"


@pytest.mark.sockets
def test_the_benchmark_of_recoveries_runs(tmp_path: Path) -> None:
    file = tmp_path / "recovery.json"
    command = [sys.executable, str(BENCHMARK), "--quick", "--rtt", "0", "--json", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # where the machine stands still, the runtime says that a decision took long
    said = [line for line in ran.stderr.splitlines() if "ms to decide while every session waits" not in line]
    assert (ran.returncode, said) == (0, [])
    result = msgspec.json.decode(file.read_bytes(), type=Result)
    assert [(run.spare, run.all.faults, run.on_a_spare) for run in result.runs] == [(False, 10, 0), (True, 10, 10)]
    assert [(kind.kind[:5], kind.faults) for kind in result.runs[0].kinds] == [
        ("reset", 2),
        ("fin", 2),
        ("1011 ", 2),
        ("1000", 2),
        ("1008 ", 2),
    ]
    accepted = result.others[-1]
    assert accepted.what.startswith("accepted")
    assert accepted.tries <= 3
    assert ran.stdout == markdown(result) + "\n"


def a_run(*, spare: bool, session: float) -> Run:
    row = ratios("all", [(session / 1000, 0.010), (session / 1000, 0.010)])
    return Run(round_trip_ms=40.0, spare=spare, on_a_spare=0, kinds=[], all=row, steps_ms={})


def test_goals_that_were_missed_are_said_as_such() -> None:
    slow = Other(what="a dead target", times=1, p50_ms=100.0, worst_ms=151.0, tries=1, goal_ms=150.0)
    often = Other(what="accepted", times=1, p50_ms=100.0, worst_ms=100.0, tries=4, goal_tries=3)
    fine = Other(what="refused", times=1, p50_ms=100.0, worst_ms=100.0, tries=4, goal_ms=150.0)
    assert missed([a_run(spare=False, session=12.0), a_run(spare=True, session=10.9)], [slow, often, fine]) == [
        "40 ms round trip, dialled: p50 1.20 x by hand, goal 1.1",
        "a dead target: 151 ms, goal 150",
        "accepted: 4 tries, goal 3",
    ]
    assert missed([], [fine]) == []
