"""LiveKit Agents' realtime models that survive their connections.

::

    session = AgentSession(llm=unbroken_livekit.RealtimeModel("gemini-3.8-live"))

Importing it registers the plugin with LiveKit, as LiveKit's own do, so that workers preload it.
"""

from __future__ import annotations

import threading

from livekit.agents import Plugin

import unbroken
from unbroken_livekit.log import logger
from unbroken_livekit.model import RealtimeModel
from unbroken_livekit.session import RealtimeSession
from unbroken_livekit.wrapping import wrap

__all__ = ["RealtimeModel", "RealtimeSession", "wrap"]


class _UnbrokenPlugin(Plugin):
    def __init__(self) -> None:
        super().__init__(__name__, unbroken.__version__, __package__ or __name__, logger)


if threading.current_thread() is threading.main_thread():  # LiveKit refuses other threads, and an import must not fail there
    Plugin.register_plugin(_UnbrokenPlugin())
