"""The pages of a run say what was measured, in every shape that results can have, and need nothing but themselves."""

import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("hdrh", reason="install the dependency group `test` for percentiles")

from benchmarks.report import plots
from benchmarks.report.html import html
from benchmarks.report.markdown import MARKS, into_page, markdown
from benchmarks.report.progress import Progress
from benchmarks.report.view import STEPS, View, steps_of
from benchmarks.report.words import figure, length, milliseconds
from benchmarks.results import Anatomy, Call, Contender, Cost, Machine, Results, Scenario, read, write
from rich.console import Console

HOSTILE = '<script>alert("x")</script> & <b>|bold|</b>'

MACHINE = Machine(
    system="Linux 6.1", processor="a <fast> one", cores=2, memory_mib=4096, python="CPython 3.11.7", noise=0.02
)
OURS = Contender(name="ours", what="with its defaults", versions={"ours": "1.0"}, file="benchmarks/contenders/ours.py")
PEER = Contender(name="peer", settings="tuned", what=f"a loop {HOSTILE}", file="benchmarks/contenders/peer.py")
ABSENT = Contender(name="absent", what="an agent", file="benchmarks/contenders/absent.py", missing=f"pip says {HOSTILE}")

CLOSED = Scenario(name="closed", what="1011 between two turns", group="closes", faults=("close:1011@3.6s",))
SECOND = Scenario(name="second", what="a second model", group="targets", rtt=150)
UNKNOWN = Scenario(name="odd", what=f"an odd one {HOSTILE}", group="of its own")

OUTAGE = Anatomy(detect=1, decide=2, notice=4, failed=None, dial=0.5, tls=3, upgrade=1, setup=5, audio=10, reply=900)


def call(contender: Contender, scenario: Scenario, **given: object) -> Call:
    return Call(contender=contender.name, settings=contender.settings, scenario=scenario.name, **given)  # type: ignore[arg-type]


CALLS = (
    call(OURS, CLOSED, seed=1, outcome="kept", anatomy=OUTAGE, speech=2000, lost=0, silence=120, reply="carried_on"),
    call(OURS, CLOSED, seed=2, outcome="kept", anatomy=OUTAGE, speech=2000, lost=0, silence=80, reply="whole", lag=400),
    call(OURS, SECOND, outcome="kept", speech=2000, tool_owed=1, tool_runs=1, tool_known=True, context=True, attempts=2),
    call(OURS, UNKNOWN, outcome="degraded"),  # nothing else was to be measured
    call(PEER, CLOSED, seed=1, outcome="kept", anatomy=Anatomy(notice=1e6, audio=1e7), speech=2000, lost=1e8, silence=0.001),
    call(PEER, CLOSED, seed=2, outcome="ended", anatomy=Anatomy(notice=3), speech=2000, lost=2000, reply="cut"),
    call(PEER, SECOND, cannot="it knows one <model>"),
    call(PEER, UNKNOWN, outcome="failed", raised=HOSTILE),
)
COSTS = (
    Cost(group="CPU per session-second", name="8 sessions", contender="floor", unit="ms", value=2, least=1.9, most=2.1),
    Cost(
        group="CPU per session-second", name="8 sessions", contender="ours", unit="ms", value=2.8, least=2.7, most=3,
        floor=2, goal=1.5, command="python -m benchmarks.cost",
    ),
    Cost(group="memory", name="idle", contender="ours", unit="KiB", value=70, least=69, most=71, goal=60),
    Cost(group="memory", name="<none>", contender="ours", unit="KiB", value=0, least=0, most=0),
)  # fmt: skip


def results(**given: object) -> Results:
    whole: dict[str, object] = {
        "made": "2026-11-23T03:00:00+00:00",
        "seconds": 61.5,
        "command": "python -m benchmarks run",
        "seed": 7,
        "machine": MACHINE,
        "contenders": (OURS, PEER, ABSENT),
        "scenarios": (CLOSED, SECOND, UNKNOWN),
        "calls": CALLS,
        "costs": COSTS,
    }
    return Results(**(whole | given))  # type: ignore[arg-type]


SHAPES = {
    "whole": results(),
    "no costs": results(costs=()),
    "one call": results(calls=CALLS[:1]),
    "no calls": results(calls=(), quick=True),
    "nothing came back": results(calls=(CALLS[5],)),
    "nobody": results(contenders=(ABSENT,), calls=(), costs=()),
    "nothing": results(contenders=(), scenarios=(), calls=(), costs=()),
}

VOID = {"meta", "br", "img", "hr", "input", "link"}


class Checker(HTMLParser):
    """Follows the tags of a page: every one has to be closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.named: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src", "xlink:href", "action"}:
                self.links.append(value or "")
            if name == "aria-labelledby":
                self.named += (value or "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    return checker


@pytest.mark.parametrize("shape", SHAPES)
def test_a_page_is_well_formed_and_needs_nothing_else(shape: str) -> None:
    page = html(SHAPES[shape])
    found = checked(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert [link for link in found.links if not (link.startswith("#") and link[1:] in found.ids)] == []
    assert set(found.named) <= set(found.ids)
    assert re.findall(r"https?://|@import|url\(", page) == []
    assert not {"link", "img", "iframe", "object"} & set(found.tags)
    assert re.findall(r"\b(nan|inf)\b|\bNone\b", page.replace("<script>", "")) == []


def test_a_page_shows_what_others_wrote_as_text() -> None:
    page = html(SHAPES["whole"])
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &lt;b&gt;|bold|&lt;/b&gt;" in page


def test_a_page_says_in_words_who_kept_the_call_and_who_did_not() -> None:
    page = html(SHAPES["whole"])
    assert "<b>ours</b> kept the call in 2 of 3 scenarios" in page
    assert "The others: peer, tuned in 0." in page
    assert "Where ours did not keep every call: odd (1 degraded of 1)." in page
    assert "Of 2 goals of cost, 1 is met; not met: memory, idle." in page
    assert "cannot: it knows one &lt;model&gt;" in page


def test_every_plot_says_what_is_in_it() -> None:
    page = html(SHAPES["whole"])
    plotted = re.findall(r'<svg class="plot".*?</title><desc[^>]*>(.*?)</desc>', page)
    assert len(plotted) == page.count('<svg class="plot"') > 5
    assert all(plotted)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_table_of_markdown_has_as_many_cells_as_heads(shape: str) -> None:
    width = 0
    for line in markdown(SHAPES[shape]).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.startswith("|") else 0
        width = width or cells
        assert cells in {0, width}, line
        width = width if cells else 0


def test_a_cell_of_markdown_says_what_became_of_its_calls() -> None:
    rows = {line.split("`")[1]: line for line in markdown(SHAPES["whole"]).splitlines() if line.startswith("| `")}
    _, ours, peer = rows["closed"].removesuffix(" |").split(" | ")
    assert ours == "kept; 23.5 ms; reply carried on; 1 doubtful"
    assert peer == "**kept 1, ended 1**; 11\xa0000 s (n 1); 2 s lost; reply cut"
    assert "cannot: it knows one &lt;model>" in rows["second"]
    assert "Not run at all, for the reasons above: absent." in markdown(SHAPES["whole"])
    assert '**not run**: pip says &lt;script>alert("x")' in markdown(SHAPES["whole"])


def test_costs_of_markdown_stand_beside_the_floor_and_their_goal() -> None:
    text = markdown(SHAPES["whole"])
    assert "| ours | 2.8 ms | 2.7 – 3 | 1.4 | 1.5 × floor | yes | `python -m benchmarks.cost` |" in text
    assert "| ours | 70 KiB | 69 – 71 |  | 60 KiB | **no** |" in text


def test_tables_take_the_place_of_the_ones_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A\n{MARKS[0]}old\n{MARKS[1]}the rest\n")
    into_page(page, "| new |\n")
    assert page.read_text() == f"# A\n{MARKS[0]}\n| new |\n\n{MARKS[1]}the rest\n"
    page.write_text("# A\n")
    with pytest.raises(ValueError, match=r"has no marks; put <!-- tables: .* and <!-- end of tables --> where"):
        into_page(page, "")
    assert page.read_text() == "# A\n"


def test_the_page_on_benchmarks_has_a_place_for_tables(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    page = tmp_path / "page.md"
    page.write_bytes(docs.read_bytes())
    into_page(page, markdown(SHAPES["whole"]))
    assert "| ours | with its defaults |" in page.read_text(encoding="utf-8")


def test_results_come_back_as_they_were_written() -> None:
    assert read(write(SHAPES["whole"])) == SHAPES["whole"]


@pytest.mark.parametrize(
    "outage",
    [
        OUTAGE,
        Anatomy(detect=9, decide=3, notice=4, audio=1),  # it said so later than it dialled: it had a spare
        Anatomy(notice=4, failed=30, audio=0),
        Anatomy(audio=2),
    ],
)
def test_steps_add_up_to_the_way_back(outage: Anatomy) -> None:
    steps = steps_of(outage)
    assert sum(steps.values()) == outage.reconnect
    assert set(steps) <= set(STEPS)
    assert min(steps.values()) > 0


def test_a_call_that_never_came_back_is_counted_as_such() -> None:
    view = View(SHAPES["whole"])
    closed = view.cell(PEER, CLOSED)
    assert (closed.never, len(closed.back), closed.outcome) == (1, 1, "ended")
    assert view.cell(OURS, SECOND).never == 0, "nothing was cut there"
    assert dict(view.tally(PEER)) == {"kept": 0, "degraded": 0, "silent": 0, "ended": 1, "failed": 1, None: 1}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.004, "4.0e-03 ms"),
        (0.4, "0.4 ms"),
        (31.24, "31.2 ms"),
        (312.4, "312 ms"),
        (999.4, "999 ms"),
        (999.6, "1 s"),
        (1240, "1.24 s"),
        (104_000, "104 s"),
        (math.inf, "never"),
    ],
)
def test_times_have_their_unit_and_three_digits(value: float | None, words: str) -> None:
    assert milliseconds(value) == words


def test_large_figures_are_grouped_and_lengths_are_for_people() -> None:
    assert figure(12_480.4) == "12\xa0480"
    assert [length(seconds) for seconds in (0.2, 61, 185, 3729)] == ["0 s", "61 s", "3:05", "1:02:09"]


@pytest.mark.parametrize("values", [[0.0], [5.0], [0.2, 3.0], [1.0, 1e9], [0.0, 20.0, 4e4]])
@pytest.mark.parametrize("never", [True, False])
def test_everything_on_an_axis_of_powers_has_a_place_of_its_own(values: list[float], never: bool) -> None:
    axis = plots.Log.over(values, never=never)
    places = [axis.at(value) for value in values] + ([axis.at(None)] if never else [])
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    ticks = [at for at, _ in axis.ticks()]
    assert all(after - before > 8 for before, after in pairwise(ticks)), "their words would overlap"


def test_an_axis_reaches_to_the_longest_unless_the_others_would_vanish() -> None:
    assert plots.fitting([10, 12, 19]) == 20
    assert plots.fitting([10, 12, 19_000]) == 100
    assert plots.fitting([]) == plots.fitting([0]) == 1


def test_a_log_of_a_run_has_a_line_per_call_and_says_how_long_the_rest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    with Progress(4, console=Console(), clock=lambda: now) as progress:
        progress.ended(CALLS[6])
        assert progress.left() is None, "what is not held takes no time"
        progress.began(CALLS[0])
        now = 130.0
        progress.ended(CALLS[0])
        assert progress.left() == 60
        progress.ended(CALLS[7])
    assert capsys.readouterr().out.splitlines() == [
        "1/4  peer, tuned · second: cannot: it knows one <model>",
        "2/4  ours · closed: kept, audio again after 23.5 ms",
        f"3/4  peer, tuned · odd: failed ({HOSTILE})",
        "3 calls in 30 s",
    ]


def test_a_terminal_shows_what_runs_now_and_how_the_last_calls_ended() -> None:
    console = Console(force_terminal=True, width=100)
    progress = Progress(4, console=console, clock=lambda: 0.0)
    progress.stage("cost: 8 sessions")
    progress.began(CALLS[0])
    progress.ended(CALLS[5])
    with console.capture() as shown:
        console.print(progress.panel())
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.get())
    assert "1/4" in text
    assert "cost: 8 sessions" in text
    assert "peer, tuned · closed: ended, 2 s of speech lost" in text
    assert "0 s ours · closed" in text
