"""One realtime session, as LiveKit's AgentSession drives it, over one session of unbroken."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio
from livekit import rtc
from livekit.agents import NOT_GIVEN, NotGivenOr, llm
from livekit.agents.utils import images

import unbroken
from unbroken_livekit import chat, report, tools
from unbroken_livekit.audio import Listening
from unbroken_livekit.calls import Calls
from unbroken_livekit.configuration import session_config
from unbroken_livekit.generation import Generation
from unbroken_livekit.log import logger
from unbroken_livekit.marks import Mark, Marks
from unbroken_livekit.replies import Replies
from unbroken_livekit.requests import Requests
from unbroken_livekit.sending import Sending
from unbroken_livekit.turns import UserTurns

if TYPE_CHECKING:
    from unbroken_livekit.model import RealtimeModel

__all__ = ["RealtimeSession"]

_INSTRUCTED = "(For your next reply, which you give now, follow this and do not mention it: {})"

_OVERTAKEN = "(The result of the function has come. Go on with it now.)"

_UNASKED = 0.5
"""Seconds that a user's words in the chat context wait for a reply to be asked for, before they are told without asking."""

_PROMPTLY = 5.0
"""Seconds that a link may go on with instructions or tools that are out of date, if no quiet moment comes before."""

_LEFT_OPEN = "the session was closed before a reply came"


class RealtimeSession(llm.RealtimeSession[Any]):
    """A conversation that goes on while its connections do not. `RealtimeModel.session` makes it.

    It emits LiveKit's events, and besides them ``unbroken_event`` with each of unbroken's own (`unbroken.OutageBegan`,
    `unbroken.Recovered`, …), the audio and the text left out. Its attribute `session` is unbroken's session; None: it is not
    open yet.
    """

    def __init__(self, model: RealtimeModel, *, manual: bool) -> None:
        super().__init__(model)
        self.session: unbroken.Session | None = None
        self._model = model
        self._marks = Marks(self._mark, manual=manual)
        self._instructions = model.arguments.instructions
        self._tools = llm.ToolContext.empty()
        self._tool_choice: llm.ToolChoice | None = None
        self._chat = llm.ChatContext.empty()
        self._calls = Calls()
        self._unsaid = ""
        self._history: tuple[unbroken.Turn, ...] = ()
        self._config: dict[str, Any] | None = None
        self._outages: list[unbroken.OutageBegan] = []
        self._listening = Listening(model.profile.input_rate)
        self._complained: set[str] = set()
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        deadlines = model.settings.deadlines
        patience = 2 * deadlines.reply + model.profile.thinking
        self._requests = Requests(patience)
        self._turns = UserTurns(
            started=self._speech_started,
            stopped=self._speech_stopped,
            transcribed=self._transcribed,
        )
        self._replies = Replies(
            requests=self._requests,
            turns=self._turns,
            modalities=["audio", "text"] if model.capabilities.audio_output else ["text"],
            grace=deadlines.reply + model.profile.thinking,
            created=lambda generation: self._emit("generation_created", generation.event),
            ended=self._generated,
            played=self._played,
        )
        self._sending = Sending(self._requests.fail)
        self._scope = anyio.CancelScope()
        self._task = asyncio.create_task(self._run(), name="unbroken livekit session")

    def __repr__(self) -> str:
        return f"<RealtimeSession {self.session!r}>" if self.session is not None else "<RealtimeSession, not open yet>"

    # -- What LiveKit asks ------------------------------------------------------------------------------------------------

    @property
    def chat_ctx(self) -> llm.ChatContext:
        """A copy of the conversation as the model has it, as far as it is known in words."""
        return self._chat.copy()

    @property
    def tools(self) -> llm.ToolContext:
        """A copy of the tools that the model is given."""
        return self._tools.copy()

    async def update_instructions(self, instructions: str) -> None:
        """Gives the model other instructions: at once before the session is open, later by a crossing at a quiet moment."""
        if instructions != self._instructions:
            self._instructions = instructions
            self._reconfigure()

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        """Gives the model other tools, as `update_instructions` does; several changes at once cost one crossing."""
        context = llm.ToolContext(tools)
        if context != self._tools:
            self._tools = context
            self._reconfigure()

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        """Tells the model what is new in a chat context, and answers its tool calls.

        Before the session is open it is what the session begins with. A user's message at its end is not told before it is
        known whether a reply to it is asked for. What is gone from it, no model can forget; of a message that was never
        played, it is told that nobody heard it.
        """
        found = chat.changes(self._chat, chat_ctx, pending=self._calls.pending)
        self._chat = chat_ctx.copy()
        for message_id in found.unheard:
            self._replies.played(message_id, 0.0)
        for output in found.results:
            self._answer(output)
        self._say_unsaid()
        if self.session is None and not self._task.done() and self._config is None:
            self._history = (*self._history, *found.turns)
        elif found.turns:
            turns = list(found.turns)
            self._sending.do("a change of the chat context", lambda session: session.tell(turns))
            if self._calls.awaited(found.told):
                self._replies.answered_tool()
                self._sending.do("the request for a reply", lambda session: session.ask_reply(_OVERTAKEN))
        if found.said:
            self._unsaid = found.said
            self._timer = asyncio.get_running_loop().call_later(_UNASKED, self._say_unsaid)

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN) -> None:
        """Sets the tool choice: under "none" calls are answered with an error, so that the model speaks instead. No Gemini
        model can be made to call a tool: any other choice is as "auto"."""
        if tool_choice is NOT_GIVEN:
            return
        self._tool_choice = cast("llm.ToolChoice | None", tool_choice)
        if self._tool_choice not in (None, "auto", "none"):
            self._complain(
                "tool_choice", f"tool_choice={self._tool_choice!r} is taken as 'auto': no Live model can be forced"
            )

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Takes the user's audio, of any rate and number of channels. Never waits and never raises."""
        try:
            self._listening.push(frame)
        except Exception as error:  # because LiveKit forwards no audio any more once this has raised
            self._complain("audio", f"a frame of the user's audio was dropped: {error!r}")

    def push_video(self, frame: rtc.VideoFrame) -> None:
        """Takes a frame of the user's video, which is sent as an image. Never waits and never raises."""
        if self.session is None or not self._model.profile.images:
            return
        try:
            data = images.encode(frame, self._model.arguments.images)
            self.session.send_image(data)
        except unbroken.UnbrokenError:
            pass
        except Exception as error:  # because LiveKit forwards no video any more once this has raised
            self._complain("video", f"a frame of the user's video was dropped: {error!r}")

    def generate_reply(
        self,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN,
    ) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Asks for a reply. An outage before it begins delays it: it is asked for again, once, on the next link.

        Args:
            instructions: for this reply only.
            tool_choice: as `update_options` takes it, from now on.
            tools: as `update_tools` takes them, from now on.

        Returns:
            Resolves when the reply's first output comes. Fails with `llm.RealtimeError` where none comes in time though the
            session is up, and where the session ends. Cancelling it drops the reply.
        """
        self.update_options(tool_choice=tool_choice)
        if tools is not NOT_GIVEN:
            self._tools = llm.ToolContext(cast("list[llm.Tool]", tools))
            self._reconfigure()
        self._replies.asked()
        future = self._requests.add()
        future.add_done_callback(lambda ended: self._unless_transcribed() if ended.cancelled() else None)
        if self._task.done() or self._closing:
            self._requests.fail("the session has ended")
            return future
        told = instructions if isinstance(instructions, str) else ""
        said, self._unsaid = self._unsaid, ""
        self._unwind()
        self._marks.end_open()
        if self._marks.owed and not told and not said:
            return future
        if said and not told:
            self._sending.do("the user's message", lambda session: session.send_text(said))
            return future
        if said:
            self._sending.do("the user's message", lambda session: session.tell([unbroken.Turn(role="user", text=said)]))
        wanted = _INSTRUCTED.format(told) if told else None
        self._sending.do("the request for a reply", lambda session: session.ask_reply(wanted))
        return future

    def commit_audio(self) -> None:
        """Ends the user's turn: by a mark where the application marks turns, else by the end of the audio stream."""
        self._marks.end()

    def clear_audio(self) -> None:
        """Does nothing: what was sent, no Live model takes back."""

    def start_user_activity(self) -> None:
        """The user begins to speak, where the application marks turns."""
        self._marks.start()

    def interrupt(self) -> None:
        """Drops what is left of the reply in flight. Where the application marks turns the model stops, too; elsewhere no
        Live model can be stopped but by the user's voice, and what it still says is not passed on, nor is a reply that was
        asked for and has not begun."""
        self._replies.interrupt(waits=bool(self._calls.pending))
        self._requests.interrupt()
        self._calls.interrupt()
        self._unless_transcribed()
        if not self._model.arguments.uninterruptible:
            self._marks.interrupt()

    def truncate(
        self,
        *,
        message_id: str,
        modalities: list[Literal["text", "audio"]],
        audio_end_ms: int,
        audio_transcript: NotGivenOr[str] = NOT_GIVEN,
    ) -> None:
        """Says how much of a message was played: the next link that is told the history is told no more of it than that."""
        self._replies.played(message_id, float(audio_end_ms))

    async def aclose(self) -> None:
        """Closes the session, in whichever state it is; no task of it is left. A second call waits for the first."""
        self._closing = True
        self._unwind()
        if self.session is not None:
            await self.session.aclose()
        else:
            self._scope.cancel()
        await asyncio.wait({self._task})

    # -- What carries it --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Is the session's one task: opens it, reads it, and ends all that waits for it."""
        because = _LEFT_OPEN
        try:
            with self._scope:
                because = await self._carry() or because
        except unbroken.UnbrokenError as error:
            because = str(error)
            self._fail(error)
        except (
            Exception
        ) as error:  # because a bug here must not leave the call silent for ever: LiveKit ends it, and says so
            logger.exception("the session failed")
            because = repr(error)
            self._fail(error)
        finally:
            self._unwind()
            self._replies.close()
            self._turns.close()
            self._requests.fail(because)

    async def _carry(self) -> str:
        """Returns why the session has ended; "": it was closed."""
        model = self._model
        async with unbroken.Runtime(fleet=model.fleet, observers=model.observers, transport=model.transport) as runtime:
            config = self._config = self._wanted()
            report.opening(model.targets, model.profile, settings=model.settings, policy=model.policy_name)
            session = runtime.open(
                model.targets,
                config=config,
                policy=model.policy,
                rules=model.rules,
                settings=model.settings,
                history=self._history,
            )
            self.session = session
            self._listening.opened(session)
            sending = asyncio.create_task(self._sending.run(session), name="unbroken livekit sending")
            try:
                async for event in session:
                    self._take(event)
            except unbroken.SessionEscalated as error:
                self._fail(error)
                return str(error)
            finally:
                self._sending.stop()
                await sending
        return ""

    def _fail(self, error: Exception) -> None:
        self._requests.fail(str(error))  # before LiveKit ends all speeches over the error
        if not self._closing:
            logger.error("the session is given up: %s", error)
            self._error(error, recoverable=False)

    def _error(self, error: Exception, *, recoverable: bool) -> None:
        wrapped = llm.RealtimeModelError(
            timestamp=time.time(), label=self._model.label, error=error, recoverable=recoverable
        )
        self._emit("error", wrapped)

    def _emit(self, name: str, event: object) -> None:
        try:
            self.emit(cast("Any", name), event)
        except TypeError:
            # LiveKit's emitter logs what a listener raises, but for this one
            logger.exception("a listener of %s failed", name)

    # -- What the session says --------------------------------------------------------------------------------------------

    def _take(self, event: unbroken.Event) -> None:
        replies = self._replies
        match event:
            case unbroken.Audio(pcm=pcm, rate=rate):
                replies.audio(pcm, rate=rate)
                return
            case unbroken.ModelTranscript(text=text):
                replies.text(text)
                return
            case unbroken.Text(text=text, thought=thought):
                if not thought and self._model.arguments.text_is_spoken:
                    replies.text(text)
                return
            case unbroken.UserTranscript():
                self._turns.wrote(event, replying=replies.replying)
                self._requests.user_spoke()
                return
            case unbroken.ReplyBegan():
                self._marks.answered()
                replies.began(event)
            case unbroken.ReplyEnded():
                replies.ended(event)
            case unbroken.Interrupted():
                self._interrupted()
            case unbroken.UserActivity(speaking=speaking):
                self._turns.activity(speaking=speaking)
                self._requests.user_spoke()
            case unbroken.ToolCall():
                self._call(event)
            case unbroken.ToolCallCancelled(call_ids=call_ids):
                self._calls.cancelled(call_ids, overtaken=self._requests.pending)
                logger.info("the model no longer wants the results of %d tool calls", len(call_ids))
            case unbroken.Usage():
                self._used(event)
            case _:
                self._crossing(event)
        self._emit("unbroken_event", event)

    def _crossing(self, event: unbroken.Event) -> None:
        """Takes what is said of the session's links."""
        match event:
            case unbroken.Connected(target=target):
                self._model.serve(target)
                report.connected(event)
                self._requests.up(up=True)
                seconds = event.steps.total_ms / 1000
                self._emit("metrics_collected", report.acquired(seconds, **self._served))
            case unbroken.OutageBegan():
                if not self._outages:
                    self._turns.crosses()
                self._outages.append(event)
                self._requests.up(up=False)
                if event.fault.kind != "planned":
                    self._error(llm.RealtimeError(event.because), recoverable=True)
            case unbroken.Waiting(seconds=seconds, because=because):
                logger.info("no link for another %.1f s: %s", seconds, because)
            case unbroken.Recovered(target=target):
                self._model.serve(target)
                report.recovered(event, self._outages, names=[target.name for target in self._model.targets])
                self._outages.clear()
                self._turns.crossed()
                self._replies.recovered(event)
                self._requests.up(up=True)
                self._emit("session_reconnected", llm.RealtimeSessionReconnectedEvent())
            case unbroken.AudioLost(lost_ms=lost_ms, because=because):
                logger.warning("%.0f ms of the user's audio were lost: %s", lost_ms, because)
            case _:
                pass

    def _interrupted(self) -> None:
        self._requests.user_spoke()
        if self._requests.pending:
            # What was asked for interrupts what the model says; LiveKit would drop the speech as the user's doing.
            self._replies.give_up()
            return
        self._turns.interrupted()
        self._replies.interrupt()
        self._requests.user_spoke()

    def _speech_started(self) -> None:
        # LiveKit interrupts over it. Where the application marks turns it knows better when the user spoke: the model writes
        # the words down once they are over, and a reply to them may have been asked for by then
        if not self._marks.manual:
            self._emit("input_speech_started", llm.InputSpeechStartedEvent())

    def _speech_stopped(self) -> None:
        if not self._marks.manual:
            self._emit("input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=False))

    def _transcribed(self, event: llm.InputTranscriptionCompleted) -> None:
        if event.is_final:
            self._chat.add_message(role="user", content=event.transcript, id=event.item_id)
        self._emit("input_audio_transcription_completed", event)

    def _generated(self, generation: Generation) -> None:
        if generation.text:
            self._chat.add_message(role="assistant", content=generation.text, id=generation.id)

    def _played(self, reply: int, ms: float) -> None:
        if self.session is not None:
            self.session.played(reply, ms=ms)

    @property
    def _served(self) -> dict[str, str]:
        return {"label": self._model.label, "model": self._model.model, "provider": self._model.provider}

    def _used(self, usage: unbroken.Usage) -> None:
        if (generation := self._replies.current or self._replies.last) is not None:
            self._emit("metrics_collected", report.metrics(usage, generation, **self._served))

    # -- Tools, turns and configuration -----------------------------------------------------------------------------------

    def _call(self, call: unbroken.ToolCall) -> None:
        if self._tool_choice == "none":
            logger.info("a call of %s is refused: tool_choice is 'none'", call.name)
            refusal = {"error": "Tools are switched off for this turn; answer in words."}
            self._replies.answered_tool()
            self._sending.do("a refused call", lambda session: session.send_tool_result(call, refusal))
            return
        self._calls.add(call)
        arguments = json.dumps(dict(call.arguments))
        self._replies.call(llm.FunctionCall(call_id=call.call_id, name=call.name, arguments=arguments))

    def _answer(self, output: llm.FunctionCallOutput) -> None:
        call = self._calls.answer(output.call_id)
        result, scheduling = tools.result_of(output, scheduling=self._model.arguments.scheduling)
        self._replies.answered_tool()
        self._sending.do(
            f"the result of {call.name}", lambda session: session.send_tool_result(call, result, scheduling=scheduling)
        )

    def _say_unsaid(self) -> None:
        """Tells the user's words of the chat context to which no reply was asked for."""
        self._unwind()
        said, self._unsaid = self._unsaid, ""
        if said:
            turns = [unbroken.Turn(role="user", text=said)]
            self._sending.do("the user's message", lambda session: session.tell(turns))

    def _mark(self, mark: Mark) -> None:
        self._listening.flush()

        async def send(session: unbroken.Session) -> None:
            session.send_activity(mark)

        self._sending.do("a mark in the user's audio", send)

    def _wanted(self) -> dict[str, Any]:
        return session_config(
            self._model.arguments.config,
            instructions=self._instructions,
            context=self._tools,
            behavior=self._model.arguments.behavior,
            manual=self._marks.manual,
        )

    def _reconfigure(self) -> None:
        """Has the session take the configuration of the moment; what changes before it is sent goes with it."""
        if self._config is not None:
            self._sending.do("a change of instructions or tools", self._update)

    async def _update(self, session: unbroken.Session) -> None:
        wanted = self._wanted()
        if wanted != self._config:
            self._config = wanted
            await session.update(wanted, within=_PROMPTLY)

    def _unless_transcribed(self) -> None:
        """Forgets a withdrawn request where nothing tells its reply from the answer to what the user has said since."""
        if not self._model.arguments.transcribed:
            self._requests.user_spoke()

    def _unwind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _complain(self, about: str, complaint: str) -> None:
        if about not in self._complained:
            self._complained.add(about)
            logger.warning("%s (this is said once)", complaint)
