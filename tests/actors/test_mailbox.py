from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.actors import Mailbox, MailboxClosed, MailboxFull, Overflow

steps = st.lists(st.one_of(st.integers(0, 99), st.just("take")), max_size=60)


def box(overflow: Overflow = Overflow.REFUSE, capacity: int = 3) -> Mailbox[int]:
    return Mailbox(name="box", capacity=capacity, overflow=overflow)


@given(capacity=st.integers(1, 5), steps=steps)
def test_refusing_keeps_the_first_in_order(capacity: int, steps: list[int | str]) -> None:
    mailbox, model = box(Overflow.REFUSE, capacity), list[int]()
    for step in steps:
        if isinstance(step, int):
            taken = mailbox.post(step)
            assert taken is (len(model) < capacity)
            model += [step] if taken else []
        elif model:
            assert mailbox.receive_nowait() == model.pop(0)
        assert len(mailbox) == len(model) <= capacity
    assert [mailbox.receive_nowait() for _ in model] == model
    assert mailbox.dropped == 0


@given(capacity=st.integers(1, 5), steps=steps)
def test_dropping_keeps_the_last_in_order_and_counts(capacity: int, steps: list[int | str]) -> None:
    mailbox, posted, taken = box(Overflow.DROP_OLDEST, capacity), list[int](), list[int]()
    for step in steps:
        if isinstance(step, int):
            assert mailbox.post(step)
            posted.append(step)
        elif len(mailbox):
            taken.append(mailbox.receive_nowait())
        assert len(mailbox) <= capacity
        assert mailbox.dropped + len(taken) + len(mailbox) == len(posted)
    rest = [mailbox.receive_nowait() for _ in range(len(mailbox))]
    assert rest == posted[len(posted) - len(rest) :]
    survivors = iter(posted)
    assert all(message in survivors for message in taken + rest), "taken out of order"


def test_a_mailbox_that_must_not_overflow_says_so() -> None:
    mailbox = box(Overflow.FAIL, capacity=1)
    mailbox.post(1)
    with pytest.raises(MailboxFull, match=r"^<Mailbox 'box' 1/1> overflowed with a int$"):
        mailbox.post(2)
    assert mailbox.receive_nowait() == 1
    assert len(mailbox) == 0


def test_the_repr_is_for_people() -> None:
    mailbox = box(Overflow.DROP_OLDEST, capacity=2)
    for number in range(3):
        mailbox.post(number)
    assert repr(mailbox) == "<Mailbox 'box' 2/2, 1 dropped>"
    mailbox.close()
    assert repr(mailbox) == "<Mailbox 'box' closed 2/2, 1 dropped>"


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="mailbox 'box' needs a capacity of at least 1, not 0"):
        box(capacity=0)


def test_an_empty_mailbox_has_nothing_at_once() -> None:
    with pytest.raises(anyio.WouldBlock):
        box().receive_nowait()


@pytest.mark.anyio
async def test_receive_waits_for_a_message() -> None:
    mailbox = box()
    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            await anyio.sleep(3)
            mailbox.post(7)

        tasks.start_soon(later)
        assert await mailbox.receive() == 7
    assert anyio.current_time() == 3


@pytest.mark.anyio
async def test_what_is_in_a_closed_mailbox_can_be_read() -> None:
    mailbox = box()
    mailbox.post(1)
    mailbox.close()
    mailbox.close()
    assert mailbox.post(2) is False
    assert await mailbox.receive() == 1
    with pytest.raises(MailboxClosed, match="has no more messages"):
        await mailbox.receive()


@pytest.mark.anyio
async def test_closing_wakes_the_reader() -> None:
    mailbox = box()

    async def close() -> None:
        mailbox.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        with pytest.raises(MailboxClosed):
            await mailbox.receive()


@pytest.mark.anyio
async def test_a_message_handed_over_is_not_lost_by_a_cancellation() -> None:
    mailbox, received = box(), list[int]()

    async def read() -> None:
        received.append(await mailbox.receive())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        mailbox.post(1)
        tasks.cancel_scope.cancel()
    rest = [mailbox.receive_nowait() for _ in range(len(mailbox))]
    assert received + rest == [1]


@pytest.mark.anyio
async def test_two_readers_are_a_bug() -> None:
    mailbox = box()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.wait)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="two tasks read <Mailbox 'box' 0/3>; a mailbox has one reader"):
            await mailbox.wait()
        mailbox.wake()


@pytest.mark.anyio
async def test_waking_before_the_wait_ends_it_and_only_it() -> None:
    mailbox = box()
    mailbox.wake()
    await mailbox.wait()
    with anyio.move_on_after(1) as scope:
        await mailbox.wait()
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_a_flood_does_not_starve_the_loop() -> None:
    mailbox: Mailbox[int] = Mailbox(name="flood", capacity=4, overflow=Overflow.REFUSE)
    mailbox.post(0)
    with anyio.CancelScope() as scope:

        async def stop() -> None:
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            while True:
                mailbox.post(await mailbox.receive() + 1)
    assert scope.cancelled_caught
