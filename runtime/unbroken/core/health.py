"""Whether a connection is still of use: samples of it go in, a judgement comes out.

A suspicion may be wrong: it costs a spare connection. A condemnation ends the link, so three rules say what may bring it
about, each of which needs more than the passing of time:

* **The path.** Data is out, nothing of it was acknowledged for longer than this path is ever given (`Detector.forgiven`),
  and what the kernel sent after that, on two occasions, is unanswered too. A path that stands still for a shorter time is
  never condemned, however late its first acknowledgement comes: the kernel doubles its pauses, so after 2 s it may not have
  tried for another 1.5 s, and what it has not tried proves nothing. Nor is one that loses a packet then: two would have to
  be lost in a row, and more where many were lost just before or little is out.
* **The peer's process.** What is to be sent piles up here, none of it was taken, and not one byte came, for `UNREAD`
  seconds: the peer's kernel lives, and what it has received is read by nobody.
* **Silence.** A ping is unanswered and not one byte came for `SILENCE` seconds, or three times the slowest pong of this
  peer, and it is a peer that answers pings at all. Pongs took 8 to 30 s on healthy Gemini links
  (googleapis/python-genai#2935).

Time counts only as far as it was seen to pass: a process or a machine that was stopped for a while has not watched.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from unbroken.decisions import Cause

__all__ = ["Detector", "Health", "Judgement", "PathSample", "Sample"]

Health: TypeAlias = Literal["well", "suspect", "condemned"]
"""What a connection looks like. Nothing leads back from ``condemned``."""

CALM: Final = 0.3
"""Seconds for which every path may stand still."""

LEAST: Final = 0.9
"""Seconds without an acknowledgement before which no path is condemned."""

RESTLESS: Final = 3.0
"""Seconds for which no path may stand still, however much it varies."""

STEADY: Final = 0.03
"""Seconds by which the round trip of a fixed line may vary, wireless at its end."""

PER_JITTER: Final = 30.0
"""A path whose round trip varies by 90 ms on average, as over a mobile network, is given 2 s: a handover between cells."""

BURST: Final = 4.0
"""Segments sent again within about a second; a path that lost more just before it stood still may lose one more."""

FEW: Final = 8
"""Segments below which a path may have lost all that is out; speech soon has more of them out."""

UNSEEN: Final = 15.0
"""Seconds without an acknowledgement that condemn where the kernel does not say that it has sent anything again."""

UNREAD: Final = 4.0
"""Seconds in which the peer has to take something of what waits, or say something."""

SILENCE: Final = 45.0
"""Seconds that a pong may take at least."""

QUIET: Final = 10.0
"""Seconds without a byte after which the peer is asked for one."""

_STEP: Final = 0.25
"""Seconds between two samples that are believed to have been watched, while data is out; samples come every 50 ms."""

_LONG_STEP: Final = 2.0
"""The same for what takes long; samples come every second."""

_USUAL: Final = 10.0
"""Seconds over which the usual round trip is taken."""

_SOON: Final = 2.0
"""Seconds in which it is believed that a path varies more."""

_MEMORY: Final = 600.0
"""Seconds in which it is forgotten how much a path varied."""


class PathSample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the kernel knows of a TCP connection: ``tcp_info`` of linux/tcp.h.

    Attributes:
        unacked: segments that are out and not acknowledged.
        since_ack: seconds since the last acknowledgement, which may have acknowledged nothing new.
        rtt: the smoothed round trip, seconds.
        rtt_var: how much the round trip varies, seconds (mean deviation).
        retransmits: how often the retransmission timer has run out since something was acknowledged.
        sent: segments of data that were sent so far, repeated ones too, as a running count; None: this kernel does not say
            (Linux before 4.6).
        repeated: segments that were sent again so far, as a running count.
        unsent: bytes that the kernel holds and has not sent, since the peer or the network takes no more.
        full: the peer has said that it has no room, which is no fault of the path.
        delivered: segments that the peer has acknowledged so far, one by one or all up to there, as a running count; None:
            this kernel does not say (Linux before 4.18).
    """

    unacked: int
    since_ack: float
    rtt: float
    rtt_var: float
    retransmits: int = 0
    sent: int | None = None
    repeated: int = 0
    unsent: int = 0
    full: bool = False
    delivered: int | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One look at a connection.

    Attributes:
        now: when, seconds on the session's clock.
        path: the kernel's view; None: platform or transport cannot tell, so the first rule has nothing to go by.
        offered: bytes that were given to be sent so far, as a running count.
        unsent: bytes that this process holds and the kernel has not taken.
        silent_for: seconds since the last byte came from the peer, pongs included.
        slowest_pong: the longest that an answer to a ping took on this connection, seconds; None: none came yet.
        paused: this side does not read, because the application does not take its events. What the peer does meanwhile says
            nothing of the peer.
    """

    now: float
    path: PathSample | None = None
    offered: int = 0
    unsent: int = 0
    silent_for: float = 0.0
    slowest_pong: float | None = None
    paused: bool = False


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a sample comes to, together with those before it.

    Attributes:
        health: in one word.
        because: one plain sentence; "": all is well.
        cause: what a condemned link is to be ended for; None: it is not condemned.
        useless_for: seconds since the last sign of life: an acknowledgement where the path is judged, otherwise a byte.
    """

    health: Health
    because: str = ""
    cause: Cause | None = None
    useless_for: float = 0.0


WELL: Final = Judgement(health="well")


class Detector:
    """Watches one connection, from when it is up.

    Attributes:
        asks: the caller is to send a ping now; true for one sample at a time.
    """

    __slots__ = (
        "_asked",
        "_before",
        "_came_back",
        "_jitter",
        "_judged",
        "_lost",
        "_probed_at",
        "_probes",
        "_stalled",
        "_unanswered",
        "_unread",
        "_usual",
        "_waited",
        "_watched",
        "asks",
    )

    def __init__(self) -> None:
        self.asks = False
        self._before: Sample | None = None
        self._judged = WELL
        self._watched = 0.0
        self._stalled = 0.0
        self._probes = 0
        self._probed_at = 0.0
        self._unanswered = 0.0
        self._jitter = 0.0
        self._usual = 0.0
        self._came_back = 0.0
        self._lost = 0.0
        self._unread = 0.0
        self._asked: float | None = None
        self._waited = 0.0

    def __repr__(self) -> str:
        return f"<Detector {self._judged.health}, forgives {self.forgiven:.1f} s>"

    @property
    def forgiven(self) -> float:
        """For how many seconds this path may stand still and come back.

        Every path is given 0.3 s. One that varies is given more, as is one that has come back from a longer pause before;
        and none more than 3 s.
        """
        return min(RESTLESS, max(CALM + PER_JITTER * max(0.0, self._jitter - STEADY), self._came_back))

    def take(self, sample: Sample) -> Judgement:
        """Takes the next look at the connection.

        Args:
            sample: not older than the one before. One every 50 ms while something is out or suspected, else one a second.

        Returns:
            What it comes to. A condemnation stands.
        """
        if self._judged.health == "condemned":
            return self._judged
        before, self._before = self._before, sample
        if before is None:
            if sample.path is not None:
                self._jitter, self._usual = sample.path.rtt_var, sample.path.rtt
            return self._judged
        elapsed = max(0.0, sample.now - before.now)
        self._watched += elapsed
        moved = self._watch_path(sample.path, before.path, elapsed)
        self._watch_reading(sample, before, elapsed, moved=moved)
        self._watch_silence(sample, elapsed)
        self._judged = self._judge(sample)
        return self._judged

    # -- what is seen ---------------------------------------------------------------------------------------------------

    def _watch_path(self, path: PathSample | None, before: PathSample | None, elapsed: float) -> bool:
        """Follows acknowledgements; returns whether something new was acknowledged."""
        if path is None or before is None:
            return False
        if path.delivered is None or before.delivered is None:
            moved = path.since_ack < elapsed
        else:
            moved = path.delivered != before.delivered
        if moved:
            if self._stalled > CALM:
                self._came_back = max(self._came_back, min(self._stalled, RESTLESS))
            self._learn(path, elapsed)
        if moved or not path.unacked or not before.unacked:  # what came out only now has had no time to be acknowledged
            self._stalled, self._probes = 0.0, 0
            self._lost = self._lost * max(0.0, 1.0 - elapsed) + path.repeated - before.repeated
        else:
            self._unanswered += min(elapsed, _STEP)
            if _tries(path) != _tries(before):
                self._tried(path)
            self._stalled += min(elapsed, _STEP)
        return moved

    def _wanted(self, path: PathSample) -> int:
        """On how many occasions something must have been sent in vain."""
        return 2 + (self._lost > BURST) + (path.unacked < FEW)

    def _tried(self, path: PathSample) -> None:
        """Counts the occasions on which something was sent that proves something: between the last sample and this one."""
        since = self.forgiven if self._probes == 0 else self._probed_at + max(0.1, path.rtt)
        if self._probes < self._wanted(path) and self._stalled >= since:
            self._probes += 1
            self._probed_at, self._unanswered = self._stalled, 0.0

    def _learn(self, path: PathSample, elapsed: float) -> None:
        """Believes soon that a path varies, and forgets it slowly; but not slower than it has been known.

        The kernel's own figure follows the round trip within a fifth of a second, so how far that wanders is added.
        """
        varies = path.rtt_var + abs(path.rtt - self._usual)
        self._usual += (path.rtt - self._usual) * min(1.0, elapsed / min(_USUAL, max(1.0, self._watched)))
        over = _SOON if varies > self._jitter else min(_MEMORY, max(1.0, self._watched))
        self._jitter += (varies - self._jitter) * min(1.0, elapsed / over)

    def _watch_reading(self, sample: Sample, before: Sample, elapsed: float, *, moved: bool) -> None:
        held, path = _held(before), sample.path
        kept = _held(sample) - held >= sample.offered - before.offered  # all of it; frames are longer than what is in them
        stuck = held > 0 and kept and not moved and sample.silent_for >= elapsed and not sample.paused
        if stuck and (path is None or not path.unacked or path.full):
            self._unread += min(elapsed, _LONG_STEP)
        else:
            self._unread = 0.0

    def _watch_silence(self, sample: Sample, elapsed: float) -> None:
        self.asks = False
        # nothing had come for a while when it was asked, so what came since is an answer, however soon
        if self._asked is not None and sample.silent_for < sample.now - self._asked + QUIET / 2:
            self._asked = None
        if self._asked is None:
            if sample.silent_for >= QUIET and not sample.paused:
                self._ask(sample.now)
        elif not sample.paused:
            self._waited += min(elapsed, _LONG_STEP)

    def _ask(self, now: float) -> None:
        self.asks, self._asked, self._waited = True, now, 0.0

    # -- what it comes to -----------------------------------------------------------------------------------------------

    def _judge(self, sample: Sample) -> Judgement:
        path = sample.path
        if self._unread > 1.0:
            return self._unread_data(sample)
        if path is not None and self._stalled > max(3 * path.rtt + 0.04, 0.1):
            return self._stalled_path(path)
        slowest = sample.slowest_pong
        if slowest is not None and self._asked is not None and self._waited >= max(SILENCE, 3 * slowest):
            because = (
                f"a ping is unanswered and nothing has come for {sample.silent_for:.0f} s; pongs took up to {slowest:.1f} s"
            )
            return Judgement(health="condemned", because=because, cause="ping_timeout", useless_for=sample.silent_for)
        return WELL

    def _stalled_path(self, path: PathSample) -> Judgement:
        stalled = self._stalled
        patience = 2 * path.rtt + 4 * max(path.rtt_var, self._jitter) + 0.04
        proven = self._probes >= self._wanted(path) and self._unanswered > patience and stalled >= LEAST
        dead = (proven or stalled >= UNSEEN) and not path.full
        because = (
            f"{path.unacked} segments are out and nothing was acknowledged for {stalled * 1000:.0f} ms, where a round trip"
            f" takes {path.rtt * 1000:.0f} ms; sent again {path.retransmits} times"
        )
        if not dead:
            return Judgement(health="suspect", because=because, useless_for=stalled)
        return Judgement(health="condemned", because=because, cause="path_dead", useless_for=stalled)

    def _unread_data(self, sample: Sample) -> Judgement:
        because = (
            f"{_held(sample)} bytes wait here, and for {self._unread:.1f} s the peer has taken nothing and said nothing"
        )
        if self._unread < UNREAD:
            return Judgement(health="suspect", because=because, useless_for=self._unread)
        return Judgement(health="condemned", because=because, cause="not_reading", useless_for=sample.silent_for)


def _held(sample: Sample) -> int:
    return sample.unsent + (sample.path.unsent if sample.path is not None else 0)


def _tries(path: PathSample) -> int:
    return path.retransmits if path.sent is None else path.sent
