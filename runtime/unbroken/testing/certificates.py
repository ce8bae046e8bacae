"""A certificate for the occasion: for loopback and a relay's far end, good for as long as the process, trusted by nobody."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from unbroken.errors import MissingExtra

__all__ = ["Certificate", "make"]


_FAR = "10.77.0.2"  # `unbroken.testing.relay.FAR`, whose module is of Linux only


class Certificate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Both sides of a TLS connection on loopback.

    Attributes:
        server: the server's context.
        client: a client's context, which trusts that server and nobody else.
        ca_file: the certificate authority, for clients that want a file.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    ca_file: Path

    def discard(self) -> None:
        """Removes the file."""
        self.ca_file.unlink(missing_ok=True)


def make() -> Certificate:
    """Makes a certificate.

    Raises:
        MissingExtra: the package trustme is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise MissingExtra("a simulated service over TLS", package="trustme", extra="testing") from error
    authority: Any = trustme.CA()  # its types name pyOpenSSL's, which may be missing
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", _FAR).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    with tempfile.NamedTemporaryFile(prefix="unbroken-ca-", suffix=".pem", delete=False) as file:
        file.write(authority.cert_pem.bytes())
    return Certificate(server=server, client=client, ca_file=Path(file.name))
