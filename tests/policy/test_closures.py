"""Every end that was really seen gets its fault and its action: from the command line, and from the objects themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from unbroken.cli import main
from unbroken.core.classify import classify
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Facts, Retry
from unbroken.testing.closures import Known, known, situation
from unbroken_gemini.rules import RULES

ROWS = in_order(RULES)


def arguments(known: Known, *, reason: str | None = None) -> list[str]:
    closure, ending = known.closure, known.closure.ending
    words = ["explain", "--json", "--platform", closure.platform, "--phase", closure.phase]
    words += ["--reason", ending.reason if reason is None else reason]
    for option, value in (("code", ending.code), ("http", ending.http_status), ("cause", ending.cause)):
        if value is not None:
            words += [f"--{option}", str(value)]
    plain = msgspec.structs.asdict(Facts(useful=closure.phase == "live"))
    facts = {name: value for name, value in msgspec.structs.asdict(closure.facts).items() if value != plain[name]}
    if ending.retry_after is not None:
        facts["retry_after"] = ending.retry_after
    for name, value in facts.items():
        words += ["--fact", f"{name}={json.dumps(value)}"]
    return words


def explained(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(words) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("known", known(), ids=lambda known: known.id)
def test_every_closure_is_explained(known: Known, capsys: pytest.CaptureFixture[str]) -> None:
    answer = explained(arguments(known), capsys)
    assert (answer["fault"], answer["action"]) == (known.fault, known.action)
    assert answer["rule"] != "unknown"
    assert answer["because"]
    assert "{" not in answer["because"] + answer["advice"]
    if known.action in ("escalate", "failover"):
        assert answer["advice"], "what does not pass by itself needs somebody who knows what to do"


@pytest.mark.parametrize("known", known(), ids=lambda known: known.id)
def test_every_closure_is_placed_and_decided(known: Known) -> None:
    fault = classify(known.closure, ROWS)
    decision = DefaultPolicy().decide(fault, situation(known.closure))
    assert (fault.kind, type(decision).__name__.lower()) == (known.fault, known.action)
    if isinstance(decision, Retry) and known.closure.ending.retry_after is not None:
        assert decision.after >= known.closure.ending.retry_after


def test_the_table_is_whole() -> None:
    assert len(known()) == 46
    assert len({row.id for row in known()}) == 46
    assert all(row.source for row in known())


# Words stand at the begin of these reasons, so that the cut at 123 bytes leaves them behind any prefix.
PREFIXED = [row for row in known() if len(row.closure.ending.reason) > 20 and row.closure.ending.cause is None]


@pytest.mark.parametrize("known", PREFIXED, ids=lambda known: known.id)
def test_a_trace_id_before_and_a_cut_behind_change_nothing(known: Known, capsys: pytest.CaptureFixture[str]) -> None:
    reason = f"Request trace id: 5f0e77c1, {known.closure.ending.reason}".upper()[:123]
    assert explained(arguments(known, reason=reason), capsys)["fault"] == known.fault


def test_the_command_itself() -> None:
    row = next(row for row in known() if row.id == "concurrent")
    command = [sys.executable, "-c", "import sys; from unbroken.cli import main; sys.exit(main())", *arguments(row)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["fault"] == "quota"
    assert done.stderr == ""
