"""Every end that was really seen gets its fault and its action from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from unbroken.cli import main

CLOSURES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "closures.toml").read_text(encoding="utf-8")
)["closure"]


def arguments(row: dict[str, Any], *, reason: str | None = None) -> list[str]:
    words = ["explain", "--json", "--platform", row["platform"], "--phase", row["phase"]]
    words += ["--reason", row["reason"] if reason is None else reason]
    for option in ("code", "http", "cause"):
        if option in row:
            words += [f"--{option}", str(row[option])]
    for name, value in row.get("facts", {}).items():
        words += ["--fact", f"{name}={json.dumps(value)}"]
    return words


def explained(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(words) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("row", CLOSURES, ids=lambda row: row["id"])
def test_every_closure_is_placed(row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer = explained(arguments(row), capsys)
    assert (answer["fault"], answer["action"]) == (row["fault"], row["action"])
    assert answer["rule"] != "unknown"
    assert answer["because"]
    assert "{" not in answer["because"] + answer["advice"]
    if row["action"] in ("escalate", "failover"):
        assert answer["advice"], "what does not pass by itself needs somebody who knows what to do"


def test_the_table_is_whole() -> None:
    assert len(CLOSURES) == 46
    assert len({row["id"] for row in CLOSURES}) == 46


# Words stand at the begin of these reasons, so that the cut at 123 bytes leaves them behind any prefix.
PREFIXED = [row for row in CLOSURES if len(row["reason"]) > 20 and "cause" not in row]


@pytest.mark.parametrize("row", PREFIXED, ids=lambda row: row["id"])
def test_a_trace_id_before_and_a_cut_behind_change_nothing(row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    reason = f"Request trace id: 5f0e77c1, {row['reason']}".upper()[:123]
    assert explained(arguments(row, reason=reason), capsys)["fault"] == row["fault"]


def test_the_command_itself() -> None:
    row = next(row for row in CLOSURES if row["id"] == "concurrent")
    command = [sys.executable, "-c", "import sys; from unbroken.cli import main; sys.exit(main())", *arguments(row)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["fault"] == "quota"
    assert done.stderr == ""
