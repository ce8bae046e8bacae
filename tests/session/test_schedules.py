"""Audio identity over random fault schedules: some in every run, all thousand where they are asked for.

``UNBROKEN_SCHEDULES=1000 pytest tests/session/test_schedules.py`` plays a thousand on each backend,
``UNBROKEN_SCHEDULES_FROM=417`` begins with that seed, and so both together, with 1 and 417, play a certain one again.
"""

from __future__ import annotations

import os

import pytest
from tests.session.schedules import call, schedule_of

pytestmark = pytest.mark.anyio

COUNT = int(os.environ.get("UNBROKEN_SCHEDULES", "12"))
FIRST = int(os.environ.get("UNBROKEN_SCHEDULES_FROM", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
async def test_nothing_said_is_lost_repeated_or_out_of_order(seed: int) -> None:
    outcome = await call(schedule_of(seed))
    again = f"UNBROKEN_SCHEDULES=1 UNBROKEN_SCHEDULES_FROM={seed} python -m pytest tests/session/test_schedules.py"
    assert outcome.broken == (), f"play it again: {again}"


def test_half_of_the_schedules_are_for_the_harsh_service_and_a_seed_makes_the_same_one_again() -> None:
    schedules = [schedule_of(seed) for seed in range(100)]
    assert sum(schedule.harsh for schedule in schedules) == 50
    assert schedules == [schedule_of(seed) for seed in range(100)]
