"""The session's states, drawn from the machine's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from unbroken.core.machine import DOING, LIVE, OVER, TABLE, Input, State

__all__ = ["diagram"]

_GROUPS: Final = (("coming_up", DOING), ("up", LIVE))
_ALWAYS: Final = frozenset({Input.CLOSE, Input.PATIENCE_OVER, Input.LAG_OVERDUE})


def diagram() -> str:
    """Returns the table as a Mermaid state diagram; docs/machine.md is made of it.

    What all states of a group share is drawn once, from the group. What can happen in every state (the application closes
    the session, patience or the application's time to take its events runs out) is left to the page's text.
    """
    lines = ["stateDiagram-v2", "    [*] --> new"]
    shared: dict[State, set[Input]] = {}
    for group, members in _GROUPS:
        rows = [TABLE[state] for state in members]
        common = {
            i: to for i, (to, _) in rows[0].items() if to not in members and all(i in r and r[i][0] is to for r in rows)
        }
        lines += [f"    state {group} {{", *(f"        {_name(state)}" for state in State if state in members), "    }"]
        lines += _arrows(group, common)
        shared |= {state: set(common) for state in members}
    for state, row in TABLE.items():
        if state in OVER:
            lines.append(f"    {_name(state)} --> [*]")
        else:
            own = {i: to for i, (to, _) in row.items() if to is not state and i not in shared.get(state, ())}
            lines += _arrows(_name(state), own)
    return "\n".join(lines) + "\n"


def _name(state: State) -> str:
    return state.value.replace(" ", "_")


def _arrows(source: str, row: Mapping[Input, State]) -> list[str]:
    arrows: dict[State, list[str]] = {}
    for happened, to in row.items():
        if happened not in _ALWAYS:
            arrows.setdefault(to, []).append(happened.name.lower())
    return [f"    {source} --> {_name(to)}: {', '.join(sorted(labels))}" for to, labels in arrows.items()]
