"""What the model that serves in the end knows of the caller's speech, by a simulated service's report."""

from __future__ import annotations

from benchmarks.suite.conversations import Conversation
from unbroken.testing.intervals import Intervals
from unbroken.testing.report import Report

__all__ = ["SAMPLES_PER_MS", "lost_ms", "told_ms"]

SAMPLES_PER_MS = 16
"""Of the caller's voice."""


def lost_ms(conversation: Conversation, report: Report) -> float:
    """Returns the caller's speech that the context knows in no form, in milliseconds."""
    return (conversation.speech - Intervals(report.heard) - Intervals(report.told)).total / SAMPLES_PER_MS


def told_ms(conversation: Conversation, report: Report) -> float:
    """Returns the caller's speech that the context knows as a transcript only, in milliseconds."""
    return ((conversation.speech & Intervals(report.told)) - Intervals(report.heard)).total / SAMPLES_PER_MS
