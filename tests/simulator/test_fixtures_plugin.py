"""The pytest plugin serves simulated services to tests that ask for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
from importlib.metadata import EntryPoint
import pytest
from unbroken import registry

point = EntryPoint("gemini", "unbroken_gemini.testing:simulator", "unbroken.simulators")
registry._points = lambda group: {"gemini": point}

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

TESTS = """
import anyio
import pytest
from unbroken.abc import Endpoint
from unbroken.errors import DialFailed

@pytest.mark.anyio
@pytest.mark.simulated(memory=True, harsh=True, models=["gemini-3.8-live"], faults=["http-503"])
async def test_in_memory(simulated_service, simulator):
    assert simulated_service.simulator is simulator
    assert simulated_service.base_url.startswith("ws://")
    assert simulated_service.target("gemini-3.8-live").name == "gemini/gemini-3.8-live"
    endpoint = Endpoint(url=simulated_service.base_url + "/anywhere")
    async with anyio.create_task_group() as tasks:
        with pytest.raises(DialFailed, match="HTTP 503"):
            await simulated_service.transport.open(endpoint, tasks=tasks, on_step=lambda step: None)

@pytest.mark.anyio
async def test_over_tls(simulated_service):
    assert simulated_service.base_url.startswith("https://127.0.0.1:")
    assert simulated_service.ssl_context is not None
"""


@pytest.mark.sockets
def test_the_plugin_serves_simulated_services(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_user.py").write_text(TESTS)
    paths = os.pathsep.join([str(ROOT / "runtime"), str(ROOT / "plugins")])
    plugins = ["-p", "anyio.pytest_plugin", "-p", "unbroken.testing.fixtures"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", *plugins, "."],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # others may not be well
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "2 passed" in finished.stdout, finished.stdout + finished.stderr
