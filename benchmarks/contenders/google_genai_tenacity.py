"""google-genai's live session with resumption handles, reconnected by tenacity.

To correct how it is set up, change this file. `default` resumes by the newest handle and waits as tenacity's documentation
advises for services that many share: random, exponential. `tuned` adds what the Live API's pages on session management name:
context compression, and leaving for a new connection on goAway, once the model has finished and a handle knows that; and
pings that find a dead connection in four seconds, which are websockets' options.
"""

from __future__ import annotations

from google import genai
from google.genai import types
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from benchmarks.contenders.google_genai import configuration, converse
from benchmarks.contenders.stage import Stage, perform

_PINGS = {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 0.5, "open_timeout": 3}


async def play(stage: Stage) -> None:
    """Holds one call."""
    call = _Call(stage)
    await stage.go()
    while True:
        # Each connection that came up begins a new series of attempts.
        async for attempt in AsyncRetrying(wait=wait_random_exponential(multiplier=1, max=10), before_sleep=call.failed):
            with attempt:
                await call.connection()


class _LeaveError(Exception):
    """The service is going away, and the model has nothing to say."""


class _Call:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        args = _PINGS if stage.job.tuned else None
        options = types.HttpOptions(base_url=stage.job.url, async_client_args=args)
        self._client = genai.Client(api_key="primary", http_options=options)
        self._handle: str | None = None
        self._leaving = False
        self._replying = False
        self._fresh = False  # the handle knows all that was said

    async def connection(self) -> None:
        """Holds one connection; raises when it ends."""
        self._leaving = self._replying = self._fresh = False
        resume = types.SessionResumptionConfig(handle=self._handle)
        compress = types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow())
        config = configuration(
            self._stage,
            session_resumption=resume,
            context_window_compression=compress if self._stage.job.tuned else None,
        )
        self._stage.tell("dialling")
        try:
            async with self._client.aio.live.connect(model=self._stage.job.model, config=config) as session:
                self._stage.tell("up")
                await converse(self._stage, session, self._see)
        except* _LeaveError:
            self._stage.tell("noticed", "goAway")

    def failed(self, state: RetryCallState) -> None:
        """Tells what ended the connection, before tenacity waits."""
        self._stage.tell("noticed", state.outcome.exception() if state.outcome is not None else "")

    def _see(self, message: types.LiveServerMessage) -> None:
        told = message.session_resumption_update
        if told is not None and told.resumable and told.new_handle:
            self._handle, self._fresh = told.new_handle, True
        if (content := message.server_content) is not None:
            self._replying = (self._replying or content.model_turn is not None) and not content.turn_complete
            self._fresh = self._fresh and not self._replying
        self._leaving = self._leaving or (message.go_away is not None and self._stage.job.tuned)
        if self._leaving and self._fresh and not self._replying:
            raise _LeaveError


if __name__ == "__main__":
    perform(play)
