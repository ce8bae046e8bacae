"""The benchmark of recoveries runs; what it measures is asked of no machine that has other work to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "recovery.py"


@pytest.mark.sockets
def test_the_benchmark_of_recoveries_runs() -> None:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARK), "--quick", "--rtt", "0"], capture_output=True, text=True, timeout=120, check=False
    )
    # where the machine stands still, the runtime says that a decision took long
    said = [line for line in ran.stderr.splitlines() if "ms to decide while every session waits" not in line]
    assert (ran.returncode, said) == (0, [])
    assert "10 recoveries, 0 on a spare" in ran.stdout
    assert "10 recoveries, 10 on a spare" in ran.stdout
    assert "tries before: 3" in ran.stdout.splitlines()[-1]
