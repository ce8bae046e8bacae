"""LiveKit's own fallback adapter over two of its google models, each tuned as well as can be."""

from __future__ import annotations

from benchmarks.livekit.contenders.google_tuned import tuned
from livekit.agents import llm

from unbroken.testing.service import SimulatedService

NAME = "fallback adapter"
WHAT = "llm.RealtimeModelFallbackAdapter with its defaults over two tuned google models"
BACKUP = True


def model(name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
    """Makes the realtime model."""
    return llm.RealtimeModelFallbackAdapter([tuned(name, primary, key="primary"), tuned(name, backup, key="backup")])
