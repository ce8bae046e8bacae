"""Who is asking: from keys, tokens, Google credentials and callables to the HTTP headers of one link."""

from __future__ import annotations

import datetime
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias, cast

import anyio.to_thread
import msgspec
from google.auth import exceptions
from google.auth.credentials import Credentials, TokenState

from unbroken.config import Secret
from unbroken.decisions import Ending
from unbroken.errors import ConfigError, DialFailed, MissingCredential
from unbroken_gemini.targets import TOKEN_PREFIX

__all__ = ["Ask", "Asked", "Bearer", "Credential", "Grant", "Key", "Nobody"]

logger = logging.getLogger("unbroken.gemini")

Ask: TypeAlias = Callable[[], Awaitable[str]]
"""Asked once per link for a key or token of the Gemini API, or a bearer token of Vertex AI."""

_AHEAD = datetime.timedelta(minutes=15)
"""How long before its expiry a token is renewed: a link lives for ten minutes or so, and the next dial is not to wait."""

_AGAIN = 60.0
"""Seconds between two renewals aside; Google's own metadata service hands out the old token until its last minutes."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class Grant(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one link shows. Never printed.

    Attributes:
        headers: HTTP headers.
        token: it is an ephemeral token, so the link goes to the constrained method.
    """

    headers: Mapping[str, str] = {}
    token: bool = False

    def __repr__(self) -> str:
        return "<Grant>"


class Credential(ABC):
    """A way to be let in."""

    @abstractmethod
    async def grant(self, *, refresh: bool) -> Grant:
        """Returns what the next link shows.

        Args:
            refresh: what was shown last was refused.

        Raises:
            ConfigError: there is nothing to show; the text says how to give it.
            DialFailed: there would be, but it could not be got now.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Key(Credential):
    """An API key, or an ephemeral token of the Gemini API.

    Args:
        secret: the key or token.
    """

    def __init__(self, secret: Secret) -> None:
        self._grant = _of_key(secret.reveal())

    async def grant(self, *, refresh: bool) -> Grant:
        """Returns the same every time: a key cannot be renewed by itself."""
        return self._grant


class Nobody(Credential):
    """A gateway that needs nothing but the application's own headers."""

    async def grant(self, *, refresh: bool) -> Grant:
        """Returns nothing."""
        return Grant()


class Asked(Credential):
    """A callable of the application, asked once per link.

    Args:
        ask: returns the key or token.
        form: "key" for API keys and ephemeral tokens, "bearer" for Vertex AI.
    """

    def __init__(self, ask: Ask, *, form: Literal["key", "bearer"]) -> None:
        self._ask = ask
        self._form = form

    async def grant(self, *, refresh: bool) -> Grant:
        """Asks."""
        try:
            secret = cast("object", await self._ask())
        except ConfigError:
            raise
        except Exception as error:  # because it is the application's code, and its failure is a failed link
            raise DialFailed(_ending("credential", f"the credentials callable raised {type(error).__name__}")) from error
        if not isinstance(secret, str) or not secret.strip():
            raise ConfigError(f"the credentials callable returned {type(secret).__name__}; expected a key or token as str")
        return _of_key(secret) if self._form == "key" else Grant(headers={"Authorization": f"Bearer {secret.strip()}"})


class Bearer(Credential):
    """Google credentials: application default, a service account, or the user's own.

    Args:
        credentials: google-auth's; None: the application default ones, looked for when first asked.
    """

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._aside: threading.Thread | None = None
        self._tried_at = -math.inf

    async def grant(self, *, refresh: bool) -> Grant:
        """Returns a bearer token. It is renewed in a worker thread, which is waited for only where the token has expired or
        was refused: while it still serves, it is renewed aside, so that no recovery waits for that."""
        credentials = self._credentials
        if refresh or credentials is None or credentials.token_state is TokenState.INVALID:
            await anyio.to_thread.run_sync(self._renew, refresh, abandon_on_cancel=True)
        elif _ageing(credentials):
            self._renew_aside()
        credentials = self._credentials
        assert credentials is not None
        headers = {"Authorization": f"Bearer {credentials.token}"}
        if credentials.quota_project_id:
            headers["x-goog-user-project"] = credentials.quota_project_id
        return Grant(headers=headers)

    def _renew_aside(self) -> None:
        now = time.monotonic()
        if (self._aside is not None and self._aside.is_alive()) or now - self._tried_at < _AGAIN:
            return
        self._tried_at = now
        self._aside = threading.Thread(target=self._try_to_renew, name="unbroken: renewing a credential", daemon=True)
        self._aside.start()

    def _try_to_renew(self) -> None:
        try:
            self._renew(force=True)
        except (ConfigError, DialFailed) as error:  # the token serves on, and who finds it expired is told
            logger.info("%s; the token of before serves on", error)

    def _renew(self, force: bool) -> None:  # noqa: FBT001 — a worker thread takes no keywords
        import google.auth
        from google.auth.transport.requests import Request

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = cast("Credentials", cast("Any", google.auth).default(scopes=_SCOPES)[0])
                if force or self._credentials.token_state is not TokenState.FRESH:
                    cast("Any", self._credentials).refresh(Request())
            except exceptions.DefaultCredentialsError:
                raise MissingCredential(
                    "no credentials for Vertex AI",
                    fix="run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or give"
                    " credentials= to unbroken_gemini.target",
                ) from None
            except exceptions.TransportError as error:
                raise DialFailed(_ending("unreachable", f"renewing the credential: {type(error).__name__}")) from error
            except exceptions.GoogleAuthError as error:
                said = str(error.args[0])[:80] if error.args else type(error).__name__
                raise DialFailed(_ending("credential", f"renewing the credential: {said}")) from error


def _ageing(credentials: Credentials) -> bool:
    """Says whether a token may expire before a link that is dialled now ends, and the next one needs it."""
    expiry = cast("datetime.datetime | None", credentials.expiry)  # in UTC, without saying so
    if credentials.token_state is not TokenState.FRESH:
        return True
    left = expiry - datetime.datetime.now(datetime.UTC).replace(tzinfo=None) if expiry is not None else _AHEAD
    return left < _AHEAD


def _of_key(secret: str) -> Grant:
    bare = secret.strip()
    if bare.startswith(TOKEN_PREFIX):
        return Grant(headers={"x-goog-api-key": bare, "Authorization": f"Token {bare}"}, token=True)
    return Grant(headers={"x-goog-api-key": bare})


def _ending(cause: Literal["credential", "unreachable"], reason: str) -> Ending:
    return Ending(cause=cause, reason=reason, sent_by_us=True)
