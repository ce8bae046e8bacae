"""docs/policies.md: every block of code on it runs, and what it says of the project is so."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from unbroken.cli import main
from unbroken.policies import Escalate, Fault, Policy, Situation

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The blocks of the page, in order, as the module that its command line names."""
    (tmp_path / "my_policies.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parents[2] / ".hypothesis"))  # as other tests have
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_policies")
    del sys.modules["my_policies"]


def test_the_blocks_run_and_their_tests_pass(page: ModuleType) -> None:
    tests = [value for name, value in vars(page).items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()
    assert isinstance(page.Impatient(), Policy)
    late = page.Impatient().decide(Fault(kind="network", rule="r"), Situation(outage_age=6.0))
    assert isinstance(late, Escalate)


@pytest.mark.usefixtures("page")
def test_the_commands_do_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert commands == ["unbroken policy check my_policies:policy"]
    assert main([*commands[0].split()[1:], "--examples", "50"]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_its_links_lead_somewhere() -> None:
    folder = Path(__file__).parents[2] / "docs"
    for link in re.findall(r"\]\(([\w./-]+)\)", PAGE):
        assert (folder / link).exists(), link
