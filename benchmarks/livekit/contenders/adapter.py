"""LiveKit's own fallback adapter over two of its google models, each tuned as well as can be."""

from __future__ import annotations

from livekit.agents import llm

from benchmarks.livekit.contenders.google_tuned import tuned
from unbroken.testing.service import SimulatedService

NAME = "fallback adapter"
WHAT = "llm.RealtimeModelFallbackAdapter over two tuned google models, which try once more before it moves on"
BACKUP = True


def model(name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
    """Makes the realtime model."""
    models = [tuned(name, place, key=key, retries=1) for place, key in ((primary, "primary"), (backup, "backup"))]
    return llm.RealtimeModelFallbackAdapter(models)
