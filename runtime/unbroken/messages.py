"""What the actors send each other: frozen tagged structs, nothing else.

``link`` is the link's number within its session, from 1; times on a clock are the session's (`anyio.current_time`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from unbroken.decisions import Cause, Closure, Decision, Fault, Phase, Situation
from unbroken.events import Crossed, Steps

__all__ = [
    "Account",
    "Announced",
    "AskPolicy",
    "Decided",
    "Finished",
    "Judged",
    "Lag",
    "LinkDown",
    "LinkStep",
    "LinkUp",
    "Milestone",
    "Permit",
    "Progress",
    "Released",
    "Replay",
    "SpareSettled",
]

Milestone = Literal[
    "speech_began",
    "speech_ended",
    "turn_ended",
    "transcribed",
    "reply_began",
    "reply_ended",
    "tool_called",
    "tools_done",
    "handle_came",
    "useful",
]


class LinkStep(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Link to supervisor: a phase begins.

    Attributes:
        link: the link.
        phase: the phase that begins now.
    """

    link: int
    phase: Phase


class LinkUp(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Link to supervisor: the provider accepted the setup.

    Attributes:
        link: the link.
        steps: how long the steps took.
        round_trip: seconds; the shortest of the dial, TLS and upgrade steps, an upper bound for the path's round trip.
        spare: it was set up on a spare, whose dial, TLS and upgrade are not among the steps.
        age: seconds for which it had been set up when it became the session's link.
    """

    link: int
    steps: Steps
    round_trip: float
    spare: bool = False
    age: float = 0.0


class LinkDown(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Link to supervisor: the link is over; the last message of a link, and exactly one.

    Attributes:
        link: the link.
        closure: how it ended.
        silent_for: seconds since the last byte came from the peer; where the watchdog condemned the link, seconds for which
            it is known to have been of no use.
    """

    link: int
    closure: Closure
    silent_for: float = 0.0


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Watchdog or pipe to supervisor: the link may be of no use any more, or is of none.

    Attributes:
        link: the link.
        because: what it looks like, in one plain sentence.
        cause: what it is to be ended for; None: that is only a suspicion.
        useless_for: for how many seconds it is known to have been of no use.
    """

    link: int
    because: str
    cause: Cause | None = None
    useless_for: float = 0.0


class Replay(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Supervisor to pipe: this link is current now; replay what it does not know, then go on live.

    Attributes:
        link: the link.
        target: where it goes, ``provider/model``.
        drop_media: the audio kept over the outage is not replayed.
        round_trip: seconds, of the path.
    """

    link: int
    target: str
    drop_media: bool = False
    round_trip: float = 0.0


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pipe to supervisor: the conversation has come to here.

    Attributes:
        link: the link on which it did.
        what: what happened, in the machine's words; "useful": the first useful thing came on this link.
    """

    link: int
    what: Milestone


class Announced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pipe to supervisor: the provider announced the end of the link.

    Attributes:
        link: the link.
        time_left: seconds until it ends.
    """

    link: int
    time_left: float


class Account(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a replay did with the user's audio and with what was in flight; see `Recovered` for each field."""

    replayed_ms: float = 0.0
    uncertain_ms: float = 0.0
    lost_ms: float = 0.0
    silence_ms: float = 0.0
    told_ms: float = 0.0
    known_position: int = 0
    replay_position: int = 0
    reply: Crossed = "none"
    tools: tuple[str, ...] = ()


class Released(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pipe to supervisor: the replay is through and the user's audio is live on this link.

    Attributes:
        link: the link.
        catch_up: seconds since the link was up.
        account: what was replayed, repeated and lost.
    """

    link: int
    catch_up: float
    account: Account = Account()


class Lag(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pipe to supervisor: the application does not take its events.

    Attributes:
        paused: the link's reading is paused; False: it goes on.
    """

    paused: bool


class AskPolicy(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Supervisor to policy actor: what is to be done?

    Attributes:
        session: the session's name.
        ask_id: the question's number, unique within the session; the answer carries it.
        closure: how the link ended.
        situation: what the session knows besides; the policy actor adds what the runtime knows of the targets.
        advice: what the provider's catalog says of the target's model (`Provider.advice`), for where it is not served.
    """

    session: str
    ask_id: int
    closure: Closure
    situation: Situation
    advice: str = ""


class Permit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The runtime's leave to dial. Always given back, to `Fleet.came_up` or `Fleet.give_back`.

    Attributes:
        number: unique within the runtime.
        target: ``provider/model``.
        not_before: on the clock: the dial may begin then, if `Fleet.begin` says so.
        because: why that may be later than was asked for: one plain sentence.
    """

    number: int
    target: str
    not_before: float = 0.0
    because: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Policy actor to supervisor: this is to be done.

    Attributes:
        ask_id: the question's number; an answer to an older question is dropped.
        closure: how the link ended, with the facts that the runtime's history added.
        situation: where the session stood, with what the runtime knows of its targets: as the policy saw it.
        fault: what the closure means.
        decision: what is to be done.
        permit: the leave to dial; None: the decision dials nothing.
        fallback: the decision is the built-in one, because the session's policy failed or was late.
    """

    ask_id: int
    closure: Closure
    situation: Situation
    fault: Fault
    decision: Decision
    permit: Permit | None = None
    fallback: bool = False


class SpareSettled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Spares to supervisor: the spare that was asked for is open, or is not to be had now."""


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Application to supervisor: close the session."""
