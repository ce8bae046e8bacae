"""From google-genai's configuration to the setup message: what its own client would send, and what a session needs besides.

The additions, and nothing else is added:

- ``sessionResumption`` is always asked for; on Vertex AI ``transparent``, so that handles say what they hold.
- ``contextWindowCompression`` is on unless configured, since a session without it ends after 15 minutes.
- ``historyConfig`` where history is going to be replayed and the model's row wants it announced.
- Functions declared by JSON schema are declared by ``parameters``, the only form that the Live API reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from google.genai import Client, types
from pydantic import ValidationError

from unbroken.errors import ConfigError
from unbroken_gemini import schemas, sdk
from unbroken_gemini.connection import Plan
from unbroken_gemini.models import GeminiRow

__all__ = ["configuration", "plan"]


def configuration(config: object) -> types.LiveConnectConfig | None:
    """Returns a configuration as google-genai's type.

    Args:
        config: ``LiveConnectConfig``, its dict, or None. Left as it is.

    Raises:
        ConfigError: it is something else, or a dict that does not fit.
    """
    match config:
        case None | types.LiveConnectConfig():
            return config
        case Mapping():
            try:
                return types.LiveConnectConfig.model_validate(dict(cast("Mapping[str, Any]", config)))
            except ValidationError as error:
                wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
                raise ConfigError(f"not a LiveConnectConfig: {'; '.join(wrong)}") from error
        case _:
            raise ConfigError(
                f"the config is a {type(config).__name__}; expected google-genai's LiveConnectConfig or a dict"
            )


def plan(
    client: Client,
    row: GeminiRow,
    model: str,
    config: types.LiveConnectConfig | None,
    *,
    compress: bool,
    messages: bool = False,
) -> Plan:
    """Builds the setup of a target.

    Args:
        client: whose platform and project it is for.
        row: the model's row.
        model: the model's name, with or without a prefix.
        config: google-genai's configuration.
        compress: add context compression where the configuration is silent about it.
        messages: see `unbroken_gemini.connection.Plan`.

    Raises:
        ConfigError: google-genai refuses the configuration, or it brings its own resumption handle.
    """
    setup: dict[str, Any] = sdk.setup_message(client, model, config)["setup"]
    vertex = sdk.account(client).vertex
    resumption: dict[str, Any] = {"transparent": True} if vertex else {}
    resumption.update(setup.get("sessionResumption") or {})
    if "handle" in resumption:
        raise ConfigError("session_resumption.handle in the config: the session keeps the handles itself; leave it out")
    setup["sessionResumption"] = resumption
    if compress and row.compression:
        setup.setdefault("contextWindowCompression", {"slidingWindow": {}})
    if "tools" in setup:
        setup["tools"] = [_tool(tool) for tool in setup["tools"]]
    return Plan(
        setup=setup,
        row=row,
        platform="vertex" if vertex else "gemini",
        consumed_index=bool(resumption.get("transparent")),
        messages=messages,
    )


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if not (declarations := tool.get("functionDeclarations")):
        return tool
    return tool | {"functionDeclarations": [_declaration(declared) for declared in declarations]}


def _declaration(declared: dict[str, Any]) -> dict[str, Any]:
    """Declares a function by ``parameters`` where it is declared by JSON schema."""
    by_schema = next((name for name in ("parameters_json_schema", "parametersJsonSchema") if name in declared), None)
    if by_schema is None or declared.get("parameters"):
        return declared
    kept = {name: value for name, value in declared.items() if name != by_schema}
    try:
        converted = schemas.parameters(declared[by_schema])
    except (ValueError, TypeError, AttributeError) as error:
        name = declared.get("name")
        raise ConfigError(f"the JSON schema of function {name!r} has no form that the Live API reads: {error}") from error
    return kept | {"parameters": converted} if converted else kept
