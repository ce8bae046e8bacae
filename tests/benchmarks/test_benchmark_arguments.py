"""The command lines of the benchmarks: what makes no sense is said in one line, and results are not lost."""

from pathlib import Path
from typing import Any

import pytest
from benchmarks.arguments import ended, kept

from benchmarks import __main__ as suite

BAD: list[list[str]] = [
    ["--nonsense"],
    ["--contender", "unbroken"],  # no option is guessed
    ["--only", "nothing"],
    ["--contenders", "nobody"],
    ["--jobs", "0"],
    ["--runs", "-1"],
    ["--out", "/no/such/folder/results.json"],
    ["--report", "/"],
    ["compare", "/no/such/file", "/no/such/file"],
    ["compare"],
    ["report", "/no/such/file"],
]


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_a_bad_request_is_answered_by_one_line_and_measures_nothing(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begins(*_: object, **__: object) -> None:
        pytest.fail("it begins to measure")

    monkeypatch.setattr(suite, "_places", begins)
    if "nobody" in words:
        monkeypatch.undo()  # who takes part is looked at there
    try:
        status: Any = suite.main(words)
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1


def test_results_that_cannot_be_written_where_they_should_are_kept_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept(tmp_path / "gone" / "results.json", b"{}")
    [instead] = tmp_path.glob("results-*.json")
    assert instead.read_bytes() == b"{}"
    assert str(instead) in capsys.readouterr().err


def test_an_interruption_ends_a_command_as_a_shell_expects() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert ended(interrupted) == 130
    assert ended(lambda: 1) == 1
