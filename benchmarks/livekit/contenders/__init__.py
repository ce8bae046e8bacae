"""One file per contender: the place to correct how it is set up. Each has NAME, WHAT, BACKUP and `model`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from livekit.agents import llm

from unbroken.testing.service import SimulatedService

__all__ = ["CONTENDERS", "Contender", "load"]

CONTENDERS = ("google", "google_tuned", "adapter", "unbroken", "wrap")
"""In the order of the table's columns."""


class Contender(Protocol):
    """What a file in this folder has.

    Attributes:
        NAME: for the table's head.
        WHAT: how it is set up, one line.
        BACKUP: it can be given a second model.
    """

    NAME: str
    WHAT: str
    BACKUP: bool

    def model(self, name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
        """Makes the realtime model.

        Args:
            name: the model to ask for, on both services.
            primary: the service that the call begins with.
            backup: the other one.
        """
        ...


def load(name: str) -> Contender:
    """Loads a contender by the name of its file."""
    return cast("Contender", import_module(f"{__name__}.{name}"))
