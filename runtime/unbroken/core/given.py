"""What an application gives to be told: checked before anything of it is queued."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from unbroken.errors import ConfigError
from unbroken.events import Turn

__all__ = ["check_text", "turns_of"]

_ROLES = ("user", "model", "tool")


def check_text(method: str, text: str, *, instead: str) -> None:
    """Refuses a text that no link could carry.

    Args:
        method: what it was given to.
        text: the text.
        instead: what to do where there is none.

    Raises:
        ConfigError: there is no text in it, or none that UTF-8 can carry.
    """
    if not text:
        raise ConfigError(f"{method} needs at least one character; {instead}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{method} needs text that UTF-8 can carry; this has half a surrogate pair in it") from None


def turns_of(method: str, turns: Iterable[object]) -> tuple[Turn, ...]:
    """Returns turns in words, as they were given.

    Args:
        method: what they were given to.
        turns: the turns, the oldest first.

    Raises:
        ConfigError: one of them is no turn, or has no text in it, or none that UTF-8 can carry.
    """
    given = tuple(cast("Iterable[Any]", turns))
    for turn in given:
        if not isinstance(turn, Turn) or turn.role not in _ROLES:
            raise ConfigError(f"{method} needs turns such as unbroken.Turn(role='user', text='…'), not {turn!r}")
        check_text(method, turn.text, instead="leave a turn without words out")
    return given
