"""Structs as Python that a person can read and paste: what has its default value is left out."""

from __future__ import annotations

from typing import Final, cast

import msgspec

__all__ = ["spelled"]

_WIDTH: Final = 100


def spelled(value: object, *, indent: int = 0) -> str:
    """Returns the expression that makes a struct, a tuple of such, or anything else whose repr is one.

    Args:
        value: what to spell.
        indent: columns before it.
    """
    match value:
        case msgspec.Struct():
            parts = [
                f"{field.name}={spelled(getattr(value, field.name), indent=indent + 4)}"
                for field in msgspec.structs.fields(value)
                if field.required or getattr(value, field.name) != field.default
            ]
            return _call(type(value).__name__ + "(", parts, ")", indent)
        case tuple():
            parts = [spelled(item, indent=indent + 4) for item in cast("tuple[object, ...]", value)]
            return _call("(", parts, ",)" if len(parts) == 1 else ")", indent)
        case _:
            return repr(value)


def _call(begin: str, parts: list[str], end: str, indent: int) -> str:
    line = f"{begin}{', '.join(parts)}{end}"
    if indent + len(line) <= _WIDTH and "\n" not in line:
        return line
    margin = " " * (indent + 4)
    return f"{begin}\n" + "".join(f"{margin}{part},\n" for part in parts) + " " * indent + end.lstrip(",")
