from __future__ import annotations

import asyncio
import sys

import anyio
import pytest

from unbroken.actors import Bell, clock

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def waits(bell: Bell) -> None:
    await bell.wait()


async def test_a_ring_wakes_the_task_that_waits_and_the_next_wait_needs_another() -> None:
    bell, woken = Bell(), list[int]()

    async def wait() -> None:
        for turn in range(3):
            await bell.wait()
            woken.append(turn)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for turns in range(3):
            await settle()
            assert woken == [*range(turns)]
            bell.ring()
            bell.ring()
            await settle()
    assert woken == [0, 1, 2]


async def test_a_ring_that_nobody_waits_for_is_forgotten() -> None:
    bell = Bell()
    bell.ring()
    with anyio.move_on_after(1) as waited:
        await bell.wait()
    assert waited.cancelled_caught
    assert repr(bell) == "<Bell at rest>"


async def test_a_ring_in_the_turn_of_a_cancellation_harms_nothing() -> None:
    bell = Bell()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits, bell)
        await settle()
        assert repr(bell) == "<Bell awaited>"
        tasks.cancel_scope.cancel()
        bell.ring()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits, bell)
        await settle()
        bell.ring()


async def test_whoever_waits_before_the_one_that_was_woken_has_run_is_woken_too() -> None:
    bell, woken = Bell(), list[str]()

    async def wait(name: str) -> None:
        await bell.wait()
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "first")
        await settle()
        bell.ring()
        tasks.start_soon(wait, "second")
        await settle()
        assert woken == ["first"]
        bell.ring()
    assert woken == ["first", "second"]


async def test_two_tasks_at_one_bell_are_a_bug() -> None:
    bell = Bell()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits, bell)
        await settle()
        with pytest.raises(RuntimeError, match="two tasks wait for one bell"):
            await bell.wait()
        bell.ring()


async def test_the_clock_is_the_one_that_the_tasks_sleep_by() -> None:
    now = clock()
    assert now() == anyio.current_time()
    await anyio.sleep(5)
    assert now() == anyio.current_time() == 5.0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_clock_of_an_asyncio_loop_can_be_read_in_a_callback(anyio_backend: str) -> None:
    now, read, done = clock(), list[float](), anyio.Event()

    def callback() -> None:
        read.append(now())
        done.set()

    asyncio.get_running_loop().call_soon(callback)
    await done.wait()
    assert len(read) == 1


async def test_without_asyncio_in_the_process_none_is_loaded(
    monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "asyncio":
        pytest.skip("it is loaded")
    monkeypatch.delitem(sys.modules, "asyncio")
    bell = Bell()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits, bell)
        await settle()
        bell.ring()
    assert "asyncio" not in sys.modules
