"""The detector: what it suspects, what it condemns, and above all what it does not."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from benchmarks.health_hours import KINDS, dead_path, healthy_hour
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.health import CALM, LEAST, RESTLESS, SILENCE, UNREAD, UNSEEN, Detector, Judgement, PathSample, Sample
from unbroken.testing.roads import Pause, Road, Sender
from unbroken.transports.path import RETRANSMISSION

DOUBLED = 120.0
"""Seconds up to which Linux before 6.15 doubles its pauses."""

STEP = 0.05


class Watch:
    """A detector that is shown one second of a healthy stream, and then what the test tells."""

    def __init__(self, *, rtt: float = 0.04, delivered: bool = True) -> None:
        self.detector = Detector()
        self.now = 100.0
        self.rtt = rtt
        self.counts = delivered
        self.delivered = self.sent = 0
        for _ in range(20):
            self.delivered += 3
            self.sent += 3
            self.look(since_ack=0.01)

    def look(
        self,
        *,
        step: float = STEP,
        unacked: int = 12,
        since_ack: float = 10.0,
        retransmits: int = 0,
        unsent: int = 0,
        kernel_unsent: int = 0,
        offered: int = 0,
        silent_for: float = 0.0,
        slowest_pong: float | None = None,
        paused: bool = False,
        path: bool = True,
    ) -> Judgement:
        self.now += step
        seen = PathSample(
            unacked=unacked,
            since_ack=since_ack,
            rtt=self.rtt,
            rtt_var=0.002,
            retransmits=retransmits,
            sent=self.sent if self.counts else None,
            unsent=kernel_unsent,
            delivered=self.delivered if self.counts else None,
        )
        return self.detector.take(
            Sample(
                now=self.now,
                path=seen if path else None,
                offered=offered,
                unsent=unsent,
                silent_for=silent_for,
                slowest_pong=slowest_pong,
                paused=paused,
            )
        )

    def stall(self, seconds: float, *, tries: tuple[float, ...] = (0.45, 0.7), unacked: int = 12) -> Iterator[Judgement]:
        """Nothing is acknowledged; at the named seconds the kernel sends something again."""
        began, done, since = self.now, 0, 0
        while self.now - began < seconds - 1e-9:
            done = sum(at <= self.now + STEP - began for at in tries)
            self.sent += done - since
            since = done
            yield self.look(retransmits=done, unacked=unacked)


def last(judgements: Iterator[Judgement]) -> Judgement:
    return list(judgements)[-1]


# -- the path -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rtt", "limit"), [(0.001, 0.1), (0.04, 0.16), (0.3, 0.94)])
def test_a_path_is_suspect_after_three_round_trips_without_an_acknowledgement(rtt: float, limit: float) -> None:
    watch = Watch(rtt=rtt)
    assert last(watch.stall(limit - STEP, tries=())).health == "well"
    assert last(watch.stall(2 * STEP, tries=())).health == "suspect"
    watch.delivered += 1
    assert watch.look(since_ack=0.0).health == "well", "a suspicion may be wrong"


def test_a_dead_path_is_condemned_once_it_was_tried_twice_in_vain() -> None:
    watch = Watch()
    judged = list(watch.stall(1.2))
    first = next(number for number, one in enumerate(judged) if one.health == "condemned")
    assert LEAST <= (first + 1) * STEP <= LEAST + 2 * STEP
    assert judged[first].cause == "path_dead"
    assert judged[first].useless_for == pytest.approx((first + 1) * STEP)
    assert judged[first].because == (
        f"12 segments are out and nothing was acknowledged for {(first + 1) * 50} ms, where a round trip takes 40 ms; sent"
        " again 2 times"
    )
    assert set(judged[first:]) == {judged[first]}, "a condemnation stands"


@pytest.mark.parametrize("tries", [(), (0.2,), (0.45,), (0.2, 0.28), (0.45, 0.5)])
def test_a_path_that_was_not_tried_twice_is_not_condemned(tries: tuple[float, ...]) -> None:
    assert last(Watch().stall(5.0, tries=tries)).health == "suspect"


def test_where_little_is_out_a_third_try_is_wanted() -> None:
    assert last(Watch().stall(3.0, tries=(0.4, 0.7), unacked=3)).health == "suspect"
    assert last(Watch().stall(3.0, tries=(0.4, 0.7, 1.2), unacked=3)).health == "condemned"


def test_a_path_without_any_acknowledgement_is_condemned_in_the_end_whatever_the_kernel_says() -> None:
    assert last(Watch().stall(UNSEEN - 2 * STEP, tries=())).health == "suspect"
    assert last(Watch().stall(UNSEEN + 2 * STEP, tries=())).health == "condemned"


def test_speech_after_a_rest_is_not_taken_for_a_stall() -> None:
    watch = Watch()
    for _ in range(60):
        assert watch.look(step=1.0, unacked=0, since_ack=60.0).health == "well"
    assert watch.look(step=1.0, unacked=12, since_ack=61.0).health == "well", "the last acknowledgement is a minute old"
    assert watch.look(unacked=12, since_ack=61.05).health == "well"
    watch.delivered += 3
    assert watch.look(unacked=12, since_ack=0.0).health == "well"


def test_a_machine_that_slept_has_not_watched() -> None:
    watch = Watch()
    watch.look()
    watch.sent += 5
    assert watch.look(step=30.0, retransmits=4, since_ack=30.0).health == "suspect", "a quarter of a second counts"
    watch.delivered += 1
    assert watch.look(since_ack=0.0).health == "well"


def test_a_kernel_without_the_later_figures_will_do() -> None:
    watch = Watch(delivered=False)
    for _ in range(20):
        assert watch.look(since_ack=0.02).health == "well"
    assert last(watch.stall(0.3)).health == "suspect"
    assert last(watch.stall(1.2, tries=(0.1, 0.45))).cause == "path_dead"


def test_a_path_that_came_back_from_a_pause_is_given_as_much_again() -> None:
    watch = Watch()
    assert watch.detector.forgiven == CALM
    assert last(watch.stall(2.0, tries=())).health == "suspect"
    watch.delivered += 1
    watch.look(since_ack=0.0)
    assert watch.detector.forgiven == pytest.approx(2.0, abs=0.1)
    assert last(watch.stall(3.0, tries=(0.45, 0.9, 1.8))).health == "suspect"


@given(
    pause=st.floats(0.0, 2.9),
    keeps=st.booleans(),
    up=st.booleans(),
    trip=st.floats(0.005, 0.3),
    longest=st.sampled_from([RETRANSMISSION, DOUBLED]),
    seed=st.integers(0, 1000),
)
def test_no_pause_that_a_path_is_given_ends_it(
    pause: float, keeps: bool, up: bool, trip: float, longest: float, seed: int
) -> None:
    """Whatever the kernel's timers make of it afterwards."""
    road, detector = Road(shortest=trip, longest=trip, random=random.Random(seed)), Detector()
    sender = Sender(road, longest=longest)
    detector._came_back = pause  # it has done so before
    sender.road.pauses = [Pause(start=3.0 + seed / 5000, stop=3.0 + seed / 5000 + pause, keeps=keeps, up=up, down=not up)]
    for number in range(12 * 50):
        sender.run(number * 0.02)
        sender.write()
        if number % 3 == 0:
            judged = detector.take(Sample(now=sender.now, path=sender.sample()))
            assert judged.health != "condemned", judged.because
    assert sender.delivered > 2 * 160, "at most 160 came before the pause: the path has really come back"


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 30), st.integers(0, 3), st.floats(0, 100)), max_size=60))
def test_nothing_but_silence_leads_to_a_condemnation(looks: list[tuple[float, int, int, float]]) -> None:
    """Each look may come late and show any figures, as long as something arrives between two of them."""
    watch = Watch()
    for step, unacked, sent, since_ack in looks:
        watch.delivered += 1
        watch.sent += sent
        assert watch.look(step=step, unacked=unacked, since_ack=since_ack, retransmits=sent).health == "well"


# -- the peer's process, and silence ---------------------------------------------------------------------------------------


def test_a_peer_that_takes_nothing_and_says_nothing_is_condemned() -> None:
    watch = Watch()
    judged = [
        watch.look(unacked=0, since_ack=0.2, kernel_unsent=1000 * number, offered=929 * number, silent_for=STEP * number)
        for number in range(1, int(UNREAD / STEP) + 4)
    ]
    assert judged[10].health == "well"
    assert judged[30].health == "suspect"
    assert judged[-1].cause == "not_reading"
    assert judged[-1].because == "82000 bytes wait here, and for 4.0 s the peer has taken nothing and said nothing"


@pytest.mark.parametrize("life", ["takes", "takes all but the last", "acknowledges", "speaks", "paused", "nothing waits"])
def test_a_peer_that_does_anything_at_all_is_not(life: str) -> None:
    watch = Watch()
    for number in range(1, 400):
        if life == "acknowledges":
            watch.delivered += 1
        judged = watch.look(
            unacked=0,
            since_ack=0.2,
            offered=929 * number if life == "takes all but the last" else 0,
            unsent=1000
            if life == "takes all but the last"
            else 0
            if life == "nothing waits"
            else 500
            if life == "takes" and number % 60 == 0
            else 1000 + number,
            silent_for=0.0 if life == "speaks" and number % 60 == 0 else STEP * number,
            paused=life == "paused",
        )
        assert judged.health != "condemned"


@pytest.mark.parametrize("path", [True, False])
def test_silence_of_everything_beyond_any_pong_condemns(path: bool) -> None:
    watch, asked = Watch(), 0
    judged = watch.look(step=1.0, unacked=0, slowest_pong=0.1, path=path)
    for second in range(1, int(SILENCE) + 20):
        judged = watch.look(step=1.0, unacked=0, silent_for=second, slowest_pong=0.1, path=path)
        asked += watch.detector.asks
        if judged.health == "condemned":
            break
    assert asked == 1
    assert (judged.cause, second) == ("ping_timeout", 10 + int(SILENCE))


def test_a_slow_pong_alone_never_condemns_and_is_learnt_from() -> None:
    watch, silent_for, pong = Watch(), 0.0, None
    due: float | None = None
    for second in range(3600):
        silent_for += 1.0
        if due is not None and second >= due:
            silent_for, pong, due = 0.0, 30.0, None
        judged = watch.look(step=1.0, unacked=0, silent_for=silent_for, slowest_pong=pong)
        assert judged.health == "well"
        if watch.detector.asks:
            due = second + 30.0
    for second in range(90):
        assert watch.look(step=1.0, unacked=0, silent_for=second, slowest_pong=30.0).health == "well"
    later = (watch.look(step=1.0, unacked=0, silent_for=90 + second, slowest_pong=30.0) for second in range(20))
    assert last(later).health == "condemned"


def test_a_peer_that_answers_no_pings_is_not_condemned_for_that() -> None:
    watch = Watch()
    for second in range(600):
        assert watch.look(step=1.0, unacked=0, silent_for=second).health == "well"


def test_the_words_of_a_detector() -> None:
    assert repr(Watch().detector) == "<Detector well, forgives 0.3 s>"


# -- simulated roads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_healthy_hour_ends_a_link(kind: str) -> None:
    """A few hours of each kind; ``benchmarks/health_hours.py`` says how one is simulated, and lives 10,000 of them."""
    for seed in range(int(os.environ.get("UNBROKEN_HEALTHY_HOURS", "24"))):
        life = healthy_hour(KINDS[kind], seed, retransmission=RETRANSMISSION if seed % 2 else DOUBLED)
        assert not life.condemned, f"seed {seed}: {life.judged}"


@pytest.mark.parametrize("way", ["both", "up", "down"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_dies_while_the_user_speaks_is_condemned_soon(kind: str, way: str) -> None:
    for seed in range(4):
        pauses = RETRANSMISSION if seed % 2 else DOUBLED
        took, round_trip = dead_path(KINDS[kind], seed, up=way != "down", down=way != "up", retransmission=pauses)
        if kind == "mobile":  # it is given up to 3 s, and where the kernel's pauses double they are longer than that
            assert RESTLESS < took < (8.0 if pauses == RETRANSMISSION else 17.0)
        else:
            assert LEAST <= took < 1.3 + 6 * round_trip
