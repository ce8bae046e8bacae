"""The benchmark of cost: what it asks for, and what it makes of what it found. `unbroken bench --quick` lets it run."""

from __future__ import annotations

from argparse import Namespace

import pytest

pytest.importorskip("picows", reason="install the dependency group bench: the floor is measured on picows")

from benchmarks.cost.__main__ import command, table
from benchmarks.cost.client import Found
from benchmarks.cost.rounds import _costs, cases


def test_google_genai_is_measured_over_tls_only_beside_a_floor_over_tls() -> None:
    for case in cases((1, 150), all_sides=True):
        assert ("google-genai" in case.sides) == case.tls
        assert {"floor", "unbroken"} <= set(case.sides)


def test_each_target_is_held_against_the_floor_of_the_same_case() -> None:
    case = next(case for case in cases((150,), all_sides=True) if not case.tls)
    found = {
        "floor": [Found(cpu=cpu, carried=1000 / cpu, idle=10) for cpu in (2.0, 3.0, 9.0)],
        "floor on the fast transport": [Found(cpu=3.0, idle=10, active=20)] * 3,
        "unbroken": [Found(cpu=4.0, carried=250, idle=50, active=90, lag=(1.0, 21.0, 30.0))] * 3,
    }
    rows = _costs(case, found)
    carried = next(cost for cost in rows if cost.group == "sessions per core" and cost.contender == "unbroken")
    assert (carried.value, carried.floor, carried.rising, carried.met) == (250, 1000 / 3, True, None)
    costs = {(cost.name, cost.contender): cost for cost in rows if cost.group != carried.group}
    cpu = costs["150 sessions", "unbroken"]
    assert (cpu.value, cpu.floor, cpu.met) == (4.0, 3.0, True)
    assert costs["150 sessions, p99", "unbroken"].met is False
    assert (costs["150 sessions, idle", "unbroken"].value, costs["150 sessions, idle", "unbroken"].met) == (40.0, True)
    assert costs["150 sessions, active", "unbroken"].value == 70.0
    assert costs["150 sessions", "floor"].goal is None
    assert "| 150 sessions | unbroken | 4.0 ms | 4.0 to 4.0 | 1.33 x | 1.5 x: met |" in table([cpu])


def test_a_figure_names_the_whole_command_that_prints_it_again() -> None:
    usual = Namespace(quick=False, ours=False, plain=False, hour=False, sessions=None, rounds=3, seconds=5.0)
    assert command(usual) == "python -m benchmarks.cost"
    chosen = Namespace(quick=False, ours=True, plain=True, hour=False, sessions=[1, 50], rounds=2, seconds=4.0)
    assert command(chosen) == "python -m benchmarks.cost --ours --plain --sessions 1,50 --rounds 2 --seconds 4"
