"""``unbroken doctor`` as a person types it: what is shown, as JSON too, the exit status, and requests that make no sense."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from unbroken.cli import main

MODEL, ELSEWHERE = "gemini-3.8-live", "gemini-live-2.5-flash-native-audio"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["doctor", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    return err


# -- What is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.sockets
def test_a_route_that_works(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "live.json").write_text('{"input_audio_transcription": {}, "output_audio_transcription": {}}')
    status, out, err = run(capsys, MODEL, "--simulated", "--config", "live.json", "--speak")
    assert (status, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert " gemini/gemini-3.8-live  gemini" in lines
    assert " ✓ setup        The service accepted the setup." in lines
    # A busy machine adds steps that took less than is shown ("credential 1 ms, ..."), or marks a slow one ("!").
    (handshake,) = (line for line in lines if line[2:].startswith(" handshake    "))
    assert re.search(r"\bdial \d+ ms, .*\bsetup \d+ ms: \d+ ms in all\.", handshake)
    assert any(line.startswith(" ✓ reply        The model replied after ") and line.endswith("”") for line in lines)
    assert lines[-1].startswith(" CALLS WORK  1 target, ")
    assert max(map(len, lines)) <= 120


@pytest.mark.sockets
def test_what_would_break_calls_is_shown_with_its_fix(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, MODEL, ELSEWHERE, "--simulated")
    assert (status, err) == (1, "")
    lines = [line.rstrip() for line in out.splitlines()]
    row = lines.index(f" ✗ model        {ELSEWHERE} is not served on the Gemini API; it is served on Vertex AI.")
    assert lines[row + 1] == "                → Use gemini-3.8-live, which is served there."
    warned = sum(line.startswith(" ! ") for line in lines)  # of a slow handshake, too, where the machine is busy
    assert warned >= 2
    assert lines[-1] == f" CALLS WOULD BREAK  2 problems, at 1 of 2 targets, {warned} warnings."


@pytest.mark.sockets
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--vertexai", "--location", "global", "--project", "p"]
    status, out, err = run(capsys, ELSEWHERE, "--simulated", "--json", *place)
    assert (status, err) == (1, "")
    report: dict[str, Any] = json.loads(out)
    assert (report["verdict"], [finding["check"] for finding in report["findings"]]) == ("problem", ["machine", "route"])
    [target] = report["targets"]
    assert (target["name"], target["platform"], target["verdict"]) == (f"gemini/{ELSEWHERE}@global", "vertex", "problem")
    assert (target["fault"]["kind"], target["closure"]["ending"]["code"], target["steps"]) == ("model", 1008, None)
    assert target["findings"][-1]["fix"].startswith("Set the location to such a region, or use gemini-3.8-live")


@pytest.mark.sockets
def test_a_fault_of_the_simulated_service(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, MODEL, "--simulated", "--fault", "http-429:7@upgradex*")
    assert status == 1
    assert " ✗ upgrade      The service takes no more requests for now" in out


def test_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, MODEL)
    assert (status, err) == (1, "")
    assert " ✗ credential   No key for the Gemini API." in out
    assert "                → Set GEMINI_API_KEY or GOOGLE_API_KEY, or give api_key= to unbroken_gemini.target." in out


def test_two_keys_are_told_of_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """google-genai logs of it too, which would be in the way."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-1")
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-2")
    status, out, err = run(capsys, MODEL, "--offline")
    assert (status, err) == (0, "")
    assert " ! environment  GOOGLE_API_KEY and GEMINI_API_KEY are both set and differ; GOOGLE_API_KEY is taken." in out
    assert "AIza" not in out


# -- An application's own route ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["voice:ROUTE", "voice:Voice.route", "voice:made"])
def test_an_applications_own_route(capsys: pytest.CaptureFixture[str], tmp_path: Path, named: str) -> None:
    module = named.replace(":", "_").replace(".", "_")
    (tmp_path / f"{module}_needs.py").write_text("")
    (tmp_path / f"{module}.py").write_text(
        "import unbroken_gemini\n"
        "ROUTE = [unbroken_gemini.target('gemini-3.8-live', api_key='AIza-1'), 'gemini/gemini-3.1-flash-live-preview']\n"
        "class Voice:\n    route = ROUTE[0]\n"
        f"def made():\n    import {module}_needs\n    return ROUTE[0]\n"
        "CONFIG = {'input_audio_transcription': {}}\n"
    )
    words = [f"{module}:{named.partition(':')[2]}", "--config", f"{module}:CONFIG", "--offline", "--json"]
    status, out, _ = run(capsys, *words)
    report = json.loads(out)
    assert report["targets"][0]["name"] == "gemini/gemini-3.8-live"
    assert report["targets"][0]["findings"][0]["said"] == "An API key, given as api_key, for the Gemini API."
    assert len(report["targets"]) == (2 if named == "voice:ROUTE" else 1)
    assert status == (1 if named == "voice:ROUTE" else 0), "the second has no key"
    assert "One side's transcription is off" in out


# -- Requests that make no sense --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "unbroken doctor: the following arguments are required: TARGET; `unbroken doctor --help` tells what there is"),
        (f"{MODEL} {MODEL}", f"unbroken: the route names gemini/{MODEL} twice; tell such targets apart with label="),
        (f"{MODEL} --speak --offline", "unbroken: a reply needs a link: leave speak or offline out"),
        (f"{MODEL} --rules acme", "unbroken: unknown set of rules 'acme'; known: gemini"),
        (f"{MODEL} --timeout 0", "unbroken: the timeout has to be above 0 s, not 0"),
        (f"{MODEL} --fault reset", "unbroken: --fault strikes a simulated service only: give --simulated too"),
        (
            f"{MODEL} --config nowhere.json",
            "unbroken: cannot read 'nowhere.json': No such file or directory; name a JSON file or MODULE:NAME for --config",
        ),
        (f"{MODEL} --config empty.json", "unbroken: 'empty.json' is no JSON: Input data was truncated"),
        (f"{MODEL} --config deep.json", "unbroken: 'deep.json' is no JSON: maximum recursion depth exceeded"),
        (
            "gemini/",
            "unbroken: a target is provider/model, such as 'gemini/gemini-3.8-live', or a model, not 'gemini/'",
        ),
        (
            f"{MODEL} --config list.json",
            "unbroken: 'list.json' has to hold a JSON object, the configuration's fields by name",
        ),
        (
            "nowhere.voice:ROUTE",
            "unbroken: there is no module 'nowhere' for nowhere.voice:ROUTE; it is looked for from here and",
        ),
        ("wave:ROUTE", "unbroken: unknown name in wave 'ROUTE'; known: "),
        (
            "wave:WAVE_FORMAT_PCM",
            "unbroken: wave:WAVE_FORMAT_PCM is no route: it holds a int; a route is a Target",
        ),
        ("wave:ROUTE --simulated", "unbroken: wave:ROUTE says itself where its targets lead: leave --simulated out"),
        ("wave:ROUTE --vertexai", "unbroken: wave:ROUTE says itself where its targets lead: leave --vertexai out"),
        ("some/model --simulated", "unbroken: unknown simulated service 'some'; known: gemini"),
        (f"{MODEL} --simulated --fault rest", "unbroken: unknown fault 'rest'; did you mean 'reset'"),
    ],
)
def test_a_request_that_makes_no_sense(words: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert refusal(capsys, *words.split()).startswith(said)


def test_a_module_that_fails_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "ailing.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        main(["doctor", "ailing:ROUTE"])
