from __future__ import annotations

import anyio
import pytest

from unbroken.actors import Intensity, RestartsExhausted, supervise

pytestmark = pytest.mark.anyio


class Work:
    """Crashes after each of the given waits, then returns."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.crashes: list[tuple[str, int]] = []

    async def run(self) -> None:
        if self.waits:
            await anyio.sleep(self.waits.pop(0))
            raise LookupError(f"{len(self.waits)} left")

    def on_crash(self, error: Exception, number: int) -> None:
        self.crashes.append((str(error), number))


async def test_it_restarts_until_the_work_is_done() -> None:
    work = Work(1, 1, 1)
    await supervise(work.run, name="work", intensity=Intensity(3, 5), on_crash=work.on_crash)
    assert work.crashes == [("2 left", 1), ("1 left", 2), ("0 left", 3)]


async def test_one_crash_too_many_within_the_period_is_given_up() -> None:
    work = Work(1, 1, 1, 1, 1)
    with pytest.raises(
        RestartsExhausted, match=r"^work crashed 4 times within 5 s, last by LookupError\('1 left'\)$"
    ) as caught:
        await supervise(work.run, name="work", intensity=Intensity(3, 5), on_crash=work.on_crash)
    assert isinstance(caught.value.__cause__, LookupError)
    assert anyio.current_time() == 4
    assert len(work.crashes) == 4


async def test_crashes_further_apart_than_the_period_are_borne() -> None:
    work = Work(*[2.0] * 10)
    await supervise(work.run, name="work", intensity=Intensity(3, 5), on_crash=work.on_crash)
    assert len(work.crashes) == 10


async def test_no_restarts_at_all() -> None:
    work = Work(1)
    with pytest.raises(RestartsExhausted):
        await supervise(work.run, name="work", intensity=Intensity(0, 5), on_crash=work.on_crash)


async def test_cancellation_passes_through() -> None:
    work = Work(100)
    with anyio.move_on_after(1) as scope:
        await supervise(work.run, name="work", intensity=Intensity(), on_crash=work.on_crash)
    assert scope.cancelled_caught
    assert work.crashes == []


async def test_work_that_crashes_at_once_can_be_cancelled() -> None:
    async def crash() -> None:
        raise LookupError

    with anyio.CancelScope() as scope:

        async def stop() -> None:
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            await supervise(crash, name="work", intensity=Intensity(10**6, 1), on_crash=lambda error, number: None)
    assert scope.cancelled_caught
