"""livekit-plugins-google's RealtimeModel in an AgentSession.

To correct how it is set up, change this file. `default` is as it comes; it resumes by handles by itself. `tuned` has what
its parameters offer: pings that find a dead connection in four seconds and bounds on dialling and closing (`http_options`),
ten retries a second apart (`conn_options`), and context compression.
"""

from __future__ import annotations

from google.genai import types
from livekit.agents import APIConnectOptions, llm
from livekit.plugins import google

from benchmarks.contenders.livekit_session import hold
from benchmarks.contenders.stage import Stage, perform

__all__ = ["tuned"]


async def play(stage: Stage) -> None:
    """Holds one call."""
    await hold(stage, _model)


def _model(stage: Stage) -> llm.RealtimeModel:
    job = stage.job
    if job.tuned:
        return tuned(job.model, job.url, key="primary", retries=10)
    return google.realtime.RealtimeModel(
        model=job.model, api_key="primary", http_options=types.HttpOptions(base_url=job.url)
    )


def tuned(name: str, url: str, *, key: str, retries: int) -> llm.RealtimeModel:
    """Makes a tuned model for one service.

    Args:
        name: of the model.
        url: base URL of the service.
        key: its key.
        retries: in a row; with a second model behind this one, fewer are better.
    """
    pings = {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 0.5, "open_timeout": 3}
    return google.realtime.RealtimeModel(
        model=name,
        api_key=key,
        http_options=types.HttpOptions(base_url=url, async_client_args=pings),
        conn_options=APIConnectOptions(max_retry=retries, retry_interval=1.0),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
    )


if __name__ == "__main__":
    perform(play)
