"""From the arguments of LiveKit's google model to unbroken's: a route, and google-genai's configuration as a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NotGiven, llm
from livekit.agents.utils import images

import unbroken
from unbroken.config import targets_of
from unbroken_livekit import tools
from unbroken_livekit.log import logger

__all__ = ["MODEL", "Arguments", "session_config"]

MODEL = "gemini-3.8-live"
"""The model where none is named: the one that is stable on both platforms. (livekit-plugins-google 1.8 takes the 2.5 preview
of December 2025 on the Gemini API.)"""

_ENDPOINT = ("api_key", "vertexai", "project", "location", "credentials", "api_version")

_GENERATION = (
    "candidate_count",
    "temperature",
    "max_output_tokens",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "thinking_config",
    "media_resolution",
)

_CONFIG = ("realtime_input_config", "context_window_compression", "session_resumption", "enable_affective_dialog")

_SETTINGS = ("patience", "on_cut_reply", "spare")

_TRANSCRIPTIONS = ("input_audio_transcription", "output_audio_transcription")

_IMAGES = images.EncodeOptions(
    format="JPEG", quality=75, resize_options=images.ResizeOptions(width=1024, height=1024, strategy="scale_aspect_fit")
)


class Arguments:
    """What the arguments of `unbroken_livekit.RealtimeModel` come to.

    Args:
        named: the arguments by name.

    Attributes:
        targets: the route, the preferred target first.
        settings: the session's bounds.
        config: google-genai's ``LiveConnectConfig`` as a dict, without instructions and tools.
        instructions: the system instruction until an agent brings its own; None: none.
        images: how frames of video are encoded.
        behavior: of tools; None: as the model does by itself.
        scheduling: of tools' results; None: as the model does by itself.
        manual: the application marks where the user's speech begins and ends.
        uninterruptible: the user's speech does not interrupt the model.
        spoken: the model answers in audio.
        transcribed: what the user says is written down.
        text_is_spoken: the model's text is its answer, since no transcript of its speech comes.

    Raises:
        ConfigError: there is no target, one is named twice, or a setting is out of its bounds.
    """

    def __init__(self, named: Mapping[str, Any]) -> None:
        # NOT_GIVEN is how LiveKit spells it; None means something for transcriptions only
        given = {name: value for name, value in named.items() if not isinstance(value, NotGiven)}
        some = {name: value for name, value in given.items() if value is not None}
        if named["conn_options"] != DEFAULT_API_CONNECT_OPTIONS:
            logger.warning("conn_options are not used: when and how often to try is the policy's business")
        options = _socket_options(some.get("http_options")) | _of(some, _ENDPOINT)
        if "project" in options or "location" in options:
            options.setdefault("vertexai", True)
        self.targets = _route(some.get("model", MODEL), some["fallbacks"], options=options)
        self.settings: unbroken.Settings = msgspec.structs.replace(
            some.get("settings", unbroken.Settings()), **_of(some, _SETTINGS)
        )
        self.instructions: str | None = some.get("instructions")
        self.images: images.EncodeOptions = some.get("image_encode_options", _IMAGES)
        self.behavior = _value(some.get("tool_behavior"))
        self.scheduling = _value(some.get("tool_response_scheduling"))
        detection = some.get("realtime_input_config")
        self.manual = bool(_part(_part(detection, "automatic_activity_detection"), "disabled"))
        self.uninterruptible = _value(_part(detection, "activity_handling")) == "NO_INTERRUPTION"
        self.config = _config(given, some)
        self.spoken = "AUDIO" in map(_value, self.config["response_modalities"])
        self.transcribed = _TRANSCRIPTIONS[0] in self.config
        self.text_is_spoken = not self.spoken or _TRANSCRIPTIONS[1] not in self.config


def _config(given: Mapping[str, Any], some: Mapping[str, Any]) -> dict[str, Any]:
    voice = {"voice_config": {"prebuilt_voice_config": {"voice_name": some["voice"]}}}
    config = {
        "response_modalities": some.get("modalities", ["AUDIO"]),
        "generation_config": _of(some, _GENERATION),
        "speech_config": voice | ({"language_code": some["language"]} if "language" in some else {}),
    }
    for name in _TRANSCRIPTIONS:
        if given.get(name, {}) is not None:
            config[name] = given.get(name, {})
    if "proactivity" in some:
        config["proactivity"] = {"proactive_audio": some["proactivity"]}
    return config | _of(some, _CONFIG)


def _of(some: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: some[name] for name in names if name in some}


def _value(value: Any) -> str | None:
    """An enumeration's value, or the text that was given in its place."""
    return None if value is None else str(getattr(value, "value", value))


def _part(config: Any, name: str) -> Any:
    return cast("dict[str, Any]", config).get(name) if isinstance(config, dict) else getattr(config, name, None)


def _route(model: Any, fallbacks: Sequence[unbroken.Target | str], *, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the targets; models that are only named are reached by the options."""
    first: tuple[unbroken.Target | str, ...] = (model,) if isinstance(model, unbroken.Target | str) else tuple(model)
    return targets_of([_target(one, options) for one in (*first, *fallbacks)])


def _target(one: unbroken.Target | str, options: Mapping[str, Any]) -> unbroken.Target:
    if isinstance(one, unbroken.Target):
        return one
    parsed = unbroken.Target.parse(one.removeprefix("models/"))
    label = (options.get("location") or "vertex") if options.get("vertexai") else ""
    return unbroken.Target(model=parsed.model, provider=parsed.provider, options=options, label=label)


def _socket_options(http: object) -> dict[str, Any]:
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
