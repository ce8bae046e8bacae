"""pipecat's GeminiLiveLLMService in a pipeline of microphone, context aggregators, service and loudspeaker.

To correct how it is set up, change this file. It does what pipecat's realtime examples do: the first thing that the
application asks for is the context with which the conversation starts (`LLMRunFrame`), what comes later is appended to it.
`default` is as it comes; it reconnects by handles by itself. `tuned` has context compression and, through `http_options`,
pings that find a dead connection in four seconds. Its `ServiceSwitcher` is not used for a second target: this service tells
no error that lets it switch.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from google.genai.types import HttpOptions
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    InputAudioRawFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService
from pipecat.services.llm_service import FunctionCallParams
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from benchmarks.contenders.stage import IN_RATE, OUT_RATE, Stage, perform
from benchmarks.contenders.warm import warm

_AHEAD = 0.04  # seconds that the device buffers, as a sound card's does


async def play(stage: Stage) -> None:
    """Holds one call."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    warm()
    context = LLMContext()
    aggregators = LLMContextAggregatorPair(context)
    parameters = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
    pipeline = Pipeline(
        [
            _Microphone(parameters, stage),
            aggregators.user(),
            _service(stage),
            _Loudspeaker(parameters, stage),
            aggregators.assistant(),
        ]
    )
    worker = PipelineWorker(pipeline, params=PipelineParams(audio_in_sample_rate=IN_RATE, audio_out_sample_rate=OUT_RATE))

    @worker.event_handler("on_pipeline_error")
    async def told(_: Any, frame: Any) -> None:
        stage.tell("error", frame.error)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await stage.go()
    stage.tell("dialling")
    asking = asyncio.create_task(_ask(stage, worker, context))
    try:
        await runner.run()
    finally:
        asking.cancel()


def _service(stage: Stage) -> GeminiLiveLLMService:
    job = stage.job
    settings = GeminiLiveLLMService.Settings(model=f"models/{job.model}", system_instruction="You take reservations.")
    pings = None
    if job.tuned:
        settings.context_window_compression = {"enabled": True}
        pings = {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 0.5, "open_timeout": 3}
    declared = None
    if job.tool is not None:
        function = FunctionSchema(name=job.tool.name, description=job.tool.description, properties={}, required=[])
        declared = ToolsSchema(standard_tools=[function])
    service = GeminiLiveLLMService(
        api_key="primary",
        settings=settings,
        tools=declared,
        http_options=HttpOptions(base_url=job.url, async_client_args=pings),
        inference_on_context_initialization=bool(job.asks),
    )

    async def run(call: FunctionCallParams) -> None:
        await call.result_callback({"output": await stage.tool()})

    if job.tool is not None:
        service.register_function(job.tool.name, run)
    return service


async def _ask(stage: Stage, worker: PipelineWorker, context: LLMContext) -> None:
    first = True
    if not stage.job.asks:  # without a context the service would take no audio
        await worker.queue_frames([LLMRunFrame()])
    async for text in stage.asks():
        message: Any = {"role": "user", "content": text}
        if first:
            context.add_message(message)
            await worker.queue_frames([LLMRunFrame()])
        else:
            await worker.queue_frames([LLMMessagesAppendFrame(messages=[message], run_llm=True)])
        first = False


class _Microphone(BaseInputTransport):
    def __init__(self, parameters: TransportParams, stage: Stage) -> None:
        super().__init__(parameters)
        self._stage = stage
        self._recording: Any = None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._recording = self.create_task(self._record())

    async def stop(self, frame: EndFrame) -> None:
        await self.cancel_task(self._recording)
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        await self.cancel_task(self._recording)
        await super().cancel(frame)

    async def _record(self) -> None:
        async for pcm in self._stage.microphone:
            await self.push_audio_frame(InputAudioRawFrame(audio=pcm, sample_rate=IN_RATE, num_channels=1))


class _Loudspeaker(BaseOutputTransport):
    def __init__(self, parameters: TransportParams, stage: Stage) -> None:
        super().__init__(parameters)
        self._device = stage.loudspeaker

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self._device.play(frame.audio)
        await asyncio.sleep(max(0.0, self._device.waiting - _AHEAD))  # as a device whose buffer is full blocks
        return True


if __name__ == "__main__":
    perform(play)
