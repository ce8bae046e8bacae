"""Recorded traffic of the real service, message by message: it decodes without a rest, and becomes these very events."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from unbroken.events import Audio, ModelTranscript, Text, ToolCall, Usage, UserTranscript
from unbroken.wire import GenerationComplete, SetupDone, TurnComplete, WireEvent
from unbroken_gemini import codec, models
from unbroken_gemini.connection import GeminiConnection, Plan

DATA = Path(__file__).parent.parent / "data" / "gemini"
NAMES = sorted(path.stem for path in DATA.glob("*.json"))


def recorded(name: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text())
    return messages


def received(name: str) -> list[Any]:
    return [message["data"] for message in recorded(name) if message["direction"] == "received"]


def events(name: str) -> list[WireEvent]:
    row = models.known("gemini-2.5-flash-native-audio-preview-09-2025", platform="gemini")
    connection = GeminiConnection(Plan(setup={}, row=row))
    return [event for data in received(name) for event in connection.receive(json.dumps(data).encode())]


def audio(name: str) -> list[Audio]:
    """The recording's audio, read by other means than the codec's."""
    blobs = [
        part["inlineData"]
        for data in received(name)
        for part in data.get("serverContent", {}).get("modelTurn", {}).get("parts", [])
        if "inlineData" in part
    ]
    whole = [base64.b64decode(blob["data"]) for blob in blobs]
    return [Audio(pcm[: len(pcm) // 2 * 2], 24_000) for pcm in whole]


def test_there_are_recordings() -> None:
    assert len(NAMES) == 4


@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_known_to_its_last_member(name: str) -> None:
    for message in recorded(name):
        skipped: list[str] = []
        data = json.dumps(message["data"])
        if message["direction"] == "received":
            decoded = codec.decode_server(data, skipped=skipped)
            assert json.loads(codec.encode_server(decoded)) == message["data"]
        else:
            sent = codec.decode_client(data, skipped=skipped)
            assert codec.decode_client(codec.encode_client(sent)) == sent
        assert skipped == []


def test_text_in_audio_out() -> None:
    thought = received("text_in_audio_out_turn")[1]["serverContent"]["modelTurn"]["parts"][0]["text"]
    assert events("text_in_audio_out_turn") == [
        SetupDone(),
        Text(text=thought, thought=True),
        ModelTranscript(text="Hello there."),
        *audio("text_in_audio_out_turn"),
        GenerationComplete(),
        TurnComplete(),
        Usage(
            input_tokens=1131,
            output_tokens=26,
            thought_tokens=24,
            total_tokens=1157,
            input_details={"TEXT": 1131},
            output_details={"AUDIO": 26},
        ),
    ]


def test_history_seeding() -> None:
    assert events("history_seeding_current") == [
        SetupDone(),
        ModelTranscript(text="Your name is Alice and your favorite color is teal."),
        GenerationComplete(),
        TurnComplete(),
        Usage(input_tokens=187, total_tokens=187, input_details={"TEXT": 154}),
    ]


def test_audio_in() -> None:
    found = events("audio_in_server_vad_turn")
    thought = found[6]
    assert isinstance(thought, Text)
    assert thought.text.startswith("**Acknowledge the Introduction**")
    assert found == [
        SetupDone(),
        *(UserTranscript(text=piece) for piece in (" Hello", ",", " my", " name", " is Marcelo.")),
        Text(text=thought.text, thought=True),
        ModelTranscript(text="Hello, Marcelo."),
        *audio("audio_in_server_vad_turn"),
        GenerationComplete(),
        TurnComplete(),
        Usage(
            input_tokens=1197,
            output_tokens=37,
            thought_tokens=28,
            total_tokens=1234,
            input_details={"TEXT": 1196, "AUDIO": 1},
            output_details={"AUDIO": 37},
        ),
    ]
    assert len(audio("audio_in_server_vad_turn")) == 7


def test_a_tool_call() -> None:
    pieces = iter(audio("tool_call_round"))

    def some(count: int) -> list[Audio]:
        return [next(pieces) for _ in range(count)]

    assert events("tool_call_round") == [
        SetupDone(),
        ToolCall(
            call_id="function-call-3225422447732038294",
            name="record_reading",
            arguments={"zqx_measurement": 5, "qbf_note": "steady"},
        ),
        *(ModelTranscript(text=piece) for piece in ("I have", " recorded", " a reading")),
        *some(7),
        ModelTranscript(text=" of 5"),
        *some(16),
        ModelTranscript(text=" with the"),
        *some(6),
        ModelTranscript(text=" note"),
        *some(7),
        ModelTranscript(text=' "steady."'),
        *some(16),
        GenerationComplete(),
        TurnComplete(),
        Usage(
            input_tokens=1267,
            output_tokens=103,
            total_tokens=1370,
            input_details={"TEXT": 1267},
            output_details={"TEXT": 22, "AUDIO": 81},
        ),
    ]
    assert next(pieces, None) is None
