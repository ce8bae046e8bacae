"""The example agent holds its conversation."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("livekit.agents", reason="install the extra `livekit`")

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "livekit_agent.py"

pytestmark = [pytest.mark.anyio, pytest.mark.sockets, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LiveKit knows no other


async def test_the_rehearsal_goes_through_three_faults(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("livekit_agent", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    code = await example.rehearse(word_time=0.1)
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert printed.splitlines()[-1] == "The transcript is whole."
    assert printed.count("[link ") >= 3
