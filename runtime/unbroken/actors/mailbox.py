"""A bounded queue of messages with one reader. Posting never waits and never switches tasks."""

from __future__ import annotations

import enum
from collections import deque
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

from unbroken.actors.bell import Bell
from unbroken.errors import UnbrokenError

__all__ = ["Mailbox", "MailboxClosed", "MailboxFull", "Overflow"]

M = TypeVar("M")

BATCH = 64
"""Messages that a reader takes without a turn of the loop: a flood must not starve the other tasks."""


class Overflow(enum.Enum):
    """What a full mailbox does with one message more."""

    REFUSE = "refuse"
    """`Mailbox.post` returns False; the sender knows."""

    DROP_OLDEST = "drop oldest"
    """The oldest message makes room and is counted in `Mailbox.dropped`."""

    FAIL = "fail"
    """`Mailbox.post` raises `MailboxFull`: for mailboxes that can overflow only by a bug."""


class MailboxFull(UnbrokenError):
    """A mailbox overflowed that never should."""


class MailboxClosed(UnbrokenError):
    """The mailbox is closed and empty: there will be no more messages."""


class Mailbox(Generic[M]):
    """A bounded first-in-first-out queue with one reader and any number of senders, all on the loop's own thread.

    Args:
        name: whose mailbox it is, for people.
        capacity: messages it holds at most.
        overflow: what happens to one more.

    Attributes:
        name: as given.
        capacity: as given.
        overflow: as given.
        dropped: messages that were accepted and later dropped to make room.
    """

    def __init__(self, *, name: str, capacity: int, overflow: Overflow) -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name!r} needs a capacity of at least 1, not {capacity}")
        self.name = name
        self.capacity = capacity
        self.overflow = overflow
        self.dropped = 0
        self._messages: deque[M] = deque()
        self._bell = Bell()
        self._woken = False
        self._closed = False
        self._taken = 0

    def post(self, message: M) -> bool:
        """Puts a message at the end and wakes the reader. Never waits.

        Returns:
            Whether the message was taken: False from a full mailbox that refuses, and from a closed one.

        Raises:
            MailboxFull: it is full, and was declared never to be.
        """
        if self._closed:
            return False
        if len(self._messages) >= self.capacity:
            match self.overflow:
                case Overflow.REFUSE:
                    return False
                case Overflow.DROP_OLDEST:
                    self._messages.popleft()
                    self.dropped += 1
                case Overflow.FAIL:
                    raise MailboxFull(f"{self!r} overflowed with a {type(message).__name__}")
        self._messages.append(message)
        self._bell.ring()
        return True

    async def receive(self) -> M:
        """Returns the next message, waiting for one where there is none.

        Cancelling it loses nothing: a message is taken out only when nothing can come between it and the caller.

        Raises:
            MailboxClosed: the mailbox was closed, and everything in it has been read.
        """
        if self._taken >= BATCH:
            self._taken = 0
            await anyio.lowlevel.checkpoint()
        while not self._messages:
            if self._closed:
                raise MailboxClosed(f"{self!r} has no more messages")
            await self.wait()
        return self.receive_nowait()

    def receive_nowait(self) -> M:
        """Returns the next message.

        Raises:
            anyio.WouldBlock: there is none.
        """
        if not self._messages:
            raise anyio.WouldBlock
        self._taken += 1
        return self._messages.popleft()

    async def wait(self) -> None:
        """Waits until there is a message, or `wake` or `close` was called. Returns at once where that is so already.

        Raises:
            RuntimeError: another task is waiting: a mailbox has one reader.
        """
        if not self._messages and not self._closed and not self._woken:
            if self._bell.awaited:
                raise RuntimeError(f"two tasks read {self!r}; a mailbox has one reader")
            await self._bell.wait()
            self._taken = 0
        self._woken = False

    def wake(self) -> None:
        """Ends the reader's present or next `wait`, message or not."""
        self._woken = True
        self._bell.ring()

    def close(self) -> None:
        """Takes no more messages. What is in the mailbox can still be read. Closing twice is fine."""
        self._closed = True
        self._bell.ring()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __len__(self) -> int:
        return len(self._messages)

    def __repr__(self) -> str:
        closed = " closed" if self._closed else ""
        dropped = f", {self.dropped} dropped" if self.dropped else ""
        return f"<Mailbox {self.name!r}{closed} {len(self._messages)}/{self.capacity}{dropped}>"
