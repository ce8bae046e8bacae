"""How a live session is opened and closed: the route from google-genai's client, and the task that carries the session."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import anyio
import msgspec
from google.genai import Client, types

import unbroken
from unbroken.abc import Observer, Transport
from unbroken.config import Target
from unbroken.errors import ConfigError
from unbroken.transports.websocket import WebSocketTransport
from unbroken_gemini import sdk
from unbroken_gemini.live import said
from unbroken_gemini.live.errors import LiveRefused
from unbroken_gemini.live.session import LiveSession, Watch
from unbroken_gemini.live.shown import Shown
from unbroken_gemini.setup import configuration
from unbroken_gemini.targets import target

__all__ = ["connect"]

_CLOSING = 3.0
"""Seconds beyond the closing handshake's deadline in which a runtime has ended."""


@contextlib.asynccontextmanager
async def connect(
    client: Client,
    *,
    model: str | Target | Sequence[str | Target],
    config: types.LiveConnectConfig | Mapping[str, Any] | None = None,
    policy: unbroken.Policy | str | None = None,
    rules: str | Sequence[unbroken.Rule | str] = (),
    settings: unbroken.Settings | None = None,
    name: str | None = None,
    history: Any = None,
    transport: Transport | None = None,
    observers: Sequence[Observer] = (),
    recordings: str | os.PathLike[str] | None = None,
) -> AsyncGenerator[LiveSession]:
    """Connects; see `unbroken_gemini.live_connect`, which is this without loading google-genai first."""
    settings = settings if settings is not None else unbroken.Settings()
    watch = Watch()
    try:
        read = configuration(config) or types.LiveConnectConfig()
        sdk.check_http_options(client, read)
        route, plain = _route(client, model), await sdk.with_tools_of_servers(client, _plain(read) or read)
        if transport is None and not sdk.proxied(client):
            transport = WebSocketTransport(proxy=False)
        below = unbroken.connect(
            route,
            config=plain,
            policy=policy,
            rules=rules,
            settings=settings,
            name=name,
            transport=transport,
            observers=[watch, *observers],
            recordings=recordings,
            history=said.history(sdk.client_content(history, turn_complete=False)),
        )
        carrier = _Carrier(below, patience=settings.deadlines.close + _CLOSING)
        session = await carrier.start()
    except ConfigError as refused:
        raise LiveRefused(str(refused)) from refused
    try:
        shown = Shown(on_cut_reply=settings.on_cut_reply, handles=read.session_resumption is not None)
        own = {one.name: one.config for one in route if one.config is not None}
        live = LiveSession(
            session,
            client=client,
            config=plain,
            own=own,
            shown=shown,
            watch=watch,
            seeds=_seeds(read),
            patience=settings.deadlines.answer,
        )
        await live.begin()
        try:
            yield live
        finally:
            live.ended()
    finally:
        await carrier.stop()


class _Carrier:
    """Holds the session's runtime in a task of its own, so that the block may be entered and left by different tasks, as
    google-genai's may, and its cancellations stay the application's.

    Args:
        below: the session's own context.
        patience: seconds that closing may take; the runtime bounds it, too.
    """

    def __init__(self, below: contextlib.AbstractAsyncContextManager[unbroken.Session], *, patience: float) -> None:
        self._below = below
        self._patience = patience
        self._over = asyncio.Event()
        self._started: asyncio.Future[unbroken.Session] = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(), name="unbroken live")

    async def start(self) -> unbroken.Session:
        """Returns the session, once it is open."""
        try:
            return await asyncio.shield(self._started)
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Closes the session, and waits until nothing of it runs. Cancelled meanwhile, it goes on closing by itself."""
        self._over.set()
        with anyio.move_on_after(self._patience, shield=True):
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            async with self._below as session:
                self._started.set_result(session)
                await self._over.wait()
        except Exception as failed:  # because whoever opens the session has to hear of it, and nobody awaits this task
            if self._started.done():
                raise
            self._started.set_exception(failed)


def _route(client: Client, model: str | Target | Sequence[str | Target]) -> list[Target]:
    """Returns the targets of a route, each told to show its messages."""
    parts = [model] if isinstance(model, str | Target) else [*model]
    route = [target(part, client=client, known=False) if isinstance(part, str) else part for part in parts]
    if foreign := [one.name for one in route if one.provider != "gemini"]:
        raise ConfigError(
            f"{', '.join(foreign)}: live_connect gives google-genai's messages, which only Gemini's targets send"
        )
    return [
        msgspec.structs.replace(one, config=_plain(configuration(one.config)), options={**one.options, "messages": True})
        for one in route
    ]


def _plain(config: types.LiveConnectConfig | None) -> types.LiveConnectConfig | None:
    """Returns a configuration as a session takes it, which announces histories itself."""
    return None if config is None else config.model_copy(update={"history_config": None})


def _seeds(config: types.LiveConnectConfig) -> bool:
    """Says whether the first content is a history, which the model does not answer."""
    return bool(config.history_config and config.history_config.initial_history_in_client_content)
