"""What the command lines of the benchmarks share: a bad request is answered by one line, before anything is measured."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["INTERRUPTED", "Parser", "count", "counts", "ended", "kept", "target"]

INTERRUPTED = 130
"""What a shell expects of a program that SIGINT ended."""

_PIPE_CLOSED = 141
"""The same of one that SIGPIPE ended."""


class Parser(argparse.ArgumentParser):
    """A parser that answers a bad request with one line, and guesses no options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and ends with 2."""
        self.exit(2, f"{self.prog}: {message}; --help tells what there is\n")


def count(text: str) -> int:
    """Returns a number of 1 or more."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return number


def counts(text: str) -> list[int]:
    """Returns several of them, which are given with commas between."""
    return [count(one.strip()) for one in text.split(",")]


def target(text: str) -> Path:
    """Returns a file that can be written, as far as can be said now: nobody wants to learn it after an hour."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}; make it first, or name another")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written; name a file in a folder that can")
    return path


def kept(path: Path, data: bytes) -> None:
    """Writes results; where that fails after all, into a file of the system's for such."""
    try:
        path.write_bytes(data)
    except OSError as error:
        with tempfile.NamedTemporaryFile(prefix=f"{path.stem}-", suffix=path.suffix, delete=False) as instead:
            instead.write(data)
        print(f"{path} cannot be written ({error.strerror}); the results are in {instead.name}", file=sys.stderr)


def ended(run: Callable[[], int]) -> int:
    """Runs a command to its end. Returns the exit status, also where somebody has had enough of it or of its output."""
    try:
        status = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # what is still buffered would raise again at the interpreter's end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return status
