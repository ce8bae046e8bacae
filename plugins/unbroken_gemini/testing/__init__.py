"""A simulated Gemini Live service for anyone's tests: the real protocol, its rules and pitfalls, and a count of the audio.

::

    async with unbroken_gemini.testing.simulated(faults=["1011@3s"]) as service:
        target = service.target("gemini-3.8-live")

Needs nothing of google-genai. The host that serves it, and what faults there are, is `unbroken.testing`.
"""

from __future__ import annotations

from collections.abc import Sequence

from unbroken_gemini.testing.behaviour import HARSH, Behaviour
from unbroken_gemini.testing.service import SimulatedGemini
from unbroken_gemini.testing.voice import Call, Nothing, Reply, Say

__all__ = ["HARSH", "Behaviour", "Call", "Nothing", "Reply", "Say", "SimulatedGemini", "simulator"]


def simulator(*, models: Sequence[str] = (), harsh: bool = False, seed: int = 0) -> SimulatedGemini:
    """Makes a simulated service; what the entry point ``unbroken.simulators`` names.

    Args:
        models: the only models that are served; empty: all that the real service serves.
        harsh: with every pitfall that is known of the real service.
        seed: of its dice.
    """
    return SimulatedGemini(models=models, behaviour=HARSH if harsh else Behaviour(), seed=seed)
