"""What is installed, by name: entry points are listed without importing them, and imported on use.

The groups are ``unbroken.providers``, ``unbroken.policies``, ``unbroken.simulators`` and ``unbroken.rules`` (a provider's
rows for `unbroken.core.classify`, found without the provider's SDK). A third party's plugin is found as ours are.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from unbroken.errors import ConfigError, MissingExtra, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["load", "names"]

_KINDS: Final = {
    "unbroken.policies": "policy",
    "unbroken.providers": "provider",
    "unbroken.rules": "provider with rules",
    "unbroken.simulators": "simulated service",
}
"""What an entry of a group is, as a person would say it."""

_EXTRAS: Final = {
    "google": "gemini",
    "livekit": "livekit",
    "numpy": "audio",
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
    try:
        return point.load()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            raise MissingExtra(f"{kind} {name!r}", package=package, extra=_EXTRAS[package]) from error
        raise ConfigError(f"{kind} {name!r} is registered as {point.value!r}, but {_lower(error)}") from error
    except AttributeError as error:
        raise ConfigError(f"{kind} {name!r} is registered as {point.value!r}, but {_lower(error)}") from error


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    """The listing reads every distribution's metadata, which takes milliseconds, so it is done once per process."""
    from importlib.metadata import entry_points  # a tenth of what `import unbroken` would take

    return {point.name: point for point in entry_points(group=group)}


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
