"""The machine: every input in every state, and every timer in turn."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.config import Deadlines, Settings
from unbroken.core.diagram import diagram
from unbroken.core.machine import DOING, LIVE, TABLE, Command, IllegalInput, Input, Machine, State
from unbroken.core.outage import ended_for

S, I, C = State, Input, Command
OVER: set[State] = {State.CLOSED, State.ESCALATED}
D = Deadlines()

WAY: dict[State, tuple[Input, ...]] = {
    S.NEW: (),
    S.DIALLING: (I.OPEN,),
    S.SECURING: (I.OPEN, I.TLS),
    S.UPGRADING: (I.OPEN, I.TLS, I.UPGRADE),
    S.SETTING_UP: (I.OPEN, I.TLS, I.UPGRADE, I.SETUP),
    S.LISTENING: (I.OPEN, I.UPGRADE, I.SETUP, I.UP),
    S.SPEAKING: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.SPEECH_BEGAN),
    S.SPEAKING_ON: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.SPEECH_BEGAN, I.TURN_ENDED),
    S.EXPECTING: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.TURN_ENDED),
    S.REPLYING: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.TURN_ENDED, I.REPLY_BEGAN),
    S.IN_TOOL_CALL: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.TOOL_CALLED),
    S.AFTER_TOOLS: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.TOOL_CALLED, I.TURN_ENDED),
    S.HANGING_UP: (I.OPEN, I.UPGRADE, I.SETUP, I.UP, I.HANDOVER_DUE),
    S.ABORTING: (I.OPEN, I.PHASE_OVERDUE),
    S.DECIDING: (I.OPEN, I.DOWN),
    S.WAITING: (I.OPEN, I.DOWN, I.WAIT),
    S.ENDING: (I.OPEN, I.CLOSE),
    S.CLOSED: (I.CLOSE,),
    S.ESCALATED: (I.OPEN, I.DOWN, I.ESCALATE),
}


def by_name(one: State | Input) -> str:
    return one.name


def in_state(state: State, *, settings: Settings | None = None) -> Machine:
    machine = Machine(settings or Settings(spare="auto"))
    for happened in WAY[state]:
        machine.feed(happened, 0.0)
    assert machine.state is state
    return machine


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_row_and_a_way_to_it(state: State) -> None:
    assert state in TABLE
    in_state(state)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("happened", Input)
def test_every_input_in_every_state(state: State, happened: Input) -> None:
    machine = in_state(state)
    before = machine.deadline
    if happened in TABLE[state]:
        to, commands = TABLE[state][happened]
        assert machine.feed(happened, 0.0) == commands
        assert machine.state is to
    else:
        with pytest.raises(IllegalInput, match=f"{happened.name} cannot happen while {state.value}; what can: "):
            machine.feed(happened, 0.0)
        assert machine.state is state, "an illegal input must change nothing"
        assert machine.deadline == before


@pytest.mark.parametrize("state", [s for s in State if s not in OVER])
def test_the_application_can_close_in_every_state_and_it_ends(state: State) -> None:
    machine = in_state(state)
    commands = list(machine.feed(I.CLOSE, 0.0))
    while machine.state not in OVER:
        assert machine.deadline < math.inf, "closing must not wait for ever"
        commands += machine.expire(machine.deadline)
    assert machine.state is S.CLOSED
    assert commands[-1] is C.FINISH


@pytest.mark.parametrize("state", [s for s in State if s in OVER])
def test_no_command_after_the_end(state: State) -> None:
    for happened in Input:
        machine = in_state(state)
        assert machine.feed(happened, 1.0) == ()
        assert (machine.state, machine.deadline) == (state, math.inf)


@pytest.mark.parametrize(
    ("state", "seconds", "then"),
    [
        (S.DIALLING, D.credential + D.dial, S.ABORTING),
        (S.SECURING, D.tls, S.ABORTING),
        (S.UPGRADING, D.upgrade, S.ABORTING),
        (S.SETTING_UP, D.setup, S.ABORTING),
        (S.EXPECTING, D.sign, S.ABORTING),
        (S.AFTER_TOOLS, D.sign, S.ABORTING),
        (S.REPLYING, D.reply, S.ABORTING),
        (S.HANGING_UP, D.close, S.ABORTING),
        (S.ABORTING, D.close, S.ESCALATED),
        (S.DECIDING, D.decide, S.DECIDING),
        (S.ENDING, D.close, S.CLOSED),
    ],
)
def test_every_phase_has_a_deadline(state: State, seconds: float, then: State) -> None:
    machine = in_state(state)
    assert machine.deadline == seconds
    assert machine.expire(seconds - 0.001) == ()
    assert machine.state is state
    machine.expire(seconds)
    assert machine.state is then


@pytest.mark.parametrize("state", [s for s in State if s not in {*OVER, *LIVE, S.NEW, S.HANGING_UP, S.ENDING}])
def test_patience_ends_an_outage_in_every_state_in_which_no_link_is_up(state: State) -> None:
    machine = in_state(state, settings=Settings(patience=0.001))
    machine.outage(0.0)
    assert C.ESCALATE in machine.expire(0.001)
    assert machine.state is S.ESCALATED


def test_a_link_that_comes_up_ends_the_outage() -> None:
    machine = in_state(S.SETTING_UP)
    machine.outage(0.0)
    machine.feed(I.UP, 1.0)
    assert machine.deadline == math.inf


def test_a_wait_that_is_over_asks_the_fleet_which_lets_it_dial_or_wait_on() -> None:
    machine = in_state(S.DECIDING)
    assert machine.wait(3.5, 1.0) == ()
    assert machine.deadline == 3.5
    assert machine.expire(3.5) == (C.ADMIT,)
    assert machine.wait(4.0, 3.5) == ()
    assert machine.expire(4.0) == (C.ADMIT,)
    assert machine.feed(I.GO, 4.0) == (C.DIAL,)
    assert machine.state is S.DIALLING


def test_a_sign_of_life_excuses_the_sign_deadline_but_not_the_reply_deadline() -> None:
    machine = in_state(S.EXPECTING)
    assert machine.expire(D.sign, sign_at=0.01) == ()
    assert machine.state is S.EXPECTING
    assert machine.deadline == D.reply
    assert machine.expire(D.reply, sign_at=D.reply) == (C.ABORT,)
    assert machine.last is I.REPLY_OVERDUE


def test_a_sign_from_before_the_question_excuses_nothing() -> None:
    machine = in_state(S.LISTENING)
    machine.feed(I.TURN_ENDED, 10.0)
    assert machine.expire(10.0 + D.sign, sign_at=9.9) == (C.ABORT,)


def test_a_reply_that_goes_on_or_still_plays_is_not_stalled() -> None:
    machine = in_state(S.REPLYING)
    machine.expire(D.sign, sign_at=1.0)
    assert machine.expire(D.reply, sign_at=1.0, output_at=5.0) == ()
    assert machine.deadline == 5.0 + D.reply
    assert machine.expire(machine.deadline, output_at=5.0) == (C.ABORT,)


def test_the_users_speech_alone_arms_a_sign_but_no_reply_deadline() -> None:
    machine = in_state(S.SPEAKING)
    assert machine.feed(I.SPEECH_ENDED, 2.0) == (C.PING,)
    assert machine.deadline == 2.0 + D.sign
    assert machine.expire(2.0 + D.sign, sign_at=2.05) == ()
    assert machine.deadline == math.inf, "a noise that the service took for no turn must end nothing"


@pytest.mark.parametrize("state", [S.SPEAKING, S.SPEAKING_ON])
def test_a_user_who_speaks_on_and_on_needs_a_sign_of_the_peer_now_and_then(state: State) -> None:
    machine = in_state(state, settings=Settings(deadlines=Deadlines(noise=1e6)))
    assert machine.expire(D.silence, sign_at=D.silence - 1) == (C.PING,)
    assert machine.expire(2 * D.silence, sign_at=D.silence + 30) == (C.PING,), "a pong of 30 s is no reason"
    assert machine.expire(3 * D.silence, sign_at=D.silence + 30) == (C.ABORT,)


def test_what_goes_on_after_a_turn_is_noise_where_no_words_and_no_reply_come_for_long() -> None:
    machine = in_state(S.SPEAKING_ON)
    machine.expire(D.silence, sign_at=D.silence)
    machine.feed(I.TRANSCRIBED, 20.0)
    assert machine.deadline == 20.0 + D.noise, "new words were no noise"
    assert machine.expire(machine.deadline, sign_at=machine.deadline) == (C.ABORT,)
    assert (machine.last, ended_for(machine.last, replying=False)) == (I.ANSWER_OVERDUE, "answer_deadline")


def test_words_that_were_written_down_are_to_be_answered_within_the_users_silence_all_pauses_together() -> None:
    machine = in_state(S.LISTENING)
    machine.feed(I.TRANSCRIBED, 1.0)
    machine.feed(I.TRANSCRIBED, 2.0)
    assert machine.deadline == 1.0 + D.answer, "asking again does not put it off"
    machine.feed(I.SPEECH_BEGAN, 11.0)
    machine.feed(I.TRANSCRIBED, 12.0)
    assert machine.checkpoint().timers[I.ANSWER_OVERDUE] == 12.0 + D.noise
    machine.feed(I.SPEECH_ENDED, 13.0)
    machine.expire(13.0 + D.sign, sign_at=13.1)
    assert machine.deadline == 13.0 + D.answer - 10.0
    assert machine.expire(machine.deadline, sign_at=13.1) == (C.ABORT,)


@pytest.mark.parametrize("answered", [I.REPLY_BEGAN, I.REPLY_ENDED, I.TOOL_CALLED])
def test_whatever_the_model_gives_is_an_answer(answered: Input) -> None:
    machine = in_state(S.LISTENING)
    machine.feed(I.TRANSCRIBED, 1.0)
    machine.feed(answered, 2.0)
    assert I.ANSWER_OVERDUE not in machine.checkpoint().timers


@pytest.mark.parametrize("state", [S.EXPECTING, S.AFTER_TOOLS, S.REPLYING])
def test_a_model_that_thinks_for_long_has_longer_to_reply(state: State) -> None:
    machine = in_state(state)
    machine.expire(D.sign, sign_at=1.0)
    now = D.reply
    while now < D.reply + 120.0:
        assert machine.expire(now, sign_at=now, output_at=0.0, thinking=120.0) == ()
        now = machine.deadline
    assert now == D.reply + 120.0
    assert machine.expire(now, sign_at=now, output_at=0.0, thinking=120.0) == (C.ABORT,)


@pytest.mark.parametrize("state", [S.EXPECTING, S.AFTER_TOOLS, S.REPLYING, S.IN_TOOL_CALL])
def test_a_model_that_waits_for_a_tool_owes_nothing_however_long_that_takes(state: State) -> None:
    machine = in_state(state)
    while machine.deadline < 1000.0:
        machine.expire(machine.deadline, sign_at=1.0, in_tools=True)
    assert machine.state is state
    machine.feed(I.TOOLS_DONE, 1000.0)
    machine.feed(I.TURN_ENDED, 1000.0)
    while machine.deadline < math.inf and machine.state is not S.ABORTING:
        now = machine.deadline
        machine.expire(now, sign_at=now)
    assert machine.last is I.REPLY_OVERDUE
    assert now <= 1000.0 + D.reply


@pytest.mark.parametrize(
    ("overdue", "replying", "cause"),
    [
        (I.SIGN_OVERDUE, False, "sign_deadline"),
        (I.SILENCE_OVERDUE, False, "sign_deadline"),
        (I.REPLY_OVERDUE, False, "reply_deadline"),
        (I.REPLY_OVERDUE, True, "reply_stalled"),
        (I.ANSWER_OVERDUE, False, "answer_deadline"),
        (I.CONDEMNED, False, None),
    ],
)
def test_each_deadline_of_the_conversation_has_a_name_of_its_own(overdue: Input, replying: bool, cause: str | None) -> None:
    assert ended_for(overdue, replying=replying) == cause


@pytest.mark.parametrize("state", [s for s in State if s in LIVE])
@pytest.mark.parametrize("happened", [I.SPEECH_ENDED, I.TURN_ENDED])
def test_a_sign_that_has_to_come_is_asked_for(state: State, happened: Input) -> None:
    machine = in_state(state)
    commands = machine.feed(happened, 100.0)
    assert (machine.checkpoint().timers.get(I.SIGN_OVERDUE) == 100.0 + D.sign) is (C.PING in commands)


def test_a_tool_call_that_the_model_withdrew_is_waited_for_no_longer() -> None:
    machine = in_state(S.IN_TOOL_CALL)
    machine.feed(I.TOOLS_DONE, 1.0)
    assert machine.state is S.LISTENING


@pytest.mark.parametrize(("time_left", "window"), [(300.0, 240.0), (50.0, 0.0), (3.0, 0.0), (1.0, 0.0)])
def test_a_handover_is_sought_in_the_last_minute_while_nobody_speaks(time_left: float, window: float) -> None:
    machine = in_state(S.LISTENING, settings=Settings(spare="never"))
    machine.announce(time_left, 0.0)
    assert machine.deadline == window
    assert machine.expire(window) == (C.HANG_UP,)
    assert (machine.state, machine.last) == (S.HANGING_UP, I.HANDOVER_DUE)


@pytest.mark.parametrize(("time_left", "window"), [(300.0, 240.0), (50.0, 0.0), (3.0, 0.0)])
@pytest.mark.parametrize("settled", [0.2, None])
def test_a_handover_waits_a_moment_for_its_spare(time_left: float, window: float, settled: float | None) -> None:
    machine = in_state(S.LISTENING)
    machine.announce(time_left, 0.0)
    assert machine.expire(window) == (C.SPARE,)
    if settled is None:
        assert machine.deadline == window + 1.0
    else:
        machine.feed(I.SPARE_SETTLED, window + settled)
        assert machine.deadline == window + settled
    assert machine.expire(machine.deadline) == (C.HANG_UP,)


def test_a_spare_that_was_opened_early_does_not_bring_the_handover_forward() -> None:
    machine = in_state(S.LISTENING)
    machine.announce(300.0, 0.0)
    machine.feed(I.SUSPECTED, 1.0)
    machine.feed(I.SPARE_SETTLED, 1.2)
    assert machine.deadline == 240.0


def test_the_last_moment_for_a_handover_does_not_wait_for_a_spare() -> None:
    machine = in_state(S.LISTENING)
    machine.announce(1.0, 0.0)
    assert machine.expire(0.0) == (C.SPARE,)
    assert machine.expire(0.5) == (C.HANG_UP,)


@pytest.mark.parametrize("state", [S.LISTENING, S.EXPECTING])
def test_near_the_end_a_pause_of_the_user_will_do(state: State) -> None:
    machine = in_state(state, settings=Settings(spare="never", deadlines=Deadlines(sign=90.0, reply=90.0, answer=90.0)))
    if state is S.LISTENING:
        machine.feed(I.SPEECH_ENDED, 0.0)
    machine.announce(50.0, 0.0)
    last = 50.0 - 1.0 - D.close
    assert machine.deadline == last - 10.0
    assert machine.expire(last - 10.0) == (C.HANG_UP,)


def test_nearer_to_the_end_a_pause_in_the_reply_will_do() -> None:
    machine = in_state(S.REPLYING, settings=Settings(spare="never", deadlines=Deadlines(sign=90.0, reply=90.0, answer=90.0)))
    machine.announce(50.0, 0.0)
    last = 50.0 - 1.0 - D.close
    assert machine.deadline == last - 5.0
    assert machine.expire(last - 5.0, output_at=last - 4.0) == ()
    assert machine.deadline == pytest.approx(last - 3.7), "what has come of the reply plays on until then"
    assert machine.expire(machine.deadline, output_at=last - 4.0) == (C.HANG_UP,)


def test_a_reply_that_plays_on_and_on_is_left_only_at_the_last_moment() -> None:
    machine = in_state(S.REPLYING, settings=Settings(spare="never", deadlines=Deadlines(sign=90.0, reply=90.0, answer=90.0)))
    machine.announce(50.0, 0.0)
    while machine.state is S.REPLYING:
        now = machine.deadline
        machine.expire(now, output_at=now + 0.4)
    assert (now, machine.last) == (50.0 - 1.0 - D.close, I.HANDOVER_DUE)


@pytest.mark.parametrize("state", [s for s in State if s in LIVE])
def test_a_documented_end_is_used_at_a_turn_boundary_and_never_forced(state: State) -> None:
    machine = in_state(
        state, settings=Settings(spare="never", deadlines=Deadlines(sign=1e6, reply=1e6, answer=1e6, silence=1e6, noise=1e6))
    )
    machine.announce(600.0, 0.0, firm=False)
    assert (machine.deadline == 570.0) is (state is S.LISTENING)
    assert I.HANDOVER_DUE not in machine.checkpoint().timers


def test_an_announced_end_comes_before_a_documented_one() -> None:
    machine = in_state(S.LISTENING)
    machine.announce(600.0, 0.0, firm=False)
    machine.announce(50.0, 300.0)
    assert machine.expire(300.0) == (C.SPARE,)
    assert machine.expire(301.0) == (C.HANG_UP,)


def test_a_handover_ends_what_was_sought_for_its_link() -> None:
    machine = in_state(S.LISTENING, settings=Settings(spare="never"))
    machine.announce(50.0, 0.0)
    machine.announce(40.0, 1.0)
    assert machine.expire(1.0) == (C.HANG_UP,)
    for happened in (I.DOWN, I.GO, I.UPGRADE, I.SETUP, I.UP):
        machine.feed(happened, 2.0)
    assert machine.deadline == math.inf, "two announcements for one link are one handover"


def test_a_spare_is_asked_for_at_once_where_there_is_to_be_one_always() -> None:
    machine = in_state(S.LISTENING, settings=Settings(spare="always"))
    assert machine.deadline == 0.0
    assert machine.expire(0.0) == (C.SPARE,)
    assert machine.deadline == math.inf


@pytest.mark.parametrize("state", [s for s in State if s in LIVE])
def test_a_suspicion_opens_a_spare_and_changes_nothing_else(state: State) -> None:
    machine = in_state(state)
    before = machine.deadline
    assert machine.feed(I.SUSPECTED, 0.1) == (C.SPARE,)
    assert machine.feed(I.SPARE_SETTLED, 0.2) == ()
    assert (machine.state, machine.deadline) == (state, before)


def test_a_spare_of_no_use_gives_way_to_a_dial_with_the_dials_own_deadline() -> None:
    machine = in_state(S.DIALLING)
    machine.feed(I.SETUP, 0.1)
    machine.feed(I.DIAL, 1.0)
    assert (machine.state, machine.deadline) == (S.DIALLING, 1.0 + D.credential + D.dial)


def test_a_turn_that_the_model_has_while_the_user_goes_on_is_due_when_the_user_stops() -> None:
    machine = in_state(S.SPEAKING_ON)
    assert machine.deadline == D.silence
    machine.feed(I.SPEECH_ENDED, 30.0)
    machine.expire(30.0 + D.sign, sign_at=30.1)
    assert machine.deadline == 30.0 + D.reply


@pytest.mark.parametrize("state", [S.SPEAKING, S.SPEAKING_ON, S.REPLYING, S.IN_TOOL_CALL])
def test_a_handover_waits_for_the_turn_but_not_beyond_the_end(state: State) -> None:
    machine = in_state(state, settings=Settings(deadlines=Deadlines(noise=90.0)))
    machine.announce(50.0, 0.0)
    while machine.deadline < 50.0 - 1.0 - D.close:
        machine.expire(machine.deadline, sign_at=machine.deadline, output_at=machine.deadline + 1.0)
        assert machine.state is state
    assert machine.deadline == 50.0 - 1.0 - D.close
    assert machine.expire(machine.deadline) == (C.HANG_UP,)


def test_a_handover_comes_as_soon_as_the_turn_ends() -> None:
    machine = in_state(S.REPLYING, settings=Settings(spare="never"))
    machine.announce(50.0, 0.0)
    machine.feed(I.REPLY_ENDED, 1.0)
    machine.feed(I.HANDLE_CAME, 1.5)
    assert machine.deadline <= 1.5, "the reply was the sign that the model had the user's turn"
    assert machine.expire(1.5) == (C.HANG_UP,)


def test_a_handover_waits_for_a_handle_that_holds_the_reply_but_not_for_long() -> None:
    machine = in_state(S.REPLYING, settings=Settings(spare="never"))
    machine.announce(50.0, 0.0)
    machine.feed(I.REPLY_ENDED, 1.0)
    assert machine.deadline == 6.0
    machine.expire(6.0)
    assert machine.expire(machine.deadline) == (C.HANG_UP,)
    near = in_state(S.REPLYING, settings=Settings(spare="never"))
    near.announce(9.0, 0.0)
    near.feed(I.REPLY_ENDED, 1.0)
    assert near.expire(1.0) == (C.HANG_UP,), "near the end any pause will do"


def test_the_end_of_a_reply_that_the_user_spoke_into_is_no_turn_boundary() -> None:
    machine = in_state(S.REPLYING, settings=Settings(spare="never"))
    machine.announce(50.0, 0.0)
    machine.feed(I.SPEECH_BEGAN, 0.5)
    machine.feed(I.SPEECH_ENDED, 1.0)
    machine.feed(I.REPLY_ENDED, 1.1)
    assert machine.deadline == 1.0 + D.sign
    machine.expire(1.0 + D.sign, sign_at=2.0)
    assert machine.deadline > 1.0 + D.sign, "what the user said may not be with the model yet"


def test_a_tools_answer_is_left_to_its_reply_until_the_last_moment() -> None:
    machine = in_state(S.IN_TOOL_CALL, settings=Settings(spare="never"))
    machine.announce(9.0, 0.0)
    machine.feed(I.TURN_ENDED, 0.5)
    machine.expire(0.5 + D.sign, sign_at=1.0)
    assert machine.deadline == 9.0 - 1.0 - D.close
    machine.feed(I.REPLY_BEGAN, 5.0)
    machine.feed(I.REPLY_ENDED, 7.0)
    assert machine.expire(7.0) == (C.HANG_UP,)


def test_repeated_announcements_keep_the_earliest_end() -> None:
    machine = in_state(S.REPLYING)
    machine.announce(50.0, 0.0)
    first = machine._timers[I.HANDOVER_DUE]
    machine.announce(300.0, 1.0)
    assert machine._timers[I.HANDOVER_DUE] == first


def test_counters_clear_only_after_a_healthy_stretch_with_something_useful() -> None:
    machine = in_state(S.LISTENING)
    assert machine.deadline == math.inf
    machine.useful(0.0, 4.0)
    assert machine.deadline == Settings().healthy_after
    assert machine.expire(machine.deadline) == (C.HEALTHY,)


def test_an_application_that_lags_stops_the_reply_deadlines_and_escalates_in_the_end() -> None:
    machine = in_state(S.EXPECTING)
    machine.lag(0.0, paused=True)
    while machine.state is S.EXPECTING:
        machine.expire(machine.deadline)
    assert (machine.state, machine.last) == (S.ESCALATED, I.LAG_OVERDUE)


def test_an_application_that_catches_up_is_not_escalated() -> None:
    machine = in_state(S.LISTENING)
    machine.lag(0.0, paused=True)
    machine.lag(5.0, paused=False)
    assert machine.deadline == math.inf


@given(st.lists(st.tuples(st.sampled_from(sorted(Input, key=by_name)), st.floats(0.0, 100.0)), max_size=60))
def test_whatever_happens_a_session_without_a_link_never_waits_for_ever(steps: list[tuple[Input, float]]) -> None:
    machine, now = Machine(Settings()), 0.0
    for happened, after in steps:
        now += after
        while machine.deadline <= now and machine.state not in OVER:
            machine.expire(machine.deadline)
        if happened is I.WAIT and happened in TABLE[machine.state]:
            machine.wait(now + after, now)
        elif happened in TABLE[machine.state]:
            machine.feed(happened, now)
        assert machine.deadline < math.inf or machine.state in OVER | LIVE | {S.NEW}
        assert machine.state not in DOING or machine.deadline <= now + D.credential + D.dial + D.setup


def test_the_diagram_shows_every_state() -> None:
    text = diagram()
    for state in State:
        assert state.value.replace(" ", "_") in text
