"""Plugins are found by name, and what is missing says what would help."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from unbroken import registry
from unbroken.core.classify import Rule
from unbroken.core.policy import DefaultPolicy
from unbroken.errors import ConfigError, MissingExtra, UnknownName

POINTS = {
    "careful": "unbroken.core.policy:DefaultPolicy",
    "needs-trio": "trio_is_not_here",
    "gone": "no_such_package.policies:Careful",
    "misspelt": "unbroken.core.policy:Carefull",
}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name=name, value=value, group=group) for name, value in POINTS.items()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    registry._points.cache_clear()
    yield
    registry._points.cache_clear()


def test_our_own_plugin_is_found() -> None:
    assert registry.names("unbroken.rules") == ("gemini",)
    rules = registry.load("unbroken.rules", "gemini")
    assert rules[0].id == "gemini-quota"


@pytest.mark.usefixtures("registered")
def test_names_are_listed_without_importing() -> None:
    assert registry.names("unbroken.policies") == ("careful", "gone", "misspelt", "needs-trio")


@pytest.mark.usefixtures("registered")
def test_a_name_is_imported_on_use() -> None:
    assert registry.load("unbroken.policies", "careful") is DefaultPolicy


@pytest.mark.usefixtures("registered")
def test_an_unknown_name_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownName) as failed:
        registry.load("unbroken.policies", "carefull")
    assert str(failed.value) == (
        "unknown policy 'carefull'; did you mean 'careful'? known: careful, gone, misspelt, needs-trio"
    )


@pytest.mark.usefixtures("registered")
def test_what_is_registered_and_gone_is_named() -> None:
    with pytest.raises(ConfigError) as failed:
        registry.load("unbroken.policies", "gone")
    assert str(failed.value) == (
        "policy 'gone' is registered as 'no_such_package.policies:Careful', but no module named 'no_such_package'"
    )
    with pytest.raises(ConfigError, match=r"^policy 'misspelt' is registered as .*, but .* has no attribute 'Carefull'$"):
        registry.load("unbroken.policies", "misspelt")


@pytest.mark.usefixtures("registered")
def test_a_missing_package_of_an_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: EntryPoint) -> None:
        raise ModuleNotFoundError("No module named 'google.genai'", name="google.genai")

    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(MissingExtra) as failed:
        registry.load("unbroken.providers", "careful")
    assert str(failed.value) == (
        "provider 'careful' needs the package 'google', which is not installed: pip install 'unbroken[gemini]'"
    )


def test_rules_are_found_without_the_providers_sdk() -> None:
    code = (
        "import sys; sys.modules['google'] = None\n"
        "from unbroken.cli import main\n"
        "status = main('explain --platform vertex --phase setup --code 1008 --reason'.split() + ['Publisher Model'])\n"
        "assert 'google.genai' not in sys.modules\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "vertex-publisher-model" in done.stdout


# -- policies and rules ---------------------------------------------------------------------------------------------------


def test_a_policy_is_found_however_it_is_given() -> None:
    for given in ("default", "unbroken.core.policy:DefaultPolicy", DefaultPolicy):
        assert isinstance(registry.policy(given), DefaultPolicy)
    mine = DefaultPolicy()
    assert registry.policy(mine) is mine


class Demanding:
    def __init__(self, what: str) -> None:
        self.what = what


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (42, "42 is no policy; a policy has a method decide(fault, situation) that returns a Decision"),
        (
            "math:pi",
            "3.141592653589793 is no policy; a policy has a method decide(fault, situation) that returns a Decision",
        ),
        ("math:tau.of", "policy 'math:tau.of' is not there: 'float' object has no attribute 'of'"),
        ("no_such:policy", "policy 'no_such:policy' is not there: no module named 'no_such'"),
        (
            Demanding,
            "Demanding cannot be made without arguments; give an object of it: Demanding.__init__() missing 1 required"
            " positional argument: 'what'",
        ),
    ],
)
def test_what_is_no_policy_is_said(given: object, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.policy(given)
    assert str(refused.value) == said


def test_rules_are_rows_or_names_or_both() -> None:
    row = Rule(id="mine", fault="planned", codes=(4000,))
    ours = registry.load("unbroken.rules", "gemini")
    assert registry.rules(()) == ()
    assert registry.rules("gemini") == tuple(ours)
    assert registry.rules([row, "gemini"]) == (row, *ours)


def test_what_is_no_rule_is_said() -> None:
    with pytest.raises(ConfigError) as refused:
        registry.rules([42])  # type: ignore[list-item]
    assert str(refused.value) == "42 is no rule; rules are unbroken.Rule objects, or names of the group unbroken.rules"
    with pytest.raises(UnknownName, match=r"^unknown set of rules 'gemni'; did you mean 'gemini'\? known: gemini$"):
        registry.rules("gemni")
