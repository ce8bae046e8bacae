"""unbroken's realtime model for LiveKit in an AgentSession, with the settings it comes with and one fallback.

To correct how it is set up, change this file. It does what docs/livekit.md does.
"""

from __future__ import annotations

import ssl

from google.genai import types
from livekit.agents import llm

import unbroken_gemini
import unbroken_livekit
from benchmarks.contenders.livekit_session import hold
from benchmarks.contenders.stage import Stage, perform


async def play(stage: Stage) -> None:
    """Holds one call."""
    await hold(stage, _model)


def _model(stage: Stage) -> llm.RealtimeModel:
    job = stage.job
    fallbacks = []
    if job.backup:
        tls = ssl.create_default_context(cafile=job.ca_file)
        fallbacks = [
            unbroken_gemini.target(job.backup_model, api_key="backup", base_url=job.backup, ssl=tls, label="backup")
        ]
    options = types.HttpOptions(base_url=job.url)
    return unbroken_livekit.RealtimeModel(job.model, api_key="primary", http_options=options, fallbacks=fallbacks)


if __name__ == "__main__":
    perform(play)
