"""Gemini Live for unbroken: the Gemini API and Vertex AI. Importing this loads nothing of google-genai; a provider does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbroken.errors import MissingExtra
from unbroken_gemini.targets import target

if TYPE_CHECKING:
    from unbroken.config import Target
    from unbroken_gemini.service import GeminiProvider

__all__ = ["provider", "target"]


def provider(target: Target, *, config: Any = None) -> GeminiProvider:
    """Builds the provider of a target; the entry point ``gemini`` of the group ``unbroken.providers``.

    Args:
        target: where to go; see `unbroken_gemini.target`.
        config: google-genai's ``LiveConnectConfig`` or its dict for targets without their own; None: defaults.

    Raises:
        MissingExtra: google-genai is not installed.
        UnknownName: the model is not in the catalog, and the target does not say ``known=False``.
        ConfigError: there are no credentials, or google-genai refuses the configuration.
    """
    try:
        import google.genai as _installed
    except ModuleNotFoundError as error:
        if error.name not in ("google", "google.genai"):
            raise
        raise MissingExtra("the Gemini provider", package="google-genai", extra="gemini") from None
    del _installed
    from unbroken_gemini.service import GeminiProvider

    return GeminiProvider(target, config=config)
