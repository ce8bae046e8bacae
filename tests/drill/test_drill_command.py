"""``unbroken drill`` as a person types it: bad input is answered with one line and status 2."""

import subprocess
import sys
from pathlib import Path

import pytest

from unbroken.cli import main

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["drill", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_an_audio_file_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--audio", __file__) == (
        f"unbroken: {__file__!r} is not an audio file; name a WAV or FLAC file\n"
    )


def test_an_unknown_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown fault 'rest'; did you mean 'reset'" in refusal(capsys, "--fault", "rest@3s")


def test_a_fault_past_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the fault '1011@90s' is due after the drill's end at 60 s" in refusal(
        capsys, "--fault", "1011@90s", "--duration", "60"
    )
    assert "is due after the drill's end" in refusal(capsys, "--fault", "1011@9999s")


def test_an_unknown_model_with_the_near_ones(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(capsys, "--model", "gemni-3.8-live", "--fault", "1011@3s")
    assert "unknown model" in said
    assert "did you mean 'gemini-3.8-live'" in said
    monkeypatch.setenv("GEMINI_API_KEY", "none")
    assert "did you mean 'gemini-3.8-live'" in refusal(capsys, "--provider", "gemini", "--model", "gemni-3.8-live")


def test_no_key_for_the_real_service(capsys: pytest.CaptureFixture[str]) -> None:
    assert "GEMINI_API_KEY" in refusal(capsys, "--provider", "gemini")


def test_an_unknown_provider(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown provider 'gemni'; did you mean 'gemini'" in refusal(capsys, "--provider", "gemni")


def test_a_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none" / "drill.json")
    assert refusal(capsys, "--json", nowhere) == (
        f"unbroken: cannot write {nowhere!r}: No such file or directory; name another file for --json\n"
    )


def test_the_help_names_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--help"]) == 0
    said = capsys.readouterr().out
    assert "goaway" in said
    assert "Exit status" in said


@pytest.mark.sockets
def test_a_short_drill_over_tls_ends_0_and_writes_json(tmp_path: Path) -> None:
    import json

    file = tmp_path / "drill.json"
    command = [sys.executable, "-c", "import sys; from unbroken.cli import main; sys.exit(main(sys.argv[1:]))"]
    arguments = ["drill", "--fault", "1011@1s", "--duration", "3", "--json", str(file)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UNBROKEN  1 of 1 faults survived, nothing lost." in done.stdout
    written = json.loads(file.read_text())
    assert written["broken"] == []
    assert written["rows"][0]["fault"] == "1011"
    assert written["service"]["lost_ms"] == 0
