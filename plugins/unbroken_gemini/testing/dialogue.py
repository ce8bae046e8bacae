"""The model's side of one connection: it hears, takes turns, speaks, calls tools and is interrupted."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from unbroken.testing.faults import Close
from unbroken.testing.intervals import Range, append
from unbroken.testing.stamps import StampReader
from unbroken_gemini import wire
from unbroken_gemini.models import GeminiRow
from unbroken_gemini.testing import checks, refusals
from unbroken_gemini.testing.agenda import Agenda
from unbroken_gemini.testing.contexts import Context, Piece, positions_in, transcript
from unbroken_gemini.testing.ear import RATE, Ear, Heard
from unbroken_gemini.testing.voice import RATE as VOICE_RATE
from unbroken_gemini.testing.voice import Call, Nothing, Reply, Say, pieces
from unbroken_gemini.testing.voice import Piece as Spoken

if TYPE_CHECKING:
    from unbroken_gemini.testing.service import SimulatedGemini

__all__ = ["Account", "Dialogue", "new_ear"]

_REPLY = "reply"
_MIME_RATE = re.compile(r"rate=(\d+)")
_NO_ANSWER = "needs no answer"
_TOKENS_PER_SECOND = 25  # of audio, as the recorded usage has it
_TOKENS_PER_IMAGE = 258  # ai.google.dev/gemini-api/docs/tokens


class Account(msgspec.Struct, kw_only=True):
    """What came and went on one connection, for the report.

    Attributes:
        heard: ranges of the user's audio as they came.
        replayed: of them, what had been sent on an earlier connection.
        repeated: of them, what the context held already.
        history: turns told as history.
        said: samples of the model's voice that were sent.
        images: frames of the user's video that came.
        unstamped: samples of the user's audio without a position.
        heard_at: when the first of the user's audio came; None: none has.
        said_at: when the first of the model's voice was sent; None: nothing was.
    """

    heard: list[Range] = []
    replayed: list[Range] = []
    repeated: list[Range] = []
    history: int = 0
    said: int = 0
    images: int = 0
    unstamped: int = 0
    heard_at: float | None = None
    said_at: float | None = None


def new_ear(setup: wire.Setup, *, threshold: float, silence: float) -> Ear:
    """Returns the hearing that a setup asks for."""
    detection = (setup.realtime_input_config or wire.RealtimeInputConfig()).automatic_activity_detection
    if detection is not None and detection.silence_duration_ms:
        silence = detection.silence_duration_ms / 1000
    return Ear(threshold=threshold, silence=silence)


class Dialogue:
    """One connection's conversation, from its accepted setup on.

    Args:
        service: whose it is.
        link: the connection's number.
        setup: what it was set up with.
        row: the model.
        platform: "gemini" or "vertex".
        context: what the model knows; changed by what is said.
        agenda: what is going to be said.
        issue: issues a resumption handle.
        lost: calls that were pending on the session's earlier connections.
        resumed: the session is no fresh one.
    """

    def __init__(
        self,
        service: SimulatedGemini,
        *,
        link: int,
        setup: wire.Setup,
        row: GeminiRow,
        platform: str,
        context: Context,
        agenda: Agenda,
        issue: Callable[[float], None],
        lost: Sequence[str] = (),
        resumed: bool = False,
    ) -> None:
        self.account = Account()
        self.context = context
        self.row = row
        self.platform = platform
        self.pending: dict[str, Call] = {}
        self.turn_open = False  # the user's turn is over, and the model's is not
        self.speaking = False  # the model does
        self._service = service
        self._link = link
        self._setup = setup
        self._agenda = agenda
        self._issue = issue
        self._functions = checks.declared(setup.tools)
        self._role = "" if platform == "gemini" else "model"  # as recorded
        self._stamps = StampReader()
        self._called_at = 0.0
        self._lost = set(lost)
        self._resumed = resumed
        self._eats = bool(lost) and row.lost_calls == "error_first" and service.behaviour.lost_calls_eat_input
        config = setup.realtime_input_config or wire.RealtimeInputConfig()
        self._automatic = not (config.automatic_activity_detection or wire.ActivityDetection()).disabled
        self._interruptible = config.activity_handling != "NO_INTERRUPTION"
        history = setup.history_config
        self._seeding = history is not None and bool(history.initial_history_in_client_content)

    @property
    def seeding(self) -> bool:
        """The setup announced a history, which has not been told: nothing else was, either."""
        return self._seeding

    # -- What the user does -----------------------------------------------------------------------------------------------

    def realtime(self, given: wire.RealtimeInput, *, message: int, now: float) -> Close | None:
        """Takes realtime input. Returns why the connection is closed for it; None: it is not."""
        if self.pending and not self.row.input_in_tool_call and now > self._called_at + self._service.behaviour.tool_grace:
            return refusals.NOT_NOW
        self._seeding = False
        if given.media_chunks and self.row.text == "realtime":
            return refusals.MEDIA_CHUNKS
        marks = given.activity_start is not None or given.activity_end is not None
        if marks and self._automatic:
            return refusals.NO_MARKS
        for blob in (*given.media_chunks, *((given.audio,) if given.audio is not None else ())):
            self._hear(blob, message=message, now=now)
        if given.video is not None:
            self.account.images += 1
            self.context.tokens += _TOKENS_PER_IMAGE
        if given.text is not None:
            self._read(given.text, now=now)
        if given.activity_start is not None:
            self.context.ear.speaking = True
            self._user_begins(now=now)
        if given.activity_end is not None or given.audio_stream_end:
            self._settle_stamps(message, now=now)
            if self.context.ear.stop():
                self._turn_over(now=now)
        return None

    def content(self, given: wire.ClientContent, *, now: float) -> Close | None:
        """Takes client content. Returns why the connection is closed for it; None: it is not."""
        if any("rate=24000" in p.inline_data.mime_type for t in given.turns for p in t.parts if p.inline_data is not None):
            return refusals.NOT_NOW
        turns = [(turn.role or "user", "".join(part.text or "" for part in turn.parts)) for turn in given.turns]
        asks = given.turn_complete and not self._seeding
        last = turns.pop()[1] if asks and turns and turns[-1][0] == "user" else ""
        if turns:
            self.context.asked = self.context.asked or self._service.asked(self._link)
            self.context.tell(turns, fresh=not self._resumed)
            self.context.tokens += sum(len(text) // 4 + 1 for _, text in turns)
            self.account.history += len(turns)
        if given.turn_complete:
            self._seeding = False
        if asks:
            self._read(last, now=now)
        return None

    def response(self, given: wire.ToolResponse, *, now: float) -> Close | None:
        """Takes answers to tool calls. Returns why the connection is closed for it; None: it is not."""
        last: Call | None = None
        for answer in given.function_responses:
            if answer.scheduling is not None and not self.row.scheduling:
                return refusals.NO_SCHEDULING
            if not answer.id and self.platform == "gemini":
                return refusals.BAD_ARGUMENT
            taken = answer.id in self.pending
            last = self.pending.pop(answer.id, last)
            self._service.answered(answer.id, taken=taken)
            self._lost.discard(answer.id)
            if taken:
                self.context.results.append(answer.id)
        self._eats = self._eats and bool(self._lost)
        if last is not None and not self.pending:
            self._reply_with(Say(text=last.then), now=now)
        return None

    def update(self, given: wire.ContextUpdate) -> None:
        """Takes other tools or instructions."""
        if given.tools is not None:
            self._functions = checks.declared(given.tools.tools)

    # -- Hearing ----------------------------------------------------------------------------------------------------------

    def _hear(self, blob: wire.Blob, *, message: int, now: float) -> None:
        if self.account.heard_at is None:
            self.account.heard_at = now
        stated = _MIME_RATE.search(blob.mime_type)
        rate = (int(stated[1]) if stated else RATE) or RATE
        before = self._stamps.unstamped
        ranges = self._stamps.feed(blob.data) if rate == RATE else []
        self.account.unstamped += self._stamps.unstamped - before if rate == RATE else len(blob.data) // 2 * RATE // rate
        self.context.tokens += len(blob.data) // 2 * _TOKENS_PER_SECOND // rate + 1
        heard = self.context.ear.hear(blob.data, rate=rate) if self._automatic else Heard()
        self._keep(ranges, message=message, now=now)
        if len(ranges) == 1 and ranges[0][1] - ranges[0][0] == len(blob.data) // 2:
            self._service.heard_level(ranges[0], heard.loud, link=self._link)
        if heard.began:
            self._user_begins(now=now)
        if heard.ended:
            self._turn_over(now=now)

    def _keep(self, ranges: Sequence[Range], *, message: int, now: float) -> None:
        piece = Piece(message=message, ranges=tuple(ranges), now=now, ear=self.context.ear.copy())
        repeated = self.context.hear(piece)
        append(self.account.heard, ranges)
        append(self.account.repeated, repeated)
        append(self.account.replayed, self._service.sent(ranges, link=self._link))

    def _settle_stamps(self, message: int, *, now: float) -> None:
        before = self._stamps.unstamped
        if ranges := self._stamps.settle():
            self._keep(ranges, message=message, now=now)
        self.account.unstamped += self._stamps.unstamped - before

    def _user_begins(self, *, now: float) -> None:
        if self._setup.explicit_vad_signal:
            self._signal("VAD_SIGNAL_TYPE_SOS", now)
        if self._interruptible:
            self._interrupt(now=now)

    # -- Turns ------------------------------------------------------------------------------------------------------------

    def _turn_over(self, *, now: float) -> None:
        """The user has spoken."""
        heard = self.context.settle()
        self.context.turns += 1
        self.context.spoken_turns += 1
        if self._setup.explicit_vad_signal:
            self._signal("VAD_SIGNAL_TYPE_EOS", now)
        withheld = self._service.withholds_reply()
        if withheld and self._service.behaviour.withholds_transcripts:
            return
        if self._setup.input_audio_transcription is not None or self.row.text == "realtime":
            self.context.transcription = " " + (transcript(heard) if heard else "(speech without positions)")
            self.transcribe(self.context.transcription, now=now + self._service.behaviour.reply_time[0] / 2.5)
        if not withheld:
            self._answer("", now=now)

    def _read(self, text: str, *, now: float) -> None:
        """The user has written; nothing ("") asks for an answer to what is known."""
        if text:
            self.context.texts.append(text)
            self.context.told.update(positions_in(text))
            self.context.tokens += len(text) // 4 + 1
        self.context.turns += 1
        if _NO_ANSWER in text:
            return
        self._interrupt(now=now)
        if not self._service.withholds_reply():
            self._answer(text, now=now)

    def _answer(self, text: str, *, now: float) -> None:
        if self._eats:
            self._eats = False
            self._agenda.put(now, lambda t: self._complete("", t))
            return
        self._reply_with(self._service.reply(self.context, text, self._functions), now=now)
        if self.row.handle_in_turn:
            self._agenda.put(now + 0.05, self._issue)

    def transcribe(self, text: str, *, now: float) -> None:
        """Sends a transcript of what the user said, in pieces, as the real service does."""
        for number, word in enumerate(re.findall(r"\s*\S+", text)):
            said = wire.ServerContent(input_transcription=wire.Transcription(text=word))
            self._agenda.put(now + 0.002 * number, wire.ServerMessage(server_content=said))

    def _reply_with(self, reply: Reply, *, now: float) -> None:
        self.turn_open = True
        if not self.row.handle_in_turn:
            self._issue(now)  # says that the session cannot be resumed from here
        delay = self._service.draw(self._service.behaviour.reply_time)
        self._agenda.put(now + delay, lambda t: self._begin(reply, t), tag=_REPLY)

    def _begin(self, reply: Reply, now: float) -> None:
        match reply:
            case Say():
                self._say(reply, now)
            case Call():
                self._call(reply, now)
            case Nothing():
                self._complete("", now)

    def _say(self, reply: Say, now: float) -> None:
        self.speaking = True
        behaviour = self._service.behaviour
        if reply.thought:
            part = wire.Part(text=reply.thought, thought=True)
            self._content(now, model_turn=wire.Content(role=self._role, parts=(part,)))
        at = now
        for piece in pieces(reply.text, word_time=behaviour.word_time, quiet=self._service.speaks_quietly()):
            at = now + max(0.0, piece.at - behaviour.ahead)
            self._agenda.put(at, functools.partial(self._voice, piece), tag=_REPLY)
        self._agenda.put(at, lambda t: self._content(t, generation_complete=True), tag=_REPLY)
        last = len(reply.text.split()) * behaviour.word_time
        self._agenda.put(max(at, now + last), lambda t: self._complete(reply.text, t), tag=_REPLY)

    def _voice(self, piece: Spoken, now: float) -> None:
        if self.account.said_at is None:
            self.account.said_at = now
        self.account.said += len(piece.pcm) // 2
        mime_type = "audio/pcm" if self.platform == "vertex" else f"audio/pcm;rate={VOICE_RATE}"
        part = wire.Part(inline_data=wire.Blob(data=piece.pcm, mime_type=mime_type))
        spoken = wire.Content(role=self._role, parts=(part,))
        words: wire.Transcription | None = None
        if piece.text and self._setup.output_audio_transcription is not None:
            words = wire.Transcription(text=piece.text)
        if words is not None and self.row.text != "realtime":  # 2.5 says one thing per message
            self._content(now, output_transcription=words)
            words = None
        self._content(now, model_turn=spoken, output_transcription=words)

    def _complete(self, text: str, now: float) -> None:
        """The model's turn ends."""
        self.speaking = self.turn_open = False
        if text:
            self.context.said.append(text)
            self._service.replies += 1
        tokens = round(len(text.split()) * self._service.behaviour.word_time * _TOKENS_PER_SECOND)
        self.context.tokens += tokens
        idle = "IDLE" if self.row.text == "realtime" else ""
        content = wire.ServerContent(turn_complete=True, interaction_status=idle)
        self._agenda.put(now, wire.ServerMessage(server_content=content, usage_metadata=self._usage(tokens)))
        self._agenda.put(now + 0.05, self._issue)

    def _interrupt(self, *, now: float) -> None:
        """The user speaks: the reply and the calls in flight are over."""
        self._agenda.drop(_REPLY)
        if self.pending and self._service.behaviour.cancels_calls:
            ids = tuple(self.pending)
            self.pending.clear()
            self._service.cancelled(ids)
            self._agenda.put(now, wire.ServerMessage(tool_call_cancellation=wire.ToolCallCancellation(ids=ids)))
        if self.speaking:
            self._agenda.put(now, wire.ServerMessage(server_content=wire.ServerContent(interrupted=True)))
            self._complete("", now)
        self.turn_open = bool(self.pending)

    # -- Tools ------------------------------------------------------------------------------------------------------------

    def _call(self, call: Call, now: float) -> None:
        call_id = f"function-call-{self._service.random.randrange(10**18, 10**19)}"
        self.pending[call_id] = call
        self._called_at = now
        self._service.called(call_id, call, link=self._link)
        function = wire.FunctionCall(id=call_id, name=call.name, args=dict(call.args))
        self._agenda.put(now, wire.ServerMessage(tool_call=wire.ToolCall(function_calls=(function,))))

    # -- Saying -----------------------------------------------------------------------------------------------------------

    def _content(
        self,
        at: float,
        *,
        model_turn: wire.Content | None = None,
        output_transcription: wire.Transcription | None = None,
        generation_complete: bool = False,
    ) -> None:
        content = wire.ServerContent(
            model_turn=model_turn, output_transcription=output_transcription, generation_complete=generation_complete
        )
        self._agenda.put(at, wire.ServerMessage(server_content=content), tag=_REPLY)

    def _signal(self, kind: str, now: float) -> None:
        signal = wire.VadSignal(vad_signal_type=kind)
        self._agenda.put(now, wire.ServerMessage(voice_activity_detection_signal=signal))

    def _usage(self, spoken: int) -> wire.UsageMetadata:
        prompt = self.context.tokens - spoken
        counts = (wire.ModalityCount(modality="AUDIO", token_count=spoken),) if spoken else ()
        usage = wire.UsageMetadata(
            prompt_token_count=prompt,
            total_token_count=prompt + spoken,
            prompt_tokens_details=(wire.ModalityCount(modality="AUDIO", token_count=prompt),),
        )
        if self.platform == "vertex":
            return msgspec.structs.replace(usage, candidates_token_count=spoken, candidates_tokens_details=counts)
        return msgspec.structs.replace(usage, response_token_count=spoken, response_tokens_details=counts)
