"""How Gemini Live sessions end, on the Gemini API and on Vertex AI, as rows; from what users reported until November 2026.

The service's close codes say little: 1011 is a quota, a lifetime, an overload or a real internal error, 1007 anything it did
not like. So the rows go by words first (the clear ones before the vague), then by what was in flight, then by code and
phase, and last by the gRPC status that a reason names.
"""

from __future__ import annotations

from typing import Final

from unbroken.core.classify import Rule
from unbroken.core.rules import CLEAR, VAGUE

__all__ = ["RULES"]

_BOTH: Final = ("gemini", "vertex")

_QUOTA: Final = (
    Rule(
        id="gemini-quota",
        platforms=_BOTH,
        words=("quota", "quotas", "rate limit*", "too many requests"),
        fault="quota",
        because="The quota of {model} is used up.",
        advice=(
            "Ask for more quota for {model} (quotas count per model family and minute), or put a target of another family,"
            " project or provider behind it."
        ),
        source="kazunori279/interpretab#13",
    ),
    Rule(
        id="gemini-concurrent",
        platforms=_BOTH,
        words=("maximum concurrent", "concurrent session*", "RESOURCE_EXHAUSTED"),
        fault="quota",
        because="The project may not open more sessions, or use more of {model}, for now.",
        advice=(
            "Close sessions that are no longer used (leaked sockets count; Vertex AI's pay-as-you-go allows 1,000 per"
            " project), ask for more, or put a target with a quota of its own behind {model}."
        ),
        source="GoogleCloudPlatform/generative-ai#1576",
    ),
)

_AUTH: Final = (
    Rule(
        id="gemini-key-leaked",
        platforms=_BOTH,
        words=("reported as leaked",),
        fault="auth",
        because="The API key was reported as leaked and is blocked.",
        advice="Make a new API key, and keep it out of client code and repositories.",
        source="googleapis/python-genai#1710",
    ),
    Rule(
        id="gemini-key-invalid",
        platforms=_BOTH,
        words=("api key not valid", "api key expired", "API_KEY_INVALID", ("api key", "invalid")),
        fault="auth",
        because="The API key is not valid.",
        advice="Check GEMINI_API_KEY or GOOGLE_API_KEY; a key of AI Studio does not serve Vertex AI, nor the reverse.",
        source="several public clients",
    ),
    Rule(
        id="gemini-location",
        platforms=_BOTH,
        words=("location is not supported", ("user location", "not supported")),
        fault="auth",
        because="The Gemini API is not offered in the place where this machine is.",
        advice="Run from a supported country or region, or put a target on Vertex AI in a region of your own behind it.",
        source="google-gemini/cookbook#781",
    ),
    Rule(
        id="gemini-token-expired",
        platforms=_BOTH,
        words=("UNAUTHENTICATED", "invalid authentication credential*", ("token", "expired")),
        fault="auth",
        action="retry",
        because="The access token is not accepted any more, so a new one is asked for.",
        advice=(
            "Check the credentials that tokens are made from; an ephemeral token needs `uses` for every reconnect and a"
            " lifetime as long as the call."
        ),
        confidence=0.9,
        otherwise=("config",),
        source="ai.google.dev/gemini-api/docs/ephemeral-tokens; discuss.ai.google.dev/t/98979",
    ),
    Rule(
        id="vertex-unauthorized",
        platforms=("vertex",),
        http=(401,),
        fault="auth",
        action="retry",
        because="Vertex AI refused the access token, so a new one is asked for.",
        advice="Run `gcloud auth application-default login`, or check the service account.",
        source="Vertex AI takes OAuth tokens that live for an hour",
    ),
    Rule(
        id="gemini-permission",
        platforms=_BOTH,
        words=("PERMISSION_DENIED", ("permission", "denied"), "has not been used in project", "it is disabled", "billing"),
        fault="auth",
        because="The project or its credential is not permitted to use this.",
        advice="Enable the API and billing for the project, and give the credential the role that is asked for: {reason}",
        source="gRPC PERMISSION_DENIED",
    ),
)

_MODEL: Final = (
    Rule(
        id="vertex-publisher-model",
        platforms=("vertex",),
        words=("publisher model",),
        fault="model",
        because="Vertex AI does not serve {model} in this region.",
        advice=(
            "Often the region is wrong: gemini-live-2.5-flash-native-audio is served in single regions such as us-central1"
            " or europe-west4 and not in `global`. A preview may be over: then take gemini-3.8-live."
        ),
        source="google/adk-python#3314, #5506",
    ),
    Rule(
        id="vertex-not-in-live-api",
        platforms=("vertex",),
        words=("not supported in the live api", "not found for api version", "not supported for bidigeneratecontent"),
        fault="model",
        because="Vertex AI does not serve {model} in the Live API.",
        advice="Take a Live model that Vertex AI serves, such as gemini-3.8-live or gemini-live-2.5-flash-native-audio.",
        source="kazunori279/adk-streaming-test",
    ),
    Rule(
        id="gemini-model-not-found",
        platforms=("gemini",),
        words=(
            "not found for api version",
            "not supported for bidigeneratecontent",
            "not supported in the live api",
            ("models/*", "not found"),
        ),
        fault="model",
        because="The Gemini API does not serve {model} in the Live API: a wrong, retired or Vertex-only name.",
        advice=(
            "Take a Live model that the Gemini API serves, such as gemini-3.8-live. Names that begin with gemini-live- are"
            " Vertex AI's."
        ),
        source="livekit/agents#4414; google/adk-python#3964",
    ),
)

_CONFIG: Final = (
    Rule(
        id="gemini-media-chunks",
        platforms=_BOTH,
        words=("realtime_input.media_chunks is deprecated", "media_chunks is deprecated", "mediachunks is deprecated"),
        fault="input",
        action="escalate",
        because="The service no longer takes realtimeInput.mediaChunks.",
        advice="Something sends the old message: update unbroken, or whatever changes its messages on the way.",
        source="gunpal5/Google_GenerativeAI#108",
    ),
    Rule(
        id="gemini-unknown-field",
        platforms=_BOTH,
        words=("invalid json payload", "unknown name", "cannot find field"),
        fault="config",
        because="The setup has a field that this API version or model does not know: {reason}",
        advice="Leave the field out, or pin the API version that has it (proactivity: v1alpha).",
        source="pydantic-ai realtime/google.py",
    ),
    Rule(
        id="gemini-scheduling",
        platforms=_BOTH,
        words=(("scheduling", "not supported"),),
        fault="config",
        because="{model} does not take `scheduling` in function responses.",
        advice="Send tool results to {model} without `scheduling`.",
        source="pydantic-ai realtime/google.py",
    ),
)

_PLANNED: Final = (
    Rule(
        id="gemini-deadline",
        platforms=_BOTH,
        phases=("live",),
        words=("deadline expired", "DEADLINE_EXCEEDED"),
        fault="planned",
        because="The connection reached its lifetime.",
        confidence=0.9,
        otherwise=("server",),
        source="google/adk-python#4140; kizuna-ai-lab/sokuji#179",
    ),
    Rule(
        id="gemini-aborted",
        platforms=_BOTH,
        phases=("live",),
        words=("operation was aborted", "operation was cancelled", "operation was canceled"),
        fault="planned",
        because="The service ended the connection, as it does with those that have lived long enough.",
        confidence=0.9,
        otherwise=("server",),
        source="livekit/agents-js#2366: about 2,800 in two months in one app",
    ),
)

_UNSERVED: Final = (
    Rule(
        id="gemini-unserved",
        platforms=("gemini",),
        phases=("setup",),
        codes=(1007, 1008, 1011),
        facts={"unserved": True, "proven": False, "resumed": False},
        fault="model",
        because="The Gemini API does not serve {model} (a retired, wrong or Vertex-only name) and closed at the setup.",
        advice=(
            "Take a Live model that the Gemini API serves, such as gemini-3.8-live. Names that begin with gemini-live- are"
            " Vertex AI's. `unbroken doctor` checks every target of a route."
        ),
        confidence=0.9,
        otherwise=("config", "server"),
        source="models that are not served may be closed with 1011 and no word of it; livekit/agents#4414",
    ),
    Rule(
        id="vertex-unserved",
        platforms=("vertex",),
        phases=("setup",),
        codes=(1007, 1008, 1011),
        facts={"unserved": True, "proven": False, "resumed": False},
        fault="model",
        because="Vertex AI does not serve {model} in this region, or nowhere any more, and closed at the setup.",
        advice=(
            "Take a Live model that Vertex AI serves, such as gemini-3.8-live or gemini-live-2.5-flash-native-audio, in a"
            " region that has it. `unbroken doctor` checks every target of a route."
        ),
        confidence=0.9,
        otherwise=("config", "server"),
        source="google/adk-python#3314, #5506",
    ),
)

_HANDLE: Final = (
    Rule(
        id="gemini-resume-refused",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1007, 1008),
        facts={"resumed": True},
        fault="handle",
        carry="history",
        because="The service refused to resume by this handle.",
        confidence=0.8,
        otherwise=("config", "model"),
        source="discuss.ai.google.dev/t/186392",
    ),
    Rule(
        id="gemini-resume-while-open",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1011,),
        facts={"resumed": True},
        fault="handle",
        because="The service failed to resume, as it does while the old connection is still open there.",
        confidence=0.6,
        otherwise=("server", "model"),
        source="aicc2025/sip-to-ai#14",
    ),
)

_IN_FLIGHT: Final = (
    Rule(
        id="gemini-context-full",
        platforms=_BOTH,
        phases=("live",),
        codes=(1007,),
        facts={"context_full": True},
        fault="context",
        because="The conversation has filled the context window of {model}.",
        advice="Leave contextWindowCompression on, or shorten the system instruction and the tools.",
        confidence=0.8,
        otherwise=("config", "input"),
        source="livekit/agents#6144",
    ),
    Rule(
        id="gemini-reseeded",
        platforms=_BOTH,
        phases=("live",),
        codes=(1007,),
        facts={"resumed": True, "history_sent": True},
        fault="config",
        action="retry",
        carry="handle",
        because="The service takes no history on a resumed connection.",
        advice="Never send history where a handle resumes; if unbroken did, please report it.",
        confidence=0.8,
        otherwise=("input", "context"),
        source="livekit/agents#5985",
    ),
    Rule(
        id="gemini-stale-media",
        platforms=_BOTH,
        phases=("live",),
        codes=(1007,),
        facts={"resumed": True, "media_flushed": True},
        fault="input",
        drop_media=True,
        because="The service refused the audio that was replayed after the resume.",
        confidence=0.8,
        otherwise=("config", "context"),
        source="yagudaev/voiceclaw#66, #397",
    ),
    Rule(
        id="gemini-input-in-tool-call",
        platforms=_BOTH,
        codes=(1008,),
        facts={"tool_pending": True},
        words=(("not implemented", "supported"),),
        fault="input",
        drop_media=False,  # it was the moment that was wrong, not the audio: the resumed session has no pending call
        because="{model} takes no input while a tool call is pending.",
        source="googleapis/js-genai#1236; livekit/agents#4545",
    ),
    Rule(
        id="gemini-setup-refused",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1007,),
        words=("invalid argument",),
        fault="config",
        because="{model} refused the setup: {reason}",
        advice=(
            "Check the setup against the model's limits: search beside functions, thinking level, modality, voice, language."
        ),
        confidence=0.8,
        otherwise=("model", "handle"),
        source="google/adk-python#225",
    ),
)

_BY_CODE: Final = (
    Rule(
        id="gemini-policy-setup",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1008,),
        fault="model",
        because="The service refused {model} at the setup: {reason}",
        advice="Check the model's name, platform and region; gemini-3.8-live is served on the Gemini API and on Vertex AI.",
        confidence=0.5,
        otherwise=("auth", "config"),
        source="livekit/agents#4414: most 1008 at the setup are of the model",
    ),
)

RULES: Final[tuple[Rule, ...]] = (
    *_QUOTA,
    *_AUTH,
    *_MODEL,
    *_CONFIG,
    *_PLANNED,
    *CLEAR,
    *_UNSERVED,
    *_HANDLE,
    *_IN_FLIGHT,
    *VAGUE,
    *_BY_CODE,
)
"""The rows of the Gemini API and of Vertex AI, in order, with those of every service in their midst."""
