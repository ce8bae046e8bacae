from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.audio import QUIET_PEAK, SpeechDetector, SpeechMap, is_quiet, ms
from unbroken.core.playout import Playout

RATE = 16_000


def pcm(*values: int, times: int = 320) -> bytes:
    return struct.pack(f"<{len(values)}h", *values) * (times // len(values))


def test_ms_is_milliseconds() -> None:
    assert ms(320, 16_000) == 20.0
    assert ms(0, 24_000) == 0.0


@pytest.mark.parametrize("threshold", [QUIET_PEAK, 164, 1000])
def test_quiet_is_a_matter_of_the_peak(threshold: int) -> None:
    assert is_quiet(b"", threshold=threshold)
    assert is_quiet(b"\x7f", threshold=threshold)
    assert is_quiet(bytes(640), threshold=threshold)
    assert is_quiet(pcm(threshold - 1, -threshold), threshold=threshold)
    assert not is_quiet(pcm(threshold), threshold=threshold)
    assert not is_quiet(pcm(-threshold - 1), threshold=threshold)


def test_one_loud_sample_among_those_looked_at_is_heard_wherever_it_is() -> None:
    for place in range(0, 320, 4):
        frame = bytearray(640)
        frame[2 * place : 2 * place + 2] = struct.pack("<h", 5000)
        assert not is_quiet(bytes(frame))


def test_the_fast_way_and_the_plain_way_agree() -> None:
    dice = random.Random(7)
    for _ in range(500):
        reach = dice.choice([10, 200, 255, 256, 300, 3000])
        frame = pcm(*(dice.randint(-reach, reach) for _ in range(40)), times=40)
        assert is_quiet(frame) == all(-256 <= value <= 255 for value in struct.unpack("<40h", frame)[::4])


def test_a_turn_begins_with_speech_and_ends_with_a_pause() -> None:
    detector = SpeechDetector(rate=RATE, hangover=0.8, shortest=0.1)
    said = [detector.feed(not 10 <= frame < 50, 320, frame * 0.02) for frame in range(100)]
    assert [(frame, what) for frame, what in enumerate(said) if what] == [(14, "began"), (89, "ended")]
    assert not detector.speaking
    assert detector.since == pytest.approx(89 * 0.02)
    assert repr(detector) == "<SpeechDetector quiet since 1.780>"


def test_a_click_is_no_turn_and_a_short_pause_ends_none() -> None:
    detector = SpeechDetector(rate=RATE)
    assert detector.feed(False, 320, 0.0) is None
    assert detector.feed(True, RATE, 1.0) is None
    assert detector.feed(False, 1280, 1.1) is None, "the click before does not count"
    assert detector.feed(False, 320, 1.2) == "began"
    assert detector.feed(True, RATE // 2, 1.7) is None
    assert detector.feed(False, 320, 1.8) is None
    assert detector.feed(True, RATE // 2, 2.3) is None
    assert detector.speaking
    assert detector.since == 1.2
    assert detector.feed(True, RATE // 2, 2.8) == "ended"


def reference(runs: list[tuple[int, bool]]) -> list[bool]:
    return [not quiet for samples, quiet in runs for _ in range(samples)]


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=20), st.data())
def test_the_map_says_what_the_samples_say(runs: list[tuple[int, bool]], data: st.DataObject) -> None:
    heard = SpeechMap()
    for samples, quiet in runs:
        heard.append(samples, quiet=quiet)
    loud = reference(runs)
    end = len(loud)
    a = data.draw(st.integers(0, end))
    b = data.draw(st.integers(0, end))
    assert heard.end == end
    assert heard.speech_between(a, b) == sum(loud[a:b])
    assert heard.first_speech(a) == next((p for p in range(a, end) if loud[p]), end)
    shortest, within = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 30))

    def gap() -> int | None:
        before = next((n for n in range(a) if loud[a - n - 1]), a)
        after = next((n for n in range(end - a) if loud[a + n]), end - a) if before else 0
        if before + after >= shortest and before >= max(1, shortest // 2):
            return a
        for stop in range(a, max(0, a - within - 1), -1):
            if stop - shortest >= 0 and not any(loud[stop - shortest : stop]):
                return stop
        return None

    assert heard.gap_before(a, shortest=shortest, within=within) == gap()


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=40), st.data())
def test_what_the_map_forgot_counts_as_speech(runs: list[tuple[int, bool]], data: st.DataObject) -> None:
    heard = SpeechMap(limit=8)
    for samples, quiet in runs:
        heard.append(samples, quiet=quiet)
    loud = reference(runs)
    upto = data.draw(st.integers(0, len(loud)))
    heard.forget(upto)
    a = data.draw(st.integers(0, len(loud)))
    assert sum(loud[a:]) <= heard.speech_between(a, len(loud)) <= len(loud) - a


def test_the_map_is_bounded_and_shows_itself() -> None:
    heard = SpeechMap(limit=100)
    for place in range(10_000):
        heard.append(1, quiet=place % 2 == 0)
    assert repr(heard) == "<SpeechMap 9900 to 10000, 100 runs>"
    assert heard.speech_between(9900, 10_000) == 50
    assert heard.speech_between(0, 10_000) == 9950


def test_playout_is_what_a_player_can_have_played() -> None:
    playout = Playout()
    assert playout.heard_ms(5.0) == 0.0
    playout.add(48_000, rate=24_000, now=10.0)
    assert playout.heard_ms(10.4) == pytest.approx(400)
    assert playout.heard_ms(12.0) == pytest.approx(1000)
    playout.add(48_000, rate=24_000, now=12.0)
    assert playout.heard_ms(12.5) == pytest.approx(1500), "a player that ran dry waits"
    assert playout.left_ms(12.5) == pytest.approx(500)
    playout.flush()
    assert playout.left_ms(12.5) == 0.0
    assert repr(playout) == "<Playout 2000 ms received>"


def test_the_next_reply_is_heard_after_what_still_plays_of_the_last() -> None:
    playout = Playout()
    playout.add(48_000, rate=24_000, now=0.0)
    playout.restart()
    playout.add(24_000, rate=24_000, now=0.5)
    assert playout.heard_ms(0.9) == 0.0
    assert playout.heard_ms(1.25) == pytest.approx(250)


def test_what_was_said_last_began_after_a_long_pause() -> None:
    speech = SpeechMap()
    for samples, quiet in ((10, True), (20, False), (50, True), (20, False), (10, True), (20, False), (60, True)):
        speech.append(samples, quiet=quiet)
    before = {at: speech.turn_before(at, pause=50) for at in (190, 130, 120, 100, 85, 80, 79, 30, 0)}
    assert before == {190: 80, 130: 80, 120: 80, 100: 80, 85: 80, 80: 0, 79: 0, 30: 0, 0: 0}
    assert speech.turn_before(190, pause=51) == 0
    assert speech.turn_before(190, pause=5) == 110


def test_a_phrase_that_ends_soon_is_left_for_the_one_that_follows() -> None:
    """Quiet to 10, speech to 40 with a short pause at 30, a pause to 60, speech to 100."""
    speech = SpeechMap()
    for samples, quiet in ((10, True), (20, False), (3, True), (7, False), (20, True), (40, False)):
        speech.append(samples, quiet=quiet)
    after = {at: speech.phrase_after(at, shortest=10, within=15) for at in (0, 5, 10, 20, 25, 32, 39, 40, 50, 60, 70, 100)}
    assert after == {0: 0, 5: 5, 10: 10, 20: 20, 25: 40, 32: 32, 39: 40, 40: 40, 50: 50, 60: 60, 70: 70, 100: 100}
    assert speech.phrase_after(25, shortest=3, within=15) == 30
