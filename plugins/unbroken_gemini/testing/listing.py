"""The list of models, as the Gemini API answers ``GET /v1beta/models`` (shape: simonw/llm-gemini#82). No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from unbroken.testing.faults import Close
from unbroken.testing.simulator import Answer
from unbroken_gemini.models import CATALOG
from unbroken_gemini.testing import refusals

__all__ = ["is_listing", "listing", "refusal"]

_PATH = re.compile(r"/+(v1|v1beta|v1alpha)/models")

_PAGE = 50
"""Models on a page, where the client does not say (ai.google.dev/api/models)."""

_OTHERS: Mapping[str, tuple[str, ...]] = {
    "gemini-2.5-flash": ("generateContent", "countTokens"),
    "text-embedding-004": ("embedContent",),
}
"""Models that are listed and cannot be talked to live."""


def is_listing(path: str) -> bool:
    """Says whether a request's path asks for the list of models."""
    return _PATH.fullmatch(path) is not None


def listing(query: Mapping[str, str], *, served: Collection[str], refused: Collection[str]) -> Answer:
    """Returns one page of the list.

    Args:
        query: of the request.
        served: the only models that are served; empty: those of the catalog.
        refused: models that are not served any more.
    """
    methods: dict[str, tuple[str, ...]] = dict.fromkeys(served or _live(), ("countTokens", "bidiGenerateContent"))
    methods.update({} if served else _OTHERS)
    names = [name for name in methods if name not in refused]
    try:
        size, begin = max(1, int(query.get("pageSize") or _PAGE)), int(query.get("pageToken") or 0)
    except ValueError:
        return _error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
    page: dict[str, Any] = {"models": [_model(name, methods[name]) for name in names[begin : begin + size]]}
    if begin + size < len(names):
        page["nextPageToken"] = str(begin + size)
    return Answer(body=msgspec.json.encode(page))


def refusal(close: Close) -> Answer:
    """Returns what HTTP says where the live API would say this close."""
    if close == refusals.NO_KEY:
        return _error(403, "PERMISSION_DENIED", close.reason)
    return _error(400, "INVALID_ARGUMENT", close.reason, reason="API_KEY_INVALID")


def _live() -> list[str]:
    """A model that invited projects get is in nobody else's list; what no source confirms was seen in lists."""
    rows = [row for row in CATALOG if CATALOG.verdict(row, "gemini") in ("served", "unconfirmed")]
    return [name for row in rows for name in (row.name, *row.aliases)]


def _model(name: str, methods: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "inputTokenLimit": 131_072,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": methods,
    }


def _error(status: int, code: str, message: str, *, reason: str = "") -> Answer:
    error: dict[str, Any] = {"code": status, "message": message, "status": code}
    if reason:
        detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
        error["details"] = [detail]
    return Answer(status=status, body=msgspec.json.encode({"error": error}))
