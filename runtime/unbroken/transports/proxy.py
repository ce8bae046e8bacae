"""HTTP proxies: which one the environment names, and the way through it."""

from __future__ import annotations

import base64
import os
import sys
import urllib.parse
import urllib.request

import anyio
import anyio.abc
import msgspec

from unbroken.decisions import Ending
from unbroken.errors import DialFailed
from unbroken.transports.failures import cut, dial_failure, parse_head

__all__ = ["Proxy", "parse_proxy", "proxy_failure", "proxy_for", "tunnel"]

_VARIABLES = ("https_proxy", "http_proxy", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")

HEAD_LIMIT = 16 * 1024
"""Bytes of a proxy's answer."""


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP proxy.

    Attributes:
        secure: it is spoken to over TLS.
        host: its name.
        port: its port.
        authorization: value of ``Proxy-Authorization``; None: it asks for none.
    """

    secure: bool
    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"<Proxy {self.host}:{self.port}>"


def proxy_for(host: str, port: int, *, secure: bool) -> Proxy | None:
    """Returns the proxy that the environment names for a destination; None: the way is direct.

    Reads ``HTTPS_PROXY`` (``HTTP_PROXY`` for an unencrypted WebSocket), ``ALL_PROXY`` and ``NO_PROXY``, in either case, and
    the system's settings where Python knows them.

    Raises:
        DialFailed: the environment names a proxy that cannot be used.
    """
    if sys.platform not in ("darwin", "win32") and not any(map(os.environ.get, _VARIABLES)):
        return None  # urllib goes through the whole environment, which takes a tenth of a handshake on loopback
    if urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    known = urllib.request.getproxies()
    url = known.get("https" if secure else "http") or known.get("all")
    return parse_proxy(url) if url else None


def parse_proxy(url: str) -> Proxy:
    """Reads a proxy's URL; one without a scheme is taken for ``http://``.

    Raises:
        DialFailed: it is not the URL of an HTTP proxy.
    """
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        # The URL is not shown: it may hold a password.
        raise DialFailed(
            Ending(
                cause="proxy",
                reason=f"the environment's proxy ({parts.scheme}://…) is not usable; http://host:port would be",
            )
        )
    authorization = None
    if parts.username is not None:
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    secure = parts.scheme == "https"
    return Proxy(secure=secure, host=parts.hostname, port=port or (443 if secure else 80), authorization=authorization)


def proxy_failure(error: BaseException) -> Ending:
    """Says why there is no way through the proxy: whatever failed there is not the destination's doing."""
    failure = error.ending if isinstance(error, DialFailed) else dial_failure(error)
    if failure.cause == "proxy":
        return failure
    return Ending(cause="proxy", reason=cut(f"{failure.cause} at the proxy: {failure.reason}"))


async def tunnel(stream: anyio.abc.ByteStream, proxy: Proxy, host: str, port: int, *, user_agent: str) -> None:
    """Asks a proxy for a tunnel (RFC 9110, section 9.3.6), after which the stream leads to the destination.

    Raises:
        DialFailed: the proxy refused, or did not answer in HTTP.
    """
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}", f"User-Agent: {user_agent}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await stream.send("\r\n".join([*lines, "", ""]).encode())
    raw = b""
    while b"\r\n\r\n" not in raw and len(raw) <= HEAD_LIMIT:
        try:
            raw += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError) as error:
            raise DialFailed(Ending(cause="proxy", reason="the proxy closed the connection without an answer")) from error
    match parse_head(raw):
        case None:
            raise DialFailed(Ending(cause="proxy", reason="the proxy does not speak HTTP"))
        case (status, phrase, _, _) if status // 100 != 2:
            raise DialFailed(Ending(cause="proxy", reason=cut(f"the proxy answered {status} {phrase}")))
        case (_, _, _, b""):
            return
        case _:
            raise DialFailed(Ending(cause="proxy", reason="the proxy sent more than its answer"))
