"""The messages of the Gemini Live API as structs: what may stand in one WebSocket message, and nothing about bytes.

Names are the service's own, in snake_case here and lowerCamelCase on the wire. A member that the service leaves out, or
sends as null, has its default. Enumerations are plain strings, since new values appear without notice. Source: the Live API
reference (ai.google.dev/api/live), google-genai 3.4 (types.py, _live_converters.py) and recordings (tests/data/gemini).
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ActivityDetection",
    "Blob",
    "ClientContent",
    "ClientMessage",
    "Content",
    "ContextUpdate",
    "ContextWindowCompression",
    "Empty",
    "FunctionCall",
    "FunctionDeclaration",
    "FunctionResponse",
    "GenerationConfig",
    "GoAway",
    "HistoryConfig",
    "ModalityCount",
    "Part",
    "Proactivity",
    "RealtimeInput",
    "RealtimeInputConfig",
    "ServerContent",
    "ServerMessage",
    "SessionResumption",
    "SessionResumptionUpdate",
    "Setup",
    "SetupComplete",
    "SlidingWindow",
    "Status",
    "ThinkingConfig",
    "Tool",
    "ToolCall",
    "ToolCallCancellation",
    "ToolResponse",
    "ToolUpdate",
    "Transcription",
    "UsageMetadata",
    "VadSignal",
    "VoiceActivity",
    "Wire",
]

Free = dict[str, Any]
"""A JSON object that this package passes on without reading it."""


class Wire(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """What all messages have in common. Unknown members are refused here, so that the codec's tolerant path counts them."""


class _Hidden(Wire, frozen=True, kw_only=True):
    """A message with a secret in it, which therefore does not print its members."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Empty(Wire, frozen=True, kw_only=True):
    """An object whose presence is all that it says."""


# -- In both directions ------------------------------------------------------------------------------------------------


class Blob(Wire, frozen=True, kw_only=True):
    """Bytes with their type.

    Attributes:
        data: the bytes; on the wire base64.
        mime_type: "audio/pcm;rate=16000" (s16le mono), "image/jpeg", …. Vertex AI leaves the rate out of the model's audio.
    """

    data: bytes = b""
    mime_type: str = ""


class FunctionCall(Wire, frozen=True, kw_only=True):
    """The model asks for a function.

    Attributes:
        id: what the response has to name.
        name: the function's name.
        args: its arguments.
    """

    id: str = ""
    name: str = ""
    args: Free = {}


class FunctionResponse(Wire, frozen=True, kw_only=True):
    """The answer to a `FunctionCall`.

    Attributes:
        id: the call's id.
        name: the function's name.
        response: the answer.
        scheduling: "INTERRUPT", "WHEN_IDLE" or "SILENT", for asynchronous functions only.
        will_continue: more answers to the same call follow.
        parts: media that belong to the answer.
    """

    id: str = ""
    name: str = ""
    response: Free = {}
    scheduling: str | None = None
    will_continue: bool | None = None
    parts: tuple[Free, ...] = ()


class Part(Wire, frozen=True, kw_only=True):
    """A piece of a `Content`; one of its members holds the piece, the rest say something about it.

    Attributes:
        text: words.
        thought: the words are a summary of the model's thinking.
        inline_data: bytes, mostly audio.
        function_call: a call, in replayed history.
        function_response: its answer, in replayed history.
        thought_signature: opaque; base64 as it came.
    """

    text: str | None = None
    thought: bool = False
    inline_data: Blob | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought_signature: str | None = None
    executable_code: Free | None = None
    code_execution_result: Free | None = None
    file_data: Free | None = None
    video_metadata: Free | None = None
    media_resolution: Any = None
    part_metadata: Free | None = None
    audio_transcription: Free | None = None
    speech_metadata: Free | None = None


class Content(Wire, frozen=True, kw_only=True):
    """What one side said.

    Attributes:
        parts: its pieces.
        role: "user" or "model"; "": not said.
    """

    parts: tuple[Part, ...] = ()
    role: str = ""


# -- From the client ---------------------------------------------------------------------------------------------------


class ThinkingConfig(Wire, frozen=True, kw_only=True):
    """How much the model thinks.

    Attributes:
        thinking_level: "LOW", "HIGH", …, of the 3.x models that take one.
        thinking_budget: tokens, of the 2.5 models.
        include_thoughts: summaries of the thinking are sent.
    """

    thinking_level: str | None = None
    thinking_budget: int | None = None
    include_thoughts: bool | None = None


class GenerationConfig(Wire, frozen=True, kw_only=True):
    """How the model answers.

    Attributes:
        response_modalities: "AUDIO" or "TEXT".
    """

    response_modalities: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None
    media_resolution: str | None = None
    speech_config: Free | None = None
    thinking_config: ThinkingConfig | None = None
    enable_affective_dialog: bool | None = None
    translation_config: Free | None = None


class FunctionDeclaration(Wire, frozen=True, kw_only=True):
    """A function that the model may call.

    Attributes:
        parameters: its arguments as a schema of the OpenAPI subset, the only form that the Live API reads.
        parameters_json_schema: the same as JSON schema, which the Live API ignores without a word.
        behavior: "BLOCKING" or "NON_BLOCKING"; None: the model's default.
    """

    name: str = ""
    description: str = ""
    parameters: Free | None = None
    parameters_json_schema: Any = None
    response: Free | None = None
    response_json_schema: Any = None
    behavior: str | None = None


class Tool(Wire, frozen=True, kw_only=True):
    """Functions, or one of the service's own tools.

    Attributes:
        function_declarations: functions of the application.
    """

    function_declarations: tuple[FunctionDeclaration, ...] = ()
    google_search: Free | None = None
    google_search_retrieval: Free | None = None
    google_maps: Free | None = None
    code_execution: Free | None = None
    url_context: Free | None = None
    retrieval: Free | None = None
    enterprise_web_search: Free | None = None
    computer_use: Free | None = None
    file_search: Free | None = None


class SessionResumption(_Hidden, frozen=True, kw_only=True):
    """Asks for a resumable session.

    Attributes:
        handle: resumes this session; None: a new one.
        transparent: updates name the last client message that the handle holds (Vertex AI only).
    """

    handle: str | None = None
    transparent: bool | None = None


class SlidingWindow(Wire, frozen=True, kw_only=True):
    """The oldest turns are dropped.

    Attributes:
        target_tokens: how much is kept; None: the service's default.
    """

    target_tokens: int | None = None


class ContextWindowCompression(Wire, frozen=True, kw_only=True):
    """The context is shortened when it grows long, so that the session has no 15-minute limit.

    Attributes:
        trigger_tokens: when it is; None: the service's default.
        sliding_window: how it is.
    """

    trigger_tokens: int | None = None
    sliding_window: SlidingWindow | None = None


class ActivityDetection(Wire, frozen=True, kw_only=True):
    """The service's voice activity detection.

    Attributes:
        disabled: the client marks activity itself.
    """

    disabled: bool = False
    start_of_speech_sensitivity: str | None = None
    end_of_speech_sensitivity: str | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


class RealtimeInputConfig(Wire, frozen=True, kw_only=True):
    """How realtime input makes turns."""

    automatic_activity_detection: ActivityDetection | None = None
    activity_handling: str | None = None
    turn_coverage: str | None = None
    interim_transcript_timestamp_enabled: bool | None = None


class Proactivity(Wire, frozen=True, kw_only=True):
    """The model may stay silent, or speak unasked (API version v1alpha only on the Gemini API)."""

    proactive_audio: bool | None = None
    proactive_video: bool | None = None


class HistoryConfig(Wire, frozen=True, kw_only=True):
    """The first client content is history.

    Attributes:
        initial_history_in_client_content: the turns before the first realtime input are not answered.
    """

    initial_history_in_client_content: bool | None = None


class Setup(Wire, frozen=True, kw_only=True):
    """The first message on a connection.

    Attributes:
        model: "models/…" on the Gemini API, "[projects/…/locations/…/]publishers/google/models/…" on Vertex AI.
    """

    model: str = ""
    generation_config: GenerationConfig | None = None
    system_instruction: Content | None = None
    tools: tuple[Tool, ...] = ()
    session_resumption: SessionResumption | None = None
    context_window_compression: ContextWindowCompression | None = None
    realtime_input_config: RealtimeInputConfig | None = None
    input_audio_transcription: Free | None = None
    output_audio_transcription: Free | None = None
    proactivity: Proactivity | None = None
    explicit_vad_signal: bool | None = None
    history_config: HistoryConfig | None = None
    avatar_config: Free | None = None
    safety_settings: tuple[Free, ...] = ()
    labels: dict[str, str] | None = None


class ClientContent(Wire, frozen=True, kw_only=True):
    """Turns of the conversation.

    Attributes:
        turns: in order.
        turn_complete: the model is to answer now.
    """

    turns: tuple[Content, ...] = ()
    turn_complete: bool = False


class RealtimeInput(Wire, frozen=True, kw_only=True):
    """A piece of the user's live input; exactly one member is set.

    Attributes:
        audio: s16le mono PCM.
        video: one frame.
        text: words, as a turn.
        activity_start: the user begins to speak (activity detection is disabled).
        activity_end: the user has spoken.
        audio_stream_end: the microphone is off.
        media_chunks: deprecated; 3.x models close with 1007.
    """

    audio: Blob | None = None
    video: Blob | None = None
    text: str | None = None
    activity_start: Free | None = None
    activity_end: Free | None = None
    audio_stream_end: bool | None = None
    media_chunks: tuple[Blob, ...] = ()


class ToolResponse(Wire, frozen=True, kw_only=True):
    """Answers to function calls."""

    function_responses: tuple[FunctionResponse, ...] = ()


class ToolUpdate(Wire, frozen=True, kw_only=True):
    """Other tools from now on.

    Attributes:
        tools: all of them; none clears them.
    """

    tools: tuple[Tool, ...] = ()


class ContextUpdate(Wire, frozen=True, kw_only=True):
    """Changes the setup within the session."""

    system_instruction: Content | None = None
    tools: ToolUpdate | None = None


class ClientMessage(Wire, frozen=True, kw_only=True):
    """One message from the client; exactly one member is set."""

    setup: Setup | None = None
    client_content: ClientContent | None = None
    realtime_input: RealtimeInput | None = None
    tool_response: ToolResponse | None = None
    context_update: ContextUpdate | None = None


# -- From the service --------------------------------------------------------------------------------------------------


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


class SessionResumptionUpdate(_Hidden, frozen=True, kw_only=True):
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
