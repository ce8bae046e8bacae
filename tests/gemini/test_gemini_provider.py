"""The provider: targets, endpoints, credentials; what is refused and how; and that no secret can be printed."""

from __future__ import annotations

import pickle
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from google.auth import exceptions
from google.auth.credentials import Credentials
from google.genai import Client, types
from tests.gemini.google_side import credentials

from unbroken.abc import Endpoint
from unbroken.config import Secret, Target
from unbroken.errors import ConfigError, DialFailed, UnknownName
from unbroken_gemini import provider, sdk, target
from unbroken_gemini.service import GeminiProvider

MODEL = "gemini-3.8-live"
GEMINI = "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage"
VERTEX = "ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*sdk._ENVIRONMENT, "GOOGLE_API_USE_MTLS_ENDPOINT", "GOOGLE_API_USE_CLIENT_CERTIFICATE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_adc(monkeypatch: pytest.MonkeyPatch) -> None:
    def default(**_: object) -> None:
        raise exceptions.DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

    monkeypatch.setattr("google.auth.default", default)


def secret_of(endpoint: Endpoint) -> dict[str, str]:
    return {name: value for name, value in endpoint.headers.items() if name.lower() in ("x-goog-api-key", "authorization")}


async def asked_token() -> str:
    return " auth_tokens/t-9\n"


async def asked_key() -> str:
    return "key-9"


# -- endpoints ----------------------------------------------------------------------------------------------------------

PROACTIVE = {"proactivity": {"proactive_audio": True}}
KEY = {"api_key": "key-1"}
PLACE = {"project": "p-1", "location": "us-central1", "credentials": credentials()}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "url", "shown"),
    [
        (KEY, f"{GEMINI}.v1beta.GenerativeService.BidiGenerateContent", {"x-goog-api-key": "key-1"}),
        (
            {"api_key": Secret("key-1")},
            f"{GEMINI}.v1beta.GenerativeService.BidiGenerateContent",
            {"x-goog-api-key": "key-1"},
        ),
        (KEY | {"config": PROACTIVE}, f"{GEMINI}.v1alpha.GenerativeService.BidiGenerateContent", None),
        (KEY | {"api_version": "v1", "config": PROACTIVE}, f"{GEMINI}.v1.GenerativeService.BidiGenerateContent", None),
        (
            KEY | {"config": {"http_options": {"api_version": "v7"}}},
            f"{GEMINI}.v7.GenerativeService.BidiGenerateContent",
            None,
        ),
        (
            {"token": "auth_tokens/t-1"},
            f"{GEMINI}.v1alpha.GenerativeService.BidiGenerateContentConstrained",
            {"x-goog-api-key": "auth_tokens/t-1", "Authorization": "Token auth_tokens/t-1"},
        ),
        (
            {"api_key": "auth_tokens/t-1", "api_version": "v1beta"},
            f"{GEMINI}.v1beta.GenerativeService.BidiGenerateContentConstrained",
            None,
        ),
        (
            {"credentials": asked_token},
            f"{GEMINI}.v1alpha.GenerativeService.BidiGenerateContentConstrained",
            {"x-goog-api-key": "auth_tokens/t-9", "Authorization": "Token auth_tokens/t-9"},
        ),
        ({"credentials": asked_key}, f"{GEMINI}.v1beta.GenerativeService.BidiGenerateContent", {"x-goog-api-key": "key-9"}),
        (KEY | {"vertexai": True}, f"wss://aiplatform.googleapis.com/{VERTEX}", {"x-goog-api-key": "key-1"}),
        (PLACE, f"wss://us-central1-aiplatform.googleapis.com/{VERTEX}", {"Authorization": "Bearer bearer-1"}),
        (PLACE | {"location": "global"}, f"wss://aiplatform.googleapis.com/{VERTEX}", None),
        (PLACE | {"location": "eu"}, f"wss://aiplatform.eu.rep.googleapis.com/{VERTEX}", None),
        (
            PLACE | {"credentials": asked_key},
            f"wss://us-central1-aiplatform.googleapis.com/{VERTEX}",
            {"Authorization": "Bearer key-9"},
        ),
        (PLACE | {"base_url": "https://gate.example/live/"}, f"wss://gate.example/live/{VERTEX}", None),
        ({"vertexai": True, "base_url": "wss://gate.example/all?x=1"}, "wss://gate.example/all?x=1", {}),
        (
            KEY | {"base_url": "http://localhost:8080"},
            "ws://localhost:8080/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            {"x-goog-api-key": "key-1"},
        ),
        (
            KEY | {"base_url": "ws://localhost:8080/", "api_version": "v1"},
            "ws://localhost:8080/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
            None,
        ),
        (
            KEY | {"config": {"http_options": {"base_url": "https://gate.example"}}},
            "wss://gate.example/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            None,
        ),
        (
            KEY | {"headers": {"Authorization": "Basic x", "X-Goog-Api-Key": "key-2"}},
            f"{GEMINI}.v1beta.GenerativeService.BidiGenerateContent",
            {"Authorization": "Basic x", "X-Goog-Api-Key": "key-2"},
        ),
    ],
)
async def test_endpoints(options: dict[str, Any], url: str, shown: dict[str, str] | None) -> None:
    endpoint = await provider(target(MODEL, **options)).endpoint()
    assert endpoint.url == url
    assert shown is None or secret_of(endpoint) == shown
    assert isinstance(endpoint.ssl, ssl.SSLContext) == url.startswith("wss:")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "single"),
    [
        ({"token": "auth_tokens/t-1"}, True),
        ({"credentials": asked_token}, True),
        ({"credentials": asked_key}, False),
        (KEY, False),
    ],
    ids=["a token", "asked for a token", "asked for a key", "a key"],
)
async def test_no_ephemeral_token_is_spent_on_a_spare(options: dict[str, Any], single: bool) -> None:
    assert (await provider(target(MODEL, **options)).endpoint()).single_use is single


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
async def test_the_environments_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "key-3")
    endpoint = await provider(Target.parse(f"gemini/{MODEL}")).endpoint()
    assert secret_of(endpoint) == {"x-goog-api-key": "key-3"}


@pytest.mark.anyio
@pytest.mark.parametrize(("given", "version"), [("beta", "v1beta"), ("v1", "v1"), ("v1alpha", "v1alpha"), (None, "v1beta")])
async def test_the_environments_api_version(monkeypatch: pytest.MonkeyPatch, given: str | None, version: str) -> None:
    if given is not None:
        monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", given)
    endpoint = await provider(target(MODEL, api_key="k")).endpoint()
    assert endpoint.url == f"{GEMINI}.{version}.GenerativeService.BidiGenerateContent"


@pytest.mark.anyio
async def test_the_environments_vertex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p-2")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    built = provider(target(MODEL))
    assert (built.profile.platform, built.region, built.profile.consumed_index) == ("vertex", "europe-west4", True)
    assert built._url(token=False) == f"wss://europe-west4-aiplatform.googleapis.com/{VERTEX}"


@pytest.mark.anyio
async def test_a_client_of_ones_own() -> None:
    options = types.HttpOptions(api_version="v1alpha", headers={"x-mine": "1"})
    client = Client(api_key="key-4", http_options=options)
    endpoint = await provider(target(MODEL, client=client)).endpoint()
    assert endpoint.url == f"{GEMINI}.v1alpha.GenerativeService.BidiGenerateContent"
    assert (secret_of(endpoint), endpoint.headers["x-mine"]) == ({"x-goog-api-key": "key-4"}, "1")


def test_heavy_objects_are_built_once() -> None:
    one, two, other = (provider(target(MODEL, api_key=key)) for key in ("key-1", "key-1", "key-2"))
    assert sdk.client(api_key="key-1") is sdk.client(api_key="key-1")
    assert sdk.client(api_key="key-1") is not sdk.client(api_key="key-2")
    assert one._tls is two._tls is other._tls is not None
    own = ssl.create_default_context()
    assert provider(target(MODEL, api_key="key-1", ssl=own))._tls is own


# -- Google credentials -------------------------------------------------------------------------------------------------


REAL_TIME = pytest.mark.sockets
"""Credentials are renewed in a worker thread, which virtual time does not wait for."""


class Renewable(Credentials):
    """Credentials that count how often they were renewed."""

    def __init__(self, *fails: Exception) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.renewed = 0
        self.fails: Iterator[Exception] = iter(fails)

    def refresh(self, request: object) -> None:
        for failure in self.fails:
            raise failure
        self.renewed += 1
        self.token = f"bearer-{self.renewed}"
        self.expiry = credentials().expiry


def placed(held: Any) -> GeminiProvider:
    return provider(target(MODEL, project="p", location="us-central1", credentials=held))


@REAL_TIME
@pytest.mark.anyio
async def test_a_bearer_token_is_renewed_ahead_and_when_it_was_refused() -> None:
    held = Renewable()
    built = placed(held)
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-1"}
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-1"}
    held.expiry = credentials(minutes=-1).expiry
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-2"}
    assert secret_of(await built.endpoint(refresh=True)) == {"Authorization": "Bearer bearer-3"}
    assert held.renewed == 3


@REAL_TIME
@pytest.mark.anyio
@pytest.mark.parametrize("minutes", [14, 3])
async def test_a_token_that_serves_still_is_renewed_aside_and_nobody_waits(minutes: int) -> None:
    held, go_on = Renewable(), threading.Event()
    built = placed(held)
    await built.endpoint()
    held.expiry = credentials(minutes=minutes).expiry
    renew = held.refresh

    def slow(request: object) -> None:
        assert go_on.wait(60)
        renew(request)

    held.refresh = slow  # type: ignore[method-assign]
    for _ in range(3):
        assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-1"}
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "unbroken: renewing a credential":
            thread.join(60)
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-2"}
    assert held.renewed == 2, "once, however often it was asked for"


@REAL_TIME
@pytest.mark.anyio
async def test_a_renewal_aside_that_fails_changes_nothing() -> None:
    held = Renewable()
    built = placed(held)
    await built.endpoint()
    held.fails = iter([exceptions.TransportError("no route")])  # type: ignore[no-untyped-call]
    held.expiry = credentials(minutes=10).expiry
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-1"}
    for thread in threading.enumerate():
        if thread.name == "unbroken: renewing a credential":
            thread.join(60)
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-1"}
    assert held.renewed == 1


@pytest.mark.anyio
async def test_the_quota_project_is_named() -> None:
    endpoint = await placed(credentials()).endpoint()
    assert endpoint.headers["x-goog-user-project"] == "billed"


@REAL_TIME
@pytest.mark.anyio
async def test_a_renewal_that_fails_is_a_failed_dial_and_the_next_may_succeed() -> None:
    down = exceptions.TransportError("no route")  # type: ignore[no-untyped-call]
    refused = exceptions.RefreshError("invalid_grant: Bad Request", {"secret": "hush"})  # type: ignore[no-untyped-call]
    built = placed(Renewable(down, refused))
    with pytest.raises(DialFailed, match=r'^unreachable "renewing the credential: TransportError"$') as unreachable:
        await built.endpoint()
    assert unreachable.value.ending.cause == "unreachable"
    with pytest.raises(DialFailed, match=r'^credential "renewing the credential: invalid_grant: Bad Request"$') as failed:
        await built.endpoint()
    assert failed.value.ending.cause == "credential"
    assert secret_of(await built.endpoint()) == {"Authorization": "Bearer bearer-1"}


@REAL_TIME
@pytest.mark.anyio
@pytest.mark.usefixtures("no_adc")
async def test_no_application_default_credentials() -> None:
    said = "no credentials for Vertex AI: run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS"
    built = provider(target(MODEL, project="p", location="us-central1"))
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        await built.endpoint()
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        provider(target(MODEL, vertexai=True))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ("", ConfigError, "the credentials callable returned str; expected a key or token as str"),
        (None, ConfigError, "the credentials callable returned NoneType; expected a key or token as str"),
        (ConfigError("log in first"), ConfigError, "log in first"),
        (KeyError("hush"), DialFailed, 'credential "the credentials callable raised KeyError"'),
    ],
)
async def test_a_callable_that_has_none(answer: object, error: type[Exception], said: str) -> None:
    async def ask() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(error, match=f"^{re.escape(said)}$"):
        await provider(target(MODEL, credentials=ask)).endpoint()


@pytest.mark.anyio
async def test_a_callable_is_asked_once_per_link() -> None:
    asked: list[int] = []

    async def ask() -> str:
        asked.append(1)
        return f"key-{len(asked)}"

    built = provider(target(MODEL, credentials=ask))
    assert asked == []
    assert [secret_of(await built.endpoint()) for _ in range(2)] == [
        {"x-goog-api-key": "key-1"},
        {"x-goog-api-key": "key-2"},
    ]


# -- what is refused ----------------------------------------------------------------------------------------------------


def test_no_key() -> None:
    said = "no key for the Gemini API: set GEMINI_API_KEY or GOOGLE_API_KEY, or give api_key= to unbroken_gemini.target"
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        provider(target(MODEL))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key": "a", "token": "auth_tokens/b"}, "api_key= and token= exclude each other: give one"),
        ({"api_key": "a", "credentials": asked_key}, "api_key= and credentials= exclude each other: give one"),
        ({"api_key": ""}, "a key or token has to be a text that is not empty, not str"),
        ({"api_key": 5}, "a key or token has to be a text that is not empty, not int"),
        (
            {"token": "a"},
            "token= takes an ephemeral token of the Gemini API, which begins with 'auth_tokens/'; see api_key=",
        ),
        (
            {"token": "auth_tokens/a", "project": "p"},
            "an ephemeral token is of the Gemini API: leave vertexai=, project= and location= out",
        ),
        (
            {"api_key": "a", "base_url": "localhost:8080"},
            "the base_url 'localhost:8080' is no address; expected the like of 'wss://host:443'",
        ),
        (
            {"vertexai": False, "project": "p"},
            "google-genai refuses these credentials: Gemini API does not support project/location.",
        ),
    ],
)
def test_what_excludes_itself_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        provider(target(MODEL, **options))


def test_an_unknown_option_is_told() -> None:
    with pytest.raises(
        UnknownName, match=r"^unknown option of the Gemini provider 'apikey'; did you mean 'api_key'\? known: "
    ):
        provider(Target(model=MODEL, options={"apikey": "x"}))


def test_an_unknown_model_is_refused_unless_told_otherwise() -> None:
    with pytest.raises(
        UnknownName, match=r"^unknown model on the Gemini API 'gemini-9-live'; did you mean 'gemini-3\.8-live'"
    ):
        provider(target("gemini-9-live", api_key="k"))
    built = provider(target("tunedModels/mine", api_key="k", known=False))
    assert (built.profile.model, built.profile.input_in_tool_call, built.profile.turn_survives) == ("mine", False, False)
    assert built._plan.setup["model"] == "tunedModels/mine"
    assert provider(target(MODEL, api_key="k", known=False)).profile.turn_survives


def test_the_story_of_the_seed() -> None:
    """A retired model is dialled, so that the service's own close is what the policy sees; the advice stands ready."""
    built = provider(target("gemini-2.0-flash-exp", api_key="k"))
    assert built.advice == (
        "gemini-2.0-flash-exp is no longer served on the Gemini API since 2025-12-09. "
        "Use gemini-3.8-live, which is served there."
    )
    assert provider(target(MODEL, api_key="k")).advice == ""


def test_what_does_not_suit_the_model_is_named() -> None:
    config = {"thinking_config": {"thinking_level": "LOW"}}
    built = provider(target(MODEL, api_key="k"), config=config)
    assert built.misfits == ("gemini-3.8-live refuses thinkingConfig.thinkingLevel: leave it out",)


# -- targets ------------------------------------------------------------------------------------------------------------


def test_targets_that_share_credentials_are_known_to() -> None:
    one, two, other = (
        target(MODEL, api_key="a"),
        target("gemini-3.1-flash-live-preview", api_key=Secret("a")),
        target(MODEL, api_key="b"),
    )
    assert one.credentials == two.credentials != other.credentials
    assert len({one.quota_group, two.quota_group, other.quota_group}) == 3
    assert target(MODEL).credentials is target(MODEL).quota_group is None
    assert target(MODEL, project="p-1").credentials == "vertex:p-1"
    assert target(MODEL, api_key="a", quota_group="mine").quota_group == "mine"
    assert target(MODEL, credentials=asked_key).credentials == target(MODEL, credentials=asked_key).credentials


# -- secrets ------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options", [{"api_key": "hush-1"}, {"token": "auth_tokens/hush-1"}, {"vertexai": True, "api_key": "hush-1"}]
)
async def test_no_secret_can_be_printed(options: dict[str, Any]) -> None:
    from rich.pretty import pretty_repr

    to = target(MODEL, **options)
    built = provider(to)
    endpoint = await built.endpoint()
    grant = await built._credential.grant(refresh=False)
    account = sdk.account(sdk.client(**{k: v for k, v in options.items() if k != "token"} | {"api_key": "hush-1"}))
    printed = [
        to,
        to.options,
        to.credentials,
        built,
        built._credential,
        grant,
        endpoint,
        built._plan,
        account,
        built.connection(),
    ]
    for thing in printed:
        assert "hush" not in f"{thing!r}{thing}"
    assert "hush" not in pretty_repr(to)
    with pytest.raises(TypeError):
        pickle.dumps(to.options["api_key" if "api_key" in options else "token"])


def test_errors_hold_no_secret() -> None:
    with pytest.raises(ConfigError) as refused:
        provider(target(MODEL, api_key="hush-1", vertexai=False, project="p"))
    assert "hush" not in str(refused.value)


def test_reprs() -> None:
    built = provider(target(MODEL, api_key="k"))
    assert repr(built) == "<GeminiProvider gemini-3.8-live on the Gemini API>"
    assert repr(built._credential) == "<Key>"


# -- imports ------------------------------------------------------------------------------------------------------------


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_plugin_imports_no_sdk() -> None:
    code = "import sys, unbroken_gemini; unbroken_gemini.target('m', api_key='k'); print('google.genai' in sys.modules)"
    assert run(code) == "False"


def test_a_missing_sdk_names_its_extra() -> None:
    code = (
        "import sys; sys.modules['google.genai'] = None\n"
        "import unbroken_gemini\n"
        "try: unbroken_gemini.provider(unbroken_gemini.target('m'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert run(code) == (
        "MissingExtra the Gemini provider needs the package 'google-genai', which is not installed: "
        "pip install 'unbroken[gemini]'"
    )


def test_a_setup_that_fits_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    made = provider(target("gemini-3.8-live", api_key="k"), config={"response_modalities": ["AUDIO"]})
    assert isinstance(made, GeminiProvider)
    assert made.misfits == ()
    assert not caplog.records


def test_a_setup_that_does_not_fit_is_warned_of_at_once(caplog: pytest.LogCaptureFixture) -> None:
    provider(target("gemini-3.8-live", api_key="k"), config={"response_modalities": ["TEXT"]})
    assert [record.getMessage() for record in caplog.records] == ["gemini-3.8-live answers in AUDIO only, not in TEXT"]
