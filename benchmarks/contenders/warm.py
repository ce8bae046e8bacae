"""google-genai loads much of itself with the first client of a process: here, before the call begins, for all alike."""

from __future__ import annotations

from google import genai

__all__ = ["warm"]


def warm() -> None:
    """Makes a client and forgets it. Contenders whose framework makes its client when it dials call this before."""
    genai.Client(api_key="none")
