"""The drill's bookkeeping, its verdict and its tables."""

import io

import msgspec
import pytest
from rich.console import Console

from unbroken.decisions import Closure, Decision, Ending, Escalate, FailOver, Fault, FaultKind, Retry
from unbroken.drill.report import DrillReport, Row, ServiceCount, Struck, rows_of, verdict_of
from unbroken.drill.show import anatomy, bar, line_of
from unbroken.drill.tables import COLUMNS, columns_that_fit, report_tables
from unbroken.drill.tally import Tally
from unbroken.events import (
    Connected,
    Escalated,
    OutageBegan,
    Recovered,
    ReplyBegan,
    ReplyEnded,
    Steps,
    ToolCall,
    ToolCallCancelled,
    Waiting,
)

TARGETS = ("gemini/gemini-3.8-live", "gemini/gemini-3.1-flash-live-preview")
STEPS = Steps(detect_ms=3, decide_ms=0.4, dial_ms=1.2, tls_ms=5, upgrade_ms=3.1, setup_ms=400, catch_up_ms=130)


def began(link: int, *, fault: FaultKind = "server", decision: Decision | None = None) -> OutageBegan:
    return OutageBegan(
        link=link,
        target=TARGETS[0],
        closure=Closure(ending=Ending(code=1011, reason="Internal error encountered."), link=link),
        fault=Fault(kind=fault, rule="test"),
        decision=decision if decision is not None else Retry(because="once more"),
        because="The service failed inside.",
    )


def recovered(link: int, **told: object) -> Recovered:
    fields = {"carry": "handle", "steps": STEPS, "replayed_ms": 240.0, "known_position": 1600, "replay_position": 1600}
    return Recovered(link=link, target=TARGETS[0], **{**fields, **told})  # type: ignore[arg-type]


def a_drill(*, service: ServiceCount | None = None, strikes: list[Struck], tally: Tally) -> DrillReport:
    rows, unprovoked = rows_of(strikes, tally)
    report = DrillReport(
        unbroken="0.1.0",
        provider="gemini",
        simulated=service is not None,
        harsh=False,
        seed=None,
        seconds=60.0,
        speech="the shipped speech",
        route=TARGETS,
        links=tally.link,
        rows=rows,
        unprovoked=unprovoked,
        replies=tally.replies,
        calls=tally.calls,
        service=service,
    )
    return msgspec.structs.replace(report, broken=verdict_of(report, tally))


def survived() -> tuple[Tally, list[Struck]]:
    tally = Tally()
    tally.take(Connected(link=1, target=TARGETS[0], steps=STEPS), at=0.4)
    tally.take(ReplyBegan(reply=1, link=1), at=2.0)
    tally.take(ReplyEnded(reply=1, how="cut", received_ms=900, heard_ms=800), at=3.0)
    tally.take(began(1), at=3.01)
    tally.take(recovered(2, reply="cut", uncertain_ms=60.0), at=3.5)
    tally.take(began(2), at=8.2)
    tally.take(began(3, decision=FailOver(target=1)), at=8.7)
    tally.take(recovered(4, failed_over=True, carry="history", told_ms=1200.0), at=9.9)
    return tally, [Struck(fault="1011", due=3.0, at=3.0, link=1), Struck(fault="setup-stall", due=8.0, at=8.2, link=3)]


COUNTED = ServiceCount(sent_ms=60_000, speech_ms=30_000, heard_ms=60_000, repeated_ms=60)


def test_each_strike_gets_the_outage_it_led_to() -> None:
    tally, strikes = survived()
    rows, unprovoked = rows_of(strikes, tally)
    assert [row.outage for row in rows] == tally.outages
    assert [step.action for step in tally.outages[1].steps] == ["retry", "failover"]
    assert unprovoked == ()
    assert all(row.survived for row in rows)


def test_a_strike_into_an_outage_shares_it() -> None:
    tally, strikes = survived()
    rows, unprovoked = rows_of([*strikes, Struck(fault="reset", due=8.5, at=8.5, link=2)], tally)
    assert rows[2].outage is rows[1].outage
    assert [row.shared for row in rows] == [False, False, True]
    assert unprovoked == ()


def test_a_strike_at_the_service_as_a_whole_gets_the_next_outage() -> None:
    tally, strikes = survived()
    rows, unprovoked = rows_of([Struck(fault="no-reply", due=1.0, at=1.0), strikes[1]], tally)
    assert [row.outage for row in rows] == tally.outages
    assert unprovoked == ()
    rows, _ = rows_of([*strikes, Struck(fault="latency:50ms", due=9.0, at=9.0)], tally)
    assert rows[2].outage is None
    assert rows[2].survived


def test_a_strike_before_a_setup_ended_the_link_that_was_coming_up_or_struck_a_spare() -> None:
    tally, strikes = survived()
    refused = Struck(fault="http-503", due=8.0, at=8.2, link=3, before_setup=True)
    spare = Struck(fault="http-503", due=5.0, at=5.0, link=2, before_setup=True)
    tally.outages[1].steps[1] = msgspec.structs.replace(tally.outages[1].steps[1], phase="upgrade")
    rows, unprovoked = rows_of([strikes[0], spare, refused], tally)
    assert [row.outage for row in rows] == [tally.outages[0], None, tally.outages[1]]
    assert all(row.survived for row in rows)
    assert unprovoked == ()


def test_the_link_of_the_moment_is_the_one_that_is_up_or_coming_up() -> None:
    tally = Tally()
    moments = [tally.link_of_the_moment]
    for event in (
        Connected(link=1, target=TARGETS[0], steps=STEPS),
        began(1),
        began(2, decision=FailOver(target=1)),
        recovered(3),
    ):
        tally.take(event, at=1.0)
        moments.append(tally.link_of_the_moment)
    assert moments == [1, 1, 2, 3, 3]


def test_an_outage_before_any_strike_is_unprovoked() -> None:
    tally, strikes = survived()
    rows, unprovoked = rows_of(strikes[1:], tally)
    assert unprovoked == (tally.outages[0],)
    assert rows[0].outage is tally.outages[1]


def test_a_handover_without_a_decision_is_an_outage_too() -> None:
    tally = Tally()
    tally.take(recovered(2, planned=True), at=5.0)
    assert tally.outages[0].began == pytest.approx(5.0 - STEPS.total_ms / 1000)
    assert tally.outages[0].ended == 5.0


def test_the_state_follows_the_events() -> None:
    tally = Tally()
    seen = [tally.state]
    waiting = Waiting(seconds=4.0, target=TARGETS[1], because="The quota is spent.", patience_left=50.0)
    for event in (Connected(link=1, target=TARGETS[0], steps=STEPS), began(1), waiting, recovered(2)):
        tally.take(event, at=1.0)
        seen.append(tally.state)
    assert seen == ["connecting", "live", "outage", "outage", "live"]
    assert tally.waiting is None
    assert repr(tally) == "<Tally live, link 2, 1 outages, 0 replies>"


def test_a_drill_without_loss_breaks_nothing() -> None:
    tally, strikes = survived()
    assert a_drill(service=COUNTED, strikes=strikes, tally=tally).broken == ()


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (ServiceCount(lost_ms=4), "Lost by the service's count: 4 ms of user audio."),
        (ServiceCount(reordered_ms=20), "Out of order by the service's count: 20 ms of user audio."),
        (
            ServiceCount(repeated_ms=200),
            "Repeated by the service's count and not declared as uncertain: 140 ms of user audio.",
        ),
    ],
)
def test_the_service_has_the_last_word(count: ServiceCount, sentence: str) -> None:
    tally, strikes = survived()
    assert a_drill(service=count, strikes=strikes, tally=tally).broken == (sentence,)


def test_what_was_known_to_be_heard_is_not_said_again() -> None:
    tally, strikes = survived()
    tally.take(began(4), at=12.0)
    tally.take(recovered(5, known_position=16_000, replay_position=12_800), at=12.5)
    report = a_drill(service=COUNTED, strikes=strikes, tally=tally)
    assert report.broken == ("Repeated of what was known to be heard: 200 ms of user audio.",)


def test_every_other_promise_has_its_sentence() -> None:
    tally, strikes = survived()
    tally.take(ReplyBegan(reply=2, link=4), at=10.0)
    tally.take(began(4, decision=Escalate(because="no more")), at=11.0)
    tally.take(Escalated(because="No target is left."), at=11.1)
    late = [Struck(fault="reset", due=11.0, at=11.0, link=4), Struck(fault="eof", due=20.0)]
    assert a_drill(service=COUNTED, strikes=[*strikes, *late], tally=tally).broken == (
        "The session was given up: No target is left.",
        "Strike 3 (reset) was not survived.",
        "Strike 4 (eof) never struck.",
        "Replies that began and never ended: 1.",
    )


def test_on_a_real_service_the_session_counts() -> None:
    tally, strikes = survived()
    tally.take(began(4), at=12.0)
    tally.take(recovered(5, lost_ms=80.0), at=12.5)
    assert a_drill(strikes=strikes, tally=tally).broken == ("Lost by the session's own count: 80 ms of user audio.",)


def test_json_reads_back() -> None:
    tally, strikes = survived()
    report = a_drill(service=COUNTED, strikes=strikes, tally=tally)
    assert msgspec.json.decode(msgspec.json.encode(report), type=DrillReport) == report
    row = msgspec.json.decode(msgspec.json.encode(report))["rows"][0]
    assert set(row) == {"number", "fault", "due", "at", "link", "outage", "shared", "survived"}
    assert row["outage"]["recovered"]["steps"]["setup_ms"] == 400


def rendered(report: DrillReport, *, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(report_tables(report, console=console))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 160, 240])
def test_tables_fit_the_terminal_and_lose_no_column(width: int) -> None:
    tally, strikes = survived()
    report = a_drill(service=COUNTED, strikes=strikes, tally=tally)
    parts = list(columns_that_fit(report.rows, width=width))
    assert [column for part in parts for column in part if column is not COLUMNS[0]] == list(COLUMNS[1:])
    lines = rendered(report, width=width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    assert all(column.head in text for column in COLUMNS)
    assert "UNBROKEN  2 of 2 faults survived, nothing lost." in text


def test_a_broken_promise_is_in_the_verdict() -> None:
    tally, strikes = survived()
    lines = rendered(a_drill(service=ServiceCount(lost_ms=4), strikes=strikes, tally=tally), width=120)
    assert " BROKEN" in lines
    assert "   Lost by the service's count: 4 ms of user audio." in lines


def test_cells_of_a_row() -> None:
    tally, strikes = survived()
    row: Row = rows_of(strikes, tally)[0][1]
    cells = {column.head: column.cell(row) for column in COLUMNS}
    assert cells["seen as"] == "server x2"
    assert cells["decision"] == "retry, failover"
    assert cells["to link"] == "4 other model"
    assert (cells["setup"], cells["decide"], cells["total"], cells["told"]) == ("400", "0.4", "543", "1200")


# -- what is shown while it runs --------------------------------------------------------------------------------------


def test_an_outage_is_told_in_one_line() -> None:
    line = line_of(began(1), colour=False)
    assert line is not None
    assert line.plain == (
        'outage  link 1, live: close 1011 "Internal error encountered."; server, retry by handle. The service failed inside.'
    )


def test_a_recovery_is_told_as_a_sum() -> None:
    line = line_of(recovered(2, reply="owed", uncertain_ms=40.0), colour=False)
    assert line is not None
    assert line.plain == (
        "live    link 2 on gemini/gemini-3.8-live, by handle; 543 ms = detect 3 + dial 1 + tls 5 + upgrade 3 + setup 400 + "
        "catch-up 130; replayed 240 ms (40 uncertain), lost 0; reply owed"
    )


def test_only_waits_worth_telling_are_told() -> None:
    waits = [Waiting(seconds=s, target=TARGETS[1], because="The quota is spent.", patience_left=50) for s in (0.1, 4.0)]
    lines = [line_of(wait, colour=False) for wait in waits]
    assert [line.plain if line is not None else None for line in lines] == [
        None,
        "waiting 4.0 s for gemini/gemini-3.1-flash-live-preview. The quota is spent.",
    ]


def test_what_the_drill_is_not_about_is_not_told() -> None:
    assert line_of(ReplyBegan(reply=1, link=1), colour=False) is None


def test_a_bar_has_a_cell_for_every_step() -> None:
    drawn = bar(STEPS, width=40)
    assert drawn.plain.endswith(" 543 ms")
    assert len({str(span.style) for span in drawn.spans}) == 6
    assert anatomy(Steps()) == "0 ms"


def test_answers_that_did_not_arrive_once_break_it() -> None:
    tally, strikes = survived()
    count = msgspec.structs.replace(COUNTED, results_missing=1, results_twice=2)
    assert a_drill(service=count, strikes=strikes, tally=tally).broken == (
        "Answers to tool calls that the model was never told: 1.",
        "Answers to tool calls that the model was told twice: 2.",
    )


def test_calls_and_replies_that_carry_on_are_counted_and_shown() -> None:
    tally, strikes = survived()
    tally.take(ReplyBegan(reply=2, link=2, continues=1), at=4.0)
    tally.take(ReplyEnded(reply=2, how="complete", received_ms=900, heard_ms=800), at=5.0)
    tally.take(ToolCall(call_id="a", name="f"), at=6.0)
    tally.take(ToolCallCancelled(call_ids=("a",)), at=6.5)
    tally.calls.again = 1
    assert (tally.replies.continued, tally.replies.open) == (1, 0)
    written = io.StringIO()
    console = Console(file=written, width=200)
    report = a_drill(service=COUNTED, strikes=strikes, tally=tally)
    assert report.broken == ("Tool calls that came again though they had been answered: 1.",)
    console.print(report_tables(report, console=console))
    assert "2 began, 1 complete, 0 interrupted, 1 cut, 0 never ended; 1 of them carried a cut one on" in written.getvalue()
    assert "tool calls: 1, 0 answered, 1 cancelled by the model" in written.getvalue()
    carries_on = line_of(ReplyBegan(reply=2, link=2, continues=1), colour=False)
    assert carries_on is not None
    assert carries_on.plain == "reply   2 carries on 1, which was cut"
    assert line_of(ReplyBegan(reply=3, link=2), colour=False) is None
