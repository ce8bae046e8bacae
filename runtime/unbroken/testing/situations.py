"""Questions to policies, made up by hypothesis: faults, situations, and services that fail in one way or another.

Each function returns a strategy. What they make shrinks towards the plainest question: a route of one, everything at its
default. Needs hypothesis (the extra ``testing``).
"""

from __future__ import annotations

from functools import cache
from typing import Final

from hypothesis import strategies as st

from unbroken.decisions import ACTIONS, FAULTS, PHASES, Breaker, Carry, Fault, FaultKind, Situation, TargetState
from unbroken.testing.plays import End, Scene

__all__ = ["ends", "faults", "randoms", "scenes", "situations"]

_CARRIES: Final[tuple[Carry, ...]] = ("handle", "history", "nothing")
_BREAKERS: Final[tuple[Breaker, ...]] = ("closed", "open", "half-open")
_SECONDS: Final = st.floats(0.0, 200.0)


def randoms() -> st.SearchStrategy[float]:
    """Numbers as `Situation.random` has them: from 0 to 1, 1 excluded."""
    return st.floats(0.0, 1.0, exclude_max=True)


def faults(*kinds: FaultKind) -> st.SearchStrategy[Fault]:
    """Faults, as rules may name them.

    Args:
        kinds: of these kinds only; none: of every kind.
    """
    return st.builds(
        Fault,
        kind=st.sampled_from(kinds or FAULTS),
        rule=st.just("a-rule"),
        action=st.none() | st.sampled_from(ACTIONS),
        carry=st.none() | st.sampled_from(_CARRIES),
        drop_media=st.none() | st.booleans(),
        advice=st.sampled_from(("", "Do this.")),
        retry_after=st.none() | st.just(0.0) | _SECONDS,
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Situations of every kind, also such as a session is hardly ever in."""
    count = draw(st.integers(1, 4))
    history = draw(st.sampled_from((0, 2_000, 200_000)))
    return Situation(
        now=draw(_SECONDS),
        targets=tuple(draw(_targets(index)) for index in range(count)),
        current=draw(st.integers(0, count - 1)),
        phase=draw(st.sampled_from(("live", *PHASES))),
        age=draw(_SECONDS),
        unlived=draw(st.integers(0, 30)),
        attempt=draw(st.integers(1, 30)),
        outage_age=draw(_SECONDS),
        patience_left=draw(st.sampled_from((60.0, 0.0)) | _SECONDS),
        attempts_left=draw(st.integers(0, 20)),
        recoveries_left=draw(st.integers(0, 3)),
        retries_left=draw(st.integers(0, 100)),
        has_handle=draw(st.booleans()),
        has_history=history > 0,
        history_tokens=history,
        handle_failures=draw(st.integers(0, 10)),
        useful=draw(st.booleans()),
        previous_unconfirmed=draw(st.booleans()),
        random=draw(randoms()),
    )


@cache
def _targets(index: int) -> st.SearchStrategy[TargetState]:
    return st.builds(
        TargetState,
        name=st.just(f"p/m{index}"),
        index=st.just(index),
        quota_group=st.sampled_from(("mine", "yours")),
        credentials=st.sampled_from(("mine", "yours")),
        endpoint=st.just("one.example"),
        context_tokens=st.none() | st.sampled_from((32_000, 1_000_000)),
        failures=st.integers(0, 30),
        breaker=st.sampled_from(_BREAKERS),
        tried=st.integers(0, 30),
        usable_after=_SECONDS,
        backlog=st.just(0.0) | _SECONDS,
        ruled_out=st.sampled_from(("", "Its model is not served here.")),
        unfit=st.sampled_from(("", "It has no tools.")),
    )


def ends(*kinds: FaultKind) -> st.SearchStrategy[End]:
    """Ways in which a service ends a link: at once, after a while, or after a healthy stretch.

    Args:
        kinds: by faults of these kinds only; none: of every kind.
    """
    return st.builds(
        End,
        fault=faults(*kinds),
        phase=st.sampled_from(("live", "setup", "upgrade", "dial")),
        age=st.sampled_from((0.01, 1.0, 15.0)),
        useful=st.booleans(),
        confirmed=st.booleans(),
    )


def scenes(*kinds: FaultKind) -> st.SearchStrategy[Scene]:
    """Services that end every link in the same way, or in up to four ways in turn, met by sessions of all sorts.

    Args:
        kinds: by faults of these kinds only; none: of every kind but ``closed``.
    """
    chosen = kinds or tuple(kind for kind in FAULTS if kind != "closed")
    return st.builds(
        Scene,
        service=st.lists(ends(*chosen), min_size=1, max_size=4).map(tuple),
        targets=st.integers(1, 3),
        handles=st.booleans(),
        randoms=st.lists(randoms(), min_size=1, max_size=8).map(tuple),
    )
