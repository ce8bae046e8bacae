"""History settles what one closure cannot: the same end means another thing where more is known of the target."""

from __future__ import annotations

import msgspec
import pytest

from unbroken.core.classify import Rule, classify
from unbroken.core.policy import DefaultPolicy
from unbroken.core.rules import in_order
from unbroken.decisions import Closure, Decision, Ending, Escalate, Facts, FailOver, Fault, FaultKind, Phase, Retry
from unbroken.testing.closures import Known, known, situation
from unbroken_gemini.rules import RULES

ROWS = {"any": in_order(), "gemini": in_order(RULES), "vertex": in_order(RULES)}
VAGUE = ["Internal error encountered.", "", "The service is currently unavailable.", "RPC::INTERNAL"]
"""What a service says at the setup of a model that it does not serve, and what it says in an outage."""


def settled(
    reason: str, *, phase: Phase = "setup", code: int = 1011, platform: str = "gemini", facts: Facts
) -> tuple[Fault, Decision]:
    ending = Ending(code=code, reason=reason)
    closure = Closure(platform=platform, phase=phase, ending=ending, facts=facts, model="gemini-live-2.5-flash")
    fault = classify(closure, ROWS[platform])
    return fault, DefaultPolicy().decide(fault, situation(closure))


@pytest.mark.parametrize("platform", sorted(ROWS))
@pytest.mark.parametrize("reason", VAGUE)
def test_a_model_that_the_catalog_does_not_have_is_left_at_once(reason: str, platform: str) -> None:
    fault, decision = settled(reason, platform=platform, facts=Facts(unserved=True))
    assert fault.kind == "model"
    assert "gemini-live-2.5-flash" in fault.because
    assert "unbroken doctor" in fault.advice
    assert isinstance(decision, FailOver)
    assert decision.after == 0.0


def test_the_gemini_api_names_the_model_to_use_now() -> None:
    fault, _ = settled("Internal error encountered.", facts=Facts(unserved=True))
    assert fault.rule == "gemini-unserved"
    assert fault.because == (
        "The Gemini API does not serve gemini-live-2.5-flash (a retired, wrong or Vertex-only name) and closed at the setup."
    )
    assert "gemini-3.8-live" in fault.advice


@pytest.mark.parametrize("code", [1007, 1008])
@pytest.mark.parametrize("reason", ["", "Request contains an invalid argument.", "Precondition check failed."])
def test_other_codes_that_say_nothing_are_settled_too(code: int, reason: str) -> None:
    assert settled(reason, code=code, facts=Facts(unserved=True))[0].kind == "model"
    assert settled(reason, code=code, platform="any", facts=Facts(unserved=True))[0].kind == "model"


@pytest.mark.parametrize(
    ("reason", "facts", "kind"),
    [
        ("You exceeded your current quota", Facts(unserved=True), "quota"),
        ("API key not valid. Please pass a valid API key.", Facts(unserved=True), "auth"),
        ("Internal error encountered.", Facts(unserved=True, proven=True), "server"),
        ("Internal error encountered.", Facts(unserved=True, resumed=True), "handle"),
        ("Internal error encountered.", Facts(resumed=True, consecutive=3), "handle"),
        ("The service is currently unavailable.", Facts(consecutive=5), "server"),
        ("model is overloaded", Facts(consecutive=5), "server"),
        ("Internal error encountered.", Facts(proven=True, consecutive=5), "server"),
        ("Internal error encountered.", Facts(consecutive=2), "server"),
    ],
)
def test_what_the_service_says_and_what_has_worked_weigh_more(reason: str, facts: Facts, kind: FaultKind) -> None:
    assert settled(reason, facts=facts)[0].kind == kind


@pytest.mark.parametrize("platform", sorted(ROWS))
@pytest.mark.parametrize("reason", ["Internal error encountered.", ""])
def test_the_third_in_a_row_of_a_model_that_never_worked_is_the_models(reason: str, platform: str) -> None:
    kinds = [settled(reason, platform=platform, facts=Facts(consecutive=n))[0].kind for n in (1, 2, 3, 4)]
    assert kinds == ["server", "server", "model", "model"]
    fault, decision = settled(reason, platform=platform, facts=Facts(consecutive=3))
    assert fault.confidence < 0.8
    assert "unbroken doctor" in fault.advice
    assert isinstance(decision, FailOver)


@pytest.mark.parametrize("platform", sorted(ROWS))
@pytest.mark.parametrize("phase", ["setup", "live"])
def test_a_model_that_fails_beside_a_sibling_that_is_well_is_left_at_the_second(phase: Phase, platform: str) -> None:
    reason, well = "Internal error encountered.", Facts(sibling_well=True, proven=True, useful=True)
    decisions = [
        settled(reason, phase=phase, platform=platform, facts=msgspec.structs.replace(well, consecutive=n)) for n in (1, 2)
    ]
    assert [(fault.kind, type(decision)) for fault, decision in decisions] == [("server", Retry), ("server", FailOver)]
    assert decisions[1][0].rule == "sibling-well"
    alone = settled(reason, phase=phase, platform=platform, facts=Facts(proven=True, consecutive=2))
    assert isinstance(alone[1], Retry)


def test_beside_a_sibling_that_is_well_a_model_that_never_worked_is_left_at_the_second() -> None:
    faults = [settled("", platform="any", facts=Facts(sibling_well=True, consecutive=n))[0] for n in (1, 2, 3)]
    assert [fault.kind for fault in faults] == ["server", "model", "model"]
    alone = settled("", platform="any", facts=Facts(consecutive=3))[0]
    assert faults[1].confidence > alone.confidence, "an outage would have met the sibling too"


def test_a_lifetime_that_ends_beside_a_well_sibling_is_planned() -> None:
    facts = Facts(sibling_well=True, consecutive=2, useful=True)
    assert settled("Deadline expired before operation could complete.", phase="live", facts=facts)[0].kind == "planned"


SETUP = [row for row in known() if row.closure.phase == "setup"]


@pytest.mark.parametrize("row", SETUP, ids=lambda row: row.id)
def test_a_proven_model_is_never_blamed_for_what_history_only_guesses(row: Known) -> None:
    facts = msgspec.structs.replace(row.closure.facts, proven=True, unserved=True, consecutive=3)
    closure = msgspec.structs.replace(row.closure, facts=facts)
    table = in_order(RULES)
    assert classify(closure, table).kind == row.fault


def test_the_seeds_failure_on_a_route_of_one_escalates_with_the_model_to_use() -> None:
    ending = Ending(code=1011, reason="Internal error encountered.")
    facts = Facts(unserved=True)
    closure = Closure(platform="gemini", phase="setup", ending=ending, facts=facts, model="gemini-live-2.5-flash")
    alone = situation(closure)
    alone = msgspec.structs.replace(alone, targets=alone.targets[:1])
    decision = DefaultPolicy().decide(classify(closure, ROWS["gemini"]), alone)
    assert isinstance(decision, Escalate)
    assert "gemini-3.8-live" in decision.advice


@pytest.mark.parametrize("rule", [row for row in in_order(RULES) if "unserved" in row.facts], ids=lambda row: row.id)
def test_the_catalog_is_believed_only_until_the_model_has_worked(rule: Rule) -> None:
    assert rule.facts["proven"] is False
    assert rule.facts["resumed"] is False
