"""What the real service says when it closes a connection, word for word as `unbroken.testing.closures` has it from users."""

from __future__ import annotations

from unbroken.testing.faults import Close

__all__ = [
    "ABORTED",
    "ACROSS_MODELS",
    "BAD_ARGUMENT",
    "BAD_KEY",
    "DEADLINE",
    "EXPIRED_HANDLE",
    "INTERNAL",
    "MEDIA_CHUNKS",
    "NOT_NOW",
    "NO_KEY",
    "NO_MARKS",
    "NO_SCHEDULING",
    "SETUP_FIRST",
    "malformed",
    "not_served",
    "unknown_field",
]

ABORTED = Close(code=1008, reason="The operation was aborted.")
ACROSS_MODELS = Close(code=1007, reason="Invalid session handle")
BAD_ARGUMENT = Close(code=1007, reason="Request contains an invalid argument.")
BAD_KEY = Close(code=1007, reason="API key not valid. Please pass a valid API key.")
DEADLINE = Close(code=1011, reason="Deadline expired before operation could complete.")
EXPIRED_HANDLE = Close(code=1008, reason="BidiGenerateContent session not found")
INTERNAL = Close(code=1011, reason="Internal error encountered.")
MEDIA_CHUNKS = Close(code=1007, reason="realtime_input.media_chunks is deprecated. Use audio, video, or text instead.")
NOT_NOW = Close(code=1008, reason="Operation is not implemented, or supported, or enabled.")
NO_KEY = Close(
    code=1008,
    reason="Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other",
)
NO_MARKS = Close(
    code=1007,
    reason="Explicit activity control is not supported when automatic activity detection is enabled.",
)
NO_SCHEDULING = Close(code=1007, reason="Function response scheduling is not supported for this model")
SETUP_FIRST = Close(code=1007, reason="setup must be the first message and only the first")


def malformed(what: str) -> Close:
    """A message that cannot be read."""
    return Close(code=1007, reason=f"Invalid JSON payload received. {what}")


def unknown_field(path: str) -> Close:
    """A member that the API version does not have.

    Args:
        path: of the member ("setup.proactivity").
    """
    parent, _, name = path.rpartition(".")
    where = f" at '{parent}'" if parent else ""
    return malformed(f'Unknown name "{name}"{where}: Cannot find field.')


def not_served(model: str, *, platform: str, version: str, dialogue: bool) -> Close:
    """A model that is not served at this place.

    Args:
        model: as the setup names it, prefixes included.
        platform: "gemini" or "vertex".
        version: of the API ("v1beta").
        dialogue: it is a model of Vertex AI, only not one of the Live API.
    """
    short = model.rpartition("/")[2]
    if platform == "vertex" and dialogue:
        return Close(code=1007, reason=f"{short} is not supported in the live api.")
    if platform == "vertex":
        return Close(
            code=1008,
            reason=f"Publisher Model `{model}` was not found or your project does not have access to it.",
        )
    return Close(
        code=1008,
        reason=f"models/{short} is not found for API version {version}, or is not supported for bidiGenerateContent. "
        "Call ListModels to see the list of available models and their supported methods.",
    )
