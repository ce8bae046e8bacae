"""JSON schema to the OpenAPI subset of ``FunctionDeclaration.parameters``.

google-genai declares Python callables and pydantic models by ``parametersJsonSchema``, which the Live API ignores without a
word (pydantic-ai, realtime/google.py), and its own ``Schema.from_json_schema`` drops const, oneOf and allOf as silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["parameters"]

_Schema = Mapping[str, Any]

_KEPT = frozenset(
    {
        "default",
        "description",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "title",
    }
)

_FORMATS = {
    "string": frozenset({"date-time"}),
    "integer": frozenset({"int32", "int64"}),
    "number": frozenset({"float", "double"}),
}
"""Formats that the Gemini API takes per type; it refuses others ("uri", "email")."""


def parameters(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns a function's parameters in the form that the Live API reads.

    What the subset cannot say is said in the description (numbers to choose from) or left out (additionalProperties, the
    inside of a recursive type).

    Args:
        schema: JSON schema of an object, draft 2020-12 as pydantic writes it.

    Returns:
        The schema with its types in capitals; None: the function takes no arguments, which is declared by no parameters.

    Raises:
        ValueError: a ``$ref`` leads nowhere.
    """
    converted = _convert(schema, schema, ())
    return converted if converted.get("properties") else None


def _convert(schema: _Schema, root: _Schema, within: tuple[str, ...]) -> dict[str, Any]:
    """Converts one schema. ``within`` names the references on the way here, so that a recursive one ends."""
    if (reference := schema.get("$ref")) is not None:
        if reference in within:
            return {"type": "OBJECT"}
        within = (*within, reference)
        schema = {**_resolve(reference, root), **{k: v for k, v in schema.items() if k != "$ref"}}
        return _convert(schema, root, within)
    converted = {name: value for name, value in schema.items() if name in _KEPT}
    _type(schema, root, within, converted)
    _choice(schema, converted)
    if (items := schema.get("items")) is not None and isinstance(items, Mapping):
        converted["items"] = _convert(cast("_Schema", items), root, within)
    if properties := cast("Mapping[str, _Schema]", schema.get("properties", {})):
        converted["properties"] = {name: _convert(inner, root, within) for name, inner in properties.items()}
        if required := [name for name in schema.get("required", ()) if name in properties]:
            converted["required"] = required
    for part in cast("Sequence[_Schema]", schema.get("allOf", ())):
        _merge(converted, _convert(part, root, within))
    return converted


def _merge(converted: dict[str, Any], part: dict[str, Any]) -> None:
    """Takes in what a part of ``allOf`` says besides."""
    for name, value in part.items():
        match name:
            case "properties":
                converted["properties"] = value | converted.get("properties", {})
            case "required":
                converted["required"] = [*dict.fromkeys([*converted.get("required", ()), *value])]
            case _:
                converted.setdefault(name, value)


def _resolve(reference: str, root: _Schema) -> _Schema:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = cast("_Schema", found).get(step) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise ValueError(f"the reference {reference!r} leads nowhere")
    return cast("_Schema", found)


def _type(schema: _Schema, root: _Schema, within: tuple[str, ...], converted: dict[str, Any]) -> None:
    """Settles type, nullable, anyOf and format."""
    named = schema.get("type", ())
    types = [named] if isinstance(named, str) else list(cast("Sequence[str]", named))
    branches: list[_Schema] = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if len([t for t in types if t != "null"]) > 1:
        branches = [{"type": t} for t in types] + branches
    elif types and types != ["null"]:
        kind = next(t for t in types if t != "null")
        converted["type"] = kind.upper()
        if schema.get("format") in _FORMATS.get(kind, ()):
            converted["format"] = schema["format"]
    if "null" in types or any(branch.get("type") == "null" for branch in branches):
        converted["nullable"] = True
        if converted.get("default", "") is None:
            del converted["default"]
    kept = [_convert(branch, root, within) for branch in branches if branch.get("type") != "null"]
    if len(kept) == 1:
        _merge(converted, kept[0])
    elif kept:
        converted["anyOf"] = kept


def _choice(schema: _Schema, converted: dict[str, Any]) -> None:
    """Settles enum and const: the subset has enumerations of strings only."""
    values = [schema["const"]] if "const" in schema else list(cast("Sequence[object]", schema.get("enum", ())))
    chosen = [value for value in values if value is not None]
    if len(chosen) < len(values):
        converted["nullable"] = True
    if not chosen:
        return
    if all(isinstance(value, str) for value in chosen):
        converted.setdefault("type", "STRING")
        converted["enum"] = chosen
    else:
        said = f"One of: {', '.join(str(value) for value in chosen)}."
        converted["description"] = f"{converted['description']} {said}" if converted.get("description") else said
