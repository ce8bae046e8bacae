"""``unbroken replay``: what people see of a recording, and what the exit status says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.recorder.test_recorded_machine import GivesUp, call_with_an_outage, written

from unbroken import registry
from unbroken.cli import main
from unbroken.core.machine import Input
from unbroken.recorder import Recording


@pytest.fixture
def call(tmp_path: Path) -> Path:
    lines = written(call_with_an_outage(), now=9.0)
    decision = json.loads(lines[13])
    decision["fault"]["because"] = "It broke."
    decision["decision"]["because"] = "What broke often mends itself when it is tried again, and soon at that."
    lines[13] = json.dumps(decision, separators=(",", ":")).encode()
    path = tmp_path / "call.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def run(*words: str | Path, capsys: pytest.CaptureFixture[str], columns: int = 80) -> tuple[int, list[str], str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        status = main(["replay", *map(str, words)])
    said = capsys.readouterr()
    lines = [line.rstrip() for line in said.out.splitlines()]
    assert max(map(len, lines), default=0) <= columns or "--json" in words
    return status, lines, said.err


NARROW = """\
caller-7 on p/one, then p/two
policy default; written 2026-11-22T19:38:07.123+00:00, 9.0 s into the session,
by unbroken VERSION

    0.000 begins on p/0
    0.000 the application opened the session         → dialling       dial
    0.100 upgrade, setup                             → setting up
    0.600 the provider accepted the setup            → listening      activate
    1.000 1 speech, 1 turn in 6.3 s                  → expecting
    8.000 the link ended                             → deciding       ask
          link 1, in phase live, 0.0 s old: close 1011 "Internal error"
          server (RULE): It broke.
          retry at once by handle (server-resume): What broke often mends itself
          when it is tried again, and soon at that.
    8.000 decided: dial at 8.500 s                   → waiting
    8.500 the wait is over                           → deciding       admit

12 inputs and 2 decisions replayed: all the same
"""


def test_a_narrow_page(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, err = run(call, capsys=capsys)
    assert (status, err) == (0, "")
    assert lines == NARROW.replace("VERSION", _version(call)).replace("RULE", _rule(call)).splitlines()


def _version(call: Path) -> str:
    return str(json.loads(call.read_bytes().splitlines()[0])["unbroken"])


def _rule(call: Path) -> str:
    return str(json.loads(call.read_bytes().splitlines()[13])["fault"]["rule"])


def test_a_wide_page_shows_where_each_step_came_from(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = run(call, capsys=capsys, columns=120)
    assert any("the link ended" in line and "expecting → deciding" in line for line in lines)


def test_all_shows_what_is_folded_else(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = run("--all", call, capsys=capsys)
    said = "\n".join(lines)
    for what in ("the upgrade began", "the user began to speak", "the outage began", "and nothing was"):
        assert what in said


def test_what_a_session_may_meet_besides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    it: Recording = call_with_an_outage()
    it.machine.lag(9.0, paused=True)
    it.machine.lag(9.5, paused=False)
    for happened in (Input.GO, Input.SETUP, Input.UP, Input.REPLY_BEGAN):
        it.machine.feed(happened, 10.0)
    it.machine.announce(50.0, 11.0)
    it.machine.expire(18.0, output_at=11.0)
    it.machine.expire(19.0, output_at=11.0)
    it.machine.feed(Input.CLOSE, 19.1)
    path = tmp_path / "call.jsonl"
    path.write_bytes(b"\n".join(written(it)))
    status, lines, _ = run(path, capsys=capsys, columns=120)
    said = "\n".join(lines)
    assert status == 0
    for what in (
        "the application takes no events",
        "the application takes its events again",
        "the peer announced the end of the link, 50 s ahead",
        "no reply came, or it stalled",
        "the application closed the session",
    ):
        assert what in said


def test_a_difference_is_shown_and_is_the_exit_status(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call.write_bytes(call.read_bytes().replace(b'"LISTENING"', b'"SPEAKING"'))
    status, lines, _ = run(call, capsys=capsys)
    assert status == 1
    assert "          differs: it comes to LISTENING with ACTIVATE; recorded is SPEAKING" in lines
    at = lines.index("8 inputs could not be replayed: after a difference none is until the next")
    assert lines[at + 2 :] == [
        "4 inputs and 2 decisions replayed: 1 difference",
        "line 7, 0.600 s: it comes to LISTENING with ACTIVATE; recorded is SPEAKING with",
        "ACTIVATE",
    ]


def test_many_differences_are_counted(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = call.read_bytes().splitlines()
    changed = lines[13].replace(b'"after":0.0', b'"after":4.0')
    call.write_bytes(b"\n".join([*lines[:13], *([changed] * 12), *lines[14:]]))
    status, said, _ = run(call, capsys=capsys)
    assert (status, said[-1]) == (1, "and 2 more")
    assert "12 inputs and 13 decisions replayed: 12 differences" in said


def test_another_policy_can_be_asked(
    call: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--policy", "default", call, capsys=capsys)[0] == 0
    monkeypatch.setattr(registry, "policy", lambda name: {"gives-up": GivesUp()}[name])
    status, lines, _ = run("--policy", "gives-up", call, capsys=capsys, columns=120)
    assert status == 1
    assert any(line.lstrip().startswith("differs: the decision is type 'escalate', rule 'gives-up'") for line in lines)


def test_a_policy_that_is_not_here_stands_as_recorded(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call.write_bytes(call.read_bytes().replace(b'"policy":"default"', b'"policy":"theirs"'))
    status, lines, _ = run(call, capsys=capsys, columns=120)
    assert status == 0
    assert "1 decision of theirs, which is not here, stands as recorded; --policy NAME asks another." in lines


def test_a_rule_that_is_not_here_stands_as_recorded(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call.write_bytes(call.read_bytes().replace(f'"rule":"{_rule(call)}"'.encode(), b'"rule":"mine"'))
    status, lines, _ = run(call, capsys=capsys, columns=120)
    assert status == 0
    assert "1 fault by a rule that is not here stands as recorded; --rules NAME adds rows." in lines


def test_json(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = run(call, "--json", capsys=capsys)
    said = json.loads("\n".join(lines))
    assert (status, said["same"], said["inputs"], said["decisions"], said["differences"]) == (0, True, 12, 2, [])
    assert said["header"]["session"] == "caller-7"
    assert [step["line"]["type"] for step in said["steps"]][-2:] == ["wait", "expire"]
    assert said["steps"][-1]["due"] == "WAIT_OVER"


def test_a_file_that_breaks_off_is_told_of(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call.write_bytes(call.read_bytes()[:-5])
    status, lines, _ = run(call, capsys=capsys)
    assert status == 0
    assert "The file is not whole: it breaks off within line 18." in lines


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "it is empty, so no recording"),
        (b"one line\nand another\n", "its first line is not that of a recording; Session.record writes one"),
    ],
)
def test_what_is_no_recording_has_status_2(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    status, lines, err = run(path, capsys=capsys)
    assert (status, lines) == (2, [])
    assert err in (f"unbroken: {path}: {said}\n", f"unbroken: {path} {said}\n")


@pytest.mark.parametrize(
    ("number", "field", "value", "why"),
    [
        (3, "input", ["OPEN"], "there is no input ['OPEN']"),
        (3, "commands", [["DIAL"]], "there is no command ['DIAL']"),
        (2, "situation", {"now": 0.0}, "there is no target 0 among targets []"),
        (2, "first", {"target": 7}, "there is no target 7 among targets [0, 1]"),
        (2, "first", {"target": -1}, "there is no target -1 among targets [0, 1]"),
    ],
)
def test_what_nobody_recorded_is_refused(
    number: int, field: str, value: object, why: str, call: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = call.read_bytes().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), field: value}).encode()
    call.write_bytes(b"\n".join(lines))
    status, _, said = run(call, capsys=capsys)
    assert (status, said) == (2, f"unbroken: {call}: line {number + 1} is none of a recording: {why}\n")


@pytest.mark.parametrize("number", [0, 3])
def test_what_is_nested_too_deeply_is_refused(number: int, call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = call.read_bytes().splitlines()
    lines[number] = b'{"type":' + b"[" * 100_000
    call.write_bytes(b"\n".join(lines))
    assert run(call, capsys=capsys)[0] == 2


def test_nothing_in_a_recording_is_obeyed_by_the_terminal(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    escape = json.dumps("\x1b]0;owned\x07\x1b[2J")[1:-1]
    for said in ("p/one", "caller-7", "Internal error", "It broke", "server-resume"):
        call.write_text(call.read_text().replace(said, f"{said}{escape}"))
    for words in ([], ["--json"], ["--all"]):
        status, lines, _ = run(call, *words, capsys=capsys, columns=200)
        assert status in (0, 1)
        assert "owned" in "".join(lines)
        assert not any("\x1b" in line or "\\u001b" in line for line in lines)


def test_an_unknown_policy_has_status_2(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run("--policy", "nope", call, capsys=capsys)
    assert status == 2
    assert err.startswith("unbroken: unknown policy 'nope'; known: ")
