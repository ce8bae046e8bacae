"""Why two runs should not be compared, or only with care."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.view import View
from benchmarks.report.words import count, label
from benchmarks.results import Machine

__all__ = ["doubts_of"]

_NOISY = 0.1
_DOUBTFUL_SHARE = 0.1


def doubts_of(old: View, new: View) -> Iterator[str]:
    """Yields a sentence for each reason."""
    yield from _machines(old.results.machine, new.results.machine)
    for name, view in (("older", old), ("newer", new)):
        if view.results.quick:
            yield f"the {name} run was a quick one: its figures say little"
        if view.results.machine.noise > _NOISY:
            noise = 100 * view.results.machine.noise
            yield f"the {name} run's machine was busy: a fixed piece of work varied by {noise:.0f} %"
        if view.doubtful > _DOUBTFUL_SHARE * max(1, len(view.results.calls)):
            yield f"{count(view.doubtful, 'call')} of the {name} run are doubtful: the contender's loop was late"
    yield from _scenarios(old, new)
    yield from _contenders(old, new)


def _machines(old: Machine, new: Machine) -> Iterator[str]:
    for name in ("system", "processor", "cores", "memory_mib", "python"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield f"another machine: {name} was {was}, and is {now}"


def _scenarios(old: View, new: View) -> Iterator[str]:
    was = {row.name: row for row in old.results.scenarios}
    now = {row.name: row for row in new.results.scenarios}
    yield from _only("scenario", set(was), set(now))
    for name in was.keys() & now.keys():
        if (was[name].faults, was[name].rtt) != (now[name].faults, now[name].rtt):
            yield f"the scenario {name} is not what it was"


def _contenders(old: View, new: View) -> Iterator[str]:
    was = {label(one): one for one in old.contenders}
    now = {label(one): one for one in new.contenders}
    yield from _only("contender", set(was), set(now))
    for name in (name for name in now if name in was):
        packages = was[name].versions.keys() | now[name].versions.keys()
        others = sorted(p for p in packages if was[name].versions.get(p) != now[name].versions.get(p))
        if others:
            moved = (f"{p} {was[name].versions.get(p, 'none')} → {now[name].versions.get(p, 'none')}" for p in others)
            yield f"{name} has other versions: {', '.join(moved)}"


def _only(what: str, old: set[str], new: set[str]) -> Iterator[str]:
    for which, names in (("older", old - new), ("newer", new - old)):
        if names:
            yield f"only the {which} run has the {what}{'s' * (len(names) > 1)} {', '.join(sorted(names))}"
