"""One link's conversation: what goes out in the form that the model's row wants, what comes in as events in their order."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.config import Secret
from unbroken.errors import WireError
from unbroken.events import (
    ActivityMark,
    Audio,
    Interrupted,
    ModelTranscript,
    Text,
    ToolCall,
    ToolCallCancelled,
    ToolResult,
    Turn,
    Usage,
    UserActivity,
    UserText,
    UserTranscript,
)
from unbroken.wire import GenerationComplete, GoAway, HandleIssued, ProviderFault, SetupDone, Skipped, TurnComplete
from unbroken_gemini import codec, models, wire
from unbroken_gemini.connection import GeminiConnection, Plan


def connection(model: str = "gemini-3.8-live", platform: str = "gemini") -> GeminiConnection:
    row = models.known(model, platform=platform)
    return GeminiConnection(Plan(setup={"model": model, "sessionResumption": {}}, row=row, platform=platform))


def sent(data: bytes) -> Any:
    return json.loads(data)


# -- out ----------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=99))
def test_audio_goes_as_it_came(pcm: bytes) -> None:
    blob = wire.Blob(data=pcm, mime_type="audio/pcm;rate=16000")
    message = wire.ClientMessage(realtime_input=wire.RealtimeInput(audio=blob))
    assert codec.decode_client(connection().audio(memoryview(pcm))) == message
    assert codec.decode_client(connection().audio(pcm)) == message


@pytest.mark.parametrize("handle", [None, Secret("h")])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-3.8-live", {"realtimeInput": {"text": "Hi."}}),
        ("gemini-3.1-flash-live-preview", {"realtimeInput": {"text": "Hi."}}),
        (
            "gemini-2.5-flash-native-audio-preview-12-2025",
            {"clientContent": {"turns": [{"role": "user", "parts": [{"text": "Hi."}]}], "turnComplete": True}},
        ),
    ],
)
def test_text_goes_in_the_form_that_survives_a_resume(model: str, expected: Any, handle: Secret | None) -> None:
    talking = connection(model)
    talking.setup(handle=handle, seeded=False)
    assert sent(talking.text(UserText(text="Hi."))) == expected


def test_text_that_is_not_to_be_answered_stays_open_where_that_can_be_said() -> None:
    data = connection("gemini-live-2.5-flash-native-audio", "vertex").text(UserText(text="Hi.", turn_complete=False))
    assert sent(data) == {"clientContent": {"turns": [{"role": "user", "parts": [{"text": "Hi."}]}]}}


@pytest.mark.parametrize(
    ("turn", "content", "text"),
    [
        (Turn(role="user", text="a"), {"role": "user", "parts": [{"text": "a"}]}, "a"),
        (Turn(role="model", text="b"), {"role": "model", "parts": [{"text": "b"}]}, 'You said before: "b"'),
        (Turn(role="tool", text="c"), {"role": "user", "parts": [{"text": "c"}]}, "c"),
    ],
)
def test_context_asks_for_no_answer(turn: Turn, content: Any, text: str) -> None:
    old = connection("gemini-2.5-flash-native-audio-preview-12-2025")
    assert sent(old.context(turn)) == {"clientContent": {"turns": [content]}}
    said = f"{text} (For your information; this needs no answer.)"
    assert sent(connection().context(turn)) == {"realtimeInput": {"text": said}}


def test_what_the_application_tells_goes_in_one_message() -> None:
    turns = [
        Turn(role="user", text="I am Ada."),
        Turn(role="model", text="Hello."),
        Turn(role="tool", text="Ada has a dog."),
    ]
    old = connection("gemini-2.5-flash-native-audio-preview-12-2025")
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in (("user", "I am Ada."), ("model", "Hello."))]
    contents.append({"role": "user", "parts": [{"text": "Ada has a dog."}]})
    assert [sent(message) for message in old.told(turns)] == [{"clientContent": {"turns": contents}}]
    said = 'I am Ada.\nYou said before: "Hello."\nAda has a dog. (For your information; this needs no answer.)'
    assert [sent(message) for message in connection().told(turns)] == [{"realtimeInput": {"text": said}}]


def test_an_image_goes_as_a_frame_of_video() -> None:
    data = connection().image(b"\xff\xd8\xff an image", mime_type="image/jpeg")
    video = {"mimeType": "image/jpeg", "data": base64.b64encode(b"\xff\xd8\xff an image").decode()}
    assert sent(data) == {"realtimeInput": {"video": video}}


@pytest.mark.parametrize(
    ("model", "scheduling"),
    [
        ("gemini-3.8-live", {"scheduling": "SILENT"}),
        ("gemini-3.8-live-extended-thinking", {}),
        ("gemini-3.1-flash-live-preview", {}),
    ],
)
def test_scheduling_goes_only_where_it_does_not_close_the_session(model: str, scheduling: dict[str, str]) -> None:
    data = connection(model).tool_result(ToolResult(call_id="1", name="f", result={"output": 3}, scheduling="SILENT"))
    response = {"id": "1", "name": "f", "response": {"output": 3}} | scheduling
    assert sent(data) == {"toolResponse": {"functionResponses": [response]}}


def test_a_result_that_is_no_object_is_wrapped() -> None:
    result: Any = [1, 2]
    data = connection().tool_result(ToolResult(call_id="1", name="f", result=result))
    assert sent(data)["toolResponse"]["functionResponses"][0]["response"] == {"output": [1, 2]}


def test_a_call_without_an_id_gets_one_here_and_none_there() -> None:
    talking = connection("gemini-3.8-live", "vertex")
    calls = talking.receive('{"toolCall":{"functionCalls":[{"name":"f","args":{"x":1}},{"name":"f"}]}}')
    assert [(type(call), call.name) for call in calls if isinstance(call, ToolCall)] == [(ToolCall, "f"), (ToolCall, "f")]
    ids = [call.call_id for call in calls if isinstance(call, ToolCall)]
    assert len({*ids, ""}) == 3
    data = talking.tool_result(ToolResult(call_id=ids[1], name="f", result={"ok": True}))
    assert sent(data) == {"toolResponse": {"functionResponses": [{"name": "f", "response": {"ok": True}}]}}


@pytest.mark.parametrize(
    ("mark", "expected"),
    [("start", {"activityStart": {}}), ("end", {"activityEnd": {}}), ("stream_end", {"audioStreamEnd": True})],
)
def test_marks(mark: Any, expected: Any) -> None:
    assert sent(connection().activity(ActivityMark(mark=mark))) == {"realtimeInput": expected}


def test_no_history_no_opening() -> None:
    talking = connection()
    talking.setup(handle=None, seeded=False)
    assert talking.opening(()) == ()
    talking.setup(handle=Secret("h"), seeded=True)
    assert talking.opening(()) == ()


@pytest.mark.parametrize(
    ("platform", "said"),
    [("gemini", [{"clientContent": {"turnComplete": True}}]), ("vertex", [])],
)
def test_an_announced_history_is_ended_also_where_it_is_empty(platform: str, said: Any) -> None:
    talking = connection(platform=platform)
    talking.setup(handle=None, seeded=True)
    assert [sent(message) for message in talking.opening(())] == said
    assert [sent(message) for message in talking.opening((Turn(role="user", text=""),))] == said


# -- in -----------------------------------------------------------------------------------------------------------------


def test_one_message_with_everything_comes_in_the_order_in_which_it_applies() -> None:
    message = {
        "sessionResumptionUpdate": {"newHandle": "h", "resumable": True, "lastConsumedClientMessageIndex": "7"},
        "goAway": {"timeLeft": "50s"},
        "usageMetadata": {"promptTokenCount": 1, "responseTokenCount": 2, "totalTokenCount": 3},
        "toolCallCancellation": {"ids": ["a", "b"]},
        "toolCall": {"functionCalls": [{"id": "c", "name": "f", "args": {"x": [1]}}]},
        "serverContent": {
            "turnComplete": True,
            "interrupted": True,
            "generationComplete": True,
            "turnCompleteReason": "NEED_MORE_INPUT",
            "interactionStatus": "IN_PROGRESS",
            "outputTranscription": {"text": "out", "finished": True},
            "modelTurn": {
                "parts": [
                    {"text": "hm", "thought": True},
                    {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAEC"}},
                    {"text": "said"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAEC"}},
                    {"executableCode": {"code": "1"}},
                ]
            },
            "inputTranscription": {"text": "in"},
            "interimInputTranscription": {"text": "i"},
            "groundingMetadata": {},
            "novelty": 1,
        },
        "voiceActivity": {"type": "ACTIVITY_START", "audioOffset": "1.5s"},
        "voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_EOS"},
        "setupComplete": {"sessionId": "s"},
    }
    assert connection().receive(json.dumps(message)) == [
        SetupDone(session_id="s"),
        UserActivity(speaking=True, offset=1.5),
        UserActivity(speaking=False),
        UserTranscript(text="i", interim=True),
        UserTranscript(text="in"),
        Text(text="hm", thought=True),
        Audio(b"\x00\x01", 24_000),
        Text(text="said"),
        Skipped(what="serverContent.modelTurn.parts.inlineData image/png"),
        Skipped(what="serverContent.modelTurn.parts.executableCode"),
        ModelTranscript(text="out", finished=True),
        ToolCall(call_id="c", name="f", arguments={"x": [1]}),
        ToolCallCancelled(call_ids=("a", "b")),
        GenerationComplete(),
        Interrupted(),
        TurnComplete(reason="NEED_MORE_INPUT", more=True),
        Usage(input_tokens=1, output_tokens=2, total_tokens=3),
        HandleIssued(handle=Secret("h"), resumable=True, consumed_index=7),
        GoAway(time_left=50.0),
        Skipped(what="serverContent.novelty"),
    ]


@pytest.mark.parametrize(
    ("message", "events"),
    [
        ({}, []),
        ({"serverContent": {}}, []),
        ({"serverContent": {"outputTranscription": {}, "inputTranscription": {"text": ""}, "groundingMetadata": {}}}, []),
        ({"serverContent": {"inputTranscription": {"finished": True}}}, [UserTranscript(text="", finished=True)]),
        (
            {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "AAA="}}]}}},
            [Audio(b"\0\0", 24_000)],
        ),
        (
            {
                "serverContent": {
                    "modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm; rate=8000", "data": "AAA"}}]}
                }
            },
            [Audio(b"\0\0", 8_000)],
        ),
        (
            {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=x", "data": "_-8"}}]}}},
            [Audio(b"\xff\xef", 24_000)],
        ),
        ({"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm"}}]}}}, []),
        ({"serverContent": {"turnComplete": True, "interactionStatus": "IDLE"}}, [TurnComplete()]),
        (
            {"serverContent": {"turnComplete": True, "turnCompleteReason": "TURN_COMPLETE_REASON_UNSPECIFIED"}},
            [TurnComplete()],
        ),
        ({"sessionResumptionUpdate": {"resumable": True}}, [HandleIssued(resumable=True)]),
        ({"sessionResumptionUpdate": {"newHandle": "", "resumable": False}}, [HandleIssued()]),
        ({"sessionResumptionUpdate": {"lastConsumedClientMessageIndex": "9" * 5000}}, [HandleIssued()]),
        ({"sessionResumptionUpdate": {"lastConsumedClientMessageIndex": 0}}, [HandleIssued(consumed_index=0)]),
        ({"goAway": {}}, [GoAway(time_left=0.0)]),
        ({"toolCall": {}}, []),
        ({"code": 429, "message": "slow down"}, [ProviderFault(code=429, reason="slow down")]),
        ({"error": {"status": "UNAVAILABLE"}}, [ProviderFault(reason="UNAVAILABLE")]),
        ({"brandNewMessage": {}}, [Skipped(what="brandNewMessage")]),
        ({"voiceActivity": {"type": "ACTIVITY_END"}}, [UserActivity(speaking=False)]),
        ({"voiceActivity": {"type": "ACTIVITY_NEW"}}, [Skipped(what="voiceActivity ACTIVITY_NEW")]),
        ({"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_SOS"}}, [UserActivity(speaking=True)]),
        ({"voiceActivityDetectionSignal": {}}, [Skipped(what="voiceActivityDetectionSignal ")]),
    ],
)
def test_what_comes_in(message: Any, events: list[object]) -> None:
    assert list(connection().receive(json.dumps(message).encode())) == events


def test_both_platforms_count_tokens() -> None:
    counts = [
        {"modality": "AUDIO", "tokenCount": 5},
        {"modality": "AUDIO", "tokenCount": 1},
        {"modality": "TEXT", "tokenCount": 2},
    ]
    shared = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 1,
        "toolUsePromptTokenCount": 2,
        "thoughtsTokenCount": 3,
        "totalTokenCount": 18,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
    }
    expected = Usage(
        input_tokens=10,
        output_tokens=8,
        cached_tokens=1,
        thought_tokens=3,
        tool_tokens=2,
        total_tokens=18,
        input_details={"TEXT": 10},
        output_details={"AUDIO": 6, "TEXT": 2},
    )
    for reply in ("response", "candidates"):
        usage = shared | {f"{reply}TokenCount": 8, f"{reply}TokensDetails": counts}
        assert connection().receive(json.dumps({"usageMetadata": usage})) == [expected]


@pytest.mark.parametrize("data", ["[]", "{", '{"goAway":{"timeLeft":"soon"}}', '{"serverContent":[]}'])
def test_what_is_not_of_the_protocol_is_a_wire_error(data: str) -> None:
    with pytest.raises(WireError):
        connection().receive(data)


def test_repr() -> None:
    assert repr(connection()) == "<GeminiConnection gemini-3.8-live on gemini>"
    assert repr(Plan(setup={"model": "m"}, row=models.stranger("m"))) == "<Plan for m on gemini>"
