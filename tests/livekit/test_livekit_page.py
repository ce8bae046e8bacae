"""The page of parameters says what the signatures say."""

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("livekit.plugins.google", reason="install the dependency group `test` for LiveKit's google plugin")

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate_livekit", DOCS / "generate_livekit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_signatures_say() -> None:
    written = (DOCS / "livekit-parameters.md").read_text(encoding="utf-8")
    if (installed := version("livekit-plugins-google")) not in written:
        pytest.skip(f"the page compares with another version than {installed}, which uv.lock names")
    assert written == generator().page(), "run `python docs/generate_livekit.py`"


def test_every_note_is_about_a_parameter() -> None:
    page = generator().page()
    assert [name for name in generator().DIFFERENT if f"| `{name}` |" not in page] == []
