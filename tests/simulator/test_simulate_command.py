"""`unbroken simulate` serves real clients, says how to connect, and refuses nonsense in one line."""

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import unbroken.cli
from unbroken import registry
from unbroken.testing.faults import FAULTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point, whether or not the tree under test is the one that is installed."""
    point = EntryPoint("gemini", "unbroken_gemini.testing:simulator", "unbroken.simulators")
    monkeypatch.setattr(registry, "_points", lambda group: {"gemini": point} if group == "unbroken.simulators" else {})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--fault", "restart@3s"], "unbroken: unknown fault 'restart'; did you mean 'reset'? known: 1011, down, fin,"),
        (["--fault", "1011@soon"], "unbroken: unknown moment of a fault 'soon'"),
        (["--fault", "goaway:x"], "unbroken: fault 'goaway:x': 'x' is not a duration"),
        (
            ["--fault", "refuse-model:gemni-3.8-live"],
            "unbroken: unknown model to refuse 'gemni-3.8-live'; did you mean",
        ),
        (["--provider", "gemni"], "unbroken: unknown simulated service 'gemni'; did you mean 'gemini'? known: gemini"),
        (
            ["--model", "gemni-3.8-live"],
            "unbroken: unknown model on the Gemini API 'gemni-3.8-live'; did",
        ),
        (["--port", "70000"], "unbroken: there is no port 70000; give one from 0 to 65535"),
        (["--port", "x"], "unbroken simulate: argument --port: invalid int value: 'x'"),
    ],
)
def test_nonsense_gets_one_clear_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert unbroken.cli.main(["simulate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_the_help_names_every_kind_of_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert unbroken.cli.main(["simulate", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(kind.usage in out and kind.doc in out for kind in FAULTS.values())


SERVE = """
import sys
from importlib.metadata import EntryPoint
from unbroken import registry
import unbroken.cli
point = EntryPoint("gemini", "unbroken_gemini.testing:simulator", "unbroken.simulators")
registry._points = lambda group: {"gemini": point}
sys.exit(unbroken.cli.main(["simulate", *sys.argv[1:]]))
"""


@contextmanager
def simulate(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    paths = os.pathsep.join([str(ROOT / "runtime"), str(ROOT / "plugins")])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.sockets
def test_it_serves_until_it_is_interrupted() -> None:
    from websockets.sync.client import connect

    with simulate("--fault", "1011:That is all@#2") as process:
        assert process.stdout is not None
        head = ""
        while "genai.Client" not in head:
            head += process.stdout.readline()
        url = re.search(r"https://127\.0\.0\.1:\d+", head)
        authority = re.search(r"certificate authority: (\S+)", head)
        assert url is not None
        assert authority is not None
        path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=any"
        context = ssl.create_default_context(cafile=authority[1])
        with connect(url[0].replace("https", "wss") + path, ssl=context, proxy=None, compression=None) as socket:
            socket.send('{"setup": {"model": "models/gemini-3.8-live"}}')
            assert b"setupComplete" in socket.recv(decode=False)
            socket.send('{"realtimeInput": {"text": "hello"}}')
            with pytest.raises(Exception, match="That is all"):
                while True:
                    socket.recv()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert "fault: 1011:That is all@#2" in out
        assert "1 connections, 0 spoken turns" in err
        assert process.returncode == 130
        assert not Path(authority[1]).exists()
