"""Healthy hours and dead paths through the detector of `unbroken.core.health`: ``python benchmarks/health_hours.py``.

How an hour is simulated: a link lives on a road of one kind, which stays. Sixteen stretches of the hour are lived segment by
segment, with 50 frames a second and a look every 50 ms: six pauses that end (on a mobile road 1 to 2 s each, elsewhere up to
0.3 s; half of them lose what is sent, half keep it), six bursts of a second in which every fifth packet is lost each way,
and four times speech after a rest of one to four minutes, which is the trap of figures that are stale then. The rests are
looked at every second: nothing comes from the model, and pongs take up to 30 s. What is left of the hour is taken for the
same as what was lived, and is not.

A dead path is lived the same way: ten seconds of speech, and then nothing comes through, both ways or one way.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from unbroken.core.health import Detector, Judgement, Sample
from unbroken.testing.roads import Pause, Road, Sender
from unbroken.transports.path import RETRANSMISSION

FRAME: Final = 0.02
LOOK: Final = 0.05


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of road; see `Road` for what is not told here.

    Attributes:
        pause: seconds that a pause takes, at least and at most.
        pong: seconds that a pong takes, at least and at most.
    """

    shortest: float
    longest: float
    wander: float = 1.0
    jitter: float = 0.0
    loss: float = 0.0
    pause: tuple[float, float] = (0.1, 0.3)
    pong: tuple[float, float] = (0.0, 0.5)


KINDS: Final[Mapping[str, Kind]] = {
    "wired, 10 ms": Kind(shortest=0.009, longest=0.011),
    "wired, 40 ms": Kind(shortest=0.038, longest=0.042, pong=(8.0, 30.0)),
    "far, 300 ms, jitter and 2 % loss": Kind(shortest=0.28, longest=0.32, jitter=0.03, loss=0.02, pong=(8.0, 30.0)),
    "wireless, jitter and 2 % loss": Kind(shortest=0.03, longest=0.06, jitter=0.03, loss=0.02, pong=(0.0, 30.0)),
    "mobile": Kind(shortest=0.03, longest=0.4, jitter=0.02, loss=0.003, pause=(1.0, 2.0), pong=(8.0, 30.0)),
}


class Life:
    """One link on one road, with the detector that watches it."""

    def __init__(self, kind: Kind, dice: random.Random, *, retransmission: float = RETRANSMISSION) -> None:
        self.kind = kind
        self.dice = dice
        self.road = Road(
            shortest=kind.shortest,
            longest=kind.longest,
            wander=kind.wander,
            jitter=kind.jitter,
            loss=kind.loss,
            random=dice,
        )
        self.sender = Sender(self.road, longest=retransmission)
        self.detector = Detector()
        self.judged: Judgement | None = None
        self.suspicions = 0
        self.looks = 0
        self._frame_at = 0.0
        self._heard_at = 0.0
        self._pongs: list[tuple[float, float]] = []
        self._slowest: float | None = None

    @property
    def condemned(self) -> bool:
        return self.judged is not None and self.judged.health == "condemned"

    def speak(self, seconds: float, *, until_condemned: bool = False) -> None:
        """Sends 50 frames a second, and looks as often as the watchdog does."""
        now = self.sender.now
        end, look = now + seconds, now + LOOK
        self._frame_at = max(self._frame_at, now)
        while (now := min(self._frame_at, look)) < end and not (until_condemned and self.condemned):
            self.sender.run(now)
            if now == self._frame_at:
                self.sender.write()
                self._frame_at += FRAME
            else:
                self.look()
                look = now + LOOK + self.dice.random() * 0.01
        if not until_condemned:
            self.sender.run(end)

    def rest(self, seconds: float) -> None:
        """Says nothing for a while, and hears nothing but pongs."""
        end = self.sender.now + seconds
        while self.sender.now < end:
            self.sender.run(self.sender.now + (LOOK if self.sender.sample().unacked else 1.0))
            self.look()

    def look(self) -> None:
        now = self.sender.now
        while self._pongs and self._pongs[0][0] <= now:
            came, asked = self._pongs.pop(0)
            self._heard_at = came
            self._slowest = max(self._slowest or 0.0, came - asked)
        sample = Sample(now=now, path=self.sender.sample(), silent_for=now - self._heard_at, slowest_pong=self._slowest)
        before = self.judged
        self.judged = self.detector.take(sample)
        self.looks += 1
        if self.judged.health == "suspect" and (before is None or before.health == "well"):
            self.suspicions += 1
        if self.detector.asks:
            self._pongs.append((now + self.dice.uniform(*self.kind.pong), now))

    def settle(self) -> None:
        """Speaks until the last trouble is over, and two seconds more: troubles are minutes apart, not seconds."""
        for _ in range(60):
            if self.sender.sample().unacked < 2 + self.sender.srtt / FRAME:
                break
            self.speak(0.25)
        self.speak(2.0)

    def pause(self) -> None:
        """Lets the road stand still for a while, within speech."""
        start = self.sender.now + self.dice.uniform(0.3, 0.6)
        stop = start + self.dice.uniform(*self.kind.pause)
        self.road.pauses = [Pause(start=start, stop=stop, keeps=self.dice.random() < 0.5)]
        self.speak(stop - self.sender.now + 1.0)

    def burst(self) -> None:
        """Lets the road lose every fifth packet for a second, within speech."""
        usual, self.road.loss = self.road.loss, 0.2
        self.speak(1.0)
        self.road.loss = usual
        self.speak(1.0)


def healthy_hour(kind: Kind, seed: int, *, retransmission: float = RETRANSMISSION) -> Life:
    """Lives one hour; see the module."""
    dice = random.Random(seed)
    life = Life(kind, dice, retransmission=retransmission)
    life.speak(10.0)
    stretches = ["pause"] * 6 + ["burst"] * 6 + ["rest"] * 4
    dice.shuffle(stretches)
    for stretch in stretches:
        match stretch:
            case "pause":
                life.pause()
            case "burst":
                life.burst()
            case _:
                life.rest(dice.uniform(60.0, 240.0))
                life.speak(1.5)
        if life.condemned:
            break
        life.settle()
    return life


def dead_path(
    kind: Kind, seed: int, *, up: bool = True, down: bool = True, retransmission: float = RETRANSMISSION
) -> tuple[float, float]:
    """Returns after how many seconds a dead path was condemned, and how long its round trip was; `math.inf`: never."""
    dice = random.Random(seed)
    life = Life(kind, dice, retransmission=retransmission)
    life.speak(10.0 + dice.random())
    died = life.sender.now
    life.road.pauses = [Pause(start=died, up=up, down=down)]
    round_trip = life.sender.srtt
    life.speak(60.0, until_condemned=True)
    return (life.sender.now - died if life.condemned else math.inf), round_trip


def _healthy(hours: int, seed: int, retransmission: float) -> int:
    print(f"{'healthy hours':36}{'hours':>8}{'looks':>12}{'suspicions/h':>14}{'condemned':>11}")
    wrong = 0
    for place, (name, kind) in enumerate(KINDS.items()):
        total: Counter[str] = Counter()
        share = hours // len(KINDS)
        for number in range(share):
            life = healthy_hour(kind, seed + place * 1_000_003 + number, retransmission=retransmission)
            total["looks"] += life.looks
            total["suspicions"] += life.suspicions
            if life.condemned:
                assert life.judged is not None
                total["condemned"] += 1
                print(f"  {name}, seed {seed + place * 1_000_003 + number}: {life.judged.because}", file=sys.stderr)
        wrong += total["condemned"]
        rate = total["suspicions"] / max(1, share)
        print(f"{name:36}{share:8}{total['looks']:12}{rate:14.1f}{total['condemned']:11}", flush=True)
    return wrong


def _dead(paths: int, seed: int, retransmission: float) -> None:
    print(
        f"\n{'dead paths: seconds to condemned':36}{'way':>12}{'n':>6}{'p50':>8}{'p99':>8}{'max':>8}"
        f"{'max - 1 s, in round trips':>28}"
    )
    for name, kind in KINDS.items():
        for way, up, down in (("both", True, True), ("up only", True, False), ("down only", False, True)):
            took = [
                dead_path(kind, seed + number, up=up, down=down, retransmission=retransmission) for number in range(paths)
            ]
            seconds = sorted(one for one, _ in took)
            trips = max((one - 1) / round_trip for one, round_trip in took)
            p99 = seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))]
            print(
                f"{name:36}{way:>12}{paths:6}{statistics.median(seconds):8.2f}{p99:8.2f}{seconds[-1]:8.2f}{trips:28.1f}",
                flush=True,
            )


def main() -> int:
    """Lives, and prints; returns 1 where a healthy link was condemned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--hours", type=int, default=100, help="healthy hours, over all kinds of roads (default: %(default)s)"
    )
    parser.add_argument("--dead", type=int, default=100, help="dead paths of each kind and way (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (default: %(default)s)")
    parser.add_argument(
        "--retransmission",
        type=float,
        default=RETRANSMISSION,
        metavar="SECONDS",
        help="pauses of the kernel's at most; 120 is what Linux before 6.15 does (default: %(default)s)",
    )
    given = parser.parse_args()
    began = time.perf_counter()
    wrong = _healthy(given.hours, given.seed, given.retransmission)
    if given.dead:
        _dead(given.dead, given.seed, given.retransmission)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
