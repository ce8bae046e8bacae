"""How Gemini Live sessions end, on the Gemini API and on Vertex AI, as rows; from what users reported until November 2026.

The service's close codes say little: 1011 is a quota, a lifetime, an overload or a real internal error, 1007 anything it did
not like. So the rows go by words first (the clear ones before the vague), then by what was in flight, then by code and
phase, and last by the gRPC status that a reason names.
"""

from __future__ import annotations

from typing import Final

from unbroken.core.classify import Rule

__all__ = ["RULES"]

_BOTH: Final = ("gemini", "vertex")
_INVALID: Final = "request contains an invalid argument"

_QUOTA: Final = (
    Rule(
        id="gemini-quota",
        platforms=_BOTH,
        words=("quota", "rate limit", "too many requests"),
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
        words=("maximum concurrent", "concurrent session", "resource_exhausted", "resource exhausted"),
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
        words=("api key not valid", "api key expired", "api_key_invalid", ("api key", "invalid")),
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
        words=("unauthenticated", "invalid authentication credential", ("token", "expired")),
        fault="auth",
        action="retry",
        because="The access token is not accepted any more, so a new one is asked for.",
        advice=(
            "Check the credentials that tokens are made from; an ephemeral token needs `uses` for every reconnect and a"
            " lifetime as long as the call."
        ),
        confidence=0.9,
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
        words=("permission_denied", "permission denied", "has not been used in project", "is disabled", "billing"),
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
            ("models/", "not found"),
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
        words=("media_chunks is deprecated", "mediachunks is deprecated"),
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
    Rule(
        id="gemini-context-words",
        platforms=_BOTH,
        words=(("token", "exceed"), ("context", "exceed"), "context window", "context length"),
        fault="context",
        because="The conversation has filled the context window of {model}.",
        advice="Leave contextWindowCompression on, or shorten the system instruction and the tools.",
        source="livekit/agents#6144",
    ),
)

_PLANNED: Final = (
    Rule(
        id="gemini-deadline",
        platforms=_BOTH,
        words=("deadline expired", "deadline_exceeded", "deadline exceeded"),
        fault="planned",
        because="The connection reached its lifetime.",
        confidence=0.9,
        source="google/adk-python#4140; kizuna-ai-lab/sokuji#179",
    ),
    Rule(
        id="gemini-aborted",
        platforms=_BOTH,
        words=("operation was aborted", "operation was cancelled", "operation was canceled"),
        fault="planned",
        because="The service ended the connection, as it does with those that have lived long enough.",
        confidence=0.9,
        source="livekit/agents-js#2366: about 2,800 in two months in one app",
    ),
    Rule(
        id="gemini-unavailable",
        platforms=_BOTH,
        words=("service is currently unavailable", "overloaded", "try again later"),
        fault="server",
        because="The service says that it is unavailable.",
        confidence=0.9,
        source="googleapis/python-genai#760",
    ),
)

_HANDLE: Final = (
    Rule(
        id="gemini-session-not-found",
        platforms=_BOTH,
        facts={"resumed": True},
        words=("session not found", "session handle", "resumption handle", ("handle", "invalid"), ("handle", "expired")),
        fault="handle",
        carry="history",
        because="The service does not know the resumption handle any more.",
        source="yeyu2/Youtube_demos#5: handles live for 2 h on the Gemini API, 24 h on Vertex AI",
    ),
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
        id="gemini-announced-end",
        platforms=_BOTH,
        phases=("live",),
        codes=(1000, 1001, 1006, 1008, 1011),
        facts={"announced": True},
        fault="planned",
        because="The connection ended as the service had announced.",
        confidence=0.9,
        source="google-genai LiveServerGoAway: ends as ABORTED",
    ),
)

_BY_CODE: Final = (
    Rule(
        id="gemini-entity-not-found",
        platforms=_BOTH,
        phases=("live",),
        words=("entity was not found", "not_found"),
        fault="server",
        because="The service lost something of the session.",
        confidence=0.7,
        source="google-gemini/deprecated-generative-ai-js#487: after a tool response, at random",
    ),
    Rule(
        id="gemini-not-implemented",
        platforms=_BOTH,
        words=(("not implemented", "supported"), "unimplemented"),
        fault="config",
        because="{model} does not support something that the session asked for.",
        advice="Take out of the setup what {model} does not have (tools, modality, voice), or use another model.",
        confidence=0.6,
        source="googleapis/js-genai#1236 without a pending call",
    ),
    Rule(
        id="gemini-precondition",
        platforms=_BOTH,
        words=("precondition check failed", "failed_precondition"),
        fault="config",
        because="Something that the service requires does not hold for this session.",
        advice="Check model, API version and setup of {model}; the service does not say more.",
        confidence=0.6,
        source="googleapis/python-genai#130",
    ),
    Rule(
        id="gemini-setup-refused",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1007,),
        fault="config",
        because="{model} refused the setup: {reason}",
        advice=(
            "Check the setup against the model's limits: search beside functions, thinking level, modality, voice, language."
        ),
        confidence=0.8,
        source="google/adk-python#225",
    ),
    Rule(
        id="gemini-message-refused",
        platforms=_BOTH,
        phases=("live",),
        codes=(1007,),
        words=(_INVALID, "invalid_argument", "invalid argument"),
        fault="config",
        because="{model} refused a message: {reason}",
        advice="Check what was sent last against the model's limits; the service does not say more.",
        confidence=0.5,
        source="livekit/agents#5985, #6144: the same text has four causes",
    ),
    Rule(
        id="gemini-policy-setup",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1008,),
        fault="model",
        because="The service refused {model} at the setup: {reason}",
        advice="Check the model's name, platform and region; gemini-3.8-live is served on the Gemini API and on Vertex AI.",
        confidence=0.5,
        source="livekit/agents#4414: most 1008 at the setup are of the model",
    ),
    Rule(
        id="gemini-internal-setup",
        platforms=_BOTH,
        phases=("setup",),
        codes=(1011,),
        words=("internal error",),
        fault="server",
        because="The service met an internal error before the session began.",
        confidence=0.5,
        source="googleapis/python-genai#985; before a first success it may also be the model",
    ),
    Rule(
        id="gemini-internal",
        platforms=_BOTH,
        codes=(1011,),
        words=("internal error",),
        fault="server",
        because="The service met an internal error.",
        confidence=0.9,
        source="googleapis/python-genai#985: 80 to 90 % of turns on one model in May 2026, its sibling clean",
    ),
)

_STATUS: Final = (
    Rule(
        id="gemini-status-unavailable",
        platforms=_BOTH,
        words=("unavailable", "internal_error", "::internal", "status: internal"),
        fault="server",
        because="The service says that it is in trouble: {reason}",
        confidence=0.7,
        source="gRPC UNAVAILABLE, INTERNAL",
    ),
    Rule(
        id="gemini-status-ended",
        platforms=_BOTH,
        words=("::aborted", "::cancelled", "status: aborted", "status: cancelled"),
        fault="planned",
        because="The service ended the connection.",
        confidence=0.6,
        source="gRPC ABORTED, CANCELLED",
    ),
    Rule(
        id="gemini-status-not-found",
        platforms=_BOTH,
        phases=("upgrade", "setup"),
        words=("not_found", "entity was not found"),
        fault="model",
        because="The service does not find something that the setup names: {reason}",
        advice="Check the model's name, platform and region; gemini-3.8-live is served on the Gemini API and on Vertex AI.",
        confidence=0.6,
        source="gRPC NOT_FOUND",
    ),
    Rule(
        id="gemini-status-invalid",
        platforms=_BOTH,
        words=("invalid_argument", "out_of_range"),
        fault="config",
        because="The service refused a message: {reason}",
        advice="Check what {model} was sent against the model's limits.",
        confidence=0.6,
        source="gRPC INVALID_ARGUMENT, OUT_OF_RANGE",
    ),
)

RULES: Final[tuple[Rule, ...]] = (
    *_QUOTA,
    *_AUTH,
    *_MODEL,
    *_CONFIG,
    *_PLANNED,
    *_HANDLE,
    *_IN_FLIGHT,
    *_BY_CODE,
    *_STATUS,
)
"""The rows of the Gemini API and of Vertex AI, in order."""
