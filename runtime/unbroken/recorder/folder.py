"""Where a runtime leaves the recordings of the sessions that were given up."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Final

from unbroken.recorder.recording import Recording

__all__ = ["Folder", "file_name"]

logger = logging.getLogger("unbroken")

PER_MINUTE: Final = 20
"""Files in any minute. An outage that ends a thousand sessions at once is told by twenty, and every one that is written
holds up all sessions of the process for some milliseconds."""


class Folder:
    """A folder for recordings, made when the first one comes. What cannot be written is logged, and ends no call.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._written: deque[float] = deque(maxlen=PER_MINUTE)
        self._full = False

    def __repr__(self) -> str:
        return f"<Folder {str(self.path)!r}>"

    def keep(self, recording: Recording, *, now: float, written: datetime) -> Path | None:
        """Writes a recording.

        Args:
            recording: of a session that was given up.
            now: the present, on the session's clock.
            written: the present, on the wall.

        Returns:
            The file; None: there is none, and the log says why.
        """
        if len(self._written) == PER_MINUTE and now - self._written[0] < 60.0:
            if not self._full:
                logger.warning("%d recordings are enough for a minute; none is written for a while", PER_MINUTE)
            self._full = True
            return None
        self._full = False
        path = self.path / file_name(recording.session, written)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            recording.dump(path, now=now, written=written)
        except Exception as error:  # because a full disk, or a policy's odd answer in the recording, must not end a call
            logger.warning("session %s: no recording in %s: %r", recording.session, self.path, error)
            return None
        self._written.append(now)
        logger.warning("session %s was given up; `unbroken replay %s` shows how it came to that", recording.session, path)
        return path


def file_name(session: str, written: datetime) -> str:
    """Returns a name for a recording's file, made of session and time: ``caller-7-20261122-193807-123.jsonl``.

    Args:
        session: the session's name; what has no place in a file's name becomes "_".
        written: the time on the wall.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", session)[:80].lstrip(".-") or "_"
    return f"{safe}-{written:%Y%m%d-%H%M%S}-{written.microsecond // 1000:03}.jsonl"
