"""The command ``unbroken`` as a whole, and how ``explain`` answers people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from unbroken.cli import explain, main
from unbroken.decisions import Decision, Fault, Situation
from unbroken.errors import ConfigError


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(words)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_help_lists_the_commands_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("--help", capsys=capsys)
    assert (status, err) == (0, "")
    assert "what the end of a connection means" in out


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from unbroken.cli import main; assert main(['--help']) == 0\n"
        "print([name for name in sys.modules if name.startswith('unbroken.cli.') or name.split('.')[0] == 'rich'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version", capsys=capsys) == (0, f"unbroken {metadata.version('unbroken')}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "unbroken: the following arguments are required: COMMAND; `unbroken --help` tells what there is"),
        ("explain", "unbroken: nothing to explain: give what is known of the end, by --code, --http, --cause or --reason"),
        (
            "explain --code many",
            "unbroken explain: argument --code: invalid int value: 'many'; `unbroken explain --help` tells what there is",
        ),
        (
            "explain --code 70000",
            "unbroken: 70000 is no close code; they go from 0 to 65535, and those of services from 1000 to 4999",
        ),
        ("explain --http 1011", "unbroken: 1011 is no HTTP status; they go from 100 to 599"),
        (
            "explain --code 1 --phase setp",
            "unbroken: unknown phase 'setp'; did you mean 'setup'? known: dial, live, setup, tls, upgrade",
        ),
        (
            "explain --code 1 --platform gemni",
            "unbroken: unknown platform 'gemni'; did you mean 'gemini' or 'openai'? known: any, gemini, openai, vertex",
        ),
        ("explain --fact resumed=1", "unbroken: fact resumed is true or false, as in --fact resumed=true; got 'resumed=1'"),
        ("explain --fact resumed", "unbroken: fact resumed is true or false, as in --fact resumed=true; got 'resumed'"),
        (
            "explain --fact consecutive=-1",
            "unbroken: fact consecutive is a whole number, as in --fact consecutive=3; got 'consecutive=-1'",
        ),
        (
            "explain --fact retry_after=soon",
            "unbroken: fact retry_after is a number of seconds, as in --fact retry_after=7; got 'retry_after=soon'",
        ),
    ],
)
def test_a_bad_request_gets_one_line_and_status_2(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words.split(), capsys=capsys) == (2, "", said + "\n")


def test_a_policy_is_looked_for_where_the_command_is_called(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patient.py").write_text(
        "from unbroken.policies import DefaultPolicy, Retry, override\n"
        "policy = override(DefaultPolicy(), quota=Retry(after=20.0, because='Music.', rule='music'))\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    status, out, err = run("explain", "--http", "429", "--policy", "patient:policy", "--json", capsys=capsys)
    assert (status, err) == (0, "")
    assert json.loads(out)["decision"]["rule"] == "music"


def test_an_unknown_cause_and_an_unknown_fact_name_what_would_work(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run("explain", "--cause", "dsn", capsys=capsys)
    assert status == 2
    assert err.startswith("unbroken: unknown cause 'dsn'; did you mean 'dns'? known: answer_deadline, crash, ")
    status, _, err = run("explain", "--fact", "resume=true", capsys=capsys)
    assert status == 2
    assert err.startswith("unbroken: unknown fact 'resume'; did you mean 'resumed'? known: announced, ")


def test_an_unknown_command_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run("explian", capsys=capsys)
    assert (status, err.count("\n")) == (2, 1)
    assert "invalid choice: 'explian' (choose from " in err
    assert "'explain'" in err


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt(), 130), (ConfigError("Not so."), 2)])
def test_how_a_command_may_end(
    raised: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(_: object) -> int:
        raise raised

    monkeypatch.setattr(explain, "_run", end)
    assert run("explain", capsys=capsys)[0] == status


def test_people_get_a_panel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    words = "explain --platform gemini --phase setup --code 1007 --model m-1 --fact resumed=true --reason"
    status, out, err = run(*words.split(), "Request [bold]contains", capsys=capsys)
    assert (status, err) == (0, "")
    for said in (
        'close 1007 "Request [bold]contains" in phase setup, gemini',
        "handle  the resumption handle was refused or is poisoned",
        "gemini-resume-refused  80% sure",
        "or else   config or model: such ends look the same",
        "discuss.ai.google.dev/t/186392",
        "retry  by step handle-fresh",
        "with the history told again",
        "Assumed: the session holds history",
    ):
        assert said in out


def test_an_end_that_is_not_certain_says_what_would_tell(capsys: pytest.CaptureFixture[str]) -> None:
    words = "explain --json --platform gemini --phase setup --code 1011 --fact sibling_well=true --reason"
    status, out, _ = run(*words.split(), "Internal error encountered.", capsys=capsys)
    answer = json.loads(out)
    assert (status, answer["fault"], answer["confidence"], answer["otherwise"]) == (0, "server", 0.5, ["model", "quota"])
    assert [(case["facts"], case["fault"], case["rule"]) for case in answer["unless"]] == [
        ({"unserved": True}, "model", "gemini-unserved"),
        ({"resumed": True}, "handle", "gemini-resume-while-open"),
        ({"consecutive": 2}, "model", "unproven-beside-well"),
    ]
    told = ["--fact", "unserved=false", "--fact", "consecutive=1", "--fact", "resumed=false"]
    status, out, _ = run(*words.split(), "Internal error encountered.", *told, capsys=capsys)
    assert json.loads(out)["unless"] == [], "what was told is not asked again"


def test_what_would_tell_is_shown_to_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("explain", "--phase", "live", "--code", "1011", "--reason", "Internal error", capsys=capsys)
    assert "│ unless    announced=true: then planned, by announced-close " in out
    assert "│           sibling_well=true and consecutive=2: then server and failover, by " in out


def test_the_rules_of_a_platform_are_listed_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    status, out, _ = run("explain", "--list", "--platform", "vertex", capsys=capsys)
    names = [line.split()[0] for line in out.splitlines() if line.startswith(" ") and line[1:2].isalpha()]
    assert status == 0
    assert [
        name for name in names if name in ("own-close", "gemini-quota", "words-quota", "vertex-unserved", "close-normal")
    ] == [
        "own-close",
        "gemini-quota",
        "words-quota",
        "vertex-unserved",
        "close-normal",
    ]
    assert "gemini-unserved" not in names
    assert "openai-rate" not in names
    assert max(len(line) for line in out.splitlines()) <= 100


def test_listed_as_json_a_rule_has_all_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("explain", "--list", "--json", capsys=capsys)
    rows = {row["id"]: row for row in json.loads(out)}
    assert status == 0
    assert rows["close-timeout"] == {
        "id": "close-timeout",
        "fault": "server",
        "codes": [3008],
        "because": "The service waited too long for something.",
        "confidence": 0.5,
        "otherwise": ["planned"],
        "source": "IANA WebSocket close code registry; some services end a session's lifetime with it",
    }


def test_the_cause_may_be_written_with_a_hyphen(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("explain", "--cause", "reply-deadline", "--json", capsys=capsys)
    assert (status, '"fault": "hung"' in out) == (0, True)


class Fails:
    def decide(self, fault: Fault, situation: Situation) -> Decision:
        raise ValueError("no idea")


class SaysNothing:
    def decide(self, fault: Fault, situation: Situation) -> Decision:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (Fails, "it raised ValueError('no idea')"),
        (SaysNothing, "a policy returns a Retry, FailOver, Escalate or Finish, not NoneType"),
    ],
)
def test_a_policy_that_cannot_decide_is_named(policy: type, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{__name__}:{policy.__name__}"
    status, _, said = run("explain", "--code", "1011", "--policy", name, capsys=capsys)
    expected = f"policy {name!r} cannot decide about that: {why}; `unbroken policy check {name}` shows more"
    assert (status, said) == (2, f"unbroken: {expected}\n")


@pytest.mark.parametrize("words", [["explain", "--platform", "gemini", "--list"], ["explain", "--list", "--json"]])
def test_a_reader_that_has_had_enough_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from unbroken.cli import main; sys.exit(main())", *words]
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "--code", "1011", "--reason", "Überlastet → 模型"],
        ["explain", "--list"],
        ["doctor", "gemini/gemini-3.8-live", "--offline"],
    ],
)
def test_an_output_without_the_signs_for_it_is_no_error(words: list[str]) -> None:
    command = [sys.executable, "-c", "import sys; from unbroken.cli import main; sys.exit(main())", *words]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, timeout=120)
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")
    assert done.stdout.isascii()


def test_no_output_at_all_is_no_error() -> None:
    script = "import sys; sys.stdout = sys.stderr = None; from unbroken.cli import main; sys.exit(main(sys.argv[1:]))"
    for words, status in ((["explain", "--code", "1011"], 0), (["explain", "--code", "99999"], 2)):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, timeout=120)
        assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")
