"""What is wrong with a policy is found, and shown by a question that a person can read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unbroken.cli import main
from unbroken.config import Settings
from unbroken.core.classify import Rule
from unbroken.errors import MissingExtra
from unbroken.policies import (
    Decision,
    DefaultPolicy,
    Escalate,
    FailOver,
    Fault,
    Finish,
    Policy,
    Retry,
    Situation,
    TargetState,
    override,
)
from unbroken.testing import policies
from unbroken.testing.plays import End, Scene, play
from unbroken.testing.policies import Complaint, check
from unbroken.testing.spelling import spelled

DEFAULT = DefaultPolicy()
HUNG = Fault(kind="hung", rule="r")


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis settles on a folder once per process: let it be that of the other tests."""
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parents[2] / ".hypothesis"))


class Odd:
    """Does something of its own at one sort of question, and as the default policy otherwise."""

    def __init__(self, at: Callable[[Fault, Situation], bool], do: Callable[[], Any]) -> None:
        self.at = at
        self.do = do

    def decide(self, fault: Fault, situation: Situation) -> Decision:
        if self.at(fault, situation):
            decision: Decision = self.do()
            return decision
        return DEFAULT.decide(fault, situation)

    def __repr__(self) -> str:
        return "<Odd>"


def only(policy: Policy) -> Complaint:
    (complaint,) = check(policy, examples=60).complaints
    return complaint


def test_the_default_policy_is_right() -> None:
    verdict = check(DEFAULT, examples=60)
    assert (verdict.complaints, verdict.notes, verdict.differences) == ((), (), ())
    assert (verdict.random, verdict.plays, sum(verdict.endings.values())) == (60, 60, 60)
    assert verdict.known > 5000
    assert verdict.decisions > 2 * verdict.known


def test_an_exception_is_shown_with_the_plainest_question() -> None:
    complaint = only(Odd(lambda _, situation: situation.handle_failures > 6, lambda: {"this": 1}["that"]))
    assert (complaint.kind, complaint.what) == ("raises", "raised KeyError('that')")
    assert complaint.situation.handle_failures == 7
    assert len(complaint.situation.targets) == 1
    assert complaint.situation.targets[0].tried == 0


def test_what_cannot_be_performed_is_found_in_a_whole_session() -> None:
    complaint = only(Odd(lambda fault, there: fault.rule == "end-0" and there.attempt == 4, lambda: FailOver(target=7)))
    assert complaint.kind == "nonsense"
    assert complaint.what.startswith("returned FailOver(target=7): it fails over to target 7, and the route has ")


def test_a_busy_loop_is_found() -> None:
    complaint = only(override(DEFAULT, protocol=Retry(because="Again.")))
    assert complaint.kind == "busy"
    assert complaint.what == (
        f"returned retry by handle at once: {complaint.situation.targets[0].name} has failed 2 times in a row and is dialled"
        " without a pause; wait 0.05 s at least, and longer each time"
    )


def test_a_wait_past_patience_is_found() -> None:
    def waits(fault: Fault, situation: Situation) -> bool:
        return fault.kind == "quota" and not situation.targets[situation.current].ruled_out

    complaint = only(Odd(waits, lambda: Retry(after=90.0, because="Music.")))
    assert complaint.kind == "overlong"
    assert complaint.what == (
        "returned retry by handle in 90 s, past the session's patience of 60 s more: escalate, or go elsewhere"
    )


def test_a_memory_of_its_own_is_found() -> None:
    count = iter(range(1_000_000))
    complaint = only(Odd(lambda fault, _: fault.kind == "hung", lambda: Retry(after=0.1 + next(count) / 1000)))
    assert complaint.kind == "wavers"
    assert re.fullmatch(r"returned Retry\(after=0\.1\) and, asked the same again, Retry\(after=0\.\d+\)", complaint.what)


def test_a_memory_that_shows_only_in_made_up_situations_is_found() -> None:
    count = iter(range(1_000_000))
    odd = Odd(lambda _, situation: situation.recoveries_left == 2, lambda: Escalate(because=str(next(count))))
    assert only(odd).kind == "wavers"


def test_a_decision_that_takes_its_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return now

    def think() -> Decision:
        nonlocal now
        now += 0.06
        return Escalate(because="Thought about it.")

    monkeypatch.setattr(policies, "time", Clock)
    odd = Odd(lambda fault, _: fault.kind == "auth", think)
    complaint = only(odd)
    assert (complaint.kind, complaint.what) == ("slow", "took 60 ms, while all sessions of the runtime wait")
    assert check(odd, examples=1).notes == (
        "The slowest decision took more than 5 ms, which the runtime counts and reports.",
    )


def test_a_decision_without_a_reason_is_noted_and_what_differs_is_told() -> None:
    verdict = check(override(DEFAULT, quota=Retry(after=20.0), auth=Finish(because="Enough.")), examples=1)
    assert verdict.complaints == ()
    assert len(verdict.notes) == 1
    assert verdict.notes[0].endswith(
        "decisions do not say why: `because` is one plain sentence for the person on call, and for the log."
    )
    differences = {difference.id: difference for difference in verdict.differences}
    assert {difference.fault for difference in verdict.differences} == {"quota", "auth"}
    assert differences["http-429"].default == "fail over to 1 by history at once"
    assert differences["http-429"].policy == "retry by handle in 20 s"


def test_rows_of_ones_own_are_read_first() -> None:
    row = Rule(id="mine", fault="quota", words=("internal error",))
    odd = Odd(lambda fault, _: fault.rule == "mine", lambda: Escalate(because="Mine."))
    assert check(odd, examples=1).differences == ()
    assert {difference.fault for difference in check(odd, examples=1, rules=[row]).differences} == {"quota"}


def test_without_hypothesis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "unbroken.testing.situations", raising=False)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(MissingExtra) as missing:
        check(DEFAULT)
    assert str(missing.value) == (
        "checking a policy needs the package 'hypothesis', which is not installed: pip install 'unbroken[testing]'"
    )


# -- the plays ------------------------------------------------------------------------------------------------------------


def test_a_play_is_a_session_with_the_bounds_of_a_session() -> None:
    """A policy that never gives up and never waits is given up for, and paced, by the runtime."""
    played = play(Odd(lambda *_: True, Retry), Scene(service=(End(fault=HUNG),), targets=1))
    assert (played.how, played.by_bounds, isinstance(played.last, Escalate)) == ("escalated", True, True)
    assert len(played.dials) == Settings().attempts - 1


def test_a_play_ends_where_patience_does() -> None:
    dead = End(fault=HUNG, phase="setup", age=5.0)
    played = play(Odd(lambda *_: True, lambda: Retry(after=12.0)), Scene(service=(dead,), targets=1))
    assert (played.how, played.longest) == ("patience", 60.0)
    assert [at for at, _ in played.dials] == [17.0, 34.0, 51.0]


def test_a_healthy_service_is_played_on() -> None:
    ends_well = End(fault=Fault(kind="planned", rule="r"), age=600.0, useful=True)
    played = play(DEFAULT, Scene(service=(ends_well,)), links=50)
    assert (played.how, len(played.dials), played.longest) == ("going", 50, 0.0)


# -- as Python ------------------------------------------------------------------------------------------------------------


def test_a_question_can_be_pasted() -> None:
    target = TargetState(name="p/m", index=0, quota_group="m", credentials="p", tried=3, unfit="It has no tools.")
    situation = Situation(targets=(target, target), attempt=3, has_handle=True)
    complaint = Complaint(kind="busy", what="returned nothing", fault=HUNG, situation=situation)
    names: dict[str, Any] = {"policy": DEFAULT, **vars(policies), "TargetState": TargetState}
    exec(complaint.example, names)
    assert (names["fault"], names["situation"]) == (HUNG, situation)
    assert isinstance(names["decision"], Retry)
    assert all(len(line) <= 100 for line in complaint.example.splitlines())


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Retry(), "Retry()"),
        (Retry(after=1.5, drop_media=True), "Retry(after=1.5, drop_media=True)"),
        (FailOver(target=0), "FailOver(target=0)"),
        (("one",), "('one',)"),
        ((), "()"),
        ((Retry(), 2), "(Retry(), 2)"),
        (None, "None"),
        (
            Escalate(advice="a" * 60, because="b" * 60),
            f"Escalate(\n    advice='{'a' * 60}',\n    because='{'b' * 60}',\n)",
        ),
    ],
)
def test_what_is_at_its_default_is_left_out(value: object, written: str) -> None:
    assert spelled(value) == written


# -- the command ----------------------------------------------------------------------------------------------------------


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["policy", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_installed_policies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", capsys=capsys) == (0, "default  The policy of unbroken, as docs/faults.md tells it.\n", "")
    status, out, _ = run("list", "--json", capsys=capsys)
    assert (status, json.loads(out)) == (
        0,
        [{"name": "default", "summary": "The policy of unbroken, as docs/faults.md tells it."}],
    )


def test_a_good_policy_has_status_0(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    status, out, err = run("check", "default", "--examples", "20", capsys=capsys)
    assert (status, err) == (0, "")
    for said in (
        "policy   default",
        "questions about known ends, 20 made up",
        "20 sessions that keep failing",
        "nothing wrong",
    ):
        assert said in out
    assert "differs" not in out


BAD = """
from unbroken.policies import DefaultPolicy, Retry, override

policy = override(
    DefaultPolicy(), protocol=Retry(because="Again, and again."), quota=Retry(after=20.0, because="Music.")
)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a bad policy in it, in which the command is called."""
    (tmp_path / "bad_policies.py").write_text(BAD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "120")
    yield tmp_path
    sys.modules.pop("bad_policies", None)


@pytest.mark.usefixtures("here")
def test_a_bad_policy_has_status_1_and_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("check", "bad_policies:policy", "--examples", "20", capsys=capsys)
    assert (status, err) == (1, "")
    assert "override(<DefaultPolicy>, protocol=Retry(because='Again, and again.')" in out
    assert "1 wrong" in out
    assert "busy: it returned retry by handle at once: " in out
    assert "has failed 2 times in a row" in out
    assert "    decision = policy.decide(fault, situation)\n" in out
    assert "where it differs from the default policy" in out
    status, out, _ = run("check", "bad_policies:policy", "--examples", "20", "--json", capsys=capsys)
    told = json.loads(out)
    assert (status, told["name"], told["ok"]) == (1, "bad_policies:policy", False)
    assert [complaint["kind"] for complaint in told["complaints"]] == ["busy"]
    assert told["complaints"][0]["example"].startswith("fault = Fault(")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("check defualt", "unbroken: unknown policy 'defualt'; did you mean 'default'? known: default"),
        (
            "check bad_policies:polcy",
            "unbroken: policy 'bad_policies:polcy' is not there: module 'bad_policies' has no attribute 'polcy'",
        ),
        ("check no_such:policy", "unbroken: policy 'no_such:policy' is not there: no module named 'no_such'"),
        (
            "check bad_policies:BAD",
            "unbroken: policy 'bad_policies:BAD' is not there: module 'bad_policies' has no attribute 'BAD'",
        ),
        (
            "check json:dumps",
            "unbroken: <function dumps at",
        ),
        (
            "check fractions:Decimal",
            "unbroken: Decimal('0') is no policy; a policy has a method decide(fault, situation) that returns a Decision",
        ),
        ("check default --rules acme", "unbroken: unknown set of rules 'acme'; known: gemini"),
        ("check default --examples 0", "unbroken: --examples is a whole number from 1 on, not 0"),
    ],
)
def test_what_makes_no_sense_has_status_2(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(*words.split(), capsys=capsys)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(said)


def test_a_broken_registration_is_listed_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    from unbroken import registry

    gone = EntryPoint(name="gone", value="no_such:Policy", group="unbroken.policies")
    monkeypatch.setattr(registry, "_points", lambda _: {"gone": gone})
    monkeypatch.setenv("COLUMNS", "120")
    assert run("list", capsys=capsys) == (
        1,
        "gone  policy 'gone' is registered as 'no_such:Policy', but no module named 'no_such'\n",
        "",
    )


def test_the_command_leaves_nothing_where_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPOTHESIS_STORAGE_DIRECTORY")
    code = "import sys; from unbroken.cli import main; sys.exit(main())"
    words = ["policy", "check", "default", "--examples", "2"]
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_module_needs_no_hypothesis() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import unbroken.testing.policies, unbroken.cli.policy"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr == ""
