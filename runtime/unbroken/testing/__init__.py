"""For tests of anything built on unbroken: virtual time, cancellation at every step, conformance checks; no provider."""

from __future__ import annotations

from unbroken.testing.cancel import cancel_at, cancel_everywhere
from unbroken.testing.clock import Deadlock, virtual
from unbroken.testing.sockets import check_sockets, memory_pair, memory_service

__all__ = [
    "Deadlock",
    "cancel_at",
    "cancel_everywhere",
    "check_sockets",
    "memory_pair",
    "memory_service",
    "virtual",
]
