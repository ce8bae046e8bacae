"""LiveKit's RealtimeModelFallbackAdapter over two of livekit-plugins-google's models, in an AgentSession.

To correct how it is set up, change this file. `default` has the two models as they come. `tuned` has two tuned ones (see
livekit_google.py), which try once more before the adapter moves on: with a second model behind, waiting is a loss.
"""

from __future__ import annotations

from google.genai import types
from livekit.agents import llm
from livekit.plugins import google

from benchmarks.contenders.livekit_google import tuned
from benchmarks.contenders.livekit_session import hold
from benchmarks.contenders.stage import Stage, perform


async def play(stage: Stage) -> None:
    """Holds one call."""
    await hold(stage, _model)


def _model(stage: Stage) -> llm.RealtimeModel:
    job = stage.job
    places = [(job.model, job.url, "primary")]
    if job.backup:
        places.append((job.backup_model, job.backup, "backup"))
    models: list[llm.RealtimeModel] = []
    for name, url, key in places:
        if job.tuned:
            models.append(tuned(name, url, key=key, retries=1))
        else:
            options = types.HttpOptions(base_url=url)
            models.append(google.realtime.RealtimeModel(model=name, api_key=key, http_options=options))
    return llm.RealtimeModelFallbackAdapter(models)


if __name__ == "__main__":
    perform(play)
