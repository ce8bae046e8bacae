"""The command ``unbroken``: one file per subcommand, each with a function `add` that declares its arguments.

``add(subparsers)`` adds one parser and sets its default ``run`` to a function that takes the parsed arguments and returns
the exit status: 0 for success, 1 for a result that is bad news, 2 for a request that makes no sense. The first line of the
file's docstring, after the command's name and a colon, is what the list of commands says of it.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import get_data, iter_modules
from typing import Any, NoReturn, TypeAlias

from unbroken import __version__, registry
from unbroken.abc import Policy
from unbroken.errors import ConfigError

__all__ = ["Subparsers", "add_rules", "look_here", "main", "policy_named"]

Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"  # pyright: ignore[reportPrivateUsage]
"""What a command's `add` is given. argparse has no public name for it."""

_INTERRUPTED = 130
"""What a shell expects of a program that SIGINT ended: 128 + 2."""

_PIPE_CLOSED = 141
"""The same of one that SIGPIPE ended: 128 + 13."""


class _Parser(argparse.ArgumentParser):
    """A parser that answers a bad request with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` tells what there is\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        argv: the arguments after the program's name; None: those of the process.

    Returns:
        The exit status.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    _open_output()
    try:
        arguments = _parser(argv).parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse's way to say that all is said, and rich's that nobody reads any more
        if isinstance(stop.__context__, BrokenPipeError):
            return _PIPE_CLOSED
        return stop.code if isinstance(stop.code, int) else 0
    except ConfigError as error:
        print(f"unbroken: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # whoever read has had enough; what is still buffered would raise again at the interpreter's end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _open_output() -> None:
    """Makes sure that there is an output, and that what its encoding does not have is a "?" there and ends nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before the start, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Declares ``--rules``, which every command has that says what an end means; `unbroken.registry.rules` reads them."""
    parser.add_argument(
        "--rules",
        metavar="NAME",
        action="append",
        default=[],
        help="the application's own rows, by the name under which they are registered, read first; repeatable",
    )


def policy_named(name: str) -> Policy:
    """Returns the policy that a command line names; that of a module is looked for where the command is called, too.

    Args:
        name: under which it is registered, or ``module:object``.

    Raises:
        ConfigError: it is not there, or it is no policy.
    """
    if ":" in name:
        look_here()
    return registry.policy(name)


def look_here() -> None:
    """Has modules looked for in the working directory, too, from now on: a console script does not, and `python -m` does.

    What a command has imported from there may import more of it whenever it runs.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")


def _parser(argv: Sequence[str]) -> _Parser:
    parser = _Parser(
        prog="unbroken", description="Realtime voice sessions that survive their connections.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"unbroken {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in iter_modules(__path__):
        # only the command that is named is imported, so that the others cost nothing
        if argv[:1] == [module.name]:
            import_module(f"{__name__}.{module.name}").add(subparsers)
        else:
            subparsers.add_parser(module.name, help=_summary(module.name))
    return parser


def _summary(command: str) -> str:
    source = get_data(__name__, f"{command}.py") or b""
    first, _, _ = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
    return first.partition(": ")[2].rstrip(".")
