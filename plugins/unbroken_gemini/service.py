"""One Gemini target, ready to be dialled: its endpoint, its credential and its links' conversations."""

from __future__ import annotations

import datetime
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
from google.auth.credentials import AnonymousCredentials, Credentials
from google.genai import Client, types

from unbroken.abc import Endpoint, Finding, Provider
from unbroken.config import Secret, Target
from unbroken.core.classify import Rule
from unbroken.errors import ConfigError, DialFailed
from unbroken_gemini import checks, listing, models, sdk
from unbroken_gemini.connection import GeminiConnection
from unbroken_gemini.credentials import Asked, Bearer, Credential, Key, Nobody
from unbroken_gemini.rules import RULES
from unbroken_gemini.setup import configuration, plan
from unbroken_gemini.targets import Options, options

__all__ = ["GeminiProvider"]

logger = logging.getLogger("unbroken.gemini")

_SCHEMES = {"https": "wss", "wss": "wss", "http": "ws", "ws": "ws"}

_PLACEHOLDER = "asked-for-each-link"
"""What google-genai's client gets for a key where a callable is asked; it never goes on the wire."""


class GeminiProvider(Provider):
    """One Gemini target. Building it reads the environment and may read files (application default credentials).

    Args:
        target: where to go; `unbroken_gemini.target` documents its options.
        config: google-genai's configuration for targets without their own; None: defaults.

    Attributes:
        region: of Vertex AI; None: the Gemini API, or not known.
        misfits: what in the setup the model is known to refuse or ignore, as sentences; empty: nothing.

    Raises:
        UnknownName: the model is not in the catalog, and the target does not say ``known=False``.
        ConfigError: there are no credentials, or google-genai refuses the configuration.
    """

    rules: Sequence[Rule] = RULES

    def __init__(self, target: Target, *, config: object = None) -> None:
        given = options(target)
        client = _client(given)
        account = sdk.account(client)
        platform = "vertex" if account.vertex else "gemini"
        row = models.known(target.model, platform=platform) if given.known else _row(target.model)
        settled = configuration(config if target.config is None else target.config)
        plans = plan(client, row, target.model, settled, compress=given.compress, messages=given.messages)
        self.profile = models.profile(row, platform, consumed_index=plans.consumed_index)
        if models.proactive(plans.setup):
            self.profile = msgspec.structs.replace(self.profile, may_be_silent=True)
        self.region = account.location if account.vertex else None
        self.misfits = models.misfits(row, plans.setup)
        for misfit in self.misfits:
            logger.warning(misfit)
        self._lacks = models.lacks(row, plans.setup)
        self._given, self._account = given, account
        self._plan = plans
        self._credential = _credential(given, client, account)
        session = settled.http_options if settled is not None and settled.http_options is not None else types.HttpOptions()
        self._base = session.base_url or given.base_url or account.base_url
        self._verbatim = account.verbatim
        self._version = given.api_version or session.api_version or _version(account)
        self._proactive = "proactivity" in plans.setup
        self._shared = _without_key(account.headers)
        self._own = {**(session.headers or {}), **given.headers}
        self._tls = given.ssl or account.tls
        self._url(token=False)

    def __repr__(self) -> str:
        return f"<GeminiProvider {self.profile.model} on {models.PLATFORMS[self.profile.platform]}>"

    @property
    def advice(self) -> str:
        """What to take instead where the model is not served at this place; "": it is, as far as the catalog knows."""
        return models.advice(self.profile.model, self.profile.platform, self.region)

    @property
    def unfit(self) -> str:
        """What the setup asks for that this model is known to refuse, in one sentence; "": nothing."""
        return "; ".join(self._lacks) + "." if self._lacks else ""

    @property
    def host(self) -> str:
        """The service's host: all models of the Gemini API share one, and those of one region of Vertex AI."""
        return urlsplit(self._base).netloc

    async def endpoint(self, *, refresh: bool = False) -> Endpoint:
        """Names the endpoint and asks for the credential.

        Args:
            refresh: the last credential was refused: Google credentials are renewed, a callable is asked anyway.

        Raises:
            ConfigError: there is no credential; the text says how to give one.
            DialFailed: the credential could not be got now.
        """
        grant = await self._credential.grant(refresh=refresh)
        url = self._url(token=grant.token)
        headers = _merged(self._shared, grant.headers, self._own)
        tls = self._tls if url.startswith("wss:") else None
        return Endpoint(url=url, headers=headers, ssl=tls, single_use=grant.token)

    def connection(self) -> GeminiConnection:
        """Begins the conversation of one link."""
        return GeminiConnection(self._plan)

    async def check(self, *, online: bool) -> Sequence[Finding]:
        """Looks at the credential's kind, the model's standing and the configuration, and asks which models are listed.

        Args:
            online: the Gemini API may be asked for its list.
        """
        platform, setup = self.profile.platform, self._plan.setup
        name = models.short(str(setup["model"]))
        found = [
            *checks.credential(self._given, self._account, os.environ),
            *checks.standing(name, platform, self.region, today=datetime.date.today()),
        ]
        if online and platform == "gemini" and (asking := await self._asking()) is not None:
            known = any(finding.check == "model" and finding.verdict == "problem" for finding in found)
            asked = await listing.ask(asking, name)
            # a list without a model that is known not to be served says nothing new
            found += [one for one in asked if not (known and one.check == "listed" and one.verdict != "ok")]
        return [*found, *checks.config(setup, self.misfits, compresses=self._plan.row.compression)]

    async def _asking(self) -> listing.Asking | None:
        """Says how the list of models is asked for; None: not with this credential."""
        try:
            grant = await self._credential.grant(refresh=False)
        except (ConfigError, DialFailed):
            return None  # the first link says why
        headers = _merged(self._shared, grant.headers, self._own)
        if grant.token or "x-goog-api-key" not in {name.lower() for name in headers}:
            return None
        return listing.Asking(base_url=self._base, version=self._version or "v1beta", headers=headers, tls=self._tls)

    def _url(self, *, token: bool) -> str:
        """Builds the URL with single slashes (google-genai's has two, which Google forgives and other servers do not)."""
        parts = urlsplit(self._base)
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None or not parts.netloc:
            raise ConfigError(f"the base_url {self._base!r} is no address; expected the like of 'wss://host:443'")
        path = parts.path if self._verbatim else f"{parts.path.rstrip('/')}/ws/{self._method(token=token)}"
        return urlunsplit((scheme, parts.netloc, path, parts.query, ""))

    def _method(self, *, token: bool) -> str:
        if self.profile.platform == "vertex":
            return f"google.cloud.aiplatform.{self._version or 'v1beta1'}.LlmBidiService/BidiGenerateContent"
        # proactivity is of v1alpha: v1beta closes with 1007 Unknown name "proactivity" (pydantic-ai, realtime/google.py).
        version = self._version or ("v1alpha" if token or self._proactive else "v1beta")
        method = "BidiGenerateContentConstrained" if token else "BidiGenerateContent"
        return f"google.ai.generativelanguage.{version}.GenerativeService.{method}"


def _row(model: str) -> models.GeminiRow:
    return models.CATALOG.find(models.short(model)) or models.stranger(model)


def _client(given: Options) -> Client:
    if given.client is not None:
        return cast("Client", given.client)
    vertexai = given.vertexai
    key, credentials = given.api_key or given.token, given.credentials
    if key is not None and given.token is not None:
        vertexai = False
    elif credentials is not None and not isinstance(credentials, Credentials):
        # The callable brings the real ones; the client only has to know the platform.
        vertexai = bool(vertexai)
        key, credentials = (None, _anonymous()) if vertexai else (Secret(_PLACEHOLDER), None)
    elif credentials is not None and vertexai is None:
        vertexai = True
    return sdk.client(
        vertexai=vertexai,
        api_key=None if key is None else key.reveal(),
        project=given.project,
        location=given.location,
        credentials=credentials,
        base_url=given.base_url,
    )


@functools.cache
def _anonymous() -> Credentials:
    """One object, since clients are kept by their credentials' identity."""
    return cast("Credentials", cast("Any", AnonymousCredentials)())


def _credential(given: Options, client: Client, account: sdk.Account) -> Credential:
    if given.credentials is not None and not isinstance(given.credentials, Credentials):
        return Asked(given.credentials, form="bearer" if account.vertex else "key")
    if account.verbatim:
        return Nobody()
    if account.api_key:
        return Key(Secret(account.api_key))
    return _bearer(client)


@functools.lru_cache(maxsize=64)
def _bearer(client: Client) -> Bearer:
    """One per client, so that all targets of one account share the token."""
    return Bearer(sdk.account(client).credentials)


def _version(account: sdk.Account) -> str:
    """The version that somebody asked for; "": nobody did, and google-genai's default for the Gemini API is not taken.

    It is v1 since google-genai 3.0; Google documents Live for v1beta, and nothing says that every model is on v1.
    """
    asked = account.vertex or account.version != "v1" or bool(os.environ.get("GOOGLE_GENAI_API_VERSION"))
    return account.version if asked else ""


def _without_key(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "x-goog-api-key"}


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Merges headers; the later layer wins, whatever the case of a name."""
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        for name, value in layer.items():
            merged[name.lower()] = (name, value)
    return dict(merged.values())
