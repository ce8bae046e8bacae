"""How a child session ended, as far as its error tells it: LiveKit's errors as closures that rules can read."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final, cast

import aiohttp

from unbroken.decisions import Cause, Closure, Ending, Facts, Phase
from unbroken.transports.failures import UNREACHABLE, dial_failure, retry_after

__all__ = ["closure_of", "platform_of"]

_PLATFORMS: Final = {"gemini": "gemini", "vertex ai": "vertex", "api.openai.com": "openai", "openai": "openai"}
"""What LiveKit's plugins call their provider, in small letters, and the name that rules know it by."""

_CHAIN: Final = 8
"""Errors of a chain that are looked at."""


def platform_of(provider: str) -> str:
    """Returns the platform whose rules are read; "any": none is known for this provider.

    Args:
        provider: what the model says of itself (`RealtimeModel.provider`).
    """
    return _PLATFORMS.get(provider.lower(), "any")


def closure_of(
    error: BaseException | None,
    *,
    cause: Cause | None = None,
    phase: Phase,
    platform: str,
    model: str,
    age: float,
    facts: Facts,
) -> Closure:
    """Returns how a child session ended.

    What the error says of codes and statuses goes before what it says in words, and an error that it was raised from
    before itself: plugins hide what happened behind words of their own.

    Args:
        error: what the child said; None: nothing, this side ended it.
        cause: what this side ended it for; None: it ended by itself.
        phase: "setup" before the child was known to be connected, else "live".
        platform: from `platform_of`.
        model: the model's name.
        age: seconds since it was begun.
        facts: what else is known of it.
    """
    ending = Ending(cause=cause, sent_by_us=True, confirmed=False) if cause is not None else _ending(error)
    if ending.cause in ("dns", "refused", "unreachable", "tls", "dial_deadline"):
        phase = "tls" if ending.cause == "tls" else "dial"
    elif ending.http_status is not None and phase == "setup":
        phase = "upgrade"
    return Closure(platform=platform, phase=phase, ending=ending, facts=facts, model=model, age=age)


def _ending(error: BaseException | None) -> Ending:
    chain = list(_chain(error))
    words = next((text for one in chain if (text := _words(one))), "")
    for one in chain:
        status, code = _numbers(one)
        if status is not None or code is not None:
            return Ending(http_status=status, code=code, reason=words, retry_after=_retry_after(one))
    for one in chain:
        if (cause := _cause(one)) is not None:
            return Ending(cause=cause, reason=words, confirmed=cause != "dial_deadline")
    return Ending(reason=words)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The errors that an error was raised from, the first one that happened first."""
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < _CHAIN:
        found.append(error)
        error = error.__cause__ or getattr(error, "os_error", None)
    return reversed(found)


def _words(error: BaseException) -> str:
    """What the peer said: an error event's code and message, or the error's own text."""
    body = getattr(error, "body", None)
    said = [str(value) for name in ("code", "type", "message") if (value := _of(body, name))]
    text = getattr(error, "reason", None) or getattr(error, "message", None) or str(error)
    return " ".join([*said, str(text)]) if said else str(text)


def _of(body: object, name: str) -> Any:
    return cast("dict[str, Any]", body).get(name) if isinstance(body, dict) else getattr(body, name, None)


def _numbers(error: BaseException) -> tuple[int | None, int | None]:
    """Returns an HTTP status and a close code, where the error has one of them.

    google-genai's errors hold both kinds in ``code``: statuses are below 1000, close codes from 1000 on (RFC 6455 section
    7.4). A close without a close frame is 1006 there, which is none that a peer can send.
    """
    received = getattr(error, "rcvd", None)
    for value in (
        getattr(error, "status_code", None),
        getattr(error, "status", None),
        getattr(getattr(error, "response", None), "status_code", None),
        getattr(received, "code", None),
        getattr(error, "code", None),
    ):
        if isinstance(value, int) and 400 <= value < 600:
            return value, None
        if isinstance(value, int) and 1000 <= value < 5000 and value != 1006:
            return None, value
    return None, None


def _retry_after(error: BaseException) -> float | None:
    """Returns the seconds that a refusal asks to wait; None: it does not ask."""
    headers: Any = getattr(getattr(error, "response", error), "headers", None)
    said = headers.get("Retry-After") if headers else None
    return retry_after(said, now=time.time()) if isinstance(said, str) else None


def _cause(error: BaseException) -> Cause | None:
    if getattr(error, "code", None) == 1006:
        return "eof"
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case TimeoutError():
            return "dial_deadline"
        case ConnectionError() | socket.gaierror() | ssl.SSLError():
            return dial_failure(error).cause
        case OSError(errno=number) if number in UNREACHABLE:
            return "unreachable"
        case _:
            return None
