"""The user's audio by position: what was sent, what the model is known to have heard, and what a new link has to carry.

Positions are samples of the user's audio since the session began. A *context* is what a model remembers: it lives on one
link, and on the links that resume it by handle. The journal's duty is that no sample vanishes silently: at every crossing
each one is known to the context that survives, or replayed to it, or counted as lost, or quiet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from unbroken.core.audio import SAMPLE, SpeechMap
from unbroken.decisions import Carry

__all__ = ["Journal", "Plan"]

_TICK = 0.04
"""Seconds between the moments that are kept of what was sent when."""

_TICKS = 256
"""How many such moments are kept: ten seconds of live audio, far more than any acknowledgement lags."""

_INDEXES = 4096
"""How many client messages are kept with their position, while no handle update consumes them."""

_GAP = 0.3
"""Seconds of quiet that part what was said before from what is said after."""

_BROKEN_OFF = 1.0
"""Seconds of a phrase whose begin cannot be replayed that are left out too, if it ends by then."""

_TURN_GAP = 0.5
"""Seconds of quiet that end a turn, as services judge it by default."""

_WITHIN = 5.0
"""Seconds in which a speaker makes such a gap; longer noise without one is a noisy line."""

_UNANSWERED = 2.0
"""Seconds of quiet after which services have judged a turn to be over, by default and with the settings in use."""

_COUNTED = 64
"""Stretches that are remembered as counted."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a new link carries of the user's audio. All lengths are samples.

    ``known <= start``, and ``start - known == lost + silence + counted``; what follows ``start`` is replayed.

    Attributes:
        carry: how the conversation crosses.
        known: up to here the context holds the audio, by snapshot or in words.
        start: from here the audio is sent.
        sent: up to here it had been sent before, on links of the context that goes on or is left.
        replayed: from ``start`` to the end at the time of the plan: sent again, or late.
        uncertain: of that, what the context that goes on may hold already, since nothing says that it does not.
        lost: speech that no link will carry.
        silence: quiet that is left out.
        counted: what is left out now and was settled by an earlier plan (see `Journal.settle`).
        told: audio that crosses in words.
        refused: what is left out was refused by the peer, so that no later link is given it either.
    """

    carry: Carry = "nothing"
    known: int = 0
    start: int = 0
    sent: int = 0
    replayed: int = 0
    uncertain: int = 0
    lost: int = 0
    silence: int = 0
    counted: int = 0
    told: int = 0
    refused: bool = False


class Journal:
    """The user's audio that may still be needed, and what is known of the rest.

    Args:
        rate: samples per second.
        bound: seconds of audio that are retained.

    Attributes:
        begin: the first position that is retained.
        end: the position after the last sample.
        floor: nothing before will be needed again.
        heard: up to here the current context is known to have heard.
        position: up to here the current link was given the audio.
        link: the current link's number; 0: none was begun.
        dropped: samples dropped at the bound that no link of the current context was ever given.
    """

    def __init__(self, *, rate: int, bound: float) -> None:
        self.rate = rate
        self.begin: int = 0
        self.end: int = 0
        self.floor: int = 0
        self.heard: int = 0
        self.position: int = 0
        self.link: int = 0
        self.dropped: int = 0
        self._bound = int(bound * rate)
        self._small = rate // 50
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._times: list[float] = []
        self._head = 0
        self._odd = b""
        self._speech = SpeechMap()
        self._given = 0
        self._ticks: deque[tuple[float, int]] = deque(maxlen=_TICKS)
        self._last_tick: tuple[float, int] | None = None
        self._indexes: deque[tuple[int, int]] = deque()
        self._consumed = 0
        self._exact: int | None = None
        self._plan: Plan | None = None
        self._counted: list[tuple[int, int]] = []
        self._refused = 0

    # -- The audio ----------------------------------------------------------------------------------------------------

    def append(self, pcm: bytes, now: float, *, quiet: bool) -> int:
        """Takes the next piece of the user's audio, of any length; half a sample at its end waits for the next piece.

        Args:
            pcm: s16le mono PCM.
            now: the present.
            quiet: what `unbroken.core.audio.is_quiet` says of it.

        Returns:
            The new end.
        """
        if self._odd or len(pcm) % SAMPLE:
            pcm = self._odd + pcm
            whole = len(pcm) - len(pcm) % SAMPLE
            pcm, self._odd = pcm[:whole], pcm[whole:]
        samples = len(pcm) // SAMPLE
        if not samples:
            return self.end
        start = self.end
        self.end = end = start + samples
        self._speech.append(samples, quiet=quiet)
        if self._head < len(self._starts) and end - self._starts[-1] <= self._small:
            # Pieces of a few samples are joined up to 20 ms, so that the number of chunks is bounded too.
            self._chunks[-1] += pcm
        else:
            if samples > self._bound:
                start, pcm = end - self._bound, pcm[-self._bound * SAMPLE :]
            self._starts.append(start)
            self._chunks.append(pcm)
            self._times.append(now)
        if end - self.begin > self._bound:
            self._drop(end - self._bound)
        return end

    def read(self, start: int, limit: int) -> bytes:
        """Returns audio from a position on, at most ``limit`` samples, fewer at the end; no copy where it is one chunk.

        A start before `begin` reads from `begin`.
        """
        starts = self._starts
        if starts and start == starts[-1] >= self.begin and self.end - start <= limit:
            return self._chunks[-1]  # live audio is read as it was appended
        start = max(start, self.begin)
        stop = min(start + limit, self.end)
        if start >= stop:
            return b""
        index = self._index(start)
        chunk = self._chunks[index]
        if starts[index] == start and len(chunk) == (stop - start) * SAMPLE:
            return chunk
        return b"".join(self._pieces(index, start, stop))

    def age(self, position: int, now: float) -> float:
        """Returns how many seconds ago the sample at a position was appended; 0.0 at the end."""
        if position >= self.end or self._head >= len(self._times):
            return 0.0
        return max(0.0, now - self._times[self._index(max(position, self.begin))])

    def position_at(self, time: float) -> int:
        """Returns the first retained position that was appended at or after a time (to 20 ms); the end: there is none."""
        index = bisect_left(self._times, time, self._head)
        return max(self.begin, self._starts[index]) if index < len(self._starts) else self.end

    def first_speech(self, start: int, *, preroll: float = 0.3) -> int:
        """Returns where to begin so that nothing said at or after ``start`` is missed.

        Args:
            start: the earliest answer.
            preroll: seconds to begin before the first speech.

        Returns:
            A position; the end: nothing was said.
        """
        speech = self._speech.first_speech(start)
        return self.end if speech >= self.end else max(start, speech - int(preroll * self.rate))

    def speech_between(self, a: int, b: int) -> int:
        """Returns how many samples from ``a`` up to ``b`` lie in chunks that were not quiet."""
        return self._speech.speech_between(a, b)

    def quiet_gap_before(self, position: int, *, shortest: float = _GAP, within: float = _WITHIN) -> int | None:
        """Returns the end of the latest quiet stretch at or before a position, in that stretch the position itself.

        Args:
            position: where to look from; what comes after it does not count.
            shortest: seconds; shorter stretches are pauses between words.
            within: seconds before the position in which the stretch must end.

        Returns:
            A position; None: there is no such stretch.
        """
        return self._speech.gap_before(position, shortest=int(shortest * self.rate), within=int(within * self.rate))

    def untold(self, turns: Iterable[tuple[int, bool]], *, since: int) -> int:
        """Counts the speech that was heard, is told by no transcript, and was counted by no settled plan.

        A transcript tells what was said since the last pause in which a service would have answered. What was said before
        that, and after the turn before, got neither a transcript nor a reply.

        Args:
            turns: up to where the user was heard, and whether a transcript tells of it; in any order. Of several turns that
                end at one position, since they were heard too fast to be told apart, each tells of one such stretch.
            since: what lies before is not looked at.

        Returns:
            Samples.
        """
        return sum(self._uncounted(start, stop)[0] for start, stop in self._untold(turns, since=since))

    def first_untold(self, turns: Iterable[tuple[int, bool]], *, since: int) -> int | None:
        """Returns from where on the first speech is that `untold` counts; None: it counts none."""
        stretches = self._untold(turns, since=since)
        return next((start for start, stop in stretches if self._uncounted(start, stop)[0]), None)

    def forget(self, upto: int, *, speech: int | None = None) -> None:
        """Lets go of what lies before a position: no context that may still be crossed to will need it.

        Args:
            upto: the position.
            speech: an earlier position, from which on it is still to be known where there was speech; None: the same.
        """
        upto = min(upto, self.end)
        mapped = upto if speech is None else min(upto, speech)
        self._speech.forget(mapped - int(_WITHIN * self.rate))
        self._counted = [(a, b) for a, b in self._counted if b > mapped]
        if upto <= self.floor:
            return
        self.floor = upto
        if upto > self.begin:
            self._drop(upto)

    # -- What was sent ------------------------------------------------------------------------------------------------

    def begin_link(self, link: int, start: int) -> None:
        """A link is up, and audio on it starts at a position. The newest `plan`, if there is one, takes effect.

        Args:
            link: its number.
            start: `Plan.start`, or 0 for a first link without a plan.
        """
        plan, self._plan = self._plan, None
        if plan is not None:
            self.heard = min(plan.known, start)
            self._given = max(self._given, start) if plan.carry == "handle" else start
        else:
            self.heard = min(self.heard, start)
            self._given = max(self._given, start)
        self.link = link
        self.position = start
        self._consumed = self.heard
        self._ticks.clear()
        self._last_tick = None
        self._indexes.clear()

    def sent(self, upto: int, now: float) -> None:
        """The current link was given the audio up to a position."""
        self.position = upto
        if upto > self._given:
            self._given = upto
        last = self._last_tick
        if last is not None and (not self._ticks or last[0] - self._ticks[-1][0] >= _TICK):
            self._ticks.append(last)
        self._last_tick = (now, upto)

    def sent_index(self, index: int, upto: int) -> None:
        """Client message ``index`` of the current link carried the audio up to a position; only where handles name them."""
        self._indexes.append((index, upto))
        if len(self._indexes) > _INDEXES:
            # Every other one goes: coarser, and still never too far, since a lookup takes the latest one before.
            self._indexes = deque(pair for place, pair in enumerate(self._indexes) if place % 2)

    def sent_at(self, time: float) -> int:
        """Returns up to where the current link is known to have been given the audio by a time (to 40 ms, never too far)."""
        last = self._last_tick
        if last is None:
            return self.heard
        if time >= last[0]:
            return last[1]
        index = bisect_right(self._ticks, time, key=_when)
        return self._ticks[index - 1][1] if index else self.heard

    # -- What is known ------------------------------------------------------------------------------------------------

    def acknowledge(self, now: float, lag: float) -> int:
        """The end of a user's turn was acknowledged: a transcript was finished, the voice ended, or a reply began.

        What had been sent ``lag`` seconds ago is heard. Where the user speaks again there, only what lies before the pause
        between is: the last one long enough to end a turn, else the last one that parts phrases. Where there is no pause at
        all within five seconds, the line is noisy and tells nothing: then the acknowledgement counts as it is.

        Args:
            now: the present.
            lag: seconds from the sending of audio to its acknowledgement, at least.

        Returns:
            The new `heard`; it never goes back.
        """
        return self.acknowledge_at(self.sent_at(now - lag))

    def acknowledge_at(self, position: int) -> int:
        """The end of a user's turn was acknowledged, of which what was sent up to a position can be part; see `acknowledge`.

        Returns:
            The new `heard`; it never goes back.
        """
        position = min(position, self.position)
        if position > self.heard:
            gap = self.quiet_gap_before(position, shortest=_TURN_GAP)
            if gap is None:
                gap = self.quiet_gap_before(position)
            self.heard = max(self.heard, position if gap is None else gap)
        return self.heard

    def acknowledge_exactly(self, position: int) -> int:
        """The current context has heard the audio up to a position, for certain. Returns the new `heard`."""
        self.heard = max(self.heard, min(position, self.position))
        return self.heard

    def snapshot(self, consumed_index: int | None) -> int:
        """Returns up to where a handle that was issued just now holds the audio.

        Args:
            consumed_index: the last client message of the current link that it holds; None: the service does not say, and
                the handle is taken to hold what is known to be heard.
        """
        if consumed_index is None:
            return self.heard
        while self._indexes and self._indexes[0][0] <= consumed_index:
            self._consumed = self._indexes.popleft()[1]
        self._exact = self._consumed
        self.acknowledge_exactly(self._consumed)
        return self._consumed

    # -- The crossing -------------------------------------------------------------------------------------------------

    def plan(self, *, known: int, carry: Carry, now: float, max_age: float, drop_media: bool = False, told: int = 0) -> Plan:
        """Says what a new link has to carry. Changes nothing before `begin_link`.

        Args:
            known: up to here the context that the link continues or begins holds the audio: by handle its snapshot, by
                history what is told in words, or both, else what is to be regarded as done with.
            carry: how the conversation crosses.
            now: the present.
            max_age: seconds; older audio is not replayed.
            drop_media: nothing is replayed, since the peer refused it.
            told: samples that cross in words, for the report; by handle, the last ones of what is known.
        """
        known = min(known, self.end)
        oldest = max(known, self.begin, self._refused, self.position_at(now - max_age))
        broken_off = oldest > max(known, self._refused)
        start = self.end if drop_media else self.first_speech(self._pause_after(oldest) if broken_off else oldest)
        spoken, counted = self._uncounted(known, start)
        exact = carry != "handle" or known - told == self._exact
        self._plan = Plan(
            carry=carry,
            known=known,
            start=start,
            sent=self._given,
            replayed=self.end - start,
            uncertain=0 if exact else max(0, min(self._given, self.end) - start),
            lost=spoken,
            silence=start - known - spoken - counted,
            counted=counted,
            told=told,
            refused=drop_media,
        )
        return self._plan

    def settle(self, plan: Plan) -> None:
        """The application was told of a plan: what it left out is not counted again by a later one."""
        if plan.start > plan.known:
            self._counted = _merged([*self._counted, (plan.known, plan.start)])[-_COUNTED:]
        if plan.refused:
            self._refused = max(self._refused, plan.start)

    # -- Inside -------------------------------------------------------------------------------------------------------

    def _untold(self, turns: Iterable[tuple[int, bool]], *, since: int) -> Iterator[tuple[int, int]]:
        """Yields the stretches that no transcript tells; see `untold`."""
        pause = int(_UNANSWERED * self.rate)
        for position, same in groupby(sorted(turn for turn in turns if turn[0] > since), key=_end):
            begin = position
            for _, told in same:
                if told:
                    begin = max(since, self._speech.turn_before(begin, pause=pause))
            yield since, begin
            since = position

    def _pause_after(self, position: int) -> int:
        """Returns where the next phrase begins, if a position lies in the midst of one that ends soon; else the position."""
        return self._speech.phrase_after(position, shortest=int(_GAP * self.rate), within=int(_BROKEN_OFF * self.rate))

    def _uncounted(self, a: int, b: int) -> tuple[int, int]:
        """Returns the speech between two positions that no settled plan counted, and the length of what one did."""
        spoken, counted, position = 0, 0, a
        for start, stop in self._counted:
            start, stop = max(start, position), min(stop, b)
            if start < stop:
                spoken += self.speech_between(position, start)
                counted += stop - start
                position = stop
        return spoken + self.speech_between(position, b), counted

    def _drop(self, upto: int) -> None:
        if upto > self._given:
            self.dropped += max(0, upto - max(self.begin, self.floor, self.heard, self._given))
        self.begin = upto
        starts, chunks, head = self._starts, self._chunks, self._head
        while head < len(starts) and starts[head] + len(chunks[head]) // SAMPLE <= upto:
            chunks[head] = b""
            head += 1
        if head > 1024 or head == len(starts):
            del starts[:head], chunks[:head], self._times[:head]
            head = 0
        self._head = head

    def _index(self, position: int) -> int:
        return bisect_right(self._starts, position, self._head) - 1

    def _pieces(self, index: int, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            first, chunk = self._starts[index], self._chunks[index]
            piece = chunk[(start - first) * SAMPLE : (stop - first) * SAMPLE]
            yield piece
            start += len(piece) // SAMPLE
            index += 1

    def __repr__(self) -> str:
        seconds = (self.end - self.begin) / self.rate
        unheard = (self.end - min(self.heard, self.end)) / self.rate
        return f"<Journal link {self.link}, {seconds:.1f} s journalled, {unheard:.1f} s not known heard>"


def _end(turn: tuple[int, bool]) -> int:
    return turn[0]


def _when(tick: tuple[float, int]) -> float:
    return tick[0]


def _merged(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
