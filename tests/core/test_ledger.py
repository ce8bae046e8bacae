from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.ledger import ToolLedger
from unbroken.errors import ConfigError
from unbroken.events import ToolCall, ToolResult, Turn


def call(call_id: str = "1", name: str = "weather", **arguments: Any) -> ToolCall:
    return ToolCall(call_id=call_id, name=name, arguments=arguments or {"city": "Rome"})


def shown(ledger: ToolLedger, asked: ToolCall, *, link: int, heard: int = 0) -> ToolCall | ToolResult | None:
    event, placed = ledger.call(asked, link=link)
    if placed is not None:
        placed.position = heard
    return event


def answered(ledger: ToolLedger, asked: ToolCall, *, link: int, heard: int = 0) -> ToolResult:
    event = shown(ledger, asked, link=link, heard=heard)
    assert isinstance(event, ToolCall)
    result = ledger.answer(event.call_id, {"sky": "blue"})
    assert result is not None
    return result


def test_a_call_goes_to_the_application_and_its_answer_to_its_link() -> None:
    ledger = ToolLedger()
    asked = call()
    assert shown(ledger, asked, link=1) is asked
    assert ledger.pending == (asked,)
    assert ledger.waits_for(1) == ("1",)
    result = ledger.answer("1", {"sky": "blue"}, scheduling="WHEN_IDLE")
    assert result == ToolResult(call_id="1", name="weather", result={"sky": "blue"}, scheduling="WHEN_IDLE")
    assert not ledger.pending
    assert ledger.waits_for(1) == ("1",), "answered, and not yet sent"
    assert ledger.deliver(result, link=1) == result
    assert ledger.waits_for(1) == ()
    assert ledger.deliver(result, link=1) is None, "once is enough"


def test_a_call_repeated_on_its_own_link_is_the_same_call() -> None:
    ledger = ToolLedger()
    shown(ledger, call(), link=1)
    assert shown(ledger, call(), link=1) is None
    assert len(ledger.pending) == 1


def test_an_answer_that_outlived_its_link_is_told_in_words() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call(city="Rome", days=[1, 2]), link=1)
    ledger.begin_link(2, known=0, told=False)
    assert ledger.deliver(result, link=2) == Turn(
        role="tool", text='tool weather, called with {"city":"Rome","days":[1,2]}, answered: {"sky":"blue"}'
    )
    assert ledger.unknown_to(2) == ()


def test_a_call_that_is_still_unanswered_is_unknown_to_the_next_link() -> None:
    ledger = ToolLedger()
    shown(ledger, call(), link=1)
    ledger.begin_link(2, known=0, told=False)
    assert ledger.unknown_to(2) == ("1",)
    assert ledger.waits_for(2) == ()


def test_a_call_issued_again_is_answered_from_the_ledger_once() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call("1", city="Rome", days=2), link=1)
    ledger.deliver(result, link=1)
    ledger.begin_link(2, known=0, told=False)
    again = shown(ledger, call("9", days=2, city="Rome"), link=2)
    assert again == result
    assert isinstance(again, ToolResult)
    assert ledger.deliver(again, link=2) == ToolResult(call_id="9", name="weather", result={"sky": "blue"})
    third = shown(ledger, call("10", city="Rome", days=2), link=2)
    assert third == call("10", city="Rome", days=2), "the user asks for it anew"


def test_a_call_issued_again_while_the_application_works_gets_the_one_answer() -> None:
    ledger = ToolLedger()
    shown(ledger, call("1"), link=1)
    ledger.begin_link(2, known=0, told=False)
    assert shown(ledger, call("9"), link=2) is None
    assert [pending.call_id for pending in ledger.pending] == ["1"]
    assert ledger.waits_for(2) == ("1",)
    result = ledger.answer("1", "fine")
    assert result == ToolResult(call_id="1", name="weather", result={"output": "fine"})
    assert ledger.deliver(result, link=2) == ToolResult(call_id="9", name="weather", result={"output": "fine"})


def test_an_answer_told_in_words_first_is_given_again_to_the_link_that_asks() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call("1"), link=1)
    ledger.begin_link(2, known=0, told=False)
    assert isinstance(ledger.deliver(result, link=2), Turn)
    again = shown(ledger, call("9"), link=2)
    assert isinstance(again, ToolResult)
    assert ledger.deliver(again, link=2) == ToolResult(call_id="9", name="weather", result={"sky": "blue"})


def test_other_arguments_or_another_name_are_another_call() -> None:
    ledger = ToolLedger()
    answered(ledger, call("1"), link=1)
    ledger.begin_link(2, known=0, told=False)
    for other in (call("2", city="Oslo"), call("3", name="forecast")):
        assert shown(ledger, other, link=2) is other


def test_what_a_completed_reply_settled_is_called_anew() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call("1"), link=1, heard=500)
    ledger.deliver(result, link=1)
    ledger.reply_completed(500)
    ledger.begin_link(2, known=500, told=False)
    assert isinstance(shown(ledger, call("2"), link=2), ToolCall)


def test_a_context_rolled_back_before_the_call_is_answered_from_the_ledger() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call("1"), link=1, heard=500)
    ledger.deliver(result, link=1)
    ledger.reply_completed(500)
    ledger.begin_link(2, known=499, told=False)
    assert shown(ledger, call("2"), link=2) == result


def test_a_context_that_went_past_the_call_without_issuing_it_may_call_it_anew() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call("1"), link=1, heard=500)
    ledger.deliver(result, link=1)
    ledger.begin_link(2, known=100, told=False)
    ledger.reply_completed(400)
    ledger.reply_completed(500)
    assert isinstance(shown(ledger, call("2"), link=2), ToolCall)


def test_a_history_that_told_the_answer_needs_no_second_telling() -> None:
    ledger = ToolLedger()
    sent, unsent = answered(ledger, call("1"), link=1), answered(ledger, call("2", city="Oslo"), link=1)
    ledger.deliver(sent, link=1)
    ledger.begin_link(2, known=0, told=True)
    assert ledger.deliver(sent, link=2) is None
    assert isinstance(ledger.deliver(unsent, link=2), Turn)


def test_a_cancelled_call_is_no_longer_wanted() -> None:
    ledger = ToolLedger()
    shown(ledger, call("1"), link=1)
    result = answered(ledger, call("2", city="Oslo"), link=1)
    assert ledger.cancel(["1", "2", "3"], link=1) == ("1", "2")
    assert ledger.cancel(["1"], link=1) == ()
    assert ledger.pending == ()
    assert ledger.waits_for(1) == ()
    assert ledger.deliver(result, link=1) is None
    assert ledger.answer("1", {}) is None
    ledger.begin_link(2, known=0, told=False)
    assert isinstance(shown(ledger, call("4"), link=2), ToolCall), "it was undone, so it is done anew"


def test_a_cancellation_names_the_call_as_the_application_knows_it() -> None:
    ledger = ToolLedger()
    shown(ledger, call("1"), link=1)
    ledger.begin_link(2, known=0, told=False)
    shown(ledger, call("9"), link=2)
    assert ledger.cancel(["1"], link=2) == ()
    assert ledger.cancel(["9"], link=2) == ("1",)


def test_an_id_that_a_provider_uses_twice_is_made_unique() -> None:
    ledger = ToolLedger()
    shown(ledger, call("1"), link=1)
    ledger.begin_link(2, known=0, told=False)
    other = shown(ledger, call("1", city="Oslo"), link=2)
    assert other == call("1~2", city="Oslo")
    result = ledger.answer("1~2", {})
    assert result is not None
    assert ledger.deliver(result, link=2) == ToolResult(call_id="1", name="weather", result={})


def test_an_unknown_id_is_refused_by_name() -> None:
    ledger = ToolLedger()
    with pytest.raises(ConfigError, match=r"^no tool call has the id 'x'; pending: none$"):
        ledger.answer("x", {})
    shown(ledger, call("1"), link=1)
    shown(ledger, call("2", city="Oslo"), link=1)
    with pytest.raises(ConfigError, match=r"^no tool call has the id 'x'; pending: '1', '2'$"):
        ledger.answer("x", {})


def test_a_second_answer_is_refused() -> None:
    ledger = ToolLedger()
    answered(ledger, call("1"), link=1)
    with pytest.raises(ConfigError, match=r"^the tool call '1' \(weather\) was answered before; a call is answered once$"):
        ledger.answer("1", {})


def test_an_answer_that_json_cannot_carry_is_refused_and_may_be_given_again() -> None:
    ledger = ToolLedger()
    shown(ledger, call("1"), link=1)
    with pytest.raises(
        ConfigError,
        match=r"^the result of the tool 'weather' cannot be written as JSON: "
        r"Encoding objects of type object is unsupported$",
    ):
        ledger.answer("1", {"thing": object()})
    assert ledger.answer("1", None) == ToolResult(call_id="1", name="weather", result={"output": None})


def test_the_ledger_is_bounded_and_forgets_the_settled_first() -> None:
    ledger = ToolLedger(bound=3)
    shown(ledger, call("0", n=0), link=1)
    for number in range(1, 50):
        ledger.deliver(answered(ledger, call(str(number), n=number), link=1), link=1)
        ledger.reply_completed(0)
    assert [pending.call_id for pending in ledger.pending] == ["0"]
    assert len(ledger._entries) == len(ledger._by_id) == 3
    gone = ToolResult(call_id="1", name="weather", result={})
    assert ledger.deliver(gone, link=1) == Turn(role="tool", text="tool weather answered: {}")


def test_no_number_of_calls_makes_one_in_flight_forgotten() -> None:
    ledger = ToolLedger(bound=4)
    results = [answered(ledger, call(str(number), n=number), link=1) for number in range(3)]
    for number in range(3, 20):
        shown(ledger, call(str(number), n=number), link=1)
    assert [pending.call_id for pending in ledger.pending] == [str(number) for number in range(3, 20)]
    for result in results:
        assert ledger.deliver(result, link=1) == result
    for number in range(3, 20):
        assert ledger.answer(str(number), {}) is not None
    assert not ledger.pending


def test_of_many_cancelled_calls_those_that_were_answered_go_first() -> None:
    ledger = ToolLedger(bound=2)
    for number in range(3):
        shown(ledger, call(str(number), n=number), link=1)
    ledger.cancel(("0", "1", "2"), link=1)
    assert ledger.answer("1", {}) is None
    shown(ledger, call("3", n=3), link=1)
    assert ledger.answer("2", {}) is None, "an answer that was on its way is no error"
    with pytest.raises(ConfigError, match="no tool call has the id '1'"):
        ledger.answer("1", {})


def test_repr() -> None:
    ledger = ToolLedger()
    assert repr(ledger) == "<ToolLedger 0 calls, pending: none>"
    shown(ledger, call("1"), link=1)
    assert repr(ledger) == "<ToolLedger 1 call, pending: weather>"


def test_a_call_that_its_link_was_never_answered_stays_pending_there_though_it_was_answered_meanwhile() -> None:
    ledger = ToolLedger()
    result = answered(ledger, call(), link=1)
    ledger.begin_link(2, known=0, told=False, calls=1)
    assert [entry.call_id for entry in ledger.left_pending(2)] == ["1"]
    ledger.deliver(result, link=2)
    assert [entry.call_id for entry in ledger.left_pending(2)] == ["1"], "in words, which the call's own session cannot know"


def test_a_call_that_was_answered_on_its_link_or_withdrawn_is_left_pending_nowhere() -> None:
    ledger = ToolLedger()
    ledger.deliver(answered(ledger, call("1"), link=1), link=1)
    shown(ledger, call("2", name="time"), link=1)
    ledger.cancel(["2"], link=1)
    ledger.begin_link(2, known=0, told=False, calls=0)
    assert ledger.left_pending(2) == ()


@pytest.mark.parametrize(("calls", "again"), [(0, True), (1, False)])
def test_a_settled_call_may_come_again_where_the_snapshot_is_older_though_nobody_spoke(calls: int, again: bool) -> None:
    ledger = ToolLedger()
    ledger.deliver(answered(ledger, call("1"), link=1), link=1)
    ledger.reply_completed(0)
    ledger.begin_link(2, known=0, told=False, calls=calls)
    event = shown(ledger, call("9"), link=2)
    assert isinstance(event, ToolResult if again else ToolCall)


@pytest.mark.parametrize(("given", "again"), [(3, False), (2, True)])
def test_a_reply_settles_a_call_only_where_what_asked_for_it_was_given(given: int, again: bool) -> None:
    """Otherwise that is sent again after the reply, and the model issues the call once more."""
    ledger = ToolLedger()
    ledger.given = 3
    asked = call()
    result = answered(ledger, asked, link=1)
    ledger.begin_link(2, known=0, told=False, calls=0)
    ledger.given = given
    assert isinstance(ledger.deliver(result, link=2), Turn)
    ledger.reply_completed(0)
    once_more = shown(ledger, call("2"), link=2)
    assert isinstance(once_more, ToolResult if again else ToolCall)
