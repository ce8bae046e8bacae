"""The package of docs/policy-package: built, installed into an environment of its own, and found there by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unbroken import registry

PACKAGE = Path(__file__).parents[2] / "docs" / "policy-package"

GOOD, LESSER = "gemini/gemini-3.8-live", "gemini/gemini-3.1-flash-live-preview"

COMMAND = "import sys; from unbroken.cli import main; sys.exit(main())"

SESSION = """
import json
import random

import anyio

import unbroken
from unbroken.testing import virtual
from unbroken.testing.service import serve
from unbroken_gemini.testing import simulator

# a quota that is spent for 7 s; a model that keeps failing, whether or not a spare takes one of the strikes; and the
# gateway, which drains its lines
FAULTS = ["http-429:7@1s", "reset@2s", "1011@30sx5", "4410:drained@80s"]


async def main():
    told = []
    async with serve(simulator(), faults=FAULTS, memory=True) as service:
        route = [service.target("gemini-3.8-live"), service.target("gemini-3.1-flash-live-preview")]
        async with unbroken.Runtime(transport=service.transport, random=random.Random(1).random) as runtime:
            session = runtime.open(route, policy="support-line", rules="support-line")

            async def caller():
                for _ in range(10):
                    await session.send_text("Are you still there?")
                    await anyio.sleep(10)
                await session.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller)
                async for event in session:
                    match event:
                        case unbroken.OutageBegan():
                            by = {"fault": event.fault.rule, "decision": event.decision.rule}
                            told.append({**by, "fallback": event.fallback})
                        case unbroken.Recovered():
                            told.append({"recovered": event.target})
                        case unbroken.Waiting():
                            told.append({"waiting": event.because})
    print(json.dumps(told))


backend, options = virtual("asyncio")
anyio.run(main, backend=backend, backend_options=options)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the package and all that is installed here; returns its interpreter.

    The package is built and installed as an installer does it, from a wheel, but without an index: the build backend is one
    of the tests' own dependencies.
    """
    work = tmp_path_factory.mktemp("package")
    source = shutil.copytree(PACKAGE, work / "source", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    environment = work / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    places = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=places))
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    here = sysconfig.get_path("purelib")
    # addsitedir, because a bare path would leave out the .pth files of that place, and with them an editable unbroken
    (packages / "what_is_here.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    return Path(sysconfig.get_path("scripts", scheme="venv", vars=places)) / "python"


@pytest.fixture(scope="module")
def run(installed: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in that environment."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(installed), "-c", code, *arguments], check=False, capture_output=True, text=True, cwd=installed.parent
        )

    return run


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command(run: Run, *words: str) -> Any:
    done = run(COMMAND, *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_it_is_installed_there_and_not_here(run: Run) -> None:
    listed = command(run, "policy", "list")
    assert [row["name"] for row in listed] == ["default", "support-line"]
    assert listed[1]["summary"] == (
        "Waits for the good model while music plays, comes back to it when that costs nothing, and hands over in time."
    )
    assert "support-line" not in registry.names("unbroken.policies")


def test_a_session_finds_it_by_name_and_it_decides(run: Run) -> None:
    done = run(SESSION)
    # where the machine stands still, the runtime says that a decision took long
    assert [line for line in done.stderr.splitlines() if "ms to decide while every session waits" not in line] == []
    told = json.loads(done.stdout)
    decided = [row["decision"] for row in told if "decision" in row]
    assert [rule for rule in decided if rule in ("wait-for-quota", "come-back")] == ["wait-for-quota", "come-back"]
    assert not any(row["fallback"] for row in told if "decision" in row)
    assert [row["waiting"] for row in told if "waiting" in row] == [
        "The quota is back in 7 s, and the caller hears music until then."
    ]
    assert [row["recovered"] for row in told if "recovered" in row] == [GOOD, LESSER, GOOD]
    assert [row["fault"] for row in told if row.get("decision") == "come-back"] == ["gateway-drain"], "by a row of its own"


def test_nothing_is_wrong_with_it(run: Run) -> None:
    verdict = command(run, "policy", "check", "support-line", "--rules", "support-line", "--examples", "10")
    assert (verdict["ok"], verdict["complaints"]) == (True, [])


def test_its_rows_explain_what_the_gateway_says(run: Run) -> None:
    words = ("explain", "--platform", "gemini", "--code", "4410")
    answer = command(run, *words, "--rules", "support-line", "--policy", "support-line")
    assert (answer["rule"], answer["fault"], answer["action"]) == ("gateway-drain", "planned", "retry")
    assert command(run, *words)["fault"] == "unknown", "rows of others are read where they are named"


def test_its_own_tests_pass_there(run: Run) -> None:
    # the plugins of all that is installed here are none of the package's, and take longer to load than its tests to run
    code = "import os, sys, pytest; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'; sys.exit(pytest.main(sys.argv[1:]))"
    tests = PACKAGE / "tests"
    done = run(code, "-q", "-p", "no:cacheprovider", "--rootdir", str(tests), str(tests))
    assert done.returncode == 0, done.stdout
