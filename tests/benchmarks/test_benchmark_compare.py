"""A comparison of two runs tells what moved, and is quiet about noise."""

import random
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("hdrh", reason="install the dependency group `test` for percentiles")

from benchmarks.__main__ import main
from benchmarks.report.compare import compared
from benchmarks.report.rank import holm, least_p, mann_whitney, over_strata
from benchmarks.report.verdict import markdown, terminal
from benchmarks.results import Anatomy, Call, Contender, Cost, Machine, Outcome, Results, Scenario, write
from rich.console import Console

SCENARIOS = tuple(Scenario(name=name, what=f"what {name} does", group="closes") for name in ("one", "two", "three", "four"))
CONTENDERS = (
    Contender(name="ours", what="a session", versions={"ours": "1.0"}, file="ours.py"),
    Contender(name="peer", settings="tuned", what="a loop", file="peer.py"),
)
MACHINE = Machine(system="Linux", processor="fast", cores=2, memory_mib=4096, python="CPython 3.11.7", noise=0.02)
COSTS = (
    Cost(group="CPU", name="8 sessions", contender="floor", unit="ms", value=2.0, least=1.9, most=2.1),
    Cost(group="CPU", name="8 sessions", contender="ours", unit="ms", value=2.8, least=2.7, most=2.9, floor=2.0, goal=1.5),
    Cost(group="memory", name="idle", contender="ours", unit="KiB", value=50, least=49, most=51),
    Cost(group="per core", name="8 sessions", contender="ours", unit="", value=200, least=190, most=210, rising=True),
)


def drawn(*, seed: int, runs: int = 10) -> Results:
    """A run whose figures are chance and nothing else."""
    dice = random.Random(seed)
    calls = tuple(
        Call(
            contender=contender.name,
            settings=contender.settings,
            scenario=scenario.name,
            seed=seed + number,
            outcome="kept",
            anatomy=Anatomy(notice=dice.lognormvariate(4, 0.5), audio=10),
            speech=2000,
            lost=dice.choice([0, 0, 20, 40]),
            repeated=0,
            silence=dice.lognormvariate(5, 0.5),
        )
        for contender, scenario, number in product(CONTENDERS, SCENARIOS, range(runs))
    )
    return Results(
        made="2026-11-23T03:00:00+00:00",
        seconds=60,
        command="python -m benchmarks run",
        seed=seed,
        machine=MACHINE,
        contenders=CONTENDERS,
        scenarios=SCENARIOS,
        calls=calls,
        costs=COSTS,
    )


Change = Callable[[Call], Call]


def changed(run: Results, change: Change, *, contender: str = "ours", scenarios: Sequence[str] = ("one",)) -> Results:
    """The run with some of its calls as `change` makes them."""
    calls = (change(c) if c.contender == contender and c.scenario in scenarios else c for c in run.calls)
    return msgspec.structs.replace(run, calls=tuple(calls))


def slower(by: float) -> Change:
    return lambda call: msgspec.structs.replace(
        call, anatomy=Anatomy(notice=(call.anatomy or Anatomy()).notice, audio=10 + by)
    )


def lost(ms: float) -> Change:
    return lambda call: msgspec.structs.replace(call, lost=ms)


def ends(*seeds: int, outcome: Outcome = "ended") -> Change:
    """Of those seeds, or of all where none is named."""
    return lambda c: msgspec.structs.replace(c, outcome=outcome, anatomy=None) if not seeds or c.seed in seeds else c


def told(old: Results, new: Results) -> list[str]:
    return [
        f"{'' if move.sure else 'maybe '}{ {True: 'better', False: 'worse', None: 'changed'}[move.better] }:"
        f" {move.who}, {move.where}, {move.what}"
        for move in compared(old, new).moves
    ]


@pytest.mark.parametrize("seed", range(2, 12))
def test_nothing_moves_where_there_is_only_noise(seed: int) -> None:
    assert told(drawn(seed=100), drawn(seed=100 * seed)) == []


BASE = drawn(seed=100)
OTHER = drawn(seed=200)
ALL = [row.name for row in SCENARIOS]


@pytest.mark.parametrize(
    ("new", "verdicts"),
    [
        (changed(OTHER, slower(500)), ["worse: ours, one, heard again after"]),
        (changed(OTHER, slower(0.5)), []),
        (changed(OTHER, lost(900), contender="peer"), ["worse: peer, tuned, one, speech lost"]),
        (changed(OTHER, lost(0), scenarios=ALL), []),  # less, and too little to matter
        (changed(OTHER, ends()), ["worse: ours, one, outcome", "worse: ours, one, heard again after"]),
        (changed(OTHER, ends(203)), ["maybe worse: ours, one, outcome"]),
        (changed(OTHER, ends(outcome="degraded")), ["worse: ours, one, outcome"]),
    ],
)  # fmt: skip
def test_what_moved_is_told(new: Results, verdicts: list[str]) -> None:
    assert told(BASE, new) == verdicts


def test_the_way_back_is_called_better() -> None:
    verdicts = told(changed(BASE, slower(500)), OTHER)
    assert verdicts == ["better: ours, one, heard again after"]
    assert told(changed(BASE, ends()), OTHER)[0] == "better: ours, one, outcome"


def test_few_calls_show_what_holds_over_all_scenarios_and_say_what_they_cannot_show() -> None:
    old, new = drawn(seed=100, runs=3), changed(drawn(seed=200, runs=3), slower(800), scenarios=ALL)
    comparison = compared(old, new)
    assert told(old, new) == ["worse: ours, all scenarios, heard again after"]
    assert comparison.alone == 7
    assert "that takes 7 in each run (--runs)" in markdown(comparison)
    assert compared(BASE, OTHER).alone is None


def test_one_call_each_still_tells_a_changed_outcome() -> None:
    old, new = drawn(seed=100, runs=1), changed(drawn(seed=200, runs=1), ends(outcome="failed"))
    assert told(old, new) == ["worse: ours, one, outcome"]


def cost(place: int, **given: float) -> Results:
    costs = list(COSTS)
    costs[place] = msgspec.structs.replace(costs[place], **given)
    return msgspec.structs.replace(OTHER, costs=tuple(costs))


@pytest.mark.parametrize(
    ("new", "verdicts"),
    [
        (cost(1, value=4.0, least=3.9, most=4.1), ["worse: ours, CPU: 8 sessions, cost"]),
        (cost(1, value=2.0, least=1.9, most=2.1), ["better: ours, CPU: 8 sessions, cost"]),
        (cost(1, value=4.0, least=2.8, most=6.0), []),  # the ranges overlap
        (cost(1, value=5.6, least=5.4, most=5.8, floor=4.0), []),  # a slower machine: the same beside its floor
        (cost(2, value=51.5, least=51.4, most=51.6), []),  # apart, and by 3 %
        (cost(2, value=99, least=98, most=100), ["worse: ours, memory: idle, cost"]),
        (cost(0, value=4.0, least=3.9, most=4.1), ["changed: floor, CPU: 8 sessions, cost"]),
        (cost(3, value=300, least=290, most=310), ["better: ours, per core: 8 sessions, cost"]),
        (cost(3, value=100, least=90, most=110), ["worse: ours, per core: 8 sessions, cost"]),
    ],
)
def test_a_cost_moved_where_its_ranges_are_apart(new: Results, verdicts: list[str]) -> None:
    assert told(BASE, new) == verdicts


def test_a_goal_that_is_missed_now_is_named() -> None:
    (move,) = compared(BASE, cost(1, value=4.0, least=3.9, most=4.1)).costs
    assert (move.old, move.new, move.n) == ("1.4 × floor", "2 × floor, goal not met any more", "1.35 – 1.45 and 1.95 – 2.05")


def test_runs_that_should_not_be_compared_say_so() -> None:
    row = msgspec.structs.replace(SCENARIOS[0], rtt=40)
    other = msgspec.structs.replace(
        OTHER,
        quick=True,
        machine=msgspec.structs.replace(MACHINE, processor="slow", noise=0.3),
        scenarios=(row, *SCENARIOS[1:3]),
        contenders=(
            msgspec.structs.replace(CONTENDERS[0], versions={"ours": "1.1"}),
            msgspec.structs.replace(CONTENDERS[1], missing="did not install"),
        ),
    )
    assert compared(BASE, other).doubts == (
        "another machine: processor was fast, and is slow",
        "the newer run was a quick one: its figures say little",
        "the newer run's machine was busy: a fixed piece of work varied by 30 %",
        "only the older run has the scenario four",
        "the scenario one is not what it was",
        "only the older run has the contender peer, tuned",
        "ours has other versions: ours 1.0 → 1.1",
    )


def test_both_forms_say_the_same() -> None:
    comparison = compared(BASE, changed(OTHER, ends()))
    console = Console(width=200)
    with console.capture() as shown:
        console.print(terminal(comparison))
    for text in (shown.get(), markdown(comparison)):
        assert "Outcomes that changed" in text
        assert "WORSE" in text
        assert "ended 10/10" in text
        assert "2 worse, 0 better (8 cells of both runs, 40 tests of figures)." in text
    assert "Nothing moved beyond the noise" in markdown(compared(BASE, OTHER))


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--fail",), 1), (("--markdown", "--fail"), 1)])
def test_the_command_ends_with_1_on_a_regression_where_it_is_asked_to(
    options: Sequence[str], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_bytes(write(BASE))
    new.write_bytes(write(changed(OTHER, ends())))
    assert main(["compare", str(old), str(new), *options]) == status
    assert main(["compare", str(new), str(old), "--fail"]) == 0, "better is no regression"
    assert "kept 10/10" in capsys.readouterr().out


# -- rank tests: values from tables of the exact distribution, and the definition ------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "chance"),
    [
        ([1, 2, 3], [4, 5, 6], 2 / 20),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2 / 252),
        ([1, 3, 5], [2, 4, 6], 14 / 20),
        ([1, 1, 1], [1, 1, 1], 1),
        ([], [1, 2], 1),
        ([1], [2], 1),
    ],
)
def test_few_figures_are_compared_exactly(old: list[float], new: list[float], chance: float) -> None:
    assert mann_whitney(old, new) == pytest.approx(chance)
    assert mann_whitney(new, old) == pytest.approx(chance)


def test_many_figures_are_compared_as_exactly_as_matters() -> None:
    dice = random.Random(1)
    old, new = [dice.gauss(0, 1) for _ in range(8)], [dice.gauss(1, 1) for _ in range(8)]
    exact, near = mann_whitney(old, new), mann_whitney([*old, *old], [*new, *new])
    assert 0.001 < near < exact < 0.2


def test_chance_alone_is_found_as_often_as_it_should_be() -> None:
    dice = random.Random(2)
    found = [mann_whitney([dice.random() for _ in range(12)], [dice.random() for _ in range(12)]) for _ in range(400)]
    assert 8 <= sum(one < 0.05 for one in found) <= 32


def test_strata_are_compared_each_in_itself() -> None:
    apart = [([1.0, 2, 3], [4.0, 5, 6]), ([101.0, 102, 103], [104.0, 105, 106]), ([7.0, 8, 9], [10.0, 11, 12])]
    opposed = [apart[0], (apart[1][1], apart[1][0])]
    assert over_strata(apart) < 0.01
    assert over_strata(opposed) == pytest.approx(1)
    assert over_strata([([1.0], [1.0])]) == 1


def test_many_tests_ask_for_clearer_differences() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert least_p(5, 5) == pytest.approx(2 / 252)
