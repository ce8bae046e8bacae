"""``unbroken bench``: run the benchmark suite from a checkout: reconnecting under injected faults, beside the peers."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import unbroken
from unbroken.cli import Subparsers
from unbroken.errors import ConfigError

__all__ = ["add"]

_SUITE = Path("benchmarks") / "__main__.py"


def add(subparsers: Subparsers) -> None:
    """Adds the command. Its arguments are the suite's own, which reads them."""
    parser = subparsers.add_parser(
        "bench",
        add_help=False,  # the suite has its own, with every option
        prefix_chars="\0",  # hence every argument is one for the suite
    )
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    sys.path.insert(0, str(_checkout()))
    try:
        suite: Any = importlib.import_module("benchmarks.__main__")
    except ModuleNotFoundError as missing:
        raise ConfigError(f"the suite needs {missing.name}: install the checkout's dependency group `dev`") from None
    status: int = suite.main(given.arguments)
    return status


def _checkout() -> Path:
    """Returns where the suite is: around the working directory, or where this package is installed from.

    Raises:
        ConfigError: it is in neither place.
    """
    here = Path.cwd()
    for place in (here, *here.parents, Path(unbroken.__file__).resolve().parents[2]):
        if (place / _SUITE).is_file():
            return place
    raise ConfigError(
        "the benchmark suite is no part of the installed package: call this in a checkout of unbroken, whose folder"
        " benchmarks has it, with its dependency group `bench` installed"
    )
