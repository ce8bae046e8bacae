"""How fast goes out what had to wait."""

from __future__ import annotations

import pytest

from unbroken.config import Settings
from unbroken.core.pace import Pace
from unbroken.errors import ConfigError

RATE = 1000


@pytest.mark.parametrize(("wanted", "own", "times"), [(None, 3.0, 3.0), (5.0, 3.0, 5.0), (1.5, 3.0, 1.5)])
def test_the_applications_pace_comes_before_the_models(wanted: float | None, own: float, times: float) -> None:
    pace = Pace(rate=RATE, wanted=wanted)
    pace.begin_link(own)
    assert pace.times == times


def test_a_refusal_halves_it_for_every_link_to_come_and_never_down_to_real_time() -> None:
    pace = Pace(rate=RATE)
    pace.begin_link(3.0)
    seen = []
    for _ in range(3):
        assert pace.refused().endswith(f"at {pace.times:.3g} times real time from now on.")
        pace.begin_link(3.0)
        seen.append(pace.times)
    assert seen == [1.5, 1.25, 1.25]


def test_a_pace_below_the_least_is_left_as_it_is() -> None:
    pace = Pace(rate=RATE, wanted=1.1)
    pace.refused()
    assert pace.times == 1.1


def test_little_goes_out_at_once_and_more_is_paced() -> None:
    pace = Pace(rate=RATE)
    pace.begin_link(2.0)
    pace.consider(300, position=0, now=5.0)
    assert not pace.going
    assert pace.allowed(0, now=5.0) == 100
    pace.consider(301, position=0, now=5.0)
    assert pace.going
    assert [pace.allowed(sent, now=now) for sent, now in [(0, 5.0), (20, 5.0), (20, 5.025), (20, 5.5), (1020, 5.5)]] == [
        20,
        0,
        50,
        100,
        0,
    ]
    pace.consider(5000, position=900, now=9.0)
    assert pace.allowed(1020, now=5.5) == 0, "a pace that is going does not begin anew"
    pace.restart(position=1020, now=5.5)
    assert pace.allowed(1020, now=5.5) == 20
    pace.stop()
    assert pace.allowed(1020, now=5.5) == 100


@pytest.mark.parametrize("catch_up", [1.0, 0.5, float("inf"), float("nan")])
def test_a_pace_that_makes_nothing_up_is_refused(catch_up: float) -> None:
    with pytest.raises(ConfigError, match="catch_up has to be above"):
        Settings(catch_up=catch_up)
