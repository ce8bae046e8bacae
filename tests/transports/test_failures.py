from __future__ import annotations

import errno
import socket
import ssl
import time

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError

from unbroken.decisions import Ending
from unbroken.transports.failures import breach, cut, dial_failure, http_refusal, parse_head, read_failure, retry_after

NOW = 1_794_000_000.0  # Fri, 06 Nov 2026 21:20:00 GMT


def broken_by(cause: Exception) -> Exception:
    error = anyio.BrokenResourceError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(-2, "Name or service not known"), "dns"),
        (UnicodeError("label too long"), "dns"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "refused"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "unreachable"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reset"),
        (broken_by(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")), "reset"),
        (anyio.EndOfStream(), "eof"),
        (ssl.SSLError(1, "[SSL] wrong version number"), "tls"),
    ],
)
def test_a_failed_dial_has_a_cause(error: Exception, cause: str) -> None:
    ending = dial_failure(error)
    assert ending.cause == cause
    assert ending.confirmed
    assert ending.reason


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (anyio.EndOfStream(), Ending(cause="eof")),
        (anyio.ClosedResourceError(), Ending(confirmed=False)),
        (anyio.BrokenResourceError(), Ending(cause="reset", reason="BrokenResourceError")),
        (broken_by(ConnectionResetError("gone")), Ending(cause="reset", reason="gone")),
        (
            broken_by(TimeoutError(errno.ETIMEDOUT, "Connection timed out")),
            Ending(cause="unreachable", reason=f"[Errno {errno.ETIMEDOUT}] Connection timed out", confirmed=False),
        ),
        (ssl.SSLError("bad record mac"), Ending(cause="tls", reason="('bad record mac',)", confirmed=False)),
    ],
)
def test_a_lost_connection_has_a_cause(error: Exception, ending: Ending) -> None:
    assert read_failure(error) == ending


def test_a_breach_was_spoken_of_by_this_side() -> None:
    assert breach(ProtocolError("invalid opcode")) == Ending(
        cause="malformed", reason="invalid opcode", sent_by_us=True, confirmed=False
    )
    assert breach(PayloadTooBig(20, 10)) == Ending(
        code=1009,
        cause="frame_too_big",
        reason="frame with 20 bytes exceeds limit of 10 bytes",
        sent_by_us=True,
        confirmed=False,
    )


@given(st.text(max_size=200))
def test_a_reason_is_cut_at_whole_characters(text: str) -> None:
    short = cut(text)
    assert text.startswith(short)
    assert len(short.encode()) <= 123
    assert short == text or len(text[: len(short) + 1].encode()) > 123


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Fri, 06 Nov 2026 21:21:30 GMT", 90.0),
        ("Friday, 06-Nov-26 21:21:30 GMT", 90.0),
        ("Fri Nov  6 21:21:30 2026", 90.0),
        ("Fri, 06 Nov 2026 23:21:30 +0200", 90.0),
        ("Fri, 06 Nov 2026 20:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Sat, 07 Nov 2026 21:20:00 GMT", 86_400.0),
        ("999999999", 999_999_999.0),
        ("soon", None),
        ("-5", None),
        ("+5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("120, 60", None),
        ("9" * 400, None),
        ("", None),
        ("Fri, 99 Nov 2026 20:00:00 GMT", None),
        ("Fri, 06 Nov 99999 20:00:00 GMT", None),
        ("Fri, 06 Nov 2026 20:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


def test_a_date_without_a_zone_is_in_utc_wherever_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Lima")
    time.tzset()
    try:
        assert retry_after("Fri Nov  6 21:21:30 2026", now=NOW) == 90.0
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"(Fri, )?[0-9]{1,3} Nov -?[0-9]{1,6} [0-9]{2}:[0-9]{2}(:[0-9]{2})?( [+-][0-9]{1,12}| GMT)?\Z"),
    )
)
def test_no_retry_after_is_too_strange(value: str) -> None:
    wait = retry_after(value, now=NOW)
    assert wait is None or 0.0 <= wait < float("inf")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"quota exceeded\nsecond line", "quota exceeded"),
        (b"", "Too Many Requests"),
        (b"  \r\n ", "Too Many Requests"),
        (b"<!DOCTYPE html><html>", "Too Many Requests"),
        (b'{\n  "error": {\n    "code": 429 } }', '{ "error": { "code": 429 } }'),
        (b"x" * 500, "x" * 123),
        (b"\xff\xfe", "��"),
    ],
)
def test_a_refusal_says_what_the_body_says_to_a_person(body: bytes, reason: str) -> None:
    ending = http_refusal(429, "Too Many Requests", {"RETRY-after": "7"}, body, now=NOW)
    assert ending == Ending(http_status=429, reason=reason, retry_after=7.0)


def test_a_head_is_taken_apart_as_far_as_it_came() -> None:
    raw = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nX: y\r\n\r\nhalf a bo"
    assert parse_head(raw) == (503, "Service Unavailable", {"Retry-After": "5", "X": "y"}, b"half a bo")
    assert parse_head(b"HTTP/1.0 200\r\n\r\n") == (200, "", {}, b"")
    for junk in (b"", b"HTTP/1.1 503 Service", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 999 No\r\n\r\n"):
        assert parse_head(junk) is None


@given(st.binary(max_size=300))
def test_no_head_is_too_strange(raw: bytes) -> None:
    parse_head(raw)
    parse_head(b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\n")
