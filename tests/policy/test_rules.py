"""The rows: each is well formed and can fire, and their words are read only where the peer spoke."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import msgspec
import pytest

from unbroken.core.classify import Rule, Span, classify
from unbroken.core.rules import CLEAR, PROTOCOLS, VAGUE, in_order
from unbroken.decisions import FAULTS, Cause, Closure, Ending, Facts, Fault, FaultKind
from unbroken.errors import ConfigError, UnknownName
from unbroken_gemini.models import CATALOG
from unbroken_gemini.rules import RULES

ALL = in_order(RULES)


def fault_of(
    reason: str = "",
    *,
    code: int | None = None,
    platform: str = "gemini",
    cause: Cause | None = None,
    http: int | None = None,
    facts: Facts | None = None,
) -> Fault:
    ending = Ending(code=code, reason=reason, cause=cause, http_status=http)
    return classify(Closure(platform=platform, ending=ending, facts=facts or Facts(), model="a-model"), ALL)


def samples(rule: Rule) -> Iterator[Closure]:
    """Closures that a row is meant for, made of its own columns."""
    first: list[int | None] = [span if isinstance(span, int) else span[0] for span in rule.codes] or [None]
    status: list[int | None] = [span if isinstance(span, int) else span[0] for span in rule.http] or [None]
    words = [(word if isinstance(word, str) else " … ".join(word)).replace("*", "") for word in rule.words] or [""]
    for platform, phase, code, http, cause, reason in itertools.product(
        rule.platforms or ("any",), rule.phases or ("live", "setup"), first, status, rule.causes or (None,), words
    ):
        yield Closure(
            platform=platform,
            phase=phase,
            ending=Ending(code=code, http_status=http, cause=cause, reason=reason.upper()),
            facts=msgspec.structs.replace(Facts(), **rule.facts),
        )


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.id)
def test_no_row_is_hidden_by_the_rows_before_it(rule: Rule) -> None:
    assert rule.id in {classify(closure, ALL).rule for closure in samples(rule)}


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.id)
def test_a_row_says_why_and_where_from(rule: Rule) -> None:
    assert rule.fault in FAULTS
    assert rule.because
    assert rule.because.endswith((".", "{reason}"))
    assert rule.source
    assert 0 < rule.confidence <= 1
    assert bool(rule.otherwise) == (rule.confidence < 1), "what is not sure says what else it may be"
    assert rule.fault not in rule.otherwise
    assert set(rule.otherwise) <= set(FAULTS)


def test_no_two_rows_have_one_name() -> None:
    names = [rule.id for rule in ALL]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_advice_names_models_that_are_served(rule: Rule) -> None:
    for model in re.findall(r"gemini-(?:live-)?\d\.\d[a-z0-9.-]*[a-z0-9]", rule.advice):
        row = CATALOG.find(model)
        assert row is not None
        assert all(CATALOG.verdict(row, platform) == "served" for platform in rule.platforms), model


@pytest.mark.parametrize("span", [pytest.param(4000, id="4000"), pytest.param((4001, 4999), id="private")])
def test_private_codes_are_unknown_and_say_so(span: Span) -> None:
    fault = fault_of("whatever", code=span if isinstance(span, int) else span[1])
    assert (fault.kind, fault.rule, fault.confidence) == ("unknown", "unknown", 0.0)
    assert "No rule knows this end (close 4" in fault.because
    assert fault.advice


CODES: list[tuple[FaultKind, tuple[int, ...]]] = [
    ("protocol", (0, 3, 99, 600, 999, 1002, 1004, 1016, 2000, 2999, 5000, 65535)),
    ("planned", (1000, 1001, 1005, 1012)),
    ("config", (1003, 1007, 1008, 1010)),
    ("network", (1006, 1015)),
    ("input", (1009,)),
    ("server", (1011, 1013, 1014, 3008)),
    ("auth", (3000, 3003)),
    ("unknown", (3001, 3002, 3004, 3007, 3009, 3999, 4000, 4500, 4999)),
]


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in CODES for code in codes])
def test_every_close_code_has_its_meaning_where_nothing_else_is_known(kind: FaultKind, code: int) -> None:
    assert fault_of(code=code, platform="any").kind == kind


STATUSES: list[tuple[FaultKind, tuple[int, ...]]] = [
    ("protocol", (100, 101, 200, 204, 226)),
    ("config", (301, 302, 308, 400, 404, 405, 410, 413, 418, 421, 426, 431, 498, 501, 505)),
    ("auth", (401, 402, 403, 451)),
    ("network", (407, 511)),
    ("server", (408, 409, 423, 425, 499, 500, 502, 503, 504, 520, 529, 599)),
    ("quota", (429,)),
]


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, statuses in STATUSES for status in statuses])
def test_every_status_has_its_meaning(kind: FaultKind, status: int) -> None:
    assert fault_of(http=status, platform="any").kind == kind


def test_every_code_and_status_is_placed_or_private() -> None:
    assert {code for code in range(0x10000) if fault_of(code=code, platform="any").kind == "unknown"} == {
        *range(3001, 5000)
    } - {3003, 3008}
    assert all(fault_of(http=status).kind != "unknown" for status in range(100, 600))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "auth"), (404, "config"), (429, "quota"), (503, "server"), (200, "protocol")]
)
def test_a_status_means_the_same_in_an_upgrade_and_in_a_message(status: int, kind: FaultKind) -> None:
    assert fault_of(http=status).kind == kind
    assert fault_of(code=status).kind == kind


def test_what_this_side_said_is_not_read_as_the_peers_words() -> None:
    assert fault_of("quota exceeded", code=1011).kind == "quota"
    assert fault_of("quota exceeded", cause="crash").kind == "protocol"


def test_the_applications_own_close_is_read_first() -> None:
    assert fault_of("quota exceeded", code=1011, facts=Facts(closed_by_us=True)).kind == "closed"


def test_without_a_platform_only_the_protocols_speak() -> None:
    assert fault_of("You exceeded your current quota", code=1011, platform="gemini").rule == "gemini-quota"
    assert fault_of("You exceeded your current quota", code=1011, platform="any").rule == "words-quota"


def test_the_applications_rows_come_before_the_providers() -> None:
    own = Rule(id="mine", fault="config", words=(("QUOTA", "exceeded"),), action="escalate", because="{model}: {reason}.")
    closure = Closure(platform="gemini", ending=Ending(code=1011, reason="Quota {0} exceeded"), model="m")
    fault = classify(closure, in_order([own], RULES))
    assert (fault.rule, fault.kind, fault.action, fault.because) == ("mine", "config", "escalate", "m: Quota {0} exceeded.")


def test_rows_that_a_layer_holds_already_are_read_there_and_once() -> None:
    last = Rule(id="last", fault="config", codes=(1011,), because="Mine.")
    table = in_order([*CLEAR, last])
    assert len(table) == len(in_order()) + 1
    quota, other = (Closure(ending=Ending(code=1011, reason=reason)) for reason in ("quota exceeded", "UNAVAILABLE"))
    assert [classify(closure, table).rule for closure in (quota, other)] == ["words-quota", "last"]
    assert [rule.id for rule in in_order(CLEAR, VAGUE) if rule in CLEAR] == [rule.id for rule in CLEAR]


def test_a_row_says_what_it_fits() -> None:
    row = Rule(
        id="x",
        fault="server",
        platforms=("gemini", "vertex"),
        phases=("setup",),
        codes=(1011, (4000, 4999)),
        facts={"proven": False, "consecutive": 3},
        words=("quota*", ("Model", "GONE")),
    )
    assert row.describe() == (
        "gemini or vertex; phase setup; code 1011, 4000 to 4999; proven=false, consecutive>=3;"
        ' says "quota*" or "Model" + "GONE"'
    )
    assert Rule(id="all", fault="server").describe() == ""
    many = Rule(id="many", fault="server", words=("a", "b", "c", "d"))
    assert [many.describe(words=n) for n in (3, 2, None)] == [
        'says "a" or "b" or "c" or "d"',
        'says "a" or "b" or 2 more',
        'says "a" or "b" or "c" or "d"',
    ]


def test_numbers_in_facts_are_at_least_so_large() -> None:
    row = Rule(id="third", fault="server", facts={"consecutive": 3})
    facts = [Facts(consecutive=n) for n in (2, 3, 4)]
    assert [classify(Closure(facts=f), [row]).rule for f in facts] == ["unknown", "third", "third"]


def test_rows_that_name_what_does_not_exist_are_refused() -> None:
    with pytest.raises(
        UnknownName, match=r"^unknown fact in rule 'x' 'resumd'; did you mean 'resumed'\? known: announced, "
    ):
        Rule(id="x", fault="server", facts={"resumd": True})
    with pytest.raises(UnknownName, match=r"^unknown blank in rule 'x' 'modell'; did you mean 'model'\? known: model, "):
        Rule(id="x", fault="server", because="{modell} is gone.")
    with pytest.raises(ConfigError, match=r"^rule 'x' has a range that ends before it begins$"):
        Rule(id="x", fault="server", codes=((4999, 4000),))


def test_the_protocols_rows_need_no_provider() -> None:
    assert all(set(rule.platforms) <= {"openai"} for rule in PROTOCOLS)


@pytest.mark.parametrize(
    ("reason", "because"),
    [
        ("invalid opcode", "The peer broke the protocol: invalid opcode."),
        ("It is broken.", "The peer broke the protocol: It is broken."),
        ("'It is broken.'", "The peer broke the protocol: 'It is broken.'"),
        ("Why?", "The peer broke the protocol: Why?"),
        ("see (1)", "The peer broke the protocol: see (1)."),
        ("", "The peer broke the protocol."),
    ],
)
def test_what_ends_with_the_peers_words_ends_as_a_sentence(reason: str, because: str) -> None:
    assert fault_of(reason, cause="malformed").because == because


def test_what_a_peer_says_is_one_short_line_that_no_terminal_obeys() -> None:
    escaped = Ending(code=1011, reason="one\r\ntwo \x1b]0;owned\x07\x1b[2J \udcff\u202e done")
    assert escaped.reason == "one  two  ]0;owned  [2J    done"
    assert Ending(reason="Überlastet … 模型").reason == "Überlastet … 模型"
    assert len(Ending(reason="quota " * 1_000_000).reason) == 1000
