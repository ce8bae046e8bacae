"""The rows of the suite: what happens to a call, and when, as data.

Every call has a turn before the fault, whose words the model has to know afterwards, a turn that the fault strikes, and one
after it, which a session that still lives answers. The moments are the same for every contender.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from benchmarks import results
from benchmarks.suite.conversations import Conversation, Turn
from unbroken.testing.faults import parse

__all__ = [
    "BACKUP_MODEL",
    "CALL",
    "LATE",
    "LONG",
    "LOSE",
    "MODEL",
    "QUICK",
    "SCENARIOS",
    "TOOL_CALL",
    "Row",
    "Strike",
    "named",
]

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
"""What every contender asks for, as LiveKit's google plugin does by itself."""

BACKUP_MODEL = "gemini-3.1-flash-live-preview"
"""What the second target serves, where there is one."""

_FIRST = Turn(at=0.8, seconds=0.6, answer="hello welcome quiet gentle")  # answered from 2.2 to 3.2
_STRUCK = Turn(at=4.0, seconds=0.8, answer="yellow purple window garden letter bridge")  # answered from 5.6 to 7.1


def _last(at: float) -> Turn:
    return Turn(at=at, seconds=0.6, answer="market teacher piano violin")


CALL = Conversation(turns=(_FIRST, _STRUCK, _last(8.2)), end=11.2)
"""What most rows are played in."""

LATE = Conversation(turns=(_FIRST, _STRUCK, _last(15.0)), end=18.0)
"""The same with a later last turn, for whoever needs some attempts."""

LONG = Conversation(turns=(_FIRST, _STRUCK, _last(27.0)), end=30.0)
"""The same for a service that is away for long."""

DEAD = Conversation(
    turns=(_FIRST, _STRUCK, Turn(at=14.0, seconds=0.6, answer="mirror needle paper pencil"), _last(54.0)), end=57.0
)
"""The same for faults that some take most of a minute to notice."""

TOOL_CALL = Conversation(
    turns=(_FIRST, Turn(at=4.0, seconds=0.8, answer="castle dragon forest harbour", calls=True), _last(9.2)),
    end=12.2,
    tool_seconds=1.0,
)
"""The second turn is answered once a tool has run: it is called at 5.6 and returns at 6.6."""

ONE_TURN = Conversation(turns=(Turn(at=0.8, seconds=0.6, answer="hello welcome quiet gentle"), _last(8.2)), end=11.2)

MANY = Conversation(turns=(), end=14.0)
"""Nobody speaks: two hundred voices are more than a machine can serve and measure at once."""

IDLE, USER, REPLY, TOOL = 3.6, 4.4, 6.2, 6.0
"""Moments: between two turns; in the middle of the second turn, of its answer, and of the tool."""

LOSE = "lose:"
"""Begins a fault of the road, not of a service."""

_QUOTA = "1011:You exceeded your current quota, please check your plan and billing details."
_BAD_KEY = "1007:API key not valid. Please pass a valid API key."
_UNKNOWN_FIELD = "1007:Invalid JSON payload received. Unknown name \"proactivity\" at 'setup': Cannot find field."


class Strike(msgspec.Struct, frozen=True):
    """A fault of one service.

    Attributes:
        at: seconds since the call began; 0: before the contender connects.
        fault: as `unbroken.testing.faults` reads it, or "lose:8s": every packet is lost for so long (rows of `packets`).
        where: which service it strikes.
    """

    at: float
    fault: str
    where: Literal["primary", "backup"] = "primary"

    def __str__(self) -> str:
        """Returns the fault with its moment, as people write it."""
        when = "" if not self.at or "@" in self.fault else f"@{self.at:g}s"
        return self.fault + when + ("" if self.where == "primary" else " (backup)")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario.

    Attributes:
        name: short; unique.
        what: what happens, in one sentence.
        group: its heading.
        strikes: the faults.
        conversation: what is said meanwhile.
        struck: the turn whose answer the fault strikes, from 0; None: none is owed then.
        announced: the connection's end is announced: the outage begins with that end, not with the announcement.
        backup: there is a second target, and without it the call cannot go on.
        rtt: milliseconds of an emulated round trip.
        jitter: milliseconds, at most, that a piece takes longer, each way.
        uplink: kbit/s of the caller's way up; None: all that there is.
        packets: between two network namespaces, where packets can be lost.
        sessions: calls at once in one process.
        frame: seconds from one of the microphone's frames to the next.
        most_runs: more runs than this tell nothing more.
    """

    name: str
    what: str
    group: str
    strikes: Sequence[Strike] = ()
    conversation: Conversation = CALL
    struck: int | None = None
    announced: bool = False
    backup: bool = False
    rtt: float = 0.0
    jitter: float = 0.0
    uplink: float | None = None
    packets: bool = False
    sessions: int = 1
    frame: float = 0.02
    most_runs: int = 100

    @property
    def targets(self) -> int:
        """How many services there are for whoever can use more than one."""
        return 2 if self.backup or any(strike.where == "backup" for strike in self.strikes) else 1

    @property
    def tool(self) -> bool:
        """The model calls a tool."""
        return any(turn.calls for turn in self.conversation.turns)

    def public(self) -> results.Scenario:
        """Returns the row as results have it."""
        faults = tuple(map(str, self.strikes))
        return results.Scenario(name=self.name, what=self.what, group=self.group, faults=faults, rtt=self.rtt)

    def check(self) -> None:
        """Looks whether every fault is one.

        Raises:
            ConfigError: one is none.
        """
        for strike in self.strikes:
            if not strike.fault.startswith(LOSE):
                parse(strike.fault)


def _close(name: str, what: str, fault: str, at: float = IDLE, *, struck: int | None = None) -> Row:
    return Row(name=name, what=what, group="closes", strikes=(Strike(at, fault),), struck=struck)


_RESET = Strike(IDLE, "reset")

SCENARIOS: Sequence[Row] = (
    Row(name="no_fault", what="nothing: the script is fair, and what a call costs without a fault", group="nothing"),
    # -- The service closes -----------------------------------------------------------------------------------------------
    _close("1011_idle", "1011 between two turns; the service is healthy", "1011"),
    _close("1011_reply", "1011 while the model speaks", "1011", REPLY, struck=1),
    _close("1011_user", "1011 while the caller speaks", "1011", USER, struck=1),
    _close("1000_idle", "1000 between two turns, though nobody wanted to end the call", "1000"),
    _close("1007_argument", "1007 between two turns: an invalid argument, and none was sent", "1007"),
    # -- The path breaks --------------------------------------------------------------------------------------------------
    Row(name="reset", what="a TCP reset between two turns", group="path", strikes=(_RESET,)),
    Row(
        name="fin",
        what="the end of the stream between two turns, without a close frame",
        group="path",
        strikes=(Strike(IDLE, "fin"),),
    ),
    Row(
        name="reset_40ms",
        what="a TCP reset while the model speaks, 40 ms of round trip",
        group="path",
        strikes=(Strike(REPLY, "reset"),),
        struck=1,
        rtt=40,
    ),
    Row(
        name="reset_150ms",
        what="a TCP reset while the model speaks, 150 ms of round trip",
        group="path",
        strikes=(Strike(REPLY, "reset"),),
        struck=1,
        rtt=150,
    ),
    Row(
        name="reset_jitter",
        what="a TCP reset while the caller speaks, 80 ms of round trip and up to 60 ms of jitter each way",
        group="path",
        strikes=(Strike(USER, "reset"),),
        struck=1,
        rtt=80,
        jitter=60,
    ),
    Row(
        name="slow_uplink",
        what="1011 while the caller speaks, on an uplink that takes 1.3 times the voice's bytes, 40 ms of round trip",
        group="path",
        strikes=(Strike(USER, "1011"),),
        conversation=LATE,
        struck=1,
        rtt=40,
        uplink=500,
    ),
    Row(
        name="half_open",
        what="the connection goes dead between two turns, and nothing says so",
        group="path",
        strikes=(Strike(IDLE, "silence"),),
        conversation=DEAD,
        most_runs=2,
    ),
    Row(
        name="packets_8s",
        what="every packet is lost for 8 s, between two network namespaces, and then the path is whole again",
        group="path",
        strikes=(Strike(IDLE, f"{LOSE}8s"),),
        conversation=LONG,
        packets=True,
        most_runs=1,
    ),
    # -- The end is announced ---------------------------------------------------------------------------------------------
    Row(
        name="goaway_50s",
        what="goAway with 50 s left, while the model speaks; the call ends before that",
        group="announced",
        strikes=(Strike(REPLY, "goaway:50s"),),
        struck=1,
        announced=True,
    ),
    Row(
        name="goaway_3s",
        what="goAway with 3 s left, while the model speaks",
        group="announced",
        strikes=(Strike(REPLY, "goaway:3s"),),
        conversation=LATE,
        struck=1,
        announced=True,
    ),
    Row(
        name="goaway_1s",
        what="goAway with 1 s left, while the caller speaks",
        group="announced",
        strikes=(Strike(USER, "goaway:1s"),),
        struck=1,
        announced=True,
    ),
    Row(
        name="lifetime",
        what="every connection lives for 6 s, announced at half of it",
        group="announced",
        strikes=(Strike(0, "lifetime:6s"),),
        struck=1,
        announced=True,
    ),
    # -- Connecting fails -------------------------------------------------------------------------------------------------
    Row(
        name="quota_setup",
        what="a reset between two turns, and two setups are answered by 1011 with words of a quota",
        group="setup",
        strikes=(Strike(IDLE, f"{_QUOTA}@setupx2"), _RESET),
        conversation=LATE,
    ),
    Row(
        name="1007_handle",
        what="a reset between two turns, and 1007 to the next setup: the resumption handle is not valid",
        group="setup",
        strikes=(
            Strike(IDLE, "1007:Invalid session handle@setup"),
            _RESET,
        ),
    ),
    Row(
        name="1007_payload",
        what="a reset between two turns, and 1007 to every setup: a field that it does not know, hence in vain",
        group="setup",
        strikes=(Strike(IDLE, f"{_UNKNOWN_FIELD}@setupx*"), _RESET),
        most_runs=2,
    ),
    Row(
        name="setup_stall",
        what="a reset between two turns, and the next setup is never answered; the one after it would be",
        group="setup",
        strikes=(Strike(IDLE, "stall-setup@setup"), _RESET),
        conversation=LONG,
        most_runs=2,
    ),
    Row(
        name="http_503",
        what="a reset between two turns, and the next three upgrades meet HTTP 503",
        group="setup",
        strikes=(Strike(IDLE, "http-503@upgradex3"), _RESET),
        conversation=LATE,
    ),
    Row(
        name="http_429",
        what="a reset between two turns, and the next upgrade meets HTTP 429 with Retry-After: 2",
        group="setup",
        strikes=(Strike(IDLE, "http-429:2@upgrade"), _RESET),
        conversation=LATE,
    ),
    # -- A whole target fails ---------------------------------------------------------------------------------------------
    Row(
        name="away_1s",
        what="a reset between two turns, and for 1 s nothing is accepted",
        group="targets",
        strikes=(Strike(IDLE, "down:1s"), _RESET),
    ),
    Row(
        name="away_20s",
        what="a reset between two turns, and for 20 s nothing is accepted",
        group="targets",
        strikes=(Strike(IDLE, "down:20s"), _RESET),
        conversation=LONG,
        most_runs=2,
    ),
    Row(
        name="model_not_found",
        what="1008 to every setup from the start: the model is not found; a second target works",
        group="targets",
        strikes=(Strike(0, f"refuse-model:{MODEL}"),),
        conversation=ONE_TURN,
        backup=True,
    ),
    Row(
        name="1007_key",
        what="1007 between two turns and to every setup: the API key is not valid any more; a second target has its own",
        group="targets",
        strikes=(Strike(IDLE, f"{_BAD_KEY}@setupx*"), Strike(IDLE, _BAD_KEY)),
        backup=True,
    ),
    Row(
        name="primary_gone",
        what="1011 while the model speaks, and nothing is accepted any more; a second target works",
        group="targets",
        strikes=(Strike(REPLY, "down"), Strike(REPLY, "1011")),
        struck=1,
        backup=True,
    ),
    Row(
        name="accept_then_fail",
        what="from between two turns on every connection is set up, says one message and is closed; a second target works",
        group="targets",
        strikes=(Strike(IDLE, "1011@live+0.1sx*"),),
        conversation=LATE,
        backup=True,
    ),
    Row(
        name="both_down",
        what="a reset between two turns, and for 3 s neither target accepts anything",
        group="targets",
        strikes=(Strike(IDLE, "down:3s"), Strike(IDLE, "down:3s", "backup"), _RESET),
        conversation=LATE,
    ),
    # -- Tools and silent models ------------------------------------------------------------------------------------------
    Row(name="tool", what="nothing happens, and the model calls a tool", group="tools", conversation=TOOL_CALL),
    Row(
        name="tool_pending",
        what="1011 while a tool runs",
        group="tools",
        strikes=(Strike(TOOL, "1011"),),
        conversation=TOOL_CALL,
        struck=1,
    ),
    Row(
        name="silent_model",
        what="the model does not answer a turn, and nothing says so",
        group="tools",
        strikes=(Strike(IDLE, "no-reply"),),
        conversation=LATE,
        struck=1,
    ),
    # -- Many sessions ----------------------------------------------------------------------------------------------------
    Row(
        name="many_200",
        what="200 sessions of one process are cut at once; their callers are silent, and send 20 ms of audio twice a second",
        group="many",
        strikes=(Strike(6.0, "1011@livex200"),),
        conversation=MANY,
        sessions=200,
        frame=0.5,
        most_runs=1,
    ),
)
"""Every row, in the order of the tables."""

QUICK = ("no_fault", "1011_reply", "reset", "tool_pending")
"""The rows of a quick run."""


def named(names: Sequence[str]) -> Sequence[Row]:
    """Returns rows by their names, in the table's order; all where no name is given.

    Raises:
        ValueError: there is no such row; the text says which there are.
    """
    known = {row.name for row in SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no scenario {unknown[0]!r}; there are: {', '.join(row.name for row in SCENARIOS)}")
    return [row for row in SCENARIOS if not names or row.name in names]
