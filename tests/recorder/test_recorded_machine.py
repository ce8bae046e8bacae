"""Whatever a machine is told, a recording of it does the same again: from its beginning, and from the middle of the ring."""

from __future__ import annotations

import inspect
import io
import json
import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unbroken
from unbroken.config import Settings
from unbroken.core.classify import classify
from unbroken.core.first import First
from unbroken.core.machine import TABLE, Checkpoint, IllegalInput, Input, Machine, State
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Ending, Escalate, Retry, Situation, TargetState
from unbroken.messages import Decided, Permit
from unbroken.recorder import Recording, Replayed, replay
from unbroken.recorder.lines import Checked
from unbroken.recorder.recording import ENTRIES, SEGMENTS, RecordedMachine

WRITTEN = datetime(2026, 11, 22, 19, 38, 7, 123456, tzinfo=UTC)
SETTINGS = Settings(patience=20.0, healthy_after=3.0, consumer_patience=7.0)


def recording(settings: Settings = SETTINGS, **named: str) -> Recording:
    return Recording("caller-7", targets=["p/one", "p/two"], settings=settings, **named)


def written(it: Recording, *, now: float = 0.0) -> list[bytes]:
    stream = io.BytesIO()
    it.dump(stream, now=now, written=WRITTEN)
    return stream.getvalue().splitlines()


def again(it: Recording) -> Replayed:
    return replay(written(it))


def perform(machine: Machine, call: str, now: float, number: float) -> None:
    """Tells a machine one thing, whether it can happen there or not."""
    match call:
        case "wait":
            machine.wait(now + number, now)
        case "announce":
            machine.announce(number * 20, now, firm=number < 7.0)
        case "useful":
            machine.useful(now - number, now)
        case "outage":
            machine.outage(now - number)
        case "lag":
            machine.lag(now, paused=number > 5.0)
        case "expire":
            machine.expire(now, sign_at=now - number, output_at=now + number if number < 5.0 else -math.inf)
        case _:
            machine.feed(Input[call], now)


METHODS = ("wait", "announce", "useful", "outage", "lag", "expire")
CALLS = st.sampled_from(sorted({*METHODS, *Input.__members__}))
STEPS = st.tuples(CALLS, st.floats(0.0, 10.0), st.floats(0.0, 10.0))


def told(it: Recording, steps: list[tuple[str, float, float]]) -> tuple[int, float]:
    """Tells a machine what a session could tell it, and keeps to its deadlines; returns how often, and until when."""
    machine, now, count = it.machine, 0.0, 0
    for call, after, number in steps:
        now += after
        while machine.deadline <= now:
            machine.expire(machine.deadline, sign_at=now - number)
            count += 1
        if call in METHODS or Input[call] in TABLE[machine.state]:
            if call == "wait" and Input.WAIT not in TABLE[machine.state]:
                continue
            perform(machine, call, now, number)
            count += 1
    return count, now


@given(st.lists(STEPS, max_size=80))
def test_what_a_machine_did_it_does_again(steps: list[tuple[str, float, float]]) -> None:
    it = recording()
    count, _ = told(it, steps)
    replayed = again(it)
    assert (replayed.differences, replayed.inputs, replayed.cut) == ((), count, "")


@given(st.lists(STEPS, min_size=5, max_size=120), st.integers(1, 4), st.integers(1, 7))
def test_what_the_ring_still_has_is_done_again(steps: list[tuple[str, float, float]], segments: int, entries: int) -> None:
    it = recording()
    it.machine = RecordedMachine(SETTINGS, segments=segments, entries=entries)
    count, _ = told(it, steps)
    replayed = again(it)
    assert replayed.same
    assert replayed.header.lost + replayed.inputs == count
    assert replayed.inputs <= segments * entries
    assert replayed.inputs >= min(count, (segments - 1) * entries)


@given(st.lists(STEPS, max_size=40))
def test_an_illegal_input_is_recorded_and_refused_again(steps: list[tuple[str, float, float]]) -> None:
    it, refused = recording(), 0
    for call, now, number in steps:
        try:
            perform(it.machine, call, now, number)
        except IllegalInput:
            refused += 1
    replayed = again(it)
    assert replayed.same
    assert sum(getattr(step.line, "commands", ()) is None for step in replayed.steps) == refused


@given(st.lists(STEPS, max_size=60), st.data())
def test_a_recorded_machine_is_a_machine(steps: list[tuple[str, float, float]], data: st.DataObject) -> None:
    it, plain = recording(), Machine(SETTINGS)
    split = data.draw(st.integers(0, len(steps)))
    told(it, steps[:split])
    plain.restore(it.machine.checkpoint())
    for call, now, number in steps[split:]:
        for machine in (it.machine, plain):
            try:
                perform(machine, call, 600.0 + now, number)
            except IllegalInput:
                continue
        assert (it.machine.checkpoint(), it.machine.deadline) == (plain.checkpoint(), plain.deadline)


def test_a_checkpoint_has_all_that_a_machine_holds() -> None:
    of_the_settings = {"settings", "deadlines", "spares"}
    held = {name.lstrip("_") for name in vars(Machine(SETTINGS))} - of_the_settings
    assert held == set(Checkpoint.__struct_fields__) == set(Checked.__struct_fields__)


def test_everything_that_can_enter_a_machine_is_kept() -> None:
    own = {name for name, value in vars(Machine).items() if inspect.isfunction(value) and not name.startswith("_")}
    entrances = own - {"checkpoint", "restore"}
    assert entrances == {*METHODS, "feed"}
    assert entrances <= set(vars(RecordedMachine))


# -- what is found out ------------------------------------------------------------------------------------------------


def call_with_an_outage() -> Recording:
    """A call whose first link comes up, is useful, and ends; the second one takes two dials."""
    it, route = recording(), (_target(0), _target(1))
    it.first(Situation(targets=route), First(), 0.0)
    for happened, now in ((Input.OPEN, 0.0), (Input.UPGRADE, 0.1), (Input.SETUP, 0.2), (Input.UP, 0.6)):
        it.machine.feed(happened, now)
    for happened, now in ((Input.SPEECH_BEGAN, 1.0), (Input.SPEECH_ENDED, 3.0), (Input.TURN_ENDED, 3.3)):
        it.machine.feed(happened, now)
    it.machine.expire(7.3, sign_at=3.4, output_at=3.4)
    it.machine.outage(8.0)
    it.machine.feed(Input.DOWN, 8.0)
    closure = Closure(ending=Ending(code=1011, reason="Internal error"), link=1)
    situation = Situation(now=8.0, targets=route, has_handle=True, random=0.25)
    fault, decision = _classified(closure, situation)
    permit = Permit(number=1, target="p/one", not_before=8.0)
    it.asked(Decided(ask_id=1, closure=closure, situation=situation, fault=fault, decision=decision, permit=permit), now=8.0)
    it.machine.wait(8.5, 8.0)
    it.machine.expire(8.5, sign_at=8.5)
    return it


def _target(index: int) -> TargetState:
    return TargetState(name=f"p/{index}", index=index, quota_group=str(index), credentials="p", tried=1 - index)


def _classified(closure: Closure, situation: Situation) -> tuple[unbroken.Fault, unbroken.Decision]:
    fault = classify(closure, in_order())
    return fault, DefaultPolicy().decide(fault, situation)


def test_a_call_comes_out_the_same() -> None:
    replayed = again(call_with_an_outage())
    assert (replayed.same, replayed.inputs, replayed.decisions) == (True, 12, 2)
    assert [step.due for step in replayed.steps if step.due] == [Input.WAIT_OVER], "a sign of life excused the other timer"


@pytest.mark.parametrize(
    ("line", "change", "said"),
    [
        (4, {"state": "SECURING"}, "line 4, 0.000 s: it comes to DIALLING with DIAL; recorded is SECURING with DIAL"),
        (4, {"commands": []}, "line 4, 0.000 s: it comes to DIALLING with DIAL; recorded is DIALLING with no command"),
        (4, {"commands": None}, "line 4, 0.000 s: it comes to DIALLING with DIAL; recorded is DIALLING with a refusal"),
        (5, {"input": "UP"}, "line 5, 0.100 s: it comes to DIALLING with a refusal; recorded is UPGRADING with no command"),
        (11, {"sign_at": 3.2}, "line 11, 7.300 s: it comes to ABORTING with ABORT; recorded is EXPECTING with no command"),
        (
            15,
            {"until": 9.0},
            "line 16, 8.500 s: it comes to WAITING with no command; recorded is DECIDING with ADMIT",
        ),
        (3, {"first": {"target": 1}}, "line 3, 0.000 s: the beginning is target 0; recorded is target 1"),
    ],
)
def test_a_changed_line_is_found_out(line: int, change: dict[str, object], said: str) -> None:
    lines = written(call_with_an_outage())
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **change}).encode()
    replayed = replay(lines)
    assert replayed.differences[0] == said
    assert next(step.differs for step in replayed.steps if step.differs) in said


def test_what_shows_only_in_a_timer_is_found_out_at_the_next_checkpoint() -> None:
    lines = written(call_with_an_outage())
    assert json.loads(lines[11])["type"] == "outage"
    lines[11] = json.dumps({**json.loads(lines[11]), "at": 7.0}).encode()
    said = (
        "line 17: the machine stands otherwise than at the checkpoint: timers PATIENCE_OVER 27.0;"
        " recorded is timers PATIENCE_OVER 28.0"
    )
    assert replay(lines).differences == (said,)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("decision", "after"), 3.0, "the decision is after 0.0; recorded is after 3.0"),
        (("decision", "carry"), "nothing", "the decision is carry 'handle'; recorded is carry 'nothing'"),
        (
            ("situation", "attempts_left"),
            0,
            "the decision is type 'escalate', rule 'bounds'; recorded is type 'retry', after",
        ),
        (("fault", "kind"), "quota", "the fault is kind 'server'; recorded is kind 'quota'"),
        (
            ("closure", "ending", "cause"),
            "reset",
            "the fault is kind 'network', rule 'reset'; recorded is kind 'server'",
        ),
    ],
)
def test_a_changed_decision_is_found_out(path: tuple[str, ...], value: object, said: str) -> None:
    lines = written(call_with_an_outage())
    decision = json.loads(lines[13])
    at = decision
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    lines[13] = json.dumps(decision).encode()
    (difference,) = replay(lines).differences
    assert difference.startswith(f"line 14, 8.000 s: {said}")


def test_what_is_said_for_people_may_change() -> None:
    lines = written(call_with_an_outage())
    decision = json.loads(lines[13])
    decision["fault"]["because"] = decision["decision"]["because"] = "Put better."
    lines[13] = json.dumps(decision).encode()
    assert replay(lines).same


def test_after_a_difference_the_machine_goes_on_at_the_next_checkpoint() -> None:
    it = recording()
    it.machine = RecordedMachine(SETTINGS, entries=4)
    for happened in (Input.OPEN, Input.UPGRADE, Input.SETUP, Input.UP, Input.SPEECH_BEGAN, Input.SPEECH_ENDED):
        it.machine.feed(happened, 1.0)
    lines = written(it)
    lines[2] = lines[2].replace(b"DIALLING", b"SECURING")
    replayed = replay(lines)
    assert len(replayed.differences) == 1
    assert [step.skipped for step in replayed.steps] == [False, True, True, True, False, False]
    assert replayed.inputs == 3


# -- the policy's part ------------------------------------------------------------------------------------------------


class GivesUp:
    def decide(self, fault: unbroken.Fault, situation: Situation) -> Escalate:
        return Escalate(rule="gives-up")


class Raises:
    def decide(self, fault: unbroken.Fault, situation: Situation) -> Escalate:
        raise LookupError("no idea")


class Unreadable(Retry, frozen=True, kw_only=True):
    def __getattribute__(self, name: str) -> object:
        if name == "because":
            raise LookupError("no reason")
        return super().__getattribute__(name)


class AnswersWithWhatFails:
    def decide(self, fault: unbroken.Fault, situation: Situation) -> Retry:
        return Unreadable(carry="nothing", rule="mine")


class Restless:
    def decide(self, fault: unbroken.Fault, situation: Situation) -> Retry:
        return Retry(after=0.0, carry="handle", rule="server-resume")


def test_another_policy_may_be_asked() -> None:
    (difference,) = replay(written(call_with_an_outage()), policy=GivesUp()).differences
    assert difference.startswith(
        "line 14, 8.000 s: the decision is type 'escalate', rule 'gives-up'; recorded is type 'retry'"
    )


@pytest.mark.parametrize("policy", [Raises(), AnswersWithWhatFails()], ids=["raises", "answers with what fails"])
def test_a_policy_that_fails_is_replaced_as_it_was_in_the_session(policy: unbroken.Policy) -> None:
    assert replay(written(call_with_an_outage()), policy=policy).same


def test_a_policy_is_held_to_the_sessions_bounds_as_it_was_in_the_session() -> None:
    lines = written(call_with_an_outage())
    assert replay(lines, policy=Restless()).same
    decision = json.loads(lines[13])
    decision["situation"]["targets"][0]["tried"] = 9
    lines[13] = json.dumps(decision).encode()
    (difference,) = replay(lines, policy=Restless()).differences
    assert "the decision is after 0.4;" in difference, "so long a policy that does not pace itself has to wait"


def test_decisions_of_an_applications_own_policy_and_rules_stand_as_recorded() -> None:
    it = recording(policy="", policy_repr="<Mine>")
    closure = Closure(ending=Ending(code=4711))
    decided = Decided(
        ask_id=1,
        closure=closure,
        situation=Situation(targets=(_target(0),)),
        fault=unbroken.Fault(kind="quota", rule="mine"),
        decision=Retry(after=3.0),
    )
    it.asked(decided, now=1.0)
    replayed = again(it)
    assert (replayed.same, replayed.decisions) == (True, 1)
    assert (replayed.foreign_rules, replayed.foreign_policy) == (1, 1)
    mine = unbroken.Rule(id="mine", codes=(4711,), fault="server")
    replayed = replay(written(it), rules=lambda target: [mine] if target == "p/0" else [])
    assert replayed.foreign_rules == 0
    assert replayed.differences == ("line 3, 0.000 s: the fault is kind 'server'; recorded is kind 'quota'",)


def test_a_built_in_decision_is_asked_of_the_default_policy_whoever_is_asked_else() -> None:
    it = recording(policy="", policy_repr="<GivesUp>")
    closure, situation = Closure(ending=Ending(code=1011)), Situation(targets=(_target(0),))
    fault, decision = _classified(closure, situation)
    decided = Decided(ask_id=1, closure=closure, situation=situation, fault=fault, decision=decision, fallback=True)
    it.asked(decided, now=1.0)
    assert replay(written(it), policy=GivesUp()).same
    assert again(it).foreign_policy == 0
    it.asked(msgspec.structs.replace(decided, decision=Retry(after=9.0)), now=2.0)
    assert not again(it).same


def test_the_ring_is_bounded() -> None:
    it = recording()
    for number in range(10 * SEGMENTS * ENTRIES + 5):
        it.machine.lag(float(number), paused=False)
    kept = sum(len(entries) for _, entries in it.machine.kept())
    assert (len(it.machine.kept()), kept) == (SEGMENTS, (SEGMENTS - 1) * ENTRIES + 5)
    assert repr(it) == f"<Recording of 'caller-7', {kept} inputs and decisions kept, {it.machine.lost} lost>"
    assert it.machine.state is State.NEW
