from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise

import anyio
import pytest

from unbroken.testing import Deadlock, cancel_at, cancel_everywhere, clock, virtual
from unbroken.testing.clock import GRACE


@pytest.mark.anyio
async def test_an_hour_takes_no_time() -> None:
    assert anyio.current_time() == 0
    await anyio.sleep(3600)
    assert anyio.current_time() == 3600


@pytest.mark.anyio
async def test_timers_of_many_tasks_come_in_order() -> None:
    seen: list[float] = []

    async def tick(period: float) -> None:
        for _ in range(10):
            await anyio.sleep(period)
            seen.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        for period in (0.02, 0.5, 7):
            tasks.start_soon(tick, period)
    assert all(earlier <= later for earlier, later in pairwise(seen))
    assert seen[-1] == pytest.approx(70)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadlock_is_an_error_that_says_where(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Idle worker threads of other tests may still be there, and would be given their time.
    monkeypatch.setattr(clock, "THREAD_GRACE", GRACE)

    async def main() -> None:
        await anyio.sleep(1)
        await anyio.Event().wait()

    name, options = virtual(backend)
    with pytest.raises(Deadlock, match=r"every task waits and no timer is set, at 1.000 s: .* at .*\.py:\d+"):
        anyio.run(main, backend=name, backend_options=options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thread_is_no_deadlock(backend: str) -> None:
    def slow() -> int:
        time.sleep(GRACE * 2)
        return 7

    async def main() -> int:
        return await anyio.to_thread.run_sync(slow)

    name, options = virtual(backend)
    assert anyio.run(main, backend=name, backend_options=options) == 7


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="unknown backend 'curio'; known: asyncio, trio"):
        virtual("curio")


def test_virtual_time_on_asyncio_does_not_load_trio() -> None:
    code = "import sys, unbroken.testing as t; t.virtual('asyncio'); sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.anyio
async def test_cancel_at_finds_each_place_to_be_cancelled() -> None:
    reached: set[int] = set()

    async def scenario() -> None:
        at = 0
        try:
            for at in range(1, 4):  # noqa: B007
                await anyio.sleep(1)
            at = 4
        finally:
            reached.add(at)

    steps = await cancel_everywhere(scenario)
    assert reached == {1, 2, 3, 4}
    assert steps > 3
    assert not await cancel_at(steps - 1, scenario)
    assert await cancel_at(steps, scenario)


@pytest.mark.anyio
async def test_cancel_at_counts_the_steps_of_every_task() -> None:
    cut: set[str] = set()

    async def work(name: str) -> None:
        try:
            await anyio.sleep(1)
        except anyio.get_cancelled_exc_class():
            cut.add(name)
            raise

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(work, name)

    await cancel_everywhere(scenario)
    assert cut == set("abc")


@pytest.mark.anyio
async def test_cancel_everywhere_finds_what_a_cancellation_leaves_behind() -> None:
    open_things = 0

    async def leaky() -> None:
        nonlocal open_things
        open_things += 1
        await anyio.sleep(1)
        open_things -= 1

    def check() -> None:
        assert open_things == 0, "left open"

    with pytest.raises(AssertionError, match="left open") as caught:
        await cancel_everywhere(leaky, check=check)
    assert caught.value.__notes__ == ["after a cancellation at step 1"]


@pytest.mark.anyio
async def test_a_scenario_that_does_not_end_is_given_up() -> None:
    async def endless() -> None:
        while True:  # noqa: ASYNC110 (an endless scenario is the point)
            await anyio.sleep(1)

    with pytest.raises(RuntimeError, match="the scenario is not done within 20 steps"):
        await cancel_everywhere(endless, most=20)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_only_virtual_time_can_pass_while_nothing_runs(backend: str) -> None:
    async def main() -> None:
        before = anyio.current_time()
        with anyio.move_on_after(3) as bound:
            clock.stand_still(5)
            await anyio.sleep(1)
        assert bound.cancelled_caught
        assert anyio.current_time() == before + 5

    name, options = virtual(backend)
    anyio.run(main, backend=name, backend_options=options)
    with pytest.raises(RuntimeError, match=rf"run it with unbroken\.testing\.virtual\('{backend}'\)"):
        anyio.run(main, backend=backend)


def test_cancel_at_needs_virtual_time_on_asyncio() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"run it with unbroken.testing.virtual\('asyncio'\)"):
            await cancel_at(1, anyio.lowlevel.checkpoint)

    anyio.run(main, backend="asyncio")
