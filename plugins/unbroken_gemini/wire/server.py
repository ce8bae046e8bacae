"""What the Gemini Live API says to a client."""

from __future__ import annotations

from typing import Any

from unbroken_gemini.wire.shared import Content, Free, FunctionCall, Hidden, Wire

__all__ = [
    "GoAway",
    "ModalityCount",
    "ServerContent",
    "ServerMessage",
    "SessionResumptionUpdate",
    "SetupComplete",
    "Status",
    "ToolCall",
    "ToolCallCancellation",
    "Transcription",
    "UsageMetadata",
    "VadSignal",
    "VoiceActivity",
]


class SetupComplete(Wire, frozen=True, kw_only=True):
    """The setup is accepted.

    Attributes:
        session_id: the session's id (Vertex AI); "": none was given.
        voice_consent_signature: opaque.
    """

    session_id: str = ""
    voice_consent_signature: Free | None = None


class Transcription(Wire, frozen=True, kw_only=True):
    """A piece of a transcript.

    Attributes:
        text: pieces are joined without a separator.
        finished: the last piece of its turn.
        start_offset: a duration ("1.5s").
        end_offset: a duration.
    """

    text: str = ""
    finished: bool = False
    language_code: str | None = None
    speaker_label: str | None = None
    words: tuple[Free, ...] = ()
    start_offset: str | None = None
    end_offset: str | None = None


class ServerContent(Wire, frozen=True, kw_only=True):
    """What the model says and how its turn stands. Gemini 3.x sets several members in one message.

    Attributes:
        model_turn: a piece of the reply.
        generation_complete: the whole reply has been sent.
        turn_complete: the model's turn is over.
        interrupted: the user spoke; what has not been played is not to be played.
        turn_complete_reason: why, where the turn did not simply end.
        input_transcription: what the user said.
        interim_input_transcription: a guess at it, to be replaced.
        output_transcription: what the model says.
        waiting_for_input: the model has nothing to say.
        interaction_status: "IN_PROGRESS" with turn_complete: more output follows by itself; "IDLE": none does.
    """

    model_turn: Content | None = None
    generation_complete: bool = False
    turn_complete: bool = False
    interrupted: bool = False
    turn_complete_reason: str = ""
    input_transcription: Transcription | None = None
    interim_input_transcription: Transcription | None = None
    output_transcription: Transcription | None = None
    grounding_metadata: Free | None = None
    url_context_metadata: Free | None = None
    waiting_for_input: bool = False
    interaction_status: str = ""


class ToolCall(Wire, frozen=True, kw_only=True):
    """The model asks for functions."""

    function_calls: tuple[FunctionCall, ...] = ()


class ToolCallCancellation(Wire, frozen=True, kw_only=True):
    """The model no longer wants these answers."""

    ids: tuple[str, ...] = ()


class ModalityCount(Wire, frozen=True, kw_only=True):
    """Tokens of one modality.

    Attributes:
        modality: "AUDIO", "TEXT", ….
        token_count: how many.
    """

    modality: str = ""
    token_count: int = 0


class UsageMetadata(Wire, frozen=True, kw_only=True):
    """Tokens used. The reply's are ``response…`` on the Gemini API and ``candidates…`` on Vertex AI."""

    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    response_token_count: int = 0
    candidates_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    thoughts_token_count: int = 0
    total_token_count: int = 0
    prompt_tokens_details: tuple[ModalityCount, ...] = ()
    cache_tokens_details: tuple[ModalityCount, ...] = ()
    response_tokens_details: tuple[ModalityCount, ...] = ()
    candidates_tokens_details: tuple[ModalityCount, ...] = ()
    tool_use_prompt_tokens_details: tuple[ModalityCount, ...] = ()
    traffic_type: str | None = None
    service_tier: str | None = None


class GoAway(Wire, frozen=True, kw_only=True):
    """The connection is going to be ended.

    Attributes:
        time_left: a duration ("50s"); see `unbroken_gemini.codec.seconds`.
    """

    time_left: str | int | float = ""


class SessionResumptionUpdate(Hidden, frozen=True, kw_only=True):
    """The state of session resumption.

    Attributes:
        new_handle: the newest handle; "": none.
        resumable: the session can be resumed from here.
        last_consumed_client_message_index: what the handle holds (Vertex AI, transparent mode); an int64, so a string.
    """

    new_handle: str = ""
    resumable: bool = False
    last_consumed_client_message_index: int | str | None = None


class VoiceActivity(Wire, frozen=True, kw_only=True):
    """The service heard the user begin or end.

    Attributes:
        type: "ACTIVITY_START" or "ACTIVITY_END".
        audio_offset: a duration ("1.5s").
    """

    type: str = ""
    audio_offset: str | int | float | None = None


class VadSignal(Wire, frozen=True, kw_only=True):
    """The older form of `VoiceActivity`.

    Attributes:
        vad_signal_type: "VAD_SIGNAL_TYPE_SOS" or "VAD_SIGNAL_TYPE_EOS".
    """

    vad_signal_type: str = ""


class Status(Wire, frozen=True, kw_only=True):
    """An error as a message (google.rpc.Status).

    Attributes:
        code: an HTTP or gRPC status.
        message: words.
        status: its name ("RESOURCE_EXHAUSTED").
    """

    code: int | None = None
    message: str = ""
    status: str = ""
    details: tuple[Any, ...] = ()


class ServerMessage(Wire, frozen=True, kw_only=True):
    """One message from the service. Usage comes beside the content; everything else mostly alone.

    Attributes:
        error: an error object. The service also sends its members at the top level, which decode to this.
    """

    setup_complete: SetupComplete | None = None
    server_content: ServerContent | None = None
    tool_call: ToolCall | None = None
    tool_call_cancellation: ToolCallCancellation | None = None
    usage_metadata: UsageMetadata | None = None
    go_away: GoAway | None = None
    session_resumption_update: SessionResumptionUpdate | None = None
    voice_activity: VoiceActivity | None = None
    voice_activity_detection_signal: VadSignal | None = None
    error: Status | None = None
