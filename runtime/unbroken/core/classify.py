"""What a closure means: the first rule that matches names the fault. Rules are rows of data."""

from __future__ import annotations

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    id: str
