"""strands' BidiAgent with its GoogleGeminiLiveModel.

To correct how it is set up, change this file. It does what its guide does: `BidiAgent.run` with input and output streams.
`default` is as it comes; it resumes by handles on goAway and before ten minutes by itself. `tuned` has context compression
(`params`) and pings that find a dead connection in four seconds (`client_args`).
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from google.genai.types import HttpOptions
from strands import tool
from strands.bidi import BidiAgent
from strands.bidi.models.google import GoogleGeminiLiveModel
from strands.bidi.types.events import (
    BidiAudioDeltaEvent,
    BidiBargeInEvent,
    BidiConnectionRestartEvent,
    BidiConnectionStartEvent,
)
from strands.bidi.types.media import AudioDelta

from benchmarks.contenders.stage import Stage, perform


async def play(stage: Stage) -> None:
    """Holds one call."""
    agent = BidiAgent(model=_model(stage), tools=_tools(stage), system_prompt="You take reservations.")
    await stage.go()
    stage.tell("dialling")
    await agent.run(inputs=[_Microphone(stage), _Application(stage)], outputs=[_Loudspeaker(stage)])


def _model(stage: Stage) -> GoogleGeminiLiveModel:
    params: dict[str, Any] | None = None
    pings = None
    if stage.job.tuned:
        params = {"context_window_compression": {"sliding_window": {}}}
        pings = {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 0.5, "open_timeout": 3}
    options = HttpOptions(base_url=stage.job.url, async_client_args=pings)
    return GoogleGeminiLiveModel(
        model_id=stage.job.model, params=params, client_args={"api_key": "primary", "http_options": options}
    )


def _tools(stage: Stage) -> list[Any]:
    if stage.job.tool is None:
        return []

    @tool(name=stage.job.tool.name, description=stage.job.tool.description)
    async def run() -> str:
        return await stage.tool()

    return [run]


class _Microphone:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._frames: Any = None

    async def start(self, agent: BidiAgent) -> None:
        self._frames = aiter(self._stage.microphone)

    async def stop(self) -> None:
        pass

    async def __call__(self) -> AudioDelta:
        return AudioDelta(format="pcm", source={"bytes": await anext(self._frames)})


class _Application:
    def __init__(self, stage: Stage) -> None:
        self._asks = stage.asks()

    async def start(self, agent: BidiAgent) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def __call__(self) -> str:
        async for text in self._asks:
            return text
        await asyncio.Event().wait()  # for ever: it has nothing more to ask
        raise AssertionError


class _Loudspeaker:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def start(self, agent: BidiAgent) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def __call__(self, event: Any) -> None:
        match event:
            case BidiAudioDeltaEvent():
                self._stage.loudspeaker.play(base64.b64decode(event.audio))
            case BidiBargeInEvent():
                self._stage.loudspeaker.interrupt()
            case BidiConnectionRestartEvent() | BidiConnectionStartEvent():
                self._stage.tell("up")
            case _:
                pass


if __name__ == "__main__":
    perform(play)
