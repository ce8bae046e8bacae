"""An hour of conversation through the pure core: journal, outbox, conversation, machine and policy, without any I/O."""

from __future__ import annotations

import random

from unbroken.config import Secret, Settings
from unbroken.core.classify import classify
from unbroken.core.conversation import Conversation
from unbroken.core.journal import Journal
from unbroken.core.machine import LIVE, Command, Input, Machine, State
from unbroken.core.outage import Outages
from unbroken.core.outbox import AudioSpan, Outbox
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Carry, Closure, Ending, Facts, FailOver, Retry, TargetState
from unbroken.events import Audio, Steps, UserTranscript
from unbroken.wire import GenerationComplete, TurnComplete, WireEvent

RATE = 16_000
STEP = 320
LATENCY = 0.06


class Service:
    """What a model remembers, by positions: hidden from the client, who sees only replies, transcripts and handles."""

    def __init__(self, held: list[tuple[int, int]]) -> None:
        self.held = list(held)
        self.quiet = 0
        self.spoken = False
        self.due: list[tuple[float, list[WireEvent]]] = []

    def hear(self, start: int, stop: int, *, quiet: bool, now: float) -> None:
        if self.held and self.held[-1][1] == start:
            start = self.held.pop()[0]
        self.held.append((start, stop))
        self.quiet = self.quiet + STEP if quiet else 0
        self.spoken = self.spoken or not quiet
        if self.spoken and self.quiet >= RATE // 2:
            self.spoken, self.quiet = False, 0
            said: list[WireEvent] = [UserTranscript(text=f"up to {stop}", finished=True), Audio(bytes(9600), 24_000)]
            self.due.append((now + LATENCY, [*said, GenerationComplete(), TurnComplete()]))


def test_an_hour_with_a_fault_every_twenty_seconds() -> None:
    dice = random.Random(1)
    settings = Settings()
    machine, outages = Machine(settings), Outages(_ROUTE, settings=settings)
    journal, outbox, conversation = Journal(rate=RATE, bound=60), Outbox(), Conversation()
    policy, rules = DefaultPolicy(), in_order()
    service, link, now, faults = Service([]), 0, 0.0, 0
    snapshot: tuple[Secret, int, list[tuple[int, int]]] | None = None
    lost = silence = told = uncertain = 0
    next_fault, up_at, carry = 20.0, 0.0, "nothing"

    machine.feed(Input.OPEN, now)
    for tick in range(180_000):
        now = tick * 0.02
        quiet = tick % 250 >= 150
        start = journal.end
        pcm = tick.to_bytes(4, "little") * (STEP // 2)
        journal.append(pcm, now, quiet=quiet)
        if machine.state in LIVE:
            while (send := outbox.next(journal.end, limit=STEP)) is not None:
                assert isinstance(send, AudioSpan)
                assert len(journal.read(send.start, send.stop - send.start)) == (send.stop - send.start) * 2
                outbox.advance(send)
                journal.sent(send.stop, now)
                service.hear(send.start, send.stop, quiet=send.start // STEP % 250 >= 150, now=now)
            for due, events in [each for each in service.due if each[0] <= now]:
                service.due.remove((due, events))
                for event in events:
                    outcome = conversation.on_event(event, link=link, now=now, heard=journal.heard)
                    if outcome.user_turn_ended or outcome.reply_began:
                        conversation.acknowledged(journal.acknowledge(now, LATENCY + 0.2))
                    for what, happened in (
                        (outcome.user_turn_ended, Input.TURN_ENDED),
                        (outcome.reply_began, Input.REPLY_BEGAN),
                        (outcome.reply_ended, Input.REPLY_ENDED),
                    ):
                        if what:
                            machine.feed(happened, now)
                    if outcome.useful:
                        machine.useful(up_at, now)
                snapshot = (Secret(str(tick)), journal.snapshot(None), list(service.held))
                journal.forget(min(snapshot[1], conversation.told))
        commands = machine.expire(now, sign_at=now, output_at=now) if machine.deadline <= now else ()
        if Command.HEALTHY in commands:
            outages.healthy()
        if Command.ADMIT in commands:
            machine.feed(Input.GO, now)
        if now >= next_fault and machine.state in LIVE:
            faults += 1
            next_fault = now + dice.uniform(10, 30)
            conversation.link_lost(now, heard=0)
            outbox.close()
            closure = Closure(ending=dice.choice(_ENDINGS), facts=Facts(useful=True), age=now - up_at)
            outages.failed(closure, target=0, detect=0.0, now=now)
            machine.outage(now)
            machine.feed(Input.DOWN, now)
            situation = outages.situation(
                closure, target=0, has_handle=snapshot is not None, history_tokens=9, random=dice.random(), now=now
            )
            decision = policy.decide(classify(closure, rules), situation)
            assert isinstance(decision, Retry | FailOver)
            carry = decision.carry if snapshot is not None and dice.random() < 0.8 else "history"
            machine.wait(now + decision.after + 0.3, now)
        if machine.state is State.DIALLING:
            link += 1
            for happened in (Input.UPGRADE, Input.SETUP, Input.UP):
                machine.feed(happened, now)
            by_handle = carry == "handle" and snapshot is not None
            known = snapshot[1] if by_handle and snapshot is not None else conversation.told
            how: Carry = "handle" if by_handle else "history" if link > 1 else "nothing"
            plan = journal.plan(known=known, carry=how, now=now, max_age=10.0, told=conversation.told)
            held = snapshot[2] if by_handle and snapshot is not None else [(0, known)]
            assert by_handle or how == "nothing" or plan.uncertain == 0
            assert not by_handle or plan.start >= plan.known, "nothing that is known to be held is sent again"
            assert _covers(held, plan.known), "what is called known must be held"
            service = Service(held)
            if not by_handle:
                snapshot = None
            journal.begin_link(link, plan.start)
            journal.settle(plan)
            conversation.begin_link(link, known=plan.known, start=plan.start, carry=how, open_turn=plan.lost > 0)
            outbox.rewind(plan.start, 0)
            outbox.open()
            outages.dialled()
            outages.recovered(Steps(), catch_up=0.0)
            up_at = now
            lost, silence, told, uncertain = (
                lost + plan.lost,
                silence + plan.silence,
                told + plan.told,
                uncertain + plan.uncertain,
            )
            service.held.append((plan.known, plan.start))  # counted, lost or quiet: settled either way
        assert start + STEP == journal.end
        assert journal.end - journal.begin <= 60 * RATE
    assert faults > 100
    assert lost == 0, "outages of a third of a second lose nothing"
    assert _covers(service.held, outbox.position)
    assert uncertain > 0, "a snapshot is older than what the model heard last, and that is said"


_ROUTE = [TargetState(name="a/b", index=0, quota_group="q", credentials="c")]
_ENDINGS = [
    Ending(code=1011, reason="Internal error encountered."),
    Ending(cause="reset"),
    Ending(cause="eof"),
    Ending(code=1012),
]


def _covers(held: list[tuple[int, int]], upto: int) -> bool:
    reached = 0
    for start, stop in sorted(held):
        if start > reached:
            return False
        reached = max(reached, stop)
    return reached >= upto
