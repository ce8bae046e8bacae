"""What the service refuses in a setup, per platform, API version and model."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from unbroken.testing.faults import Close
from unbroken_gemini import wire
from unbroken_gemini.models import CATALOG, GeminiRow, short, stranger
from unbroken_gemini.testing import refusals

__all__ = ["Door", "check", "declared", "door", "row_of", "unknown"]

# GenerationConfig of the REST reference (ai.google.dev/api/generate-content); LiveKit's plugin sends some of these.
_ALSO_GENERATION = frozenset(
    {
        "audiotimestamp",
        "candidatecount",
        "enableenhancedcivicanswers",
        "frequencypenalty",
        "imageconfig",
        "logprobs",
        "presencepenalty",
        "responsejsonschema",
        "responselogprobs",
        "responsemimetype",
        "responseschema",
        "routingconfig",
        "stopsequences",
    }
)

_GEMINI = re.compile(
    r"/+ws/google\.ai\.generativelanguage\.(v1|v1beta|v1alpha)\.GenerativeService\.BidiGenerateContent(Constrained)?"
)
_VERTEX = re.compile(r"/+ws/google\.cloud\.aiplatform\.(v1|v1beta1)\.LlmBidiService/BidiGenerateContent")
_PUBLISHER = re.compile(r"(?:projects/[^/]+/locations/(?P<region>[^/]+)/)?publishers/google/models/[^/]+")


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection came in.

    Attributes:
        platform: "gemini" or "vertex".
        version: of the API ("v1beta").
        constrained: the method for ephemeral tokens.
    """

    platform: str
    version: str
    constrained: bool = False


def door(path: str) -> Door | None:
    """Returns where a request path leads; None: nowhere. Double slashes are taken as the service takes them."""
    if match := _GEMINI.fullmatch(path):
        return Door(platform="gemini", version=match[1], constrained=bool(match[2]))
    if match := _VERTEX.fullmatch(path):
        return Door(platform="vertex", version=match[1])
    return None


def row_of(model: str, door: Door, served: Collection[str]) -> GeminiRow | None:
    """Returns the row of a model that is served there; None: it is not.

    Args:
        model: as the setup names it.
        door: where the connection came in.
        served: the only models that are served; empty: those of the catalog.
    """
    name = short(model)
    prefix, region = "models/", None
    if door.platform == "vertex":
        match = _PUBLISHER.fullmatch(model)
        prefix, region = "", match["region"] if match else "nowhere"
        if match is None:
            return None
    if not model.startswith(prefix):
        return None
    if served:
        return (CATALOG.find(name) or stranger(name)) if name in served else None
    verdict = CATALOG.standing(name, platform=door.platform, region=region).verdict
    return CATALOG.find(name) if verdict in ("served", "invited", "unconfirmed") else None


def check(setup: wire.Setup, row: GeminiRow, door: Door) -> Close | None:
    """Returns why a setup is refused; None: it is not. The handle is looked at elsewhere."""
    resumption = setup.session_resumption
    generation = setup.generation_config or wire.GenerationConfig()
    thinking = generation.thinking_config or wire.ThinkingConfig()
    proactivity = setup.proactivity
    gemini = door.platform == "gemini"
    if gemini and proactivity is not None and door.version != "v1alpha":
        return refusals.unknown_field("setup.proactivity")
    if gemini and resumption is not None and resumption.transparent:
        return refusals.unknown_field("setup.session_resumption.transparent")
    if gemini and setup.explicit_vad_signal is not None:
        return refusals.unknown_field("setup.explicit_vad_signal")
    if not gemini and setup.history_config is not None:
        return refusals.unknown_field("setup.history_config")
    if thinking.thinking_level is not None and row.thinking_level == "refused":
        return refusals.BAD_ARGUMENT
    if thinking.thinking_level is None and row.thinking_level == "required":
        return refusals.BAD_ARGUMENT
    if proactivity is not None and proactivity.proactive_audio is False and not row.silent_by_choice:
        return refusals.BAD_ARGUMENT
    if set(generation.response_modalities) - set(row.modalities) or len(generation.response_modalities) > 1:
        return refusals.BAD_ARGUMENT
    return None


def unknown(paths: Sequence[str]) -> str | None:
    """Returns the first of the members that `unbroken_gemini.wire` does not know and the service does not know either.

    Args:
        paths: as the codec names them, in either spelling ("setup.generationConfig.candidate_count").
    """
    for path in paths:
        parent, _, name = path.rpartition(".")
        if parent.lower().replace("_", "") != "setup.generationconfig" or _spelt(name) not in _ALSO_GENERATION:
            return path
    return None


def _spelt(name: str) -> str:
    return name.lower().replace("_", "")


def declared(tools: Sequence[wire.Tool]) -> frozenset[str]:
    """Returns the names of the functions that the model may call."""
    return frozenset(function.name for tool in tools for function in tool.function_declarations)
