"""One conversation, as the application holds it. It outlives every connection."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel

from unbroken.core.given import check_text, turns_of
from unbroken.core.newest import Image
from unbroken.errors import ConfigError, SessionClosed, SessionEscalated
from unbroken.events import ActivityMark, Event, ReplyRequest, Told, ToolCall, Turn, UserText
from unbroken.messages import Finished
from unbroken.outlet import Outlet
from unbroken.pipe import AudioPipe
from unbroken.recorder import file_name
from unbroken.route import Configured, Providers
from unbroken.supervisor import SessionSupervisor

__all__ = ["Session"]


class Session:
    """A realtime conversation that goes on while its connections do not.

    Made by `unbroken.connect` or `Runtime.open`. What is sent before the first link is up, or while none is, waits in order.
    All methods are called from the event loop's own thread. Iterating yields the session's events, one reader at a time::

        async for event in session:
            match event:
                case unbroken.Audio(pcm=pcm):
                    speaker.write(pcm)

    Iteration ends after `aclose`. Where the policy gave the session up, it yields `Escalated` and then raises
    `SessionEscalated`.

    Attributes:
        name: the session's name, unique within its runtime.
    """

    def __init__(self, name: str, *, supervisor: SessionSupervisor, outlet: Outlet, providers: Providers) -> None:
        self.name = name
        self._providers = providers
        self._supervisor = supervisor
        self._pipe: AudioPipe = supervisor.pipe
        self._outlet = outlet
        self._done = anyio.Event()
        self._closed = False

    def __repr__(self) -> str:
        link = self._supervisor.link
        number = f", link {link.number}" if link is not None else ""
        return f"<Session {self.name!r} {self.state}{number}, {self._pipe.journalled:.1f} s journalled>"

    @property
    def state(self) -> str:
        """Where the session is, in a word: "dialling", "listening", "replying", "waiting", "closed", …"""
        return self._supervisor.machine.state.value

    @property
    def resumable(self) -> bool:
        """The provider has given a handle by which the next link could take the conversation over as it is.

        Otherwise it would be told the history in words. Handles come and go: services withhold them within turns and calls.
        """
        return self._pipe.continuity.resumable(now=anyio.current_time())

    @property
    def lag(self) -> float:
        """Seconds of the user's audio that the present link was not given yet, or the last one where there is none.

        It grows over an outage, grows once more where the next link has to be given some of it again, and is made up at
        `Settings.catch_up`; 0.0: the audio is live.
        """
        return self._pipe.lag

    @property
    def input_rate(self) -> int:
        """Samples per second that `send_audio` takes (Gemini: 16000)."""
        return self._pipe.rate

    # -- what the application sends --------------------------------------------------------------------------------------

    def send_audio(self, pcm: bytes | bytearray | memoryview) -> None:
        """Takes a piece of the user's audio. Never waits, and never raises because of an outage.

        Args:
            pcm: s16le mono PCM at `input_rate`, of any length.

        Raises:
            SessionClosed: the session was closed by `aclose`.
        """
        if self._closed:
            raise SessionClosed(f"{self.name} was closed; open a new session to send audio")
        self._pipe.send_audio(pcm if type(pcm) is bytes else bytes(pcm))

    def send_image(self, data: bytes | bytearray | memoryview, *, mime_type: str = "image/jpeg") -> None:
        """Takes an image of what the user shows: a frame of a camera or a screen, about one a second (Gemini).

        Never waits, and never raises because of an outage. Images are not journalled: while no link is up, or older audio
        is on its way, only the newest is kept, and after two seconds it is not sent any more. On a target of the route that
        takes no images they are left out.

        Args:
            data: the image, encoded.
            mime_type: how it is encoded (Gemini: "image/jpeg" or "image/png").

        Raises:
            ConfigError: no target of the route takes images, or it is none.
            SessionClosed: the session was closed by `aclose`.
        """
        if self._closed:
            raise SessionClosed(f"{self.name} was closed; open a new session to send images")
        if not self._providers.takes_images:
            raise ConfigError(f"no target of {self.name} takes images; a session on gemini/gemini-3.8-live does")
        if not mime_type.startswith("image/"):
            raise ConfigError(f"send_image needs a mime_type such as 'image/jpeg', not {mime_type!r}")
        if not data:
            raise ConfigError("send_image needs an image; this has no bytes in it")
        self._pipe.send_image(Image(data=bytes(data), mime_type=mime_type))

    async def send_text(self, text: str, *, turn_complete: bool = True) -> None:
        """Sends the user's words as text. Returns once they are queued, in order with the audio.

        Args:
            text: the words.
            turn_complete: the model should answer now; otherwise it should only take them in, which some models cannot
                (Gemini 3.x answers anyway).

        Raises:
            ConfigError: there is no text in it, or none that UTF-8 can carry.
            OutboxFull: too much waits for a link already.
            SessionClosed: the session was closed.
            SessionEscalated: the session was given up.
        """
        self._check()
        check_text("send_text", text, instead="to end a turn of speech use send_activity('end')")
        await anyio.lowlevel.checkpoint()
        self._pipe.send(UserText(text=text, turn_complete=turn_complete))

    async def tell(self, turns: Sequence[Turn]) -> None:
        """Tells turns of the conversation that ask for no reply: what was said elsewhere, or what the application knows.

        Returns once they are queued, in order with the audio. They are part of the history, so they cross to every later
        link. How they are told is the model's matter, and a model that answers every text (Gemini 3.x) is asked not to
        answer this one; what is known before the session begins is better given to it as ``history`` (`Runtime.open`).

        Args:
            turns: the turns, the oldest first; without any, nothing is done.

        Raises:
            ConfigError: one of them is no turn, or has no text in it, or none that UTF-8 can carry.
            OutboxFull: too much waits for a link already.
            SessionClosed: the session was closed.
            SessionEscalated: the session was given up.
        """
        self._check()
        told = turns_of("tell", turns)
        await anyio.lowlevel.checkpoint()
        if told:
            self._pipe.send(Told(turns=told))

    async def ask_reply(self, instructions: str | None = None) -> None:
        """Asks for a reply that the user did not ask for: a greeting, a hint, a word after a silence. Returns once queued.

        It is asked for once. Where an outage comes before the reply has begun, it is asked for again on the next link, and
        never twice on one; a reply that was cut is treated as `Settings.on_cut_reply` says.

        Args:
            instructions: what the model is told; it takes no part in the conversation's history. None: `Wording.speak`.

        Raises:
            ConfigError: there is no text in it, or none that UTF-8 can carry.
            OutboxFull: too much waits for a link already.
            SessionClosed: the session was closed.
            SessionEscalated: the session was given up.
        """
        self._check()
        text = self._pipe.wording.speak if instructions is None else instructions
        check_text("ask_reply", text, instead="leave it out to have the model simply speak")
        await anyio.lowlevel.checkpoint()
        self._pipe.send(ReplyRequest(instructions=text))

    def played(self, reply: int, *, ms: float) -> None:
        """Says how much of a reply was played, once no more of it will be: after an interruption, or at its end.

        What was not played, the caller has not heard: a link that is told the history is told of no more, and a reply that
        was cut goes on from there. Without this, all that was received counts as played, or for an interrupted reply what a
        player can have played by then. Never waits; a reply that is long over is not looked for.

        Args:
            reply: the reply's number (`ReplyBegan.reply`).
            ms: milliseconds of its audio.
        """
        self._pipe.conversation.replies.played(reply, ms=ms)

    async def send_tool_result(self, call: str | ToolCall, result: Any, *, scheduling: str | None = None) -> None:
        """Answers a tool call. Returns once the answer is queued.

        The answer reaches the model also where the link that issued the call is gone: as a tool response where the link of
        the day knows the call, told in words otherwise.

        Args:
            call: the call or its id.
            result: a JSON object; any other JSON value is sent as ``{"output": value}``.
            scheduling: how the model takes it in, where its tools are asynchronous ("INTERRUPT", "WHEN_IDLE", "SILENT").

        Raises:
            ConfigError: there is no such call, or it has been answered.
            SessionClosed: the session was closed.
            SessionEscalated: the session was given up.
        """
        self._check()
        call_id = call.call_id if isinstance(call, ToolCall) else call
        await anyio.lowlevel.checkpoint()
        self._pipe.answer(call_id, result, scheduling=scheduling)

    def send_activity(self, mark: Literal["start", "end", "stream_end"]) -> None:
        """Marks where the user's speech starts or ends, for sessions whose own detection of speech is off; or tells that the
        microphone was switched off ("stream_end"). A "start" interrupts the model, if its configuration lets it. Never
        waits.

        Raises:
            OutboxFull: too much waits for a link already.
            SessionClosed: the session was closed.
            SessionEscalated: the session was given up.
        """
        self._check()
        self._pipe.send(ActivityMark(mark=mark))

    async def update(self, config: Any, *, targets: Mapping[str, Any] | None = None, within: float = 20.0) -> None:
        """Gives the running session another configuration: instructions, tools, a voice. Returns once that is queued.

        The conversation goes on over it. The link is left for one with the new configuration at the next quiet moment: at
        once where nobody has spoken for some seconds and no reply is due, else at the end of the turn or in a pause, and
        when `within` is over in any case. It crosses as it does when the service ends a link: by handle where the provider
        lets a session be resumed with another setup, otherwise by history. It is no failure, and shows as an `OutageBegan`
        whose closure has the cause "update" and a `Recovered` that is planned. A link that is being dialled comes up with
        the new configuration. Of several updates before that moment the last one holds, and they cost one crossing.

        Args:
            config: the whole new configuration, as `unbroken.connect` takes it; None: the provider's defaults. Targets of
                the route that have a configuration of their own keep theirs.
            targets: configurations for single targets, by name (`Target.name`): their own from now on.
            within: seconds after which the link is left at the latest, at most 60; 0: at once, whoever speaks.

        Raises:
            ConfigError: a configuration cannot work, or there is no such target; the text says what would have worked, and
                the session goes on as it was.
            SessionClosed: the session was closed.
            SessionEscalated: the session was given up.
        """
        self._check()
        if not 0 <= within <= 60:
            raise ConfigError(f"update needs within= from 0 to 60 seconds, not {within!r}")
        self._providers = self._providers.configured(config, own=targets or {})
        self._supervisor.mailbox.post(Configured(providers=self._providers, within=within))
        await anyio.lowlevel.checkpoint()

    def cut(self, reason: str = "cut on purpose") -> None:
        """Cuts the link as a fault of the network would, for drills and tests; without a link it does nothing."""
        link = self._supervisor.link
        if link is not None:
            link.abort("cut", reason)

    def record(self, to: str | os.PathLike[str]) -> Path:
        """Writes what the session's control has been told and has decided lately, for `unbroken replay`. It can be called at
        any time, after the session's end too, and takes some milliseconds, in which nothing else runs.

        There is no audio in it, no text and no secret; see docs/recorder.md.

        Args:
            to: a file, which is replaced, or a folder, in which the file is named after session and time.

        Returns:
            The file.

        Raises:
            OSError: it cannot be written.
        """
        written = datetime.now(UTC)
        path = Path(to)
        if path.is_dir():
            path /= file_name(self.name, written)
        self._supervisor.recording.dump(path, now=anyio.current_time(), written=written)
        return path

    # -- what the application receives -----------------------------------------------------------------------------------

    def __aiter__(self) -> Session:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Event]:
        return self._outlet.get()

    async def aclose(self) -> None:
        """Closes the session: the link's closing handshake, bounded by `Deadlines.close`. A second call does nothing.

        Events that came before can still be read.
        """
        self._closed = True
        if not self._done.is_set():
            self._supervisor.mailbox.post(Finished())
            await self._done.wait()

    def finished(self) -> None:
        """For the runtime: the session's tasks are over."""
        self._done.set()

    def _check(self) -> None:
        if self._closed:
            raise SessionClosed(f"{self.name} was closed; open a new session")
        if self._outlet.story is not None:
            raise SessionEscalated(self._outlet.story)
