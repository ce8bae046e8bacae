"""Writes the pages of docs/ that are made of the code's own tables: ``python docs/generate.py``.

A page is a function that returns its text; `PAGES` names them. A test holds that what is committed is what they return.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from unbroken.core import policy
from unbroken.core.classify import Rule, Span
from unbroken.core.defaults import DEFAULTS, Default, Step
from unbroken.core.diagram import diagram
from unbroken.core.rules import CLOSE_CODES, HTTP, LOCAL, OPENAI, OWN
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
            "## Rules\n\nAn application's own rows come first, then the provider's, then those that hold for every provider."
            " A sureness below 100 % says that other ends are known to look the same.\n",
            _rules("This side's own end", OWN),
            _rules("Gemini Live, on the Gemini API and on Vertex AI", GEMINI),
            _rules("What ended the connection on this side", LOCAL),
            _rules("OpenAI Realtime API", OPENAI),
            _rules("HTTP statuses", HTTP),
            _rules("Close codes", CLOSE_CODES),
            "What no row fits is `unknown`.\n",
        ]
    )


def machine_page() -> str:
    """Returns the page of the session's states."""
    return (
        f"# The states of a session\n\n{NOTE}\n"
        "Each arrow names the inputs that lead along it; `unbroken/core/machine.py` has the table with its commands."
        " Left out is what can happen in every state: the application closes the session, which leads to `closed`, by way of"
        " `ending` where there is a link; and the session's patience, or its patience with an application that takes no"
        " events, is over, which leads to `escalated`.\n\n"
        f"```mermaid\n{diagram()}```\n"
    )


PAGES: Mapping[str, Callable[[], str]] = {"faults.md": faults, "machine.md": machine_page}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _steps(row: Default) -> str:
    steps = [_step(step) for step in row.steps]
    return "; ".join(steps if row.steps[-1].act in ("escalate", "finish") else [*steps, "escalate"])


def _step(step: Step) -> str:
    bounds: list[str] = []
    if step.useful:
        bounds.append("something useful had come")
    if step.unconfirmed:
        bounds.append("the old socket may still be open")
    if step.handle_below:
        bounds.append(
            "the handle has " + ("not failed" if step.handle_below == 1 else f"failed < {step.handle_below} times")
        )
    if step.failures_below:
        bounds.append(f"< {step.failures_below} failed")
    return step.act + (f" ({', '.join(bounds)})" if bounds else "")


def _rules(title: str, rules: Iterable[Rule]) -> str:
    rows = (
        (f"`{r.id}`", _fits(r), f"`{r.fault}`", r.action or "", f"{r.confidence:.0%}", _because(r), r.source) for r in rules
    )
    return f"### {title}\n\n" + _table(("rule", "fits", "fault", "own action", "sure", "because", "source"), rows)


def _because(rule: Rule) -> str:
    return " ".join(part for part in (rule.because, rule.advice and f"*{rule.advice}*") if part)


def _fits(rule: Rule) -> str:
    words = (f'"{w}"' if isinstance(w, str) else " and ".join(f'"{part}"' for part in w) for w in rule.words)
    columns = [
        ("", " or ".join(rule.platforms)),
        ("phase ", " or ".join(rule.phases)),
        ("code ", _spans(rule.codes)),
        ("HTTP ", _spans(rule.http)),
        ("cause ", ", ".join(rule.causes)),
        ("", ", ".join(f"{name}={str(value).lower()}" for name, value in rule.facts.items())),
        ("says ", " or ".join(words)),
    ]
    return "; ".join(label + text for label, text in columns if text)


def _spans(spans: Iterable[Span]) -> str:
    return ", ".join(str(span) if isinstance(span, int) else f"{span[0]} to {span[1]}" for span in spans)


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
