"""WebSocket frames of a client, as bytes (RFC 6455, section 5): no extensions, no I/O, no object per frame."""

from __future__ import annotations

import os
import struct
from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this machine
    from websockets.utils import apply_mask

__all__ = ["CLOSE", "PING", "PONG", "TEXT", "FrameReader", "client_frame"]

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_CONTINUATION: Final = 0x0
_KNOWN: Final = frozenset({_CONTINUATION, TEXT, 0x2, CLOSE, PING, PONG})
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL_BYTES: Final = 125

_SHORT: Final = struct.Struct("!H")
_LONG: Final = struct.Struct("!Q")
_HEAD_SHORT: Final = struct.Struct("!BBH")
_HEAD_LONG: Final = struct.Struct("!BBQ")


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Makes a frame of a whole message, with a mask that nobody can foretell (RFC 6455, section 10.3)."""
    size = len(payload)
    mask = os.urandom(4)
    if size < 126:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 65_536:
        head = _HEAD_SHORT.pack(_FIN | opcode, _MASKED | 126, size)
    else:
        head = _HEAD_LONG.pack(_FIN | opcode, _MASKED | 127, size)
    return b"".join((head, mask, apply_mask(payload, mask)))


class FrameReader:
    """Finds the messages in what a server sends, however it was cut.

    Args:
        max_message: bytes of a message, of all its fragments together.

    Attributes:
        error: how the server broke the protocol or this limit; nothing is read after it. None: it did not.
    """

    def __init__(self, *, max_message: int) -> None:
        self.error: ProtocolError | PayloadTooBig | None = None
        self._max_message = max_message
        self._rest = bytearray()
        self._awaited = 0
        self._fragments: bytearray | None = None
        self._closed = False

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Returns what is whole now: opcode and payload, with messages of data under the opcode of text whatever theirs was.

        Nothing follows a close frame. Where `error` is set, what came before it is returned.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._awaited:
                return []  # a frame that comes in many pieces is copied once
            data = bytes(self._rest)
            self._rest.clear()
        found: list[tuple[int, bytes]] = []
        at = 0
        try:
            while not self._closed and (frame := self._next(data, at)) is not None:
                first, payload, at = frame
                self._take(first, payload, found)
        except (ProtocolError, PayloadTooBig) as error:
            self.error = error
            self._closed = True
        if at < len(data) and not self._closed:
            self._rest += data[at:] if at else data
        return found

    def _next(self, data: bytes, at: int) -> tuple[int, bytes, int] | None:
        """Reads the frame at a place: its first byte, its payload, and where the next begins.

        None: it is not whole; how many bytes of it are awaited is kept. What has come of its head breaks no rule.
        """
        have = len(data) - at
        self._awaited = 2
        if have < 2:
            return None
        first = data[at]
        size = data[at + 1]
        start = at + 2
        if first & 0xF not in _KNOWN:
            raise ProtocolError("invalid opcode")
        if size & _MASKED:
            raise ProtocolError("incorrect masking")
        if first & _RESERVED:
            raise ProtocolError("reserved bits must be 0")
        if first & CLOSE:
            if size > _CONTROL_BYTES:
                raise ProtocolError("control frame too long")
            if not first & _FIN:
                raise ProtocolError("fragmented control frame")
        elif size == 126:
            self._awaited = 4
            if have < 4:
                return None
            size = _SHORT.unpack_from(data, start)[0]
            start += 2
        elif size == 127:
            self._awaited = 10
            if have < 10:
                return None
            size = _LONG.unpack_from(data, start)[0]
            start += 8
        self._check_size(first, size)
        end = start + size
        self._awaited = end - at
        return None if end > len(data) else (first, data[start:end], end)

    def _check_size(self, first: int, size: int) -> None:
        held = len(self._fragments) if self._fragments is not None else 0
        if not first & CLOSE and held + size > self._max_message:
            error = PayloadTooBig(size, self._max_message - held)
            error.set_current_size(held or None)
            raise error

    def _take(self, first: int, payload: bytes, found: list[tuple[int, bytes]]) -> None:
        opcode = first & 0xF
        if opcode & CLOSE:
            self._closed = opcode == CLOSE
            found.append((opcode, payload))
        elif opcode != _CONTINUATION:
            if self._fragments is not None:
                raise ProtocolError("expected a continuation frame")
            if first & _FIN:
                found.append((TEXT, payload))
            else:
                self._fragments = bytearray(payload)
        else:
            if self._fragments is None:
                raise ProtocolError("unexpected continuation frame")
            self._fragments += payload
            if first & _FIN:
                found.append((TEXT, bytes(self._fragments)))
                self._fragments = None
