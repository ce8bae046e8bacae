"""How connections really ended, as users reported it: a table (closures.toml), with the fault behind each end."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from unbroken.decisions import Action, Cause, Closure, Ending, Facts, FaultKind, Phase, Situation, TargetState

__all__ = ["Known", "known", "situation"]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One end that was really seen.

    Attributes:
        id: unique in the table.
        closure: the end, with what the client knew besides; a live link had been of use.
        fault: what was found behind it.
        action: the first action that helped, where the route has another target.
        source: who reported it: an issue, a forum thread, an RFC.
    """

    id: str
    closure: Closure
    fault: FaultKind
    action: Action
    source: str


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row, as the file has it."""

    id: str
    platform: str
    phase: Phase
    reason: str
    fault: FaultKind
    action: Action
    source: str
    code: int | None = None
    http: int | None = None
    cause: Cause | None = None
    facts: dict[str, Any] = {}

    def known(self) -> Known:
        facts = {"useful": self.phase == "live", **self.facts}
        ending = Ending(
            code=self.code,
            reason=self.reason,
            http_status=self.http,
            cause=self.cause,
            retry_after=facts.pop("retry_after", None),
            sent_by_us=facts.get("sent_by_us", False),
        )
        closure = Closure(platform=self.platform, phase=self.phase, ending=ending, facts=Facts(**facts))
        return Known(id=self.id, closure=closure, fault=self.fault, action=self.action, source=self.source)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    closure: tuple[_Row, ...]


@cache
def known() -> tuple[Known, ...]:
    """Returns the ends that were really seen, in the file's order."""
    text = (files("unbroken.testing") / "closures.toml").read_text(encoding="utf-8")
    return tuple(row.known() for row in msgspec.convert(tomllib.loads(text), type=_File).closure)


def situation(closure: Closure) -> Situation:
    """Returns the situation in which an end is judged where nothing else is told.

    The session holds history, and a handle where the link had one or lived long enough to get one. The route has one more
    target of the same provider and credentials, with a quota of its own. `Facts.consecutive` links to the first target
    failed in a row, and of a resumed one all with that handle.

    Args:
        closure: how the link to the first target ended.
    """
    platform = closure.platform if closure.platform != "any" else "provider"
    model = closure.model or "this-model"
    facts = closure.facts
    here = TargetState(name=f"{platform}/{model}", index=0, quota_group=model, credentials=platform, tried=facts.consecutive)
    other = TargetState(name=f"{platform}/another-model", index=1, quota_group="another", credentials=platform)
    return Situation(
        targets=(here, other),
        phase=closure.phase,
        age=closure.age,
        unlived=int(closure.phase != "live"),
        attempt=facts.consecutive,
        has_handle=facts.resumed or closure.phase == "live",
        has_history=True,
        handle_failures=facts.consecutive if facts.resumed else 0,
        useful=facts.useful,
        previous_unconfirmed=facts.previous_unconfirmed,
        random=0.5,
    )
