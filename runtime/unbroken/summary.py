"""The application's own summary of what there is no room for: called here, so that nothing it does can end a session."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from unbroken.core.history_bound import Summary
from unbroken.events import Turn

__all__ = ["GuardedSummary"]

logger = logging.getLogger("unbroken")


class GuardedSummary:
    """Calls a summary, and does without one where it fails or returns what no link could carry. That is logged once.

    Args:
        name: the session's name.
        summary: the application's.
    """

    def __init__(self, name: str, summary: Summary) -> None:
        self._name = name
        self._summary = summary
        self._said = False

    def __repr__(self) -> str:
        return f"<GuardedSummary of {self._name!r}>"

    def __call__(self, turns: Sequence[Turn]) -> str:
        """Returns the summary of some turns; "": there is none."""
        try:
            text = cast("object", self._summary(turns))
        except Exception as failed:  # because the application's function must not end its session in an outage
            self._say(f"failed with {type(failed).__name__}")
            return ""
        if not isinstance(text, str):
            self._say(f"returned {type(text).__name__} in place of a text")
            return ""
        try:
            text.encode()
        except UnicodeEncodeError:
            self._say("returned half a surrogate pair, which UTF-8 cannot carry")
            return ""
        return text

    def _say(self, what: str) -> None:
        if not self._said:
            self._said = True
            logger.error("%s: the summary %s; the history goes without one (this is said once)", self._name, what)
