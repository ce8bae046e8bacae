"""A catalog of made-up models: look-up, standing at a place, and what is recommended instead."""

from __future__ import annotations

import re

import pytest

from unbroken.core.catalog import Catalog, Row, Service, Standing
from unbroken.errors import UnknownName


def on(platform: str, status: str, **more: object) -> Service:
    return Service(platform=platform, status=status, **more)  # type: ignore[arg-type]


NEW = Row(name="new", aliases=("newest",), services=(on("here", "stable"), on("there", "preview", not_in=("world",))))
OLD = Row(name="old", services=(on("here", "retired", until="2025-01-01"), on("there", "stable", regions=("east",))))
CLUB = Row(name="club", services=(on("here", "allowlist"), on("there", "never")), replacement="other")
MAYBE = Row(name="maybe", services=(on("here", "unconfirmed"),))
OTHER = Row(name="other", services=(on("here", "stable"),))
GONE = Row(name="gone", services=(on("here", "never"), on("there", "retired")), replacement="old")
TRANSLATOR = Row(name="translator", services=(on("here", "stable"),), purpose="translation")
OLD_TRANSLATOR = Row(name="old-translator", services=(on("here", "retired"),), purpose="translation")

CATALOG = Catalog([NEW, OLD, CLUB, MAYBE, OTHER, GONE, TRANSLATOR, OLD_TRANSLATOR])


def test_names_and_aliases_find_a_row() -> None:
    assert CATALOG.find("newest") is CATALOG.get("new", platform="here") is NEW
    assert CATALOG.find("newer") is None
    assert list(CATALOG) == [NEW, OLD, CLUB, MAYBE, OTHER, GONE, TRANSLATOR, OLD_TRANSLATOR]
    assert repr(CATALOG) == "<Catalog of 8 models>"


def test_a_row_is_found_where_it_is_not_served() -> None:
    assert CATALOG.get("gone", platform="here") is GONE


def test_an_unknown_name_lists_what_the_platform_serves() -> None:
    said = "unknown model over there 'ild'; did you mean 'old'? known: new, old"
    with pytest.raises(UnknownName, match=f"^{re.escape(said)}$"):
        CATALOG.get("ild", platform="there", kind="model over there")


def test_two_rows_do_not_share_a_name() -> None:
    with pytest.raises(ValueError, match=r"^two rows of the catalog answer to 'new'$"):
        Catalog([NEW, Row(name="other", aliases=("new",), services=())])


@pytest.mark.parametrize(
    ("platform", "region", "names"),
    [
        ("here", None, ["new", "other", "translator"]),
        ("there", None, ["new", "old"]),
        ("there", "east", ["new", "old"]),
        ("there", "west", ["new"]),
        ("there", "world", []),
        ("nowhere", None, []),
    ],
)
def test_what_is_served(platform: str, region: str | None, names: list[str]) -> None:
    assert [row.name for row in CATALOG.serving(platform, region=region)] == names


@pytest.mark.parametrize(
    ("name", "platform", "region", "standing"),
    [
        ("newest", "here", None, Standing(verdict="served", service=NEW.services[0])),
        ("new", "here", "any", Standing(verdict="served", service=NEW.services[0])),
        ("new", "there", "world", Standing(verdict="region", service=NEW.services[1], platforms=("here",))),
        ("old", "there", "east", Standing(verdict="served", service=OLD.services[1])),
        ("old", "there", "west", Standing(verdict="region", service=OLD.services[1], instead="new")),
        ("old", "here", None, Standing(verdict="retired", service=OLD.services[0], platforms=("there",), instead="new")),
        ("club", "here", None, Standing(verdict="invited", service=CLUB.services[0], instead="other")),
        ("club", "there", None, Standing(verdict="retired", service=CLUB.services[1], instead="new")),
        ("maybe", "here", None, Standing(verdict="unconfirmed", service=MAYBE.services[0], instead="new")),
        ("maybe", "there", None, Standing(verdict="retired", instead="new")),
        ("other", "there", None, Standing(verdict="elsewhere", platforms=("here",), instead="new")),
        ("gone", "here", None, Standing(verdict="retired", service=GONE.services[0], instead="new")),
        ("gone", "there", None, Standing(verdict="retired", service=GONE.services[1], instead="old")),
        (
            "old-translator",
            "here",
            None,
            Standing(verdict="retired", service=OLD_TRANSLATOR.services[0], instead="translator"),
        ),
        ("nobody", "here", None, Standing(verdict="unknown", instead="new")),
        ("nobody", "nowhere", None, Standing(verdict="unknown")),
    ],
)
def test_standing(name: str, platform: str, region: str | None, standing: Standing) -> None:
    assert CATALOG.standing(name, platform=platform, region=region) == standing
