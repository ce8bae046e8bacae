"""unbroken's supervision over LiveKit's google models."""

from __future__ import annotations

from livekit.agents import llm

from benchmarks.livekit.contenders.google_tuned import tuned
from unbroken.testing.service import SimulatedService
from unbroken_livekit import wrap

NAME = "unbroken.wrap"
WHAT = "unbroken_livekit.wrap with its defaults over two tuned google models"
BACKUP = True


def model(name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
    """Makes the realtime model."""
    return wrap([tuned(name, primary, key="primary"), tuned(name, backup, key="backup")])
