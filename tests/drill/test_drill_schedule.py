"""Schedules: what may be written, what is refused, and that chance can be repeated."""

import pytest

from unbroken.drill.audio import Speech, read_speech
from unbroken.drill.plan import SETTLE, Plan, make_plan
from unbroken.drill.run import Strike, speaks_at
from unbroken.drill.schedule import BY_CHANCE, DEFAULT, TAIL, cuts, parse_strike, random_schedule
from unbroken.errors import ConfigError
from unbroken.testing import faults
from unbroken.testing.stamps import StampReader

SPEECH = Speech(bytes(32_000), name="a second of silence")


@pytest.mark.parametrize(
    ("text", "strike"),
    [
        ("1011@3s", Strike(fault="1011", at=3.0)),
        ("reset@500ms", Strike(fault="reset", at=0.5)),
        ("goaway:3s@12.5s", Strike(fault="goaway:3s", at=12.5)),
        ("1011:You exceeded your current quota@4s", Strike(fault="1011:You exceeded your current quota", at=4.0)),
        ("1011@reply@8s", Strike(fault="1011@reply", at=8.0)),
        ("1011@reply", Strike(fault="1011@reply", at=0.0)),
        ("stall-setup@6sx2", Strike(fault="stall-setup@setupx2", at=6.0, name="stall-setup@6sx2")),
        ("no-reply@6sx2", Strike(fault="no-reply@0sx2", at=6.0, name="no-reply@6sx2")),
        ("1011@6sx*", Strike(fault="1011@livex*", at=6.0, name="1011@6sx*")),
    ],
)
def test_a_fault_and_its_time(text: str, strike: Strike) -> None:
    assert parse_strike(text) == strike


def refusal(*texts: str, seconds: float | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        make_plan(speech=SPEECH, faults=texts, seconds=seconds)
    return str(refused.value)


def test_bad_schedules_are_refused_in_one_line() -> None:
    assert refusal("1011") == "fault '1011' does not say when it strikes; write it as in '1011@3s'"
    assert refusal("rest@3s").startswith("unknown fault 'rest'; did you mean 'reset'")
    assert refusal("1011@moon").startswith("unknown moment of a fault 'moon'")
    assert refusal("rest@reply@3s").startswith("unknown fault 'rest'; did you mean 'reset'")
    assert refusal("reset@20s", seconds=15) == (
        "the fault 'reset@20s' is due after the drill's end at 15 s; "
        "give it an earlier time, or the drill a longer --duration"
    )
    assert "is due after the drill's end at 78 s" in refusal("reset@500s")
    assert refusal("reset@0s", seconds=0.2) == "a drill lasts at least 1 s; got --duration 0.2"


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        make_plan(speech=SPEECH, faults=["1011@3s"], seed=7)
    with pytest.raises(ConfigError, match="on a real service only the link can be cut"):
        make_plan(speech=SPEECH, faults=["1011@3s"], provider="gemini")


def test_the_default_schedule_is_eighteen_faults_in_little_more_than_a_minute() -> None:
    plan = make_plan(speech=SPEECH)
    assert len({strike.fault for strike in plan.schedule}) == 18
    assert 60 <= plan.seconds <= 80
    assert list(plan.schedule) == sorted(plan.schedule, key=lambda strike: strike.at)


@pytest.mark.parametrize("strike", BY_CHANCE, ids=lambda strike: strike.name or strike.fault)
def test_every_shipped_fault_can_be_read(strike: Strike) -> None:
    assert faults.parse(strike.fault).when.seconds is None


def test_own_faults_are_sorted_and_end_the_drill() -> None:
    plan = make_plan(speech=SPEECH, faults=["reset@9s", "1011@3s"])
    assert [strike.fault for strike in plan.schedule] == ["1011", "reset"]
    assert plan.seconds == 9 + TAIL


def test_a_duration_cuts_the_default_schedule() -> None:
    plan = make_plan(speech=SPEECH, seconds=10)
    assert plan.schedule == tuple(strike for strike in DEFAULT if strike.at < 10)
    assert plan.seconds == 10


def test_the_same_seed_makes_the_same_schedule() -> None:
    one, same, other = (random_schedule(seed, seconds=600) for seed in (1, 1, 2))
    assert one == same != other
    assert all(2 <= strike.at < 600 - TAIL for strike in one)


def test_chance_knows_every_fault_and_spares_a_model() -> None:
    schedules = [random_schedule(seed, seconds=120) for seed in range(30)]
    assert {strike.fault for schedule in schedules for strike in schedule} == {strike.fault for strike in BY_CHANCE}
    costly = [sum(strike.fault.endswith("@setup") for strike in schedule) for schedule in schedules]
    assert max(costly) == 3, "the route of a drill has four models"


def test_a_real_service_is_only_cut() -> None:
    assert {strike.fault for strike in cuts(60)} == {"cut"}
    assert len(cuts(60)) >= 4
    assert len(cuts(5)) == 1


def test_the_caller_says_nothing_while_hushed_but_ends_what_is_being_said() -> None:
    speech = read_speech()
    strike = Strike(fault="no-reply", at=7.0, hush=(-1.0, 15.0))
    plan = Plan(speech=speech, schedule=(strike,), seconds=30.0)
    usual, hushed = (speaks_at(pcm) for pcm in (speech.for_seconds(30.0), plan.pcm()))
    ended = usual.index(False, 6 * 50)
    assert True in usual[ended : 22 * 50]
    assert True not in hushed[ended : 22 * 50]
    assert hushed[:ended] == usual[:ended]
    assert hushed[23 * 50 : 30 * 50] == usual[23 * 50 :]


def test_what_the_caller_says_carries_its_position() -> None:
    plan = Plan(speech=SPEECH, schedule=(), seconds=2.0)
    pcm = plan.pcm()
    assert len(pcm) == round((2.0 + SETTLE) * 32_000)
    reader = StampReader()
    assert [*reader.feed(pcm), *reader.settle()] == [(0, len(pcm) // 2)]
