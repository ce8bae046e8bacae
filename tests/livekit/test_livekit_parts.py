"""The plugin's parts, each by itself: no session, no socket."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

from livekit import rtc
from livekit.agents import function_tool, llm

import unbroken
from unbroken_livekit import chat, tools
from unbroken_livekit.audio import AudioInput
from unbroken_livekit.generation import Generation
from unbroken_livekit.replies import Replies
from unbroken_livekit.requests import Requests
from unbroken_livekit.turns import UserTurns

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


# -- the user's audio ---------------------------------------------------------------------------------------------------


def frames(samples: array[int], *, rate: int, channels: int = 1, each: float = 0.02) -> list[rtc.AudioFrame]:
    step = round(rate * each) * channels
    pieces = [samples[start : start + step] for start in range(0, len(samples), step)]
    return [rtc.AudioFrame(piece.tobytes(), rate, channels, len(piece) // channels) for piece in pieces]


def test_audio_at_the_models_rate_passes_unchanged() -> None:
    samples = array("h", range(-800, 800))
    taken = AudioInput(16_000)
    pieces = [*map(taken.take, frames(samples, rate=16_000)), taken.flush()]
    assert b"".join(pieces) == samples.tobytes()
    assert [len(piece) // 32 for piece in pieces] == [0, 0, 60, 0, 0, 40], "milliseconds: what is short is gathered"


def test_channels_are_mixed() -> None:
    stereo = array("h", [value for sample in range(320) for value in (sample, 3 * sample)])
    taken = AudioInput(16_000)
    [frame] = frames(stereo, rate=16_000, channels=2)
    assert taken.take(frame) + taken.flush() == array("h", range(0, 640, 2)).tobytes()


def test_rates_may_change_in_midstream() -> None:
    taken = AudioInput(16_000)
    total = 0
    for rate in (48_000, 24_000, 16_000, 8_000):
        for frame in frames(array("h", [1000] * rate), rate=rate):  # a second of each
            total += len(taken.take(frame)) // 2
    total += len(taken.flush()) // 2
    assert total == pytest.approx(4 * 16_000, rel=0.02)


# -- the chat context -----------------------------------------------------------------------------------------------------


def test_only_what_is_new_is_told_and_the_users_last_words_wait() -> None:
    known = llm.ChatContext.empty()
    known.add_message(role="user", content="Hello.")
    context = known.copy()
    context.add_message(role="system", content="Not for the history.")
    context.add_message(role="assistant", content="Good day.")
    context.add_message(role="user", content="Are you open?")
    found = chat.changes(known, context, pending=())
    assert found.turns == [unbroken.Turn(role="model", text="Good day.")]
    assert found.said == "Are you open?"
    assert found.unheard == []


def test_what_is_taken_back_from_the_end_was_not_heard_and_another_agents_context_takes_nothing_back() -> None:
    known = llm.ChatContext.empty()
    for number in range(3):
        known.add_message(role="assistant", content=str(number), id=f"message-{number}")
    without_last = llm.ChatContext(known.items[:2])
    assert chat.changes(known, without_last, pending=()).unheard == ["message-2"]
    without_first = llm.ChatContext(known.items[1:])
    assert chat.changes(known, without_first, pending=()).unheard == []
    assert chat.changes(known, llm.ChatContext.empty(), pending=()).unheard == []


def test_a_result_answers_its_call_where_one_waits_and_is_told_in_words_otherwise() -> None:
    context = llm.ChatContext.empty()
    for call_id in ("old", "new"):
        context.items.append(llm.FunctionCall(call_id=call_id, name="weather", arguments='{"city": "Rome"}'))
        context.items.append(llm.FunctionCallOutput(call_id=call_id, name="weather", output="rain", is_error=False))
    found = chat.changes(llm.ChatContext.empty(), context, pending={"new"})
    assert [output.call_id for output in found.results] == ["new"]
    assert [turn.role for turn in found.turns] == ["tool"]
    assert found.turns[0].text == 'The function weather({"city": "Rome"}) returned: rain'
    assert found.said == ""


# -- tools ----------------------------------------------------------------------------------------------------------------


def test_functions_are_declared_and_other_providers_tools_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    @function_tool
    async def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: where.
        """
        return city

    class Search(llm.ProviderTool):
        def to_tool_config(self) -> dict[str, Any]:
            return {"google_search": {}}

    context = llm.ToolContext([weather, Search(id="search"), llm.ProviderTool(id="another")])
    functions, search = tools.declarations(context, behavior="NON_BLOCKING")
    [declared] = functions["function_declarations"]
    assert (declared["name"], declared["behavior"]) == ("weather", "NON_BLOCKING")
    assert declared["parameters_json_schema"]["properties"]["city"]["type"] == "string"
    assert search == {"google_search": {}}
    assert caplog.messages == ["the tool ProviderTool is another provider's and is left out"]


def test_a_result_that_wants_no_reply_is_silent() -> None:
    output = llm.FunctionCallOutput(call_id="1", output="done", is_error=False, reply_required=False)
    assert tools.result_of(output, scheduling="WHEN_IDLE") == ({"output": "done"}, "SILENT")
    failed = llm.FunctionCallOutput(call_id="1", output="no", is_error=True)
    assert tools.result_of(failed, scheduling=None) == ({"error": "no"}, None)


# -- requests ---------------------------------------------------------------------------------------------------------------


async def test_a_request_is_answered_fails_or_is_superseded() -> None:
    requests = Requests(patience=60.0)
    first, second = requests.add(), requests.add()
    with pytest.raises(llm.RealtimeError, match=r"^superseded by a later generate_reply\(\)$"):
        await first
    taken = requests.take()
    assert taken is not None
    assert taken.future is second
    assert requests.take() is None
    third = requests.add()
    requests.fail("the end")
    with pytest.raises(llm.RealtimeError, match=r"^the end$"):
        await third


async def test_patience_runs_out_only_while_the_session_is_up() -> None:
    requests = Requests(patience=0.02)
    future = requests.add()
    await asyncio.sleep(0.05)
    assert not future.done(), "there is no link yet"
    requests.up(up=True)
    with pytest.raises(llm.RealtimeError, match=r"^no reply came within 0 s$"):
        await future


# -- replies and turns ------------------------------------------------------------------------------------------------------


class Parts:
    """Replies and turns, wired as a session wires them."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.played: list[tuple[int, float]] = []
        self.requests = Requests(patience=60.0)
        self.turns = UserTurns(
            started=lambda: self.log.append("started"),
            stopped=lambda: self.log.append("stopped"),
            transcribed=lambda event: self.log.append((event.transcript, event.is_final)),
        )
        self.replies = Replies(
            requests=self.requests,
            turns=self.turns,
            modalities=["audio", "text"],
            grace=60.0,
            created=lambda generation: self.log.append("created"),
            ended=lambda generation: self.log.append("ended"),
            played=lambda reply, ms: self.played.append((reply, ms)),
        )

    def began(self, reply: int, *, continues: int = 0, again: bool = False) -> None:
        self.replies.began(unbroken.ReplyBegan(reply=reply, link=1, continues=continues, again=again))

    def ended(self, reply: int, how: Any = "complete") -> None:
        self.replies.ended(unbroken.ReplyEnded(reply=reply, how=how, received_ms=0.0, heard_ms=0.0))

    def wrote(self, text: str, *, finished: bool = False) -> None:
        self.turns.wrote(unbroken.UserTranscript(text=text, finished=finished), replying=self.replies.replying)

    def audio(self, ms: int = 100) -> None:
        self.replies.audio(bytes(48 * ms), rate=24_000)

    @property
    def generation(self) -> Generation:
        found = self.replies.last
        assert found is not None
        return found

    def close(self) -> None:
        self.turns.close()
        self.replies.close()


@pytest.fixture
async def parts() -> Any:
    parts = Parts()
    yield parts
    parts.close()


async def test_the_user_has_stopped_before_a_reply_is_created_and_the_transcript_ends_with_it(parts: Parts) -> None:
    parts.wrote(" Are you")
    parts.wrote(" open?")
    parts.began(1)
    parts.audio()
    parts.ended(1)
    assert parts.log == [
        "started",
        ("Are you", False),
        ("Are you open?", False),
        "stopped",
        "created",
        "ended",
        ("Are you open?", True),
    ]


async def test_a_late_transcript_interrupts_nothing(parts: Parts) -> None:
    parts.wrote("Are you")
    parts.began(1)
    parts.audio()
    parts.wrote(" open?")
    parts.ended(1)
    assert parts.log.count("started") == 1
    assert parts.log[-1] == ("Are you open?", True)


async def test_words_written_down_twice_over_an_outage_are_one_turn(parts: Parts) -> None:
    parts.wrote("Are you op")
    parts.turns.crosses()
    parts.wrote("Are you open?")
    parts.began(1)
    parts.audio()
    parts.ended(1, "cut")
    parts.turns.crosses()
    parts.wrote("Are you open?")
    parts.began(2, continues=1)
    parts.audio()
    parts.ended(2)
    assert parts.log.count("started") == 1
    assert [entry for entry in parts.log if isinstance(entry, tuple) and entry[1]] == [("Are you open?", True)]


async def test_a_cut_reply_goes_on_in_its_generation(parts: Parts) -> None:
    parts.began(1)
    parts.audio(100)
    parts.ended(1, "cut")
    assert parts.generation.open
    parts.replies.recovered(unbroken.Recovered(link=2, target="t", reply="continued"))
    parts.began(2, continues=1)
    parts.audio(200)
    parts.ended(2)
    assert parts.log.count("created") == 1
    assert not parts.generation.open
    parts.replies.played(parts.generation.id, 250.0)
    assert parts.played == [(1, 100.0), (2, 150.0)]


async def test_a_reply_that_is_given_again_is_part_of_the_speech_that_was_cut(parts: Parts) -> None:
    parts.began(1)
    parts.replies.text("One two")
    parts.ended(1, "cut")
    parts.replies.recovered(unbroken.Recovered(link=2, target="t", reply="again"))
    parts.began(2, again=True)
    parts.replies.text("One two three.")
    parts.ended(2)
    assert parts.log.count("created") == 1
    assert parts.generation.text == "One two One two three."


@pytest.mark.parametrize("again", [False, True])
async def test_nothing_takes_up_what_was_interrupted_in_the_outage(parts: Parts, again: bool) -> None:
    parts.began(1)
    parts.audio()
    parts.ended(1, "cut")
    parts.replies.interrupt()
    parts.began(2, continues=0 if again else 1, again=again)
    parts.audio()
    parts.ended(2)
    assert parts.log.count("created") == 1


@pytest.mark.parametrize("crossed", ["cut", "owed", "none"])
async def test_a_cut_reply_ends_where_nothing_carries_it_on(parts: Parts, crossed: Any) -> None:
    parts.began(1)
    parts.audio()
    parts.ended(1, "cut")
    parts.replies.recovered(unbroken.Recovered(link=2, target="t", reply=crossed))
    assert not parts.generation.open


async def test_another_reply_ends_the_one_that_was_held(parts: Parts) -> None:
    parts.began(1)
    parts.audio()
    held = parts.generation
    parts.ended(1, "cut")
    parts.began(2)
    parts.audio()
    assert not held.open
    assert parts.generation is not held


async def test_a_reply_that_was_interrupted_while_it_was_held_is_not_carried_on(parts: Parts) -> None:
    parts.began(1)
    parts.audio()
    parts.ended(1, "cut")
    parts.replies.interrupt()
    parts.began(2, continues=1)
    parts.audio()
    parts.ended(2)
    assert parts.log.count("created") == 1
    parts.began(3)
    parts.audio()
    assert parts.log.count("created") == 2


async def test_what_is_left_of_an_interrupted_reply_is_dropped_but_for_its_calls(parts: Parts) -> None:
    parts.began(1)
    parts.audio()
    parts.replies.interrupt()
    parts.audio()
    assert parts.log.count("created") == 1
    parts.replies.call(llm.FunctionCall(call_id="1", name="weather", arguments="{}"))
    assert parts.log.count("created") == 2
    await asyncio.sleep(0)
    assert not parts.generation.open


async def test_a_call_ends_the_generation_once_all_of_its_message_have_come(parts: Parts) -> None:
    parts.began(1)
    for call_id in ("1", "2"):
        parts.replies.call(llm.FunctionCall(call_id=call_id, name="weather", arguments="{}"))
    generation = parts.generation
    await asyncio.sleep(0)
    calls = [call.call_id async for call in generation.event.function_stream]
    assert calls == ["1", "2"]
    parts.audio()  # the model goes on in the same reply
    assert parts.log.count("created") == 2
    assert parts.log.count("started") == 1, "and interrupts nobody"


async def test_a_withdrawn_request_takes_its_reply_with_it(parts: Parts) -> None:
    parts.requests.add().cancel()
    parts.began(1)
    parts.audio()
    assert "created" not in parts.log
    assert parts.played == [(1, 0.0)]
    parts.ended(1)
    parts.requests.add().cancel()
    parts.requests.user_spoke()  # so the next reply is the answer to that
    parts.began(2)
    parts.audio()
    assert "created" in parts.log


async def test_the_answer_to_what_interrupted_a_request_is_not_taken_for_the_requests_reply(parts: Parts) -> None:
    asked = parts.requests.add()
    parts.wrote("Are you open?")
    parts.requests.interrupt()  # LiveKit does so at once, and cancels what it waits for some turns of the event loop later
    parts.requests.user_spoke()
    parts.began(1)
    parts.audio()
    assert "created" in parts.log
    assert not asked.done()
    asked.cancel()
    assert parts.generation.open


async def test_a_request_that_was_interrupted_and_that_nobody_cancels_fails(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbroken_livekit.requests._INTERRUPTED", 0.0)
    asked = parts.requests.add()
    parts.requests.interrupt()
    assert not parts.requests.pending
    with pytest.raises(llm.RealtimeError, match=r"^interrupted before it began$"):
        await asked
