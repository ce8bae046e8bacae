"""Restarts what crashes, within an intensity."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import msgspec

from unbroken.errors import UnbrokenError

__all__ = ["Intensity", "RestartsExhausted", "supervise"]


class Intensity(msgspec.Struct, frozen=True):
    """How many crashes are borne, as Erlang/OTP's supervisors count them.

    Attributes:
        restarts: crashes within `period` that are answered by a restart; one more is given up.
        period: seconds.
    """

    restarts: int = 3
    period: float = 5.0


class RestartsExhausted(UnbrokenError):
    """What was supervised crashed too often. Its last crash is the cause of this exception."""


async def supervise(
    run: Callable[[], Awaitable[None]],
    *,
    name: str,
    intensity: Intensity,
    on_crash: Callable[[Exception, int], None],
) -> None:
    """Runs `run`, and again each time it raises, until it returns. Cancellation passes through.

    Args:
        run: the work; called again for each restart, so its state has to live elsewhere.
        name: of the work, for people.
        intensity: how many crashes are borne.
        on_crash: told of each crash and of its number, from 1, before the restart.

    Raises:
        RestartsExhausted: it crashed more than `intensity.restarts` times within `intensity.period`.
    """
    crashes: deque[float] = deque(maxlen=intensity.restarts + 1)
    count = 0
    while True:
        try:
            return await run()
        except Exception as error:  # because any bug in the work is what a supervisor is for
            count += 1
            now = anyio.current_time()
            crashes.append(now)
            on_crash(error, count)
            if len(crashes) > intensity.restarts and now - crashes[0] <= intensity.period:
                raise RestartsExhausted(
                    f"{name} crashed {len(crashes)} times within {intensity.period:g} s, last by {error!r}"
                ) from error
        # A crash that never waited would otherwise be restarted without a turn of the loop.
        await anyio.lowlevel.checkpoint()
