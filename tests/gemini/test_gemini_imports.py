"""The first session of a process: google-genai takes a second to import, in which other sessions have to go on."""

import json
import subprocess
import sys

FIRST = """
import importlib.abc, json, sys, threading
import anyio
import unbroken, unbroken_gemini

seen = {}

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        seen.setdefault(name, threading.current_thread() is threading.main_thread())

early = [name for name in ("google.genai", "unbroken_gemini.service") if name in sys.modules]
sys.meta_path.insert(0, Watch())

async def main():
    target = unbroken_gemini.target("gemini-3.8-live", api_key="any", base_url="http://127.0.0.1:9")
    async with unbroken.connect(target):
        pass

anyio.run(main)
heavy = ("google.genai", "httpx2", "httpcore2", "pydantic")
on_the_loop = [name for name, main in seen.items() if main and name.startswith(heavy)]
elsewhere = [name for name, main in seen.items() if not main]
print(json.dumps({"early": early, "on the loop": on_the_loop, "elsewhere": elsewhere}))
"""


def test_the_first_session_imports_google_genai_in_a_thread_before_it_dials() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    imported = json.loads(done.stdout)
    assert imported["early"] == [], "importing the plugin loads nothing of it"
    assert imported["on the loop"] == []
    assert "google.genai" in imported["elsewhere"]
