"""The README's commands are the ones that CI runs, and the package is what its metadata says."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands(text: str) -> list[str]:
    return re.findall(r"^ *(python3 -m pip .*)$", text, re.MULTILINE)


def test_ci_runs_the_commands_of_the_readme() -> None:
    readme = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(readme) == 2
    assert sorted(readme) == sorted(commands((ROOT / ".ci" / "run").read_text(encoding="utf-8")))


def test_every_package_is_typed_and_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    present = [
        p.relative_to(ROOT).as_posix() for folder in ("runtime", "plugins") for p in (ROOT / folder).glob("unbroken*")
    ]
    assert sorted(shipped) == sorted(present)
    assert [p for p in shipped if not (ROOT / p / "py.typed").exists()] == []


def test_the_entry_points_load() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {(group, name, value) for group, points in project["entry-points"].items() for name, value in points.items()}
    for group, name, value in named:
        importlib.metadata.EntryPoint(name=name, value=value, group=group).load()


def test_nothing_committed_names_a_machine() -> None:
    """Paths of one machine and hosts of package mirrors have no business in the project."""
    telling = re.compile(r"/(work|root|home)/[a-z.]|/tmp/[a-z]+_[a-z]+|\.py" + r"env|index-url")
    written = {".json", ".jsonl", ".md", ".py", ".toml", ".txt"}
    folders = ("runtime", "plugins", "docs", "benchmarks")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in written]
    found = [p.relative_to(ROOT).as_posix() for p in texts if telling.search(p.read_text(encoding="utf-8"))]
    assert found == []


def test_an_entry_point_means_the_same_after_it_was_used() -> None:
    """A submodule of the same name would take the place of a factory as soon as it is imported."""
    import unbroken_gemini

    factory = unbroken_gemini.provider
    factory(unbroken_gemini.target("gemini-3.8-live", api_key="none"))
    assert unbroken_gemini.provider is factory
