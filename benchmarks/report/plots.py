"""Plots as inline SVG. Everything across is in per cent, so that a plot fits any width and its words keep their size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "Dots", "Linear", "Log", "Stack", "bars", "dots", "fitting", "plot", "round_up", "stacks"]

_ROW = 38
"""Height of a row: a line of words, and the marks below it."""

_WORDS = 13
_MARKS = 14
_AXIS = 24
_ACROSS, _DOWN = 0.7548776662466927, 0.5698402909980532
"""Steps that spread points evenly over a square: the powers of the plastic number."""

_MOST_DOTS = 400


@dataclass(frozen=True, kw_only=True)
class Linear:
    """An axis from zero.

    Attributes:
        most: what stands at its right end.
        unit: behind the figures of its ticks.
    """

    most: float
    unit: str

    def at(self, value: float) -> float:
        """Returns where a value stands, in per cent of the width."""
        return 100.0 * min(1.0, max(0.0, value / self.most)) if self.most > 0 else 0.0

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yields some round values: where they stand, and what they are."""
        step = _round_step(self.most / 4)
        number = 0
        while number * step <= self.most * 1.0001 and self.most > 0:
            yield self.at(number * step), f"{number * step:g} {self.unit}"
            number += 1


@dataclass(frozen=True, kw_only=True)
class Log:
    """An axis of milliseconds by powers of ten, with a place for 0 before it and one for "never" behind it.

    Attributes:
        least: the power of ten at its left end.
        most: the one at its right end.
        zero: 0 has a place.
        never: what never came has one.
    """

    least: int
    most: int
    zero: bool
    never: bool

    @classmethod
    def over(cls, values: Sequence[float], *, never: bool) -> Log:
        """Returns the axis on which values find their places; what is below a millisecond stands at its left end."""
        positive = [value for value in values if value > 0]
        least = max(0, math.floor(math.log10(min(positive)))) if positive else 0
        most = math.ceil(math.log10(max(positive))) if positive else 1
        return cls(least=least, most=max(most, least + 1), zero=len(positive) < len(values), never=never)

    @property
    def begin(self) -> float:
        """Where the powers of ten begin, in per cent."""
        return 13.0 if self.zero else 1.0

    @property
    def end(self) -> float:
        """Where they end."""
        return 81.0 if self.never else 99.0

    def at(self, value: float | None) -> float:
        """Returns where a value stands, in per cent of the width; None stands where "never" does."""
        if value is None:
            return 93.0
        if value <= 0:
            return 2.5
        part = (math.log10(value) - self.least) / (self.most - self.least)
        return self.begin + (self.end - self.begin) * min(1.0, max(0.0, part))

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yields the powers of ten, all or every second: where they stand, and what they are."""
        if self.zero:
            yield self.at(0.0), "0"
        for power in range(self.least, self.most + 1, 1 + (self.most - self.least) // 6):
            yield self.at(10.0**power), _power(power)
        if self.never:
            yield self.at(None), "never"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A row of parts, one behind the other.

    Attributes:
        name: at its left.
        parts: (class of its colour, value, what a pointer over it shows, what is written on it).
        right: at its right.
    """

    name: str
    parts: Sequence[tuple[str, float, str, str]]
    right: str


@dataclass(frozen=True, kw_only=True)
class Dots:
    """A row of single figures.

    Attributes:
        name: at its left.
        values: each a dot; None: it never came.
        p50: marked by a line; None: by none.
        p95: the same.
        right: at the row's right.
    """

    name: str
    values: Sequence[float | None]
    p50: float | None
    p95: float | None
    right: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of one figure.

    Attributes:
        name: at its left.
        value: how long the bar is.
        least: where its whisker begins.
        most: where that ends.
        right: at the row's right.
        colour: class of its colour.
        goal: where a mark says how long the bar should be at most; None: nowhere.
    """

    name: str
    value: float
    least: float
    most: float
    right: str
    colour: str = "bar"
    goal: float | None = None


def plot(marks: str, *, name: str, title: str, text: str, height: float) -> str:
    """Returns an SVG with what a screen reader says of it.

    Args:
        marks: what it shows.
        name: unique in the page.
        title: of it.
        text: what is to be seen.
        height: in CSS pixels; its width is that of what it stands in.
    """
    return (
        f'<svg class="plot" role="img" aria-labelledby="{name}-t {name}-d" width="100%" height="{height:g}">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(text)}</desc>{marks}</svg>'
    )


def stacks(rows: Sequence[Stack], *, axis: Linear, ticks: bool, name: str, title: str, text: str) -> str:
    """Returns rows of stacked parts; one that goes beyond the axis ends in a notch."""
    marks: list[str] = []
    bottom = _ROW * len(rows)
    if ticks:
        marks += _grid(axis, bottom)
    for index, row in enumerate(rows):
        top = _ROW * index
        marks.append(_words(row.name, row.right, top))
        total = 0.0
        for colour, value, told, written in row.parts:
            left = axis.at(total)
            total += value
            wide = axis.at(total) - left
            if wide <= 0:
                continue
            marks.append(
                f'<rect class="{colour} part" x="{left:.2f}%" y="{top + _WORDS + 5}" width="{wide:.2f}%" height="{_MARKS}">'
                f"<title>{escape(told)}</title></rect>"
            )
            if written and wide >= 5:
                middle = left + wide / 2
                marks.append(f'<text class="on {colour}-on" x="{middle:.2f}%" y="{top + 29}">{escape(written)}</text>')
        if total > axis.most * 1.0001:
            marks.append(_notch(top))
    return plot("".join(marks), name=name, title=title, text=text, height=bottom + (_AXIS if ticks else 0))


def dots(rows: Sequence[Dots], *, axis: Log, name: str, title: str, text: str) -> str:
    """Returns rows of dots with lines at the median and the 95th percentile."""
    bottom = _ROW * len(rows)
    marks = [*_grid(axis, bottom)]
    for index, row in enumerate(rows):
        top = _ROW * index
        marks.append(_words(row.name, row.right, top))
        middle = top + _WORDS + 5 + _MARKS / 2
        marks.append(f'<line class="rail" x1="0" x2="100%" y1="{middle:g}" y2="{middle:g}"/>')
        marks.append('<g class="dot">')
        for number, value in enumerate(row.values[:_MOST_DOTS]):
            shift = ((number * _DOWN) % 1 - 0.5) * (_MARKS - 4)
            side = ((number * _ACROSS) % 1 - 0.5) * (6 if value is None else 3 if value <= 0 else 0)
            kind = ' class="gone"' if value is None else ""
            marks.append(f'<circle{kind} cx="{axis.at(value) + side:.1f}%" cy="{middle + shift:.1f}" r="2.5"/>')
        marks.append("</g>")
        for kind, value in (("p95", row.p95), ("p50", row.p50)):
            if value is not None:
                at = axis.at(value)
                ends = f'y1="{middle - 9:g}" y2="{middle + 9:g}"'
                marks.append(f'<line class="{kind}" x1="{at:.2f}%" x2="{at:.2f}%" {ends}/>')
    return plot("".join(marks), name=name, title=title, text=text, height=bottom + _AXIS)


def bars(rows: Sequence[Bar], *, axis: Linear, name: str, title: str, text: str) -> str:
    """Returns rows of bars with whiskers from the lowest round to the highest."""
    bottom = _ROW * len(rows)
    marks = [*_grid(axis, bottom)]
    for index, row in enumerate(rows):
        top = _ROW * index
        y = top + _WORDS + 5
        marks.append(_words(row.name, row.right, top))
        marks.append(f'<rect class="{row.colour}" x="0" y="{y}" width="{axis.at(row.value):.2f}%" height="{_MARKS}"/>')
        middle = y + _MARKS / 2
        least, most = axis.at(row.least), axis.at(row.most)
        marks.append(
            f'<line class="whisker" x1="{least:.2f}%" x2="{most:.2f}%" y1="{middle}" y2="{middle}"/>'
            f'<line class="whisker" x1="{least:.2f}%" x2="{least:.2f}%" y1="{middle - 3}" y2="{middle + 3}"/>'
            f'<line class="whisker" x1="{most:.2f}%" x2="{most:.2f}%" y1="{middle - 3}" y2="{middle + 3}"/>'
        )
        if row.goal is not None and row.goal <= axis.most:
            at = axis.at(row.goal)
            marks.append(f'<line class="goal" x1="{at:.2f}%" x2="{at:.2f}%" y1="{y - 3}" y2="{y + _MARKS + 3}"/>')
        if row.value > axis.most * 1.0001:
            marks.append(_notch(top))
    return plot("".join(marks), name=name, title=title, text=text, height=bottom + _AXIS)


def round_up(value: float) -> float:
    """Returns the least round number that is not below a value."""
    return _round_step(value) if value > 0 else 1.0


def fitting(totals: Sequence[float]) -> float:
    """Returns how far an axis from zero should reach: to the longest, unless that would make the others too short to see."""
    known = sorted(total for total in totals if total > 0)
    if not known:
        return 1.0
    middle = known[(len(known) - 1) // 2]
    return round_up(min(known[-1], 6 * middle))


def _grid(axis: Linear | Log, bottom: float) -> Iterator[str]:
    for at, words in axis.ticks():
        place = "start" if at < 4 else "end" if at > 94 else "middle"
        yield (
            f'<line class="grid" x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="{bottom:g}"/>'
            f'<text class="tick" x="{at:.2f}%" y="{bottom + 15:g}" text-anchor="{place}">{escape(words)}</text>'
        )


def _words(left: str, right: str, top: float) -> str:
    y = top + _WORDS
    return (
        f'<text class="name" x="0" y="{y}">{escape(left)}</text>'
        f'<text class="right" x="100%" y="{y}" text-anchor="end">{escape(right)}</text>'
    )


def _notch(top: float) -> str:
    """A jagged end at the right: the bar goes on."""
    y = top + _WORDS + 4
    return (
        f'<svg x="100%" y="{y}" overflow="visible" width="1" height="{_MARKS + 2}">'
        f'<path class="notch" d="M-14 {_MARKS + 2} l4 -4 l-4 -4 l4 -4 l-4 -4 h5 l4 4 l-4 4 l4 4 l-4 4z"/></svg>'
    )


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next((factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.9999), 10 * power)


def _power(power: int) -> str:
    known: Mapping[int, str] = {3: "1 s", 4: "10 s", 5: "100 s"}
    return known.get(power, f"{10.0**power:g} ms")
