"""The one place that touches what google-genai does not promise to keep.

The setup message has no public builder, the client keeps its endpoint and credentials to itself, and its live session reads
arguments and messages with functions of its own, which `unbroken_gemini.live` uses so that it takes and gives the same. Read
with google-genai 3.4 (live.py); the extra pins ``google-genai>=3.4,<4``, and a version without these parts says so here.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec
from google.auth import exceptions
from google.auth.credentials import Credentials
from google.genai import Client, types, version

from unbroken.errors import ConfigError, MissingCredential

__all__ = [
    "Account",
    "account",
    "check_http_options",
    "client",
    "client_content",
    "context_update",
    "old_input",
    "proxied",
    "realtime_input",
    "server_message",
    "setup_message",
    "tool_response",
    "turn_is_over",
    "with_tools_of_servers",
]

_ENVIRONMENT = (
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_GENAI_USE_VERTEXAI",
    "GOOGLE_GENAI_USE_ENTERPRISE",
    "GOOGLE_GENAI_API_VERSION",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


class Account(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a client knows of its endpoint and its credentials. Never printed.

    Attributes:
        vertex: it speaks to Vertex AI; False: to the Gemini API.
        base_url: of the platform, with the scheme that the caller gave or "wss"; with a client certificate its mTLS host.
        verbatim: the base URL is the whole URL (a gateway that knows the credentials itself).
        version: the API version as the client has it; google-genai's own default for the Gemini API is "v1".
        headers: HTTP headers, the API key's among them.
        api_key: None: it has none.
        location: of Vertex AI; None: not known.
        credentials: google-auth's; None: it has none, or has not loaded them yet.
        tls: the client's TLS context, which it built once.
    """

    vertex: bool
    base_url: str
    verbatim: bool
    version: str
    headers: Mapping[str, str]
    api_key: str | None
    location: str | None
    credentials: Credentials | None
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return "<Account>"


def client(
    *,
    vertexai: bool | None = None,
    api_key: str | None = None,
    project: str | None = None,
    location: str | None = None,
    credentials: Credentials | None = None,
    base_url: str | None = None,
) -> Client:
    """Returns the client of a set of credentials; built once per set and environment, since that takes a tenth of a second.

    Raises:
        MissingCredential: there is no key, or no Google credentials or project.
        ConfigError: google-genai refuses the combination.
    """
    environment = tuple(os.environ.get(name) for name in _ENVIRONMENT)
    return _client(
        vertexai=vertexai,
        api_key=api_key,
        project=project,
        location=location,
        credentials=credentials,
        base_url=base_url,
        environment=environment,
    )


@functools.lru_cache(maxsize=64)
def _client(
    *,
    vertexai: bool | None,
    api_key: str | None,
    project: str | None,
    location: str | None,
    credentials: Credentials | None,
    base_url: str | None,
    environment: tuple[str | None, ...],
) -> Client:
    options = types.HttpOptions(base_url=base_url)
    if vertexai is False or (vertexai is None and not any(environment[2:4])):
        # One TLS context for all keys of the Gemini API. On Vertex AI google-genai looks for a client certificate first.
        shared = _tls(*environment[-2:])
        options.client_args = {"verify": shared}
        options.async_client_args = {"verify": shared, "ssl": shared}
    try:
        return Client(
            vertexai=vertexai,
            api_key=api_key,
            project=project,
            location=location,
            credentials=credentials,
            http_options=options,
        )
    except ValueError as error:
        if "API key" in str(error) and not vertexai:
            raise MissingCredential(
                "no key for the Gemini API",
                fix="set GEMINI_API_KEY or GOOGLE_API_KEY, or give api_key= to unbroken_gemini.target",
            ) from None
        if vertexai and not (api_key or project or os.environ.get("GOOGLE_CLOUD_PROJECT")):
            raise MissingCredential(
                "no project for Vertex AI", fix="set GOOGLE_CLOUD_PROJECT, or give project= to unbroken_gemini.target"
            ) from None
        raise ConfigError(f"google-genai refuses these credentials: {error}") from None
    except ImportError as error:  # httpx has its extras too: SOCKS is one
        raise ConfigError(f"google-genai's HTTP client lacks a package for this environment: {error}") from None
    except exceptions.GoogleAuthError as error:
        raise MissingCredential(
            "no credentials for Vertex AI",
            fix="run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or give project=,"
            f" location= and credentials= to unbroken_gemini.target ({type(error).__name__})",
        ) from None


@functools.lru_cache(maxsize=4)
def _tls(cafile: str | None, capath: str | None) -> ssl.SSLContext:
    """The context that google-genai would build for each client."""
    certifi = importlib.import_module("certifi")
    return ssl.create_default_context(cafile=cafile or certifi.where(), capath=capath)


def account(client: Client) -> Account:
    """Reads a client's endpoint and credentials.

    Raises:
        ConfigError: this version of google-genai keeps them elsewhere.
    """
    api = _need(client, "_api_client")
    options: types.HttpOptions = _need(api, "_http_options")
    placed = bool(api.project and api.location) or bool(api.api_key)
    return Account(
        vertex=bool(api.vertexai),
        base_url=_base_url(api, options),
        verbatim=bool(api.custom_base_url) and not placed,
        version=options.api_version or "",
        headers=dict(options.headers or {}),
        api_key=api.api_key,
        location=api.location,
        credentials=_need(api, "_credentials"),
        tls=_need(api, "_websocket_ssl_ctx").get("ssl"),
    )


def _base_url(api: Any, options: types.HttpOptions) -> str:
    given = options.base_url or ""
    return given if given.startswith(("ws:", "http:")) else _need(api, "_websocket_base_url")()


def setup_message(client: Client, model: str, config: types.LiveConnectConfig | None) -> dict[str, Any]:
    """Returns what ``client.aio.live.connect(model=…, config=…)`` sends first, as parsed JSON: ``{"setup": {…}}``.

    The configuration itself is left as it is. Its http_options are not looked at here.

    Raises:
        ConfigError: google-genai refuses the configuration on this platform, it names an MCP session (which would have to be
            asked over its own connection), or this version of google-genai builds the message differently.
    """
    live, converters, common, transformers = _parts()
    api = _need(client, "_api_client")
    copied = None if config is None else config.model_copy()
    try:
        settled = _at_once(_need(live, "_t_live_connect_config")(api, copied))
        name = transformers.t_model(api, model)
        prefixed = api.vertexai and not api.api_key and name.startswith("publishers/") and api.project and api.location
        if prefixed:
            name = f"projects/{api.project}/locations/{api.location}/{name}"
        elif account(client).verbatim:
            name = model
        convert = _need(converters, f"_LiveConnectParameters_to_{'vertex' if api.vertexai else 'mldev'}")
        parameters = types.LiveConnectParameters(model=name, config=settled).model_dump(exclude_none=True)
        message: dict[str, Any] = common.convert_to_dict(convert(api_client=api, from_object=parameters))
        message.pop("config", None)
        message = common.encode_unserializable_types(message)
    except ValueError as error:
        raise ConfigError(f"google-genai refuses this configuration: {error}") from error
    message["setup"]["model"] = name
    if api.vertexai and not api.api_key:
        message["setup"].setdefault("generationConfig", {}).setdefault("responseModalities", ["AUDIO"])
    return message


def check_http_options(client: Client, config: types.LiveConnectConfig) -> None:
    """Refuses what google-genai's live session does not take of a configuration's ``http_options``.

    Raises:
        ValueError: google-genai's own.
    """
    options = _need(_need(client, "_api_client"), "_http_options")
    _need(_parts()[0], "_merge_live_http_options")(options, config.http_options)


def proxied(client: Client) -> bool:
    """Says whether a client's links go through the environment's proxies; ``async_client_args={"proxy": None}`` says no.

    Raises:
        ConfigError: the client names a proxy of its own.
    """
    given = _need(_need(client, "_api_client"), "_websocket_ssl_ctx").get("proxy", True)
    if given not in (True, None):
        raise ConfigError("the client names a proxy in async_client_args: name it by HTTPS_PROXY in the environment instead")
    return given is not None


async def with_tools_of_servers(client: Client, config: types.LiveConnectConfig) -> types.LiveConnectConfig:
    """Returns a configuration in which MCP sessions among the tools have been asked for their tools; without any, itself."""
    tools: Any = _need(config, "tools")
    if not any(hasattr(tool, "list_tools") for tool in tools or ()):
        return config
    settled: types.LiveConnectConfig = await _need(_parts()[0], "_t_live_connect_config")(
        _need(client, "_api_client"), config.model_copy()
    )
    return settled


# -- What google-genai's live session makes of its arguments, and of messages ------------------------------------------


def realtime_input(client: Client, given: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the one argument of ``AsyncSession.send_realtime_input``.

    Returns:
        The member of the message and its value: "audio" or "video" with a ``Blob``, "mediaChunks" with several, "text",
        "audioStreamEnd", "activityStart" or "activityEnd".

    Raises:
        ValueError: google-genai's own.
        TypeError: google-genai's own.
    """
    read = types.LiveSendRealtimeInputParameters.model_validate(given)
    vertex = _need(client, "_api_client").vertexai
    convert = _need(_parts()[1], f"_LiveSendRealtimeInputParameters_to_{'vertex' if vertex else 'mldev'}")
    converted: dict[str, Any] = convert(from_object=read)
    return converted


def client_content(turns: Any, *, turn_complete: bool) -> types.LiveClientContent:
    """Reads the arguments of ``AsyncSession.send_client_content``.

    Raises:
        ValueError: google-genai's own.
    """
    content: types.LiveClientContent = _need(_parts()[3], "t_client_content")(turns, turn_complete)
    return content


def context_update(system_instruction: Any, tools: Any) -> dict[str, Any]:
    """Reads the arguments of ``AsyncSession.send_context_update``.

    Returns:
        Those members of a ``LiveConnectConfig`` that are to change.

    Raises:
        ValueError: google-genai's own.
    """
    wrapped = None if tools is None else types.LiveClientContextUpdateTools(tools=tools)
    read = types.LiveClientContextUpdate(system_instruction=system_instruction, tools=wrapped)
    changed: dict[str, Any] = {} if wrapped is None else {"tools": _need(wrapped, "tools")}
    return changed if read.system_instruction is None else {**changed, "system_instruction": read.system_instruction}


def tool_response(client: Client, given: Any) -> list[types.FunctionResponse]:
    """Reads the argument of ``AsyncSession.send_tool_response``.

    Raises:
        ValueError: google-genai's own; on the Gemini API a response without an id is one.
    """
    response: types.LiveClientToolResponse = _need(_parts()[3], "t_tool_response")(given)
    found = response.function_responses or []
    if not _need(client, "_api_client").vertexai and any(one.id is None for one in found):
        raise ValueError(_need(_parts()[0], "_FUNCTION_RESPONSE_REQUIRES_ID"))
    return found


def old_input(client: Client, given: Any, *, end_of_turn: bool) -> dict[str, Any]:
    """Reads the arguments of the deprecated ``AsyncSession.send``.

    Returns:
        One of "client_content", "realtime_input" and "tool_response", and its inside.

    Raises:
        ValueError: google-genai's own.
    """
    session = _need(_parts()[0], "AsyncSession")(api_client=_need(client, "_api_client"), websocket=None)
    read: dict[str, Any] = _need(session, "_parse_client_message")(given, end_of_turn)
    return read


def server_message(data: bytes | str, *, vertex: bool) -> types.LiveServerMessage:
    """Reads a message of the service as google-genai's live session does.

    Args:
        data: the message as it came.
        vertex: it is Vertex AI's.
    """
    convert = _need(_parts()[1], f"_LiveServerMessage_from_{'vertex' if vertex else 'mldev'}")
    read: types.LiveServerMessage = _need(types.LiveServerMessage, "_from_response")(
        response=convert(json.loads(data) if data else {}), kwargs={}
    )
    return read


def turn_is_over(content: types.LiveServerContent | None) -> bool:
    """Says whether google-genai's ``receive`` would end after a message with this content."""
    return bool(_need(_parts()[0], "_is_interaction_complete")(content))


def _at_once(coroutine: Any) -> Any:
    """Runs a coroutine that has nothing to wait for; only an MCP session among the tools would make it wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise ConfigError("an MCP session among the tools has to be asked for its tools: pass what list_tools() returned")


@functools.cache
def _parts() -> tuple[Any, Any, Any, Any]:
    names = ("live", "_live_converters", "_common", "_transformers")
    try:
        live, converters, common, transformers = (importlib.import_module(f"google.genai.{name}") for name in names)
    except ImportError as error:
        raise _changed(str(error)) from error
    return live, converters, common, transformers


def _need(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise _changed(str(error)) from error


def _changed(what: str) -> ConfigError:
    return ConfigError(
        f"google-genai {version.__version__} is not built as unbroken needs it ({what}): pip install 'google-genai>=3.4,<4'"
    )
