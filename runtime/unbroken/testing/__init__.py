"""For tests of anything built on unbroken: virtual time, cancellation at every step, conformance checks; no provider."""

from __future__ import annotations

from unbroken.testing.cancel import cancel_at, cancel_everywhere
from unbroken.testing.clock import Deadlock, virtual

__all__ = ["Deadlock", "cancel_at", "cancel_everywhere", "virtual"]
