"""What a link is given to take the conversation over with."""

from __future__ import annotations

import msgspec

from unbroken.config import Secret
from unbroken.core.retold import Mark, Retold
from unbroken.decisions import Carry
from unbroken.events import Turn

__all__ = ["Crossing", "Snapshot"]


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is given to take the conversation over with.

    Attributes:
        carry: how the conversation crosses.
        handle: resume by it; None: a fresh session of the provider.
        history: turns to replay on a fresh session.
        known: samples: up to here the context that the link continues or begins holds the user's audio.
        seq: the last item of the outbox that it holds.
        told: samples of the user's audio that cross in words.
        written_off: samples of speech that were answered before and are told by no transcript: the new context lacks them.
        calls: how many tool calls had been issued when the handle's snapshot was taken; None: there is no handle.
        retold: what was said and done after that and was answered, told in words besides the handle; None: nothing.
    """

    carry: Carry = "nothing"
    handle: Secret | None = None
    history: tuple[Turn, ...] = ()
    known: int = 0
    seq: int = 0
    told: int = 0
    written_off: int = 0
    calls: int | None = None
    retold: Retold | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A resumption handle, and what it holds.

    Attributes:
        target: what it is good for, ``provider/model``.
        handle: the handle.
        mark: the moment of the conversation that it brings back.
        calls: how many tool calls had been issued by then.
    """

    target: str
    handle: Secret
    mark: Mark
    calls: int
