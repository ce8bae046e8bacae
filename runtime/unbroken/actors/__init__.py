"""Actors for anyio, generic: one task, one mailbox, one message at a time, one deadline. Nothing here knows of voice."""

from __future__ import annotations

from unbroken.actors.actor import Actor
from unbroken.actors.alarm import Alarm
from unbroken.actors.bell import Bell, clock
from unbroken.actors.mailbox import Mailbox, MailboxClosed, MailboxFull, Overflow
from unbroken.actors.supervisor import Intensity, RestartsExhausted, supervise

__all__ = [
    "Actor",
    "Alarm",
    "Bell",
    "Intensity",
    "Mailbox",
    "MailboxClosed",
    "MailboxFull",
    "Overflow",
    "RestartsExhausted",
    "clock",
    "supervise",
]
