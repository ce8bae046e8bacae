"""The rows that go by the gRPC status that a reason names.

Many services are calls behind their WebSocket, Google's among them, and their reasons carry the status of that call:
``generic::unavailable: UNAVAILABLE``, ``RPC::DEADLINE_EXCEEDED``, ``code = Unavailable``, ``StatusCode.UNAVAILABLE``. Rows
for all of them, with the plain words that say the same.

Source: the statuses and what they mean, https://grpc.io/docs/guides/status-codes/
"""

from __future__ import annotations

from typing import Final

from unbroken.core.classify import NOT_LIVE, Rule

__all__ = ["CLEAR_STATUSES", "STATUSES", "UNAVAILABLE"]

_GRPC: Final = "gRPC status codes"


def _status(name: str, *more: str | tuple[str, ...]) -> tuple[str | tuple[str, ...], ...]:
    """Returns the forms in which reasons carry a status: NOT_FOUND, NotFound (as Go has it), StatusCode.NOT_FOUND.

    Args:
        name: the status.
        more: other words that say the same.
    """
    return (*dict.fromkeys((name, name.replace("_", ""), f"StatusCode.{name}")), *more)


def _named(name: str, *more: str) -> tuple[str, ...]:
    """Returns the forms of a status whose name alone is a word like others ("unknown name", "ok")."""
    return (*(f"{call} {name}" for call in ("generic", "rpc", "status", "code")), f"StatusCode.{name}", *more)


CLEAR_STATUSES: Final[tuple[Rule, ...]] = (
    Rule(
        id="grpc-resource-exhausted",
        words=_status("RESOURCE_EXHAUSTED"),
        fault="quota",
        because="Something that is shared or limited is used up: {reason}",
        advice="Ask for more quota, close sessions that are no longer used, or put a target with a quota of its own behind"
        " {model}.",
        confidence=0.9,
        otherwise=("server", "input"),
        source=_GRPC,
    ),
    Rule(
        id="grpc-unauthenticated",
        words=_status("UNAUTHENTICATED"),
        fault="auth",
        action="retry",
        because="The service does not accept the credential (any more), so a new one is asked for: {reason}",
        advice="Check the credentials that tokens for {model} are made from, and how long a token lives.",
        confidence=0.9,
        otherwise=("config",),
        source=_GRPC,
    ),
    Rule(
        id="grpc-permission-denied",
        words=_status("PERMISSION_DENIED", ("permission", "denied")),
        fault="auth",
        because="The service does not permit this with this credential: {reason}",
        advice="Give the credential of {model} the permission or role that is asked for, and enable the API in its project.",
        confidence=0.9,
        otherwise=("model",),
        source=f"{_GRPC}; a model of a limited preview is refused so as well",
    ),
)
"""The gRPC statuses that mean the same wherever they come."""

UNAVAILABLE: Final[tuple[Rule, ...]] = (
    Rule(
        id="grpc-unavailable",
        words=_status("UNAVAILABLE"),
        fault="server",
        because="The service says that it is unavailable: {reason}",
        confidence=0.9,
        otherwise=("auth", "quota"),
        source=f"{_GRPC}; googleapis/python-genai#760; a spent ephemeral token too: discuss.ai.google.dev/t/98979",
    ),
)
"""Read before a model is blamed for failing again and again."""

STATUSES: Final[tuple[Rule, ...]] = (
    Rule(
        id="grpc-resume-refused",
        phases=("setup",),
        facts={"resumed": True},
        words=(
            *_status("NOT_FOUND"),
            *_status("INVALID_ARGUMENT"),
            *_status("OUT_OF_RANGE"),
            *_status("FAILED_PRECONDITION", "precondition"),
        ),
        fault="handle",
        carry="history",
        because="The service refused to resume by this handle: {reason}",
        confidence=0.7,
        otherwise=("config", "model"),
        source=f"{_GRPC}; the same setup had been accepted when the handle was given",
    ),
    Rule(
        id="grpc-resume-while-open",
        phases=("setup",),
        facts={"resumed": True},
        words=_status("ALREADY_EXISTS", "already open", "already in use", "already connected"),
        fault="handle",
        because="The session may still be open on the connection before: {reason}",
        confidence=0.7,
        otherwise=("server",),
        source=f"{_GRPC}; aicc2025/sip-to-ai#14",
    ),
    Rule(
        id="grpc-already-exists",
        words=_status("ALREADY_EXISTS", "already open", "already in use", "already connected"),
        fault="server",
        because="Something that this session wants to make is there already: {reason}",
        confidence=0.5,
        otherwise=("config", "handle"),
        source=_GRPC,
    ),
    Rule(
        id="grpc-deadline-exceeded",
        phases=("live",),
        words=_status("DEADLINE_EXCEEDED", "deadline expired"),
        fault="planned",
        because="The call behind the connection reached its deadline, as it does at the end of a connection's life.",
        confidence=0.6,
        otherwise=("server",),
        source=f"{_GRPC}; google/adk-python#4140",
    ),
    Rule(
        id="grpc-deadline-early",
        phases=NOT_LIVE,
        words=_status("DEADLINE_EXCEEDED", "deadline expired"),
        fault="server",
        because="The service did not get ready before a deadline of its own.",
        confidence=0.7,
        otherwise=("model",),
        source=_GRPC,
    ),
    Rule(
        id="grpc-ended",
        phases=("live",),
        words=(*_status("ABORTED"), *_status("CANCELLED", "canceled")),
        fault="planned",
        because="The service ended the call behind the connection, as it does at the end of a connection's life.",
        confidence=0.6,
        otherwise=("server",),
        source=f"{_GRPC}; livekit/agents-js#2366",
    ),
    Rule(
        id="grpc-ended-early",
        phases=NOT_LIVE,
        words=(*_status("ABORTED"), *_status("CANCELLED", "canceled")),
        fault="server",
        because="The service gave the session up before it had begun.",
        confidence=0.7,
        otherwise=("config", "model"),
        source=_GRPC,
    ),
    Rule(
        id="grpc-not-found-at-setup",
        phases=("setup",),
        words=_status("NOT_FOUND"),
        fault="model",
        because="The service does not find something that the setup names: {reason}",
        advice="Check the model's name, platform and region with `unbroken doctor`, and what else the setup refers to.",
        confidence=0.6,
        otherwise=("config", "server"),
        source=_GRPC,
    ),
    Rule(
        id="grpc-not-found",
        phases=("live",),
        words=_status("NOT_FOUND"),
        fault="server",
        because="The service lost something of the session.",
        confidence=0.7,
        otherwise=("model", "config"),
        source=f"{_GRPC}; google-gemini/deprecated-generative-ai-js#487: after a tool response, at random",
    ),
    Rule(
        id="grpc-unimplemented",
        words=_status("UNIMPLEMENTED", "not implemented"),
        fault="config",
        because="{model} does not support something that the session asked for: {reason}",
        advice="Take out of the setup what {model} does not have (tools, modality, voice), or use another model.",
        confidence=0.6,
        otherwise=("input", "model"),
        source=f"{_GRPC}; googleapis/js-genai#1236",
    ),
    Rule(
        id="grpc-failed-precondition",
        words=_status("FAILED_PRECONDITION", "precondition"),
        fault="config",
        because="Something that the service requires does not hold for this session: {reason}",
        advice="Check model, API version and setup of {model}; the service does not say more.",
        confidence=0.6,
        otherwise=("auth", "model"),
        source=f"{_GRPC}; googleapis/python-genai#130",
    ),
    Rule(
        id="grpc-invalid-argument",
        words=(*_status("INVALID_ARGUMENT"), *_status("OUT_OF_RANGE")),
        fault="config",
        because="{model} refused a message: {reason}",
        advice="Check what was sent last against the limits of {model}; the service does not say more.",
        confidence=0.5,
        otherwise=("input", "context", "handle"),
        source=f"{_GRPC}; livekit/agents#5985, #6144: the same text has four causes",
    ),
    Rule(
        id="grpc-data-loss",
        words=_status("DATA_LOSS"),
        fault="server",
        because="The service lost data of its own.",
        confidence=0.9,
        otherwise=("input",),
        source=_GRPC,
    ),
    Rule(
        id="grpc-internal-at-setup",
        phases=("setup",),
        words=_named("INTERNAL", "internal error*", "internal server error*", "internalservererror", "server error"),
        fault="server",
        because="The service met an internal error before the session began.",
        confidence=0.5,
        otherwise=("model", "quota"),
        source=f"{_GRPC}; before a model's first success this is as often the model",
    ),
    Rule(
        id="grpc-internal",
        words=_named("INTERNAL", "internal error*", "internal server error*", "internalservererror", "server error"),
        fault="server",
        because="The service met an internal error.",
        confidence=0.8,
        otherwise=("model", "planned"),
        source=f"{_GRPC}; googleapis/python-genai#985: 80 to 90 % of turns on one model in May 2026, its sibling clean",
    ),
    Rule(
        id="grpc-unknown",
        words=_named("UNKNOWN", "unknown error"),
        fault="server",
        because="The service met an error that it has no name for: {reason}",
        confidence=0.5,
        otherwise=("config", "model"),
        source=f"{_GRPC}: an error of the service's own code, most often",
    ),
    Rule(
        id="grpc-ok",
        phases=("live",),
        words=_named("OK"),
        fault="planned",
        because="The call behind the connection ended in good order.",
        confidence=0.6,
        otherwise=("server",),
        source=f"{_GRPC}: OK ends a call, also one that was not asked to end",
    ),
)
"""The other gRPC statuses, with the words that say the same: what they mean depends on when they come."""
