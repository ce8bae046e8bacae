"""Bytes to messages of the Gemini Live API and back; needs nothing of google-genai.

Two paths. The fast one decodes straight into the structs of `unbroken_gemini.wire`, base64 included. Whatever it refuses
goes the tolerant way: parsed first, then led member by member to where it belongs, as lenient as the service's own parser
(protobuf JSON: lowerCamelCase and snake_case, both base64 alphabets with or without padding, 64-bit integers as strings,
nulls for absent members). Members that nobody knows are left out there, and named. google-genai's client sends snake_case
and URL-safe base64; Google's server sends lowerCamelCase and standard base64.
"""

from __future__ import annotations

import binascii
import functools
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from unbroken.errors import WireError
from unbroken_gemini import wire

__all__ = [
    "decode_client",
    "decode_server",
    "encode_client",
    "encode_server",
    "seconds",
]

_Message = TypeVar("_Message", bound=wire.Wire)

_NAMED = 16
"""Unknown members named per message; a message that is all unknown must not become a flood of names."""

_URL_SAFE = str.maketrans("-_", "+/")
_STATUS = frozenset({"code", "message", "status", "details"})

_encoder = msgspec.json.Encoder()
_client_decoder = msgspec.json.Decoder(wire.ClientMessage)
_server_decoder = msgspec.json.Decoder(wire.ServerMessage)


def encode_client(message: wire.ClientMessage) -> bytes:
    """Encodes one message to the service: UTF-8 JSON, lowerCamelCase, standard base64.

    Raises:
        WireError: the message holds something that JSON cannot (in a function's response, say).
    """
    return _encode(message)


def encode_server(message: wire.ServerMessage) -> bytes:
    """Encodes one message from the service, for simulated ones: UTF-8 JSON, lowerCamelCase, standard base64.

    Raises:
        WireError: the message holds something that JSON cannot.
    """
    return _encode(message)


def decode_client(data: bytes | str, *, skipped: list[str] | None = None) -> wire.ClientMessage:
    """Decodes one message to the service, for simulated ones.

    Args:
        data: a text or binary WebSocket message.
        skipped: takes the paths of unknown members ("setup.colour"), at most 16; None: they are not wanted.

    Raises:
        WireError: it is not JSON, not an object, or a known member has the wrong type.
    """
    return _decode(data, _client_decoder, wire.ClientMessage, skipped)


def decode_server(data: bytes | str, *, skipped: list[str] | None = None) -> wire.ServerMessage:
    """Decodes one message from the service.

    Args:
        data: a text or binary WebSocket message. An empty one counts as ``{}``.
        skipped: takes the paths of unknown members ("serverContent.colour"), at most 16; None: they are not wanted.

    Raises:
        WireError: it is not JSON, not an object, or a known member has the wrong type.
    """
    return _decode(data, _server_decoder, wire.ServerMessage, skipped)


def seconds(duration: str | int | float) -> float:
    """Reads a duration of protobuf JSON ("50s", "1.5s"); a bare number counts as seconds, "" as none.

    Raises:
        WireError: it is no duration.
    """
    try:
        value = float(duration.removesuffix("s") or 0) if isinstance(duration, str) else float(duration)
    except (ValueError, OverflowError):
        raise WireError(f"not a duration: {str(duration)[:40]!r}; expected the like of '1.5s'") from None
    if not math.isfinite(value):
        raise WireError(f"not a duration: {str(duration)[:40]!r}; expected the like of '1.5s'")
    return max(value, 0.0)


def _encode(message: wire.Wire) -> bytes:
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"a message that cannot be encoded as JSON: {error}") from error


def _decode(
    data: bytes | str, decoder: msgspec.json.Decoder[_Message], cls: type[_Message], skipped: list[str] | None
) -> _Message:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _decode_tolerantly(data, cls, [] if skipped is None else skipped)


# -- The tolerant way ---------------------------------------------------------------------------------------------------


def _decode_tolerantly(data: bytes | str, cls: type[_Message], skipped: list[str]) -> _Message:
    try:
        parsed: object = msgspec.json.decode(data) if data else {}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"a message that is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise WireError(f"a message that is not a JSON object but a {type(parsed).__name__}")
    members = cast("dict[str, Any]", parsed)
    if cls is wire.ServerMessage and "code" in members and "error" not in members:
        members = {"error": {k: v for k, v in members.items() if k in _STATUS}} | {
            k: v for k, v in members.items() if k not in _STATUS
        }
    settled = _settle_struct(cls, members, "", skipped)
    try:
        return msgspec.convert(settled, cls, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise WireError(f"a message with a member of the wrong type: {error}") from None


@functools.cache
def _members(cls: type[msgspec.Struct]) -> Mapping[str, inspect.Field]:
    """Returns a struct's fields by both of their spellings."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return {spelling: field for field in info.fields for spelling in (field.name, field.encode_name)}


def _settle_struct(cls: type[msgspec.Struct], value: object, path: str, skipped: list[str]) -> dict[str, Any]:
    """Returns an object's known members under their wire names, without nulls; names the others in ``skipped``."""
    if not isinstance(value, dict):
        raise WireError(f"a message with a member of the wrong type: {path} is not an object")
    fields = _members(cls)
    settled: dict[str, Any] = {}
    for key, member in cast("dict[str, Any]", value).items():
        where = f"{path}.{key[:60]}" if path else key[:60]
        if (field := fields.get(key)) is None:
            if len(skipped) < _NAMED:
                skipped.append(where)
        elif member is not None:
            settled[field.encode_name] = _settle(field.type, member, where, skipped)
    return settled


def _settle(kind: inspect.Type, value: object, path: str, skipped: list[str]) -> object:
    """Returns one member's value with everything below it put right, as far as its type asks for that."""
    match kind:
        case inspect.UnionType(types=types):
            inner = [t for t in types if not isinstance(t, inspect.NoneType)]
            return _settle(inner[0], value, path, skipped) if len(inner) == 1 else value
        case inspect.StructType(cls=cls):
            return _settle_struct(cls, value, path, skipped)
        case inspect.VarTupleType(item_type=item):
            if not isinstance(value, list):
                raise WireError(f"a message with a member of the wrong type: {path} is not an array")
            items = cast("list[object]", value)
            return [_settle(item, member, path, skipped) for member in items if member is not None]
        case inspect.BytesType():
            return _bytes(value, path)
        case _:
            return value


def _bytes(value: object, path: str) -> bytes:
    """Reads base64 of either alphabet, padded or not."""
    if not isinstance(value, str):
        raise WireError(f"a message with a member of the wrong type: {path} is not base64")
    text = value.rstrip("=").translate(_URL_SAFE)
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"a message with a member of the wrong type: {path} is not base64: {error}") from None
