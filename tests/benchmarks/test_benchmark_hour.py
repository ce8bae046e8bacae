"""The benchmark of memory over a call: what it counts, and that it lives a call through faults."""

from __future__ import annotations

import re
import sys

import pytest
from benchmarks.cost.hour import growth, memory_over_an_hour, sizes


class Node:
    def __init__(self, *held: object) -> None:
        self.held = held


def test_everything_that_is_reached_counts_once_but_for_what_is_outside() -> None:
    shared, outside = bytes(1000), bytes(100_000)
    ring = Node(shared)
    ring.held += (Node(shared), ring, outside)
    found = sizes([ring], outside=lambda one: one is outside or isinstance(one, type))
    assert found["bytes"] == sys.getsizeof(shared)
    assert found["Node"] == 2 * sys.getsizeof(ring)


def test_a_short_call_is_measured_through_its_faults() -> None:
    cost, hourly, per_recovery = memory_over_an_hour(minutes=3)
    said = re.fullmatch(r"3 minutes, (\d+) recoveries", cost.name)
    assert said is not None
    assert int(said[1]) > 9, "of fifteen faults, some of which may strike at one time"
    assert cost.floor is not None
    assert 50 < cost.least <= cost.value <= cost.most, "KiB: the journal alone holds seconds of audio"
    assert (cost.unit, cost.command) == ("KiB", "python -m benchmarks.cost --hour")
    assert (hourly.name, per_recovery.name) == (f"{cost.name}, growth in an hour", f"{cost.name}, growth with a recovery")
    assert per_recovery.value * int(said[1]) * 20 == pytest.approx(hourly.value), "three minutes are a twentieth of an hour"


def test_growth_is_told_from_a_busy_minute() -> None:
    assert growth([10.0, 12.0, 14.0, 16.0]) == 2.0
    assert growth([10.0, 10.0, 500.0, 10.0, 10.0]) == 0.0
