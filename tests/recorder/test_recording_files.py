"""How recordings get into files and out of them, whatever is wrong with the disk or the file."""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import os
import stat
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from unbroken.config import Deadlines, Settings, Wording
from unbroken.core.machine import Input
from unbroken.decisions import Closure, Ending, Fault, Retry, Situation, TargetState
from unbroken.errors import ConfigError
from unbroken.messages import Decided
from unbroken.recorder import Folder, Recording, file_name, header_of, replay
from unbroken.recorder.folder import PER_MINUTE
from unbroken.recorder.lines import LONGEST

WRITTEN = datetime(2026, 11, 22, 19, 38, 7, 123456, tzinfo=UTC)


def recording(session: str = "caller-7", settings: Settings | None = None) -> Recording:
    it = Recording(session, targets=["p/one", "p/two"], settings=settings or Settings(), policy_repr="<DefaultPolicy>")
    it.machine.feed(Input.OPEN, 100.0)
    it.machine.feed(Input.UPGRADE, 100.5)
    return it


def lines_of(it: Recording) -> list[bytes]:
    stream = io.BytesIO()
    it.dump(stream, now=101.0, written=WRITTEN)
    return stream.getvalue().splitlines()


def test_what_is_written() -> None:
    lines = [json.loads(line) for line in lines_of(recording())]
    header = lines[0]
    assert header.pop("settings")["deadlines"]["close"] == Deadlines().close
    assert header == {
        "type": "recording",
        "format": 1,
        "unbroken": metadata.version("unbroken"),
        "session": "caller-7",
        "targets": ["p/one", "p/two"],
        "policy": "default",
        "policy_repr": "<DefaultPolicy>",
        "began": 100.0,
        "now": 101.0,
        "written": "2026-11-22T19:38:07.123+00:00",
        "lost": 0,
    }
    calm = {"asked_at": "-inf", "handover_from": "inf", "lull_from": "-inf", "quiet_left": 0.0}
    assert lines[1:] == [
        {"type": "checkpoint", "state": "NEW", "last": "OPEN", "timers": {}, **calm},
        {"type": "feed", "at": 100.0, "input": "OPEN", "commands": ["DIAL"], "state": "DIALLING"},
        {"type": "feed", "at": 100.5, "input": "UPGRADE", "commands": [], "state": "UPGRADING"},
        {"type": "checkpoint", "state": "UPGRADING", "last": "UPGRADE", "timers": {"PHASE_OVERDUE": 103.5}, **calm},
        {"type": "end", "lines": 5},
    ]


def test_settings_come_back_but_for_the_applications_text() -> None:
    settings = Settings(
        patience=math.inf, wording=Wording(owed="A secret of the application's."), deadlines=Deadlines(reply=77.0)
    )
    lines = lines_of(recording(settings=settings))
    assert b"secret" not in b"".join(lines)
    read = header_of(lines[0]).settings
    assert (read.patience, read.deadlines.reply, read.wording) == (math.inf, 77.0, Wording())


def test_a_recording_without_any_input() -> None:
    it = Recording("caller-7", targets=["p/one"], settings=Settings())
    replayed = replay(lines_of(it))
    assert (replayed.same, replayed.inputs, replayed.header.began) == (True, 0, 101.0)


def test_texts_are_bounded_and_can_always_be_written() -> None:
    it = recording("caller \ud83d")
    told = Decided(
        ask_id=1,
        closure=Closure(ending=Ending(code=4711, reason="no " * 10_000 + "\udc00")),
        situation=Situation(targets=(TargetState(name="p/one", index=0, quota_group="q", credentials="p"),)),
        fault=Fault(kind="unknown", rule="unknown", because="no " * 10_000),
        decision=Retry(because="half \ud83d"),
    )
    it.asked(told, now=101.0)
    lines = lines_of(it)
    decision = json.loads(lines[4])
    assert len(decision["closure"]["ending"]["reason"]) == len(decision["fault"]["because"]) == LONGEST
    assert decision["decision"]["because"] == "half ?"
    assert replay(lines).header.session == "caller ?"


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text("old")
    recording().dump(path, now=101.0, written=WRITTEN)
    assert path.read_bytes().splitlines() == lines_of(recording())
    assert os.listdir(tmp_path) == ["call.jsonl"]
    assert not path.stat().st_mode & stat.S_IXUSR


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        recording().dump(path, now=101.0, written=WRITTEN)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["call.jsonl"])


@pytest.mark.parametrize(
    ("session", "name"),
    [
        ("caller-7", "caller-7-20261122-193807-123.jsonl"),
        ("../../etc/passwd", "_.._etc_passwd-20261122-193807-123.jsonl"),
        ("+49 30 / Frau Müller", "_49_30_Frau_M_ller-20261122-193807-123.jsonl"),
        ("-rf", "rf-20261122-193807-123.jsonl"),
        ("", "_-20261122-193807-123.jsonl"),
        ("x" * 500, f"{'x' * 80}-20261122-193807-123.jsonl"),
    ],
)
def test_a_files_name_is_safe(session: str, name: str) -> None:
    assert file_name(session, WRITTEN) == name


def test_a_folder_is_made_and_its_files_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder(tmp_path / "a" / "b")
    path = folder.keep(recording(), now=101.0, written=WRITTEN)
    assert path == tmp_path / "a" / "b" / "caller-7-20261122-193807-123.jsonl"
    assert path.read_bytes().splitlines() == lines_of(recording())
    assert caplog.messages == [f"session caller-7 was given up; `unbroken replay {path}` shows how it came to that"]
    assert repr(folder) == f"<Folder {str(tmp_path / 'a' / 'b')!r}>"


def test_a_disk_that_fails_ends_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = Folder(tmp_path / "file")
    assert folder.keep(recording(), now=101.0, written=WRITTEN) is None
    (said,) = caplog.messages
    assert said.startswith(f"session caller-7: no recording in {tmp_path / 'file'}: FileExistsError(")


def test_an_outage_of_a_thousand_sessions_writes_a_few_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    folder = Folder(tmp_path)
    for number in range(1000):
        folder.keep(recording(f"caller-{number}"), now=101.0, written=WRITTEN)
    assert len(os.listdir(tmp_path)) == PER_MINUTE
    assert caplog.messages[PER_MINUTE:] == ["20 recordings are enough for a minute; none is written for a while"]
    assert folder.keep(recording("later"), now=160.9, written=WRITTEN) is None
    assert folder.keep(recording("later"), now=161.0, written=WRITTEN) is not None


# -- files that are no recordings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "it is empty, so no recording"),
        ([b" \n"], "it is empty, so no recording"),
        ([b"127.0.0.1 localhost"], "its first line is not that of a recording; Session.record writes one"),
        ([b"[]"], "its first line is not that of a recording; Session.record writes one"),
        ([b'"recording"'], "its first line is not that of a recording; Session.record writes one"),
        ([b'{"type": "feed"}'], "its first line is not that of a recording; Session.record writes one"),
        (
            [b'{"type": "recording", "format": 1, "unbroken": "0.1.0"}'],
            "its first line is not that of a recording: Object missing required field `session`",
        ),
        (
            [b'{"type": "recording", "format": 2, "unbroken": "7.1"}', b'{"type": "what is this?"}'],
            "it is of format 2, by unbroken 7.1, and this version reads up to 1: pip install 'unbroken>=7.1'",
        ),
    ],
)
def test_what_is_no_recording_is_refused(lines: list[bytes], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replay(lines)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 3 is none of a recording: Input data was truncated"),
        (
            b'{"type":"feed","at":1,"input":"UP","state":"NEW","commands":["?"]}',
            "line 3 is none of a recording: there is no command '?'",
        ),
        (b'{"type":"feed","at":1,"input":7,"state":"NEW"}', "line 3 is none of a recording: there is no input 7"),
        (b"[]", "line 3 is none of a recording: Expected `object`, got `array`"),
        (b'{"type": "what"}', "line 3 is none of a recording: Invalid value 'what' - at `$.type`"),
        (b'{"type": "feed", "at": "soon"}', "line 3 is none of a recording: Expected `float`, got `str` - at `$.at`"),
        (b'{"type":"feed","at":1,"input":"UPP","state":"NEW"}', "line 3 is none of a recording: there is no input 'UPP'"),
        (b'{"type":"end","lines":3}', "line 3 has no place there: a recording begins once and ends once"),
        (
            b'{"type":"checkpoint","state":"N","last":"UP","timers":{},"asked_at":0,"handover_from":0}',
            "line 3 is none of a recording: there is no state 'N'",
        ),
    ],
)
def test_a_line_in_its_midst_that_is_none_is_named(line: bytes, said: str) -> None:
    lines = lines_of(recording())
    lines[2] = line
    with pytest.raises(ConfigError) as caught:
        replay(lines)
    assert str(caught.value) == said


def test_a_file_that_breaks_off_is_replayed_as_far_as_it_goes() -> None:
    lines = lines_of(recording())
    whole = b"\n".join(lines)
    replayed = replay(whole[:-5].splitlines())
    assert (replayed.same, replayed.inputs, replayed.cut) == (True, 2, "it breaks off within line 6")
    replayed = replay(lines[:-2])
    assert (replayed.same, replayed.inputs, replayed.cut) == (True, 2, "it breaks off after line 4")
    replayed = replay([lines[0], *lines[2:]])
    assert (replayed.same, replayed.inputs) == (True, 0)
    assert replayed.cut == "it has 4 lines before its end, where 5 were written"


def test_wherever_a_file_breaks_off_nothing_crashes() -> None:
    whole = b"\n".join(lines_of(recording()))
    header = whole.index(b"\n")
    for length in range(header, len(whole)):
        assert replay(whole[:length].splitlines()).same


def test_fields_of_a_later_version_are_passed_over() -> None:
    lines = [json.dumps({**json.loads(line), "later": [1]}) for line in lines_of(recording())]
    assert replay(lines).same
