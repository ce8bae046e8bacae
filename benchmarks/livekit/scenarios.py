"""The rows of the table: one fault each, at a moment of the call, as data.

The names are those of the failure tables of LiveKit's google plugin and fallback adapter that this table was made to repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from benchmarks.livekit.conversations import BRIEF, FULL, LONG, SLOW_TOOL
from benchmarks.suite.conversations import Conversation

__all__ = ["BRIEFLY", "SCENARIOS", "Scenario", "Strike"]


class Strike(msgspec.Struct, frozen=True):
    """A fault of one service.

    Attributes:
        at: seconds since the call began; 0: before the application connects.
        fault: as `unbroken.testing.faults` reads it.
        where: the service that it strikes.
    """

    at: float
    fault: str
    where: Literal["primary", "backup"] = "primary"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    Attributes:
        name: short, for the command line.
        what: what happens, for people.
        strikes: the faults.
        conversation: what is said meanwhile.
        ahead: how far the service sends a reply's audio ahead of its playing, in seconds.
        hears_in_calls: the service takes the caller's audio while a tool call is pending.
        needs_backup: the service that the call began with does not come back: without another one it cannot go on.
    """

    name: str
    what: str
    strikes: Sequence[Strike] = ()
    conversation: Conversation = FULL
    ahead: float = 0.2
    hears_in_calls: bool = True
    needs_backup: bool = False


# Moments of the call (see `conversations`): 0.65 the greeting is asked for and has not begun, 6.5 within the first answer,
# 9.2 between two turns, 12.7 while the tool runs, 17.8 while the caller speaks.
_IDLE, _PENDING, _SPEAKING, _TOOL, _USER = 9.2, 0.65, 6.5, 12.7, 17.8

SCENARIOS: Sequence[Scenario] = (
    Scenario(name="no_fault", what="nothing: the script is fair"),
    # -- LiveKit's google plugin -------------------------------------------------------------------------------------------
    Scenario(
        name="setup_1011",
        what="every setup is answered by 1011; a greeting is pending (setup_1011, setup_1011_generate, fa_setup_1011)",
        strikes=(Strike(0, "1011@setupx*"),),
        needs_backup=True,
    ),
    Scenario(
        name="setup_1008",
        what="the model's name is not known: 1008 to every setup",
        strikes=(Strike(0, "1008:models/x is not found for API version v1beta, or is not supported@setupx*"),),
        needs_backup=True,
    ),
    Scenario(
        name="refused",
        what="connections are refused from the start, for good",
        strikes=(Strike(0, "down"),),
        needs_backup=True,
    ),
    Scenario(name="refused_2s", what="connections are refused for the first 2 s", strikes=(Strike(0, "down:2s"),)),
    Scenario(name="midcall_1011", what="1011 between two turns; the service is healthy", strikes=(Strike(_IDLE, "1011"),)),
    Scenario(
        name="midcall_reconnect_refused",
        what="1011 between two turns, and connections are refused for 1 s",
        strikes=(Strike(_IDLE, "down:1s"), Strike(_IDLE, "1011")),
    ),
    Scenario(
        name="persistent_1011",
        what="from then on each connection is set up, and closed by 1011 at once (persistent_1011, fa_persistent)",
        strikes=(Strike(_IDLE, "1011@livex*"),),
        needs_backup=True,
    ),
    Scenario(
        name="flapping_1011",
        what="from then on each connection is set up, says one message, and is closed by 1011 (flapping_1011, fa_flapping)",
        strikes=(Strike(_IDLE, "1011@live+0.1sx*"),),
        needs_backup=True,
    ),
    Scenario(
        name="setup_hang",
        what="connections are accepted, and no setup is ever answered",
        strikes=(Strike(0, "stall-setup@setupx*"),),
        needs_backup=True,
    ),
    Scenario(
        name="setup_hang_once",
        what="the first setup is never answered; the next would be",
        strikes=(Strike(0, "stall-setup"),),
    ),
    Scenario(
        name="half_open",
        what="the connection goes dead without an end (half_open, half_open_tuned, fa_half_open)",
        strikes=(Strike(_IDLE, "silence"),),
        conversation=LONG,
    ),
    Scenario(
        name="midcall_1007",
        what="1007 between two turns",
        strikes=(Strike(_IDLE, "1007:Request contains an invalid argument."),),
    ),
    Scenario(
        name="midspeech_1011",
        what="1011 within a reply; the service is healthy",
        strikes=(Strike(_SPEAKING, "1011"),),
    ),
    Scenario(
        name="audio_backlog",
        what="1011 while the caller speaks, and connections hang for 3 s before they are accepted",
        strikes=(Strike(_USER, "stall-upgrade:3s"), Strike(_USER, "1011")),
    ),
    Scenario(
        name="pending_reply_1011",
        what="1011 while a reply with instructions is pending; the service is healthy",
        strikes=(Strike(_PENDING, "1011"),),
    ),
    Scenario(name="goaway", what="goAway with 50 s left, within a reply", strikes=(Strike(_SPEAKING, "goaway:50s"),)),
    Scenario(name="tool_1011", what="1011 while a tool runs; the service is healthy", strikes=(Strike(_TOOL, "1011"),)),
    Scenario(
        name="handle_rejected",
        what="1011 between two turns, and the resumption handle is not known any more",
        strikes=(Strike(_IDLE, "1008:BidiGenerateContent session not found@setup"), Strike(_IDLE, "1011")),
    ),
    Scenario(
        name="input_in_tool_call",
        what="no fault: the service closes with 1008 where the caller's audio goes on while a tool runs",
        hears_in_calls=False,
    ),
    # -- its fallback adapter ----------------------------------------------------------------------------------------------
    Scenario(
        name="fa_swap_then_reply",
        what="the service goes down for good while a reply with instructions is pending",
        strikes=(Strike(_PENDING, "down"), Strike(_PENDING, "1011")),
        needs_backup=True,
    ),
    Scenario(
        name="fa_midspeech",
        what="the service goes down for good within a reply",
        strikes=(Strike(_SPEAKING, "down"), Strike(_SPEAKING, "1011")),
        needs_backup=True,
    ),
    Scenario(
        name="fa_buffered_speech",
        what="the same, when the whole reply has been sent and half of it is played",
        strikes=(Strike(_SPEAKING, "down"), Strike(_SPEAKING, "1011")),
        ahead=20.0,
        needs_backup=True,
    ),
    Scenario(
        name="fa_backup_hangs",
        what="the service is down for 5 s, and the backup never answers a setup",
        strikes=(Strike(0, "stall-setup@setupx*", "backup"), Strike(_IDLE, "down:5s"), Strike(_IDLE, "1011")),
        conversation=LONG,
    ),
    Scenario(
        name="fa_both_down",
        what="the service and the backup refuse connections for the first 4 s",
        strikes=(Strike(0, "down:4s"), Strike(0, "down:4s", "backup")),
    ),
    Scenario(
        name="tool_1011_adapter",
        what="the service goes down for good while a tool runs",
        strikes=(Strike(_TOOL, "down"), Strike(_TOOL, "1011")),
        needs_backup=True,
    ),
    Scenario(
        name="fa_slow_tool",
        what="the same with a tool that takes 12 s",
        strikes=(Strike(_TOOL + 2, "down"), Strike(_TOOL + 2, "1011")),
        conversation=SLOW_TOOL,
        needs_backup=True,
    ),
)

BRIEFLY: Sequence[Scenario] = (
    Scenario(name="no_fault", what="nothing: the script is fair", conversation=BRIEF),
    Scenario(
        name="midspeech_1011",
        what="1011 within a reply; the service is healthy",
        strikes=(Strike(4.6, "1011"),),
        conversation=BRIEF,
    ),
    Scenario(
        name="tool_1011_adapter",
        what="the service goes down for good while a tool runs",
        strikes=(Strike(8.8, "down"), Strike(8.8, "1011")),
        conversation=BRIEF,
        needs_backup=True,
    ),
)
"""The rows of a quick run, with a call of 13 s."""
