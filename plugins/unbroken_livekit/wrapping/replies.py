"""A reply as the application has it: its streams are this side's own, so that another child can go on with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from livekit import rtc
from livekit.agents import llm, utils

from unbroken_livekit.log import logger

if TYPE_CHECKING:
    from unbroken_livekit.wrapping.requests import Request

__all__ = ["Message", "Part", "Reply"]

Modality: TypeAlias = Literal["text", "audio"]

_TOLD = 2_000
"""Characters of a cut reply that the model is told of, the last ones."""


class Message:
    """One message of a reply.

    Args:
        message_id: of the child's message that began it; the message keeps it.

    Attributes:
        text: goes to the application.
        audio: goes to the application.
        modalities: resolves when the child says what it speaks in.
        words: all text that came.
        seconds: the length of all audio that came.
        began: when it began (`time.time()`).
    """

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.text: utils.aio.Chan[str] = utils.aio.Chan()
        self.audio: utils.aio.Chan[rtc.AudioFrame] = utils.aio.Chan()
        self.modalities: asyncio.Future[list[Modality]] = asyncio.get_running_loop().create_future()
        self.words = ""
        self.seconds = 0.0
        self.began = time.time()

    def close(self) -> None:
        """Nothing more comes."""
        self.text.close()
        self.audio.close()
        if not self.modalities.done():
            self.modalities.set_result(["audio", "text"] if self.seconds or not self.words else ["text"])


class Part:
    """Which child's message a stretch of a message is.

    Args:
        child: the child's number.
        message_id: the message's id there.
        after: seconds of the message that came before.
    """

    __slots__ = ("after", "child", "message_id")

    def __init__(self, *, child: int, message_id: str, after: float) -> None:
        self.child = child
        self.message_id = message_id
        self.after = after


class Reply:
    """One reply.

    Args:
        response_id: of the child's response that began it.
        request: what it was asked for by; None: the model answers the user.
        on_piece: told of each piece that came.

    Attributes:
        event: what the application is given.
        on_piece: told of each piece that came.
        interrupted: the application or the user cut it short, so it is not gone on with.
        going_on: what comes now goes on with what was cut.
        called: it had a tool call; what comes next belongs to the tool's result.
        done: its streams are closed.
        messages: those that began, in order.
        open: the last message, while it may go on; None: between two, or it is over.
    """

    def __init__(self, response_id: str | None, *, request: Request | None, on_piece: Callable[[], None]) -> None:
        self._messages: utils.aio.Chan[llm.MessageGeneration] = utils.aio.Chan()
        self._functions: utils.aio.Chan[llm.FunctionCall] = utils.aio.Chan()
        self.on_piece = on_piece
        self.request = request
        self.event = llm.GenerationCreatedEvent(
            message_stream=self._messages,
            function_stream=self._functions,
            user_initiated=request is not None and request.asked_by_application,
            response_id=response_id,
        )
        self.interrupted = False
        self.going_on = False
        self.called = False
        self.done = False
        self.messages: list[Message] = []
        self.open: Message | None = None

    @property
    def words(self) -> str:
        """The words that came, the last of them where they are many."""
        return "".join(message.words for message in self.messages)[-_TOLD:].strip()

    @property
    def seconds(self) -> float:
        """The length of the audio that came."""
        return sum(message.seconds for message in self.messages)

    @property
    def empty(self) -> bool:
        """Nothing came that anybody could have heard or read."""
        return not self.words and not self.seconds

    @property
    def heard(self) -> str:
        """What the caller heard, as a model is told of it."""
        if words := self.words:
            return f'"{words}"'
        seconds = max(1, round(self.seconds))
        return f"the first {seconds} seconds of it" if seconds > 1 else "the first second of it"

    def message(self, message_id: str) -> Message:
        """A child's message begins. Returns the one that it goes into: a cut one, or a new one."""
        if self.open is None:
            self.open = Message(message_id)
            self.messages.append(self.open)
            if not self.done:
                self._messages.send_nowait(
                    llm.MessageGeneration(
                        message_id=message_id,
                        text_stream=self.open.text,
                        audio_stream=self.open.audio,
                        modalities=self.open.modalities,
                    )
                )
        return self.open

    async def text_from(self, source: llm.MessageGeneration, message: Message) -> None:
        """Moves a child's text. Between the parts of two children stands a space."""
        joint = " " if message.words and not message.words.endswith((" ", "\n")) else ""
        async for piece in source.text_stream:
            if piece.strip() and joint:
                joint, piece = "", piece if piece.startswith(" ") else type(piece)(joint + piece)
            message.words += piece
            if not message.text.closed:
                message.text.send_nowait(piece)
            if piece:
                self.on_piece()

    async def audio_from(self, source: llm.MessageGeneration, message: Message) -> None:
        """Moves a child's audio."""
        async for frame in source.audio_stream:
            message.seconds += frame.samples_per_channel / frame.sample_rate
            if not message.audio.closed:
                message.audio.send_nowait(frame)
            self.on_piece()

    async def modalities_from(self, source: llm.MessageGeneration, message: Message) -> None:
        """Moves what the child says that it speaks in."""
        modalities = await source.modalities
        if not message.modalities.done():
            message.modalities.set_result(list(modalities))

    def call(self, call: llm.FunctionCall) -> None:
        """A tool is called."""
        self.called = True
        self.on_piece()
        if not self._functions.closed:
            self._functions.send_nowait(call)

    def end_message(self) -> None:
        """The open message is complete."""
        if self.open is not None:
            self.open.close()
            self.open = None

    def finish(self) -> None:
        """Closes all streams: the reply is over, however it came to that."""
        if self.done:
            return
        self.done = True
        self.end_message()
        self._functions.close()
        self._messages.close()
        logger.debug("reply %s ended after %.1f s of audio", self.event.response_id, self.seconds)

    def __repr__(self) -> str:
        state = "done" if self.done else "interrupted" if self.interrupted else "open"
        return f"<Reply {self.event.response_id} {state}, {self.seconds:.1f} s>"
