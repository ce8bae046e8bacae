"""JSON schema in the form that the Live API reads."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from unbroken_gemini.schemas import parameters


def of(schema: Any, **besides: Any) -> Any:
    """Converts the schema of one argument."""
    converted = parameters({"type": "object", "properties": {"a": schema}} | besides)
    assert converted is not None
    return converted["properties"]["a"]


class Node(BaseModel):
    children: list[Node] = []


@pytest.mark.parametrize(
    ("schema", "converted"),
    [
        ({"type": "string"}, {"type": "STRING"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer", "null"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}], "nullable": True}),
        ({"type": "integer", "minimum": 1, "maximum": 3, "multipleOf": 2}, {"type": "INTEGER", "minimum": 1, "maximum": 3}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "STRING"}),
        ({"type": "number", "format": "double"}, {"type": "NUMBER", "format": "double"}),
        ({"enum": ["x", None]}, {"type": "STRING", "enum": ["x"], "nullable": True}),
        ({"const": "x"}, {"type": "STRING", "enum": ["x"]}),
        (
            {"type": "integer", "enum": [1, 2], "description": "How many."},
            {"type": "INTEGER", "description": "How many. One of: 1, 2."},
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, {"type": "STRING", "nullable": True}),
        ({"oneOf": [{"type": "string"}, {"type": "boolean"}]}, {"anyOf": [{"type": "STRING"}, {"type": "BOOLEAN"}]}),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
                    {"properties": {"y": {}}},
                ],
                "title": "T",
            },
            {"title": "T", "type": "OBJECT", "properties": {"x": {"type": "STRING"}, "y": {}}, "required": ["x"]},
        ),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}, "minItems": 1},
            {"type": "ARRAY", "items": {"type": "ARRAY", "items": {"type": "NUMBER"}}, "minItems": 1},
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "OBJECT"}),
        (
            {"type": "object", "properties": {"const": {"type": "string"}, "$ref": {"type": "string"}}},
            {"type": "OBJECT", "properties": {"const": {"type": "STRING"}, "$ref": {"type": "STRING"}}},
        ),
        ({}, {}),
    ],
)
def test_one_by_one(schema: Any, converted: Any) -> None:
    assert of(schema) == converted


def test_references_are_followed_and_what_stands_beside_them_wins() -> None:
    defs = {"City": {"type": "string", "description": "any", "title": "City"}}
    assert of({"$ref": "#/$defs/City", "description": "where"}, **{"$defs": defs}) == {
        "type": "STRING",
        "description": "where",
        "title": "City",
    }


def test_a_recursive_type_ends() -> None:
    children = {"title": "Children", "type": "ARRAY", "items": {"type": "OBJECT"}, "default": []}
    assert of({"$ref": "#/$defs/Node"}, **{"$defs": Node.model_json_schema()["$defs"]}) == {
        "title": "Node",
        "type": "OBJECT",
        "properties": {"children": children},
    }
    looped = {"N": {"type": "object", "properties": {"n": {"allOf": [{"$ref": "#/$defs/N"}]}}}}
    assert of({"$ref": "#/$defs/N"}, **{"$defs": looped}) == {"type": "OBJECT", "properties": {"n": {"type": "OBJECT"}}}


def test_a_function_without_arguments_has_no_parameters() -> None:
    assert parameters({"type": "object", "properties": {}}) is None
    assert parameters({}) is None


def test_a_reference_that_leads_nowhere_is_told() -> None:
    with pytest.raises(ValueError, match=r"^the reference '#/\$defs/Gone' leads nowhere$"):
        of({"$ref": "#/$defs/Gone"})


def _list_of(kind: Any) -> Any:
    return list[kind]


def _or_none(kind: Any) -> Any:
    return kind | None


def _object_with(kind: Any) -> Any:
    return _model("Inner", {"x": (kind, ...)})


def _model(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    make: Any = create_model
    made: type[BaseModel] = make(name, **fields)
    return made


_FIELDS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([int, str, bool, float]),
    lambda inner: inner.map(_list_of) | inner.map(_or_none) | inner.map(_object_with),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["a", "b_c", "const", "items"]), _FIELDS, min_size=1))
def test_what_comes_out_is_a_schema_that_google_knows(fields: dict[str, Any]) -> None:
    model = _model("Arguments", {name: (kind, ...) for name, kind in fields.items()})
    converted = parameters(model.model_json_schema())
    assert converted is not None
    assert set(types.Schema.model_validate(converted).properties or {}) == set(fields)
    assert converted["required"] == list(fields)
