"""The messages of the Gemini Live API as structs: what may stand in one WebSocket message, and nothing about bytes.

Names are the service's own, in snake_case here and lowerCamelCase on the wire. A member that the service leaves out, or
sends as null, has its default. Enumerations are plain strings, since new values appear without notice. Source: the Live API
reference (ai.google.dev/api/live), google-genai 3.4 (types.py, _live_converters.py) and recordings (tests/data/gemini).
"""

from __future__ import annotations

from unbroken_gemini.wire.client import (
    ActivityDetection,
    ClientContent,
    ClientMessage,
    ContextUpdate,
    ContextWindowCompression,
    FunctionDeclaration,
    GenerationConfig,
    HistoryConfig,
    Proactivity,
    RealtimeInput,
    RealtimeInputConfig,
    SessionResumption,
    Setup,
    SlidingWindow,
    ThinkingConfig,
    Tool,
    ToolResponse,
    ToolUpdate,
)
from unbroken_gemini.wire.server import (
    GoAway,
    ModalityCount,
    ServerContent,
    ServerMessage,
    SessionResumptionUpdate,
    SetupComplete,
    Status,
    ToolCall,
    ToolCallCancellation,
    Transcription,
    UsageMetadata,
    VadSignal,
    VoiceActivity,
)
from unbroken_gemini.wire.shared import (
    Blob,
    Content,
    Empty,
    FunctionCall,
    FunctionResponse,
    Part,
    Wire,
)

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
