"""What Linux knows of a TCP connection's path: ``tcp_info`` (linux/tcp.h), read without waiting."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio.abc

from unbroken.core.health import PathSample

__all__ = ["RETRANSMISSION", "USER_TIMEOUT", "bound_silence", "read_path", "tcp_path"]

USER_TIMEOUT: Final = 20.0
"""Seconds for which sent data may stay unacknowledged before the kernel itself gives the connection up
(``TCP_USER_TIMEOUT``); its own default comes to a quarter of an hour. It is the net below `unbroken.core.health`, for when
nobody watches: longer than any pause that is forgiven there, and than a stalled peer is given."""

RETRANSMISSION: Final = 1.0
"""Seconds after which the kernel sends again at the latest what is not acknowledged (``TCP_RTO_MAX_MS``, Linux 6.15, which
takes no less); by itself it doubles its pauses up to two minutes. What it does not try proves nothing to
`unbroken.core.health`, and a path that comes back is of use only from the next try on."""

_TCP_RTO_MAX_MS: Final = 44
"""Of linux/tcp.h; Python has no name for it yet."""

_FIELDS: Final = struct.Struct("=BxB21xI28xI8xII24xI40xI8xI32xI32xI")
"""State, retransmits, unacked, last_ack_recv, rtt, rttvar and total_retrans, which every Linux since 2.6.10 fills; then
notsent_bytes and data_segs_out (Linux 4.6), delivered (4.18) and snd_wnd (5.4)."""

_ALWAYS: Final = 104
"""Bytes up to the first of those that an older kernel does not know."""

_UNSENT_END: Final = 148
_SENT_END: Final = 160
_DELIVERED_END: Final = 196
"""Bytes that a kernel gives at least that knows the field."""

_SIZE: Final = 256
"""As much as is asked for; the kernel gives what it has of it."""

_ESTABLISHED: Final = 1
_CLOSE_WAIT: Final = 8


def tcp_path(stream: anyio.abc.ByteStream) -> Callable[[], PathSample | None] | None:
    """Returns what reads the path below a stream, TLS included; None: there is no TCP socket of Linux below it.

    Args:
        stream: behind an HTTP proxy, the path is the one to the proxy, and what lies behind it is not seen.
    """
    raw: socket.socket | None = stream.extra(anyio.abc.SocketAttribute.raw_socket, None)
    if sys.platform != "linux" or raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    known = raw
    return lambda: read_path(known)


def read_path(raw: socket.socket) -> PathSample | None:
    """Reads the path of a connected TCP socket of Linux; takes about one microsecond.

    Returns:
        None: it is closed or closing, or the kernel gives no ``tcp_info``.
    """
    try:
        info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return None
    have = len(info)
    if have < _ALWAYS:
        return None
    # in one go: this is read twenty times a second on each link, and by then the processor has forgotten all about it
    state, tries, unacked, since_ack, rtt, rtt_var, repeated, unsent, sent, delivered, window = _FIELDS.unpack_from(
        info if have >= _FIELDS.size else info.ljust(_FIELDS.size, b"\0")
    )
    if state not in (_ESTABLISHED, _CLOSE_WAIT):
        return None
    return PathSample(
        unacked=unacked,
        since_ack=since_ack / 1e3,
        rtt=rtt / 1e6,
        rtt_var=rtt_var / 1e6,
        retransmits=tries,
        repeated=repeated,
        sent=sent if have >= _SENT_END else None,
        unsent=unsent if have >= _UNSENT_END else 0,
        full=have >= _FIELDS.size and window == 0,
        delivered=delivered if have >= _DELIVERED_END else None,
    )


def bound_silence(raw: socket.socket) -> None:
    """Sets `USER_TIMEOUT` and `RETRANSMISSION` on a TCP socket, where the platform has them."""
    if sys.platform == "linux":
        for option, seconds in ((socket.TCP_USER_TIMEOUT, USER_TIMEOUT), (_TCP_RTO_MAX_MS, RETRANSMISSION)):
            with suppress(OSError):  # the one is a net, the other a help; a kernel may not know it, a sandbox may forbid it
                raw.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
