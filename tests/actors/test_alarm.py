from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from unbroken.actors import Alarm

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(rings: list[float]) -> AsyncGenerator[Alarm]:
    alarm = Alarm(lambda: rings.append(anyio.current_time()))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(alarm.run)
        await anyio.wait_all_tasks_blocked()
        yield alarm
        tasks.cancel_scope.cancel()


async def test_it_rings_once_at_its_deadline() -> None:
    rings: list[float] = []
    async with running(rings) as alarm:
        alarm.set(5)
        assert repr(alarm) == "<Alarm at 5.000>"
        await anyio.sleep(20)
        assert alarm.deadline == math.inf
        assert repr(alarm) == "<Alarm unset>"
    assert rings == [5]


async def test_it_can_be_moved_earlier_later_and_away() -> None:
    rings: list[float] = []
    async with running(rings) as alarm:
        alarm.set(10)
        await anyio.sleep(1)
        alarm.set(3)
        await anyio.sleep(1)
        alarm.set(6)
        await anyio.sleep(8)
        assert rings == [6]
        alarm.set(15)
        alarm.set(math.inf)
        await anyio.sleep(10)
    assert rings == [6]


async def test_moved_later_while_asleep_it_can_still_be_moved_earlier() -> None:
    rings: list[float] = []
    async with running(rings) as alarm:
        alarm.set(5)
        await anyio.sleep(1)
        alarm.set(50)
        await anyio.sleep(9)
        alarm.set(12)
        await anyio.sleep(40)
    assert rings == [12]


async def test_a_deadline_in_the_past_rings_at_once() -> None:
    rings: list[float] = []
    await anyio.sleep(7)
    async with running(rings) as alarm:
        alarm.set(1)
        await anyio.sleep(1)
    assert rings == [7]


async def test_a_deadline_set_before_it_runs_counts() -> None:
    rings: list[float] = []
    alarm = Alarm(lambda: rings.append(anyio.current_time()))
    alarm.set(2)
    with anyio.move_on_after(9):
        await alarm.run()
    assert rings == [2]


async def test_it_can_be_set_by_its_own_ring() -> None:
    rings: list[float] = []

    def ring() -> None:
        rings.append(anyio.current_time())
        alarm.set(rings[-1] + 2)

    alarm = Alarm(ring)
    alarm.set(1)
    with anyio.move_on_after(6):
        await alarm.run()
    assert rings == [1, 3, 5]
