"""The errors of the live session: each is google-genai's for code written against that, and unbroken's for all other."""

from __future__ import annotations

from google.genai.errors import APIError

from unbroken.errors import ConfigError, SessionClosed, SessionEscalated
from unbroken.events import Escalated

__all__ = ["LiveClosed", "LiveEscalated", "LiveRefused"]

_UNKNOWN = 1006
"""The code that google-genai gives where a connection ended without one."""


class LiveRefused(ConfigError, ValueError):
    """What was asked for cannot work; the text names what would. google-genai raises ValueError for the like."""


class _Ended(APIError):
    """An ``APIError`` without its constructor: that calls the next base's with arguments of its own."""

    def __init__(self, code: int, text: str) -> None:
        Exception.__init__(self, text)
        self.code = code
        self.details = self.message = text
        self.status = None


class LiveClosed(_Ended, SessionClosed):
    """The session was closed by this side. google-genai raises an APIError with the close code, 1000."""

    def __init__(self) -> None:
        super().__init__(1000, "the session was closed; open a new one with unbroken_gemini.live_connect")


class LiveEscalated(_Ended, SessionEscalated):
    """The session was given up: what happened, and what a person can do about it.

    Args:
        story: the session's last event.

    Attributes:
        story: the session's last event, with fault, decisions and advice.
        code: the close code or HTTP status of the last link; 1006: it had none.
        details: how the last link ended, what was decided and why, and the advice.
    """

    def __init__(self, story: Escalated) -> None:
        ending = story.story[-1].closure.ending if story.story else None
        code = (ending.code or ending.http_status) if ending is not None else None
        told = [f"{ending.describe()}." if ending is not None else "", story.because]
        told.append(f"Advice: {story.advice}" if story.advice else "")
        super().__init__(code or _UNKNOWN, " ".join(filter(None, told)))
        self.story = story
