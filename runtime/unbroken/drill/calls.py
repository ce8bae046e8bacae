"""The drill's tool calls: the caller has one made when a fault is to strike during a call, and the drill answers it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from unbroken.events import ToolCall
from unbroken.testing.report import Report

__all__ = ["CONFIG", "TAKES", "Calls", "Delivered", "question"]

_NAME = "opening_hours"
_NUMBER = "question"

CONFIG: Mapping[str, object] = {
    "tools": [
        {
            "function_declarations": [
                {
                    "name": _NAME,
                    "description": "When the shop is open.",
                    "parameters": {"type": "OBJECT", "properties": {_NUMBER: {"type": "INTEGER"}}},
                }
            ]
        }
    ]
}
"""Declares the tool."""

TAKES = 1.0
"""Seconds until a call is answered; a fault that strikes during calls has that long."""


def question(number: int) -> str:
    """What the caller writes, so that the model calls the tool: the simulated one does as it is told."""
    return f'When are you open? Please call {_NAME} {{"{_NUMBER}": {number}}}'


class Calls(msgspec.Struct, kw_only=True):
    """The model's tool calls, as the application has them.

    Attributes:
        called: how many there were.
        cancelled: ids of those that the model no longer wanted.
        answers: what was answered, by the number of the question; each says something that no other does.
        again: calls that came though their question was answered. The promise is 0.
    """

    called: int = 0
    cancelled: set[str] = set()
    answers: dict[int, str] = {}
    again: int = 0

    def answer(self, call: ToolCall) -> dict[str, str] | None:
        """Returns the answer to a call, from now on one that is given; None: the call is no longer wanted."""
        if call.call_id in self.cancelled:
            return None
        number = int(call.arguments.get(_NUMBER, 0))
        self.again += number in self.answers
        self.answers[number] = f"from 8 to 18, says answer {number}."
        return {"open": self.answers[number]}


class Delivered:
    """Which answers have reached the model, by the service's count.

    The model has an answer as a tool response or, where the call's link was gone, in words. A model that is asked again
    calls again, and has the answer again without the application's hearing of it: that is no answer told twice. What a
    context was told ends with it, so the account is looked at again and again.
    """

    def __init__(self) -> None:
        self._told: set[int] = set()
        self._twice: set[int] = set()

    def look(self, report: Report, calls: Calls) -> None:
        """Looks at what the context that survived was told, and which calls were answered."""
        for number, words in calls.answers.items():
            told = sum(words in text for text in (*report.texts, *report.history))
            taken = [call.answers for call in report.calls if call.args.get(_NUMBER) == number]
            if told or any(taken):
                self._told.add(number)
            if max(told, *taken, 0) > 1:
                self._twice.add(number)

    def missing(self, calls: Calls) -> int:
        """How many answers no context was ever told."""
        return len(calls.answers.keys() - self._told)

    def twice(self) -> int:
        """How many answers a context was told more than once."""
        return len(self._twice)
