"""From the arguments of LiveKit's google model to unbroken's: a route, and google-genai's configuration as a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from livekit.agents import NotGivenOr, llm

import unbroken
from unbroken.config import Route, targets_of
from unbroken_livekit import tools
from unbroken_livekit.log import logger

__all__ = ["MODEL", "given", "route", "session_config", "socket_options"]

MODEL = "gemini-3.8-live"
"""The model where none is named: the one that is stable on both platforms. (livekit-plugins-google 1.8 takes the 2.5 preview
of December 2025 on the Gemini API.)"""


def given(**arguments: NotGivenOr[Any]) -> dict[str, Any]:
    """Returns the arguments that were given, those that are None left out."""
    return {name: value for name, value in arguments.items() if _is_given(value)}


def _is_given(value: object) -> bool:
    # livekit's NOT_GIVEN is false, as are an empty list and 0, which count as given
    return value is not None and type(value).__name__ != "NotGiven"


def route(model: Route | None, fallbacks: Sequence[unbroken.Target | str], *, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the targets of a session, the preferred one first.

    Args:
        model: a model's name, ``provider/model``, a target, or several of these; None: `MODEL`.
        fallbacks: where else the session may go.
        options: how the models that are only named are reached (`unbroken.Target.options`).

    Raises:
        ConfigError: there is none, or one is named twice.
    """
    first: tuple[unbroken.Target | str, ...]
    if model is None:
        first = (MODEL,)
    else:
        first = (model,) if isinstance(model, unbroken.Target | str) else tuple(model)
    return targets_of([_target(one, options) for one in (*first, *fallbacks)])


def _target(one: unbroken.Target | str, options: Mapping[str, Any]) -> unbroken.Target:
    if isinstance(one, unbroken.Target):
        return one
    parsed = unbroken.Target.parse(one.removeprefix("models/"))
    label = (options.get("location") or "vertex") if options.get("vertexai") else ""
    return unbroken.Target(model=parsed.model, provider=parsed.provider, options=options, label=label)


def socket_options(http: object) -> dict[str, Any]:
    """Returns what google-genai's ``HttpOptions`` say of the endpoint, as a target's options.

    Timeouts and retries are the session's own business (`unbroken.Deadlines`, the policy); what else is given is named in a
    warning.
    """
    if http is None:
        return {}
    values: dict[str, Any] = (
        dict(cast("Mapping[str, Any]", http))
        if isinstance(http, Mapping)
        else {name: getattr(http, name, None) for name in type(http).model_fields}  # type: ignore[attr-defined]
    )
    found = {name: values.pop(name, None) for name in ("base_url", "api_version", "headers")}
    arguments = dict(values.pop("async_client_args", None) or {})
    found["ssl"] = arguments.pop("ssl", None)
    if left := sorted(name for name, value in {**values, **arguments}.items() if value is not None):
        logger.warning("http_options: %s is not used; see docs/livekit-parameters.md", ", ".join(left))
    return {name: value for name, value in found.items() if value}


def session_config(
    base: Mapping[str, Any], *, instructions: str | None, context: llm.ToolContext, behavior: str | None, manual: bool
) -> dict[str, Any]:
    """Returns the configuration of a session: google-genai's ``LiveConnectConfig`` as a dict.

    Args:
        base: what the model's arguments say.
        instructions: of the agent of the moment; None: none.
        context: its tools.
        behavior: see `unbroken_livekit.tools.declarations`.
        manual: the application marks where the user's speech begins and ends.
    """
    config = dict(base)
    if instructions:
        config["system_instruction"] = instructions
    if declared := tools.declarations(context, behavior=behavior):
        config["tools"] = declared
    if manual:
        config["realtime_input_config"] = _manual(config.get("realtime_input_config"))
    return config


def _manual(given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if given is not None:
        mapping: Any = cast("Any", given) if isinstance(given, Mapping) else given.model_dump(exclude_none=True)
        values = dict(mapping)
    return values | {"automatic_activity_detection": {"disabled": True}}
