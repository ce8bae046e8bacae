"""The simulated Gemini Live service keeps the real one's rules. No I/O, no clock."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.caller import ALPHA, CALM, GEMINI, MS, PUBLISHER, VERTEX, Caller, silence, speech

from unbroken.testing.faults import HttpStatus, parse
from unbroken.testing.simulator import Request
from unbroken_gemini.testing import HARSH, Behaviour, Call, Nothing, Say, SimulatedGemini

FIRST = "models/gemini-3.8-live"
OLD = "models/gemini-2.5-flash-native-audio-preview-12-2025"
MIDDLE = "models/gemini-3.1-flash-live-preview"
TOOLS = [{"functionDeclarations": [{"name": "weather", "parameters": {"type": "OBJECT"}}]}]


def closed(caller: Caller) -> str:
    return f"{caller.close.code} {caller.close.reason}" if caller.close else "open"


# -- Who may come in --------------------------------------------------------------------------------------------------

INVALID = "1007 Request contains an invalid argument."


@pytest.mark.parametrize(
    ("model", "path", "reason"),
    [
        (FIRST, GEMINI, "open"),
        (FIRST, GEMINI.replace("//", "/"), "open"),
        (OLD, GEMINI.replace("v1beta", "v1"), "open"),
        (
            "gemini-3.8-live",
            GEMINI,
            "1008 models/gemini-3.8-live is not found for API version v1beta, or is not supported for",
        ),
        (
            "models/gemini-2.0-flash-exp",
            GEMINI,
            "1008 models/gemini-2.0-flash-exp is not found for API version v1beta, or is",
        ),
        ("models/gemini-live-2.5-flash-native-audio", GEMINI, "1008 models/gemini-live-2.5-flash-native-audio is not found"),
        (PUBLISHER.format("global", "gemini-3.8-live"), VERTEX, "open"),
        ("publishers/google/models/gemini-3.8-live", VERTEX, "open"),
        (PUBLISHER.format("us-central1", "gemini-live-2.5-flash-native-audio"), VERTEX, "open"),
        (
            PUBLISHER.format("global", "gemini-live-2.5-flash-native-audio"),
            VERTEX,
            "1008 Publisher Model `projects/p1/locations/global/publishers/google/models/gemini-live-2.5-flash-native-au",
        ),
        (PUBLISHER.format("us-central1", "gemini-3.1-flash-live-preview"), VERTEX, "1008 Publisher Model `projects/p1/"),
        (
            PUBLISHER.format("global", "gemini-2.0-flash-exp"),
            VERTEX,
            "1007 gemini-2.0-flash-exp is not supported in the live",
        ),
    ],
)
def test_each_platform_serves_its_own_models(model: str, path: str, reason: str) -> None:
    assert closed(Caller().connect(model, path=path)).startswith(reason)


@pytest.mark.parametrize(
    ("path", "setup", "reason"),
    [
        (
            GEMINI,
            {"proactivity": {"proactiveAudio": True}},
            "1007 Invalid JSON payload received. Unknown name \"proactivity\" at 'setup'",
        ),
        (ALPHA, {"proactivity": {"proactiveAudio": True}}, "open"),
        (ALPHA, {"proactivity": {"proactiveAudio": False}}, INVALID),
        (
            GEMINI,
            {"sessionResumption": {"transparent": True}},
            '1007 Invalid JSON payload received. Unknown name "transparent"',
        ),
        (VERTEX, {"sessionResumption": {"transparent": True}}, "open"),
        (
            VERTEX,
            {"historyConfig": {"initialHistoryInClientContent": True}},
            "1007 Invalid JSON payload received. Unknown name",
        ),
        (GEMINI, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, INVALID),
        (GEMINI, {"generationConfig": {"responseModalities": ["TEXT"]}}, INVALID),
        (
            GEMINI,
            {"colour": "blue"},
            "1007 Invalid JSON payload received. Unknown name \"colour\" at 'setup': Cannot find field.",
        ),
    ],
)
def test_setups_that_do_not_suit_are_refused(path: str, setup: dict[str, Any], reason: str) -> None:
    model = PUBLISHER.format("global", "gemini-3.8-live") if path == VERTEX else FIRST
    assert closed(Caller().connect(model, path=path, **setup)).startswith(reason)


def test_a_model_can_need_what_another_refuses() -> None:
    model = "models/gemini-3.8-live-extended-thinking"
    assert closed(Caller().connect(model)) == INVALID
    assert closed(Caller().connect(model, generationConfig={"thinkingConfig": {"thinkingLevel": "LOW"}})) == "open"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([{"realtimeInput": {"text": "hi"}}], "1007 setup must be the first message and only the first"),
        (
            [{"setup": {"model": FIRST}}, {"setup": {"model": FIRST}}],
            "1007 setup must be the first message and only the first",
        ),
        ([{}], "1007 Invalid JSON payload received. No message was given."),
        ([{"setup": {"model": 5}}], "1007 Invalid JSON payload received. a message with a member of the wrong type"),
        ([{"setup": {"model": FIRST}, "realtimeInput": {}}], "1007 Invalid JSON payload received. oneof"),
        ([{"setup": {"model": FIRST}}, {"realtimeInput": {"text": "too early"}}], INVALID),
    ],
)
def test_the_setup_comes_first_and_once(said: list[dict[str, Any]], reason: str) -> None:
    caller = Caller()
    caller.dial()
    for message in said:
        caller.say(**message)
    assert closed(caller).startswith(reason)


def test_what_is_no_json_is_refused() -> None:
    caller = Caller()
    caller.dial()
    caller.link.receive(b"\xff{", now=caller.now)
    caller.run(0)
    assert closed(caller).startswith("1007 Invalid JSON payload received.")


@pytest.mark.parametrize(
    ("path", "key", "headers", "reason"),
    [
        (GEMINI, "right", {}, "open"),
        (GEMINI, "wrong", {}, "1007 API key not valid. Please pass a valid API key."),
        (GEMINI, None, {}, "1008 Method doesn't allow unregistered callers"),
        (GEMINI + "Constrained", None, {"authorization": "Token auth_tokens/x"}, "open"),
        (GEMINI + "Constrained", "right", {}, "1007 API key not valid."),
    ],
)
def test_keys(path: str, key: str | None, headers: dict[str, str], reason: str) -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, keys=["right", "auth_tokens/x"]))
    caller.dial(path, key=key, **headers)
    caller.say(setup={"model": FIRST})
    caller.run(0.1)
    assert closed(caller).startswith(reason)


def test_what_is_refused_at_the_door() -> None:
    service = SimulatedGemini()
    assert service.admit(Request(number=1, path="/elsewhere"), now=0.0) == HttpStatus(status=404)
    assert service.admit(Request(number=1, path=VERTEX), now=0.0) == HttpStatus(status=401)


# -- A conversation ---------------------------------------------------------------------------------------------------


def test_a_spoken_turn_is_transcribed_by_its_positions_and_answered() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=["It will rain."])).connect()
    caller.turn(ms=1000)
    caller.run(3)
    assert caller.transcript == " [0-1500 ms]"
    assert caller.words == "It will rain."
    assert len(caller.audio) == 2 * 24 * 3 * 300
    assert caller.shape == [
        "setup_complete",
        "session_resumption_update",
        "input_transcription",
        *["model_turn+output_transcription", "model_turn"] * 3,
        "generation_complete",
        "interaction_status+turn_complete+usage_metadata",
        "session_resumption_update",
    ]


def test_older_models_say_one_thing_per_message() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=[Say(text="Rain.", thought="**Weather**")])).connect(OLD)
    caller.turn()
    caller.run(3)
    assert caller.shape == [
        "setup_complete",
        "session_resumption_update",
        "input_transcription",
        "model_turn",
        "output_transcription",
        "model_turn",
        "generation_complete",
        "turn_complete+usage_metadata",
        "session_resumption_update",
    ]


def test_the_voice_comes_at_the_speed_of_speech_and_a_little_ahead() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=["one two three four five six"])).connect()
    caller.write("count")
    caller.run(0.3)
    assert len(caller.audio) / 48_000 == pytest.approx(0.24)
    caller.run(1.0)
    assert len(caller.audio) / 48_000 == pytest.approx(1.24)
    assert "reply" in caller.link.stages
    caller.run(1.0)
    assert len(caller.audio) / 48_000 == pytest.approx(1.8)
    assert caller.link.stages == ["live"]


def test_the_user_interrupts() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=["a reply that is far too long to listen to"])).connect()
    caller.write("talk")
    caller.run(1.0)
    caller.speak(speech(200))
    assert [c.interrupted for c in caller.content if c.interrupted or c.turn_complete] == [True, False]
    assert not any(c.generation_complete for c in caller.content)
    before = len(caller.audio)
    caller.speak(silence(800))
    caller.run(2)
    assert caller.words.startswith("a reply that")
    assert caller.words.endswith("Yes, I see what you mean.")
    assert len(caller.audio) > before


def test_interruption_can_be_switched_off() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=["one two three four five"]))
    caller.connect(realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"})
    caller.write("count")
    caller.run(0.5)
    caller.speak(speech(300))
    caller.run(2)
    assert not any(c.interrupted for c in caller.content)
    assert caller.words == "one two three four five"


def test_the_client_can_mark_speech_itself() -> None:
    caller = Caller().connect(realtimeInputConfig={"automaticActivityDetection": {"disabled": True}})
    caller.speak(speech(500) + silence(1000))
    assert caller.transcript == ""
    caller.say(realtimeInput={"activityStart": {}})
    assert "user" in caller.link.stages
    caller.speak(speech(500))
    caller.say(realtimeInput={"activityEnd": {}})
    caller.run(2)
    assert caller.transcript == " [0-2000 ms]"
    assert caller.words == "I heard you."


def test_marks_and_automatic_detection_exclude_each_other() -> None:
    caller = Caller().connect()
    caller.say(realtimeInput={"activityStart": {}})
    assert closed(caller).startswith("1007 Explicit activity control is not supported")


def test_the_end_of_the_audio_stream_ends_the_turn() -> None:
    caller = Caller().connect()
    caller.speak(speech(500))
    caller.say(realtimeInput={"audioStreamEnd": True})
    caller.run(2)
    assert caller.transcript == " [0-500 ms]"


def test_the_setup_says_how_much_silence_ends_a_turn() -> None:
    caller = Caller().connect(realtimeInputConfig={"automaticActivityDetection": {"silenceDurationMs": 200}})
    caller.speak(speech(400) + silence(220))
    caller.run(1)
    assert caller.transcript == " [0-600 ms]"


def test_text_as_client_content_is_answered_when_complete() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=["Hello there."])).connect(OLD)
    user = {"role": "user", "parts": [{"text": "My name is Alice."}]}
    caller.say(clientContent={"turns": [user], "turnComplete": False})
    caller.run(2)
    assert caller.words == ""
    caller.say(clientContent={"turns": [{"role": "user", "parts": [{"text": "Greet me."}]}], "turnComplete": True})
    caller.run(2)
    assert caller.words == "Hello there."
    report = caller.service.report()
    assert (report.texts, report.links[0].history) == (("Greet me.",), 1)


def test_usage_is_named_by_platform() -> None:
    gemini, vertex = Caller().connect(), Caller().connect(PUBLISHER.format("global", "gemini-3.8-live"), path=VERTEX)
    for caller in (gemini, vertex):
        caller.turn()
        caller.run(3)
    [first] = [m.usage_metadata for m in gemini.heard if m.usage_metadata is not None]
    [second] = [m.usage_metadata for m in vertex.heard if m.usage_metadata is not None]
    assert first.response_token_count == second.candidates_token_count > 0
    assert first.candidates_token_count == second.response_token_count == 0
    assert first.total_token_count == first.prompt_token_count + first.response_token_count
    assert {
        p.inline_data.mime_type for c in vertex.content if c.model_turn for p in c.model_turn.parts if p.inline_data
    } == {"audio/pcm"}
    assert vertex.heard[0].setup_complete is not None
    assert vertex.heard[0].setup_complete.session_id


# -- Tools ------------------------------------------------------------------------------------------------------------


def test_a_tool_is_called_and_answered() -> None:
    caller = Caller().connect(tools=TOOLS)
    caller.write('please call weather {"city": "Paris"}')
    caller.run(0.5)
    [call] = caller.calls
    assert (call.name, call.args) == ("weather", {"city": "Paris"})
    assert caller.link.stages == ["live", "tool"]
    caller.say(toolResponse={"functionResponses": [{"id": call.id, "name": "weather", "response": {"output": "rain"}}]})
    caller.run(2)
    assert caller.words == "It is done."
    report = caller.service.report()
    assert [(c.name, c.answers, c.refused) for c in report.calls] == [("weather", 1, 0)]
    assert report.results == (call.id,)


def test_only_declared_functions_are_called() -> None:
    caller = Caller().connect(tools=TOOLS)
    caller.write("call taxi")
    caller.run(2)
    assert not caller.calls
    assert caller.words


def test_the_user_cancels_a_call_by_speaking() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=[Call(name="weather")])).connect(tools=TOOLS)
    caller.turn()
    caller.run(0.5)
    [call] = caller.calls
    caller.speak(speech(200))
    assert [m.tool_call_cancellation.ids for m in caller.heard if m.tool_call_cancellation] == [(call.id,)]
    caller.say(toolResponse={"functionResponses": [{"id": call.id, "name": "weather", "response": {}}]})
    assert [(c.cancelled, c.answers, c.refused) for c in caller.service.report().calls] == [(True, 0, 1)]


def test_older_models_take_no_audio_during_a_call() -> None:
    caller = Caller().connect(OLD, tools=TOOLS)
    caller.write("call weather")
    caller.run(0.5)
    caller.speak(silence(250))  # on its way when the call was issued
    assert closed(caller) == "open"
    caller.speak(silence(400))
    assert closed(caller) == "1008 Operation is not implemented, or supported, or enabled."


def test_scheduling_is_refused_where_the_model_does_not_know_it() -> None:
    caller = Caller().connect(MIDDLE, tools=TOOLS)
    caller.write("call weather")
    caller.run(0.5)
    answer = {"id": caller.calls[0].id, "name": "weather", "response": {}, "scheduling": "SILENT"}
    caller.say(toolResponse={"functionResponses": [answer]})
    assert closed(caller) == "1007 Function response scheduling is not supported for this model"


def test_media_chunks_are_refused_by_new_models_and_taken_by_old_ones() -> None:
    chunk = {"mimeType": "audio/pcm;rate=16000", "data": "AAAA"}
    new, old = Caller().connect(), Caller().connect(OLD)
    for caller in (new, old):
        caller.say(realtimeInput={"mediaChunks": [chunk]})
    assert closed(new) == "1007 realtime_input.media_chunks is deprecated. Use audio, video, or text instead."
    assert closed(old) == "open"


# -- Handles ----------------------------------------------------------------------------------------------------------


def test_a_handle_brings_the_conversation_back() -> None:
    caller = Caller().connect()
    caller.turn()
    caller.run(3)
    caller.write("remember this")
    caller.run(3)
    handle = caller.handle
    caller.hang_up()
    caller.connect(sessionResumption={"handle": handle})
    report = caller.service.report()
    assert closed(caller) == "open"
    assert (report.texts, report.turns) == (("remember this",), 1)
    assert 1100 <= report.heard_ms <= 1200
    assert [(link.resumed, link.live) for link in report.links] == [(False, True), (True, True)]


@pytest.mark.parametrize("path", [GEMINI, VERTEX])
def test_a_handle_is_bound_to_its_model_and_platform(path: str) -> None:
    caller = Caller().connect()
    handle = caller.handle
    caller.hang_up()
    caller.connect(
        PUBLISHER.format("us-central1", "gemini-3.8-live") if path == VERTEX else OLD,
        path=path,
        sessionResumption={"handle": handle},
    )
    assert closed(caller) == "1007 Invalid session handle"


def test_a_handle_is_refused_while_the_old_socket_is_open() -> None:
    caller = Caller().connect()
    handle = caller.handle
    old = caller.link
    caller.connect(sessionResumption={"handle": handle})
    assert closed(caller) == "1011 Internal error encountered."
    old.ended(now=caller.now, confirmed=False)
    caller.connect(sessionResumption={"handle": handle})
    assert closed(caller) == "open"


def test_a_handle_expires_two_hours_after_the_session() -> None:
    caller = Caller().connect()
    handle = caller.handle
    caller.hang_up()
    caller.now += 7100
    caller.connect(sessionResumption={"handle": handle})
    assert closed(caller) == "open"
    caller.hang_up()
    caller.now += 7201
    caller.connect(sessionResumption={"handle": handle})
    assert closed(caller) == "1008 BidiGenerateContent session not found"


def test_no_handle_is_issued_unless_asked_for() -> None:
    caller = Caller()
    caller.dial()
    caller.say(setup={"model": FIRST})
    caller.write("hello")
    caller.run(5)
    assert not caller.updates


def resumable(caller: Caller) -> list[bool]:
    return [update.resumable for update in caller.updates]


def test_older_models_withhold_handles_within_turns() -> None:
    caller = Caller().connect(OLD)
    caller.turn()
    assert resumable(caller) == [True, False]
    caller.run(3)
    assert resumable(caller) == [True, False, True]


def test_newer_models_issue_handles_within_turns() -> None:
    caller = Caller().connect()
    for _ in range(4):
        caller.turn(ms=2000)
    assert resumable(caller) == [True] * len(caller.updates)
    assert len(caller.updates) >= 6


@pytest.mark.parametrize("model", [FIRST, OLD])
def test_no_model_issues_a_handle_during_a_call(model: str) -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=[Call(name="weather")])).connect(model, tools=TOOLS)
    caller.write("go")
    caller.run(1)
    before = [u for u in caller.updates if u.new_handle]
    caller.run(20)
    assert [u for u in caller.updates if u.new_handle] == before
    caller.say(toolResponse={"functionResponses": [{"id": caller.calls[0].id, "name": "weather", "response": {}}]})
    caller.run(3)
    assert len([u for u in caller.updates if u.new_handle]) > len(before)


def test_a_snapshot_lies_somewhere_between_the_last_turn_and_now() -> None:
    held = set[float]()
    for seed in range(30):
        caller = Caller(SimulatedGemini(behaviour=CALM, seed=seed)).connect()
        caller.turn(ms=1000)  # its turn ends at 1500 ms
        caller.speak(silence(4000))
        handle = caller.handle
        caller.hang_up()
        caller.connect(sessionResumption={"handle": handle})
        report = caller.service.report()
        assert report.heard == ((0, round(report.heard_ms * MS)),)
        held.add(report.heard_ms)
    assert min(held) >= 1500
    assert max(held) <= 5600
    assert len(held) > 15


def test_a_turn_in_flight_is_known_to_the_resumed_session_of_newer_models_only() -> None:
    def resumed(model: str) -> float:
        service = SimulatedGemini(behaviour=CALM, seed=3)
        caller = Caller(service).connect(model)
        caller.turn(ms=1000)
        caller.run(3)
        caller.speak(speech(5500))
        handle = caller.handle
        caller.hang_up(confirmed=False)
        caller.connect(model, sessionResumption={"handle": handle})
        return service.report().heard_ms

    assert resumed(FIRST) > 1600
    assert resumed(OLD) <= 1600


def test_the_reply_in_flight_is_not_continued() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=["one two three four five six seven"])).connect()
    caller.turn()
    caller.run(0.8)
    handle = caller.handle
    caller.hang_up(confirmed=False)
    caller.connect(sessionResumption={"handle": handle})
    caller.run(5)
    assert caller.audio == b""
    assert not any(c.turn_complete for c in caller.content)


def test_vertex_says_what_a_handle_holds() -> None:
    caller = Caller().connect(
        PUBLISHER.format("global", "gemini-3.8-live"), path=VERTEX, sessionResumption={"transparent": True}
    )
    caller.speak(speech(5500))
    update = caller.updates[-1]
    index = int(update.last_consumed_client_message_index or -1)
    handle = update.new_handle
    caller.hang_up()
    caller.connect(PUBLISHER.format("global", "gemini-3.8-live"), path=VERTEX, sessionResumption={"handle": handle})
    assert caller.service.report().heard_ms == 20 * index  # the setup is message 0, and each message holds 20 ms


# -- History ----------------------------------------------------------------------------------------------------------

ANNOUNCED = {"initialHistoryInClientContent": True}
HISTORY = [
    {"role": "user", "parts": [{"text": "[0-1500 ms]"}]},
    {"role": "model", "parts": [{"text": "I heard [9000-9999 ms]."}]},
]


def test_announced_history_is_not_answered() -> None:
    caller = Caller().connect(MIDDLE, historyConfig={"initialHistoryInClientContent": True})
    caller.say(clientContent={"turns": HISTORY, "turnComplete": True})
    caller.run(3)
    assert caller.words == ""
    caller.speak(speech(500) + silence(600), at=1500 * MS)
    caller.run(3)
    assert caller.words
    report = caller.service.report()
    assert (report.told_ms, report.heard_ms, report.lost_ms) == (1500, 1100, 0)
    assert report.links[0].history == 2


@pytest.mark.parametrize(
    ("model", "behaviour", "announced", "reason"),
    [
        (MIDDLE, HARSH, True, "open"),
        (MIDDLE, HARSH, False, INVALID),
        (MIDDLE, CALM, False, "open"),  # as recorded (history_seeding_current)
        (OLD, HARSH, False, "open"),
    ],
)
def test_history_may_have_to_be_announced(model: str, behaviour: Behaviour, announced: bool, reason: str) -> None:
    caller = Caller(SimulatedGemini(behaviour=behaviour)).connect(model, historyConfig=ANNOUNCED if announced else None)
    caller.run(1)
    caller.say(clientContent={"turns": HISTORY, "turnComplete": announced})
    assert closed(caller) == reason


def test_announced_history_may_come_late_and_comes_once() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect(MIDDLE, historyConfig=ANNOUNCED)
    caller.run(280)
    caller.say(clientContent={"turns": HISTORY, "turnComplete": True})
    caller.run(3)
    assert (closed(caller), caller.words) == ("open", "")
    assert caller.service.report().links[0].history == 2
    caller.say(clientContent={"turns": HISTORY, "turnComplete": True})
    assert closed(caller) == INVALID


def test_announced_history_may_be_empty() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect(MIDDLE, historyConfig=ANNOUNCED)
    caller.run(5)
    caller.say(clientContent={"turnComplete": True})
    caller.run(3)
    assert (closed(caller), caller.words) == ("open", "")
    caller.speak(speech(500) + silence(600))
    caller.run(3)
    assert caller.words


def resume_harshly(model: str, *, announced: bool = False, **service: Any) -> Caller:
    caller = Caller(SimulatedGemini(behaviour=HARSH, **service))
    caller.connect(model, historyConfig=ANNOUNCED if announced else None)
    caller.run(0.9)
    caller.say(clientContent={"turns": HISTORY, "turnComplete": announced})
    caller.speak(speech(1000) + silence(600), at=1500 * MS)
    caller.run(4)
    handle = caller.handle
    caller.hang_up()
    caller.run(0.1)
    caller.connect(model, sessionResumption={"handle": handle})
    caller.run(1)
    return caller


def test_client_content_after_a_resume_closes_new_models() -> None:
    caller = resume_harshly(MIDDLE, announced=True)
    assert closed(caller) == "open"
    caller.say(clientContent={"turns": HISTORY})
    assert closed(caller) == INVALID


def test_told_history_is_forgotten_after_a_resume() -> None:
    report = resume_harshly(OLD).service.report()
    assert (report.told_ms, report.forgotten_ms) == (0, 1500)
    assert report.lost[0] == (0, 1500 * MS)
    assert report.heard[0][0] == 1500 * MS


def test_transcription_is_replayed_after_a_resume() -> None:
    assert resume_harshly(OLD).transcript == " [1500-3000 ms]"


# -- Pitfalls ---------------------------------------------------------------------------------------------------------


def test_the_old_socket_lingers_after_an_abort() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect()
    caller.run(1)
    handle = caller.handle
    caller.hang_up(confirmed=False)
    attempts = 0
    while True:
        caller.connect(sessionResumption={"handle": handle})
        caller.run(0.9)
        attempts += 1
        if caller.close is None:
            break
        assert closed(caller) == "1011 Internal error encountered."
    assert 2 <= attempts <= 5
    caller.run(1)
    caller.hang_up(confirmed=True)
    caller.connect(sessionResumption={"handle": caller.handle if caller.updates else handle})


def test_a_dead_path_lingers_from_the_first_resume_on() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect()
    caller.run(1)
    handle = caller.handle
    caller.link.silenced(now=caller.now)
    caller.run(60)
    caller.connect(sessionResumption={"handle": handle})
    caller.run(1)
    assert closed(caller) == "1011 Internal error encountered."
    caller.run(3)
    caller.connect(sessionResumption={"handle": handle})
    caller.run(1)
    assert closed(caller) == "open"


def test_media_in_a_burst_after_a_resume_is_refused() -> None:
    caller = resume_harshly(OLD)
    for _ in range(44):
        caller.send(speech(100))
    assert closed(caller) == "open"
    for _ in range(2):
        caller.send(speech(100))
    assert closed(caller) == INVALID


def test_media_at_four_times_real_time_is_not_a_burst() -> None:
    caller = resume_harshly(OLD)
    for _ in range(100):
        caller.send(speech(100))
        caller.run(0.025)
    assert closed(caller) == "open"


def test_a_burst_on_a_fresh_session_is_nothing() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect()
    caller.run(1)
    for _ in range(100):
        caller.send(speech(100))
    assert closed(caller) == "open"


def test_goaway_comes_early_and_never_again() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect()
    caller.run(2)
    assert [m.go_away.time_left for m in caller.heard if m.go_away] == ["300s"]
    caller.run(299)
    assert [m.go_away.time_left for m in caller.heard if m.go_away] == ["300s"]
    caller.run(2)
    assert closed(caller) == "1011 Deadline expired before operation could complete."


def test_pongs_and_setups_take_their_time() -> None:
    caller = Caller(SimulatedGemini(behaviour=HARSH)).connect()
    assert not caller.heard
    caller.run(0.8)
    assert caller.heard[0].setup_complete is not None
    assert all(8 <= caller.link.pong_time <= 30 for _ in range(20))


def test_a_lost_call_can_eat_the_next_turn() -> None:
    behaviour = Behaviour(setup_time=(0, 0), lost_calls_eat_input=True)
    caller = Caller(SimulatedGemini(behaviour=behaviour, replies=[Call(name="weather")])).connect(tools=TOOLS)
    handle = caller.handle
    caller.write("go")
    caller.run(1)
    [call] = caller.calls
    caller.hang_up()
    caller.connect(tools=TOOLS, sessionResumption={"handle": handle})
    caller.write("are you there?")
    caller.run(3)
    assert (caller.words, [c.turn_complete for c in caller.content]) == ("", [True])
    caller.hang_up()
    caller.connect(tools=TOOLS, sessionResumption={"handle": handle})
    caller.say(toolResponse={"functionResponses": [{"id": call.id, "name": "weather", "response": {"error": "lost"}}]})
    caller.write("are you there?")
    caller.run(1)
    assert caller.calls


# -- Lifetimes --------------------------------------------------------------------------------------------------------


def test_a_connection_lives_ten_minutes_and_says_so() -> None:
    caller = Caller().connect()
    caller.run(549)
    assert not [m for m in caller.heard if m.go_away]
    caller.run(2)
    assert [m.go_away.time_left for m in caller.heard if m.go_away] == ["50s"]
    assert closed(caller) == "open"
    caller.run(50)
    assert closed(caller) == "1011 Deadline expired before operation could complete."


def test_without_compression_a_session_lives_fifteen_minutes_over_all_its_connections() -> None:
    caller = Caller().connect(contextWindowCompression=None)
    caller.run(500)
    handle = caller.handle
    caller.hang_up()
    caller.connect(contextWindowCompression=None, sessionResumption={"handle": handle})
    caller.run(398)
    assert closed(caller) == "open"
    caller.run(3)
    assert closed(caller) == "1011 Deadline expired before operation could complete."


def test_a_full_context_is_refused_or_shortened() -> None:
    text = "word " * 120_000
    short, long = Caller().connect(contextWindowCompression=None), Caller().connect()
    for caller in (short, long):
        caller.write(text)
    assert closed(short) == INVALID
    assert closed(long) == "open"


# -- Faults that are the service's business ---------------------------------------------------------------------------


def test_a_reply_that_never_comes() -> None:
    service = SimulatedGemini(behaviour=CALM)
    service.strike(parse("no-reply").strike, now=0.0, times=1)
    caller = Caller(service).connect()
    caller.turn()
    caller.run(10)
    unanswered = caller.words
    caller.turn()
    caller.run(3)
    assert (unanswered, caller.words) == ("", "I heard you.")


@pytest.mark.parametrize("withholds", [False, True])
def test_a_turn_without_a_reply_is_written_down_as_transcripts_are_sent_independently(withholds: bool) -> None:
    service = SimulatedGemini(behaviour=msgspec.structs.replace(CALM, withholds_transcripts=withholds))
    service.strike(parse("no-reply").strike, now=0.0, times=1)
    caller = Caller(service).connect()
    caller.turn()
    caller.run(10)
    transcribed = [content.input_transcription is not None for content in caller.content]
    assert (all(transcribed), any(transcribed)) == (True, not withholds)


def test_audio_that_is_nearly_silence() -> None:
    service = SimulatedGemini(behaviour=CALM)
    service.strike(parse("quiet-audio").strike, now=0.0, times=1)
    caller = Caller(service).connect()
    caller.write("hello")
    caller.run(3)
    assert caller.words == "I heard you."
    assert set(caller.audio) <= {0, 1, 255}
    caller.write("hello")
    caller.run(3)
    assert len(set(caller.audio)) > 50


def test_one_model_is_always_refused() -> None:
    service = SimulatedGemini(behaviour=CALM)
    service.strike(parse("refuse-model:gemini-3.8-live").strike, now=0.0, times=None)
    assert closed(Caller(service).connect()).startswith("1008 models/gemini-3.8-live is not found")
    assert closed(Caller(service).connect(OLD)) == "open"


def test_goaway_on_demand() -> None:
    caller = Caller().connect()
    caller.link.strike(parse("goaway:3s").strike, now=caller.now)
    caller.run(2.9)
    assert [m.go_away.time_left for m in caller.heard if m.go_away] == ["3s"]
    assert closed(caller) == "open"
    caller.run(0.2)
    assert closed(caller) == "1011 Deadline expired before operation could complete."


def test_lifetimes_on_demand() -> None:
    service = SimulatedGemini(behaviour=CALM)
    service.strike(parse("lifetime:30s").strike, now=0.0, times=None)
    caller = Caller(service).connect()
    caller.run(16)
    assert [m.go_away.time_left for m in caller.heard if m.go_away] == ["15s"]
    caller.run(15)
    assert closed(caller).startswith("1011 Deadline")


def test_the_model_may_say_nothing() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, replies=[Nothing()])).connect()
    caller.turn()
    caller.run(3)
    assert caller.audio == b""
    assert [c.turn_complete for c in caller.content if c.turn_complete] == [True]


@pytest.mark.parametrize("mime", ["audio/pcm", "audio/pcm;rate=0", "audio/pcm;rate=8000", "", "audio/pcm;rate=x"])
def test_audio_of_any_rate_is_taken(mime: str) -> None:
    caller = Caller().connect()
    caller.send(speech(100), mime=mime)
    assert closed(caller) == "open"


# -- The account ------------------------------------------------------------------------------------------------------


def test_a_faultless_conversation_loses_and_repeats_nothing() -> None:
    caller = Caller().connect()
    for _ in range(5):
        caller.turn(ms=900)
        caller.speak(silence(700))
    report = caller.service.report()
    assert (report.lost_ms, report.repeated_ms, report.reordered_ms, report.late_ms, report.unstamped_ms) == (0, 0, 0, 0, 0)
    assert report.heard == ((0, caller.position),)
    assert report.turns == 5
    assert report.speech_ms == pytest.approx(4500, abs=1)


def test_a_gap_between_connections_is_lost() -> None:
    caller = Caller().connect()
    caller.turn(ms=1000)
    caller.hang_up()
    said = speech(1000) + silence(600)
    caller.service.original(said + said)
    caller.position += 300 * MS  # said into the void
    caller.connect()  # a fresh session, told nothing
    caller.speak(said[2 * 300 * MS :])
    report = caller.service.report()
    assert report.lost == ((0, 1900 * MS),)
    assert report.lost_speech_ms == 1300
    assert [link.first_position for link in report.links] == [0, 1900 * MS]


def test_what_is_replayed_is_told_from_what_is_repeated() -> None:
    caller = Caller(SimulatedGemini(behaviour=CALM, seed=5)).connect(OLD)
    caller.turn(ms=1000)
    caller.run(3)
    caller.speak(silence(400))
    handle = caller.handle
    caller.hang_up()
    held = round(Caller.connect(caller, OLD, sessionResumption={"handle": handle}).service.report().heard_ms)
    caller.speak(silence(600), at=1400 * MS)
    report = caller.service.report()
    assert report.links[1].replayed == ((1400 * MS, 2000 * MS),)
    assert report.repeated_ms == held - 1400
    assert report.lost_ms == 0


def test_an_account_up_to_a_position_counts_what_never_came() -> None:
    caller = Caller().connect()
    caller.speak(silence(1000))
    assert caller.service.report(upto=1500 * MS).lost == ((1000 * MS, 1500 * MS),)


def test_clients_are_told_apart_by_their_credentials() -> None:
    service = SimulatedGemini(behaviour=CALM)
    one = Caller(service).connect()
    one.speak(silence(1000))
    other = Caller(service)
    other._number = 1
    other.dial(key="other")
    other.say(setup={"model": FIRST})
    other.run(0.1)
    other.speak(silence(400))
    assert service.report(client="k").heard_ms == 1000
    assert service.report(client="other").heard_ms == service.report().heard_ms == 400
    assert len(service.report().links) == 1


# -- Anything at all --------------------------------------------------------------------------------------------------

NAMES = ["setup", "model", "clientContent", "turns", "parts", "text", "inlineData", "data", "mimeType", "turnComplete"]
NAMES += ["realtimeInput", "audio", "activityStart", "mediaChunks", "toolResponse", "functionResponses", "id", "response"]
NAMES += ["sessionResumption", "handle", "tools", "functionDeclarations", "name", "generationConfig", "contextUpdate"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(ANYTHING, max_size=4))
def test_no_message_breaks_the_service(messages: list[Any]) -> None:
    caller = Caller().connect(tools=TOOLS)
    for message in messages:
        caller.link.receive(msgspec.json.encode(message), now=caller.now)
        caller.run(0.5)
    caller.run(5)
    assert caller.close is None or caller.close.code in (1007, 1008)
