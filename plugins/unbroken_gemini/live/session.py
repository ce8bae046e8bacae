"""The live session: google-genai's ``AsyncSession`` over an unbroken session."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from typing import Any

from google.genai import Client, types

import unbroken
from unbroken.abc import Observer
from unbroken.errors import ConfigError, SessionClosed, SessionEscalated
from unbroken.events import ActivityMark, Connected, Escalated, Event, Recovered, ReplyRequest, Told, UserText
from unbroken_gemini import sdk
from unbroken_gemini.live.errors import LiveClosed, LiveEscalated, LiveRefused
from unbroken_gemini.live.rates import Resampler
from unbroken_gemini.live.said import Image, Saying, Speech, content, realtime, results
from unbroken_gemini.live.shown import Shown

__all__ = ["LiveSession", "Watch"]

_OLD_SEND = "send is deprecated in google-genai: use send_client_content, send_realtime_input or send_tool_response"
_OLD_STREAM = "start_stream is deprecated in google-genai: use send_realtime_input and receive"


class Watch(Observer):
    """Is told of recoveries and of the session's end as they happen, whether or not anybody receives."""

    def __init__(self) -> None:
        self.recoveries: list[Recovered] = []
        self.story: Escalated | None = None

    def event(self, session: str, event: Event, *, now: float) -> None:
        """Keeps what is asked for later."""
        match event:
            case Recovered():
                self.recoveries.append(event)
            case Escalated():
                self.story = event
            case _:
                pass


class LiveSession:
    """google-genai's ``AsyncSession``, by the same names and with the same meaning; and it outlives its connections.

    `unbroken_gemini.live_connect` makes it. docs/google-genai.md says what differs. After the session was given up, every
    method raises `unbroken_gemini.live.LiveEscalated`, which is google-genai's ``APIError`` and `unbroken.SessionEscalated`;
    after `close`, an ``APIError`` with code 1000 that is `unbroken.SessionClosed`, too.

    Attributes:
        unbroken: the session below, for what google-genai has no word for. Its events are this session's to read.
    """

    def __init__(
        self,
        session: unbroken.Session,
        *,
        client: Client,
        config: types.LiveConnectConfig,
        own: Mapping[str, types.LiveConnectConfig],
        shown: Shown,
        watch: Watch,
        seeds: bool,
        patience: float,
    ) -> None:
        self.unbroken = session
        self._client = client
        self._config = config
        self._own = dict(own)
        self._shown = shown
        self._watch = watch
        self._seeds = seeds
        self._patience = patience
        self._until: float | None = None
        self._resampler = Resampler(session.input_rate)
        self._closed = False

    def __repr__(self) -> str:
        return f"<LiveSession over {self.unbroken!r}>"

    @property
    def session_id(self) -> str | None:
        """The service's id of the session, of the link that is up; None: it gives none (the Gemini API)."""
        return self._shown.setup.session_id if self._shown.setup is not None else None

    @property
    def setup_complete(self) -> types.LiveServerSetupComplete | None:
        """What the service answered to the last setup."""
        return self._shown.setup

    @property
    def recoveries(self) -> Sequence[Recovered]:
        """What the session has survived, in order; google-genai's session has nothing like it."""
        return tuple(self._watch.recoveries)

    # -- what the application sends -------------------------------------------------------------------------------------

    async def send_client_content(
        self,
        *,
        turns: types.Content | types.ContentDict | list[types.Content | types.ContentDict] | None = None,
        turn_complete: bool = True,
    ) -> None:
        """Sends turns of the conversation. Text and images; the last user's turn of a complete content is answered.

        Args:
            turns: as in google-genai; None: none, so with ``turn_complete`` the model is asked to reply.
            turn_complete: the model should answer now.

        Raises:
            ValueError: as in google-genai, or a part that cannot be told; the text says what can.
            APIError: the session was given up, or closed.
        """
        read = sdk.client_content(turns, turn_complete=turn_complete)
        await self._say_content(read)

    async def send_realtime_input(
        self,
        *,
        media: Any = None,
        audio: types.BlobOrDict | None = None,
        audio_stream_end: bool | None = None,
        video: Any = None,
        text: str | None = None,
        activity_start: types.ActivityStartOrDict | None = None,
        activity_end: types.ActivityEndOrDict | None = None,
    ) -> None:
        """Sends one of these; while no link is up it waits, in order.

        Args:
            media: a Blob or its dict, of audio or an image by its MIME type; or a PIL image.
            audio: s16le mono PCM ("audio/pcm;rate=16000"; without a rate it counts as that). Other rates are resampled,
                which takes the extra ``audio``.
            audio_stream_end: the microphone was switched off.
            video: a Blob of an image or its dict, or a PIL image. Only the newest is kept while no link is up.
            text: the user's words, answered at once.
            activity_start: the user begins to speak, where the service is not to find out.
            activity_end: the user has spoken.

        Raises:
            ValueError: none or several are given, or a medium that cannot be sent; the text says what can.
            APIError: the session was given up, or closed.
        """
        arguments: dict[str, Any] = {
            "media": media,
            "audio": audio,
            "audio_stream_end": audio_stream_end,
            "video": video,
            "text": text,
            "activity_start": activity_start,
            "activity_end": activity_end,
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        if len(given) != 1:
            raise ValueError(f"Only one argument can be set, got {len(given)}: {list(given)}")
        await self._say(realtime(sdk.realtime_input(self._client, given), rate=self.unbroken.input_rate))

    async def send_tool_response(
        self, *, function_responses: types.FunctionResponseOrDict | Sequence[types.FunctionResponseOrDict]
    ) -> None:
        """Answers calls, each once. An answer reaches the model also where the link of its call is gone.

        Args:
            function_responses: one or several, with the ids of their calls.

        Raises:
            ValueError: as in google-genai, or an answer that fits no call.
            APIError: the session was given up, or closed.
        """
        read = sdk.tool_response(self._client, function_responses)
        answers = results(read, calls=self._shown.calls)
        self._check()
        with self._translated():
            for answer in answers:
                await self.unbroken.send_tool_result(answer.call_id, answer.result, scheduling=answer.scheduling)
                self._shown.answered(answer.call_id)

    async def send_context_update(self, *, system_instruction: Any = None, tools: Any = None) -> None:
        """Gives the model other instructions or tools, by a link that is set up with them: at the next quiet moment, or
        within 20 seconds. The conversation crosses to it as it does when a link ends (`unbroken.Session.update`).

        Args:
            system_instruction: the new ones, as in the configuration; None: they stay.
            tools: all of them, as in the configuration; []: none; None: they stay.

        Raises:
            ValueError: neither is given, or the configuration cannot work with it.
            APIError: the session was given up, or closed.
        """
        if system_instruction is None and tools is None:
            raise ValueError("At least one of `system_instruction` or `tools` must be set.")
        changed = sdk.context_update(system_instruction, tools)
        self._check()
        with self._translated():
            config = await self._changed(self._config, changed)
            own = {name: await self._changed(theirs, changed) for name, theirs in self._own.items()}
            await self.unbroken.update(config, targets=own)
        self._config, self._own = config, own

    async def send(self, *, input: Any = None, end_of_turn: bool | None = False) -> None:
        """Deprecated by google-genai: takes whatever the others take.

        Raises:
            ValueError: as in google-genai, or what the others refuse.
            APIError: the session was given up, or closed.
        """
        warnings.warn(_OLD_SEND, DeprecationWarning, stacklevel=2)
        await self._send(input, end_of_turn=bool(end_of_turn))

    # -- what the application receives ----------------------------------------------------------------------------------

    async def receive(self) -> AsyncIterator[types.LiveServerMessage]:
        """Yields the service's messages until the model's turn is over; call it again for the next turn.

        A recovery does not end it. One reader at a time.

        Raises:
            APIError: the session was given up, or closed.
        """
        while True:
            message = await self._receive()
            yield message
            if sdk.turn_is_over(message.server_content):
                break

    async def start_stream(self, *, stream: AsyncIterator[bytes], mime_type: str) -> AsyncIterator[types.LiveServerMessage]:
        """Deprecated by google-genai: sends the stream's pieces, and yields messages until the stream ends.

        Args:
            stream: pieces of audio or images.
            mime_type: what they are.

        Raises:
            APIError: the session was given up, or closed.
        """
        warnings.warn(_OLD_STREAM, DeprecationWarning, stacklevel=2)
        sending = asyncio.create_task(self._send_stream(stream, mime_type), name="unbroken live stream")
        receiving: asyncio.Task[types.LiveServerMessage] | None = None
        try:
            while not sending.done():
                receiving = asyncio.create_task(self._receive(), name="unbroken live receive")
                await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    yield receiving.result()
            sending.result()
        finally:
            for running in (sending, receiving):
                if running is not None and not running.done():
                    running.cancel()
                    await asyncio.wait([running])

    async def close(self) -> None:
        """Closes the session; it does nothing the second time. The end of the block does it, too."""
        self._closed = True
        await self.unbroken.aclose()

    # -- inside ---------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Waits until the first link is up, as google-genai does before its block begins.

        Raises:
            LiveEscalated: it was given up before.
        """
        connected = False
        while not (connected and self._shown.setup is not None):
            event = await self._next()
            connected = connected or isinstance(event, Connected)
            self._shown.take(event)

    def ended(self) -> None:
        """The block is over: whoever still holds the session finds it closed."""
        self._closed = True

    async def _receive(self) -> types.LiveServerMessage:
        while True:
            try:
                async with asyncio.timeout_at(self._until):
                    event = await self._next()
            except TimeoutError:
                message = self._shown.give_up()
            else:
                message = self._shown.take(event)
            if not self._shown.waits:
                self._until = None
            elif self._until is None:
                self._until = asyncio.get_running_loop().time() + self._patience
            if message is not None:
                return message

    async def _next(self) -> Event:
        if self._closed:
            raise LiveClosed
        try:
            return await anext(self.unbroken)
        except StopAsyncIteration:
            raise LiveClosed from None
        except SessionEscalated as given_up:
            raise LiveEscalated(given_up.story) from None

    async def _say(self, sayings: Sequence[Saying]) -> None:
        """Gives the session what is to be said, in order."""
        self._check()
        with self._translated():
            for saying in sayings:
                match saying:
                    case Speech(pcm, rate):
                        self.unbroken.send_audio(self._resampler.take(pcm, rate=rate))
                    case Image(data, mime_type):
                        self.unbroken.send_image(data, mime_type=mime_type)
                    case UserText(text=text):
                        await self.unbroken.send_text(text)
                    case Told(turns=turns):
                        await self.unbroken.tell(turns)
                    case ReplyRequest():
                        await self.unbroken.ask_reply()
                    case ActivityMark(mark=mark):
                        self.unbroken.send_activity(mark)
        await asyncio.sleep(0)  # a loop over a microphone's queue must not keep all others waiting

    async def _say_content(self, read: types.LiveClientContent) -> None:
        said = content(read, initial=self._seeds)
        self._seeds = self._seeds and not read.turn_complete
        await self._say(said)

    async def _changed(self, config: types.LiveConnectConfig, changed: Mapping[str, Any]) -> types.LiveConnectConfig:
        return await sdk.with_tools_of_servers(self._client, config.model_copy(update=changed))

    async def _send(self, given: Any, *, end_of_turn: bool) -> None:
        match sdk.old_input(self._client, given, end_of_turn=end_of_turn):
            case {"client_content": inside}:
                await self._say_content(
                    sdk.client_content(inside.get("turns"), turn_complete=bool(inside.get("turn_complete")))
                )
            case {"tool_response": {"function_responses": responses}}:
                await self.send_tool_response(function_responses=responses)
            case {"realtime_input": {"media_chunks": chunks}}:
                blobs = [types.Blob.model_validate(chunk) for chunk in chunks]
                await self._say(realtime({"mediaChunks": blobs}, rate=self.unbroken.input_rate))
            case other:
                raise LiveRefused(f"send cannot take {', '.join(other)}; use the other methods")

    async def _send_stream(self, stream: AsyncIterator[bytes], mime_type: str) -> None:
        async for data in stream:
            await self.send_realtime_input(media=types.Blob(data=data, mime_type=mime_type))

    def _check(self) -> None:
        if self._closed:
            raise LiveClosed
        if self._watch.story is not None:
            raise LiveEscalated(self._watch.story)

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except SessionEscalated as given_up:
            raise LiveEscalated(given_up.story) from None
        except SessionClosed:
            raise LiveClosed from None
        except ConfigError as refused:
            raise refused if isinstance(refused, ValueError) else LiveRefused(str(refused)) from None
