"""The suite measures what it says: its counting by hand, its rows as data, its order, and real calls in small."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from benchmarks.__main__ import ROOT, main
from benchmarks.contenders import environments, table
from benchmarks.report.progress import Progress
from benchmarks.results import Anatomy, Call, Machine, Results
from benchmarks.suite.company import Company, Unready
from benchmarks.suite.conversations import Conversation, Turn
from benchmarks.suite.counting import count, reply_of
from benchmarks.suite.evidence import Connection, Evidence, Struck, Told
from benchmarks.suite.model import WORD
from benchmarks.suite.play import Player, play
from benchmarks.suite.run import DOUBTFUL, Order, hold, orders
from benchmarks.suite.scenarios import CALL, QUICK, SCENARIOS, Row, Strike, named
from benchmarks.suite.summary import cells, spread_of
from rich.console import Console

import unbroken
from benchmarks import results
from unbroken.cli import main as command
from unbroken.testing.intervals import Range
from unbroken.testing.report import LinkReport, Report, Steps
from unbroken_gemini.testing.voice import pieces

BEGAN = 100.0
STRUCK = CALL.turns[1]


def voice(words: str) -> bytes:
    return b"".join(piece.pcm for piece in pieces(words, word_time=WORD))


def link(number: int, *, heard_at: float | None, ended: float | None = None, said_at: float | None = None) -> LinkReport:
    return LinkReport(number=number, began=0.0, live=True, heard_at=heard_at, ended=ended, said_at=said_at)


def connection(number: int, *, at: float, ended: float | None = None, where: str = "primary") -> Connection:
    """Dialled at a second of the call, and then each step takes 10 ms; the first reply comes after a second."""
    at += BEGAN
    steps = Steps(accepted=at, secured=at + 0.01, upgraded=at + 0.02, setup=at + 0.025, live=at + 0.03)
    said = link(number, heard_at=at + 0.04, ended=None if ended is None else BEGAN + ended, said_at=at + 1.04)
    return Connection(where=where, number=number, began=at, dialled=False, steps=steps, link=said)


def refused(number: int, *, at: float) -> Connection:
    return Connection(
        where="primary", number=number, began=BEGAN + at, dialled=False, steps=Steps(accepted=BEGAN + at), link=None
    )


def evidence(
    *connections: Connection,
    fault: tuple[float, str] | None = None,
    told: Sequence[Told] = (),
    words: Sequence[tuple[float, str]] = (),
    known: Sequence[Range] = ((0, 1_000_000),),
    finished: bool = True,
) -> Evidence:
    """What a call leaves behind in which every answer was heard, unless other words are given."""
    said = words or [(turn.at + turn.seconds + 0.8, turn.answer) for turn in CALL.turns]
    return Evidence(
        began=BEGAN,
        told=[*told, Told("done", lag=0.02)],
        heard={0: [(at, voice(text)) for at, text in said]},
        finished=finished,
        lag=0.01,
        last_words="Segmentation fault",
        connections=connections,
        struck=[] if fault is None else [Struck(at=BEGAN + fault[0], where="primary", number=1, fault=fault[1])],
        report=Report(heard=tuple(known)),
        knows_result=False,
    )


def counted(row: str, found: Evidence) -> Call:
    [call] = count(named([row])[0], found, contender="ours", settings="default", seed=3)
    return call


# -- Counting ---------------------------------------------------------------------------------------------------------------


def test_a_call_without_a_fault_is_kept_and_has_no_outage() -> None:
    call = counted("no_fault", evidence(connection(1, at=0.1)))
    assert (call.outcome, call.anatomy, call.attempts) == ("kept", None, 0)
    assert call.silence == pytest.approx(0, abs=0.1)
    assert (call.speech, call.lost, call.replies_owed, call.replies_heard, call.lag) == (2000, 0, 3, 3, 20)


def test_an_outage_is_told_step_by_step_and_the_steps_add_up() -> None:
    told = [Told("noticed", BEGAN + 3.7), Told("dialling", BEGAN + 3.9)]
    attempts = [refused(2, at=4.0), refused(3, at=4.5), connection(4, at=5.0)]
    call = counted("reset", evidence(connection(1, at=0.1, ended=3.6), *attempts, fault=(3.6, "reset"), told=told))
    assert call.anatomy is not None
    steps = {name: round(getattr(call.anatomy, name) or 0.0) for name in Anatomy.__struct_fields__}
    assert steps == {
        "detect": 100,
        "decide": 200,
        "notice": 400,
        "failed": 1000,
        "dial": 0,
        "tls": 10,
        "upgrade": 10,
        "setup": 10,
        "audio": 10,
        "reply": 1000,
    }
    assert call.anatomy.reconnect == pytest.approx(1440)
    assert (call.attempts, call.attempts_per_second) == (3, 2)


def test_a_spare_that_was_open_before_the_fault_costs_only_what_is_behind_it() -> None:
    spare = connection(2, at=1.0)
    spare.steps.setup, spare.steps.live = BEGAN + 3.62, BEGAN + 3.65
    spare = msgspec.structs.replace(spare, link=link(2, heard_at=BEGAN + 3.66))
    call = counted("reset", evidence(connection(1, at=0.1, ended=3.6), spare, fault=(3.6, "reset")))
    assert call.anatomy is not None
    assert call.anatomy.reconnect == pytest.approx(60)
    assert (call.anatomy.notice, call.anatomy.tls, call.attempts) == (0, 0, 0)
    assert call.anatomy.setup == pytest.approx(50)


def test_the_outage_of_an_announced_end_begins_with_that_end() -> None:
    announced = (6.2, "goaway:3s")
    after = counted("goaway_3s", evidence(connection(1, at=0.1, ended=9.2), connection(2, at=9.5), fault=announced))
    assert after.anatomy is not None
    assert after.anatomy.reconnect == pytest.approx(340)
    before = counted("goaway_3s", evidence(connection(1, at=0.1, ended=7.5), connection(2, at=7.0), fault=announced))
    assert before.anatomy is not None
    assert before.anatomy.reconnect == 0


def test_a_connection_that_does_not_last_is_none_that_came_back() -> None:
    short = [connection(number, at=4.0 + number, ended=4.1 + number) for number in (2, 3)]
    call = counted("accept_then_fail", evidence(connection(1, at=0.1, ended=3.6), *short, fault=(3.6, "1011")))
    assert call.anatomy is not None
    assert (call.anatomy.reconnect, call.attempts) == (None, 2)


ANSWER = STRUCK.answer.split()
REPLIES = [
    ([(0.0, STRUCK.answer)], "whole"),
    ([(0.0, " ".join(ANSWER[:3])), (2.0, " ".join(ANSWER[3:]))], "carried_on"),
    ([(0.0, " ".join(ANSWER[:3])), (0.75, " ".join(ANSWER[4:]))], "carried_on"),
    ([(0.0, " ".join(ANSWER[:3])), (2.0, STRUCK.answer)], "again"),
    ([(0.0, " ".join(ANSWER[:3]))], "cut"),
    ([], "none"),
]


@pytest.mark.parametrize(("heard", "expected"), REPLIES)
def test_what_became_of_a_struck_reply(heard: list[tuple[float, str]], expected: str) -> None:
    words: dict[str, list[float]] = {}
    for at, text in heard:
        for number, word in enumerate(text.split()):
            words.setdefault(word, []).append(at + number * WORD)
    assert reply_of(STRUCK, words) == expected


ALL = [(turn.at + turn.seconds + 0.8, turn.answer) for turn in CALL.turns]
BEFORE = (0, 16_000 * 3)
OUTCOMES = [
    (evidence(), "kept"),
    (evidence(words=[ALL[0], ALL[2]]), "degraded"),
    (evidence(known=[BEFORE]), "degraded"),
    (evidence(known=[(16_000 * 3, 16_000 * 12)]), "degraded"),  # the model forgot what was said before the fault
    (evidence(words=ALL[:2]), "silent"),
    (evidence(told=[Told("closed", BEGAN + 5)]), "ended"),
    (evidence(told=[Told("raised", BEGAN + 5, "RuntimeError: no")]), "failed"),
    (evidence(finished=False), "failed"),
]


@pytest.mark.parametrize(("found", "expected"), OUTCOMES)
def test_what_became_of_a_call(found: Evidence, expected: str) -> None:
    call = counted("reset", found)
    assert call.outcome == expected
    assert bool(call.raised) == (expected == "failed")


def test_two_hundred_sessions_have_an_anatomy_each_and_those_that_stay_away_an_empty_one() -> None:
    [row] = named(["many_200"])
    before = [connection(number, at=0.1, ended=6.0) for number in range(1, 201)]
    after = [connection(number, at=6.2 + number / 1000) for number in range(201, 400)]
    hits = [Struck(at=BEGAN + 6.0, where="primary", number=number, fault="1011") for number in range(1, 201)]
    found = msgspec.structs.replace(evidence(*before, *after), struck=hits)
    calls = count(row, found, contender="ours", settings="default", seed=0)
    back = [call.anatomy.reconnect for call in calls if call.anatomy is not None]
    assert (len(calls), len(back), back[-1]) == (200, 200, None)
    assert [call.outcome for call in calls] == ["kept"] * 199 + ["silent"]
    assert back[:-1] == sorted(value for value in back if value is not None)


# -- Rows, order, sums ------------------------------------------------------------------------------------------------------


def test_every_row_is_named_once_and_its_faults_can_be_read() -> None:
    assert len({row.name for row in SCENARIOS}) == len(SCENARIOS)
    for row in SCENARIOS:
        row.check()
        words = [word for turn in row.conversation.turns for word in turn.answer.split()]
        assert len(set(words)) == len(words), row.name  # or what was heard could not be told
        last = max((turn.at for turn in row.conversation.turns), default=row.conversation.end)
        assert all(strike.at < last for strike in row.strikes), row.name
    assert [row.name for row in named(QUICK)] == [row.name for row in SCENARIOS if row.name in QUICK]
    with pytest.raises(ValueError, match="no scenario 'rest'; there are: no_fault, "):
        named(["rest"])


def player(name: str = "ours", *, backup: bool = True, tools: bool = True) -> Player:
    return Player(name=name, settings="default", module=name, python=Path(sys.executable), backup=backup, tools=tools)


def test_the_order_is_the_seed_s_and_a_contender_without_a_way_says_why() -> None:
    rows = named(["no_fault", "reset", "away_20s", "tool", "primary_gone"])
    wanted = orders([player(), player("peer", backup=False, tools=False)], rows, runs=3, seed=5)
    assert wanted == orders([player(), player("peer", backup=False, tools=False)], rows, runs=3, seed=5)
    assert len(wanted) == 2 * (3 + 3 + 2 + 3 + 3)
    assert {order.row.name for order in wanted[:4]} == {"away_20s"}  # no long call is left alone at the end
    excuses = {order.row.name: order.player.excuse(order.row) for order in wanted if order.player.name == "peer"}
    assert {name: why for name, why in excuses.items() if why} == {
        "tool": "it has no tools",
        "primary_gone": "it knows one target only",
    }


def quiet(total: int) -> Progress:
    return Progress(total, console=Console(quiet=True))


def test_a_doubtful_run_is_held_again_and_one_that_cannot_start_is_a_failure() -> None:
    held: list[str] = []

    async def perform(order: Order) -> list[Call]:
        held.append(order.player.name)
        if order.player.name == "broken":
            raise Unready("it cannot be imported: ModuleNotFoundError")
        lag = DOUBTFUL + 1 if held.count("ours") == 1 else 5.0
        return [msgspec.structs.replace(order.call(), outcome="kept", lag=lag)]

    keep: list[Call] = []
    players = [player(), player("broken"), player("peer", backup=False)]
    wanted = orders(players, named(["primary_gone"]), runs=1, seed=0)
    asyncio.run(hold(wanted, jobs=2, perform=perform, watcher=quiet(3), keep=keep))
    assert sorted(held) == ["broken", "ours", "ours"]
    assert {(call.contender, call.outcome, call.lag, call.cannot or call.raised) for call in keep} == {
        ("ours", "kept", 5.0, ""),
        ("broken", "failed", None, "it cannot be imported: ModuleNotFoundError"),
        ("peer", None, None, "it knows one target only"),
    }


def test_an_interrupted_run_keeps_what_it_has_and_ends_the_rest() -> None:
    ended: list[str] = []
    waiting = asyncio.Event()

    async def perform(order: Order) -> list[Call]:
        if order.row.name == "reset":
            return [msgspec.structs.replace(order.call(), outcome="kept")]
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            ended.append(order.row.name)
        return []

    async def run() -> None:
        wanted = orders([player()], named(["reset", "fin"]), runs=1, seed=0)
        holding = asyncio.create_task(hold(wanted, jobs=2, perform=perform, watcher=quiet(2), keep=keep))
        await waiting.wait()
        await asyncio.sleep(0)  # for the other one, which does not wait at all
        holding.cancel()
        await asyncio.wait([holding])

    keep: list[Call] = []
    asyncio.run(run())
    assert ([call.scenario for call in keep], ended) == (["reset"], ["fin"])


def test_percentiles_are_of_all_values_and_three_digits_long() -> None:
    spread = spread_of(float(value) for value in range(1, 1001))
    assert spread is not None
    assert [spread.p50, spread.p95, spread.p99, spread.most] == pytest.approx([500, 950, 990, 1000], rel=1e-3)
    few = spread_of([3.0, float("inf")])
    assert few is not None
    assert few.p50 == pytest.approx(3.0, rel=1e-3)
    assert (few.n, few.p95) == (2, float("inf"))
    assert spread_of([]) is None


def test_cells_sum_calls_up() -> None:
    [row] = named(["reset"])
    calls = [counted("reset", found) for found, _ in OUTCOMES[:3]]
    cannot = Order(player=player("peer"), row=row, seed=0).call(cannot="it is not on")
    machine = Machine(system="s", processor="p", cores=2, memory_mib=1, python="3", noise=0.0)
    found = Results(
        made="", seconds=1, command="", seed=1, machine=machine, contenders=(), scenarios=(), calls=(*calls, cannot)
    )
    ours, peer = cells(results.read(results.write(found))).values()
    assert (ours.n, ours.outcomes, ours.spreads["lost"].most) == (3, {"kept": 1, "degraded": 2}, 1400)
    assert (peer.n, peer.cannot, peer.spreads) == (0, "it is not on", {})


# -- The whole --------------------------------------------------------------------------------------------------------------


SHORT = Row(
    name="short",
    what="a reset after the first answer",
    group="path",
    strikes=(Strike(2.6, "reset"),),
    conversation=Conversation(
        turns=(Turn(at=0.3, seconds=0.4, answer="hello welcome"), Turn(at=2.9, seconds=0.4, answer="market teacher")),
        end=5.0,
    ),
)


@pytest.mark.sockets
def test_a_real_call_is_played_and_counted() -> None:
    async def run() -> Call:
        company = Company(Path(sys.executable), "unbroken_direct", root=ROOT)
        try:
            for _ in range(4):  # as the suite does, a call in which the machine stood still is held again
                [call] = await play(player(), SHORT, seed=1, company=company, starting=asyncio.Semaphore(1))
                if call.lag is not None and call.lag <= DOUBTFUL:
                    break
            return call
        finally:
            await company.close()

    call = asyncio.run(run())
    assert call.raised == ""
    if call.lag is not None and call.lag <= DOUBTFUL:  # else nothing can be said of it
        assert call.outcome in {"kept", "degraded"}  # on a machine that has no time at all, speech may be lost
        assert call.anatomy is not None
        assert call.anatomy.reconnect is not None
        assert (call.speech, call.attempts >= 1, call.context) == (800, True, True)


def test_a_run_without_calls_is_stored_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, pages = tmp_path / "results.json", [tmp_path / name for name in ("page.md", "page.html")]
    assert main(["--quick", "--no-calls", "--no-cost", "--contenders", "unbroken", "--out", str(out)]) == 0
    assert "unbroken" in capsys.readouterr().out
    assert main(["report", str(out), "--markdown", str(pages[0]), "--report", str(pages[1])]) == 0
    assert all(page.stat().st_size for page in pages)
    found = results.read(out.read_bytes())
    assert (found.quick, found.calls, [row.name for row in found.scenarios]) == (True, (), list(QUICK))
    assert found.contenders[0].versions["unbroken"]
    assert main(["compare", str(out), str(out)]) == 0
    assert main(["report", str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_quick_runs_take_only_what_is_installed() -> None:
    row = msgspec.structs.replace(table.ROWS[0], imports=("sys", "nowhere.at_all"))
    assert isinstance(environments.present(row), environments.Missing)


def test_an_adapter_s_events_are_read_whatever_else_they_hold() -> None:
    line = json.dumps({"at": 1.5, "what": "noticed", "said": "gone", "session": 2, "later": True})
    assert msgspec.json.decode(line, type=Told) == Told("noticed", 1.5, "gone", 2)


def test_rows_are_public_data() -> None:
    public = [row.public() for row in SCENARIOS]
    assert [row.name for row in public if row.rtt] == ["reset_40ms", "reset_150ms", "reset_jitter", "slow_uplink"]
    assert isinstance(SCENARIOS[0], Row)


def test_the_command_runs_the_suite_of_a_checkout_and_says_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["bench", "list"]) == 0
    assert "tool_pending" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unbroken, "__file__", str(tmp_path / "lib" / "unbroken" / "__init__.py"))
    assert command(["bench", "--quick"]) == 2
    assert "call this in a checkout of unbroken" in capsys.readouterr().err
