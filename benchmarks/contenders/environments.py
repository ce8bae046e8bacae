"""Gives each contender an environment of its own, so that pins cannot clash; those with the same requirements share one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.contenders.table import Row

__all__ = ["FOLDER", "Environment", "Missing", "directory", "prepare", "present"]

FOLDER = ".bench"
"""Where the environments are, in the checkout; it is not part of the repository."""

_LIMIT = 120.0  # seconds that an installation may take
_DONE = "installed"  # the file that tells that an environment is whole
_VERSIONS = """
import importlib.metadata as metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class Environment(msgspec.Struct, frozen=True):
    """Where a contender runs.

    Attributes:
        python: its interpreter.
        versions: of the contender's packages.
    """

    python: Path
    versions: Mapping[str, str]


class Missing(msgspec.Struct, frozen=True):
    """A contender that cannot run here.

    Attributes:
        why: one sentence for people.
    """

    why: str


def prepare(row: Row, *, root: Path, limit: float = _LIMIT) -> Environment | Missing:
    """Makes a contender's environment, or takes the one that is there.

    Args:
        row: the contender.
        root: of the checkout.
        limit: seconds that the installation may take.
    """
    place = directory(row, root=root)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    try:
        if not (place / _DONE).exists():
            _make(place, python, row.requirements, root=root, limit=limit)
            (place / _DONE).write_text("\n".join(row.requirements) + "\n")
        told = _run([str(python), "-c", _VERSIONS, *row.packages], root=root, limit=limit)
    except subprocess.TimeoutExpired:
        return Missing(f"it did not install within {limit:g} s")
    except subprocess.CalledProcessError as failed:
        return Missing(f"it did not install: {_last_words(failed)}")
    except OSError as failed:
        return Missing(f"it did not install: {failed}")
    return Environment(python, json.loads(told))


def present(row: Row) -> Environment | Missing:
    """Returns the running interpreter where all that a contender needs is in its environment already."""
    for module in row.imports:
        if not _importable(module):
            return Missing(f"{module} is not installed in this environment (without --quick it gets one of its own)")
    return Environment(Path(sys.executable), {name: version for name in row.packages if (version := _version(name))})


def directory(row: Row, *, root: Path) -> Path:
    """Returns where a contender's environment is, or would be: named after what is in it and what made it.

    Args:
        row: the contender.
        root: of the checkout.
    """
    made_by = [*row.requirements, sys.version, sys.executable]
    if row.ours:
        made_by.append((root / "pyproject.toml").read_text())
    first = "unbroken" if row.ours else re.split(r"[\[<>=~! ]", row.requirements[0])[0]
    return root / FOLDER / f"{first}-{hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:8]}"


def _make(place: Path, python: Path, requirements: Sequence[str], *, root: Path, limit: float) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    wanted = [part for one in requirements for part in (("--editable", one) if one.startswith(".") else (one,))]
    uv = shutil.which("uv") or shutil.which(root / ".uv" / "bin" / "uv")
    if uv is not None:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], root=root, limit=limit)
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted], root=root, limit=limit)
    else:
        _run([sys.executable, "-m", "venv", str(place)], root=root, limit=limit)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *wanted], root=root, limit=limit)


def _run(command: Sequence[str], *, root: Path, limit: float) -> str:
    done = subprocess.run(
        command, cwd=root, timeout=limit, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return done.stdout


def _last_words(failed: subprocess.CalledProcessError) -> str:
    lines = [line.strip(" ×╰─▶│") for line in str(failed.stderr).splitlines()]
    return " ".join(line for line in lines if line)[-300:] or f"exit code {failed.returncode}"


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
