"""The README's session runs as it stands there, without a key."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


@pytest.mark.sockets
def test_the_session_of_the_readme_runs_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) <= 17, "it fits the first screen"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocks[0]], capture_output=True, text=True, check=True, timeout=120
    )
    assert "internal error" in done.stdout
    assert "[link 2 after" in done.stdout
    assert done.stdout.rstrip().endswith("."), "the reply was said to its end"
