"""The codec against everything that the service's own parser takes, and against everything that it does not."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.errors import WireError
from unbroken_gemini import codec, wire

# -- any message at all -------------------------------------------------------------------------------------------------

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_JSON = st.dictionaries(
    _TEXT, st.none() | st.booleans() | st.integers(-9, 9) | _TEXT | st.lists(st.integers(0, 3)), max_size=2
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: st.integers(0, 2**40),
    float: st.floats(0, 1e6, allow_nan=False).filter(lambda x: x != 0),
    bool: st.just(True),
    bytes: st.binary(max_size=9),
    Any: _JSON,
}


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a member's type, as far as it survives being left out when it is the default."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, wire.Wire):
        return _messages(hint)
    match get_origin(hint), get_args(hint):
        case origin, args if origin in (types.UnionType, Union):
            return st.one_of([st.none() if arg is type(None) else _values(arg) for arg in args])
        case origin, (item, _) if origin is tuple:
            return st.lists(_values(item), max_size=2).map(tuple)
        case origin, (_, item) if origin is dict:
            return st.dictionaries(_TEXT, _values(item), max_size=2) if item is str else _JSON
    raise AssertionError(hint)


def _messages(cls: type[wire.Wire]) -> st.SearchStrategy[Any]:
    hints = {name: hint for name, hint in get_type_hints(cls).items() if not name.startswith("__")}
    members = {name: _values(hint) for name, hint in hints.items()}
    return st.fixed_dictionaries({}, optional=members).map(lambda given: cls(**given))


CLIENT = _messages(wire.ClientMessage)
SERVER = _messages(wire.ServerMessage)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _twisted(value: Any, cls: Any, draw: st.DataObject) -> Any:
    """The same message as another client might spell it: other casing, other base64, nulls between."""
    if isinstance(cls, type) and issubclass(cls, wire.Wire) and isinstance(value, dict):
        hints = get_type_hints(cls)
        named = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(cls)}
        twisted = {
            (_snake(name) if draw.draw(st.booleans()) else name): _twisted(member, named[name], draw)
            for name, member in value.items()
        }
        absent = [name for name in named if name not in value]
        nulls = draw.draw(st.lists(st.sampled_from(absent), max_size=2)) if absent else []
        return twisted | dict.fromkeys(nulls)
    inner = [arg for arg in get_args(cls) if arg not in (type(None), Ellipsis)]
    if get_origin(cls) in (types.UnionType, Union) and len(inner) == 1:
        return _twisted(value, inner[0], draw)
    if get_origin(cls) is tuple:
        return [_twisted(item, inner[0], draw) for item in value]
    if cls is bytes and isinstance(value, str):
        return _base64(base64.b64decode(value), draw)
    if cls is int and isinstance(value, int) and draw.draw(st.booleans()):
        return str(value)
    return value


def _base64(data: bytes, draw: st.DataObject) -> str:
    text = base64.b64encode(data, altchars=draw.draw(st.sampled_from([b"+/", b"-_"]))).decode()
    return text.rstrip("=") if draw.draw(st.booleans()) else text


@given(CLIENT)
def test_client_messages_come_back_as_they_went(message: wire.ClientMessage) -> None:
    skipped: list[str] = []
    assert codec.decode_client(codec.encode_client(message), skipped=skipped) == message
    assert skipped == []


@given(SERVER)
def test_server_messages_come_back_as_they_went(message: wire.ServerMessage) -> None:
    skipped: list[str] = []
    assert codec.decode_server(codec.encode_server(message), skipped=skipped) == message
    assert skipped == []


@given(CLIENT, st.data())
def test_any_spelling_of_a_client_message_means_the_same(message: wire.ClientMessage, draw: st.DataObject) -> None:
    spelled = _twisted(json.loads(codec.encode_client(message)), wire.ClientMessage, draw)
    skipped: list[str] = []
    assert codec.decode_client(json.dumps(spelled), skipped=skipped) == message
    assert skipped == []


@given(SERVER, st.data())
def test_any_spelling_of_a_server_message_means_the_same(message: wire.ServerMessage, draw: st.DataObject) -> None:
    spelled = _twisted(json.loads(codec.encode_server(message)), wire.ServerMessage, draw)
    skipped: list[str] = []
    assert codec.decode_server(json.dumps(spelled).encode(), skipped=skipped) == message
    assert skipped == []


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_garbage_is_a_wire_error_or_a_message_and_nothing_else(data: bytes) -> None:
    for decode in (codec.decode_server, codec.decode_client):
        try:
            decode(data)
        except WireError:
            continue


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["serverContent", "modelTurn", "parts", "inlineData", "data", "toolCall", "ids", "goAway", "x"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_wire_error_or_a_message_and_nothing_else(value: Any) -> None:
    try:
        codec.decode_server(json.dumps(value))
    except WireError:
        return


# -- one by one ---------------------------------------------------------------------------------------------------------


def test_what_nobody_knows_is_left_out_and_named() -> None:
    skipped: list[str] = []
    message = codec.decode_server(
        b'{"brandNew":{"a":1},"serverContent":{"colour":"red","turnComplete":true,"modelTurn":{"parts":[{"text":"x","smell":1}]}}}',
        skipped=skipped,
    )
    part = wire.Part(text="x")
    assert message == wire.ServerMessage(
        server_content=wire.ServerContent(turn_complete=True, model_turn=wire.Content(parts=(part,)))
    )
    assert skipped == ["brandNew", "serverContent.colour", "serverContent.modelTurn.parts.smell"]


def test_a_flood_of_unknown_names_is_cut() -> None:
    skipped: list[str] = []
    codec.decode_server(json.dumps({f"x{i}" * 40: i for i in range(1000)}), skipped=skipped)
    assert len(skipped) == 16
    assert max(map(len, skipped)) == 60


def test_what_the_application_calls_its_arguments_is_left_alone() -> None:
    arguments = {"city_name": "Nice", "cityName": None, "data": "_-8", "nested": {"mime_type": 1}}
    sent = {"tool_call": {"function_calls": [{"id": "1", "name": "f", "args": arguments}]}}
    message = codec.decode_server(json.dumps(sent))
    assert message.tool_call is not None
    assert message.tool_call.function_calls[0].args == arguments


@pytest.mark.parametrize(
    "sent",
    [
        {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [{"a": 1}]},
        {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [{"a": 1}]}},
    ],
)
def test_an_error_object_is_an_error_in_either_place(sent: Any) -> None:
    status = wire.Status(code=429, message="slow down", status="RESOURCE_EXHAUSTED", details=({"a": 1},))
    assert codec.decode_server(json.dumps(sent)) == wire.ServerMessage(error=status)


def test_a_resumption_update_is_read_in_every_form() -> None:
    for index in (42, "42"):
        sent = {"sessionResumptionUpdate": {"newHandle": "h", "resumable": True, "lastConsumedClientMessageIndex": index}}
        update = codec.decode_server(json.dumps(sent)).session_resumption_update
        assert update is not None
        assert (update.new_handle, update.resumable, int(update.last_consumed_client_message_index or 0)) == ("h", True, 42)
    bare = codec.decode_server(b'{"sessionResumptionUpdate":{"resumable":true,"newHandle":null}}')
    assert bare.session_resumption_update == wire.SessionResumptionUpdate(resumable=True)


@pytest.mark.parametrize("empty", [b"", "", b"{}", "{}", b" {} "])
def test_an_empty_message_says_nothing(empty: bytes | str) -> None:
    assert codec.decode_server(empty) == wire.ServerMessage()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[]", "a message that is not a JSON object but a list"),
        (b"nothing", "a message that is not JSON: JSON is malformed: invalid character (byte 4)"),
        (
            '"\ud800"',
            "a message that is not JSON: 'utf-8' codec can't encode character '\\ud800' in position 1: "
            "surrogates not allowed",
        ),
        (b'{"a":' * 100_000, "a message that is not JSON: maximum recursion depth exceeded while deserializing an object"),
        (b'{"serverContent":5}', "a message with a member of the wrong type: serverContent is not an object"),
        (
            b'{"toolCall":{"functionCalls":{}}}',
            "a message with a member of the wrong type: toolCall.functionCalls is not an array",
        ),
        (
            b'{"serverContent":{"turnComplete":"maybe"}}',
            "a message with a member of the wrong type: Expected `bool`, got `str` - at `$.serverContent.turnComplete`",
        ),
    ],
)
def test_what_is_malformed_is_told(data: bytes | str, said: str) -> None:
    with pytest.raises(WireError, match=f"^{re.escape(said)}$"):
        codec.decode_server(data)


@pytest.mark.parametrize("data", ["A", "AA=A", "A=A=", "A%AA", 5, ["AAAA"]])
def test_what_is_not_base64_is_told_with_its_place(data: object) -> None:
    sent = json.dumps({"realtimeInput": {"audio": {"data": data}}})
    with pytest.raises(
        WireError, match=r"^a message with a member of the wrong type: realtimeInput\.audio\.data is not base64"
    ):
        codec.decode_client(sent)


def test_a_response_that_is_not_json_is_told() -> None:
    response = wire.FunctionResponse(name="f", response={"at": object()})
    with pytest.raises(WireError, match="a message that cannot be encoded as JSON: Encoding objects of type object"):
        codec.encode_client(wire.ClientMessage(tool_response=wire.ToolResponse(function_responses=(response,))))


@pytest.mark.parametrize(
    ("duration", "value"),
    [
        ("50s", 50.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        ("", 0.0),
        ("-3s", 0.0),
        ("7", 7.0),
        (2, 2.0),
        (0.25, 0.25),
        ("0.000000001s", 1e-9),
    ],
)
def test_durations(duration: str | float, value: float) -> None:
    assert codec.seconds(duration) == value


@pytest.mark.parametrize("duration", ["soon", "nans", "infs", "1m", float("inf"), 10**400])
def test_what_is_no_duration_is_told(duration: str | float) -> None:
    with pytest.raises(WireError, match=r"^not a duration: '.*'; expected the like of '1\.5s'$"):
        codec.seconds(duration)


def test_handles_are_not_printed() -> None:
    server = wire.ServerMessage(session_resumption_update=wire.SessionResumptionUpdate(new_handle="hush"))
    client = wire.ClientMessage(setup=wire.Setup(session_resumption=wire.SessionResumption(handle="hush")))
    assert "hush" not in f"{server!r}{client!r}{server.session_resumption_update.__rich_repr__()}"  # type: ignore[union-attr]


def test_the_codec_needs_nothing_of_google() -> None:
    code = (
        "import sys, unbroken_gemini.codec, unbroken_gemini.connection;"
        "print([m for m in sys.modules if m.startswith('google.genai') or m == 'pydantic'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
