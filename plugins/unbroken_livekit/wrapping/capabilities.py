"""What several models can do together: what all of them can."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from livekit.agents import llm

from unbroken.errors import ConfigError

__all__ = ["common"]

_EQUAL: Final = ("audio_output", "turn_detection", "supports_overlapping_speech")
"""What a livekit session is built on when it starts. A model that differs here cannot take a call over."""


def common(models: Sequence[llm.RealtimeModel]) -> llm.RealtimeCapabilities:
    """Returns what every one of the models can do.

    LiveKit reads most capabilities once, before it is known which model will serve, so a wrapped model promises only what
    all of them keep.

    Args:
        models: at least one.

    Raises:
        ConfigError: they differ in what a call cannot change: whether they speak, whether they find the turns themselves,
            whether they listen while they speak.
    """
    known = [field.name for field in dataclasses.fields(llm.RealtimeCapabilities)]
    for name in (name for name in _EQUAL if name in known):
        values = {bool(getattr(model.capabilities, name)) for model in models}
        if len(values) > 1:
            told = ", ".join(f"{model.label}: {getattr(model.capabilities, name)}" for model in models)
            raise ConfigError(f"models that are wrapped together have to agree on {name}, not {told}")
    return llm.RealtimeCapabilities(**{name: all(getattr(m.capabilities, name) for m in models) for name in known})
