"""``unbroken explain``: what the end of a connection means, and what would be done about it."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from unbroken import registry
from unbroken.cli import Subparsers, add_rules, policy_named
from unbroken.core.bounds import flaw
from unbroken.core.classify import Rule, classify
from unbroken.core.defaults import DEFAULTS
from unbroken.core.rules import OWN, PROTOCOLS, in_order
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
    Fault,
    Phase,
    Situation,
    action_of,
    printable,
)
from unbroken.errors import ConfigError, UnknownName
from unbroken.testing.closures import situation

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["add"]

_ASSUMED: Final = (
    "the session holds history, a live link had been of use, any other ended within a second, and the route has one more"
    " target of the same provider and credentials, with a quota of its own."
)

_OF_THE_ENDING: Final = {"confirmed": True, "retry_after": 0.0}
"""What may be given as a fact and is one of `Ending`, with a value of its type."""

_KNOWN: Final[dict[str, bool | int | float]] = {**msgspec.structs.asdict(Facts()), **_OF_THE_ENDING}

_READ: Final = (
    "The first row that fits names the fault; where none fits it is unknown. Words are whole words, * any ending, + joins"
    " what has to occur together; --json has them all, with advice and sources."
)

_WIDEST: Final = 120
"""Columns: lines longer than that are hard to read, however wide the terminal is."""

_COLOURS: Final[dict[Action, str]] = {"retry": "green", "failover": "yellow", "escalate": "red", "finish": "blue"}


def add(subparsers: Subparsers) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "explain",
        help="what the end of a connection means, and what is done about it",
        description="Says what the end of a connection means, by which rule, and what a policy does about it.",
        epilog="A fault that is not certain says what else it may be, and which facts would tell. Example: unbroken explain"
        " --platform gemini --phase setup --code 1011 --reason 'You exceeded your quota'",
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
    add_rules(parser)
    parser.add_argument(
        "--policy",
        metavar="NAME",
        default="default",
        help="which policy decides, by name or as module:object (default: default)",
    )
    parser.add_argument(
        "--list", action="store_true", help="explain nothing, but print the platform's rules in the order they are read in"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    rules = in_order(_rows(arguments.platform, arguments.rules))
    if arguments.list:
        listed = [rule for rule in rules if not rule.platforms or arguments.platform in rule.platforms]
        _answer(arguments, [_row(rule) for rule in listed], lambda: _table(listed))
        return 0
    facts = _facts(arguments.fact)
    closure = _closure(arguments, facts)
    fault = classify(closure, rules)
    decision = _decision(arguments.policy, fault, situation(closure))
    rule = next((rule for rule in rules if rule.id == fault.rule), Rule(id=fault.rule, fault=fault.kind))
    unless = _unless(closure, fault, rules, told=facts)
    _answer(arguments, _plain(fault, decision, rule, unless), lambda: _panel(closure, fault, decision, rule, unless))
    return 0


def _answer(arguments: argparse.Namespace, plain: object, picture: Callable[[], RenderableType]) -> None:
    if arguments.json:
        print(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(picture(), width=min(console.width, _WIDEST))


# -- what was asked ---------------------------------------------------------------------------------------------------


def _rows(platform: str, named: Sequence[str]) -> Sequence[Rule]:
    """Returns the rows that were named, and those of the providers that serve a platform."""
    own, providers = registry.rules(named), registry.providers_rules().values()
    everyones = {rule.id for rule in PROTOCOLS}  # a provider's rows hold some of them
    platforms = {name for rows in (own, *providers, PROTOCOLS) for rule in rows for name in rule.platforms}
    _one_of("platform", platform, {"any", *platforms})
    served = (rows for rows in providers if any(platform in rule.platforms for rule in rows if rule.id not in everyones))
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


def _decision(policy: str, fault: Fault, where: Situation) -> Decision:
    """Asks a policy, and says so where a session would have to ask the default one in its place."""
    decides = policy_named(policy)
    try:
        decision = decides.decide(fault, where)
        why = flaw(decision, where)
    except Exception as error:  # because a policy is somebody's own code
        decision, why = None, f"it raised {error!r}"
    if decision is None or why:
        raise ConfigError(
            f"policy {policy!r} cannot decide about that: {printable(why)}; `unbroken policy check {policy}` shows more"
        )
    return decision


# -- what is answered -------------------------------------------------------------------------------------------------


def _unless(
    closure: Closure, fault: Fault, rules: Sequence[Rule], *, told: Collection[str]
) -> list[tuple[dict[str, bool | int], Fault]]:
    """Returns the facts that were not told and with which the end would mean another thing, and what it would mean."""
    found: list[tuple[dict[str, bool | int], Fault]] = []
    for rule in rules:
        missing = {name: value for name, value in rule.facts.items() if getattr(closure.facts, name) != value}
        if not missing or rule in OWN or any(name in told for name in missing):
            continue
        known = msgspec.structs.replace(closure, facts=msgspec.structs.replace(closure.facts, **missing))
        other = classify(known, rules)
        if other.rule == rule.id and (other.kind, other.action) != (fault.kind, fault.action):
            found.append((missing, other))
    return found


def _said(facts: dict[str, bool | int]) -> str:
    return " and ".join(f"{name}={str(value).lower()}" for name, value in facts.items())


def _plain(
    fault: Fault, decision: Decision, rule: Rule, unless: list[tuple[dict[str, bool | int], Fault]]
) -> dict[str, Any]:
    return {
        "fault": fault.kind,
        "action": action_of(decision),
        "rule": fault.rule,
        "because": f"{fault.because} {decision.because}",
        "advice": _advice(fault, decision),
        "confidence": fault.confidence,
        "otherwise": list(rule.otherwise),
        "unless": [{"facts": facts, "fault": other.kind, "rule": other.rule} for facts, other in unless],
        "source": rule.source,
        "decision": {name: value for name, value in msgspec.to_builtins(decision).items() if name != "type"},
        "assumed": _ASSUMED,
    }


def _advice(fault: Fault, decision: Decision) -> str:
    own = decision.advice if isinstance(decision, Escalate) else ""
    return own or fault.advice or DEFAULTS[fault.kind].advice


def _panel(
    closure: Closure, fault: Fault, decision: Decision, rule: Rule, unless: list[tuple[dict[str, bool | int], Fault]]
) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    action = action_of(decision)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column()
    platform = f", {closure.platform}" if closure.platform != "any" else ""
    lines.add_row("end", Text(f"{closure.ending.describe()} in phase {closure.phase}{platform}"))
    lines.add_row("fault", Text.assemble((fault.kind, "bold"), f"  {DEFAULTS[fault.kind].meaning}"))
    sure = f"  {fault.confidence:.0%} sure" if 0 < fault.confidence < 1 else ""
    lines.add_row("rule", Text.assemble((fault.rule, "cyan"), sure))
    if rule.otherwise:
        lines.add_row("or else", Text(f"{' or '.join(rule.otherwise)}: such ends look the same"))
    for number, (facts, other) in enumerate(unless):
        action_too = f" and {other.action}" if other.action else ""
        then = Text.assemble(f"{_said(facts)}: then ", (other.kind, "bold"), f"{action_too}, by {other.rule}")
        lines.add_row("" if number else "unless", then)
    if rule.source:
        lines.add_row("source", Text(rule.source, style="dim"))
    lines.add_row("decision", Text.assemble((action, f"bold {_COLOURS[action]}"), f"  by step {decision.rule}"))
    lines.add_row("because", Text(f"{fault.because} {decision.because}"))
    if advice := _advice(fault, decision):
        lines.add_row("advice", Text(advice))
    box = Panel(lines, title="explain", title_align="left", border_style=_COLOURS[action])
    return Group(box, Text(f"Assumed: {_ASSUMED}", style="dim"))


# -- the rules --------------------------------------------------------------------------------------------------------


def _row(rule: Rule) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(rule).items() if value not in (None, "", (), [], {})}


def _table(rules: Sequence[Rule]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_READ, caption_justify="left")
    table.add_column("rule", no_wrap=True, style="cyan")
    table.add_column("fault", no_wrap=True, style="bold")
    table.add_column("sure", no_wrap=True, justify="right")
    table.add_column("fits")
    for rule in rules:
        fits = msgspec.structs.replace(rule, platforms=()).describe(words=3)
        table.add_row(rule.id, rule.fault, f"{rule.confidence:.0%}", Text(fits or "everything"))
    return table
