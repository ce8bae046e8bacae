"""What a link's credential is made of is not shown where a peer quotes it."""

from __future__ import annotations

import pytest

from unbroken.core.redaction import secrets_of, without

KEY = "AIzaSy-not_a/real+key"
URL = "wss://someone:pass-for-proxy@host/path?alt=sse&key=AIzaSy-not_a%2Freal%2Bkey&model=gpt-realtime-preview"
SECRETS = secrets_of(
    URL, {"Authorization": "Bearer ya29.a0-token", "X-Goog-Api-Key": KEY, "User-Agent": "unbroken/0.1", "Cookie": "id=short"}
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"API key {KEY} not valid", "API key <secret> not valid"),
        (
            f"no such URL: {URL}",
            "no such URL: wss://someone:<secret>@host/path?alt=sse&key=<secret>&model=gpt-realtime-preview",
        ),
        ("refused: Bearer ya29.a0-token, Bearer ya29.a0-token", "refused: Bearer <secret>, Bearer <secret>"),
        ("trace 4711: the key AIzaSy-not", "trace 4711: the key <secret>"),
        ("the key AIzaS", "the key AIzaS"),
        ("unbroken/0.1 is not served gpt-realtime-preview", "unbroken/0.1 is not served gpt-realtime-preview"),
    ],
)
def test_what_is_quoted_is_hidden(said: str, shown: str) -> None:
    assert without(said, SECRETS) == shown


def test_secrets_cannot_be_printed() -> None:
    assert KEY not in repr(SECRETS)


@pytest.mark.parametrize("cut", range(len("the key ") + 6, len("the key ") + len(KEY) + 1))
def test_a_reason_that_was_cut_within_a_secret_shows_none_of_it(cut: int) -> None:
    assert without(f"the key {KEY}"[:cut], SECRETS) == "the key <secret>"
