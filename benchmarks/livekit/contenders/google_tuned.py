"""LiveKit's google plugin with the best settings that can be found for it."""

from __future__ import annotations

from google.genai import types
from livekit.agents import APIConnectOptions, llm
from livekit.plugins import google

from benchmarks.livekit.contenders.google import options
from unbroken.testing.service import SimulatedService

NAME = "google, tuned"
WHAT = (
    "the same; pings every 2 s, answered within 2 s (async_client_args), close and dial timeouts, 10 retries a second "
    "apart, context compression; resumption is always on in the plugin"
)
BACKUP = False


def model(name: str, primary: SimulatedService, backup: SimulatedService) -> llm.RealtimeModel:
    """Makes the realtime model; it knows one service."""
    return tuned(name, primary, key="primary")


def tuned(name: str, service: SimulatedService, *, key: str, retries: int = 10) -> llm.RealtimeModel:
    """Makes a tuned model for one service; with a second model behind it, fewer retries are better."""
    return google.realtime.RealtimeModel(
        model=name,
        api_key=key,
        http_options=options(service, ping_interval=2, ping_timeout=2, close_timeout=0.5, open_timeout=3),
        conn_options=APIConnectOptions(max_retry=retries, retry_interval=1.0),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
    )
