"""Writes the pages of docs/ that are made of the code's own tables: ``python docs/generate.py``.

A page is a function that returns its text; `PAGES` names them. A test holds that what is committed is what they return.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from unbroken.core import policy
from unbroken.core.classify import SURE, Rule, classify
from unbroken.core.codes import CLOSE_CODES, HTTP, HTTP_VAGUE
from unbroken.core.defaults import DEFAULTS, Default, Step
from unbroken.core.diagram import diagram
from unbroken.core.grpc import CLEAR_STATUSES, STATUSES, UNAVAILABLE
from unbroken.core.history import HISTORY, UNPROVEN
from unbroken.core.rules import LOCAL, OPENAI, OWN, PROTOCOLS, in_order
from unbroken.core.words import CLEAR_WORDS, ENDS, OVERLOAD, VAGUE_WORDS
from unbroken.decisions import Escalate, Facts, FailOver, Fault, Finish, Retry, Situation, TargetState
from unbroken.testing.closures import Known, known
from unbroken_gemini.rules import RULES as GEMINI

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the tables in the code and run it again. -->\n"

LEGEND = """\
* **resume**: dial the same target, by the resumption handle where one is held, else with the history told again.
* **fresh**: dial the same target with the history told again.
* **fail over**: dial another target, the history told again: the one that failed least in this outage, then the first of the
  route. After `quota` it has to have another quota, after `auth` other credentials.
* **wait**: until a spent quota or a cool-down is over, here or elsewhere, where the session's patience allows.
* **escalate**: give the session up, with the whole story and advice.

In brackets stands how long a step holds: "failed" counts the links to the target that failed in a row, the last one too. A
rule may name an action of its own, which is tried before these steps. Where no step can be done, the session escalates.
"""


RULES = """\
## Rules

An application's own rows come first, then the provider's, then those that hold for every provider; the first that fits
names the fault. Words are whole words in any case of letters; `*` stands for any ending, and `+` joins words that have to
occur together. No part of a name or an id is taken for a word. `{model}`, `{reason}` and `{status}` are filled in. Where a
row is less than 100 % sure, other ends are known to look the same, and it says what they were.

A provider's rows may stand between everybody's: Gemini's that go by what was known besides are read after the words of
planned ends, and those that go by a code alone after the vague words.
"""

AMBIGUOUS = """\
The same end is known to mean different things. What it is taken for is the likeliest, `unbroken explain` says what else it
may be, and a wrong guess is not repeated for long: the policy's bounds count failures whatever they are called.
"""

SETTLED = """\
What this side knows besides tells some of them apart. `unserved` comes from the provider's catalog of models; `proven`,
`sibling_well` and `consecutive` come from what the runtime's sessions have met so far.
"""

SEEN = """\
The table that classification is tested with, as users reported it: `unbroken.testing.closures.known()` in tests of your own.
The action is the first one, on a route that has another target.
"""


def faults() -> str:
    """Returns the page of faults, default decisions and rules."""
    head = (
        "# Faults and decisions\n\n"
        f"{NOTE}\n"
        "Every end of a connection is a *closure*; the first *rule* that fits it names the *fault*; the *policy* decides"
        " what is done about it. `unbroken explain` answers for one end; a policy of your own may decide otherwise.\n"
    )
    table = _table(
        ("fault", "meaning", "what is done: the first step that can be"),
        ((f"`{kind}`", row.meaning, _steps(row)) for kind, row in DEFAULTS.items()),
    )
    pace = (policy.__doc__ or "").partition("\n\n")[2].strip()
    return "\n".join(
        [
            f"{head}\n## Default decisions\n\n{table}",
            LEGEND,
            f"## Bounds and pace\n\n{pace}\n",
            RULES,
            *(_rules(title, rules) for title, rules in _sections()),
            "What no row fits is `unknown`.\n",
            f"## Ambiguous ends\n\n{AMBIGUOUS}\n{_ambiguous()}",
            f"{SETTLED}\n{_settled()}",
            f"## Ends that were really seen\n\n{SEEN}\n{_seen()}",
        ]
    )


def machine_page() -> str:
    """Returns the page of the session's states."""
    return (
        f"# The states of a session\n\n{NOTE}\n"
        "Each arrow names the inputs that lead along it; `unbroken/core/table.py` has the table with its commands."
        " Left out is what can happen in every state: the application closes the session, which leads to `closed`, by way of"
        " `ending` where there is a link; and the session's patience, or its patience with an application that takes no"
        " events, is over, which leads to `escalated`.\n\n"
        f"```mermaid\n{diagram()}```\n"
    )


def situation_page() -> str:
    """Returns the page of what a policy is told and may answer, from the docstrings."""
    head = (
        f"# What a policy is told, and what it may answer\n\n{NOTE}\n"
        "`decide(fault, situation)` is asked with a `Fault` and a `Situation`, and returns a `Retry`, a `FailOver`, an"
        " `Escalate` or a `Finish`; [policies.md](policies.md) shows how. The kinds of faults are in"
        " [faults.md](faults.md). A field that has a default may be left out in a test.\n"
    )
    told = (Fault, Situation, TargetState, Retry, FailOver, Escalate, Finish)
    return "\n".join([head, *(_fields(struct) for struct in told)])


PAGES: Mapping[str, Callable[[], str]] = {
    "faults.md": faults,
    "machine.md": machine_page,
    "situation.md": situation_page,
}


def _fields(struct: type[msgspec.Struct]) -> str:
    said, _, attributes = (inspect.getdoc(struct) or "").partition("\n\nAttributes:\n")
    meanings = dict(re.findall(r"^    (\w+): ((?:.|\n {8})*)", attributes, re.MULTILINE))
    rows = (
        (
            f"`{field.name}`",
            "" if field.required else f"`{field.default!r}`",
            " ".join(meanings[field.name].split()),
        )
        for field in msgspec.structs.fields(struct)
    )
    return f"## {struct.__name__}\n\n{said}\n\n" + _table(("field", "default", "meaning"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _steps(row: Default) -> str:
    steps = [_step(step) for step in row.steps]
    return "; ".join(steps if row.steps[-1].act in ("escalate", "finish") else [*steps, "escalate"])


def _step(step: Step) -> str:
    bounds: list[str] = []
    if step.rules:
        bounds.append(f"by the rule {' or '.join(f'`{rule}`' for rule in step.rules)}")
    if step.useful:
        bounds.append("something useful had come")
    if step.unsure:
        bounds.append(f"the rule is less than {SURE:.0%} sure")
    if step.unconfirmed:
        bounds.append("the old socket may still be open")
    if step.handle_below:
        bounds.append(
            "the handle has " + ("not failed" if step.handle_below == 1 else f"failed < {step.handle_below} times")
        )
    if step.unlived_from:
        times = "" if step.unlived_from == 1 else f" {step.unlived_from} times"
        late = f", after {step.slower_than:g} s or more" if step.slower_than else ""
        bounds.append(f"ended before it was live{times}{late}, another target at hand")
    if step.failures_below:
        bounds.append(f"< {step.failures_below} failed")
    return step.act + (f" ({', '.join(bounds)})" if bounds else "")


def _sections() -> Iterator[tuple[str, Iterable[Rule]]]:
    """Returns all rows in the order in which they are read, but for a provider's that stand between others'."""
    everyones = {rule.id for rule in PROTOCOLS}
    yield "This side's own end", OWN
    yield "Gemini Live, on the Gemini API and on Vertex AI", [rule for rule in GEMINI if rule.id not in everyones]
    yield "What ended the connection on this side", LOCAL
    yield "OpenAI Realtime API", OPENAI
    yield "HTTP statuses that are clear", HTTP
    yield "Clear words", CLEAR_WORDS
    yield "gRPC statuses that are clear", CLEAR_STATUSES
    yield "Words of planned ends", ENDS
    yield "What history settles", HISTORY
    yield "Words of overload", (*UNAVAILABLE, *OVERLOAD)
    yield "What history settles where nothing blames the service", UNPROVEN
    yield "Other gRPC statuses", STATUSES
    yield "Vague words", VAGUE_WORDS
    yield "Vague HTTP statuses", HTTP_VAGUE
    yield "Close codes", CLOSE_CODES


def _rules(title: str, rules: Iterable[Rule]) -> str:
    head = ("rule", "fits", "fault", "own action", "sure", "may also be", "because", "source")
    rows = (
        (
            f"`{rule.id}`",
            rule.describe(),
            f"`{rule.fault}`",
            rule.action or "",
            f"{rule.confidence:.0%}",
            _kinds(rule.otherwise),
            _because(rule),
            rule.source,
        )
        for rule in rules
    )
    return f"### {title}\n\n" + _table(head, rows)


def _because(rule: Rule) -> str:
    return " ".join(part for part in (rule.because, rule.advice and f"*{rule.advice}*") if part)


def _kinds(kinds: Iterable[str]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds)


def _ambiguous() -> str:
    unsure = sorted((rule for _, rules in _sections() for rule in rules if rule.otherwise), key=lambda rule: rule.confidence)
    return _table(
        ("sure", "taken for", "may also be", "rule"),
        ((f"{rule.confidence:.0%}", f"`{rule.fault}`", _kinds(rule.otherwise), f"`{rule.id}`") for rule in unsure),
    )


def _settled() -> str:
    known_by = (rule for _, rules in _sections() for rule in rules if rule.facts)
    rows = ((rule.describe(), f"`{rule.fault}`", rule.action or "", rule.because, f"`{rule.id}`") for rule in known_by)
    return _table(("fits", "fault", "own action", "because", "rule"), rows)


def _seen() -> str:
    table = in_order(GEMINI)
    return _table(
        ("id", "end", "fault", "action", "rule", "source"),
        (
            (row.id, _end(row), f"`{row.fault}`", row.action, f"`{classify(row.closure, table).rule}`", row.source)
            for row in known()
        ),
    )


def _end(row: Known) -> str:
    closure = row.closure
    usual = msgspec.structs.asdict(Facts(useful=closure.phase == "live"))
    facts = {name: value for name, value in msgspec.structs.asdict(closure.facts).items() if value != usual[name]}
    if closure.ending.retry_after is not None:
        facts["retry_after"] = closure.ending.retry_after
    place = closure.phase if closure.platform == "any" else f"{closure.platform}, {closure.phase}"
    known_besides = ", ".join(f"{name}={str(value).lower()}" for name, value in facts.items())
    return "; ".join(part for part in (place, closure.ending.describe().replace("`", "\\`"), known_besides) if part)


def main() -> int:
    """Writes the pages that have changed; returns 0."""
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
