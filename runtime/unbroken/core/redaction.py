"""Keeps what a link's credential is made of out of what its peer says: services and proxies quote what they refuse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from unbroken.config import Secret

__all__ = ["secrets_of", "without"]

HIDDEN: Final = "<secret>"
"""What stands in the place of a secret."""

_NAMED: Final = re.compile("auth|cookie|credential|key|passw|secret|signature|token", re.IGNORECASE)
"""How headers and parameters are named whose values are secret."""

_SHORTEST: Final = 8
"""Characters from which on a value is taken for a secret: schemes like "Bearer" are shorter."""

_BEGUN: Final = 6
"""Characters of a secret that are enough to know it where a reason was cut in its midst."""


def secrets_of(url: str, headers: Mapping[str, str]) -> tuple[Secret, ...]:
    """Returns what an endpoint's URL and headers hold that nobody must read.

    Args:
        url: with its query, and with a user and password before the host.
        headers: of the upgrade.
    """
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    pairs = [pair.partition("=") for pair in parts.query.split("&")]
    raw = [value for name, _, value in pairs if _NAMED.search(name)]
    said = [value for name, value in headers.items() if _NAMED.search(name)]
    whole = [*raw, *map(unquote, raw), *(user.partition(":")[2::2] if at else ()), " ".join(said)]
    words = {word for text in whole for word in text.split() if len(word) >= _SHORTEST}
    return tuple(Secret(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def without(text: str, secrets: Iterable[Secret]) -> str:
    """Returns what a peer said without these secrets, and without the beginning of one at its end.

    Args:
        text: of the peer; it may have been cut.
        secrets: longer ones first.
    """
    for secret in secrets:
        word = secret.reveal()
        text = text.replace(word, HIDDEN)
        for size in range(min(len(word) - 1, len(text)), _BEGUN - 1, -1):
            if text.endswith(word[:size]):
                text = text[:-size] + HIDDEN
                break
    return text
