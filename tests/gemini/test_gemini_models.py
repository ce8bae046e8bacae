"""The catalog of Live models: its rows, what the runtime reads of them, and the advice."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from unbroken.abc import Profile
from unbroken.errors import UnknownName
from unbroken_gemini import models


@pytest.mark.parametrize("row", list(models.CATALOG), ids=lambda row: row.name)
def test_every_row_is_whole(row: models.GeminiRow) -> None:
    assert msgspec.convert(msgspec.to_builtins(row), models.GeminiRow) == row
    assert row.services
    assert {service.platform for service in row.services} <= set(models.PLATFORMS)
    assert set(row.sources) <= set(row.__struct_fields__)
    assert row.replacement == "" or models.CATALOG.find(row.replacement) is not None
    assert all(service.source for service in row.services if service.status in ("stable", "retired"))


@pytest.mark.parametrize(
    ("model", "gemini", "vertex"),
    [
        ("gemini-3.8-live", "stable", "stable"),
        ("gemini-3.8-live-extended-thinking", "stable", "unconfirmed"),
        ("gemini-3.1-flash-live-preview", "preview", "never"),
        ("gemini-3.5-live-translate-preview", "preview", "unconfirmed"),
        ("gemini-2.5-flash-native-audio-latest", "preview", "never"),
        ("gemini-2.5-flash-native-audio-preview-12-2025", "preview", "never"),
        ("gemini-2.5-flash-native-audio-preview-09-2025", "unconfirmed", "never"),
        ("gemini-live-2.5-flash-native-audio", "never", "stable"),
        ("gemini-live-2.5-flash", None, "allowlist"),
        ("gemini-live-2.5-flash-preview-native-audio-09-2025", None, "preview"),
        ("gemini-live-2.5-flash-preview-native-audio", None, "retired"),
        ("gemini-live-2.5-flash-preview", "retired", "never"),
        ("gemini-2.0-flash-live-001", "retired", "never"),
        ("gemini-2.0-flash-live-preview-04-09", "retired", "retired"),
        ("gemini-2.0-flash-exp", "retired", "retired"),
    ],
)
def test_where_each_is_served(model: str, gemini: str | None, vertex: str | None) -> None:
    row = models.known(model, platform="gemini")
    served = {platform: service.status for platform in models.PLATFORMS if (service := row.on(platform)) is not None}
    assert served == {name: status for name, status in (("gemini", gemini), ("vertex", vertex)) if status is not None}


@pytest.mark.parametrize(
    ("model", "platform", "profile"),
    [
        (
            "models/gemini-3.8-live",
            "gemini",
            Profile(
                platform="gemini",
                seed_survives=False,
                resumes_changed=True,
                images=True,
                model="gemini-3.8-live",
                silent_context=False,
                turn_survives=True,
                lost_calls="error_first",
                context_tokens=131_072,
                lifetime=600.0,
                may_be_silent=True,
            ),
        ),
        (
            "gemini-3.1-flash-live-preview",
            "gemini",
            Profile(
                platform="gemini",
                seed_survives=False,
                resumes_changed=True,
                images=True,
                model="gemini-3.1-flash-live-preview",
                silent_context=False,
                input_in_tool_call=False,
                context_tokens=131_072,
                lifetime=600.0,
            ),
        ),
        (
            "publishers/google/models/gemini-live-2.5-flash-native-audio",
            "vertex",
            Profile(
                platform="vertex",
                seed_survives=False,
                resumes_changed=True,
                images=True,
                model="gemini-live-2.5-flash-native-audio",
                input_in_tool_call=False,
                context_tokens=131_072,
                lifetime=600.0,
            ),
        ),
        (
            models.stranger("my-model"),
            "gemini",
            Profile(
                platform="gemini",
                model="my-model",
                silent_context=False,
                seed_survives=False,
                resumes_changed=True,
                images=True,
                input_in_tool_call=False,
                lifetime=600.0,
                may_be_silent=True,
            ),
        ),
    ],
)
def test_profiles(model: str | models.GeminiRow, platform: str, profile: Profile) -> None:
    assert models.profile(model, platform) == profile
    transparent = models.profile(model, platform, consumed_index=True)
    assert transparent == msgspec.structs.replace(profile, consumed_index=True)


def test_an_unknown_model_names_the_near_ones() -> None:
    said = (
        "unknown model on the Gemini API 'gemni-3.8-live'; did you mean 'gemini-3.8-live' or "
        "'gemini-3.1-flash-live-preview' or 'gemini-3.8-live-extended-thinking'? known: "
        "gemini-2.5-flash-native-audio-preview-12-2025, gemini-3.1-flash-live-preview, gemini-3.5-live-translate-preview, "
        "gemini-3.8-live, gemini-3.8-live-extended-thinking"
    )
    with pytest.raises(UnknownName, match=f"^{re.escape(said)}$"):
        models.profile("models/gemni-3.8-live", "gemini")


@pytest.mark.parametrize(
    ("model", "platform", "region", "said"),
    [
        ("gemini-3.8-live", "gemini", None, ""),
        ("models/gemini-3.8-live", "vertex", "global", ""),
        ("gemini-live-2.5-flash-native-audio", "vertex", "us-central1", ""),
        (
            "gemini-2.0-flash-exp",
            "gemini",
            None,
            "gemini-2.0-flash-exp is no longer served on the Gemini API since 2025-12-09. "
            "Use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-2.0-flash-exp",
            "vertex",
            "us-central1",
            "gemini-2.0-flash-exp is no longer served on Vertex AI in us-central1. "
            "Use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-live-2.5-flash-native-audio",
            "gemini",
            None,
            "gemini-live-2.5-flash-native-audio is not served on the Gemini API; it is served on Vertex AI. "
            "Use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-live-2.5-flash-native-audio",
            "vertex",
            "global",
            "gemini-live-2.5-flash-native-audio is served on Vertex AI in single regions such as us-central1 or "
            "europe-west4, not in global. Use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-live-2.5-flash-preview-native-audio",
            "vertex",
            "us-central1",
            "gemini-live-2.5-flash-preview-native-audio is no longer served on Vertex AI in us-central1 since 2025-10-18. "
            "Use gemini-live-2.5-flash-native-audio, which is served there.",
        ),
        (
            "gemini-live-2.5-flash",
            "vertex",
            None,
            "gemini-live-2.5-flash is served on Vertex AI to invited projects only. "
            "Use gemini-live-2.5-flash-native-audio, which is served there.",
        ),
        (
            "gemini-3.1-flash-live-preview",
            "vertex",
            None,
            "gemini-3.1-flash-live-preview is not served on Vertex AI; it is served on the Gemini API. "
            "Use gemini-3.8-live, which is served there.",
        ),
        (
            "gemini-3.8-live-extended-thinking",
            "vertex",
            None,
            "Nothing confirms that gemini-3.8-live-extended-thinking is served on Vertex AI today; it is served on the "
            "Gemini API. Use gemini-3.8-live, which is served there.",
        ),
        (
            "gpt-realtime",
            "gemini",
            None,
            "gpt-realtime is not a Live model that is known on the Gemini API. Use gemini-3.8-live, which is served there.",
        ),
    ],
)
def test_advice(model: str, platform: str, region: str | None, said: str) -> None:
    assert models.advice(model, platform, region) == said


@pytest.mark.parametrize("platform", list(models.PLATFORMS))
@pytest.mark.parametrize("row", list(models.CATALOG), ids=lambda row: row.name)
def test_advice_never_recommends_what_is_not_served(row: models.GeminiRow, platform: str) -> None:
    instead = models.CATALOG.standing(row.name, platform=platform).instead
    assert instead == "" or models.advice(instead, platform) == ""
    assert (models.advice(row.name, platform) == "") == (row in models.CATALOG.serving(platform))


@pytest.mark.parametrize(
    ("model", "setup", "found"),
    [
        ("gemini-3.8-live", {}, ()),
        (
            "gemini-3.8-live",
            {"generationConfig": {"responseModalities": ["AUDIO"]}, "proactivity": {"proactiveAudio": True}},
            (),
        ),
        (
            "gemini-3.8-live",
            {
                "generationConfig": {
                    "thinkingConfig": {"thinking_level": "LOW", "thinkingBudget": 1},
                    "enableAffectiveDialog": True,
                    "responseModalities": ["TEXT", "AUDIO"],
                },
                "proactivity": {"proactive_audio": False},
            },
            (
                "gemini-3.8-live refuses thinkingConfig.thinkingLevel: leave it out",
                "gemini-3.8-live refuses proactivity.proactiveAudio: false: leave it out",
                "gemini-3.8-live answers in AUDIO only, not in TEXT",
                "gemini-3.8-live takes no thinkingConfig.thinkingBudget: leave it out",
                "gemini-3.8-live has no affective dialog: leave enableAffectiveDialog out",
            ),
        ),
        (
            "gemini-3.8-live-extended-thinking",
            {},
            ("gemini-3.8-live-extended-thinking needs thinkingConfig.thinkingLevel: set it",),
        ),
        ("gemini-3.8-live-extended-thinking", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, ()),
        (
            "gemini-3.5-live-translate-preview",
            {"tools": [{"googleSearch": {}}]},
            ("gemini-3.5-live-translate-preview calls no tools: leave them out",),
        ),
    ],
)
def test_misfits(model: str, setup: dict[str, Any], found: tuple[str, ...]) -> None:
    assert models.misfits(models.known(model, platform="gemini"), setup) == found


def test_what_is_only_ignored_keeps_no_session_from_a_model() -> None:
    row = models.known("gemini-3.8-live", platform="gemini")
    ignored = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1}, "enableAffectiveDialog": True}}
    assert len(models.misfits(row, ignored)) == 2
    assert models.lacks(row, ignored) == ()


@pytest.mark.parametrize(
    ("languages", "wanted", "fits"),
    [(None, "xx", True), (("de", "en-US"), "de-AT", True), (("de", "en-US"), "en-us", True), (("de", "en-US"), "en", False)],
)
def test_a_language_that_a_model_does_not_speak(languages: tuple[str, ...] | None, wanted: str, fits: bool) -> None:
    row = msgspec.structs.replace(models.known("gemini-3.8-live", platform="gemini"), languages=languages)
    setup = {"generationConfig": {"speechConfig": {"languageCode": wanted}}}
    assert (models.lacks(row, setup) == ()) == fits
