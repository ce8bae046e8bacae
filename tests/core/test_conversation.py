from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.conversation import Conversation, Outcome
from unbroken.events import (
    Audio,
    Event,
    Interrupted,
    ModelTranscript,
    ReplyBegan,
    ReplyEnded,
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
from unbroken.wire import GenerationComplete, GoAway, SetupDone, TurnComplete, WireEvent

SECOND = Audio(bytes(48_000), 24_000)


class Call:
    """A conversation on one link after another, in virtual time."""

    def __init__(self, history_bound: int = 200) -> None:
        self.conversation = Conversation(history_bound)
        self.link = 1
        self.now = 0.0
        self.heard = 0

    def on(self, *events: WireEvent, after: float = 0.0) -> Outcome:
        """Hands the events over; what a turn's end makes known is `heard` at that time."""
        self.now += after
        outcomes: list[Outcome] = []
        for event in events:
            outcome = self.conversation.on_event(event, link=self.link, now=self.now, heard=self.heard)
            if outcome.user_turn_ended:
                self.conversation.acknowledged(self.heard)
            outcomes.append(outcome)
        return outcomes[-1]

    def said(self, text: str, *, heard: int) -> None:
        """The user says something, and the model hears it up to a position."""
        self.on(UserTranscript(text=text))
        self.heard = heard

    def replied(self, text: str) -> None:
        self.on(SECOND, ModelTranscript(text=text), TurnComplete())
        self.now += 2.0

    def cross(self, *, known: int, start: int, **options: Any) -> tuple[Event, ...]:
        events = self.conversation.link_lost(self.now, heard=0)
        self.link += 1
        options.setdefault("carry", "handle")
        self.conversation.begin_link(self.link, known=known, start=start, **options)
        return events

    @property
    def words(self) -> list[tuple[str, str]]:
        return [(turn.role, turn.text) for turn in self.conversation.history()]


# -- Replies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [SECOND, Text(text="hm", thought=True), Text(text="yes"), ModelTranscript(text="yes"), ToolCall(call_id="1", name="f")],
    ids=lambda event: type(event).__name__,
)
def test_a_reply_begins_with_the_first_output_of_any_kind(first: WireEvent) -> None:
    call = Call()
    outcome = call.on(first)
    assert outcome.events == (ReplyBegan(reply=1, link=1), first)
    assert (outcome.reply_began, outcome.useful, outcome.user_turn_ended) == (True, True, True)
    assert call.conversation.replying
    assert call.on(SECOND).events == (SECOND,)
    assert call.on(SECOND).events[0] is SECOND


def test_a_reply_ends_with_the_turn() -> None:
    call = Call()
    call.on(SECOND, GenerationComplete())
    outcome = call.on(TurnComplete(reason="MALFORMED_FUNCTION_CALL"), after=0.25)
    assert outcome.events == (
        ReplyEnded(reply=1, how="complete", received_ms=1000.0, heard_ms=250.0, reason="MALFORMED_FUNCTION_CALL"),
    )
    assert outcome.reply_ended
    assert not call.conversation.replying
    assert call.on(SECOND).events[0] == ReplyBegan(reply=2, link=1)


def test_an_interruption_ends_the_reply_where_it_was_heard() -> None:
    call = Call()
    call.on(SECOND, ModelTranscript(text="one two three four five"))
    outcome = call.on(Interrupted(), after=0.5)
    ended = ReplyEnded(reply=1, how="interrupted", received_ms=1000.0, heard_ms=500.0)
    assert outcome.events == (Interrupted(), ended)
    assert call.words == [("model", "one two…")]
    assert call.on(TurnComplete()) == Outcome(), "the interrupted turn's own end"
    assert call.on(Interrupted()).events == (Interrupted(),), "nothing was playing"


def test_what_was_received_of_a_cut_reply_keeps_playing_and_counts_as_said() -> None:
    call = Call()
    call.on(SECOND, ModelTranscript(text="one two three"))
    call.now += 0.5
    assert call.cross(known=0, start=0) == (ReplyEnded(reply=1, how="cut", received_ms=1000.0, heard_ms=500.0),)
    assert call.conversation.link_lost(call.now, heard=0) == ()
    assert call.conversation.reply_owed


def test_a_reply_that_had_come_whole_is_complete_though_its_link_is_lost() -> None:
    call = Call()
    call.on(SECOND, GenerationComplete())
    (ended,) = call.conversation.link_lost(0.0, heard=0)
    assert isinstance(ended, ReplyEnded)
    assert ended.how == "complete"
    assert not call.conversation.reply_owed


def test_a_text_reply_that_is_interrupted_was_read_to_its_end() -> None:
    call = Call()
    call.on(Text(text="one two"), Interrupted())
    assert call.words == [("model", "one two…")]


def test_an_older_link_is_not_listened_to() -> None:
    call = Call()
    call.on(SECOND)
    call.cross(known=0, start=0)
    assert call.conversation.on_event(SECOND, link=1, now=1.0, heard=0) == Outcome()
    assert call.on(SECOND).events == (ReplyBegan(reply=2, link=2), SECOND)


@pytest.mark.parametrize("event", [SetupDone(), GoAway(time_left=1.0), GenerationComplete()])
def test_what_is_for_the_runtime_is_not_shown(event: WireEvent) -> None:
    assert Call().on(event) == Outcome()


def test_usage_is_shown_and_proves_nothing() -> None:
    assert Call().on(Usage(total_tokens=3)) == Outcome((Usage(total_tokens=3),))


# -- The user's turns -----------------------------------------------------------------------------------------------------


def test_a_turn_ends_with_its_transcript_the_voice_or_the_reply() -> None:
    call = Call()
    assert not call.on(UserTranscript(text="hel")).user_turn_ended
    assert call.on(UserTranscript(text="lo", finished=True)).user_turn_ended
    assert call.conversation.reply_owed
    call.replied("hi")
    assert not call.conversation.reply_owed
    assert not call.on(UserActivity(speaking=True)).user_turn_ended
    assert call.on(UserActivity(speaking=False)).user_turn_ended
    call.replied("yes")
    assert call.on(SECOND).user_turn_ended


def test_a_voice_that_never_began_does_not_end() -> None:
    call = Call()
    assert call.on(UserActivity(speaking=False)) == Outcome((UserActivity(speaking=False),))
    assert not call.conversation.reply_owed


def test_a_reply_to_a_text_acknowledges_no_speech_unless_there_was_some() -> None:
    call = Call()
    call.conversation.said(UserText(text="hi"))
    outcome = call.on(SECOND)
    assert outcome.reply_began
    assert not outcome.user_turn_ended
    call.on(TurnComplete(), after=5.0)
    call.conversation.said(UserText(text="hi"))
    call.on(UserTranscript(text="and"), after=2.0)
    assert call.on(SECOND).user_turn_ended


def test_a_transcript_that_comes_late_belongs_before_the_reply() -> None:
    call = Call()
    call.heard = 700
    assert call.on(SECOND).user_turn_ended
    call.on(ModelTranscript(text="fine"))
    assert not call.on(UserTranscript(text="how are you", finished=True)).user_turn_ended
    call.on(TurnComplete())
    assert call.words == [("user", "how are you"), ("model", "fine")]
    assert call.conversation.told == 700
    assert not call.conversation.reply_owed


def test_a_transcript_after_the_reply_is_late_for_a_second_and_then_new() -> None:
    call = Call()
    call.on(SECOND, ModelTranscript(text="fine"), TurnComplete())
    call.on(UserTranscript(text="how are "), after=0.9)
    call.on(UserTranscript(text="bye"), after=0.2)
    assert call.words == [("user", "how are"), ("model", "fine"), ("user", "bye")]


def test_what_is_said_after_an_interruption_is_a_new_turn() -> None:
    call = Call()
    call.said("one", heard=10)
    call.on(Text(text="two"), Interrupted(), TurnComplete())
    call.on(UserTranscript(text="three"))
    assert call.words == [("user", "one"), ("model", "two…"), ("user", "three")]


def test_a_guess_is_shown_and_not_kept() -> None:
    call = Call()
    assert call.on(UserTranscript(text="hell", interim=True)).events == (UserTranscript(text="hell", interim=True),)
    assert call.words == []


# -- What is owed ---------------------------------------------------------------------------------------------------------


def test_a_text_owes_a_reply_where_it_completes_the_turn() -> None:
    call = Call()
    call.conversation.said(UserText(text="by the way", turn_complete=False))
    assert not call.conversation.reply_owed
    call.conversation.said(UserText(text="well?"))
    assert call.conversation.reply_owed
    assert call.words == [("user", "by the way well?")]
    call.on(TurnComplete())
    assert not call.conversation.reply_owed, "the model chose to say nothing"


def test_more_to_come_leaves_the_reply_owed() -> None:
    call = Call()
    call.conversation.said(UserText(text="well?"))
    call.on(SECOND, TurnComplete(more=True))
    assert call.conversation.reply_owed
    call.on(SECOND, TurnComplete())
    assert not call.conversation.reply_owed


def test_a_text_that_is_sent_again_is_told_once() -> None:
    call = Call()
    for _ in range(2):
        call.conversation.said(UserText(text="well?"), seq=7)
    assert call.words == [("user", "well?")]


def test_an_interrupted_turn_owes_nothing() -> None:
    call = Call()
    call.conversation.said(UserText(text="well?"))
    call.on(SECOND, Interrupted())
    assert not call.conversation.reply_owed


# -- Tools ----------------------------------------------------------------------------------------------------------------


def test_a_tool_is_answered_and_told_in_its_place() -> None:
    call = Call()
    call.said("how warm is it?", heard=10)
    asked = ToolCall(call_id="1", name="weather", arguments={"city": "Rome"})
    assert call.on(asked).events == (ReplyBegan(reply=1, link=1), asked)
    call.on(ModelTranscript(text="let me see "))
    assert call.conversation.tools_in_flight == (asked,)
    result = call.conversation.answer("1", {"degrees": 20})
    assert result is not None
    assert call.words == [("user", "how warm is it?"), ("model", "let me see")], "not told before it was sent"
    assert call.conversation.deliver(result, link=1) == result
    assert call.conversation.reply_owed
    call.on(ModelTranscript(text="twenty"), TurnComplete())
    assert call.words == [
        ("user", "how warm is it?"),
        ("model", "let me see"),
        ("tool", 'tool weather, called with {"city":"Rome"}, answered: {"degrees":20}'),
        ("model", "twenty"),
    ]
    assert not call.conversation.reply_owed


def test_a_call_issued_again_after_a_recovery_is_not_shown_again() -> None:
    call = Call()
    asked = ToolCall(call_id="1", name="charge", arguments={"euro": 5})
    call.heard = 50
    call.on(asked)
    result = call.conversation.answer("1", {"ok": True})
    assert result is not None
    assert call.conversation.deliver(result, link=1) == result
    call.cross(known=0, start=0)
    outcome = call.on(ToolCall(call_id="2", name="charge", arguments={"euro": 5}))
    assert outcome.events == (ReplyBegan(reply=2, link=2),)
    assert outcome.answers == (result,)
    assert call.conversation.deliver(outcome.answers[0], link=2) == ToolResult(
        call_id="2", name="charge", result={"ok": True}
    )
    assert call.words == [("tool", 'tool charge, called with {"euro":5}, answered: {"ok":true}')]


def test_a_call_whose_place_is_not_known_yet_is_taken_for_new_ground() -> None:
    """The link dies in the very message of the call: nobody said up to where the user had been heard."""
    call = Call()
    call.conversation.on_event(ToolCall(call_id="1", name="f"), link=1, now=0.0, heard=9)
    call.cross(known=9, start=9)
    assert call.on(ToolCall(call_id="2", name="f")).events == (ReplyBegan(reply=2, link=2),)
    assert call.conversation.ledger.waits_for(2) == ("1",)


def test_a_silent_answer_owes_no_reply() -> None:
    call = Call()
    call.on(ToolCall(call_id="1", name="f"), TurnComplete())
    result = call.conversation.answer("1", {}, scheduling="SILENT")
    assert result is not None
    call.conversation.deliver(result, link=1)
    assert not call.conversation.reply_owed


def test_a_cancellation_of_nothing_known_is_not_shown() -> None:
    call = Call()
    call.on(SECOND, ToolCall(call_id="1", name="f"))
    assert call.on(ToolCallCancelled(call_ids=("9",))) == Outcome()
    assert call.on(ToolCallCancelled(call_ids=("1", "9"))).events == (ToolCallCancelled(call_ids=("1",)),)


def test_a_reply_of_tool_calls_alone_ends_when_the_last_of_them_is_cancelled() -> None:
    call = Call()
    call.on(ToolCall(call_id="1", name="f"), ToolCall(call_id="2", name="g"))
    assert call.on(ToolCallCancelled(call_ids=("1",))).events == (ToolCallCancelled(call_ids=("1",)),)
    outcome = call.on(ToolCallCancelled(call_ids=("2",)))
    assert outcome.events == (
        ToolCallCancelled(call_ids=("2",)),
        ReplyEnded(reply=1, how="interrupted", received_ms=0.0, heard_ms=0.0),
    )
    assert outcome.reply_ended
    assert not call.conversation.reply_owed, "the user speaks, and no reply to what was said before is due"
    assert call.cross(known=0, start=0) == (), "so the end of the link cuts nothing"


@pytest.mark.parametrize("spoken", [SECOND, ModelTranscript(text="Let me see.")], ids=["sound", "words"])
def test_a_reply_that_spoke_too_waits_for_its_own_end_when_its_call_is_cancelled(spoken: WireEvent) -> None:
    call = Call()
    call.on(spoken, ToolCall(call_id="1", name="f"), ToolCallCancelled(call_ids=("1",)))
    assert call.conversation.replying
    assert [type(event) for event in call.on(Interrupted()).events] == [Interrupted, ReplyEnded]


# -- The history ----------------------------------------------------------------------------------------------------------


def test_neighbours_of_one_role_are_joined() -> None:
    call = Call()
    call.said("one", heard=1)
    call.on(UserActivity(speaking=True), UserActivity(speaking=False))
    call.conversation.said(UserText(text="two"))
    call.replied(" three ")
    call.replied("four")
    assert call.words == [("user", "one two"), ("model", "three four")]


def test_what_is_replayed_is_not_told_as_well() -> None:
    call = Call()
    call.said("one", heard=100)
    call.replied("two")
    call.said("three", heard=200)
    call.replied("four")
    call.conversation.said(UserText(text="five"))
    history = call.conversation.history
    assert [turn.text for turn in history(200)] == ["one", "two", "three", "four", "five"]
    assert [turn.text for turn in history(199)] == ["one", "two", "five"]
    assert call.conversation.told == 200


def test_a_turn_that_goes_on_is_told_only_where_its_audio_is_lost() -> None:
    call = Call()
    call.said("one", heard=100)
    call.replied("two")
    call.on(UserTranscript(text="I would like to"))
    assert call.conversation.history(100) == (Turn(role="user", text="one"), Turn(role="model", text="two"))
    assert call.conversation.history(100, open_turn=True)[-1] == Turn(role="user", text="I would like to")
    call.cross(known=100, start=100, carry="history", open_turn=True)
    assert call.words[-1] == ("user", "I would like to")


def test_what_is_said_again_after_a_crossing_leaves_the_history_first() -> None:
    call = Call()
    call.said("one", heard=100)
    call.replied("two")
    call.said("three", heard=200)
    call.on(ModelTranscript(text="four"))
    call.cross(known=100, start=150)
    assert call.words == [("user", "one"), ("model", "two")]
    assert call.conversation.told == 100
    call.on(UserTranscript(text="three"))
    call.heard = 200
    call.replied("four")
    assert call.words == [("user", "one"), ("model", "two"), ("user", "three"), ("model", "four")]
    assert call.conversation.told == 200


def test_a_turn_without_a_transcript_tells_nothing() -> None:
    call = Call()
    call.said("one", heard=100)
    call.replied("two")
    call.heard = 200
    call.replied("three")
    assert call.conversation.told == 100


def test_a_turn_after_one_that_got_no_reply_has_an_end_of_its_own() -> None:
    call = Call()
    call.heard = 100
    call.on(UserActivity(speaking=True), UserActivity(speaking=False))
    call.on(UserActivity(speaking=True))
    call.heard = 200
    call.on(UserActivity(speaking=False), UserTranscript(text="hello?"))
    call.replied("yes")
    assert call.conversation.spoken == ((100, False), (200, True))
    assert call.conversation.told == 200


def test_the_history_is_bounded_and_what_left_it_stays_told() -> None:
    call = Call(history_bound=4)
    for number in range(1, 20):
        call.said(f"ask {number}", heard=number * 100)
        call.replied(f"answer {number}")
    assert [text for _, text in call.words] == ["ask 18", "answer 18", "ask 19", "answer 19"]
    for _ in range(4):
        call.conversation.said(UserText(text="x"))
    assert call.conversation.told == 1900


def test_a_turn_is_bounded() -> None:
    call = Call()
    for _ in range(30_000):
        call.on(UserTranscript(text="word "))
    (turn,) = call.conversation.history()
    assert len(turn.text) <= 20_000


def test_repr() -> None:
    call = Call()
    assert repr(call.conversation) == "<Conversation link 0, at rest, 0 tools in flight>"
    call.conversation.said(UserText(text="well?"))
    assert repr(call.conversation) == "<Conversation link 0, reply owed, 0 tools in flight>"
    call.on(ToolCall(call_id="1", name="f"))
    assert repr(call.conversation) == "<Conversation link 1, reply 1 in flight, 1 tool in flight>"


class TestWhatIsNotSaidAgainAfterAll:
    """A link that was to hear turns again may end before it has: their words are not lost by that."""

    def crossed(self) -> Call:
        call = Call()
        for turn in ("first", "second", "third"):
            call.said(turn, heard=call.heard + 1000)
            call.replied(f"to the {turn}")
        call.cross(known=1000, start=1000, carry="handle")
        assert [turn.text for turn in call.conversation.history()] == ["first", "to the first"]
        return call

    def test_they_are_told_where_the_link_heard_nothing_again(self) -> None:
        call = self.crossed()
        call.conversation.not_said_again(1000)
        assert [turn.text for turn in call.conversation.history()][-2:] == ["third", "to the third"]
        assert call.conversation.told == 3000

    def test_what_it_has_heard_again_is_told_once(self) -> None:
        call = self.crossed()
        call.heard = 1000
        call.said("second once more", heard=2000)
        call.replied("to that")
        call.conversation.not_said_again(2000)
        said = [turn.text for turn in call.conversation.history()]
        assert said == ["first", "to the first", "second once more", "to that", "third", "to the third"]

    def test_a_turn_that_had_not_ended_is_left_to_its_audio(self) -> None:
        call = Call()
        call.said("first", heard=1000)
        call.replied("to the first")
        call.on(UserTranscript(text="and then"))
        call.cross(known=1000, start=1000, carry="handle")
        call.conversation.not_said_again(1000)
        assert [turn.text for turn in call.conversation.history()] == ["first", "to the first"]


def test_audio_of_a_reply_in_flight_may_go_the_short_way_and_comes_to_the_same() -> None:
    short, long = Call(), Call()
    for call in (short, long):
        assert not call.conversation.goes_on(SECOND, link=1, now=0.0), "a reply has to begin first"
        call.on(SECOND)
    assert not short.conversation.goes_on(SECOND, link=2, now=1.0), "it came on another link"
    assert short.conversation.goes_on(SECOND, link=1, now=1.0)
    assert long.on(SECOND, after=1.0).events == (SECOND,)
    ends = [call.conversation.link_lost(2.5, heard=0) for call in (short, long)]
    assert ends[0] == ends[1]
    assert (ends[0][0].received_ms, ends[0][0].heard_ms) == (2000, 2000)
    assert not short.conversation.goes_on(SECOND, link=1, now=3.0), "that reply is over"
