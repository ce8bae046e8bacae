"""Targets of the Gemini provider, and what may be said of one."""

from __future__ import annotations

import hashlib
import secrets
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from unbroken.config import Secret, Target
from unbroken.errors import ConfigError, UnknownName
from unbroken_gemini.models import short

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.genai import Client
    from google.genai.types import LiveConnectConfig

__all__ = ["TOKEN_PREFIX", "Options", "options", "target"]

TOKEN_PREFIX = "auth_tokens/"
"""How an ephemeral token of the Gemini API begins; it needs another method of the service."""

_SALT = secrets.token_bytes(16)
"""Names for keys are comparable within this process, and say nothing outside it."""


class Options(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`unbroken.config.Target.options` of a Gemini target; the arguments of `target`, which documents them.

    Attributes:
        messages: of no argument; `unbroken_gemini.connection.Plan.messages`, which `unbroken_gemini.live_connect` asks for.
    """

    api_key: Secret | None = None
    token: Secret | None = None
    vertexai: bool | None = None
    project: str | None = None
    location: str | None = None
    credentials: Any = None
    base_url: str | None = None
    api_version: str | None = None
    headers: Mapping[str, str] = {}
    client: Any = None
    ssl: tls.SSLContext | None = None
    known: bool = True
    compress: bool = True
    messages: bool = False

    def __repr__(self) -> str:
        return "<Options>"


def target(
    model: str,
    *,
    config: LiveConnectConfig | Mapping[str, Any] | None = None,
    api_key: str | Secret | None = None,
    token: str | Secret | None = None,
    vertexai: bool | None = None,
    project: str | None = None,
    location: str | None = None,
    credentials: Credentials | Callable[[], Awaitable[str]] | None = None,
    base_url: str | None = None,
    api_version: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: Client | None = None,
    ssl: tls.SSLContext | None = None,
    known: bool = True,
    compress: bool = True,
    label: str | None = None,
    quota_group: str | None = None,
) -> Target:
    """Names a Live model and how to reach it. Without further arguments: the Gemini API by the environment's key.

    Args:
        model: its name, with or without "models/" and the like.
        config: google-genai's configuration for this target; None: the session's.
        api_key: of the Gemini API, or of Vertex AI's express mode; None: GOOGLE_API_KEY or GEMINI_API_KEY.
        token: an ephemeral token of the Gemini API ("auth_tokens/…").
        vertexai: Vertex AI; None: as GOOGLE_GENAI_USE_VERTEXAI says, and True with a project or location.
        project: of Vertex AI; None: GOOGLE_CLOUD_PROJECT or the credentials' own.
        location: of Vertex AI; None: GOOGLE_CLOUD_LOCATION or "global".
        credentials: google-auth's, or an async callable that is asked once per link for a key or token (with vertexai a
            bearer token); None: the key, or on Vertex AI the application default credentials.
        base_url: instead of Google's, "wss://", "https://", "ws://" or "http://"; the last two are not encrypted.
        api_version: None: GOOGLE_GENAI_API_VERSION, else v1beta (v1beta1 on Vertex AI; v1alpha with a token or proactivity).
        headers: more HTTP headers; they win over those made from the credentials.
        client: google-genai's, whose endpoint and credentials are used instead of all these.
        ssl: a TLS context; None: google-genai's own.
        known: the model has to be in the catalog, so that a typing error shows at once; False: anything goes, handled with
            the care that an unknown model needs.
        compress: ask for context compression where the config does not; False: sessions end after 15 minutes.
        label: see `unbroken.config.Target`; None: the location on Vertex AI, else nothing.
        quota_group: see `unbroken.config.Target`; None: these credentials and this model.

    Raises:
        ConfigError: two ways to be let in at once, or a token that is none.
    """
    ways = {"api_key": api_key, "token": token, "credentials": credentials, "client": client}
    if len(several := [f"{name}=" for name, way in ways.items() if way is not None]) > 1:
        raise ConfigError(f"{' and '.join(several)} exclude each other: give one")
    if token is not None and not _secret(token).reveal().startswith(TOKEN_PREFIX):
        raise ConfigError(
            "token= takes an ephemeral token of the Gemini API, which begins with 'auth_tokens/'; see api_key="
        )
    if token is not None and (vertexai or project or location):
        raise ConfigError("an ephemeral token is of the Gemini API: leave vertexai=, project= and location= out")
    given: dict[str, Any] = {
        "api_key": None if api_key is None else _secret(api_key),
        "token": None if token is None else _secret(token),
        "vertexai": True if vertexai is None and (project or location) else vertexai,
        "project": project,
        "location": location,
        "credentials": credentials,
        "base_url": base_url,
        "api_version": api_version,
        "headers": headers,
        "client": client,
        "ssl": ssl,
        "known": None if known else False,
        "compress": None if compress else False,
    }
    found = {name: value for name, value in given.items() if value is not None}
    shared = _account_name(Options(**found))
    group = f"{shared}/{short(model)}" if shared is not None and quota_group is None else quota_group
    if label is None:
        label = location or "vertex" if found.get("vertexai") else ""
    return Target(model=model, config=config, options=found, label=label, quota_group=group, credentials=shared)


def options(target: Target) -> Options:
    """Reads a target's options; keys may be given bare.

    Raises:
        UnknownName: an option that the Gemini provider does not take.
        ConfigError: a key or token that is not a text.
    """
    known = Options.__struct_fields__
    for name in target.options:
        if name not in known:
            raise UnknownName("option of the Gemini provider", name, known)
    found = dict(target.options)
    for name in ("api_key", "token"):
        if found.get(name) is not None:
            found[name] = _secret(found[name])
    return Options(**found)


def _secret(value: object) -> Secret:
    match value:
        case Secret():
            return value
        case str() if value.strip():
            return Secret(value.strip())
        case _:
            raise ConfigError(f"a key or token has to be a text that is not empty, not {type(value).__name__}")


def _account_name(options: Options) -> str | None:
    """Names the credentials, so that targets which share them are known to; None: the environment's."""
    if options.client is not None or options.credentials is not None:
        return f"gemini:{type(options.client or options.credentials).__name__}-{id(options.client or options.credentials):x}"
    if (secret := options.api_key or options.token) is not None:
        return f"gemini:key-{hashlib.blake2s(secret.reveal().encode(), key=_SALT, digest_size=4).hexdigest()}"
    if options.vertexai:
        return f"vertex:{options.project or 'default'}"
    return None
