"""What a drill is going to be: who speaks, what strikes when, and where it all happens."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from unbroken.drill.audio import RATE, SAMPLE_BYTES, Speech
from unbroken.drill.run import FRAME_MS, Strike, speaks_at
from unbroken.drill.schedule import DEFAULT, check_end, cuts, default_seconds, parse_strike, random_schedule
from unbroken.errors import ConfigError
from unbroken.testing.stamps import stamp

__all__ = ["SETTLE", "Plan", "make_plan"]

SETTLE = 20.0
"""Seconds of silence in which what is open at the end may end."""

_SHORTEST = 1.0
_RANDOM_SECONDS = 60.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A drill that can be run.

    Attributes:
        speech: what the caller says.
        schedule: what strikes, in the order in which it is due.
        seconds: how long the caller speaks.
        models: of the route, best first; empty: the service's own choice.
        provider: on this provider's real service; None: simulated.
        seed: of everything that is left to chance; None: nothing is.
        harsh: the simulated service has every known pitfall.
    """

    speech: Speech
    schedule: tuple[Strike, ...]
    seconds: float
    models: tuple[str, ...] = ()
    provider: str | None = None
    seed: int | None = None
    harsh: bool = False

    def pcm(self) -> bytes:
        """What the caller says and the silence after it, s16le at 16 kHz, every sample carrying its position."""
        pcm = self.speech.for_seconds(self.seconds)
        for strike in self.schedule:
            if strike.hush is not None:
                pcm = _hushed(pcm, after=strike.at + strike.hush[0], until=strike.at + strike.hush[1])
        return stamp(pcm + bytes(round(SETTLE * RATE) * SAMPLE_BYTES))


def _hushed(pcm: bytes, *, after: float, until: float) -> bytes:
    """Returns what the caller says, without anything that they begin to say within a time (seconds)."""
    speaks = speaks_at(pcm)
    quiet = (number * FRAME_MS / 1000 for number, loud in enumerate(speaks) if not loud)
    start = next((at for at in quiet if at >= after), until)
    begin, end = (min(len(pcm), round(at * RATE) * SAMPLE_BYTES) for at in (start, until))
    return pcm[:begin] + bytes(max(0, end - begin)) + pcm[max(begin, end) :]


def make_plan(
    *,
    speech: Speech,
    faults: Sequence[str] = (),
    seed: int | None = None,
    seconds: float | None = None,
    models: Sequence[str] = (),
    provider: str | None = None,
    harsh: bool = False,
) -> Plan:
    """Makes a plan of what was asked for on the command line.

    Args:
        speech: what the caller says.
        faults: one's own schedule, as ``FAULT@TIME``; empty: the default one, or a random one with a seed.
        seed: of a random schedule.
        seconds: how long the caller speaks; None: until all has been struck and survived.
        models: of the route.
        provider: run on the real service, where nothing but this side's cutting the link can strike.
        harsh: see `Plan`.

    Raises:
        ConfigError: it does not fit together; the text says what would.
    """
    if seconds is not None and seconds < _SHORTEST:
        raise ConfigError(f"a drill lasts at least {_SHORTEST:g} s; got --duration {seconds:g}")
    if faults and seed is not None:
        raise ConfigError("--seed makes a random schedule and --fault one's own; give one of them")
    if provider is not None and (faults or seed is not None or harsh):
        raise ConfigError(
            "on a real service only the link can be cut, on this side: leave --fault, --seed and --harsh out with --provider"
        )
    if faults:
        schedule = tuple(sorted((parse_strike(text) for text in faults), key=lambda strike: strike.at))
    elif provider is not None:
        schedule = cuts(seconds if seconds is not None else _RANDOM_SECONDS)
    elif seed is not None:
        schedule = random_schedule(seed, seconds=seconds if seconds is not None else _RANDOM_SECONDS)
    elif seconds is not None:
        schedule = tuple(strike for strike in DEFAULT if strike.at < seconds)
    else:
        schedule = DEFAULT
    lasts = seconds if seconds is not None else default_seconds(schedule)
    check_end(schedule, seconds=lasts)
    return Plan(
        speech=speech,
        schedule=schedule,
        seconds=lasts,
        models=tuple(models),
        provider=provider,
        seed=seed,
        harsh=harsh,
    )
