"""What a client says to the Gemini Live API."""

from __future__ import annotations

from typing import Any

from unbroken_gemini.wire.shared import Blob, Content, Free, FunctionResponse, Hidden, Wire

__all__ = [
    "ActivityDetection",
    "ClientContent",
    "ClientMessage",
    "ContextUpdate",
    "ContextWindowCompression",
    "FunctionDeclaration",
    "GenerationConfig",
    "HistoryConfig",
    "Proactivity",
    "RealtimeInput",
    "RealtimeInputConfig",
    "SessionResumption",
    "Setup",
    "SlidingWindow",
    "ThinkingConfig",
    "Tool",
    "ToolResponse",
    "ToolUpdate",
]


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


class SessionResumption(Hidden, frozen=True, kw_only=True):
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
