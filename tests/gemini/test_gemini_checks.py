"""What is known of a Gemini target before its first call: the credential's kind, the model's standing, the configuration."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import date
from typing import Any

import anyio
import msgspec
import pytest
from google.genai import Client

from unbroken.abc import Finding
from unbroken_gemini import checks, listing, models, provider, target
from unbroken_gemini.service import GeminiProvider
from unbroken_gemini.targets import options

MODEL = "gemini-3.8-live"
TODAY = date(2026, 11, 20)
PLACE: Mapping[str, Any] = {"project": "p-1", "location": "us-central1"}


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def credential(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], **given: Any) -> list[Finding]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    it = target(MODEL, **given)
    built = provider(it)
    return list(checks.credential(options(it), built._account, environment))


# -- The credential ---------------------------------------------------------------------------------------------------


async def ask() -> str:
    return "key-9"


@pytest.mark.parametrize(
    ("environment", "given", "said"),
    [
        ({}, {"api_key": "AIza-1"}, "An API key, given as api_key, for the Gemini API."),
        ({"GEMINI_API_KEY": "AIza-1"}, {}, "An API key, in GEMINI_API_KEY, for the Gemini API."),
        ({"GOOGLE_API_KEY": "AQ.1", "GEMINI_API_KEY": "AQ.1"}, {}, "An API key, in GOOGLE_API_KEY, for the Gemini API."),
        ({}, {"client": Client(api_key="AIza-2")}, "An API key, in the client, for the Gemini API."),
        ({}, {"credentials": ask}, "A callable of the application, asked once per link, for the Gemini API."),
        (
            {},
            {"credentials": ask, "project": "p", "location": "eu"},
            "A callable of the application, asked once per link, for Vertex AI in eu.",
        ),
        ({}, {"api_key": "AQ.1", "vertexai": True}, "An API key, given as api_key, for Vertex AI."),
        ({}, PLACE, "Google's application default credentials, for Vertex AI in us-central1."),
        (
            {},
            {"project": "p"},
            "Google's application default credentials, for Vertex AI in global (the default).",
        ),
        (
            {},
            {"vertexai": True, "base_url": "wss://gate.example/all"},
            "None of its own for Vertex AI: the gateway at base_url knows the credentials.",
        ),
    ],
)
def test_what_a_target_is_let_in_by(
    environment: dict[str, str], given: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert credential(monkeypatch, environment, **given) == [Finding(check="credential", said=said)]


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("ya29.a0Af-secret", "an OAuth access token"),
        ("Bearer secret", "an OAuth access token"),
        ("eyJhbGciOi.eyJzdWIi.secret", "a JSON web token"),
        ('{"type": "service_account", "private_key": "secret"}', "the content of a credentials file"),
        ("-----BEGIN PRIVATE KEY-----", "the content of a credentials file"),
        ("/etc/secret/key.json", "the path of a file"),
        ("secret.json", "the path of a file"),
        ("sk-proj-secret", "another provider's key"),
        ("YOUR_API_KEY", "a placeholder"),
        ("your-gemini-api-key-here", "a placeholder"),
        ("<key>", "a placeholder"),
        ("changeme", "a placeholder"),
        ("'AIza-secret'", "a text in quotes"),
        ("AIza secret", "a text with a space or another sign that no key has"),
        ("“AIza-secret”", "a text with a space or another sign that no key has"),
    ],
)
def test_what_is_no_api_key(key: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [finding] = credential(monkeypatch, {"GEMINI_API_KEY": key})
    assert finding.verdict == "problem"
    assert finding.said == f"What is in GEMINI_API_KEY looks like {what}, not like an API key."
    assert finding.fix
    assert "secret" not in repr(finding)


@pytest.mark.parametrize("given", [{"api_key": "auth_tokens/secret"}, {"token": "auth_tokens/secret"}])
def test_an_ephemeral_token_is_short_of_life(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    [finding] = credential(monkeypatch, {}, **given)
    assert (finding.check, finding.verdict) == ("credential", "warning")
    assert finding.said.startswith("An ephemeral token: ")
    assert "secret" not in repr(finding)


@pytest.mark.parametrize(
    ("environment", "given", "said"),
    [
        (
            {"GOOGLE_API_KEY": "AIza-1", "GEMINI_API_KEY": "AIza-2"},
            {},
            "GOOGLE_API_KEY and GEMINI_API_KEY are both set and differ; GOOGLE_API_KEY is taken.",
        ),
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GEMINI_API_KEY": "AIza-1"},
            {},
            "GOOGLE_GENAI_USE_VERTEXAI sends this target to Vertex AI, with the API key that is in GEMINI_API_KEY.",
        ),
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "1"},
            {"api_key": "AIza-1"},
            "GOOGLE_GENAI_USE_VERTEXAI sends this target to Vertex AI, with the API key that is given as api_key.",
        ),
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "1", "GOOGLE_CLOUD_PROJECT": "p", "GEMINI_API_KEY": "AIza-1"},
            {},
            "GOOGLE_GENAI_USE_VERTEXAI sends this target to Vertex AI with Google credentials; GEMINI_API_KEY is not used.",
        ),
    ],
)
def test_an_environment_that_contradicts_itself(
    environment: dict[str, str], given: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding, kind = credential(monkeypatch, environment, **given)
    assert (finding.check, finding.verdict, finding.said) == ("environment", "warning", said)
    assert finding.fix
    assert kind.verdict == "ok"


def test_what_is_said_outright_is_no_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"GOOGLE_API_KEY": "AIza-1", "GEMINI_API_KEY": "AIza-2", "GOOGLE_GENAI_USE_VERTEXAI": "1"}
    assert len(credential(monkeypatch, both, api_key="AIza-3", vertexai=False)) == 1


# -- The model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "platform", "region", "verdict", "said", "fix"),
    [
        (MODEL, "gemini", None, "ok", "gemini-3.8-live is stable on the Gemini API since 2026-09-15.", ""),
        (f"models/{MODEL}", "vertex", "global", "ok", "gemini-3.8-live is stable on Vertex AI in global.", ""),
        (
            "gemini-3.1-flash-live-preview",
            "gemini",
            None,
            "warning",
            "gemini-3.1-flash-live-preview is a preview on the Gemini API: it may be shut down at short notice.",
            "Move to gemini-3.8-live.",
        ),
        (
            "gemini-live-2.5-flash-preview",
            "gemini",
            None,
            "problem",
            "gemini-live-2.5-flash-preview is no longer served on the Gemini API since 2025-12-09.",
            "Use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-live-2.5-flash",
            "vertex",
            "us-central1",
            "warning",
            "gemini-live-2.5-flash is served on Vertex AI in us-central1 to invited projects only.",
            "Use gemini-live-2.5-flash-native-audio, which is served there.",
        ),
        (
            "gemini-live-2.5-flash-native-audio",
            "vertex",
            "eu",
            "problem",
            "gemini-live-2.5-flash-native-audio is served on Vertex AI in single regions such as us-central1 or "
            "europe-west4, not in eu.",
            "Set the location to such a region, or use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-next-live",
            "gemini",
            None,
            "warning",
            "gemini-next-live is not in this version's catalog, so it is handled with the care that an unknown model needs.",
            "Update unbroken, which may know it by now.",
        ),
    ],
)
def test_a_models_standing(model: str, platform: str, region: str | None, verdict: str, said: str, fix: str) -> None:
    [finding] = checks.standing(model, platform, region, today=TODAY)
    assert (finding.check, finding.verdict, finding.said, finding.fix) == ("model", verdict, said, fix)


def test_a_model_for_something_else() -> None:
    preview, purpose = checks.standing("gemini-3.5-live-translate-preview", "gemini", None, today=TODAY)
    assert preview.verdict == purpose.verdict == "warning"
    assert purpose.said == "gemini-3.5-live-translate-preview is a model for translation, not for conversation."
    assert purpose.fix == "Use gemini-3.8-live to talk to people."


@pytest.mark.parametrize(
    ("until", "verdict", "said"),
    [
        ("2026-12-01", "warning", "gemini-3.1-flash-live-preview will be shut down on the Gemini API on 2026-12-01."),
        ("2026-11-20", "problem", "gemini-3.1-flash-live-preview was to be shut down on the Gemini API on 2026-11-20."),
    ],
)
def test_an_announced_shutdown(until: str, verdict: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = models.known("gemini-3.1-flash-live-preview", platform="gemini")
    ending = msgspec.structs.replace(row.services[0], until=until)
    row = msgspec.structs.replace(row, services=(ending,))
    monkeypatch.setattr(models.CATALOG, "_by_name", {row.name: row})
    assert list(checks.standing(row.name, "gemini", None, today=TODAY)) == [
        Finding(check="model", verdict=verdict, said=said, fix="Move to gemini-3.8-live.")  # type: ignore[arg-type]
    ]


# -- The configuration ------------------------------------------------------------------------------------------------

BOTH: dict[str, Any] = {"input_audio_transcription": {}, "output_audio_transcription": {}}


@pytest.mark.parametrize(
    ("config", "given", "found"),
    [
        (BOTH, {}, []),
        (
            BOTH | {"thinking_config": {"thinking_level": "LOW"}},
            {},
            [("config", "gemini-3.8-live refuses thinkingConfig.thinkingLevel.", "Leave it out.")],
        ),
        (
            BOTH | {"proactivity": {"proactive_audio": False}},
            {},
            [("config", "gemini-3.8-live refuses proactivity.proactiveAudio: false.", "Leave it out.")],
        ),
        (
            BOTH | {"response_modalities": ["TEXT"]},
            {},
            [
                (
                    "config",
                    "gemini-3.8-live answers in AUDIO only, not in TEXT.",
                    "Change the config, or take another model.",
                )
            ],
        ),
        (
            {"input_audio_transcription": {}},
            {},
            [
                (
                    "transcripts",
                    "One side's transcription is off, so a failover tells the next model nothing of what was said there.",
                    'Add "output_audio_transcription": {} to the config.',
                )
            ],
        ),
        (
            BOTH,
            {"compress": False},
            [
                (
                    "config",
                    "Context compression is off, so a session ends after 15 minutes.",
                    "Leave compress=False out, or configure context_window_compression.",
                )
            ],
        ),
    ],
)
def test_what_a_config_asks_for_and_leaves_out(
    config: dict[str, Any], given: dict[str, Any], found: list[tuple[str, str, str]]
) -> None:
    built = GeminiProvider(target(MODEL, api_key="AIza-1", config=config, **given))
    findings = checks.config(built._plan.setup, built.misfits, compresses=True)
    assert [(finding.check, finding.said, finding.fix) for finding in findings] == found
    assert {finding.verdict for finding in findings} <= {"warning"}


# -- What the list of models says -------------------------------------------------------------------------------------

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("methods", "name", "verdict", "said"),
    [
        ({MODEL: ["bidiGenerateContent"]}, MODEL, "ok", "The Gemini API lists it for this key, with bidiGenerateContent."),
        (
            {"gemini-2.5-flash-native-audio-preview-12-2025": ["bidiGenerateContent"]},
            "gemini-2.5-flash-native-audio-latest",
            "ok",
            "The Gemini API lists it for this key, with bidiGenerateContent.",
        ),
        (
            {MODEL: []},
            MODEL,
            "problem",
            "The Gemini API lists gemini-3.8-live without bidiGenerateContent: ",
        ),
        ({}, MODEL, "warning", "The Gemini API does not list gemini-3.8-live for this key."),
    ],
)
def test_what_is_listed(methods: dict[str, list[str]], name: str, verdict: str, said: str) -> None:
    finding = listing._judged(methods, name)
    assert finding.verdict == verdict
    assert finding.said.startswith(said)
    assert bool(finding.fix) == (verdict != "ok")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (59, None),
        (-59, None),
        (600, "This machine's clock is 10 minutes behind the service's."),
        (-7200, "This machine's clock is 120 minutes ahead of the service's."),
    ],
)
def test_a_clock_that_is_wrong(seconds: float, said: str | None) -> None:
    date = listing._seconds(email.utils.formatdate(NOW + seconds, usegmt=True))
    found = listing._clock(date, now=NOW)
    assert [finding.said for finding in found] == ([] if said is None else [said])


def test_a_service_that_does_not_say_when_it_is() -> None:
    assert listing._seconds("") is None
    assert listing._clock(None, now=NOW) == []


# -- All of it --------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("given", [{"token": "auth_tokens/t"}, {**PLACE, "credentials": ask}])
async def test_nobody_is_asked_who_would_not_answer(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(asking: object, model: str) -> list[Finding]:
        raise AssertionError("a token may not list models, and the list of Vertex AI says nothing")

    monkeypatch.setattr(listing, "ask", never)
    with anyio.fail_after(10):
        found = await provider(target(MODEL, **given)).check(online=True)
    assert [finding.check for finding in found] == ["credential", "model", "transcripts"]
