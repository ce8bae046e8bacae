"""unbroken's own realtime model for LiveKit."""

from __future__ import annotations

from livekit.agents import llm

import unbroken_gemini
import unbroken_livekit
from benchmarks.livekit.contenders.google import options
from unbroken.testing.service import SimulatedService

NAME = "unbroken"
WHAT = "unbroken_livekit.RealtimeModel with its defaults, and one fallback"
BACKUP = True


def model(name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
    """Makes the realtime model."""
    other = unbroken_gemini.target(name, api_key="backup", base_url=backup.base_url, ssl=backup.ssl_context, label="backup")
    return unbroken_livekit.RealtimeModel(name, api_key="primary", http_options=options(primary), fallbacks=[other])
