"""What is installed, by name: entry points are listed without importing them, and imported on use.

The groups are ``unbroken.providers``, ``unbroken.policies``, ``unbroken.simulators`` and ``unbroken.rules`` (rows for
`unbroken.core.classify`: a provider's, found without its SDK, or anybody's). A third party's plugin is found as ours are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from unbroken.abc import Policy
from unbroken.core.classify import Rule
from unbroken.errors import ConfigError, MissingExtra, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["load", "names", "policy", "providers_rules", "rules"]

_KINDS: Final = {
    "unbroken.policies": "policy",
    "unbroken.providers": "provider",
    "unbroken.rules": "set of rules",
    "unbroken.simulators": "simulated service",
}
"""What an entry of a group is, as a person would say it."""

_EXTRAS: Final = {
    "google": "gemini",
    "hypothesis": "testing",
    "livekit": "livekit",
    "numpy": "audio",
    "opentelemetry": "otel",
    "soundfile": "audio",
    "soxr": "audio",
    "trio": "trio",
    "trustme": "testing",
}
"""Which extra of the distribution ``unbroken`` brings an optional package."""


def names(group: str) -> tuple[str, ...]:
    """Lists what is registered, sorted, without importing any of it.

    Args:
        group: the entry points' group.
    """
    return tuple(sorted(_points(group)))


def load(group: str, name: str) -> Any:
    """Imports what an entry point names.

    Args:
        group: the entry points' group.
        name: the entry's name.

    Raises:
        UnknownName: nothing of that name is registered; the text names what is.
        MissingExtra: it needs an optional package that is not installed.
        ConfigError: it is registered, but what it names does not exist.
    """
    kind = _KINDS.get(group, f"entry of {group}")
    points = _points(group)
    if name not in points:
        raise UnknownName(kind, name, points)
    point = points[name]
    return _import(point, f"{kind} {name!r}", f"is registered as {point.value!r}, but")


def policy(given: object) -> Policy:
    """Returns a policy, ready to decide.

    Args:
        given: the policy itself, its class, the name under which it is registered in ``unbroken.policies``, or
            "module:object".

    Raises:
        ConfigError: it is not there, or it is no policy.
    """
    found = _policy_at(given) if isinstance(given, str) else given
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise ConfigError(f"{found.__name__} cannot be made without arguments; give an object of it: {error}") from error
    if not isinstance(found, Policy):
        raise ConfigError(f"{found!r} is no policy; a policy has a method decide(fault, situation) that returns a Decision")
    return found


def rules(given: str | Iterable[Rule | str]) -> tuple[Rule, ...]:
    """Returns rows of classification, in order.

    Args:
        given: rows, names of sets that are registered in ``unbroken.rules``, or both; or one such name.

    Raises:
        ConfigError: a set is not there, or something is no row.
    """
    parts = [given] if isinstance(given, str) else given
    rows: list[Rule] = []
    for part in parts:
        rows.extend(load("unbroken.rules", part) if isinstance(part, str) else [part])
    for row in rows:
        if not isinstance(row, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{row!r} is no rule; rules are unbroken.Rule objects, or names of the group unbroken.rules")
    return tuple(rows)


def providers_rules() -> dict[str, tuple[Rule, ...]]:
    """Returns the rows of each installed provider, by its name; those that others registered are used where they are named.

    A provider registers its rows under its own name, so that they are found without its SDK.
    """
    providers = names("unbroken.providers")
    return {name: rules(name) for name in names("unbroken.rules") if name in providers}


def _policy_at(place: str) -> Any:
    if ":" not in place:
        return load("unbroken.policies", place)
    from importlib.metadata import EntryPoint

    return _import(EntryPoint(name=place, value=place, group="unbroken.policies"), f"policy {place!r}", "is not there:")


def _import(point: EntryPoint, what: str, but: str) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            raise MissingExtra(what, package=package, extra=_EXTRAS[package]) from error
        raise ConfigError(f"{what} {but} {_lower(error)}") from error
    except AttributeError as error:
        raise ConfigError(f"{what} {but} {_lower(error)}") from error


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    """The listing reads every distribution's metadata, which takes milliseconds, so it is done once per process."""
    from importlib.metadata import entry_points  # a tenth of what `import unbroken` would take

    return {point.name: point for point in entry_points(group=group)}


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
