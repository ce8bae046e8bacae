"""One link's conversation with Gemini Live, without I/O: what is said as messages, what is heard as events."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from unbroken.abc import Connection
from unbroken.config import Secret
from unbroken.events import (
    ActivityMark,
    Audio,
    Interrupted,
    ModelTranscript,
    ProviderMessage,
    Text,
    ToolCall,
    ToolCallCancelled,
    ToolResult,
    Turn,
    Usage,
    UserActivity,
    UserText,
    UserTranscript,
)
from unbroken.wire import (
    GenerationComplete,
    GoAway,
    HandleIssued,
    ProviderFault,
    SetupDone,
    Skipped,
    TurnComplete,
    WireEvent,
)
from unbroken_gemini import codec, wire
from unbroken_gemini.models import GeminiRow

__all__ = ["GeminiConnection", "Plan"]

_numbers = itertools.count(1)
"""Numbers for calls that came without an id (Vertex AI leaves it out at times); unique in the process."""

_NO_ANSWER = "(For your information; this needs no answer.)"


class Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What each link of a target is set up with; `unbroken_gemini.setup.plan` builds it, once.

    Attributes:
        setup: the inside of the setup message for a fresh session without history, with ``sessionResumption`` in it.
        row: the model.
        platform: "gemini" or "vertex".
        consumed_index: handles say which client message they hold.
        messages: the service's messages are shown as they came, besides the events that are made of them.
    """

    setup: Mapping[str, Any]
    row: GeminiRow
    platform: str = "gemini"
    consumed_index: bool = False
    messages: bool = False

    def __repr__(self) -> str:
        return f"<Plan for {self.row.name} on {self.platform}>"


class GeminiConnection(Connection):
    """One link's conversation.

    Args:
        plan: what the link is set up with.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._row = plan.row
        self._mime_type = f"audio/pcm;rate={plan.row.input_rate}"
        self._announced = False
        self._unnamed: set[str] = set()

    def __repr__(self) -> str:
        return f"<GeminiConnection {self._row.name} on {self._plan.platform}>"

    # -- What the session says ------------------------------------------------------------------------------------------

    def setup(self, *, handle: Secret | None, seeded: bool) -> bytes:
        """Encodes the setup: google-genai's own for the configuration, and the additions of `unbroken_gemini.setup`.

        Args:
            handle: resume by this handle; None: a fresh session.
            seeded: `opening` is going to replay turns, or may be. With a handle it counts for nothing: never both.
        """
        setup = dict(self._plan.setup)
        if handle is not None:
            setup["sessionResumption"] = {**setup["sessionResumption"], "handle": handle.reveal()}
            setup.pop("historyConfig", None)
        self._announced = seeded and handle is None and self._flagged
        if self._announced:
            setup["historyConfig"] = {"initialHistoryInClientContent": True}
        return msgspec.json.encode({"setup": setup})

    @property
    def _flagged(self) -> bool:
        return self._plan.platform == "gemini" and self._row.history == "flagged"

    def opening(self, history: Sequence[Turn]) -> Sequence[bytes]:
        """Encodes the history as one client content, which the model does not answer.

        Announced by ``historyConfig`` it ends with ``turnComplete``, and comes also where it is empty: the service takes
        client content only until it has seen that, and realtime input after (google-genai, HistoryConfig). Unannounced it
        must not end so.
        """
        turns = tuple(_content(turn) for turn in history if turn.text)
        if not (turns or self._announced):
            return ()
        return (_encode(client_content=wire.ClientContent(turns=turns, turn_complete=self._announced)),)

    def audio(self, pcm: bytes | memoryview) -> bytes:
        """Encodes user audio: s16le mono PCM at the profile's input rate, any whole number of samples."""
        blob = wire.Blob(data=cast("bytes", pcm), mime_type=self._mime_type)
        return codec.encode_client(wire.ClientMessage(realtime_input=wire.RealtimeInput(audio=blob)))

    def text(self, text: UserText) -> bytes:
        """Encodes a user's turn in words, as the model's row says: on 3.x always ``realtimeInput.text``, because client
        content closes a resumed session with 1007 there (livekit/agents#5985); it is answered even if not complete.
        """
        if self._row.text == "realtime":
            return _encode(realtime_input=wire.RealtimeInput(text=text.text))
        turn = wire.Content(role="user", parts=(wire.Part(text=text.text),))
        return _encode(client_content=wire.ClientContent(turns=(turn,), turn_complete=text.turn_complete))

    def context(self, turn: Turn) -> bytes:
        """Encodes something the model should know: as an open turn, or, where only text input is allowed, as such with the
        request not to answer.
        """
        return self.told((turn,))[0]

    def told(self, turns: Sequence[Turn]) -> Sequence[bytes]:
        """Encodes turns that the application tells, in one message and in the same forms."""
        if self._row.text == "content":
            contents = tuple(map(_content, turns))
            return (_encode(client_content=wire.ClientContent(turns=contents, turn_complete=False)),)
        told = "\n".join(f'You said before: "{turn.text}"' if turn.role == "model" else turn.text for turn in turns)
        return (_encode(realtime_input=wire.RealtimeInput(text=f"{told} {_NO_ANSWER}")),)

    def tool_result(self, result: ToolResult) -> bytes:
        """Encodes the answer to a call. ``scheduling`` is left out where the model's row does not know it: it would close
        the session with 1007.
        """
        given = cast("object", result.result)
        response = wire.FunctionResponse(
            id="" if result.call_id in self._unnamed else result.call_id,
            name=result.name,
            response=dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {"output": given},
            scheduling=result.scheduling if self._row.scheduling else None,
        )
        return _encode(tool_response=wire.ToolResponse(function_responses=(response,)))

    def activity(self, mark: ActivityMark) -> bytes:
        """Encodes a mark in the user's audio."""
        match mark.mark:
            case "start":
                return _encode(realtime_input=wire.RealtimeInput(activity_start={}))
            case "end":
                return _encode(realtime_input=wire.RealtimeInput(activity_end={}))
            case "stream_end":
                return _encode(realtime_input=wire.RealtimeInput(audio_stream_end=True))

    def image(self, data: bytes, *, mime_type: str) -> bytes:
        """Encodes an image as a frame of the user's video, which is what the Live API takes: JPEG, about one a second."""
        blob = wire.Blob(data=data, mime_type=mime_type)
        return codec.encode_client(wire.ClientMessage(realtime_input=wire.RealtimeInput(video=blob)))

    # -- What the service says ------------------------------------------------------------------------------------------

    def receive(self, data: bytes | str) -> Sequence[WireEvent]:
        """Decodes one message into events, in the order in which they apply: what was said, then how the turn stands.

        Raises:
            WireError: the message is not of the protocol at all.
        """
        skipped: list[str] = []
        message = codec.decode_server(data, skipped=skipped)
        events: list[WireEvent] = []
        if message.setup_complete is not None:
            events.append(SetupDone(session_id=message.setup_complete.session_id))
        if message.voice_activity is not None or message.voice_activity_detection_signal is not None:
            events += _activities(message)
        content = message.server_content
        if content is not None:
            self._said(content, events)
        if message.tool_call is not None or message.tool_call_cancellation is not None:
            events += self._tools(message)
        if content is not None:
            _turn(content, events)
        if message.usage_metadata is not None:
            events.append(_usage(message.usage_metadata))
        if (update := message.session_resumption_update) is not None:
            events.append(_handle(update))
        if message.go_away is not None:
            events.append(GoAway(time_left=codec.seconds(message.go_away.time_left)))
        if (error := message.error) is not None:
            events.append(ProviderFault(code=error.code, reason=error.message or error.status))
        if skipped:
            events += [Skipped(what=what) for what in skipped]
        if self._plan.messages:
            events.append(ProviderMessage(data=data, platform=self._plan.platform))
        return events

    def _said(self, content: wire.ServerContent, events: list[WireEvent]) -> None:
        if (interim := content.interim_input_transcription) is not None and interim.text:
            events.append(UserTranscript(text=interim.text, interim=True))
        if (heard := content.input_transcription) is not None and (heard.text or heard.finished):
            events.append(UserTranscript(text=heard.text, finished=heard.finished))
        if content.model_turn is not None:
            for part in content.model_turn.parts:
                self._part(part, events)
        if (spoken := content.output_transcription) is not None and (spoken.text or spoken.finished):
            events.append(ModelTranscript(text=spoken.text, finished=spoken.finished))

    def _part(self, part: wire.Part, events: list[WireEvent]) -> None:
        if part.text:
            events.append(Text(text=part.text, thought=part.thought))
        if (blob := part.inline_data) is not None:
            if (rate := _rate(blob.mime_type, self._row.output_rate)) is None:
                events.append(Skipped(what=f"serverContent.modelTurn.parts.inlineData {blob.mime_type[:40]}"))
            elif pcm := blob.data if len(blob.data) % 2 == 0 else blob.data[:-1]:
                events.append(Audio(pcm, rate))
        if part.executable_code is not None or part.code_execution_result is not None:
            events.append(Skipped(what="serverContent.modelTurn.parts.executableCode"))

    def _tools(self, message: wire.ServerMessage) -> Iterator[WireEvent]:
        for call in message.tool_call.function_calls if message.tool_call is not None else ():
            call_id = call.id
            if not call_id:
                call_id = f"{call.name}-{next(_numbers)}"
                self._unnamed.add(call_id)
            yield ToolCall(call_id=call_id, name=call.name, arguments=call.args)
        if message.tool_call_cancellation is not None:
            yield ToolCallCancelled(call_ids=message.tool_call_cancellation.ids)


def _encode(**member: Any) -> bytes:
    return codec.encode_client(wire.ClientMessage(**member))


def _content(turn: Turn) -> wire.Content:
    """A turn in words. The wire has no role for what a tool was asked and answered: it is told as the user's words."""
    role = "model" if turn.role == "model" else "user"
    return wire.Content(role=role, parts=(wire.Part(text=turn.text),))


@functools.lru_cache(maxsize=64)
def _rate(mime_type: str, default: int) -> int | None:
    """Reads the sample rate of PCM audio; the default where it is not said (Vertex AI); None: it is no PCM audio."""
    kind, *parameters = (piece.strip().lower() for piece in mime_type.split(";"))
    if kind not in ("audio/pcm", "audio/l16"):
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "rate" and value.isascii() and value.isdigit() and 0 < int(value[:7]) <= 768_000:
            return int(value[:7])
    return default


def _activities(message: wire.ServerMessage) -> Iterator[WireEvent]:
    if (activity := message.voice_activity) is not None:
        offset = None if activity.audio_offset is None else codec.seconds(activity.audio_offset)
        if activity.type in ("ACTIVITY_START", "ACTIVITY_END"):
            yield UserActivity(speaking=activity.type == "ACTIVITY_START", offset=offset)
        else:
            yield Skipped(what=f"voiceActivity {activity.type[:40]}")
    if (signal := message.voice_activity_detection_signal) is not None:
        if signal.vad_signal_type in ("VAD_SIGNAL_TYPE_SOS", "VAD_SIGNAL_TYPE_EOS"):
            yield UserActivity(speaking=signal.vad_signal_type == "VAD_SIGNAL_TYPE_SOS")
        else:
            yield Skipped(what=f"voiceActivityDetectionSignal {signal.vad_signal_type[:40]}")


def _turn(content: wire.ServerContent, events: list[WireEvent]) -> None:
    if content.generation_complete:
        events.append(GenerationComplete())
    if content.interrupted:
        events.append(Interrupted())
    if content.turn_complete:
        reason = "" if content.turn_complete_reason.endswith("_UNSPECIFIED") else content.turn_complete_reason
        events.append(TurnComplete(reason=reason, more=content.interaction_status == "IN_PROGRESS"))


def _handle(update: wire.SessionResumptionUpdate) -> HandleIssued:
    index = str(update.last_consumed_client_message_index)
    return HandleIssued(
        handle=Secret(update.new_handle) if update.new_handle else None,
        resumable=update.resumable,
        consumed_index=int(index) if index.isdecimal() and len(index) < 20 else None,
    )


def _usage(usage: wire.UsageMetadata) -> Usage:
    """Gemini API and Vertex AI count the same under different names."""
    return Usage(
        input_tokens=usage.prompt_token_count,
        output_tokens=usage.response_token_count or usage.candidates_token_count,
        cached_tokens=usage.cached_content_token_count,
        thought_tokens=usage.thoughts_token_count,
        tool_tokens=usage.tool_use_prompt_token_count,
        total_tokens=usage.total_token_count,
        input_details=_by_modality(usage.prompt_tokens_details),
        output_details=_by_modality(usage.response_tokens_details or usage.candidates_tokens_details),
    )


def _by_modality(counts: Sequence[wire.ModalityCount]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for count in counts:
        sums[count.modality] = sums.get(count.modality, 0) + count.token_count
    return sums
