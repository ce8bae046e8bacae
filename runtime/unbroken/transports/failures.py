"""What went wrong, as an `Ending`: from exceptions, from HTTP answers, from breaches of RFC 6455. Pure."""

from __future__ import annotations

import datetime
import email.utils
import errno
import http.client
import io
import re
import socket
import ssl
from collections.abc import Mapping

import anyio
from websockets.exceptions import PayloadTooBig

from unbroken.decisions import Cause, Ending

__all__ = ["BROKEN", "breach", "cut", "dial_failure", "http_refusal", "parse_head", "read_failure", "retry_after"]

BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a stream raises once it is of no use any more; the peer's orderly end is `anyio.EndOfStream`."""

REASON_BYTES = 123
"""What a close frame can say at most (RFC 6455, section 5.5: a control frame holds 125 bytes, 2 are the code)."""

UNREACHABLE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
)


def cut(text: str) -> str:
    """Returns as much of a text as a close frame can say, whole characters only."""
    raw = text.encode(errors="replace")
    return text if len(raw) <= REASON_BYTES else raw[:REASON_BYTES].decode(errors="ignore")


def dial_failure(error: BaseException) -> Ending:
    """Says why there is no connection.

    Args:
        error: what the name look-up, TCP, TLS or the stream below raised before there was a WebSocket.
    """
    error = _root(error)
    cause: Cause
    match error:
        case socket.gaierror() | UnicodeError():
            cause = "dns"
        case ssl.SSLError():
            cause = "tls"
        case ConnectionRefusedError():
            cause = "refused"
        case anyio.EndOfStream():
            cause = "eof"
        case OSError(errno=code) if code in UNREACHABLE:
            cause = "unreachable"
        case ConnectionError() | anyio.BrokenResourceError() | anyio.ClosedResourceError():
            cause = "reset"
        case _:
            cause = "unreachable"
    return Ending(cause=cause, reason=cut(_words(error)))


def read_failure(error: BaseException) -> Ending:
    """Says how an open connection ended without a close frame.

    Args:
        error: what the byte stream raised. The peer is known to have let go only by its FIN or its reset.
    """
    error = _root(error)
    match error:
        case anyio.EndOfStream():
            return Ending(cause="eof")
        case ssl.SSLError():
            return Ending(cause="tls", reason=cut(_words(error)), confirmed=False)
        case OSError(errno=code) if code in UNREACHABLE:
            return Ending(cause="unreachable", reason=cut(_words(error)), confirmed=False)
        case anyio.ClosedResourceError():
            return Ending(confirmed=False)
        case _:
            return Ending(cause="reset", reason=cut(_words(error)))


def breach(error: Exception) -> Ending:
    """Says how the peer broke RFC 6455, or a limit of this side.

    Args:
        error: websockets' `parser_exc`. This side has said 1002, 1007 or 1009 to the peer.
    """
    if isinstance(error, PayloadTooBig):
        return Ending(code=1009, cause="frame_too_big", reason=cut(str(error)), sent_by_us=True, confirmed=False)
    return Ending(cause="malformed", reason=cut(str(error)), sent_by_us=True, confirmed=False)


def http_refusal(status: int, phrase: str, headers: Mapping[str, str], body: bytes, *, now: float) -> Ending:
    """Says how an HTTP status refused the upgrade.

    The reason is the first line of the body, all of it in one line where it is JSON, or the status's phrase where the body
    says nothing to a person.

    Args:
        status: not 101.
        phrase: the status line's words.
        headers: of the response, names in any case.
        body: as much of it as came.
        now: wall clock, seconds since the epoch, for a ``Retry-After`` that is a date.
    """
    text = body.decode(errors="replace").strip()
    lines = [" ".join(text.split())] if text.startswith(("{", "[")) else text.split("\n", 1)
    words = lines[0].strip()
    if not words or words.startswith("<"):
        words = phrase
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    wait = None if value is None else retry_after(value, now=now)
    return Ending(http_status=status, reason=cut(words), retry_after=wait)


def retry_after(value: str, *, now: float) -> float | None:
    """Returns the seconds that a ``Retry-After`` header asks for (RFC 9110, section 10.2.3); None: it makes no sense.

    Args:
        value: seconds or an HTTP date.
        now: wall clock, seconds since the epoch.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the second for a time zone of many digits
        return None
    if date.tzinfo is None:  # RFC 9110 section 5.6.7: HTTP's dates are in UTC, also in the form that names no zone
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, date.timestamp() - now)


def parse_head(raw: bytes) -> tuple[int, str, dict[str, str], bytes] | None:
    """Takes a response apart as far as it came: status, phrase, headers, body.

    None: its head is not complete, or it is no HTTP.
    """
    head, found, body = raw.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    status = re.fullmatch(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: (.*))?", line)
    if not found or status is None:
        return None
    try:
        headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    except http.client.HTTPException:
        return None
    return int(status[1]), (status[2] or b"").decode("latin-1"), dict(headers.items()), body


def _root(error: BaseException) -> BaseException:
    """Finds the operating system's word below anyio's."""
    while isinstance(error, anyio.BrokenResourceError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error) or type(error).__name__
