"""``unbroken explain``: what the end of a connection means, and what would be done about it."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from unbroken import registry
from unbroken.cli import Subparsers
from unbroken.core.classify import Rule, classify
from unbroken.core.defaults import DEFAULTS
from unbroken.core.rules import PROTOCOLS, in_order
from unbroken.decisions import (
    CAUSES,
    PHASES,
    Action,
    Cause,
    Closure,
    Decision,
    Ending,
    Escalate,
    Facts,
    FailOver,
    Fault,
    Finish,
    Phase,
    Retry,
)
from unbroken.errors import ConfigError, UnknownName
from unbroken.testing.closures import situation

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["add"]

_ASSUMED: Final = (
    "the session holds history, a live link had been of use, and the route has one more target of the same provider"
    " and credentials, with a quota of its own."
)

_OF_THE_ENDING: Final = {"confirmed": True, "retry_after": 0.0}
"""What may be given as a fact and is one of `Ending`, with a value of its type."""

_KNOWN: Final[dict[str, bool | int | float]] = {**msgspec.structs.asdict(Facts()), **_OF_THE_ENDING}

_COLOURS: Final[dict[Action, str]] = {"retry": "green", "failover": "yellow", "escalate": "red", "finish": "blue"}


def add(subparsers: Subparsers) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "explain",
        help="what the end of a connection means, and what is done about it",
        description="Says what the end of a connection means, by which rule, and what a policy does about it.",
        epilog="example: unbroken explain --platform gemini --phase setup --code 1011 --reason 'You exceeded your quota'",
    )
    parser.add_argument("--code", type=int, metavar="N", help="the close code that came")
    parser.add_argument("--reason", default="", metavar="TEXT", help="the close reason, or a part of it")
    parser.add_argument("--http", type=int, metavar="N", help="the HTTP status of a refused upgrade")
    parser.add_argument("--cause", metavar="NAME", help=f"what ended it on this side: {', '.join(CAUSES)}")
    parser.add_argument("--phase", metavar="NAME", help=f"where in its life the connection was: {', '.join(PHASES)}")
    parser.add_argument(
        "--platform", default="any", metavar="NAME", help="gemini, vertex, openai, …; any: only the protocols"
    )
    parser.add_argument("--model", default="", metavar="NAME", help="the model's name")
    parser.add_argument(
        "--fact",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"what was known besides, as true, false or a number: {', '.join(sorted(_KNOWN))}",
    )
    parser.add_argument(
        "--rules", metavar="NAME", action="append", default=[], help="rows that are read first, by the name of their set"
    )
    parser.add_argument("--policy", metavar="NAME", default="default", help="which policy decides (default: default)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    facts = _facts(arguments.fact)
    closure = _closure(arguments, facts)
    rules = in_order(_rows(arguments.platform, arguments.rules))
    fault = classify(closure, rules)
    decision = registry.policy(arguments.policy).decide(fault, situation(closure))
    source = next((rule.source for rule in rules if rule.id == fault.rule), "")
    if arguments.json:
        print(json.dumps(_plain(fault, decision, source), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        Console(highlight=False).print(_panel(closure, fault, decision, source))
    return 0


# -- what was asked ---------------------------------------------------------------------------------------------------


def _rows(platform: str, named: Sequence[str]) -> Sequence[Rule]:
    """Returns the rows that were named, and those of the providers that serve a platform."""
    own, providers = registry.rules(named), registry.providers_rules().values()
    platforms = {name for rows in (own, *providers, PROTOCOLS) for rule in rows for name in rule.platforms}
    _one_of("platform", platform, {"any", *platforms})
    served = (rows for rows in providers if any(platform in rule.platforms for rule in rows))
    return [*own, *itertools.chain.from_iterable(served)]


def _closure(arguments: argparse.Namespace, facts: dict[str, Any]) -> Closure:
    code, status, cause = arguments.code, arguments.http, arguments.cause
    if code is None and status is None and cause is None and not arguments.reason and not facts:
        raise ConfigError("nothing to explain: give what is known of the end, by --code, --http, --cause or --reason")
    if code is not None and not 0 <= code <= 0xFFFF:
        raise ConfigError(f"{code} is no close code; they go from 0 to 65535, and those of services from 1000 to 4999")
    if status is not None and not 100 <= status <= 599:
        raise ConfigError(f"{status} is no HTTP status; they go from 100 to 599")
    if cause is not None:
        cause = cast("Cause", _one_of("cause", cause.replace("-", "_"), CAUSES))
    phase = arguments.phase if arguments.phase is not None else "live" if status is None else "upgrade"
    told = {name: value for name, value in facts.items() if name not in _OF_THE_ENDING}
    return Closure(
        platform=arguments.platform,
        phase=cast("Phase", _one_of("phase", phase, PHASES)),
        ending=Ending(
            code=code,
            reason=arguments.reason,
            http_status=status,
            cause=cause,
            retry_after=facts.get("retry_after"),
            confirmed=facts.get("confirmed", True),
        ),
        facts=Facts(**{"useful": phase == "live", **told}),
        model=arguments.model,
    )


def _one_of(kind: str, name: str, known: Sequence[str] | set[str]) -> str:
    if name not in known:
        raise UnknownName(kind, name, known)
    return name


def _facts(given: Sequence[str]) -> dict[str, Any]:
    return dict(_fact(text) for text in given)


def _fact(text: str) -> tuple[str, bool | int | float]:
    name, _, value = text.partition("=")
    _one_of("fact", name, set(_KNOWN))
    match _KNOWN[name]:
        case bool():
            if value.lower() not in ("true", "false"):
                raise ConfigError(f"fact {name} is true or false, as in --fact {name}=true; got {text!r}")
            return name, value.lower() == "true"
        case int():
            if not value.isdecimal():
                raise ConfigError(f"fact {name} is a whole number, as in --fact {name}=3; got {text!r}")
            return name, int(value)
        case float():
            try:
                seconds = float(value)
            except ValueError:
                seconds = -1.0
            if not 0.0 <= seconds < float("inf"):
                raise ConfigError(f"fact {name} is a number of seconds, as in --fact {name}=7; got {text!r}")
            return name, seconds


# -- what is answered -------------------------------------------------------------------------------------------------


def _action(decision: Decision) -> Action:
    match decision:
        case Retry():
            return "retry"
        case FailOver():
            return "failover"
        case Escalate():
            return "escalate"
        case Finish():
            return "finish"


def _plain(fault: Fault, decision: Decision, source: str) -> dict[str, Any]:
    return {
        "fault": fault.kind,
        "action": _action(decision),
        "rule": fault.rule,
        "because": f"{fault.because} {decision.because}",
        "advice": _advice(fault, decision),
        "confidence": fault.confidence,
        "source": source,
        "decision": {name: value for name, value in msgspec.to_builtins(decision).items() if name != "type"},
        "assumed": _ASSUMED,
    }


def _advice(fault: Fault, decision: Decision) -> str:
    own = decision.advice if isinstance(decision, Escalate) else ""
    return own or fault.advice or DEFAULTS[fault.kind].advice


def _panel(closure: Closure, fault: Fault, decision: Decision, source: str) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    action = _action(decision)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column()
    platform = f", {closure.platform}" if closure.platform != "any" else ""
    lines.add_row("end", Text(f"{closure.ending.describe()} in phase {closure.phase}{platform}"))
    lines.add_row("fault", Text.assemble((fault.kind, "bold"), f"  {DEFAULTS[fault.kind].meaning}"))
    sure = "" if fault.confidence >= 1 else f"  sure to {fault.confidence:.0%}: other ends look like it"
    lines.add_row("rule", Text.assemble((fault.rule, "cyan"), sure))
    if source:
        lines.add_row("", Text(source, style="dim"))
    lines.add_row("decision", Text.assemble((action, f"bold {_COLOURS[action]}"), f"  by step {decision.rule}"))
    lines.add_row("because", Text(f"{fault.because} {decision.because}"))
    if advice := _advice(fault, decision):
        lines.add_row("advice", Text(advice))
    box = Panel(lines, title="explain", title_align="left", border_style=_COLOURS[action])
    return Group(box, Text(f"Assumed: {_ASSUMED}", style="dim"))
