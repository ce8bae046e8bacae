"""What a live session shows of a session's events: the service's own messages, and what stands in for lost ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.genai import types

from unbroken.config import CutReply
from unbroken.decisions import Closure, Ending, Fault, Retry
from unbroken.events import (
    Audio,
    Crossed,
    Event,
    Interrupted,
    OutageBegan,
    ProviderMessage,
    Recovered,
    ReplyBegan,
    ReplyEnded,
    ToolCall,
    ToolCallCancelled,
    Usage,
)
from unbroken.wire import WireEvent
from unbroken_gemini import models
from unbroken_gemini.connection import GeminiConnection, Plan
from unbroken_gemini.live.shown import Shown

SAID = {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA"}}]}}}
OVER = {"serverContent": {"turnComplete": True}, "usageMetadata": {"totalTokenCount": 7}}
CALLED = {"toolCall": {"functionCalls": [{"id": "1", "name": "weather", "args": {"city": "Paris"}}]}}

OUTAGE = OutageBegan(
    link=1,
    target="gemini/m",
    closure=Closure(platform="gemini", phase="live", ending=Ending(code=1011)),
    fault=Fault(kind="server", rule="", because="The service failed."),
    decision=Retry(because="Once more."),
    because="",
)
BEGAN = ReplyBegan(reply=2, link=2)


def of(message: dict[str, Any], *events: Event) -> list[Event]:
    """A message's events, and the message."""
    return [*events, ProviderMessage(data=msgspec.json.encode(message))]


def ended(how: Any) -> ReplyEnded:
    return ReplyEnded(reply=1, how=how, received_ms=100, heard_ms=100)


def recovered(reply: Crossed) -> Recovered:
    return Recovered(link=2, target="gemini/m", reply=reply)


SPEAKING = of(SAID, ReplyBegan(reply=1, link=1), Audio(b"\0\0", 24_000))
CUT: list[Event] = [*SPEAKING, ended("cut"), OUTAGE]


def shown(events: list[Event], *, way: CutReply = "continue", handles: bool = False) -> list[str]:
    """What each message that is shown consists of."""
    under = Shown(on_cut_reply=way, handles=handles)
    messages = [message for event in events if (message := under.take(event)) is not None]
    return [" ".join(_parts(message)) for message in messages]


def _parts(message: types.LiveServerMessage) -> list[str]:
    parts = message.model_dump(exclude_none=True)
    return [*parts.pop("server_content", {}), *parts]


# -- healthy ----------------------------------------------------------------------------------------------------------------


def test_a_message_is_shown_with_every_member() -> None:
    rich: dict[str, Any] = {
        "serverContent": {
            "modelTurn": {"parts": [{"executableCode": {"code": "1+1", "language": "PYTHON"}}]},
            "groundingMetadata": {"webSearchQueries": ["weather"]},
            "urlContextMetadata": {"urlMetadata": [{"retrievedUrl": "https://example.org"}]},
        }
    }
    (message,) = [Shown().take(event) for event in of(rich)]
    assert message is not None
    content = message.server_content
    assert content is not None
    assert content.model_turn is not None
    assert content.model_turn.parts is not None
    assert content.model_turn.parts[0].executable_code == types.ExecutableCode(code="1+1", language=types.Language.PYTHON)
    assert content.grounding_metadata == types.GroundingMetadata(web_search_queries=["weather"])
    assert content.url_context_metadata is not None


def test_a_turn_ends_once() -> None:
    over = of(OVER, ended("complete"), Usage(total_tokens=7))
    assert shown([*SPEAKING, *over]) == ["model_turn", "turn_complete usage_metadata"]
    assert shown([*SPEAKING, *over, OUTAGE, recovered("none")]) == ["model_turn", "turn_complete usage_metadata"]


def test_what_is_about_the_connection_is_not_shown() -> None:
    update = {"sessionResumptionUpdate": {"newHandle": "h", "resumable": True}}
    about = [*of({"setupComplete": {"sessionId": "s"}}), *of({"goAway": {"timeLeft": "5s"}}), *of(update)]
    assert shown(about) == []
    assert shown(about, handles=True) == ["session_resumption_update"]
    assert shown(of({"goAway": {"timeLeft": "5s"}} | SAID)) == ["model_turn"]
    under = Shown()
    under.take(about[0])
    assert under.setup == types.LiveServerSetupComplete(session_id="s")


def test_vertexs_counts_have_their_own_names() -> None:
    counted = {"usageMetadata": {"candidatesTokenCount": 5}}
    message = Shown().take(ProviderMessage(data=msgspec.json.encode(counted), platform="vertex"))
    assert message is not None
    assert message.usage_metadata is not None
    assert message.usage_metadata.response_token_count == 5


def test_an_empty_message_is_none() -> None:
    assert shown([ProviderMessage(data=b"")]) == []
    assert shown(of({})) == []


# -- calls ------------------------------------------------------------------------------------------------------------------


def test_a_call_is_shown_with_the_sessions_id() -> None:
    under = Shown()
    for call_id in ("1", "1~2"):
        called = ToolCall(call_id=call_id, name="weather", arguments={"city": "Paris"})
        *_, message = [under.take(event) for event in of(CALLED, called)]
        assert message is not None
        assert message.tool_call == types.LiveServerToolCall(
            function_calls=[types.FunctionCall(id=call_id, name="weather", args={"city": "Paris"})]
        )
    assert under.calls == {"1": "weather", "1~2": "weather"}
    under.answered("1")
    assert under.calls == {"1~2": "weather"}


def test_a_call_that_the_session_answers_itself_is_not_shown() -> None:
    assert shown(of(CALLED)) == []


def test_a_cancellation_names_what_was_shown() -> None:
    under = Shown()
    cancelled = {"toolCallCancellation": {"ids": ["1", "9"]}}
    events = [*of(CALLED, ToolCall(call_id="1", name="weather")), *of(cancelled, ToolCallCancelled(call_ids=("1",)))]
    *_, message = [under.take(event) for event in events]
    assert message is not None
    assert message.tool_call_cancellation == types.LiveServerToolCallCancellation(ids=["1"])
    assert under.calls == {}
    assert under.take(ProviderMessage(data=msgspec.json.encode(cancelled))) is None


# -- a link's end -----------------------------------------------------------------------------------------------------------


def test_a_reply_that_goes_on_is_one_turn() -> None:
    on = [recovered("continued"), msgspec.structs.replace(BEGAN, continues=1), *of(SAID, Audio(b"\0\0", 24_000))]
    assert shown([*CUT, *on, *of(OVER, ended("complete"))]) == ["model_turn", "model_turn", "turn_complete usage_metadata"]


@pytest.mark.parametrize("first", [True, False])
def test_a_reply_that_is_given_again_silences_what_was_received(first: bool) -> None:
    again, back = msgspec.structs.replace(BEGAN, again=True), recovered("again")
    crossed: list[Event] = [again, back] if first else [back, again]
    assert shown([*CUT, *crossed, *of(SAID)]) == ["model_turn", "interrupted", "model_turn"]


@pytest.mark.parametrize(("way", "end"), [("leave", "turn_complete"), ("continue", "interrupted turn_complete")])
def test_a_reply_that_nothing_carries_on_ends_its_turn(way: CutReply, end: str) -> None:
    events: list[Event] = [*CUT, recovered("cut"), BEGAN, *of(SAID), *of(OVER, ended("complete"))]
    parts = [part.split() for part in shown(events, way=way)]
    assert [sorted(part) for part in parts] == [
        ["model_turn"],
        sorted(end.split()),
        ["model_turn"],
        ["turn_complete", "usage_metadata"],
    ]


def test_the_users_next_turn_ends_a_cut_one() -> None:
    assert [sorted(part.split()) for part in shown([*CUT, BEGAN, *of(SAID)])] == [
        ["model_turn"],
        ["interrupted", "turn_complete"],
        ["model_turn"],
    ]


def test_a_reply_that_had_not_begun_is_still_to_come() -> None:
    assert shown([OUTAGE, recovered("owed"), BEGAN, *of(SAID)]) == ["model_turn"]
    assert shown([*CUT, recovered("owed")]) == ["model_turn"]


def test_a_turn_whose_word_of_the_end_was_lost_is_ended() -> None:
    generated = {"serverContent": {"generationComplete": True}}
    events = [*SPEAKING, *of(generated), ended("complete"), OUTAGE, recovered("none")]
    assert shown(events) == ["model_turn", "generation_complete", "turn_complete"]


def test_a_turn_waits_for_a_tool_over_an_outage() -> None:
    waiting = of(CALLED, ReplyBegan(reply=1, link=1), ToolCall(call_id="1", name="weather"))
    events: list[Event] = [*waiting, ended("cut"), OUTAGE, recovered("cut"), BEGAN, *of(SAID)]
    assert shown([*events, *of(OVER, ended("complete"))]) == ["tool_call", "model_turn", "turn_complete usage_metadata"]


def test_an_interruption_is_the_services_own() -> None:
    interrupted = {"serverContent": {"interrupted": True}}
    events = [*SPEAKING, *of(interrupted, Interrupted(), ended("interrupted")), *of(OVER)]
    assert shown([*events, OUTAGE, recovered("none")]) == ["model_turn", "interrupted", "turn_complete usage_metadata"]


# -- where the messages come from -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [True, False])
def test_a_link_shows_its_messages_where_it_is_asked_to(messages: bool) -> None:
    plan = Plan(setup={}, row=models.known("gemini-3.8-live", platform="gemini"), messages=messages)
    data = msgspec.json.encode(OVER)
    events: list[WireEvent] = list(GeminiConnection(plan).receive(data))
    assert [event for event in events if isinstance(event, ProviderMessage)] == (
        [ProviderMessage(data=data, platform="gemini")] if messages else []
    )
    assert not messages or isinstance(events[-1], ProviderMessage), "right after the events that were made of it"
