"""TLS over a byte stream, with its parts in reach: whoever owns the socket below can go on with them by itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

import anyio
import anyio.abc

from unbroken.transports.failures import BROKEN
from unbroken.transports.framing import CHUNK, reset

__all__ = ["SecureStream"]

Result = TypeVar("Result")


class SecureStream(anyio.abc.ByteStream):
    """A client's TLS connection.

    Differs from anyio's in that its state is its three public attributes and nothing else: they can be taken out of it once
    the upgrade is done, and be driven by the callbacks of an event loop. One task may receive while another sends.

    Args:
        below: what carries the records; this stream owns it.
        context: of the client.
        host: whose certificate is asked for.

    Attributes:
        below: what carries the records.
        tls: the connection's state.
        incoming: records that came and are not decrypted.
        outgoing: records to send.
    """

    def __init__(self, below: anyio.abc.ByteStream, context: ssl.SSLContext, host: str) -> None:
        self.below = below
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    @classmethod
    async def wrap(cls, stream: anyio.abc.ByteStream, context: ssl.SSLContext, host: str) -> SecureStream:
        """Does the handshake.

        Raises:
            ssl.SSLError: it failed.
            anyio.EndOfStream: the peer hung up in the midst of it.
            anyio.BrokenResourceError: the stream broke in the midst of it.
        """
        secure = cls(stream, context, host)
        try:
            await secure._until(secure.tls.do_handshake)
        except ssl.SSLError:
            with suppress(OSError, *BROKEN):
                await secure._flush()  # the alert that says to the peer why
            raise
        return secure

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        """Returns the next bytes, at least one.

        Raises:
            anyio.EndOfStream: the peer has ended the connection, with or without TLS's own farewell.
            ssl.SSLError: what came is no TLS.
        """
        data = await self._until(lambda: self.tls.read(max_bytes))
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Sends all of `item`."""
        rest = memoryview(item)
        while rest:
            rest = rest[self.tls.write(rest) :]
        await self._flush()

    async def send_eof(self) -> None:
        """Is not possible: TLS has no half close that every peer takes."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Closes what carries the records, without a farewell: WebSockets have their own."""
        await self.below.aclose()

    def abort(self) -> None:
        """Resets the connection below where it can do that."""
        reset(self.below)

    async def _until(self, step: Callable[[], Result]) -> Result:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                self.incoming.write(await self.below.receive(CHUNK))
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if self.outgoing.pending:
            await self.below.send(self.outgoing.read())

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Names what the stream below names."""
        known: Mapping[Any, Callable[[], Any]] = cast(Any, self.below).extra_attributes
        return known
