"""The setup message equals what google-genai's own client sends for the same config, but for what setup.py says it adds."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from google.genai import types
from tests.gemini import google_side
from tests.gemini.google_side import CONFIGS, MODEL, PARAMETERS, PLATFORMS, Said

from unbroken.config import Secret
from unbroken.errors import ConfigError
from unbroken.events import Turn
from unbroken_gemini import target
from unbroken_gemini.service import GeminiProvider

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.filterwarnings("ignore:Setting `LiveConnectConfig.generation_config` is deprecated:DeprecationWarning"),
]

HISTORY = (Turn(role="user", text="I am Ada."), Turn(role="model", text="Hello Ada."), Turn(role="tool", text="f() gave 3."))


@functools.cache
def google(platform: str) -> Mapping[str, Said | Exception]:
    return google_side.hear(platform, CONFIGS)


def ours(platform: str, session_config: object, **options: Any) -> GeminiProvider:
    client = google_side.client(platform, "https://localhost:1", google_side.authority()[1])
    return GeminiProvider(target(MODEL, client=client, **options), config=session_config)


def setup_of(provider: GeminiProvider, **asked: Any) -> Any:
    return json.loads(provider.connection().setup(**{"handle": None, "seeded": False, **asked}))["setup"]


def added(setup: dict[str, Any], *, vertex: bool) -> dict[str, Any]:
    """Google's setup with the documented additions, made here by other means than setup.py's."""
    expected = copy.deepcopy(setup)
    resumption = {"transparent": True} if vertex else {}
    expected["sessionResumption"] = resumption | expected.get("sessionResumption", {})
    expected.setdefault("contextWindowCompression", {"slidingWindow": {}})
    for tool in expected.get("tools", []):
        for declared in tool.get("functionDeclarations", []):
            if declared.pop("parameters_json_schema", None) is not None and PARAMETERS[declared["name"]] is not None:
                declared["parameters"] = PARAMETERS[declared["name"]]
    return expected


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_setup_is_what_google_sends_and_what_is_documented(platform: str, name: str) -> None:
    said = google(platform)[name]
    if isinstance(said, Exception):
        with pytest.raises(ConfigError, match=f"^google-genai refuses this configuration: {re.escape(str(said))}$"):
            ours(platform, CONFIGS[name])
    else:
        assert setup_of(ours(platform, CONFIGS[name])) == added(said.setup, vertex=platform in ("express", "vertex"))


def test_google_refuses_what_a_platform_lacks() -> None:
    refused = {p: {name for name, said in google(p).items() if isinstance(said, Exception)} for p in PLATFORMS}
    assert refused == {
        "gemini": {"transparent", "vad signal"},
        "token": {"transparent", "vad signal"},
        "express": set(),
        "vertex": set(),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_the_endpoint_is_where_google_dials_with_the_version_pinned(platform: str) -> None:
    import anyio.to_thread

    said = (await anyio.to_thread.run_sync(google, platform))["none"]
    assert isinstance(said, Said)
    endpoint = await ours(platform, None).endpoint()
    version = {"gemini": ".v1beta.", "token": ".v1alpha."}.get(platform, ".v1beta1.")
    assert endpoint.url == f"wss://localhost:1{re.sub(r'[.]v1(beta1)?[.]', version, said.path)}"
    sent = {name.lower(): value for name, value in endpoint.headers.items()}
    del sent["user-agent"]
    assert sent == {name: said.headers[name] for name in sent}
    assert {"x-goog-api-key", "authorization"} & set(sent)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_stays_as_it_was(name: str) -> None:
    config = CONFIGS[name]
    before = config.model_copy(deep=True) if isinstance(config, types.LiveConnectConfig) else copy.deepcopy(config)
    try:
        provider = ours("gemini", config)
    except ConfigError:
        provider = ours("vertex", config)
    setup_of(provider, handle=Secret("h"))
    setup_of(provider, seeded=True)
    assert config == before
    if name == "everything":
        assert config.system_instruction == "Be short."


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_resumed_link_differs_from_a_fresh_one_by_its_handle_alone(platform: str) -> None:
    provider = ours(platform, CONFIGS["everything"])
    fresh, resumed = setup_of(provider), setup_of(provider, handle=Secret("h-1"), seeded=True)
    assert resumed["sessionResumption"] == fresh["sessionResumption"] | {"handle": "h-1"}
    assert resumed | {"sessionResumption": 0} == fresh | {"sessionResumption": 0}
    assert setup_of(provider) == fresh


@pytest.mark.parametrize("platform", PLATFORMS)
def test_history_is_announced_where_the_platform_knows_how(platform: str) -> None:
    provider = ours(platform, None)
    connection = provider.connection()
    setup = json.loads(connection.setup(handle=None, seeded=True))["setup"]
    announced = {"historyConfig": {"initialHistoryInClientContent": True}} if platform in ("gemini", "token") else {}
    assert setup == setup_of(provider) | announced
    turns = [
        {"role": "user", "parts": [{"text": "I am Ada."}]},
        {"role": "model", "parts": [{"text": "Hello Ada."}]},
        {"role": "user", "parts": [{"text": "f() gave 3."}]},
    ]
    content = {"turns": turns} | ({"turnComplete": True} if announced else {})
    assert [json.loads(message) for message in connection.opening(HISTORY)] == [{"clientContent": content}]


def test_history_announced_by_the_config_is_not_announced_at_a_resume() -> None:
    provider = ours("gemini", CONFIGS["history"])
    assert "historyConfig" in setup_of(provider)
    assert "historyConfig" not in setup_of(provider, handle=Secret("h"))


def test_compression_can_be_left_out() -> None:
    assert "contextWindowCompression" not in setup_of(ours("gemini", None, compress=False))
    assert "contextWindowCompression" in setup_of(ours("gemini", CONFIGS["compression"], compress=False))


def test_the_targets_config_wins_over_the_sessions() -> None:
    provider = ours("gemini", {"temperature": 0.1}, config={"temperature": 0.9})
    assert setup_of(provider)["generationConfig"] == {"temperature": 0.9}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"temperatur": 1}, "not a LiveConnectConfig: temperatur: Extra inputs are not permitted"),
        (5, "the config is a int; expected google-genai's LiveConnectConfig or a dict"),
        (
            {"session_resumption": {"handle": "h"}},
            "session_resumption.handle in the config: the session keeps the handles itself; leave it out",
        ),
        (
            {
                "tools": [
                    {
                        "function_declarations": [
                            {"name": "f", "parameters_json_schema": {"properties": {"a": {"$ref": "#/x"}}}}
                        ]
                    }
                ]
            },
            "the JSON schema of function 'f' has no form that the Live API reads: the reference '#/x' leads nowhere",
        ),
    ],
)
def test_a_config_that_cannot_work_is_told(config: object, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        ours("gemini", config)


def test_another_google_genai_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.genai import live

    provider_before = ours("gemini", None)
    monkeypatch.delattr(live, "_t_live_connect_config")
    with pytest.raises(
        ConfigError, match=r"^google-genai 3\.\S+ is not built as unbroken needs it \(.*_t_live_connect_config"
    ):
        ours("gemini", None)
    assert setup_of(provider_before)["model"] == f"models/{MODEL}"
