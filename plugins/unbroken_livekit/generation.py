"""One generation: what LiveKit calls a response, with the channels that carry it.

The plugin owns them, so they can outlive a connection: a reply that is carried on after a recovery goes on in the same ones.
"""

from __future__ import annotations

import asyncio
import time
from typing import Literal, TypeAlias

from livekit import rtc
from livekit.agents import llm, utils

__all__ = ["Generation", "Modality"]

Modality: TypeAlias = Literal["text", "audio"]


class Generation:
    """The channels of one response, and what went through them.

    Args:
        reply: the number of the reply that it begins with (`unbroken.ReplyBegan.reply`).
        modalities: what comes: ["audio", "text"], or ["text"].
        asked_at: when the application asked for it, on `time.monotonic`; None: it did not.

    Attributes:
        id: the response's id, which is the message's, too.
        created_at: when it was created, on `time.time`.
        text: its words so far.
        open: more may come.
        event: what LiveKit is given.
    """

    def __init__(self, reply: int, *, modalities: list[Modality], asked_at: float | None) -> None:
        self.id: str = utils.shortuuid("GR_")
        self.created_at = time.time()
        self.text = ""
        self.open = True
        self.audio = "audio" in modalities
        self._asked_at = asked_at
        self._first_at: float | None = None
        self._ended_at: float | None = None
        self._seam = False
        self._messages = utils.aio.Chan[llm.MessageGeneration]()
        self._calls = utils.aio.Chan[llm.FunctionCall]()
        self._texts = utils.aio.Chan[str]()
        self._frames = utils.aio.Chan[rtc.AudioFrame]()
        self._received: dict[int, float] = {reply: 0.0}
        if not self.audio:
            self._frames.close()
        known = asyncio.get_running_loop().create_future()
        known.set_result(modalities)
        self._messages.send_nowait(
            llm.MessageGeneration(message_id=self.id, text_stream=self._texts, audio_stream=self._frames, modalities=known)
        )
        self.event = llm.GenerationCreatedEvent(
            message_stream=self._messages,
            function_stream=self._calls,
            user_initiated=asked_at is not None,
            response_id=self.id,
        )

    def __repr__(self) -> str:
        replies = ", ".join(map(str, self._received))
        return f"<Generation {self.id} of reply {replies}, {'open' if self.open else 'closed'}>"

    @property
    def replies(self) -> tuple[int, ...]:
        """The replies that it consists of, in order: the first, and those that carried it on."""
        return tuple(self._received)

    @property
    def ttft(self) -> float:
        """Seconds from the application's request to the first output; -1: the application did not ask, or nothing came.

        For a reply to the user nothing says when the user's turn ended, so there is no such figure.
        """
        if self._asked_at is None or self._first_at is None:
            return -1.0
        return self._first_at - self._asked_at

    @property
    def duration(self) -> float:
        """Seconds from its creation to its end, or until now."""
        return max(0.0, (self._ended_at or time.time()) - self.created_at)

    def carry_on(self, reply: int) -> None:
        """Another reply takes this one up where the caller stopped hearing it, or from its beginning."""
        self._received.setdefault(reply, 0.0)
        self._seam = bool(self.text) and not self.text[-1].isspace()

    def push_audio(self, pcm: bytes, *, rate: int) -> None:
        """Passes on a piece of speech: s16le mono PCM. After the end it is dropped."""
        self._came()
        if self._frames.closed or len(pcm) < 2:
            return
        samples = len(pcm) // 2
        self._received[self.replies[-1]] += samples * 1000 / rate
        self._frames.send_nowait(
            rtc.AudioFrame(pcm[: samples * 2], sample_rate=rate, num_channels=1, samples_per_channel=samples)
        )

    def push_text(self, text: str) -> None:
        """Passes on a piece of the words. After the end it is dropped."""
        self._came()
        if not self._texts.closed:
            if self._seam and text[:1].isalnum():
                text = f" {text}"
            self._seam = False
            self.text += text
            self._texts.send_nowait(text)

    def push_call(self, call: llm.FunctionCall) -> None:
        """Passes on a call of a function. After the end it is dropped."""
        self._came()
        if not self._calls.closed:
            self._calls.send_nowait(call)

    def close(self) -> None:
        """Ends it: all its streams end after what they hold. A second call does nothing."""
        if not self.open:
            return
        self.open = False
        self._ended_at = time.time()
        for channel in (self._texts, self._frames, self._calls, self._messages):
            channel.close()

    def heard(self, ms: float) -> list[tuple[int, float]]:
        """Tells how much of each of its replies was played.

        Args:
            ms: milliseconds of the whole that were played.

        Returns:
            Each reply's number and its milliseconds.
        """
        shares: list[tuple[int, float]] = []
        left = max(0.0, ms)
        for reply, received in self._received.items():
            share = min(left, received)
            shares.append((reply, share))
            left -= share
        return shares

    def _came(self) -> None:
        if self._first_at is None:
            self._first_at = time.monotonic()
