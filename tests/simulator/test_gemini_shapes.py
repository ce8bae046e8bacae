"""What the simulated service says has the shapes and the order of what the real one was recorded saying."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.caller import CALM, Caller

from unbroken.testing.simulator import Message
from unbroken_gemini.testing import Call, Reply, Say, SimulatedGemini

DATA = Path(__file__).parent.parent / "data" / "gemini"
OLD = "models/gemini-2.5-flash-native-audio-preview-09-2025"

DOCUMENTED = {
    # ai.google.dev/api/live and google-genai 3.4; not in the recordings, which asked for no resumption and met no end
    "goAway": "dict",
    "goAway.timeLeft": "str",
    "serverContent.interactionStatus": "str",
    "serverContent.interrupted": "bool",
    "sessionResumptionUpdate": "dict",
    "sessionResumptionUpdate.newHandle": "str",
    "sessionResumptionUpdate.resumable": "bool",
    "toolCallCancellation": "dict",
    "toolCallCancellation.ids[]": "str",
}


class Raw(Caller):
    """Keeps what comes as parsed JSON, too."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(SimulatedGemini(behaviour=CALM, replies=replies))
        self.raw: list[dict[str, Any]] = []

    def _collect(self) -> None:
        advance = self.link.advance

        def listening(now: float) -> Any:
            outputs = advance(now)
            self.raw += [json.loads(output.data) for output in outputs if isinstance(output, Message)]
            return outputs

        self.link.advance = listening  # type: ignore[method-assign]
        try:
            super()._collect()
        finally:
            del self.link.advance


def recorded(name: str) -> list[dict[str, Any]]:
    messages = json.loads((DATA / f"{name}.json").read_text())
    return [message["data"] for message in messages if message["direction"] == "received"]


def paths(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every member of a message with its type: "serverContent.modelTurn.parts[].text" and "str"."""
    match value:
        case dict():
            if path:
                yield path, "dict"
            if not path.endswith("args"):  # a function's own business
                for key, member in value.items():
                    yield from paths(member, f"{path}.{key}" if path else key)
        case list():
            for item in value:
                yield from paths(item, f"{path}[]")
        case _:
            yield path, type(value).__name__


RECORDED = {path: kind for file in DATA.glob("*.json") for message in recorded(file.stem) for path, kind in paths(message)}


def step(message: dict[str, Any]) -> str:
    """What a message is, in a word; pieces of one thing are told by the thing."""
    if "serverContent" not in message:
        return "+".join(sorted(message))
    content = message["serverContent"]
    parts = content.get("modelTurn", {}).get("parts", [])
    kind = "thought" if any("thought" in part for part in parts) else "audio" if parts else "+".join(sorted(content))
    return kind + ("+usage" if "usageMetadata" in message else "")


def order(messages: list[dict[str, Any]]) -> list[str]:
    """The steps, each stretch of the model's speech with its transcript as one."""
    steps = [step(message) for message in messages if "sessionResumptionUpdate" not in message]
    spoken = ["speech" if s in ("audio", "outputTranscription") else s for s in steps]
    return [s for s, _ in groupby(spoken) if s]


def text_turn() -> Raw:
    caller = Raw(Say(text="Hello there.", thought="**Crafting a Greeting**"))
    caller.connect(OLD)
    turn = {"role": "user", "parts": [{"text": "Say a short greeting."}]}
    caller.say(clientContent={"turns": [turn], "turnComplete": True})
    caller.run(3)
    return caller


def spoken_turn() -> Raw:
    caller = Raw(Say(text="Hello, Marcelo.", thought="**Acknowledge the Introduction**"))
    caller.connect(OLD)
    caller.turn()
    caller.run(3)
    return caller


def tool_round() -> Raw:
    caller = Raw(Call(name="record_reading", args={"zqx_measurement": 5}, then="I have recorded a reading of 5."))
    caller.connect(OLD, tools=[{"functionDeclarations": [{"name": "record_reading"}]}])
    turn = {"role": "user", "parts": [{"text": "Please record a reading of 5."}]}
    caller.say(clientContent={"turns": [turn], "turnComplete": True})
    caller.run(1)
    answer = {"id": caller.calls[0].id, "name": "record_reading", "response": {"output": "Recorded."}}
    caller.say(toolResponse={"functionResponses": [answer]})
    caller.run(5)
    return caller


def interrupted_and_ended() -> Raw:
    caller = Raw(Say(text="something long that is never heard to its end"), Call(name="weather"))
    caller.connect(OLD, tools=[{"functionDeclarations": [{"name": "weather"}]}])
    caller.turn()
    caller.run(0.5)
    caller.turn()
    caller.run(1)
    caller.say(clientContent={"turns": [{"role": "user", "parts": [{"text": "Never mind."}]}], "turnComplete": True})
    caller.run(560)
    return caller


@pytest.mark.parametrize(
    ("name", "converse"),
    [
        ("text_in_audio_out_turn", text_turn),
        ("audio_in_server_vad_turn", spoken_turn),
        ("tool_call_round", tool_round),
    ],
)
def test_a_turn_takes_the_recorded_course(name: str, converse: Any) -> None:
    assert order(converse().raw) == order(recorded(name))


@pytest.mark.parametrize("converse", [text_turn, spoken_turn, tool_round, interrupted_and_ended])
def test_messages_have_the_recorded_members_and_types(converse: Any) -> None:
    known = RECORDED | DOCUMENTED
    said = {path: kind for message in converse().raw for path, kind in paths(message)}
    assert {path: kind for path, kind in said.items() if known.get(path) != kind} == {}


def test_what_is_only_documented_is_said_too() -> None:
    said = {path for message in interrupted_and_ended().raw for path, _ in paths(message)}
    assert set(DOCUMENTED) - said == {"serverContent.interactionStatus"}  # newer models only
