"""Realtime voice sessions that survive their connections.

A session is carried by one WebSocket after another, on one model after another, and the person on the call does not notice::

    async with unbroken.connect("gemini/gemini-3.8-live") as session:
        session.send_audio(pcm)
        async for event in session:
            match event:
                case unbroken.Audio(pcm=pcm):
                    speaker.write(pcm)
                case unbroken.OutageBegan(because=because):
                    print(because)
"""

from unbroken.abc import Observer, Policy
from unbroken.config import Deadlines, Route, Settings, Target, Wording
from unbroken.core.classify import Rule
from unbroken.core.fleet import Fleet
from unbroken.core.outbox import OutboxFull
from unbroken.decisions import Closure, Decision, Escalate, FailOver, Fault, Finish, Retry, Situation, TargetState
from unbroken.errors import ConfigError, SessionClosed, SessionEscalated, UnbrokenError
from unbroken.events import (
    Audio,
    AudioLost,
    Connected,
    Escalated,
    Event,
    Interrupted,
    ModelTranscript,
    OutageBegan,
    Recovered,
    ReplyBegan,
    ReplyEnded,
    Steps,
    Text,
    ToolCall,
    ToolCallCancelled,
    Turn,
    Usage,
    UserActivity,
    UserTranscript,
    Waiting,
)
from unbroken.runtime import Runtime, connect
from unbroken.session import Session

__all__ = [
    "Audio",
    "AudioLost",
    "Closure",
    "ConfigError",
    "Connected",
    "Deadlines",
    "Decision",
    "Escalate",
    "Escalated",
    "Event",
    "FailOver",
    "Fault",
    "Finish",
    "Fleet",
    "Interrupted",
    "ModelTranscript",
    "Observer",
    "OutageBegan",
    "OutboxFull",
    "Policy",
    "Recovered",
    "ReplyBegan",
    "ReplyEnded",
    "Retry",
    "Route",
    "Rule",
    "Runtime",
    "Session",
    "SessionClosed",
    "SessionEscalated",
    "Settings",
    "Situation",
    "Steps",
    "Target",
    "TargetState",
    "Text",
    "ToolCall",
    "ToolCallCancelled",
    "Turn",
    "UnbrokenError",
    "Usage",
    "UserActivity",
    "UserTranscript",
    "Waiting",
    "Wording",
    "connect",
]

__version__ = "0.1.0"
