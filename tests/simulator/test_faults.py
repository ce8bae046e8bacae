"""Faults are read as people write them, and strike when they should."""

import pytest

from unbroken.errors import ConfigError, UnknownName
from unbroken.testing.faults import (
    FAULTS,
    Close,
    Down,
    Fault,
    Fin,
    GoAway,
    HttpStatus,
    Latency,
    Lifetime,
    Malformed,
    NoReply,
    QuietAudio,
    RefuseModel,
    Reset,
    Silence,
    SlowRead,
    Strike,
    When,
    parse,
)
from unbroken.testing.plan import FaultPlan

INTERNAL = Close(code=1011, reason="Internal error encountered.")

WRITTEN: list[tuple[str, Strike, When, int | None]] = [
    ("1011@3s", INTERNAL, When(seconds=3), 1),
    ("1011", INTERNAL, When(), 1),
    ("1011:@live", Close(code=1011), When(stage="live"), 1),
    ("1011:quota: a, b@c@setup", Close(code=1011, reason="quota: a, b@c"), When(stage="setup"), 1),
    (
        "1008:Requested entity was not found.@#20",
        Close(code=1008, reason="Requested entity was not found."),
        When(messages=20),
        1,
    ),
    ("4000@1m", Close(code=4000), When(seconds=60), 1),
    ("reset@reply+0.5s", Reset(), When(stage="reply", delay=0.5), 1),
    ("fin@userx3", Fin(), When(stage="user"), 3),
    ("silence@500ms", Silence(), When(seconds=0.5), 1),
    ("silence:2s@tool", Silence(seconds=2), When(stage="tool"), 1),
    ("stall-upgrade@4s", Silence(), When(seconds=4, stage="upgrade"), 1),
    ("stall-setup", Silence(), When(stage="setup"), 1),
    ("http-503@5", HttpStatus(status=503), When(seconds=5, stage="upgrade"), 1),
    ("http-429:7@upgrade×2", HttpStatus(status=429, retry_after=7), When(stage="upgrade"), 2),
    ("down:2s@3s", Down(seconds=2), When(seconds=3), None),
    ("down", Down(), When(), None),
    ("malformed", Malformed(), When(stage="live"), 1),
    ("malformed:frame@2s", Malformed(how="frame"), When(seconds=2, stage="live"), 1),
    ("slow-read:2@livex*", SlowRead(rate=2), When(stage="live"), None),
    ("no-reply@9s", NoReply(), When(seconds=9), 1),
    ("quiet-audio", QuietAudio(), When(), 1),
    ("goaway:3s@20s", GoAway(time_left=3), When(seconds=20, stage="live"), 1),
    ("refuse-model:gemini-3.8-live@10s", RefuseModel(model="gemini-3.8-live"), When(seconds=10), None),
    ("lifetime:30s", Lifetime(seconds=30), When(), None),
    ("latency:50ms:20ms", Latency(seconds=0.05, jitter=0.02), When(), None),
]


@pytest.mark.parametrize(("text", "strike", "when", "times"), WRITTEN)
def test_faults_are_read_as_people_write_them(text: str, strike: Strike, when: When, times: int | None) -> None:
    assert parse(text) == Fault(strike=strike, when=when, times=times, text=text)
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("rest@3s", "unknown fault 'rest'; did you mean 'reset'? known: 1011, down, fin, goaway, http-503, latency,"),
        ("", "unknown fault ''; known: 1011,"),
        ("999@3s", "unknown fault '999'"),
        ("1011@usr", "unknown moment of a fault 'usr'; did you mean 'user'? known: #20, 3s, dial, live, reply, setup,"),
        ("1011@3x", "fault '1011@3x': '3x' is not a duration; expected the like of '3s', '500ms' or '10m'"),
        ("reset:now@3s", "fault 'reset:now@3s': it takes no arguments, not 1"),
        ("goaway:soon@3s", "fault 'goaway:soon@3s': 'soon' is not a duration; expected the like of '3s', '500ms' or '10m'"),
        ("goaway:1s:2s@3s", "fault 'goaway:1s:2s@3s': it takes 1 argument, not 2"),
        ("refuse-model@3s", "fault 'refuse-model@3s': it needs a model's name"),
        ("latency", "fault 'latency': it needs a duration, as in 'latency:50ms'"),
        ("lifetime", "fault 'lifetime': it needs a duration, as in 'lifetime:30s'"),
        ("malformed:xml", "fault 'malformed:xml': it has no form 'xml'; known: json, frame, utf8"),
        ("slow-read:slowly", "fault 'slow-read:slowly': 'slowly' is not a number of messages per second"),
    ],
)
def test_bad_faults_get_one_clear_line(text: str, error: str) -> None:
    with pytest.raises((ConfigError, UnknownName)) as caught:
        parse(text)
    assert str(caught.value).startswith(error)
    assert "\n" not in str(caught.value)


def test_the_table_names_every_kind_of_strike() -> None:
    examples = {text.partition("@")[0].partition(":")[0] for text, *_ in WRITTEN}
    assert set(FAULTS) <= examples | {"refuse-model"}
    assert all(kind.doc and not kind.doc.endswith(".") for kind in FAULTS.values())


def struck(plan: FaultPlan, *, now: float, connection: int = 1, stages: str = "live", **others: int) -> str | None:
    fault = plan.take(now=now, connection=connection, stages=stages.split(), **others)  # type: ignore[arg-type]
    return str(fault) if fault else None


def planned(*texts: str) -> FaultPlan:
    return FaultPlan(parse(text) for text in texts)


def test_a_time_strikes_the_newest_connection_once() -> None:
    plan = planned("1011@3s")
    assert plan.deadline(now=0.0) == 3.0
    assert struck(plan, now=2.9) is None
    assert struck(plan, now=3.0, newest=False) is None
    assert struck(plan, now=3.0) == "1011@3s"
    assert struck(plan, now=3.1, connection=2) is None
    assert plan.pending == ()
    assert plan.deadline(now=3.0) is None


def test_a_time_that_finds_no_connection_strikes_the_next_one() -> None:
    plan = planned("reset@3s")
    assert struck(plan, now=9.0, stages="dial") is None
    assert struck(plan, now=9.0, stages="upgrade") is None
    assert struck(plan, now=9.0, stages="") == "reset@3s"


def test_a_stage_strikes_there() -> None:
    plan = planned("1011@reply", "http-503@5s")
    assert struck(plan, now=0.0) is None
    assert struck(plan, now=1.0, stages="upgrade") is None
    assert struck(plan, now=5.0, stages="upgrade") == "http-503@5s"
    assert struck(plan, now=6.0, stages="live reply") == "1011@reply"


def test_a_delay_is_counted_from_the_stage_and_ends_with_it() -> None:
    plan = planned("reset@reply+500ms")
    assert struck(plan, now=1.0, stages="live reply") is None
    assert plan.deadline(now=1.0) == 1.5
    assert struck(plan, now=1.2, stages="live") is None
    assert plan.deadline(now=1.2) is None
    assert struck(plan, now=2.0, stages="live reply") is None
    assert struck(plan, now=2.5, stages="live reply") == "reset@reply+500ms"


def test_a_delay_is_forgotten_with_its_connection() -> None:
    plan = planned("reset@reply+500ms")
    assert struck(plan, now=1.0, stages="live reply") is None
    plan.forget(1)
    assert plan.deadline(now=1.0) is None


def test_a_message_count_strikes_at_that_message() -> None:
    plan = planned("fin@#3")
    assert struck(plan, now=0.0, messages=2) is None
    assert struck(plan, now=0.0, messages=3) == "fin@#3"


def test_repeats_strike_one_connection_after_the_other() -> None:
    plan = planned("1011@setupx2")
    assert [struck(plan, now=n, connection=n, stages="setup") is not None for n in (1, 1, 2, 3)] == [
        True,
        False,
        True,
        False,
    ]


def test_always_is_always() -> None:
    plan = planned("1011@setupx*")
    assert all(struck(plan, now=0.0, connection=n, stages="setup") for n in range(10))
    assert plan.pending == ()


def test_several_strike_in_their_order() -> None:
    plan = planned("reset@5s", "http-503@5s")
    assert [str(fault) for fault in plan.pending] == ["reset@5s", "http-503@5s"]
    assert struck(plan, now=5.0) == "reset@5s"
    assert struck(plan, now=5.0) is None
    assert struck(plan, now=5.1, connection=2, stages="upgrade") == "http-503@5s"


def test_a_fault_added_later_strikes_at_once() -> None:
    plan = planned()
    plan.add(parse("reset"), now=7.0)
    assert struck(plan, now=7.0) == "reset"


def test_what_concerns_no_connection_strikes_the_service_once_for_all_its_times() -> None:
    plan = planned("no-reply@2sx3", "quiet-audio@user", "reset@2s")
    assert plan.take_for_all(now=1.9) is None
    assert str(plan.take_for_all(now=2.0)) == "no-reply@2sx3"
    assert plan.take_for_all(now=2.0) is None
    assert struck(plan, now=2.0, stages="live user") == "quiet-audio@user"
