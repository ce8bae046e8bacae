"""The rows that go by words: reasons that were never seen are placed, names and ids say nothing, clear beats vague."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from http import HTTPStatus

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unbroken.core.classify import Rule, classify, plain
from unbroken.core.grpc import CLEAR_STATUSES, STATUSES, UNAVAILABLE
from unbroken.core.rules import in_order
from unbroken.core.words import CLEAR_WORDS, ENDS, OVERLOAD, VAGUE_WORDS
from unbroken.decisions import Closure, Ending, Facts, Fault, FaultKind, Phase
from unbroken.errors import ConfigError
from unbroken_gemini.rules import RULES

ANY, GEMINI = in_order(), in_order(RULES)
CLEAR = (*CLEAR_WORDS, *CLEAR_STATUSES)
VAGUE = (*ENDS, *UNAVAILABLE, *OVERLOAD, *STATUSES, *VAGUE_WORDS)

SCARY = (
    "internal",
    "quota",
    "billing",
    "unavailable",
    "aborted",
    "429",
    "error-500",
    "forbidden",
    "shutdown",
    "expired",
    "ok",
)
"""What names may hold and must not be read out of them."""


def placed(reason: str, *, phase: Phase = "live", code: int | None = 4000, facts: Facts | None = None) -> Fault:
    """The fault of an end whose code says nothing, on a service that nobody knows."""
    return classify(Closure(phase=phase, ending=Ending(code=code, reason=reason), facts=facts or Facts()), ANY)


def said(rule: Rule) -> list[str]:
    """A reason per alternative of a row, its parts with something between them."""
    return [(text if isinstance(text, str) else " … ".join(text)).replace("*", "") for text in rule.words]


def closures(rule: Rule, reason: str, *, platform: str = "any") -> list[Closure]:
    facts = msgspec.structs.replace(Facts(), **rule.facts)
    ending = Ending(code=4000, reason=reason)
    return [
        Closure(platform=platform, phase=phase, ending=ending, facts=facts) for phase in rule.phases or ("setup", "live")
    ]


@pytest.mark.parametrize("platform", ["any", "gemini", "vertex", "openai"])
@pytest.mark.parametrize("rule", [*CLEAR, *VAGUE], ids=lambda rule: rule.id)
def test_no_words_are_taken_for_those_of_another_fault(rule: Rule, platform: str) -> None:
    found = {
        text: fault.kind
        for text in said(rule)
        for closure in closures(rule, text, platform=platform)
        if (fault := classify(closure, ANY if platform in ("any", "openai") else GEMINI)).kind != rule.fault
    }
    assert found == {}


# -- how reasons arrive -----------------------------------------------------------------------------------------------

names = st.builds(
    lambda shape, scary, digits: shape.format(scary, digits),
    st.sampled_from(
        [
            "gemini-{}-x",
            "publishers/{}",
            "projects/{}/locations/{}",
            "{}-{}",
            "{}{}",
            "x{}@{}.com",
            "a-{}_{}",
            "v{}_{}",
            "{}.{}",
        ]
    ),
    st.sampled_from(SCARY),
    st.sampled_from(["7", "5f0e", "3.8", "12345"]),
).filter(lambda name: not name.replace("_", "").isalpha())
beside = st.lists(
    st.one_of(names, st.sampled_from(["Request", "trace id:", "[ORIGINAL", "the", "`x`", "for", "details,", "77", "1011"])),
    max_size=3,
).map(" ".join)
rows = st.sampled_from([(rule, text) for rule in (*CLEAR, *VAGUE) for text in said(rule)])


@given(
    row=rows,
    before=beside,
    after=beside,
    between=st.sampled_from([" ", ": ", ", [", ' "', "::", "\n"]),
    case=st.sampled_from([str, str.lower, str.upper, str.title, str.swapcase]),
)
def test_prefix_suffix_cut_and_case_change_nothing(
    row: tuple[Rule, str], before: str, after: str, between: str, case: Callable[[str], str]
) -> None:
    rule, text = row
    reason = case(f"{before}{between}{text}{between}{after}")
    if len(before + between + text) <= 123:
        reason = reason.encode()[:123].decode(errors="ignore")
    for closure in closures(rule, reason):
        assert classify(closure, ANY).kind == rule.fault, reason


@given(said=st.lists(names, min_size=1, max_size=4).map(", ".join), phase=st.sampled_from(["setup", "live"]))
@example(said="projects/quota-billing/locations/global/publishers/google/models/internal-error", phase="setup")
@example(said="code429 internal5", phase="live")
@example(said="https://unavailable.example.com/quota", phase="live")
def test_a_name_says_nothing(said: str, phase: Phase) -> None:
    for platform, table in (("any", ANY), ("gemini", GEMINI)):
        fault = classify(Closure(platform=platform, phase=phase, ending=Ending(code=4000, reason=said)), table)
        assert fault.kind == "unknown", fault.rule


@given(clear=st.sampled_from(CLEAR), vague=st.sampled_from(VAGUE), data=st.data())
def test_clear_words_beat_vague_ones(clear: Rule, vague: Rule, data: st.DataObject) -> None:
    both = [data.draw(st.sampled_from(said(clear))), data.draw(st.sampled_from(said(vague)))]
    for reason in (" (".join(both), ": ".join(reversed(both))):
        for closure in closures(clear, reason):
            fault = classify(closure, ANY)
            assert fault.kind == clear.fault, f"{reason}: {fault.rule}"


@given(st.text(max_size=200))
def test_reading_a_reason_twice_is_reading_it_once(reason: str) -> None:
    read = plain(reason)
    assert read[0] == read[-1] == " "
    assert plain(read).split() == read.split()
    assert plain(reason.upper().lower()) == plain(reason.lower().upper().lower())


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("RESOURCE_EXHAUSTED: [quota]", "resource exhausted quota"),
        ("generic::not_found", "generic not found"),
        ("models/gemini-3.8-live is gone.", "models/gemini-3.8-live is gone"),
        ("id 5f0e_internal, v1beta_2", "id 5f0e_internal v1beta_2"),
        ("user@quota.example", "user@quota.example"),
        ('{"code": 429}', "code 429"),
        ("it doesn't\tgo on…", "it doesn t go on"),
        ("", ""),
    ],
)
def test_how_a_reason_is_read(reason: str, words: str) -> None:
    assert plain(reason) == f" {words} "


def test_words_of_a_row_are_whole_words_in_any_case() -> None:
    row = Rule(id="x", fault="quota", words=("Quota", "exceed*", ("models/*", "GONE"), "no*"))
    fits = {
        reason: row.fits(Closure(), said=plain(reason))
        for reason in (
            "QUOTA.",
            "quotation",
            "my-quota",
            "exceeded",
            "it exceeds",
            "unexceeded",
            "models/x is gone",
            "gone",
            "none",
        )
    }
    assert [reason for reason, fit in fits.items() if fit] == [
        "QUOTA.",
        "exceeded",
        "it exceeds",
        "models/x is gone",
        "none",
    ]
    assert [r for r in fits if classify(Closure(ending=Ending(reason=r)), [row]).rule == "x"] == [r for r in fits if fits[r]]


@pytest.mark.parametrize("words", ["*", "::", "", ("quota", "…")])
def test_words_without_a_letter_are_refused(words: str | tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^rule 'x' has words without a letter or a digit$"):
        Rule(id="x", fault="server", words=(words,))


# -- what was never seen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "at_setup", "live"),
    [
        ("OK", "unknown", "planned"),
        ("CANCELLED", "server", "planned"),
        ("UNKNOWN", "server", "server"),
        ("INVALID_ARGUMENT", "config", "config"),
        ("DEADLINE_EXCEEDED", "server", "planned"),
        ("NOT_FOUND", "model", "server"),
        ("ALREADY_EXISTS", "server", "server"),
        ("PERMISSION_DENIED", "auth", "auth"),
        ("RESOURCE_EXHAUSTED", "quota", "quota"),
        ("FAILED_PRECONDITION", "config", "config"),
        ("ABORTED", "server", "planned"),
        ("OUT_OF_RANGE", "config", "config"),
        ("UNIMPLEMENTED", "config", "config"),
        ("INTERNAL", "server", "server"),
        ("UNAVAILABLE", "server", "server"),
        ("DATA_LOSS", "server", "server"),
        ("UNAUTHENTICATED", "auth", "auth"),
    ],
)
def test_every_grpc_status_in_every_form(status: str, at_setup: FaultKind, live: FaultKind) -> None:
    go = "".join(part.title() for part in status.split("_"))
    forms = [
        f"trace 77, generic::{status.lower()}: {status}: something",
        f"RPC::{status}",
        f"status: {status}",
        f"rpc error: code = {go} desc = x",
        f"<StatusCode.{status}: (1, 'x')>",
        f'{{"error": {{"status": "{status}"',
    ]
    found = {form: (placed(form, phase="setup").kind, placed(form).kind) for form in forms}
    assert {form: kinds for form, kinds in found.items() if kinds != (at_setup, live)} == {}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("rpc error: code = DeadlineExceeded desc = context deadline exceeded", "planned"),
        ("OVERLOADED_TOO_MANY_RETRIES_PER_REQUEST", "server"),
        ("Model gemini-quota-x is overloaded. Please try again later.", "server"),
        ("Rate limit reached for gpt-realtime in org-internal-1 on tokens per min (TPM). Please try again in 20s.", "quota"),
        ("The model `gpt-9` does not exist or you do not have access to it.", "model"),
        ("The model `x-live` has been deprecated, please use y-live", "model"),
        ("Your session hit the maximum duration of 60 minutes.", "planned"),
        ("The session has expired", "planned"),
        ("This model's maximum context length is 32768 tokens", "context"),
        ("Input token count (1048577) exceeds the maximum number of tokens allowed", "context"),
        ("Incorrect API key provided: sk-abc.", "auth"),
        ("ExpiredTokenException: The security token included in the request is expired", "auth"),
        ("Insufficient funds in your account", "auth"),
        ("Country, region, or territory not supported", "auth"),
        ("ThrottlingException", "quota"),
        ("ServiceUnavailableException", "server"),
        ("server is going down for maintenance", "planned"),
        ("The server had an error while processing your request. Sorry about that!", "server"),
        ("received message larger than max (5000000 vs. 4194304)", "input"),
        ("Voice x is not supported for this model", "config"),
        ("Unexpected response: HTTP 429", "quota"),
    ],
)
def test_what_was_never_seen_is_placed_by_its_words(reason: str, kind: FaultKind) -> None:
    fault = placed(reason)
    assert fault.kind == kind
    assert fault.confidence < 1, "a guess by words says that it is one"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("session not found", "handle"), ("NOT_FOUND: x", "handle"), ("INVALID_ARGUMENT", "handle"), ("quota", "quota")],
)
def test_at_a_resume_the_handle_is_what_is_not_found(reason: str, kind: FaultKind) -> None:
    fault = placed(reason, phase="setup", facts=Facts(resumed=True))
    assert fault.kind == kind
    assert fault.carry == ("history" if kind == "handle" else None)


def test_a_refused_token_is_renewed_and_a_refused_key_is_not() -> None:
    assert [placed(reason).action for reason in ("UNAUTHENTICATED", "token expired", "API key expired")] == [
        "retry",
        "retry",
        None,
    ]


@pytest.mark.parametrize("status", [s for s in HTTPStatus if s != 101], ids=lambda s: str(s.value))
def test_a_statuss_own_phrase_changes_nothing(status: HTTPStatus) -> None:
    for table, platform in itertools.product((ANY, GEMINI), ("any", "gemini", "vertex")):
        faults = [
            classify(Closure(platform=platform, phase="upgrade", ending=Ending(http_status=status, reason=reason)), table)
            for reason in ("", status.phrase)
        ]
        assert faults[0].kind == faults[1].kind
        assert faults[0].action == faults[1].action


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, "API key not valid. Please pass a valid API key.", "auth"),
        (403, "Quota exceeded for quota metric", "quota"),
        (403, "User location is not supported for the API use.", "auth"),
        (404, "models/x is not found for API version v1", "model"),
        (404, "404 page", "config"),
        (200, "Your session expired, sign in to Hotel WiFi", "protocol"),
        (503, "Forbidden", "server"),
    ],
)
def test_the_body_of_a_refusal_says_more_than_its_status_only_where_that_is_vague(
    status: int, body: str, kind: FaultKind
) -> None:
    assert classify(Closure(phase="upgrade", ending=Ending(http_status=status, reason=body)), ANY).kind == kind
