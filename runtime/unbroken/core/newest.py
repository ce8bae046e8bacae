"""The newest image of what the user shows. It is worth something only while it is new: no journal keeps it."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["FRESH", "Image", "Newest"]

FRESH: Final = 2.0
"""Seconds for which an image that could not be sent at once is worth sending; Gemini takes one image a second."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One image.

    Attributes:
        data: as the application gave it, encoded.
        mime_type: how it is encoded, such as "image/jpeg".
    """

    data: bytes
    mime_type: str


class Newest:
    """The last image that was given and not sent; one that comes takes the place of the one before."""

    def __init__(self) -> None:
        self._image: Image | None = None
        self._came_at = 0.0

    def put(self, image: Image, now: float) -> None:
        """Takes an image.

        Args:
            image: the image.
            now: the present.
        """
        self._image, self._came_at = image, now

    def take(self, now: float) -> Image | None:
        """Returns what is to be sent now, once; None: nothing waits, or it is older than `FRESH`.

        Args:
            now: the present.
        """
        image, self._image = self._image, None
        return image if now - self._came_at <= FRESH else None

    def __repr__(self) -> str:
        return f"<Newest image of {len(self._image.data)} bytes>" if self._image is not None else "<Newest: no image>"
