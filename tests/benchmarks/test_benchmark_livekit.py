"""The comparison of LiveKit's realtime models measures what it says: its parts by hand, and real calls."""

import asyncio
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("livekit.plugins.google", reason="install the dependency group `test` for LiveKit's google plugin")

from benchmarks.livekit.call import held
from benchmarks.livekit.contenders import CONTENDERS, load
from benchmarks.livekit.conversations import BRIEF, FULL, LONG, SLOW_TOOL
from benchmarks.livekit.measured import Outcome
from benchmarks.livekit.scenarios import BRIEFLY, SCENARIOS
from benchmarks.livekit.table import Page, losses_of, markdown
from benchmarks.suite.conversations import Conversation
from benchmarks.suite.heard import silence_in, words_in
from benchmarks.suite.model import WORD

from unbroken.testing.faults import parse
from unbroken_gemini.testing.voice import pieces

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
ALL = (BRIEF, FULL, LONG, SLOW_TOOL)

KEPT = Outcome(
    contender="ours",
    scenario="no_fault",
    silence=1.5,
    to_the_end=False,
    owed=3,
    finished=3,
    cut=0,
    heard=(),
    words_repeated=0,
    lost_ms=0,
    told_ms=0,
    repeated_ms=0,
    tool_owed=1,
    tool_runs=1,
    tool_known=True,
    alive=True,
    open=True,
    closed=None,
    connections=(1, 0),
    errors=(),
    raised="",
    lag_ms=5,
)


def voice(text: str) -> bytes:
    return b"".join(piece.pcm for piece in pieces(text, word_time=WORD))


def answers(conversation: Conversation, *at: float) -> list[tuple[float, bytes]]:
    """The first answers of a conversation, each as heard from a second on."""
    return [(second, voice(turn.answer)) for second, turn in zip(at, conversation.turns, strict=False)]


@pytest.mark.parametrize("conversation", ALL)
def test_each_word_of_a_conversation_has_a_sound_of_its_own(conversation: Conversation) -> None:
    words = [word for turn in conversation.turns for word in turn.answer.split()]
    found = words_in(conversation, [(0.0, voice(" ".join(words)))])
    assert sorted(found) == sorted(words)
    assert {len(times) for times in found.values()} == {1}


def test_words_are_told_by_when_half_of_them_was_heard() -> None:
    [first, *_] = BRIEF.turns
    whole = voice(first.answer)
    second = len(voice("hello")) * 3
    found = words_in(BRIEF, [(1.0, whole[: second - 8000]), (5.0, whole)])
    assert found["hello"] == pytest.approx([1.125, 5.125], abs=0.01)
    assert found["mountain"] == pytest.approx([6.375], abs=0.01)
    assert len(found["quiet"]) == 1, "less than half of it was heard before the cut"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((0.7, 3.8, 9.5), (1.7, False)),  # the last answer is owed from 7.8 on
        ((0.7, 3.8), (5.2, True)),
        ((0.7,), (10.0, True)),
        ((), (12.7, True)),
    ],
)
def test_silence_is_what_was_owed_and_not_heard(at: tuple[float, ...], expected: tuple[float, bool]) -> None:
    assert silence_in(BRIEF, answers(BRIEF, *at)) == pytest.approx(expected, abs=0.01)


def test_what_was_lost_is_said_in_words() -> None:
    assert losses_of(KEPT) == []
    changes = {"finished": 1, "cut": 1, "lost_ms": 600, "tool_runs": 2, "alive": False}
    assert losses_of(msgspec.structs.replace(KEPT, **changes)) == [
        "last question unanswered",
        "1 of 3 replies lost",
        "1 of 3 replies cut",
        "600 ms of speech lost",
        "tool ran 2 times",
    ]


def test_the_page_has_a_row_per_scenario_and_says_where_a_contender_is_corrected() -> None:
    page = Page(
        made="2026-11-22",
        versions={"Python": "3.11"},
        machine="a machine",
        model=MODEL,
        contenders={"ours": "as it comes"},
        files={"ours": "contenders/ours.py"},
        scenarios={"no_fault": "nothing", "fault": "something"},
        alone=[],
        needs_backup=[],
        outcomes=[KEPT],
    )
    lines = markdown(page).splitlines()
    assert "| `no_fault`: nothing | kept; 1.5 s silent |" in lines
    assert "| `fault`: something | not run |" in lines
    assert "| ours | as it comes | `contenders/ours.py` |" in lines


def test_the_published_page_is_what_was_measured() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = msgspec.json.decode((docs / "livekit-comparison.json").read_bytes(), type=Page)
    assert markdown(page) in (docs / "livekit-comparison.md").read_text(encoding="utf-8")


def test_every_fault_can_be_read_and_names_are_told_apart() -> None:
    for rows in (SCENARIOS, BRIEFLY):
        assert len({row.name for row in rows}) == len(rows)
        for strike in (strike for row in rows for strike in row.strikes):
            parse(strike.fault)
    assert len({load(name).NAME for name in CONTENDERS}) == len(CONTENDERS)


@pytest.mark.sockets
@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of LiveKit's own dependencies
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # LiveKit knows no other
async def test_calls_are_held_to_their_end_through_two_faults() -> None:
    """That the benchmark is alive; what a call lost depends on how long the machine kept it waiting, and is no test's."""
    fair, *faults = BRIEFLY
    together = asyncio.Barrier(1 + len(faults))
    calls = [held(load("google"), fair, model=MODEL, together=together)]
    calls += [held(load("unbroken"), row, model=MODEL, together=together) for row in faults]
    for outcome in await asyncio.gather(*calls):
        assert (outcome.scenario, outcome.raised, outcome.open) == (outcome.scenario, "", True)
        assert outcome.heard
        assert outcome.connections[0] >= (1 if outcome.scenario == fair.name else 2)
