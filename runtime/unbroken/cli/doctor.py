"""``unbroken doctor``: check the environment and every target of a route before production does."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import anyio
import msgspec
from rich.console import Console

from unbroken import registry
from unbroken.cli import Subparsers, add_rules, look_here
from unbroken.config import Target
from unbroken.doctor import Report, examine
from unbroken.doctor.tables import report_tables
from unbroken.errors import ConfigError, UnknownName
from unbroken.testing.service import SimulatedService, serve
from unbroken.testing.simulator import SimulatorFactory

__all__ = ["add"]

_EPILOG = """\
A TARGET is provider/model, or a model's name; or MODULE:NAME, your application's own route: a target, several, or a function
that returns them. --config takes MODULE:NAME likewise. One session is opened to each target, and closed again.

examples:
  unbroken doctor gemini/gemini-3.8-live gemini/gemini-3.1-flash-live-preview --config live.json --speak
  unbroken doctor gemini-live-2.5-flash-native-audio --vertexai --project my-project --location us-central1
  unbroken doctor myapp.voice:ROUTE --config myapp.voice:CONFIG --json
  unbroken doctor gemini-3.8-live --simulated --fault '1011:Internal error encountered.@setupx*'

Exit status: 0 where calls work, warnings or not; 1 where calls would break; 2 where what was asked for makes no sense.
"""

_OPTIONS: Final = ("vertexai", "project", "location")
"""What may be said of the targets on the command line, by the names of the provider's own options."""

_NAMED: Final = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)")

_WIDTH: Final = 120
"""Columns of what is written to a file or a pipe."""


def add(subparsers: Subparsers) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check the environment and every target of a route before production does",
        description="Checks the environment and every target of a route before production does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("route", metavar="TARGET", nargs="+", help="where calls may go, best first")
    parser.add_argument("--config", metavar="FILE", help="the sessions' configuration: a JSON file, or MODULE:NAME")
    add_rules(parser)
    parser.add_argument("--vertexai", action="store_true", help="the targets are on Vertex AI")
    parser.add_argument("--project", metavar="ID", help="of Vertex AI (default: GOOGLE_CLOUD_PROJECT)")
    parser.add_argument("--location", metavar="NAME", help="of Vertex AI (default: GOOGLE_CLOUD_LOCATION, else global)")
    parser.add_argument("--speak", action="store_true", help="ask each model for one reply")
    parser.add_argument("--offline", action="store_true", help="ask nobody: only what can be known here")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=60.0, help="for each target (default: 60)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--simulated", action="store_true", help="on a simulated service, which needs no key")
    parser.add_argument(
        "--fault",
        metavar="FAULT",
        action="append",
        default=[],
        help="what strikes there; repeatable; see `unbroken simulate --help`",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.fault and not arguments.simulated:
        raise ConfigError("--fault strikes a simulated service only: give --simulated too")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    route = [target for text in arguments.route for target in _targets(text, arguments)]
    look = partial(_examine, route, _config(arguments.config), arguments)
    with _quiet():
        if arguments.json:
            report = anyio.run(look)
            print(msgspec.json.format(msgspec.json.encode(_plain(report)), indent=2).decode())
        else:
            with console.status(f"examining {route[0].name if len(route) == 1 else f'{len(route)} targets'}"):
                report = anyio.run(look)
            console.print(report_tables(report))
    return 1 if report.verdict == "problem" else 0


async def _examine(route: Sequence[Target], config: Any, arguments: argparse.Namespace) -> Report:
    async with AsyncExitStack() as services:
        if arguments.simulated:
            served: dict[str, SimulatedService] = {}
            for name in dict.fromkeys(target.provider for target in route):
                factory: SimulatorFactory = registry.load("unbroken.simulators", name)
                served[name] = await services.enter_async_context(serve(factory(), faults=arguments.fault))
            route = [served[target.provider].target(target.model, **target.options) for target in route]
        return await examine(
            route,
            config=config,
            rules=arguments.rules,
            online=not arguments.offline,
            speak=arguments.speak,
            timeout=arguments.timeout,
        )


def _plain(report: Report) -> dict[str, Any]:
    """Returns what JSON says: the report and its verdicts, which follow from it."""
    plain: dict[str, Any] = {"verdict": report.verdict, **msgspec.to_builtins(report)}
    plain["targets"] = [{"verdict": target.verdict, **msgspec.to_builtins(target)} for target in report.targets]
    return plain


@contextmanager
def _quiet() -> Generator[None]:
    """Keeps what is logged out of the output where nobody has set logging up: the report says it."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


# -- What was asked ---------------------------------------------------------------------------------------------------


def _targets(text: str, arguments: argparse.Namespace) -> Sequence[Target]:
    given = {name: value for name in _OPTIONS if (value := getattr(arguments, name))}
    if _NAMED.fullmatch(text) is None:
        target = Target.parse(text)
        if not given:
            return [target]
        return [msgspec.structs.replace(target, options=given, label=arguments.location or "vertex")]
    if given or arguments.simulated:
        said = " and ".join(f"--{name}" for name in (*given, *(["simulated"] if arguments.simulated else [])))
        raise ConfigError(f"{text} says itself where its targets lead: leave {said} out")
    found = _imported(text)
    parts: Sequence[Any] = found if _is_several(found) else [found]
    for part in parts:
        if not isinstance(part, Target | str):
            raise ConfigError(
                f"{text} is no route: it holds a {type(part).__name__}; a route is a Target, a str, or several"
            )
    return [part if isinstance(part, Target) else Target.parse(part) for part in parts]


def _is_several(found: object) -> bool:
    return isinstance(found, Sequence) and not isinstance(found, str)


def _config(text: str | None) -> Any:
    if text is None:
        return None
    if _NAMED.fullmatch(text) is not None:
        return _imported(text)
    try:
        config = msgspec.json.decode(Path(text).read_bytes())
    except OSError as refused:
        raise ConfigError(
            f"cannot read {text!r}: {refused.strerror}; name a JSON file or MODULE:NAME for --config"
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{text!r} is no JSON: {error}") from None
    if not isinstance(config, Mapping):
        raise ConfigError(f"{text!r} has to hold a JSON object, the configuration's fields by name")
    return cast("Mapping[str, Any]", config)


def _imported(text: str) -> Any:
    """Imports what MODULE:NAME says, from the working directory too, as a shell's user expects; calls a function."""
    match = _NAMED.fullmatch(text)
    assert match is not None
    module = match["module"]
    look_here()
    try:
        found: Any = reduce(getattr, match["name"].split("."), import_module(module))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # what the module itself imports
        raise ConfigError(
            f"there is no module {error.name!r} for {text}; it is looked for from here and where Python looks"
        ) from None
    except AttributeError:
        raise UnknownName(f"name in {module}", match["name"], _names(module)) from None
    return cast("Callable[[], Any]", found)() if callable(found) else found


def _names(module: str) -> Sequence[str]:
    return [name for name in vars(sys.modules[module]) if not name.startswith("_")] if module in sys.modules else []
