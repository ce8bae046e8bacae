"""A simulated Gemini Live service for anyone's tests: the real protocol, its rules and pitfalls, and a count of the audio.

::

    async with unbroken_gemini.testing.simulated(faults=["1011@3s"]) as service:
        target = service.target("gemini-3.8-live")

Needs nothing of google-genai. The host that serves it, and what faults there are, is `unbroken.testing`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

from unbroken.testing.faults import Fault
from unbroken.testing.service import SimulatedService, serve
from unbroken_gemini.models import known
from unbroken_gemini.testing.behaviour import HARSH, Behaviour
from unbroken_gemini.testing.service import SimulatedGemini
from unbroken_gemini.testing.voice import Call, Nothing, Reply, Say

__all__ = [
    "HARSH",
    "Behaviour",
    "Call",
    "Nothing",
    "Reply",
    "Say",
    "SimulatedGemini",
    "simulated",
    "simulator",
]


def simulator(*, models: Sequence[str] = (), harsh: bool = False, seed: int = 0) -> SimulatedGemini:
    """Makes a simulated service; what the entry point ``unbroken.simulators`` names.

    Args:
        models: the only models that are served; empty: all that the real service serves.
        harsh: with every pitfall that is known of the real service.
        seed: of its dice.

    Raises:
        UnknownName: a model that is not in the catalog (`SimulatedGemini` itself serves any).
    """
    for model in models:
        known(model, platform="gemini")
    return SimulatedGemini(models=models, behaviour=HARSH if harsh else Behaviour(), seed=seed)


@asynccontextmanager
async def simulated(
    *,
    models: Sequence[str] = (),
    behaviour: Behaviour | None = None,
    replies: Sequence[Reply | str] = (),
    keys: Collection[str] = (),
    faults: Iterable[Fault | str] = (),
    memory: bool = False,
    tls: bool = True,
    port: int = 0,
    seed: int = 0,
) -> AsyncGenerator[SimulatedService]:
    """Serves a simulated Gemini Live service while the body runs.

    Args:
        models: the only models that are served; empty: all that the real service serves today.
        behaviour: its ways; None: the usual ones. `HARSH` has every pitfall that is known of the real service.
        replies: what the model answers, in order; a str is spoken. After the last it says something friendly.
        keys: the only API keys that are valid; empty: all are.
        faults: what is going to strike; see `unbroken.testing.faults`.
        memory: in memory instead of on loopback; needed for virtual time.
        tls: over TLS; needs the extra ``testing``. In memory there is none.
        port: on loopback; 0: a free one.
        seed: of all dice.

    Raises:
        ConfigError: a fault that is none, or a port that is taken.
        MissingExtra: TLS needs the package trustme.
    """
    service = SimulatedGemini(models=models, behaviour=behaviour, replies=replies, keys=keys, seed=seed)
    async with serve(service, faults=faults, memory=memory, tls=tls, port=port, seed=seed) as served:
        yield served
