"""Imports all that the first provider of a process would import otherwise, on the event loop: google-genai takes a second or
more, and its HTTP client loads another part of itself when it is built. `unbroken.connect` imports this in a thread."""

from __future__ import annotations

import importlib
from contextlib import suppress

import unbroken_gemini.service as _service

__all__: list[str] = []

with suppress(ImportError):  # what it is called depends on google-genai's version
    importlib.import_module("httpcore2")

del _service
