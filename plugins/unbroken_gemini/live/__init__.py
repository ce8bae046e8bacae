"""google-genai's live session on top of an unbroken one: the same methods and messages, and no connection that ends.

`unbroken_gemini.live_connect` is the way in; docs/google-genai.md says what differs. asyncio only, as google-genai is.
"""

from __future__ import annotations

from unbroken_gemini.live.errors import LiveClosed, LiveEscalated, LiveRefused
from unbroken_gemini.live.opening import connect
from unbroken_gemini.live.session import LiveSession

__all__ = ["LiveClosed", "LiveEscalated", "LiveRefused", "LiveSession", "connect"]
