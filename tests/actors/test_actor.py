from __future__ import annotations

import math

import anyio
import pytest

from unbroken.actors import Actor, Mailbox, Overflow
from unbroken.testing import cancel_everywhere
from unbroken.testing.clock import stand_still

pytestmark = pytest.mark.anyio


class Recorder(Actor[object]):
    """Records what it handles and when; an integer sets its deadline, an exception is raised, "stop" stops it."""

    def __init__(self, capacity: int = 16) -> None:
        super().__init__(Mailbox(name="recorder", capacity=capacity, overflow=Overflow.FAIL))
        self.seen: list[tuple[object, float]] = []
        self.due = math.inf
        self.then = math.inf

    def handle(self, message: object) -> None:
        self.seen.append((message, anyio.current_time()))
        match message:
            case int():
                self.due = message
            case Exception():
                raise message
            case "stop":
                self.stop()
            case "again":
                self.mailbox.post("again")
            case _:
                pass

    def on_deadline(self, now: float) -> None:
        self.seen.append(("deadline", now))
        self.due = self.then

    @property
    def deadline(self) -> float:
        return self.due


async def test_messages_are_handled_in_order_until_it_is_stopped() -> None:
    actor = Recorder()
    async with anyio.create_task_group() as tasks:
        await tasks.start(actor.run)
        for message in ("a", "b"):
            actor.mailbox.post(message)
        await anyio.sleep(1)
        for message in ("c", "stop", "not handled"):
            actor.mailbox.post(message)
    assert actor.seen == [("a", 0), ("b", 0), ("c", 1), ("stop", 1)]
    assert actor.mailbox.post("late") is False
    assert repr(actor) == "<Recorder 'recorder' stopped>"


async def test_stop_from_outside_ends_an_idle_actor() -> None:
    actor = Recorder()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        await anyio.sleep(1)
        assert repr(actor) == "<Recorder 'recorder' 0 waiting>"
        actor.stop()
    assert anyio.current_time() == 1


async def test_the_deadline_comes_where_nothing_else_does() -> None:
    actor = Recorder()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        actor.mailbox.post(50)
        await anyio.sleep(1)
        actor.mailbox.post(5)
        await anyio.sleep(1)
        actor.mailbox.post(8)
        await anyio.sleep(20)
        actor.stop()
    assert actor.seen == [(50, 0), (5, 1), (8, 2), ("deadline", 8)]


async def test_the_deadline_comes_in_a_flood() -> None:
    actor = Recorder()
    actor.then = math.inf

    async def tick() -> None:
        # Virtual time moves only where every task waits, so the flood has to let it.
        while True:
            actor.mailbox.post("message")
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        actor.mailbox.post(1)
        tasks.start_soon(tick)
        await anyio.sleep(2)
        tasks.cancel_scope.cancel()
    deadlines = [when for what, when in actor.seen if what == "deadline"]
    assert deadlines == [pytest.approx(1, abs=0.01)]
    assert len(actor.seen) > 100


async def test_a_deadline_already_past_does_not_wait_for_the_mailbox_to_empty() -> None:
    actor = Recorder()
    async with anyio.create_task_group() as tasks:
        actor.mailbox.post(0)
        for _ in range(3):
            actor.mailbox.post("message")
        tasks.start_soon(actor.run)
        await anyio.sleep(1)
        actor.stop()
    assert [what for what, _ in actor.seen] == [0, "deadline", "message", "message", "message"]


async def test_what_came_while_the_process_stood_still_is_handled_before_the_deadline_that_it_slept_through() -> None:
    actor = Recorder()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        actor.mailbox.post(2)
        await anyio.sleep(1)

        async def reader(left: int) -> None:
            if left:
                tasks.start_soon(reader, left - 1)
            else:
                actor.mailbox.post(10)

        tasks.start_soon(reader, 4)
        stand_still(3)
        await anyio.sleep(8)
        actor.stop()
    assert actor.seen == [(2, 0), (10, 4), ("deadline", 10)]


async def test_nothing_came_while_the_process_stood_still() -> None:
    actor = Recorder()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        actor.mailbox.post(2)
        await anyio.sleep(1)
        stand_still(3)
        await anyio.sleep(1)
        actor.stop()
    assert actor.seen == [(2, 0), ("deadline", 4)]


async def test_a_message_that_feeds_itself_does_not_starve_the_loop() -> None:
    actor = Recorder()
    actor.mailbox.post("again")
    with anyio.CancelScope() as scope:

        async def stop() -> None:
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(actor.run)
            tasks.start_soon(stop)
    assert scope.cancelled_caught


async def test_several_deadlines_in_a_row_are_work() -> None:
    actor = Recorder()
    actor.then = 3
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        actor.mailbox.post(1)
        await anyio.sleep(2)
        actor.then = math.inf
        await anyio.sleep(2)
        actor.stop()
    assert actor.seen == [(1, 0), ("deadline", 1), ("deadline", 3)]


async def test_a_deadline_that_never_moves_is_a_bug_and_not_a_spin() -> None:
    actor = Recorder()
    actor.due = actor.then = 0
    with pytest.raises(RuntimeError, match="actor 'recorder' leaves its deadline in the past: on_deadline has to move it"):
        await actor.run()


async def test_a_crash_leaves_unwrapped_and_the_next_message_stays() -> None:
    actor = Recorder()
    crash = LookupError("bug")
    actor.mailbox.post(crash)
    actor.mailbox.post("next")
    with pytest.raises(LookupError) as caught:
        await actor.run()
    assert caught.value is crash
    assert actor.mailbox.receive_nowait() == "next"


async def test_cancelled_anywhere_two_actors_lose_nothing() -> None:
    class Relay(Recorder):
        def __init__(self, to: Recorder) -> None:
            super().__init__()
            self.to = to

        def handle(self, message: object) -> None:
            super().handle(message)
            self.to.mailbox.post(message)

    last = Recorder()
    relay = Relay(last)

    async def scenario() -> None:
        nonlocal last, relay
        last = Recorder()
        relay = Relay(last)
        for number in (1, 2):
            relay.mailbox.post(str(number))
        async with anyio.create_task_group() as tasks:
            await tasks.start(last.run)
            await tasks.start(relay.run)
            await anyio.sleep(0.5)
            relay.mailbox.post("stop")
            await anyio.sleep(0.5)

    def check() -> None:
        kept = [str(message) for message, _ in last.seen]
        kept += [str(last.mailbox.receive_nowait()) for _ in range(len(last.mailbox))]
        kept += [str(relay.mailbox.receive_nowait()) for _ in range(len(relay.mailbox))]
        assert kept in (["1", "2"], ["1", "2", "stop"])
        for actor in (last, relay):
            # The task is gone: nobody reads the mailbox, so this one may.
            assert not actor.mailbox._bell.awaited

    assert await cancel_everywhere(scenario, check=check) > 10
