"""The stage that contenders play on keeps its times and its protocol, and the table of contenders holds together."""

import ast
import asyncio
import base64
import itertools
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.contenders import environments
from benchmarks.contenders.stage import OUT_RATE, Job, Loudspeaker, Microphone
from benchmarks.contenders.table import ROWS, Row, named

from unbroken.testing import virtual

ROOT = Path(__file__).parents[2]
SECOND = bytes(2 * OUT_RATE)
NUMBERED = b"".join(number.to_bytes(2, "little") * 320 for number in range(100))  # each frame says which it is

JOB: dict[str, Any] = {
    "url": "https://127.0.0.1:1",
    "ca_file": "ca.pem",
    "model": "gemini-3.8-live",
    "audio": "voice",
    "end": 0.3,
    "asks": [],
    "heard": "heard",
}
CALLER = """
import asyncio
from benchmarks.contenders.stage import perform

async def play(stage):
    print("a framework says something")
    await stage.go()
    stage.tell("up", ExceptionGroup("", [OSError("of a group")]))
    stage.loudspeaker.play(await anext(aiter(stage.microphone)))
    if not stage.number:
        raise ValueError(await stage.tool())
    try:
        await asyncio.Event().wait()
    finally:
        stage.tell("error", "after the end")

perform(play)
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Contenders are asyncio's."""
    return virtual("asyncio")


def frame_number(frame: bytes) -> int:
    assert len(frame) == 640
    return int.from_bytes(frame[:2], "little")


@pytest.mark.anyio
async def test_frames_leave_on_schedule_and_a_late_reader_gets_what_it_missed_at_once() -> None:
    clock = asyncio.get_running_loop().time
    began = clock() + 1.0
    taken: list[tuple[int, float]] = []
    async for frame in Microphone(NUMBERED, began=began):
        taken.append((frame_number(frame), round(clock() - began, 6)))
        if len(taken) == 3:
            await asyncio.sleep(0.1)
        if len(taken) == 10:
            break
    assert taken == [
        (0, 0.0), (1, 0.02), (2, 0.04), (3, 0.14), (4, 0.14), (5, 0.14), (6, 0.14), (7, 0.14), (8, 0.16), (9, 0.18)
    ]  # fmt: skip


@pytest.mark.anyio
async def test_a_microphone_that_is_opened_later_begins_with_the_frame_that_is_due() -> None:
    clock = asyncio.get_running_loop().time
    microphone = Microphone(NUMBERED, began=clock())
    await asyncio.sleep(0.49)
    frame = await anext(aiter(microphone))
    assert (frame_number(frame), round(clock(), 6)) == (25, 0.5)


@pytest.mark.anyio
async def test_there_is_silence_behind_the_end_of_the_voice() -> None:
    taken: list[bytes] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.03):
            await Microphone(NUMBERED, began=0.0).feed(taken.append)
    assert [frame_number(frame) for frame in taken[98:]] == [98, 99, 0, 0]
    assert not any(taken[100])


@pytest.mark.anyio
async def test_the_loudspeaker_plays_at_the_speed_of_speech_and_forgets_what_is_interrupted() -> None:
    ear = Loudspeaker()
    ear.play(SECOND)
    ear.play(SECOND)
    await asyncio.sleep(1.5)
    assert (ear.waiting, ear.interrupt(), ear.waiting, ear.interrupt()) == (0.5, 0.5, 0.0, 0.0)
    await asyncio.sleep(0.05)
    ear.play(SECOND)  # a gap of 50 ms is the way's jitter
    await asyncio.sleep(3)
    ear.play(SECOND)
    await asyncio.sleep(0.25)  # what is not played yet, nobody has heard
    assert [(at, len(pcm) / len(SECOND)) for at, pcm in ear.heard()] == [(0.0, 2.5), (4.55, 0.25)]


def test_a_job_needs_no_more_than_what_is_special_in_it() -> None:
    job = Job.read(json.dumps({**JOB, "asks": [{"at": 0.5, "text": "Greet the caller."}]}))
    assert (job.backup, job.backup_model, job.tuned, job.session_count, job.tool) == ("", "gemini-3.8-live", False, 1, None)
    assert [(ask.at, ask.text) for ask in job.asks] == [(0.5, "Greet the caller.")]


def test_a_process_tells_its_events_and_nothing_else_and_writes_what_was_heard(tmp_path: Path) -> None:
    (tmp_path / "voice").write_bytes(NUMBERED)
    tool = {"name": "reserve_table", "description": "Reserves a table.", "result": "reference-4711", "seconds": 0.0}
    job = {**JOB, "audio": str(tmp_path / "voice"), "heard": str(tmp_path / "heard"), "tool": tool, "session_count": 2}
    with subprocess.Popen(
        [sys.executable, "-c", CALLER],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        ready = json.loads(process.stdout.readline())
        said, _ = process.communicate(json.dumps({"go": (go := time.monotonic() + 0.05)}) + "\n")
    events = [json.loads(line) for line in said.splitlines()]
    told = Counter((event["what"], event.get("said", ""), event.get("session")) for event in events)
    assert ready == {"what": "ready"}
    assert told == {
        ("up", "OSError: of a group", 0): 1,
        ("up", "OSError: of a group", 1): 1,
        ("tool", "reserve_table", 0): 1,
        ("raised", "ValueError: reference-4711", 0): 1,
        ("done", "", None): 1,
    }
    assert all(event["at"] >= go for event in events)
    assert events[-1]["at"] >= go + 0.3
    assert set(events[-1]) == {"at", "what", "lag", "cpu"}
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    assert [(line["session"], len(base64.b64decode(line["pcm"]))) for line in heard] == [(0, 640), (1, 640)]
    assert process.returncode == 0


def test_every_row_has_a_file_that_says_how_it_can_be_corrected() -> None:
    assert len({(row.name, row.settings) for row in ROWS}) == len(ROWS)
    for row in ROWS:
        source = (ROOT / row.file).read_text()
        assert "To correct how it is set up, change this file." in source, row.file
        assert source.endswith('if __name__ == "__main__":\n    perform(play)\n'), row.file
        assert row.what.isprintable()
        assert row.imports
        assert row.packages


def test_every_tuned_row_stands_behind_the_default_row_of_the_same_adapter() -> None:
    for before, row in itertools.pairwise(ROWS):
        if row.settings == "tuned":
            assert (before.name, before.module, before.requirements) == (row.name, row.module, row.requirements)
            assert before.settings == "default"


def test_every_requirement_has_bounds() -> None:
    bounded = re.compile(r"[a-z-]+(\[[a-z,-]+\])?>=[0-9.]+,<[0-9.]+")
    for row in ROWS:
        assert all(requirement == ".[gemini,livekit]" or bounded.fullmatch(requirement) for requirement in row.requirements)


def test_a_stranger_imports_nothing_of_ours_and_the_stage_nothing_but_the_standard_library() -> None:
    ours = {row.module for row in ROWS if row.ours}
    for file in (ROOT / "benchmarks" / "contenders").glob("*.py"):
        roots = set(imported(file))
        if file.stem not in ours:
            assert not any(root.startswith("unbroken") for root in roots), file
        if file.name == "stage.py":
            assert roots <= {*sys.stdlib_module_names, "__future__"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0]
            case _:
                pass


def test_rows_are_found_by_name_and_by_module() -> None:
    assert [row.settings for row in named("pipecat")] == ["default", "tuned"]
    assert named("pipecat_gemini", settings="tuned") == named("pipecat", settings="tuned")
    with pytest.raises(ValueError, match=r"no contender 'pipcat'; there are: unbroken, unbroken in LiveKit, google-genai, "):
        named("pipcat")


def row(**changes: Any) -> Row:
    made = {
        "name": "x",
        "what": "x",
        "module": "x",
        "requirements": ["x[y]>=1,<2"],
        "imports": ["json"],
        "packages": ["pip"],
    }
    return Row(**(made | changes))


def test_an_environment_is_shared_by_those_with_the_same_requirements_only() -> None:
    place = environments.directory(row(), root=ROOT)
    assert place.parent == ROOT / ".bench"
    assert place.name.startswith("x-")
    assert environments.directory(row(name="y", settings="tuned"), root=ROOT) == place
    assert environments.directory(row(requirements=["x[y]>=1,<3"]), root=ROOT) != place


def test_a_contender_that_does_not_install_is_missing_and_says_why(tmp_path: Path) -> None:
    assert environments.prepare(row(), root=tmp_path, limit=0.0) == environments.Missing("it did not install within 0 s")


def test_the_environment_at_hand_does_where_all_is_in_it() -> None:
    here = environments.present(row(imports=["json", "email.message"], packages=["msgspec", "no-such-package"]))
    assert isinstance(here, environments.Environment)
    assert here.python == Path(sys.executable)
    assert list(here.versions) == ["msgspec"]
    missing = environments.present(row(imports=["json", "no_such.module"]))
    assert missing == environments.Missing(
        "no_such.module is not installed in this environment (without --quick it gets one of its own)"
    )
