"""A realtime session as LiveKit sees it, with children of wrapped models behind it, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from livekit import rtc
from livekit.agents import APIError, llm
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import is_given

from unbroken_livekit.log import logger
from unbroken_livekit.wrapping.calls import Calls, Known
from unbroken_livekit.wrapping.child import SETTLE, Child, stop
from unbroken_livekit.wrapping.context import Conversation, Diff
from unbroken_livekit.wrapping.journal import AudioJournal
from unbroken_livekit.wrapping.lifeline import Lifeline
from unbroken_livekit.wrapping.requests import Request, Script
from unbroken_livekit.wrapping.speech import Speech

if TYPE_CHECKING:
    from unbroken_livekit.wrapping.model import WrappedModel

__all__ = ["Storm", "WrappedSession"]

_PASSED_ON: Final = ("input_speech_stopped", "metrics_collected", "remote_item_added")
_OWN: Final = frozenset(
    {
        *_PASSED_ON,
        "input_speech_started",
        "input_audio_transcription_completed",
        "generation_created",
        "session_reconnected",
        "error",
    }
)
"""The events of LiveKit's interface; all others are of one plugin only."""


class Storm(Exception):
    """A plugin makes its connection again and again by itself, and no reply comes."""


class WrappedSession(llm.RealtimeSession[Any]):
    """One conversation over wrapped models. Made by `WrappedModel.session`.

    Args:
        model: gives the route and the bounds.
        turn_detection_disabled: the application finds the turns itself; told to every child.
    """

    def __init__(self, model: WrappedModel, *, turn_detection_disabled: bool) -> None:
        super().__init__(model)
        self._model = model
        self._settings = model.settings
        self._finds_turns = model.capabilities.turn_detection and not turn_detection_disabled
        self._turn_detection_disabled = turn_detection_disabled
        self._instructions: NotGivenOr[str] = NOT_GIVEN
        self._tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN
        self._tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN
        self._conversation = Conversation()
        self._calls = Calls()
        self._journal = AudioJournal(bound=min(self._settings.journal_bound, self._settings.audio_max_age))
        self._picture: rtc.VideoFrame | None = None
        self._committed = self._active = self._owed = self._over = False
        self._tells_history = True
        self._telling = asyncio.Lock()
        self._extra: dict[str, Callable[..., None]] = {}
        self._last_errors: dict[int, Exception] = {}
        self._speech = Speech(
            conversation=self._conversation,
            calls=self._calls,
            settings=self._settings,
            begun=lambda event: self._tell("generation_created", event),
            answered=self._answered,
            repeated=self._repeated,
        )
        self._lifeline = Lifeline(
            model.models,
            names=model.names,
            supervision=model.supervision(),
            settings=self._settings,
            host=self,
            activated=model.activate,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._line = asyncio.create_task(self._lifeline.run(), name="unbroken_lifeline")
        self._line.add_done_callback(self._line_over)

    # -- what LiveKit asks ------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> llm.RealtimeCapabilities:
        """What the active model can do; LiveKit reads here who replies to a tool's result."""
        return self._model.models[self._lifeline.target].capabilities

    @property
    def chat_ctx(self) -> llm.ChatContext:
        """A copy of the conversation, whichever children held it."""
        return self._conversation.context

    @property
    def tools(self) -> llm.ToolContext:
        """A copy of the tools."""
        return llm.ToolContext(self._tools if is_given(self._tools) else [])

    @property
    def _child(self) -> Child | None:
        """The child that takes what comes; None: what comes waits."""
        child = self._lifeline.child
        return child if child is not None and child.welcomed and not child.over else None

    async def update_instructions(self, instructions: str) -> None:
        """Sets the instructions, now and for every child to come."""
        self._instructions = instructions
        async with self._telling:
            if (child := self._child) is not None:
                child.watch.excuse()
                await child.told(child.session.update_instructions(instructions))

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        """Sets the tools, now and for every child to come."""
        self._tools = tools
        async with self._telling:
            if (child := self._child) is not None:
                child.watch.excuse()
                await child.told(child.session.update_tools(tools))

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        """Takes the application's view of the conversation, and tells the child what is new in it.

        A tool's result goes as such to a child that asked for it, and to nobody else: others are told that the tool ran.

        Raises:
            RealtimeError: the child did not take it.
        """
        automatic = self.capabilities.auto_tool_reply_generation
        diff = self._conversation.update(chat_ctx)
        for item in diff.added:
            if item.type == "function_call_output":
                self._calls.result(item)
        if not diff.added and not diff.removed:
            return
        async with self._telling:
            child = self._child
            foreign = child is None or await self._tell_child(child, diff)
        wants = any(item.type == "function_call_output" and item.reply_required for item in diff.added)
        if not automatic or not wants:  # LiveKit asks for the reply, or wants none
            return
        if foreign:  # it expects that the model replies by itself, and this one would not
            self._speech.ask(Request(asked_by_application=False), first=True)
        elif child is not None:
            self._owed = True
            child.watch.owes(asyncio.get_running_loop().time())

    async def _tell_child(self, child: Child, diff: Diff) -> bool:
        context, foreign = self._conversation.for_child(
            child.session.chat_ctx,
            diff,
            calls=self._calls,
            child=child.number,
            takes_calls=child.model.capabilities.manual_function_calls,
        )
        await child.told(child.session.update_chat_ctx(context))
        return foreign or child.over

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN) -> None:
        """Sets the tool choice, now and for every child to come."""
        self._tool_choice = tool_choice
        self._to_child(lambda session: session.update_options(tool_choice=tool_choice))

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Takes what the user says. Never raises; while no child is up it is kept, up to the bound."""
        if self._over:
            return
        child, now = self._child, asyncio.get_running_loop().time()
        ended = self._journal.push(frame, now=now, up=child is not None)
        if child is None:
            return
        if ended and self._finds_turns:
            child.watch.turn_ended(now, sure=False)
        elif self._journal.speaking:
            child.watch.spoke()
        self._hear(frame)

    def push_video(self, frame: rtc.VideoFrame) -> None:
        """Takes a picture. The last one is shown to a child that comes."""
        self._picture = frame
        self._to_child(lambda session: session.push_video(frame))

    def commit_audio(self) -> None:
        """The user's turn is over, as the application has it."""
        self._committed = True
        self._to_child(lambda session: session.commit_audio())

    def clear_audio(self) -> None:
        """What was said and not committed is not to be heard."""
        self._journal.clear()
        self._to_child(lambda session: session.clear_audio())

    def start_user_activity(self) -> None:
        """The user is active, as the application has it."""
        self._active = True
        self._to_child(lambda session: session.start_user_activity())

    def interrupt(self) -> None:
        """Cuts the reply in flight; no child goes on with it."""
        self._speech.interrupt()
        self._to_child(lambda session: session.interrupt())

    def truncate(
        self,
        *,
        message_id: str,
        modalities: list[Literal["text", "audio"]],
        audio_end_ms: int,
        audio_transcript: NotGivenOr[str] = NOT_GIVEN,
    ) -> None:
        """The user heard a message only so far. A child that said its last part is told so, if it still serves."""
        for item in self._conversation.items:
            if item.id == message_id and item.type == "message" and is_given(audio_transcript):
                self._conversation.put(item.model_copy(update={"content": [audio_transcript], "interrupted": True}))
                break
        part, child = self._speech.part_of(message_id), self._child
        if part is None or child is None or part.child != child.number:
            return
        end = max(0, audio_end_ms - int(part.after * 1000))
        self._to_child(
            lambda session: session.truncate(
                message_id=part.message_id,
                modalities=modalities,
                audio_end_ms=end,
                audio_transcript=audio_transcript if not part.after else NOT_GIVEN,
            )
        )

    def generate_reply(
        self,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN,
    ) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Asks for a reply. Where a child dies before it began one, the next is asked for it, once.

        Returns:
            Resolves when the reply begins; fails with a `RealtimeError` where a child that lives refuses it, or the session
            is given up.
        """
        given = {"instructions": instructions, "tool_choice": tool_choice, "tools": tools}
        self._active = False
        return self._speech.ask(Request(options={name: value for name, value in given.items() if is_given(value)}))

    def say(self, text: str | AsyncIterable[str]) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Has the model say a text, where all wrapped models can (`RealtimeCapabilities.supports_say`)."""
        if not self._model.capabilities.supports_say:
            raise NotImplementedError("not all of the wrapped models can say a given text; use a TTS model instead")
        return self._speech.ask(Request(say=text if isinstance(text, str) else Script(text)))

    def on(self, event: str, callback: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Registers a listener; of an event that only one plugin has, every child's is passed on."""
        if event not in _OWN and event not in self._extra:
            self._extra[event] = lambda *args: self._tell(event, *args)
            if (child := self._lifeline.child) is not None:
                child.listen(event, self._extra[event])
        return super().on(event, callback)  # pyright: ignore[reportArgumentType, reportUnknownMemberType, reportUnknownVariableType]

    async def aclose(self) -> None:
        """Ends the session, in whatever state it is. Never raises."""
        self._over = True
        await stop([self._line])
        await self._speech.close()
        await stop(list(self._tasks))
        await self._lifeline.close()

    # -- what a child says ------------------------------------------------------------------------------------------------

    def _listeners(self, child: Child) -> dict[str, Callable[..., None]]:
        return {
            **{event: partial(self._passed_on, child, event) for event in _PASSED_ON},
            **self._extra,
            "input_speech_started": partial(self._speech_started, child),
            "input_audio_transcription_completed": partial(self._transcribed, child),
            "generation_created": partial(self._generation, child),
            "session_reconnected": partial(self._renewed, child),
            "error": partial(self._failed, child),
        }

    def _passed_on(self, child: Child, event: str, payload: Any) -> None:
        now = asyncio.get_running_loop().time()
        if event == "metrics_collected" and getattr(payload, "acquire_time", None) and not payload.request_id:
            self._acquired(child)
        elif event == "input_speech_stopped":
            child.watch.turn_ended(now, sure=True)
        self._tell(event, payload)

    def _acquired(self, child: Child) -> None:
        """A plugin reports a connection; a second one is its own way out of trouble."""
        if not child.reported:
            child.reported = True
            child.connected(asyncio.get_running_loop().time())
        elif child.watch.reconnected():
            error = self._last_errors.pop(child.number, None)
            storm = Storm("the plugin makes its connection again and again without a reply")
            storm.__cause__ = error
            child.end(now=asyncio.get_running_loop().time(), error=storm)

    def _speech_started(self, child: Child, event: llm.InputSpeechStartedEvent) -> None:
        child.connected(asyncio.get_running_loop().time())
        child.watch.speech_started()
        self._tell("input_speech_started", event)

    def _transcribed(self, child: Child, event: llm.InputTranscriptionCompleted) -> None:
        child.connected(asyncio.get_running_loop().time())
        child.useful = True
        if event.is_final and event.transcript:
            message = llm.ChatMessage(id=event.item_id, role="user", content=[event.transcript])
            if event.turn_started_at is not None:
                message.created_at = event.turn_started_at
            self._conversation.put(message)
        self._tell("input_audio_transcription_completed", event)

    def _generation(self, child: Child, event: llm.GenerationCreatedEvent) -> None:
        child.connected(asyncio.get_running_loop().time())
        self._speech.generation(child, event)

    def _renewed(self, child: Child, event: llm.RealtimeSessionReconnectedEvent) -> None:
        asyncio.get_running_loop().call_soon(self._speech.renewed)
        self._tell("session_reconnected", event)

    def _failed(self, child: Child, event: llm.RealtimeModelError) -> None:
        """A child reports an error. What it takes for its end is a decision's to make, so it is passed on as recoverable."""
        now = asyncio.get_running_loop().time()
        if not event.recoverable:
            child.end(now=now, error=event.error)
        elif not (isinstance(event.error, APIError) and event.error.body is not None):  # an answer to a request has a body
            self._last_errors[child.number] = event.error
            if not child.reported and child.watch.reconnected():
                child.end(now=now, error=event.error)
        self._tell("error", event.model_copy(update={"recoverable": True}))

    def _answered(self, asked: bool) -> None:  # noqa: FBT001 - a callback
        self._committed = self._active = self._owed = False
        self._journal.answered(asked=asked)

    def _repeated(self, child: Child, known: Known) -> None:
        """A call was issued again by a child that cannot know that it ran: it gets the result, now or when it comes."""
        if known.output is not None:
            self._background(self._answer(child, known))

    async def _answer(self, child: Child, known: Known) -> None:
        async with self._telling:
            if child is not self._child:
                return
            context = child.session.chat_ctx
            context.items.append(known.answer())
            await child.told(child.session.update_chat_ctx(context))
        if not child.model.capabilities.auto_tool_reply_generation:
            self._speech.ask(Request(asked_by_application=False), first=True)

    # -- what the lifeline asks (`unbroken_livekit.wrapping.lifeline.Host`) -------------------------------------------------

    @property
    def has_history(self) -> bool:
        """There are turns that another child could be told."""
        return bool(self._conversation.items)

    def running(self, child: Child) -> bool:
        """A tool runs that a child waits for."""
        return self._calls.waited_for(child=child.number)

    def prepare(self, *, history: bool, media: bool) -> None:
        """The next child is to be told so much."""
        self._tells_history = history
        if not media:
            self._journal.clear()

    async def welcome(self, child: Child) -> None:
        """Opens a child and tells it the conversation; then gives it the audio and the requests that waited.

        Between its opening and its instructions and tools nothing else runs, because livekit's google plugin makes its
        connection anew where it learns them later.
        """
        async with self._telling:
            child.open(self._listeners(child), turn_detection_disabled=self._turn_detection_disabled)
            if is_given(self._instructions):
                await _settled(child.session.update_instructions(self._instructions), "instructions")
            if is_given(self._tools):
                await _settled(child.session.update_tools(self._tools), "tools")
            if self._conversation.items and self._tells_history:
                context = self._conversation.for_fresh(takes_calls=child.model.capabilities.manual_function_calls)
                await _settled(child.told(child.session.update_chat_ctx(context)), "conversation")
            if child.over:
                return
            child.welcomed = True
        if is_given(self._tool_choice):
            self._to_child(lambda session: session.update_options(tool_choice=self._tool_choice))
        spoken = self._journal.spoken
        self._catch_up(child)
        self._speech.ready(child, spoken=spoken and child.number > 1)

    def _catch_up(self, child: Child) -> None:
        """Gives a child the audio that waited, and what the one before may not have heard."""
        frames = self._journal.waiting()
        if child.number > 1 and frames:
            logger.info("unbroken: %.1f s of the user's audio are said again", self._journal.seconds)
        if self._active:
            self._to_child(lambda session: session.start_user_activity())
        for frame in frames:
            self._hear(frame)
        if self._committed and frames:
            self._to_child(lambda session: session.commit_audio())
        if self._picture is not None and child.number > 1:
            picture = self._picture
            self._to_child(lambda session: session.push_video(picture))
        if frames and self._finds_turns and not self._journal.speaking and self._journal.spoken:
            child.watch.turn_ended(asyncio.get_running_loop().time(), sure=False)

    def _hear(self, frame: rtc.AudioFrame) -> None:
        self._to_child(lambda session: session.push_audio(frame))

    async def lost(self, child: Child) -> None:
        """A child has ended; what it owed is taken back."""
        self._last_errors.pop(child.number, None)
        await self._speech.lost(child)
        if self._owed and not self._journal.spoken:
            self._owed = False
            self._speech.ask(Request(asked_by_application=False))

    def recovered(self, child: Child, *, seconds: float) -> None:
        """A child is up after an outage."""
        self._tell("session_reconnected", llm.RealtimeSessionReconnectedEvent())

    def given_up(self, why: str) -> None:
        """No child will follow: LiveKit is told, and closes its session.

        Those who wait for a reply are told a moment before, because a session that closes drops their errors.
        """
        self._over = True
        self._speech.give_up(why)
        asyncio.get_running_loop().call_later(SETTLE, self._model.report, self, why)

    # -- what must not fail -----------------------------------------------------------------------------------------------

    def _to_child(self, call: Callable[[llm.RealtimeSession[Any]], Any]) -> None:
        """Calls something of the child that takes what comes. Its bugs are not the application's."""
        child = self._child
        if child is None:
            return
        try:
            call(child.session)
        except Exception:  # because LiveKit ends its audio for good where this raises (`AgentSession._forward_audio_task`)
            logger.exception("unbroken: a wrapped session failed in a call")

    def _tell(self, event: Any, *payload: Any) -> None:
        try:
            self.emit(event, *payload)
        except Exception:  # because a listener's TypeError comes through `emit`, and belongs to no plugin
            logger.exception("unbroken: a listener of %s failed", event)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(_logged(work), name="unbroken_background")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _line_over(self, line: asyncio.Task[None]) -> None:
        if not line.cancelled() and (error := line.exception()) is not None:
            logger.error("unbroken: the lifeline failed", exc_info=error)
            self.given_up("This is a bug in unbroken; please report it.")

    def __repr__(self) -> str:
        return f"<WrappedSession {self._lifeline!r}, {self._journal!r}, {self._speech!r}>"


async def _settled(call: Any, what: str) -> None:
    try:
        await call
    except llm.RealtimeError as error:
        logger.warning("unbroken: a model did not confirm its %s: %s", what, error)


async def _logged(work: Any) -> None:
    try:
        await work
    except Exception:  # because nobody waits for it
        logger.exception("unbroken: a result could not be told")
