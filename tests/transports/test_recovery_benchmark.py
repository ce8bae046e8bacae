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
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "10 recoveries, 0 on a spare" in ran.stdout
    assert "10 recoveries, 10 on a spare" in ran.stdout
    assert "tries before: 3" in ran.stdout.splitlines()[-1]
