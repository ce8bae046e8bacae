"""Audio says its own position, however it is cut, dropped, repeated and reordered."""

import itertools
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.testing.intervals import Intervals, Ledger
from unbroken.testing.stamps import BLOCK, StampReader, pattern, stamp

SECOND = 16_000


def noise(samples: int, seed: int = 0) -> bytes:
    generator = random.Random(seed)
    return array("h", [generator.randint(-20_000, 20_000) for _ in range(samples)]).tobytes()


SPEECH = stamp(noise(4 * SECOND))


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    whole: list[tuple[int, int]] = []
    for start, end in ranges:
        if whole and whole[-1][1] == start:
            whole[-1] = (whole[-1][0], end)
        else:
            whole.append((start, end))
    return whole


def read(pieces: list[bytes]) -> list[tuple[int, int]]:
    reader = StampReader()
    found = [r for piece in pieces for r in reader.feed(piece)]
    return merged(found + reader.settle())


def test_stamps_are_inaudible() -> None:
    original = noise(1000)
    before, after = array("h", original), array("h", stamp(original))
    assert max(abs(x - y) for x, y in zip(before, after, strict=True)) == 1


def test_stamping_in_pieces_is_stamping_the_whole() -> None:
    audio = noise(5000)
    assert stamp(audio[:2002]) + stamp(audio[2002:], position=1001) == stamp(audio)


@pytest.mark.parametrize(("pcm", "position"), [(b"\x00", 0), (b"\x00\x00", -1)])
def test_what_cannot_be_stamped(pcm: bytes, position: int) -> None:
    with pytest.raises(ValueError, match="whole samples of s16le PCM and a position from 0 are needed"):
        stamp(pcm, position=position)


def test_neighbouring_blocks_differ_in_their_checks() -> None:
    blocks = {pattern(n * BLOCK, BLOCK)[-20:] for n in range(10_000)}
    assert len(blocks) > 9_900


@given(st.integers(0, 3 * SECOND), st.lists(st.integers(1, 2000), min_size=1, max_size=40))
def test_a_stretch_is_known_to_the_sample_however_it_is_cut(start: int, lengths: list[int]) -> None:
    pieces, at = [], start
    for length in lengths:
        pieces.append(SPEECH[2 * at : 2 * (at + length)])
        at = min(at + length, 4 * SECOND)
    if at - start >= 2 * BLOCK - 1:
        assert read(pieces) == [(start, at)]


def segments(step: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    first = st.integers(0, (4 * SECOND - 3200) // step).map(lambda n: n * step)
    length = st.integers((2 * BLOCK - 2) // step + 1, 3200 // step).map(lambda n: n * step)
    return st.lists(st.tuples(first, length).map(lambda s: (s[0], s[0] + s[1])), min_size=1, max_size=20)


@given(segments(step=BLOCK))
def test_dropped_repeated_and_reordered_frames_are_known_to_the_sample(cuts: list[tuple[int, int]]) -> None:
    assert read([SPEECH[2 * start : 2 * end] for start, end in cuts]) == merged(cuts)


@given(segments(step=1), st.lists(st.integers(1, 700), max_size=9))
def test_elsewhere_seams_are_known_to_a_few_samples_and_sums_exactly(
    cuts: list[tuple[int, int]], lengths: list[int]
) -> None:
    pieces = [SPEECH[2 * start : 2 * end] for start, end in cuts]
    found = read(recut(b"".join(pieces), lengths) if lengths else pieces)
    assert sum(end - start for start, end in found) == sum(end - start for start, end in cuts)
    expected = Intervals(cuts)
    assert (Intervals(found) - expected).total + (expected - Intervals(found)).total <= 24 * len(cuts)


def recut(whole: bytes, lengths: list[int]) -> list[bytes]:
    ends = itertools.accumulate(itertools.cycle(lengths))
    bounds = [0, *itertools.takewhile(lambda end: end < len(whole) // 2, ends), len(whole) // 2]
    return [whole[2 * start : 2 * end] for start, end in itertools.pairwise(bounds)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100), st.integers(200, 2000)), min_size=1, max_size=12))
def test_audio_without_stamps_is_skipped_and_counted(parts: list[tuple[bool, int, int]]) -> None:
    reader, found, plain = StampReader(), list[tuple[int, int]](), 0
    expected: list[tuple[int, int]] = []
    for stamped, at, length in parts:
        if stamped:
            found += reader.feed(SPEECH[200 * at : 200 * at + 2 * length])
            expected.append((100 * at, 100 * at + length))
        else:
            found += reader.feed(b"\x00\x00" * length)  # silence that nobody stamped
            plain += length
    found += reader.settle()
    slack = 8 * len(parts)  # zeros look like the end of a stretch for a few samples
    assert abs(sum(e - s for s, e in found) - sum(e - s for s, e in expected)) <= slack
    assert abs(reader.unstamped - plain) <= slack


def test_audio_of_days_is_known() -> None:
    position = 10 * 24 * 3600 * SECOND
    assert read([stamp(noise(320), position=position)]) == [(position, position + 320)]


# -- intervals --------------------------------------------------------------------------------------------------------

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda r: (min(r), max(r))), max_size=12)


def positions(intervals: Intervals) -> set[int]:
    return {p for start, end in intervals for p in range(start, end)}


@given(ranges, ranges)
def test_intervals_are_sets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    one, other = Intervals(first), Intervals(second)
    assert positions(one) == {p for start, end in first for p in range(start, end)}
    assert positions(one & other) == positions(one) & positions(other)
    assert positions(one | other) == positions(one) | positions(other)
    assert positions(one - other) == positions(one) - positions(other)
    assert one.total == len(positions(one))
    assert all(p in one for p in positions(one))
    assert 61 not in one
    bounds = list(one)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(bounds))


@given(ranges, st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_adding_says_what_was_there(first: list[tuple[int, int]], new: tuple[int, int]) -> None:
    intervals = Intervals(first)
    before = positions(intervals)
    assert positions(Intervals(intervals.add(*new))) == before & set(range(*new))
    assert positions(intervals) == before | set(range(*new))


def test_intervals_print_themselves() -> None:
    assert repr(Intervals([(0, 320), (640, 960)])) == "<Intervals 0-320 640-960>"
    assert repr(Intervals()) == "<Intervals none>"


# -- the ledger -------------------------------------------------------------------------------------------------------


def test_a_faultless_stream_counts_nothing() -> None:
    ledger = Ledger()
    for n in range(100):
        ledger.arrived(320 * n, 320 * (n + 1), now=0.02 * n)
    assert (ledger.heard, ledger.repeated_total, ledger.reordered, ledger.late) == (Intervals([(0, 32_000)]), 0, 0, 0)


def test_repeated_reordered_and_late_audio_is_counted() -> None:
    ledger = Ledger(late_after=1.0)
    ledger.arrived(0, 16_000, now=1.0)
    ledger.arrived(24_000, 32_000, now=2.0)
    assert ledger.arrived(8_000, 20_000, now=3.0) == [(8_000, 16_000)]
    assert ledger.repeated == [(8_000, 16_000)]
    assert ledger.reordered == 4_000
    assert ledger.late == 4_000
    ledger.arrived(0, 8_000, now=4.0)
    assert repr(ledger) == "<Ledger 28000 heard, 16000 repeated, 4000 reordered, 4000 late>"


def test_a_copy_goes_its_own_way() -> None:
    ledger = Ledger()
    ledger.arrived(0, 320, now=0.0)
    copy = ledger.copy()
    copy.arrived(0, 320, now=0.1)
    assert (ledger.repeated_total, copy.repeated_total) == (0, 320)
