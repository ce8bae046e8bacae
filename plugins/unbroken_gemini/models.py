"""The catalog of Live models, as of November 2026: which platform serves which, and what each wants to be told how.

Sources, as the rows name them: "deprecations" and "live guide" are pages of ai.google.dev/gemini-api/docs, "vertex" is
docs.cloud.google.com's page of the model, "pydantic-ai" is what its maintainers verified live in September 2026
(pydantic_ai/realtime/google.py), "sdk" is google-genai 3.4; the rest are issues and forum threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Literal, cast

import msgspec

from unbroken.abc import Profile
from unbroken.core.catalog import Catalog, Row, Service, ServiceStatus, Standing

__all__ = [
    "CATALOG",
    "PLATFORMS",
    "GeminiRow",
    "advice",
    "judgement",
    "known",
    "lacks",
    "misfits",
    "proactive",
    "profile",
    "short",
    "stranger",
]

PLATFORMS: Mapping[str, str] = {"gemini": "the Gemini API", "vertex": "Vertex AI"}
"""The platforms' names in closures and rules, and as a person says them."""


class GeminiRow(Row, frozen=True, kw_only=True):
    """One Live model.

    Attributes:
        text: how the user's words are sent: "content" as ``clientContent``; "realtime" as ``realtimeInput.text``, because
            the model closes with 1007 on client content after a resume.
        history: how a fresh session on the Gemini API is told the past: "flagged" by client content that the setup's
            ``historyConfig`` announces, "turns" by bare client content. Vertex AI knows no ``historyConfig``: "turns".
        seed_survives: a resumed session is known to remember the history that its first link was seeded with.
        lost_calls: what a resumed session does with a tool call that was pending: "ignored" takes no notice of an answer;
            "error_first" is silent and eats the next user input unless the lost call is answered with an error first.
        thinking_level: "required", "refused" (the setup is closed with 1007) or "allowed".
        thinking_budget: ``thinkingBudget`` is understood.
        scheduling: function responses may say when they are taken in; elsewhere that closes with 1007.
        asynchronous_tools: the model goes on while a function runs.
        affective_dialog: ``enableAffectiveDialog`` is understood.
        languages: codes that ``speechConfig.languageCode`` may name; None: any, or not known (native audio models choose the
            language by themselves).
        silent_by_choice: ``proactiveAudio: false`` is accepted.
        resumes_changed: a session may be resumed with another setup: all of it but the model may change
            (ai.google.dev/api/live, sessionResumption).
        images: ``realtimeInput.video`` is taken: JPEG, about one a second.
        compression: ``contextWindowCompression`` is understood; without it an audio session ends after 15 minutes.
    """

    text: Literal["content", "realtime"] = "realtime"
    history: Literal["flagged", "turns"] = "flagged"
    seed_survives: bool = False
    lost_calls: Literal["ignored", "error_first"] = "ignored"
    thinking_level: Literal["required", "refused", "allowed"] = "allowed"
    thinking_budget: bool = False
    scheduling: bool = False
    asynchronous_tools: bool = False
    affective_dialog: bool = False
    languages: tuple[str, ...] | None = None
    silent_by_choice: bool = True
    resumes_changed: bool = True
    images: bool = True
    compression: bool = True


_LIFETIME = 600.0
"""Seconds; "around 10 minutes" (live guide, session management). One 3.8 connection was seen to last 58:00."""

_SINGLE_REGIONS = ("global", "us", "eu")
"""Vertex AI's places that are not single regions."""

_ANY = GeminiRow(name="", services=(), lifetime=_LIFETIME, context_tokens=131_072)

_LIVE_38 = msgspec.structs.replace(
    _ANY,
    name="gemini-3.8-live",
    services=(
        Service(platform="gemini", status="stable", since="2026-09-15", source="deprecations"),
        Service(platform="vertex", status="stable", source="vertex"),
    ),
    turn_survives=True,
    handle_in_turn=True,
    lost_calls="error_first",
    thinking_level="refused",
    scheduling=True,
    asynchronous_tools=True,
    silent_by_choice=False,
    may_be_silent=True,
    sources={
        "turn_survives": "pydantic-ai",
        "handle_in_turn": "pydantic-ai",
        "seed_survives": "livekit/agents-js#2507: forgotten in 2 of 3 runs; nothing is known of the other models",
        "lost_calls": "pydantic-ai",
        "thinking_level": "pydantic-ai",
        "scheduling": "live guide: functions are NON_BLOCKING by default",
        "silent_by_choice": "pydantic-ai",
        "may_be_silent": "follows from silent_by_choice: proactive audio cannot be switched off",
        "affective_dialog": "live guide: dropped",
        "context_tokens": "simonw/llm-gemini#82: inputTokenLimit 131072",
        "lifetime": "live guide; discuss.ai.google.dev/t/186392 saw 58:00",
    },
)

_NATIVE_25 = msgspec.structs.replace(
    _ANY,
    name="gemini-live-2.5-flash-native-audio",
    services=(
        Service(platform="gemini", status="never", source="google/adk-python#5506: 1008"),
        Service(
            platform="vertex",
            status="stable",
            not_in=_SINGLE_REGIONS,
            source="vertex: us-central1, us-east1, europe-west4, …; google/adk-python#5506",
        ),
    ),
    text="content",
    thinking_level="refused",
    thinking_budget=True,
    scheduling=True,
    affective_dialog=True,
    input_in_tool_call=False,
    sources={
        "input_in_tool_call": "googleapis/js-genai#1236, livekit/agents#4545: 1008 'Operation is not implemented'",
        "handle_in_turn": "pydantic-ai; sdk (LiveServerSessionResumptionUpdate.resumable)",
        "lost_calls": "pydantic-ai",
        "thinking_budget": "live guide",
        "text": "recorded traffic (tests/data/gemini)",
    },
)

_HALF_CASCADE = msgspec.structs.replace(
    _NATIVE_25, affective_dialog=False, thinking_budget=False, scheduling=False, modalities=("AUDIO", "TEXT")
)


def _like(model: GeminiRow, name: str, *services: Service, replacement: str = "", **columns: object) -> GeminiRow:
    """Returns a row that differs from another model's in these columns."""
    return msgspec.structs.replace(model, name=name, services=services, replacement=replacement, **columns)


def _on(
    platform: str, status: ServiceStatus, source: str = "", *, since: str = "", until: str = "", not_in: tuple[str, ...] = ()
) -> Service:
    return Service(platform=platform, status=status, source=source, since=since, until=until, not_in=not_in)


_ROWS = (
    _LIVE_38,
    _like(
        _LIVE_38,
        "gemini-3.8-live-extended-thinking",
        _on("gemini", "stable", "deprecations", since="2026-09-15"),
        _on("vertex", "unconfirmed"),
        replacement="gemini-3.8-live",
        thinking_level="required",
        thinking=120.0,
        scheduling=False,
        sources={
            **_LIVE_38.sources,
            "thinking": "no figure is published; this errs on the side of waiting",
            "scheduling": "pydantic-ai: refused",
            "asynchronous_tools": "pydantic-ai: always",
        },
    ),
    _like(
        _ANY,
        "gemini-3.1-flash-live-preview",
        _on("gemini", "preview", "deprecations: legacy preview"),
        _on("vertex", "never", "google/adk-python#5675"),
        replacement="gemini-3.8-live",
        input_in_tool_call=False,
        sources={
            "asynchronous_tools": "live guide: synchronous functions only",
            "input_in_tool_call": "follows from synchronous functions",
            "history": "mastra-ai/mastra#18363, #18368: 1007 without historyConfig",
            "text": "livekit/agents#5985: 1007 on client content after a resume",
        },
    ),
    _NATIVE_25,
    _like(
        _NATIVE_25,
        "gemini-2.5-flash-native-audio-preview-12-2025",
        _on("gemini", "preview", "gemini-skills of August 2026: deprecated, but listed"),
        _on("vertex", "never"),
        replacement="gemini-3.8-live",
        aliases=("gemini-2.5-flash-native-audio-latest",),
    ),
    _like(
        _NATIVE_25,
        "gemini-2.5-flash-native-audio-preview-09-2025",
        _on("gemini", "unconfirmed", "worked in May 2026"),
        _on("vertex", "never", "livekit/agents#4026: 1008"),
        replacement="gemini-3.8-live",
    ),
    _like(
        _HALF_CASCADE,
        "gemini-live-2.5-flash",
        _on("vertex", "allowlist", "vertex: private GA"),
        replacement="gemini-live-2.5-flash-native-audio",
    ),
    _like(
        _NATIVE_25,
        "gemini-live-2.5-flash-preview-native-audio-09-2025",
        _on("vertex", "preview", "vertex", since="2025-10", not_in=_SINGLE_REGIONS),
        replacement="gemini-live-2.5-flash-native-audio",
    ),
    _like(
        _NATIVE_25,
        "gemini-live-2.5-flash-preview-native-audio",
        _on("vertex", "retired", "vertex", until="2025-10-18"),
        replacement="gemini-live-2.5-flash-native-audio",
    ),
    _like(
        _HALF_CASCADE,
        "gemini-live-2.5-flash-preview",
        _on("gemini", "retired", "deprecations", until="2025-12-09"),
        _on("vertex", "never"),
        replacement="gemini-3.8-live",
    ),
    _like(
        _HALF_CASCADE,
        "gemini-2.0-flash-live-001",
        _on("gemini", "retired", "deprecations", until="2025-12-09"),
        _on("vertex", "never"),
        replacement="gemini-3.8-live",
        context_tokens=32_768,
    ),
    _like(
        _HALF_CASCADE,
        "gemini-2.0-flash-live-preview-04-09",
        _on("gemini", "retired", "an alias in old documentation"),
        _on("vertex", "retired", "vertex; still the example in the sdk's docstrings"),
        replacement="gemini-3.8-live",
        context_tokens=32_768,
    ),
    _like(
        _HALF_CASCADE,
        "gemini-2.0-flash-exp",
        _on("gemini", "retired", "mastra-ai/mastra#17019", until="2025-12-09"),
        _on("vertex", "retired", "kazunori279/adk-streaming-test: 1007 since November 2025"),
        replacement="gemini-3.8-live",
        context_tokens=32_768,
    ),
    _like(
        _NATIVE_25,
        "gemini-2.5-flash-preview-native-audio-dialog",
        _on("gemini", "retired", "previews of 2025"),
        replacement="gemini-3.8-live",
    ),
    _like(
        _NATIVE_25,
        "gemini-2.5-flash-exp-native-audio-thinking-dialog",
        _on("gemini", "retired", "previews of 2025"),
        replacement="gemini-3.8-live-extended-thinking",
    ),
    _like(
        _ANY,
        "gemini-3.5-live-translate-preview",
        _on("gemini", "preview", "gemini-skills, 2026-08-19"),
        _on("vertex", "unconfirmed"),
        purpose="translation",
        tools=False,
        images=False,
    ),
    _like(
        _ANY,
        "gemini-3.5-transcribe-live",
        _on("gemini", "unconfirmed", "models.list shows bidiGenerateContent only"),
        _on("vertex", "unconfirmed"),
        purpose="transcription",
        tools=False,
        images=False,
        modalities=("TEXT",),
    ),
    _like(
        _ANY,
        "gemini-robotics-er-2-streaming-preview",
        _on("gemini", "unconfirmed", "pydantic-ai's documentation"),
        _on("vertex", "unconfirmed"),
        purpose="robotics",
        modalities=("TEXT",),
    ),
)

CATALOG: Catalog[GeminiRow] = Catalog(_ROWS)
"""Every Live model that people try, the preferred ones first."""


def short(model: str) -> str:
    """Returns a model's bare name: without "models/", "publishers/google/models/" and the like."""
    return model.rpartition("/")[2]


def known(model: str, *, platform: str) -> GeminiRow:
    """Returns a model's row, whether the platform serves it or not.

    Raises:
        UnknownName: it is not in the catalog; the text lists what the platform serves.
    """
    return CATALOG.get(short(model), platform=platform, kind=f"model on {PLATFORMS[platform]}")


def stranger(model: str) -> GeminiRow:
    """Returns a row for a model that the catalog does not have, trusted with nothing that closes sessions elsewhere."""
    return _like(_ANY, short(model), input_in_tool_call=False, may_be_silent=True, context_tokens=None)


def profile(model: str | GeminiRow, platform: str, *, consumed_index: bool = False) -> Profile:
    """Returns what the runtime reads of a model.

    Args:
        model: its name or row.
        platform: "gemini" or "vertex".
        consumed_index: the setup asks for transparent resumption (Vertex AI only).

    Raises:
        UnknownName: the name is not in the catalog.
    """
    row = known(model, platform=platform) if isinstance(model, str) else model
    shared = {name: getattr(row, name) for name in Profile.__struct_fields__ if hasattr(row, name)}
    own = {
        "platform": platform,
        "model": row.name,
        "consumed_index": consumed_index,
        "silent_context": row.text == "content",  # text input is answered whatever it says
    }
    return msgspec.convert(shared | own, Profile)


def advice(model: str, platform: str, region: str | None = None) -> str:
    """Says what to do about a model that a place does not serve.

    Args:
        model: its name, with or without a prefix.
        platform: "gemini" or "vertex".
        region: of Vertex AI ("us-central1", "global"); None: not known.

    Returns:
        One or two sentences; "": the model is served there, as far as the catalog knows.
    """
    return " ".join(part for part in judgement(model, platform, region) if part)


def judgement(model: str, platform: str, region: str | None = None) -> tuple[str, str]:
    """Says of a model that a place does not serve why that is so, and what to take; see `advice`.

    Returns:
        Two sentences; the second may be "" (nothing is served there instead), and both are where the model is served.
    """
    name = short(model)
    standing = CATALOG.standing(name, platform=platform, region=region)
    if standing.verdict == "served":
        return "", ""
    where = PLATFORMS.get(platform, platform) + (f" in {region}" if region else "")
    instead = f"Use {standing.instead}, which is served there." if standing.instead else ""
    return _told(name, standing, where, region), instead


def _told(name: str, standing: Standing, where: str, region: str | None) -> str:
    elsewhere = " and ".join(PLATFORMS.get(p, p) for p in standing.platforms)
    also = f"; it is served on {elsewhere}" if elsewhere else ""
    match standing.verdict:
        case "retired":
            until = f" since {standing.service.until}" if standing.service and standing.service.until else ""
            return f"{name} is no longer served on {where}{until}{also}."
        case "invited":
            return f"{name} is served on {where} to invited projects only{also}."
        case "unconfirmed":
            return f"Nothing confirms that {name} is served on {where} today{also}."
        case "elsewhere":
            return f"{name} is not served on {where}{also}."
        case "region":
            return f"{name} is served on Vertex AI in single regions such as us-central1 or europe-west4, not in {region}."
        case _:
            return f"{name} is not a Live model that is known on {where}."


def _word(value: object) -> str:
    """Returns a word of the wire; google-genai gives enumerations, whose own text is another."""
    return str(value.value) if isinstance(value, Enum) else str(value)


def misfits(row: GeminiRow, setup: Mapping[str, Any]) -> tuple[str, ...]:
    """Names what in a setup the model is known to refuse or to ignore, as sentences that say what to change.

    Args:
        row: the model.
        setup: the setup message's inside, lowerCamelCase or snake_case.
    """
    generation = _part(setup, "generationConfig")
    found = list(lacks(row, setup))
    if _value(_part(generation, "thinkingConfig"), "thinkingBudget") is not None and not row.thinking_budget:
        found.append(f"{row.name} takes no thinkingConfig.thinkingBudget: leave it out")
    if _value(generation, "enableAffectiveDialog") and not row.affective_dialog:
        found.append(f"{row.name} has no affective dialog: leave enableAffectiveDialog out")
    return tuple(found)


def proactive(setup: Mapping[str, Any]) -> bool:
    """Says whether a setup lets the model choose to be silent (``proactivity.proactiveAudio``)."""
    return bool(_value(_part(setup, "proactivity"), "proactiveAudio"))


def lacks(row: GeminiRow, setup: Mapping[str, Any]) -> tuple[str, ...]:
    """Names what in a setup the model is known to refuse, or cannot do without: no session should fail over to it.

    Args:
        row: the model.
        setup: the setup message's inside, lowerCamelCase or snake_case.
    """
    generation = _part(setup, "generationConfig")
    thinking = _part(generation, "thinkingConfig")
    level = _value(thinking, "thinkingLevel") is not None
    proactive = _value(_part(setup, "proactivity"), "proactiveAudio")
    wanted = {_word(modality) for modality in cast("list[object]", _value(generation, "responseModalities") or [])}
    found: list[str] = []
    if level and row.thinking_level == "refused":
        found.append(f"{row.name} refuses thinkingConfig.thinkingLevel: leave it out")
    if not level and row.thinking_level == "required":
        found.append(f"{row.name} needs thinkingConfig.thinkingLevel: set it")
    if proactive is False and not row.silent_by_choice:
        found.append(f"{row.name} refuses proactivity.proactiveAudio: false: leave it out")
    if refused := sorted(wanted - set(row.modalities)):
        found.append(f"{row.name} answers in {' or '.join(row.modalities)} only, not in {', '.join(refused)}")
    language = _value(_part(generation, "speechConfig"), "languageCode")
    if language and row.languages is not None and not _speaks(row.languages, str(language)):
        found.append(f"{row.name} speaks {', '.join(row.languages)}, not {language}")
    if _value(setup, "tools") and not row.tools:
        found.append(f"{row.name} calls no tools: leave them out")
    return tuple(found)


def _speaks(languages: Sequence[str], wanted: str) -> bool:
    """Says whether one of the languages is the wanted one or what it is a form of ("de" speaks "de-AT")."""
    return any(wanted.lower() == spoken.lower() or wanted.lower().startswith(f"{spoken.lower()}-") for spoken in languages)


def _value(part: Mapping[str, Any], name: str) -> Any:
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return part.get(name, part.get(snake))


def _part(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = _value(part, name)
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
