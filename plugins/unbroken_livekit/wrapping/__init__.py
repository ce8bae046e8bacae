"""Any of LiveKit's realtime models under unbroken's supervision."""

from __future__ import annotations

from unbroken_livekit.wrapping.model import WrappedModel, wrap

__all__ = ["WrappedModel", "wrap"]
