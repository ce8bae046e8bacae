"""The laws of the tree, held by reading the source: what may be where, and how it may be written."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "runtime").rglob("*.py")) + sorted((ROOT / "plugins").rglob("*.py"))
CORE = sorted((ROOT / "runtime" / "unbroken" / "core").glob("*.py"))

LONGEST_FILE = 520
VOCABULARY = {"events.py", "messages.py"}
"""Struct after struct with their documented fields; length is no burden there."""

LONGEST_FUNCTION = 80
IMPURE = {"anyio", "asyncio", "logging", "random", "secrets", "socket", "threading", "time", "trio"}
FORBIDDEN_NAMES = {"base", "common", "helpers", "misc", "types", "util", "utils"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the dotted name that is called ("scope.cancel", "CancelScope")."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((kw.value for kw in call.keywords if kw.arg == name), None)


def test_there_is_something_to_hold() -> None:
    assert len(SOURCES) > 20
    assert len(CORE) > 5


# -- core/ ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_cannot_wait(path: Path) -> None:
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, waiting)] == []


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_reads_no_clock_and_rolls_no_die(path: Path) -> None:
    assert [module for module in imported(path) if module.partition(".")[0] in IMPURE] == []
    assert [name for name, _ in calls(path) if re.fullmatch(r"datetime(\.datetime)?\.(now|utcnow|today)", name)] == []


def test_core_says_its_law() -> None:
    law = ast.get_docstring(tree_of(ROOT / "runtime" / "unbroken" / "core" / "__init__.py"))
    assert law == "Nothing in this package awaits, reads a clock or rolls a die."


# -- every module -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_has_one_subject(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(tree_of(path)), "a module says in its docstring what it is"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE or path.name in VOCABULARY


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_broad_except_says_why(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            assert caught, f"line {node.lineno}: a bare except swallows cancellation"
            passed_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if re.search(r"\b(Base)?Exception(Group)?\b", caught) and not passed_on:
                near = " ".join(comments.get(line, "") for line in range(node.lineno - 1, node.body[0].lineno + 1))
                assert "# because" in near, f"line {node.lineno}: except {caught} without a comment that begins 'because'"


# -- cancellation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_shield_has_a_bound(path: Path) -> None:
    for name, call in calls(path):
        shield = keyword(call, "shield")
        if shield is None or (isinstance(shield, ast.Constant) and shield.value is False):
            continue
        called = name.rpartition(".")[2]
        bounded = called in {"move_on_after", "fail_after"} or keyword(call, "deadline") is not None
        assert bounded, f"line {call.lineno}: {name}(shield=…) without a deadline can hold a cancelled task for ever"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_task_is_cancelled_natively(path: Path) -> None:
    suspicious = [call.lineno for name, call in calls(path) if re.search(r"task\w*(\(\))?\.cancel$", name, re.IGNORECASE)]
    assert [line for line in suspicious if "cancel_scope" not in path.read_text().splitlines()[line - 1]] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_are_absolute(path: Path) -> None:
    relative = [n.lineno for n in ast.walk(tree_of(path)) if isinstance(n, ast.ImportFrom) and n.level]
    assert relative == []
