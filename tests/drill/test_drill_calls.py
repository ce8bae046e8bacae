"""The drill's tool calls: what is answered, and how often the model was told."""

from unbroken.drill.calls import Calls, Delivered
from unbroken.events import ToolCall
from unbroken.testing.report import CallReport, Report


def call(number: int, *, call_id: str = "") -> ToolCall:
    return ToolCall(call_id=call_id or f"call {number}", name="opening_hours", arguments={"question": number})


def issued(number: int, *, answers: int = 1, call_id: str = "") -> CallReport:
    call_id = call_id or f"call {number}"
    return CallReport(id=call_id, name="opening_hours", args={"question": number}, link=1, answers=answers)


def answered(*numbers: int) -> tuple[Calls, list[str]]:
    calls = Calls()
    for number in numbers:
        calls.answer(call(number))
    return calls, [calls.answers[number] for number in numbers]


def test_each_answer_says_what_no_other_does() -> None:
    calls, words = answered(1, 2)
    assert len(set(words)) == 2
    calls.cancelled.add("call 3")
    assert calls.answer(call(3)) is None
    assert list(calls.answers) == [1, 2]
    assert calls.again == 0
    calls.answer(call(2, call_id="again"))
    assert calls.again == 1


def test_an_answer_is_known_as_a_response_in_a_text_or_in_the_history() -> None:
    calls, words = answered(1, 2, 3, 4, 11)
    delivered = Delivered()
    told = Report(calls=(issued(1), issued(4, answers=0)), texts=(f"The answer: {words[1]}",), history=(words[2],))
    delivered.look(told, calls)
    assert (delivered.missing(calls), delivered.twice()) == (2, 0)
    delivered.look(Report(calls=(issued(4, call_id="of another model"),)), calls)
    assert (delivered.missing(calls), delivered.twice()) == (1, 0)


def test_what_one_context_was_told_stays_told_and_another_is_told_anew() -> None:
    calls, words = answered(1, 2)
    delivered = Delivered()
    delivered.look(Report(texts=(words[0],), history=(words[1],)), calls)
    delivered.look(Report(), calls)
    delivered.look(Report(history=(words[0],), texts=(words[1],)), calls)
    assert (delivered.missing(calls), delivered.twice()) == (0, 0)


def test_an_answer_told_twice_is_found_and_one_to_a_second_call_is_none() -> None:
    calls, words = answered(1, 2, 3)
    delivered = Delivered()
    delivered.look(Report(calls=(issued(1), issued(1, call_id="again")), texts=(words[0],)), calls)
    assert delivered.twice() == 0
    delivered.look(Report(calls=(issued(2, answers=2),), texts=(words[2],), history=(words[2],)), calls)
    assert delivered.twice() == 2
    assert delivered.missing(calls) == 0
