"""Schedules of faults: the default one, one's own, and random ones from a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import msgspec

from unbroken.drill.run import Strike
from unbroken.errors import ConfigError
from unbroken.testing import faults

__all__ = ["BY_CHANCE", "DEFAULT", "TAIL", "check_end", "cuts", "default_seconds", "parse_strike", "random_schedule"]

TAIL = 8.0
"""Seconds that a drill goes on after its last strike, unless it is told how long to last."""

_QUOTA = "1011:You exceeded your current quota, please check your plan and billing details."
_NO_MODEL = "1008:models/{model} is not found for API version v1beta, or is not supported for bidiGenerateContent."
_HANDLE = "1007:Invalid session handle"

DEFAULT: tuple[Strike, ...] = (
    Strike(at=2.8, fault="1011"),
    Strike(at=5.0, fault="goaway:1s", name="goAway, 1 s ahead"),
    Strike(at=7.0, fault="1011@reply+0.4s", name="1011 while the model speaks"),
    Strike(at=10.8, fault="reset@user+0.4s", name="reset while the user speaks"),
    Strike(at=14.0, fault="fin", name="end of stream, no close frame"),
    Strike(at=16.0, fault="goaway:3s", name="goAway, 3 s ahead"),
    Strike(at=19.0, fault="goaway:3s@reply+0.2s", name="goAway while the model speaks"),
    Strike(at=22.8, fault="malformed", name="malformed message"),
    Strike(at=25.3, fault="reset@tool+0.2s", name="reset during a tool call"),
    Strike(at=28.4, fault=_HANDLE + "@setup", name="reset, then handle refused (1007)"),
    Strike(at=30.0, fault="silence", name="silence: half-open"),
    Strike(at=45.2, fault="no-reply", name="silent model", asks="Are you still there?", hush=(-1.5, 8.0)),
    Strike(at=54.0, fault="http-503@upgradex2", name="reset, then HTTP 503 twice"),
    Strike(at=56.0, fault="http-429:1", name="reset, then HTTP 429, Retry-After 1"),
    Strike(at=58.5, fault="1011@livex3", name="accepted, then 1011, thrice"),
    Strike(at=60.7, fault="stall-setup", name="reset, then no setupComplete"),
    Strike(at=69.0, fault=_NO_MODEL + "@setup", name="reset, then no such model (1008)"),
    Strike(at=71.0, fault=_QUOTA + "@setup", name="reset, then quota spent (1011)"),
)
"""Eighteen faults in a little more than a minute. ``{model}`` is the model of the moment."""

BY_CHANCE: tuple[Strike, ...] = (
    *DEFAULT,
    Strike(at=0.0, fault="1011@user+0.3s", name="1011 while the user speaks"),
    Strike(at=0.0, fault="reset"),
    Strike(at=0.0, fault="fin@reply+0.2s", name="end of stream while the model speaks"),
    Strike(at=0.0, fault="1000", name="1000 for no reason"),
    Strike(at=0.0, fault="1012:Service restart", name="1012, service restart"),
    Strike(at=0.0, fault="1011:Deadline expired before operation could complete.", name="1011, deadline expired"),
    Strike(at=0.0, fault="malformed:frame", name="malformed frame"),
    Strike(at=0.0, fault="stall-upgrade", name="reset, then no answer to the upgrade"),
    Strike(at=0.0, fault="no-reply", name="a turn without a reply"),
)
"""What a random schedule takes from."""

_COSTLY = {_QUOTA + "@setup", _NO_MODEL + "@setup", _HANDLE + "@setup"}
"""After each of these a model may be out for the rest of the drill."""

_LOSABLE = 3
"""So many models a drill's route has to lose."""

_HARMLESS = tuple(strike for strike in BY_CHANCE if strike.fault not in _COSTLY)

_LONGEST = 70.0
"""Seconds up to which one's own faults may be scheduled where no duration is given."""


def parse_strike(text: str) -> Strike:
    """Reads a fault in the language of `unbroken.testing.faults`, with its time last.

    ``1011@3s`` strikes three seconds into the drill. ``1011@reply@3s`` waits from then on for the model to speak; without a
    time, ``1011@reply`` waits from the beginning.

    Raises:
        ConfigError: it is not of that form, or there is no such fault; the text says what there is.
    """
    head, _, tail = text.strip().rpartition("@")
    if "@" in head and (timed := re.fullmatch(r"(\d+(?:\.\d+)?)s?", tail)):
        faults.parse(head)
        return Strike(fault=head, at=float(timed[1]))
    fault = faults.parse(text)
    if fault.when.seconds is None:
        if fault.when.stage is None and fault.when.messages is None:
            raise ConfigError(f"fault {text!r} does not say when it strikes; write it as in '{text.strip()}@3s'")
        return Strike(fault=text.strip(), at=0.0)
    if fault.times == faults.parse(head).times:
        return Strike(fault=head, at=fault.when.seconds)
    moment = "0s" if isinstance(fault.strike, faults.NoReply | faults.QuietAudio) else fault.when.stage or "live"
    again = f"{head}@{moment}x{fault.times or '*'}"
    return Strike(fault=again, at=fault.when.seconds, name=text.strip())


def random_schedule(seed: int, *, seconds: float) -> tuple[Strike, ...]:
    """Makes a schedule by chance; the same seed makes the same one.

    Args:
        seed: of the generator.
        seconds: how long the drill lasts.
    """
    chance = random.Random(seed)
    strikes: list[Strike] = []
    left = _LOSABLE
    at = chance.uniform(2.0, 5.0)
    while at < seconds - TAIL:
        strike = chance.choice(BY_CHANCE if left else _HARMLESS)
        left -= strike.fault in _COSTLY
        strikes.append(msgspec.structs.replace(strike, at=round(at, 2)))
        at += chance.uniform(2.0, 8.0)
    return tuple(strikes)


def cuts(seconds: float) -> tuple[Strike, ...]:
    """The schedule for a real service: the link is cut on this side, now and again."""
    return tuple(Strike(fault="cut", at=float(at)) for at in range(8, max(9, int(seconds - TAIL) + 1), 11))


def default_seconds(schedule: Iterable[Strike]) -> float:
    """How long a drill of this schedule lasts, where nobody says: until all has been struck and survived."""
    return min(_LONGEST, max((strike.at for strike in schedule), default=0.0)) + TAIL


def check_end(schedule: Iterable[Strike], *, seconds: float) -> None:
    """Refuses a schedule that goes beyond the drill's end.

    Raises:
        ConfigError: it does.
    """
    for strike in schedule:
        if strike.at >= seconds:
            raise ConfigError(
                f"the fault '{strike.fault}@{strike.at:g}s' is due after the drill's end at {seconds:g} s; "
                "give it an earlier time, or the drill a longer --duration"
            )
