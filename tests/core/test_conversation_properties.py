"""Whatever the wire says and wherever links end: each reply and each tool call is settled exactly once."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from unbroken.core.conversation import Conversation
from unbroken.core.outbox import Outbox, Pinned
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
    UserActivity,
    UserTranscript,
)
from unbroken.wire import GenerationComplete, TurnComplete, WireEvent

PIECE = Audio(bytes(480), 24_000)
KEYS = st.sampled_from([("f", 1), ("f", 2), ("g", 1)])
Key = tuple[str, int]


class Calls(RuleBasedStateMachine):
    """A model that calls tools and is cut off, an application that answers, and a pipe between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation(history_bound=10)
        self.outbox = Outbox()
        self.outbox.open()
        self.link = 1
        self.conversation.begin_link(1, known=0, start=0, carry="nothing")
        self.now = 0.0
        self.heard = 0
        self.least = 0  # the oldest snapshot that may be resumed from
        self.replying = False
        self.replies = 0
        self.wire: dict[tuple[int, str], Key] = {}  # calls by link and id, as the model issued them
        self.responses: Counter[tuple[int, str]] = Counter()
        self.told: set[str] = set()
        self.app: dict[str, tuple[Key, int]] = {}  # calls as the application sees them, with the link that waits
        self.answered: set[str] = set()
        self.cancelled: set[str] = set()
        self.off: set[tuple[int, str]] = set()

    def show(self, events: tuple[Event, ...]) -> None:
        for event in events:
            match event:
                case ReplyBegan(reply=reply, link=link):
                    assert not self.replying
                    assert (reply, link) == (self.replies + 1, self.link)
                    self.replying, self.replies = True, reply
                case ReplyEnded(reply=reply, received_ms=received, heard_ms=heard):
                    assert self.replying
                    assert reply == self.replies
                    assert 0 <= heard <= received
                    self.replying = False
                case Audio() | Text() | ModelTranscript() | ToolCall():
                    assert self.replying
                case _:
                    pass

    def hear(self, event: WireEvent) -> None:
        outcome = self.conversation.on_event(event, link=self.link, now=self.now, heard=self.heard)
        self.show(outcome.events)
        if outcome.user_turn_ended:
            self.heard += 10
            self.conversation.acknowledged(self.heard)
        for answer in outcome.answers:
            self.outbox.put(answer, 0)
        if isinstance(event, ToolCall):
            self.called(event, [shown for shown in outcome.events if isinstance(shown, ToolCall)])

    def called(self, event: ToolCall, shown: list[ToolCall]) -> None:
        key = (event.name, event.arguments["n"])
        waiting = [
            call_id
            for call_id, (known, link) in self.app.items()
            if known == key and link != self.link and call_id not in self.answered | self.cancelled
        ]
        assert bool(shown) <= (not waiting), "the application is at work on this very call"
        if shown:
            (call,) = shown
            assert call.call_id not in self.app, "unique within the session"
            self.app[call.call_id] = (key, self.link)
        elif waiting:
            self.app[waiting[0]] = (key, self.link)
        self.wire[self.link, event.call_id] = key

    @rule(
        event=st.sampled_from(
            [
                PIECE,
                Text(text="x", thought=True),
                Text(text="yes"),
                ModelTranscript(text="well now "),
                UserTranscript(text="please "),
                UserTranscript(text="now", finished=True),
                UserActivity(speaking=True),
                UserActivity(speaking=False),
                Interrupted(),
                GenerationComplete(),
                TurnComplete(),
                TurnComplete(more=True),
            ]
        ),
        pause=st.floats(0, 2),
    )
    def wire_says(self, event: WireEvent, pause: float) -> None:
        self.now += pause
        self.hear(event)

    @rule(key=KEYS)
    def model_calls(self, key: Key) -> None:
        number = sum(link == self.link for link, _ in self.wire)
        self.hear(ToolCall(call_id=f"call-{number}", name=key[0], arguments={"n": key[1]}))

    @rule(data=st.data())
    def model_cancels(self, data: st.DataObject) -> None:
        mine = sorted(call_id for link, call_id in self.wire if link == self.link)
        if mine:
            wire_id = data.draw(st.sampled_from(mine))
            before = {call.call_id for call in self.conversation.tools_in_flight}
            self.hear(ToolCallCancelled(call_ids=(wire_id,)))
            self.off.add((self.link, wire_id))
            self.cancelled |= before - {call.call_id for call in self.conversation.tools_in_flight}

    @rule(data=st.data())
    def application_answers(self, data: st.DataObject) -> None:
        if self.conversation.tools_in_flight:
            self.answer(data.draw(st.sampled_from(sorted(call.call_id for call in self.conversation.tools_in_flight))))

    def answer(self, call_id: str) -> None:
        answer = self.conversation.answer(call_id, {"n": 1})
        self.answered.add(call_id)
        assert answer is not None
        self.outbox.put(answer, 0)

    @rule()
    def pipe_sends(self) -> None:
        send = self.outbox.next(0, limit=1)
        if send is None:
            return
        self.outbox.advance(send)
        assert isinstance(send, Pinned)
        assert isinstance(send.item, ToolResult)
        match self.conversation.deliver(send.item, link=self.link):
            case ToolResult(call_id=wire_id):
                assert (self.link, wire_id) in self.wire, "only what this very link issued"
                self.responses[self.link, wire_id] += 1
                self.told.add(send.item.call_id)
            case Turn(role=role):
                assert role == "tool"
                self.told.add(send.item.call_id)
            case None:
                pass

    @rule(carry=st.sampled_from(["handle", "history"]), back=st.integers(0, 30), held=st.booleans())
    def link_is_lost(self, carry: str, back: int, held: bool) -> None:
        self.show(self.conversation.link_lost(self.now, heard=0))
        assert not self.replying
        known = max(0, self.heard - back)
        self.link += 1
        self.heard = known
        self.conversation.begin_link(self.link, known=known, start=known, carry="handle" if carry == "handle" else "history")
        self.outbox.rewind(0, self.outbox.cursor[1] if held or carry == "history" else 0)

    @invariant()
    def nothing_is_answered_twice(self) -> None:
        assert all(count == 1 for count in self.responses.values())
        roles = [turn.role for turn in self.conversation.history()]
        assert len(self.conversation._turns) <= 10
        assert all(a != b or a == "tool" for a, b in itertools.pairwise(roles))

    def teardown(self) -> None:
        for call in self.conversation.tools_in_flight:
            self.answer(call.call_id)
        while self.outbox.waiting:
            self.pipe_sends()
        self.hear(TurnComplete())
        self.show(self.conversation.link_lost(self.now, heard=0))
        assert not self.replying
        assert self.conversation.tools_in_flight == ()
        for link, wire_id in self.wire:
            if link == self.link and (link, wire_id) not in self.off:
                assert self.responses[link, wire_id] == 1
        assert self.answered - self.told <= self.cancelled | self.withdrawn()

    def withdrawn(self) -> set[str]:
        """Calls that were cancelled after they had been answered: nobody wants their answer."""
        entries = self.conversation.ledger._entries
        return {entry.call.call_id for entry in entries if entry.cancelled}


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
