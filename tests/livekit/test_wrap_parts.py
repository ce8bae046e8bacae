"""The parts of a wrapped session that wait for nothing: what errors mean, what is kept, what is owed, what goes together."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp
import pytest
from google.genai.errors import APIError as GoogleError
from livekit.agents import APIConnectionError, APIError, APIStatusError, llm
from tests.livekit.scripted_models import ScriptedModel, frame
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from unbroken.config import Deadlines
from unbroken.decisions import Facts
from unbroken.errors import ConfigError
from unbroken_livekit.wrapping import wrap
from unbroken_livekit.wrapping.calls import Calls
from unbroken_livekit.wrapping.closures import closure_of, platform_of
from unbroken_livekit.wrapping.journal import AudioJournal
from unbroken_livekit.wrapping.watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of LiveKit's own dependencies


def after(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (GoogleError(1011, {"message": "Internal error encountered."}), "live close 1011"),
        (after(APIConnectionError("Failed to connect to Gemini Live"), GoogleError(1008, {})), "live close 1008"),
        (GoogleError(1006, {"message": "abnormal closure"}), "live eof"),
        (GoogleError(429, {"message": "RESOURCE_EXHAUSTED"}), "live HTTP 429"),
        (APIStatusError("no such model", status_code=404), "live HTTP 404"),
        (APIError("failed", body={"code": "insufficient_quota"}), 'live ended "insufficient_quota failed"'),
        (after(APIConnectionError(), ConnectionRefusedError("nobody")), "dial refused"),
        (after(APIConnectionError(), TimeoutError()), "dial dial deadline"),
        (socket.gaierror(-2, "Name or service not known"), "dial dns"),
        (ssl.SSLError("bad certificate"), "tls tls"),
        (ConnectionResetError("reset"), "live reset"),
        (OSError(113, "No route to host"), "dial unreachable"),
        (ValueError("a bug"), 'live ended "a bug"'),
    ],
    ids=repr,
)
def test_an_error_says_how_a_child_ended(error: Exception, told: str) -> None:
    closure = closure_of(error, phase="live", platform="any", model="m", age=1.0, facts=Facts())
    assert f"{closure.phase} {closure.ending.describe()}".startswith(told)


def test_a_refused_handshake_is_no_end_of_a_live_session() -> None:
    request: Any = None
    error = aiohttp.WSServerHandshakeError(request, (), status=403, message="Forbidden")
    closure = closure_of(
        after(APIConnectionError(), error), phase="setup", platform="openai", model="m", age=0.1, facts=Facts()
    )
    assert (closure.phase, closure.ending.http_status) == ("upgrade", 403)


def test_a_refusal_says_how_long_to_wait() -> None:
    refused = InvalidStatus(Response(503, "Service Unavailable", Headers({"Retry-After": "7"})))
    closure = closure_of(refused, phase="setup", platform="gemini", model="m", age=0.1, facts=Facts())
    assert (closure.phase, closure.ending.http_status, closure.ending.retry_after) == ("upgrade", 503, 7.0)


def test_a_chain_of_errors_that_bites_its_tail_is_read_once() -> None:
    error, other = ValueError("one"), ValueError("two")
    error.__cause__, other.__cause__ = other, error
    closure = closure_of(error, phase="live", platform="any", model="m", age=0.0, facts=Facts())
    assert closure.ending.reason == "two"


@pytest.mark.parametrize(
    ("provider", "platform"), [("Gemini", "gemini"), ("Vertex AI", "vertex"), ("api.openai.com", "openai"), ("x", "any")]
)
def test_livekits_words_for_a_provider(provider: str, platform: str) -> None:
    assert platform_of(provider) == platform


# -- the journal ------------------------------------------------------------------------------------------------------


def push(journal: AudioJournal, count: int, *, loud: bool, up: bool = True) -> bool:
    ends = [journal.push(frame(loud=loud), now=0.0, up=up) for _ in range(count)]
    return True in ends


def test_quiet_that_a_child_took_is_not_kept_for_another() -> None:
    journal = AudioJournal(bound=10.0)
    push(journal, 500, loud=False)
    assert journal.seconds == pytest.approx(0.5)
    assert journal.waiting() == []
    assert journal.lost == 0.0


def test_a_turn_is_kept_with_a_lead_until_it_is_answered() -> None:
    journal = AudioJournal(bound=10.0)
    push(journal, 100, loud=False)
    push(journal, 50, loud=True)
    assert push(journal, 50, loud=False)
    assert journal.spoken
    assert journal.seconds == pytest.approx(0.5 + 1.0 + 1.0, abs=0.15)
    assert len(journal.waiting()) >= 120
    journal.answered(asked=False)
    assert not journal.spoken
    assert journal.waiting() == []


def test_a_reply_that_comes_right_after_the_turn_answers_it() -> None:
    journal = AudioJournal(bound=10.0)
    push(journal, 50, loud=True)
    push(journal, 5, loud=False)
    journal.answered(asked=False)
    assert not journal.spoken
    assert not push(journal, 100, loud=False)
    assert not journal.spoken


def test_a_reply_that_the_application_asked_for_does_not_answer_who_still_speaks() -> None:
    journal = AudioJournal(bound=10.0)
    push(journal, 50, loud=True)
    journal.answered(asked=True)
    assert len(journal.waiting()) == 50
    push(journal, 20, loud=False)
    journal.answered(asked=True)
    assert journal.waiting() == []


def test_what_is_dropped_of_a_turn_is_counted() -> None:
    journal = AudioJournal(bound=2.0)
    push(journal, 150, loud=True, up=False)
    assert len(journal.waiting()) == 100
    assert journal.lost == pytest.approx(1.0)
    assert "2.0 s kept, 1.0 s lost" in repr(journal)


def test_a_stereo_stream_of_another_rate_is_taken_too() -> None:
    journal = AudioJournal(bound=10.0)
    journal.push(frame(rate=48_000), now=0.0, up=True)
    journal.push(frame(rate=8_000), now=0.0, up=True)
    assert journal.seconds == pytest.approx(0.04)


# -- what a child owes ------------------------------------------------------------------------------------------------


def test_a_reply_is_owed_to_a_request_and_the_rest_of_one_that_began() -> None:
    watch = Watch(Deadlines())
    assert watch.due(running=False) is None
    watch.asked(1.0)
    assert watch.due(running=True) == (9.0, "reply_deadline")
    watch.asked(None)
    watch.piece(3.0)
    assert watch.due(running=False) == (11.0, "reply_stalled")
    watch.piece(None)
    assert watch.due(running=False) is None


def test_a_turns_end_that_only_loudness_tells_is_waited_for_longer() -> None:
    watch = Watch(Deadlines())
    watch.turn_ended(1.0, sure=False)
    assert watch.due(running=False) == (17.0, "answer_deadline")
    assert watch.due(running=True) is None
    watch.spoke()
    assert watch.due(running=False) is None
    watch.turn_ended(2.0, sure=True)  # without a start: what livekit's google plugin says after each reply
    assert watch.due(running=False) is None
    watch.speech_started()
    watch.turn_ended(3.0, sure=True)
    assert watch.due(running=False) == (11.0, "reply_deadline")


def test_three_connections_without_a_reply_are_a_storm() -> None:
    watch = Watch(Deadlines())
    assert not watch.reconnected()
    watch.excuse()
    assert [watch.reconnected() for _ in range(2)] == [False, False]
    watch.replied()
    assert [watch.reconnected() for _ in range(3)] == [False, False, True]


# -- calls ------------------------------------------------------------------------------------------------------------


def call(call_id: str, arguments: str = '{"a": 1, "b": 2}', name: str = "f") -> llm.FunctionCall:
    return llm.FunctionCall(call_id=call_id, name=name, arguments=arguments)


def test_a_call_is_the_same_by_name_and_arguments_and_only_of_another_child() -> None:
    calls = Calls()
    assert calls.issued(call("1"), child=1) is None
    assert calls.issued(call("2"), child=1) is None
    assert calls.issued(call("3", '{"a": 9}'), child=2) is None
    assert calls.issued(call("4", name="g"), child=2) is None
    known = calls.issued(call("5", '{"b": 2, "a": 1}'), child=2)
    assert known is not None
    assert (known.call.call_id, known.wire_id, known.child) == ("1", "5", 2)


def test_calls_with_arguments_that_are_no_json_are_compared_as_they_are() -> None:
    calls = Calls()
    calls.issued(call("1", "{oops"), child=1)
    assert calls.issued(call("2", "{oops"), child=2) is not None


def test_calls_are_bounded() -> None:
    calls = Calls()
    for number in range(300):
        calls.issued(call(str(number), f'{{"a": {number}}}'), child=1)
    assert repr(calls) == "<Calls 256 known, 256 running>"


# -- what goes together -----------------------------------------------------------------------------------------------


def test_what_all_can_is_what_is_promised() -> None:
    model = wrap([ScriptedModel("a", mutable_tools=True), ScriptedModel("b", mutable_tools=False, supports_say=True)])
    assert not model.capabilities.mutable_tools
    assert not model.capabilities.supports_say
    assert model.capabilities.turn_detection


@pytest.mark.parametrize("name", ["audio_output", "turn_detection"])
def test_models_that_a_call_cannot_move_between_are_refused(name: str) -> None:
    lacking: dict[str, Any] = {name: False}
    with pytest.raises(ConfigError, match=rf"have to agree on {name}, not .*: True, .*: False"):
        wrap([ScriptedModel("a"), ScriptedModel("b", **lacking)])


def test_nothing_to_wrap_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is nothing to wrap"):
        wrap([])


def test_models_are_named_apart() -> None:
    model = wrap([ScriptedModel("a"), ScriptedModel("a"), ScriptedModel("b"), ScriptedModel("a")])
    assert model.names == ("scripted/a", "scripted/a@2", "scripted/b", "scripted/a@3")


def test_livekits_own_plugins_are_told_to_fail_at_once() -> None:
    openai = pytest.importorskip("livekit.plugins.openai", reason="install the dependency group `test`")
    google = pytest.importorskip("livekit.plugins.google", reason="install the dependency group `test`")
    models = [google.realtime.RealtimeModel(api_key="any"), openai.realtime.RealtimeModel(api_key="any")]
    model = wrap(models)
    assert [one._opts.conn_options.max_retry for one in models] == [0, 0]
    assert model.provider == "Gemini"
    assert "api.openai.com/gpt-realtime" in repr(model)
    assert not model.capabilities.manual_function_calls  # OpenAI's alone
