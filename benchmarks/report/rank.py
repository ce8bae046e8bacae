"""Rank tests: whether two sets of figures differ by more than chance, without a word on how such figures are spread.

Mann and Whitney's test (1947), exact where few figures are compared, with the variance of ties; van Elteren's (1960) over
several pairs of sets; Holm's correction (1979) for many tests at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Final

__all__ = ["holm", "least_p", "mann_whitney", "over_strata"]

_MOST_ORDERS: Final = 13_000
"""Up to so many orders are all looked at: 8 figures against 8; beyond, the normal approximation is good."""


def mann_whitney(old: Sequence[float], new: Sequence[float]) -> float:
    """Returns how probable such a difference is, or a larger one, by chance alone (two-sided); 1 where a set is empty."""
    deviation, variance = _deviation(old, new)
    if variance == 0:
        return 1.0
    orders = math.comb(len(old) + len(new), len(old))
    return _exact(old, new, deviation) if orders <= _MOST_ORDERS else _normal(deviation, variance)


def over_strata(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Returns the same for several pairs of sets at once, each compared in itself only."""
    found = [_deviation(old, new) for old, new in pairs]
    sizes = [len(old) + len(new) + 1 for old, new in pairs]
    deviation = sum(one / size for (one, _), size in zip(found, sizes, strict=True))
    variance = sum(one / size**2 for (_, one), size in zip(found, sizes, strict=True))
    return 1.0 if variance == 0 else min(1.0, math.erfc(abs(deviation) / math.sqrt(2 * variance)))


def holm(found: Sequence[float]) -> list[float]:
    """Returns probabilities corrected for their number, in the same order."""
    corrected = [1.0] * len(found)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(found)), key=found.__getitem__)):
        highest = max(highest, min(1.0, found[index] * (len(found) - place)))
        corrected[index] = highest
    return corrected


def least_p(old: int, new: int) -> float:
    """Returns the least that `mann_whitney` can come to with so many figures: no difference is clearer than a full one."""
    return min(1.0, 2 / math.comb(old + new, old))


def _deviation(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Returns by how much the new ranks' sum exceeds what chance lets expect, and its variance, ties considered."""
    n, m = len(old), len(new)
    ranks = _ranks([*old, *new])
    total = n + m
    if not n or not m or total < 2:
        return 0.0, 0.0
    ties = sum(size**3 - size for size in Counter(ranks).values())
    return sum(ranks[n:]) - m * (total + 1) / 2, n * m / 12 * (total + 1 - ties / (total * (total - 1)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Returns each value's rank from 1, equal ones in the middle of theirs."""
    counted = Counter(values)
    first: dict[float, float] = {}
    below = 0
    for value in sorted(counted):
        first[value] = below + (counted[value] + 1) / 2
        below += counted[value]
    return [first[value] for value in values]


def _exact(old: Sequence[float], new: Sequence[float], deviation: float) -> float:
    ranks = _ranks([*old, *new])
    middle = len(new) * (len(ranks) + 1) / 2
    sums = [abs(sum(chosen) - middle) for chosen in combinations(ranks, len(new))]
    return sum(one >= abs(deviation) - 1e-9 for one in sums) / len(sums)


def _normal(deviation: float, variance: float) -> float:
    corrected = max(0.0, abs(deviation) - 0.5)  # ranks are whole or half
    return min(1.0, math.erfc(corrected / math.sqrt(2 * variance)))
