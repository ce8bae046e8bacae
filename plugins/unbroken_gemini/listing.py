"""Which models the Gemini API lists for a key, asked by google-genai's own client; Vertex AI's list does not tell."""

from __future__ import annotations

import email.utils
import itertools
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import anyio.to_thread
import msgspec
from google.genai import Client, errors, types

from unbroken.abc import Finding
from unbroken.core.classify import classify
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Ending
from unbroken_gemini.models import CATALOG, short
from unbroken_gemini.rules import RULES

__all__ = ["Asking", "ask"]

METHOD: Final = "bidiGenerateContent"
"""What models can do that are talked to live."""

_TIMEOUT_MS: Final = 10_000

_MOST: Final = 5_000
"""Models that are read; a service that repeats its pages must not hold a thread for ever."""

_SKEW: Final = 60.0
"""Seconds by which this machine's clock may be wrong without anybody minding."""

_HTTP: Final = {"wss": "https", "ws": "http"}


class Asking(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Whom to ask, and how. Never printed.

    Attributes:
        base_url: of the service, as links use it.
        version: of the API.
        headers: HTTP headers, the key's among them.
        tls: the TLS context; None: google-genai's own.
    """

    base_url: str
    version: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return "<Asking>"


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: each model's methods by its short name, and when the service says it is (seconds since the epoch)."""

    methods: Mapping[str, Sequence[str]]
    date: float | None


async def ask(asking: Asking, model: str) -> Sequence[Finding]:
    """Asks which models the service lists, in a worker thread, and looks a model up among them.

    Args:
        asking: whom.
        model: its name, with or without a prefix.
    """
    try:
        listed = await anyio.to_thread.run_sync(_list, asking, abandon_on_cancel=True)
    except errors.APIError as refused:
        return [_refused(refused)]
    except Exception as failed:  # because google-genai lets through whatever its HTTP client raises, and that may be any
        said = f"The list of models could not be had ({type(failed).__name__}), so it says nothing of this one."
        return [Finding(check="listed", verdict="warning", said=said, fix="See below whether links come up.")]
    return [_judged(listed.methods, short(model)), *_clock(listed.date, now=time.time())]


def _list(asking: Asking) -> _Listed:
    parts = urlsplit(asking.base_url)
    headers = {name: value for name, value in asking.headers.items() if name.lower() != "x-goog-api-key"}
    key = next(value for name, value in asking.headers.items() if name.lower() == "x-goog-api-key")
    verify: dict[str, Any] = {} if asking.tls is None else {"verify": asking.tls}
    options = types.HttpOptions(
        base_url=urlunsplit(parts._replace(scheme=_HTTP.get(parts.scheme, parts.scheme))),
        api_version=asking.version,
        headers=headers,
        timeout=_TIMEOUT_MS,
        client_args=verify,
        async_client_args=verify,
    )
    client = Client(vertexai=False, api_key=key, http_options=options)
    try:
        pages = client.models.list(config={"page_size": 1000})
        answer = pages.sdk_http_response
        date = next((v for n, v in ((answer.headers if answer else None) or {}).items() if n.lower() == "date"), "")
        methods = {short(model.name or ""): tuple(model.supported_actions or ()) for model in itertools.islice(pages, _MOST)}
        return _Listed(methods=methods, date=_seconds(date))
    finally:
        client.close()


def _seconds(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _refused(refused: errors.APIError) -> Finding:
    """The same rows that say what the end of a link means say what this means."""
    ending = Ending(http_status=refused.code, reason=str(refused.message or refused.status or ""))
    fault = classify(Closure(platform="gemini", phase="upgrade", ending=ending), in_order(RULES))
    if fault.kind == "auth":
        said = f"{fault.because} The list of models was refused with HTTP {refused.code}."
        return Finding(check="credential", verdict="problem", said=said, fix=fault.advice)
    said = f"The list of models was refused with HTTP {refused.code}: {fault.because}"
    return Finding(check="listed", verdict="warning", said=said, fix=fault.advice or "Ask again later.")


def _judged(methods: Mapping[str, Sequence[str]], name: str) -> Finding:
    row = CATALOG.find(name)
    names = {name} if row is None else {name, row.name, *row.aliases}
    mine = names & methods.keys()
    if any(METHOD in methods[one] for one in mine):
        return Finding(check="listed", said=f"The Gemini API lists it for this key, with {METHOD}.")
    live = [other.name for other in CATALOG if other.purpose == "dialogue" and METHOD in methods.get(other.name, ())]
    fix = f"Use {live[0]}, which it lists." if live else "Look at the key's project: it lists no Live model that is known."
    if mine:
        said = f"The Gemini API lists {name} without {METHOD}: it cannot be talked to live."
        return Finding(check="listed", verdict="problem", said=said, fix=fix)
    return Finding(check="listed", verdict="warning", said=f"The Gemini API does not list {name} for this key.", fix=fix)


def _clock(date: float | None, *, now: float) -> Sequence[Finding]:
    if date is None or abs(date - now) < _SKEW:
        return []
    which = "behind" if date > now else "ahead of"
    return [
        Finding(
            check="clock",
            verdict="warning",
            said=f"This machine's clock is {abs(date - now) / 60:.0f} minutes {which} the service's.",
            fix="Set it, by NTP for example: tokens and certificates are checked against it.",
        )
    ]
