"""Gemini Live for unbroken: the Gemini API and Vertex AI. Importing this loads nothing of google-genai; a provider does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from unbroken.errors import MissingExtra
from unbroken_gemini.targets import target

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import ContentOrDict, LiveConnectConfig

    from unbroken import Policy, Rule, Settings
    from unbroken.abc import Observer, Transport
    from unbroken.config import Target
    from unbroken_gemini.live import LiveSession
    from unbroken_gemini.service import GeminiProvider

__all__ = ["live_connect", "provider", "target"]


def provider(target: Target, *, config: Any = None) -> GeminiProvider:
    """Builds the provider of a target; the entry point ``gemini`` of the group ``unbroken.providers``.

    Args:
        target: where to go; see `unbroken_gemini.target`.
        config: google-genai's ``LiveConnectConfig`` or its dict for targets without their own; None: defaults.

    Raises:
        MissingExtra: google-genai is not installed.
        UnknownName: the model is not in the catalog, and the target does not say ``known=False``.
        ConfigError: there are no credentials, or google-genai refuses the configuration.
    """
    _need_google_genai("the Gemini provider")
    from unbroken_gemini.service import GeminiProvider

    return GeminiProvider(target, config=config)


def live_connect(
    client: Client,
    *,
    model: str | Target | Sequence[str | Target],
    config: LiveConnectConfig | Mapping[str, Any] | None = None,
    policy: Policy | str | None = None,
    rules: str | Sequence[Rule | str] = (),
    settings: Settings | None = None,
    name: str | None = None,
    history: ContentOrDict | Sequence[ContentOrDict] | None = None,
    transport: Transport | None = None,
    observers: Sequence[Observer] = (),
    recordings: str | os.PathLike[str] | None = None,
) -> AbstractAsyncContextManager[LiveSession]:
    """Connects as ``client.aio.live.connect(model=…, config=…)`` does, to a session that outlives its connections::

        async with unbroken_gemini.live_connect(client, model="gemini-3.8-live", config=config) as session:
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "Hello!"}]})
            async for message in session.receive():
                ...

    The block begins once the first link is up. docs/google-genai.md says what survives silently and what shows. It runs on
    asyncio only, as google-genai does.

    Args:
        client: google-genai's, whose endpoint and credentials are used.
        model: its name; or a route: names of this client's models, and targets with clients, keys or configurations of
            their own (`target`), in order of preference.
        config: google-genai's configuration, for targets without their own.
        policy: see `unbroken.Runtime.open`.
        rules: see `unbroken.Runtime.open`.
        settings: see `unbroken.Runtime.open`.
        name: see `unbroken.Runtime.open`.
        history: what was said before, in words, as ``turns`` of ``send_client_content``; the model answers none of it.
        transport: see `unbroken.Runtime`.
        observers: see `unbroken.Runtime`.
        recordings: see `unbroken.Runtime`.

    Raises:
        MissingExtra: google-genai is not installed.
        ConfigError: on entering the block: the route or the configuration cannot work. It is a ValueError, too.
        SessionEscalated: on entering the block: the first link did not come up, and the policy gave up. It is google-genai's
            ``APIError``, too.
    """
    _need_google_genai("live_connect")
    from unbroken_gemini.live import connect

    return connect(
        client,
        model=model,
        config=config,
        policy=policy,
        rules=rules,
        settings=settings,
        name=name,
        history=history,
        transport=transport,
        observers=observers,
        recordings=recordings,
    )


def _need_google_genai(wanted: str) -> None:
    try:
        import google.genai as _installed
    except ModuleNotFoundError as error:
        if error.name not in ("google", "google.genai"):
            raise
        raise MissingExtra(wanted, package="google-genai", extra="gemini") from None
    del _installed
