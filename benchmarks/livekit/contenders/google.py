"""LiveKit's google plugin as it comes."""

from __future__ import annotations

from typing import Any

from google.genai import types
from livekit.agents import llm
from livekit.plugins import google

from unbroken.testing.service import SimulatedService

NAME = "google"
WHAT = "livekit-plugins-google's RealtimeModel with its defaults"
BACKUP = False


def model(name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
    """Makes the realtime model; it knows one service."""
    return google.realtime.RealtimeModel(model=name, api_key="primary", http_options=options(primary))


def options(service: SimulatedService, **more: Any) -> types.HttpOptions:
    """Returns what leads to a service: its address and certificate, and no proxy of the machine in between."""
    return types.HttpOptions(
        base_url=service.base_url, async_client_args={"ssl": service.ssl_context, "proxy": None, **more}
    )
