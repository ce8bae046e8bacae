"""The plugin's logger, named as LiveKit names those of its plugins."""

from __future__ import annotations

import logging

__all__ = ["logger"]

logger = logging.getLogger("livekit.plugins.unbroken")
