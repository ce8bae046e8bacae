"""`wrap`: any of LiveKit's realtime models, with unbroken's supervision over them."""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from livekit.agents import llm
from livekit.agents.llm.chat_context import MetricsMetadata

from unbroken import registry
from unbroken.abc import Policy
from unbroken.config import CutReply, Settings
from unbroken.core.classify import Rule
from unbroken.core.fleet import Fleet
from unbroken.errors import ConfigError
from unbroken_livekit.log import logger
from unbroken_livekit.wrapping.capabilities import common
from unbroken_livekit.wrapping.closures import platform_of
from unbroken_livekit.wrapping.session import WrappedSession
from unbroken_livekit.wrapping.supervision import Supervision

__all__ = ["WrappedModel", "wrap"]

_PLUGINS: Final = (
    Rule(
        id="plugin-storm",
        words=("makes its connection again and again",),
        fault="hung",
        because="The wrapped plugin made its connection again and again by itself, and no reply came.",
        source="livekit-plugins-google 1.8.9: its count of retries begins anew with each message",
    ),
    Rule(
        id="plugin-connection",
        words=("connection closed unexpectedly", "connection timed out"),
        fault="network",
        because="The wrapped plugin lost its connection, or got none, and does not say how: {reason}",
        confidence=0.6,
        otherwise=("server", "unknown"),
        source="livekit-agents 1.8.9, llm/_realtime/openai.py: the close frame's code and reason are dropped",
    ),
)
"""What LiveKit's plugins say in their own words where nothing else is known."""


def wrap(
    models: Sequence[llm.RealtimeModel],
    *,
    policy: object = "default",
    rules: str | Sequence[Rule | str] = (),
    patience: float | None = None,
    on_cut_reply: CutReply | None = None,
    settings: Settings | None = None,
    fleet: Fleet | None = None,
) -> WrappedModel:
    """Puts unbroken's supervision over LiveKit's realtime models: failover, hold, and decisions that explain themselves.

    ``AgentSession(llm=wrap([google.realtime.RealtimeModel(), openai.realtime.RealtimeModel()]))``. docs/livekit-wrap.md says
    what that promises, and what it cannot.

    Args:
        models: in order of preference; they are the wrapped model's from now on, and told to fail at once
            (``conn_options`` with ``max_retry=0``) where they keep their options as LiveKit's own plugins do.
        policy: decides about each fault: an object, its class, or its registered name.
        rules: the application's rows of classification, read before all others, or names of registered sets.
        patience: seconds an outage may last before the session is given up; None: that of `settings`.
        on_cut_reply: what becomes of a reply that an outage has cut; None: that of `settings`.
        settings: the other bounds. `deadlines` (dial, setup, reply, answer), `patience`, `healthy_after`, `attempts`,
            `recoveries`, `audio_max_age`, `journal_bound`, `on_cut_reply` and `wording` are read; None: the defaults.
        fleet: what sessions know together of their targets; None: one for all sessions of this model.

    Raises:
        ConfigError: there is no model, they do not go together, or the policy is none.
    """
    changes = {"patience": patience, "on_cut_reply": on_cut_reply}
    bounds = msgspec.structs.replace(
        settings if settings is not None else Settings(),
        **{name: value for name, value in changes.items() if value is not None},
    )
    return WrappedModel(
        models, policy=registry.policy(policy), rules=registry.rules(rules), settings=bounds, fleet=fleet or Fleet()
    )


class WrappedModel(llm.RealtimeModel):
    """Several realtime models as one that survives their ends. Made by `wrap`.

    Args:
        models: in order of preference.
        policy: decides about each fault.
        rules: the application's rows.
        settings: the bounds of each session.
        fleet: what the sessions know together.

    Attributes:
        models: the wrapped models.
        names: what they are called in decisions and logs.
        settings: the bounds of each session.

    Raises:
        ConfigError: there is no model, or they do not go together.
    """

    def __init__(
        self, models: Sequence[llm.RealtimeModel], *, policy: Policy, rules: Sequence[Rule], settings: Settings, fleet: Fleet
    ) -> None:
        if not models:
            raise ConfigError("there is nothing to wrap; give at least one of LiveKit's realtime models")
        super().__init__(capabilities=common(models))
        self.models = tuple(models)
        self.names = _names(self.models)
        self.settings = settings
        self._policy = policy
        self._rules = (*rules, *_PLUGINS)
        self._fleet = fleet
        self._active = 0
        self._sessions: weakref.WeakSet[WrappedSession] = weakref.WeakSet()
        for name, model in zip(self.names, self.models, strict=True):
            if not _fails_at_once(model):
                logger.info("unbroken: %s keeps its own retries; it is taken for dead when they are over", name)

    @property
    def model(self) -> str:
        """The active model's name."""
        return self.models[self._active].model

    @property
    def provider(self) -> str:
        """The active model's provider."""
        return self.models[self._active].provider

    @property
    def metrics_metadata(self) -> MetricsMetadata:
        """The active model's."""
        return self.models[self._active].metrics_metadata

    def session(self, *, turn_detection_disabled: bool = False) -> WrappedSession:
        """Begins a session. Its first child is begun when the event loop runs next."""
        session = WrappedSession(self, turn_detection_disabled=turn_detection_disabled)
        self._sessions.add(session)
        return session

    def supervision(self) -> Supervision:
        """Makes the supervision of one session."""
        rows = registry.providers_rules()
        platforms = [platform_of(model.provider) for model in self.models]
        return Supervision(
            self.names,
            policy=self._policy,
            rules=self._rules,
            providers=[rows.get({"vertex": "gemini"}.get(platform, platform), ()) for platform in platforms],
            settings=self.settings,
            fleet=self._fleet,
        )

    def activate(self, index: int) -> None:
        """A session is served by this model from now on; `model` and `provider` name that of the last session that moved."""
        self._active = index

    def report(self, session: WrappedSession, why: str) -> None:
        """Tells LiveKit that a session is given up, which closes the `AgentSession`.

        Args:
            session: which.
            why: the story and the advice, in words.
        """
        error = llm.RealtimeError(why)
        session.emit(
            "error",
            llm.RealtimeModelError(timestamp=time.time(), label=self.label, error=error, recoverable=False),
        )

    async def aclose(self) -> None:
        """Closes all sessions and all models. Never raises."""
        for session in list(self._sessions):
            await session.aclose()
        for name, model in zip(self.names, self.models, strict=True):
            try:
                await model.aclose()
            except Exception:  # because it is a plugin's code, and one that fails must not keep the others open
                logger.exception("unbroken: %s could not be closed", name)

    def __repr__(self) -> str:
        return f"<WrappedModel of {', '.join(self.names)}>"


def _names(models: Sequence[llm.RealtimeModel]) -> tuple[str, ...]:
    """Returns a name per model: its provider and its own, with a number where that says the same of two."""
    names: list[str] = []
    for model in models:
        name = f"{model.provider}/{model.model}"
        same = sum(other.partition("@")[0] == name for other in names)
        names.append(f"{name}@{same + 1}" if same else name)
    return tuple(names)


def _fails_at_once(model: llm.RealtimeModel) -> bool:
    """Sets a model's retries to none, where it keeps its options as LiveKit's own plugins do. Returns whether it did.

    There is no public way to change them in a model that has been made; `_opts.conn_options` is that of the google and the
    openai plugin from 1.7 to 1.8.
    """
    options: Any = getattr(model, "_opts", None)
    connection: Any = getattr(options, "conn_options", None)
    if connection is None or not dataclasses.is_dataclass(connection) or isinstance(connection, type):
        return False
    try:
        options.conn_options = dataclasses.replace(connection, max_retry=0)
    except (AttributeError, TypeError):
        return False
    return True
