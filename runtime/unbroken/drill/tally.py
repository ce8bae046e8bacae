"""The drill's bookkeeping: which outage answered which strike, what it cost, and whether anything promised was lost."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from unbroken.decisions import Action, Carry, Decision, FaultKind, Phase
from unbroken.drill.calls import Calls
from unbroken.events import (
    Connected,
    Escalated,
    Event,
    OutageBegan,
    Recovered,
    ReplyBegan,
    ReplyEnded,
    Steps,
    ToolCall,
    ToolCallCancelled,
    Waiting,
)

__all__ = ["Outage", "Replies", "Step", "Tally", "action_of"]

State: TypeAlias = Literal["connecting", "live", "outage", "escalated"]

_SAMPLES_PER_MS = 16


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One decision within an outage.

    Attributes:
        link: the link that ended.
        target: where it went.
        phase: where in its life the link was.
        ended: how it ended, in one line.
        fault: what that means.
        rule: the rule that said so.
        action: what was done.
        because: why, in one sentence.
    """

    link: int
    target: str
    phase: Phase
    ended: str
    fault: FaultKind
    rule: str
    action: Action
    because: str


class Outage(msgspec.Struct, kw_only=True):
    """One outage, from its first sign to the user's audio being live again.

    Attributes:
        began: seconds into the drill.
        ended: seconds into the drill; None: it did not end.
        steps: the decisions, in order.
        recovered: what the session said of it at its end; None: it did not end.
    """

    began: float
    ended: float | None = None
    steps: list[Step] = []
    recovered: Recovered | None = None

    @property
    def times(self) -> Steps:
        """How long each step took; all zero while it lasts."""
        return self.recovered.steps if self.recovered is not None else Steps()

    @property
    def carry(self) -> Carry | None:
        """How the conversation crossed; None: it has not."""
        return self.recovered.carry if self.recovered is not None else None

    @property
    def repeated_known_ms(self) -> float:
        """User audio sent again although the model was known to have heard it. The promise is 0."""
        if self.recovered is None:
            return 0.0
        return max(0, self.recovered.known_position - self.recovered.replay_position) / _SAMPLES_PER_MS


class Replies(msgspec.Struct, kw_only=True):
    """What became of the model's replies.

    Attributes:
        began: replies that began.
        complete: ended as the model meant them to.
        interrupted: ended because the user spoke.
        cut: ended because their link did.
        continued: of those that began, the ones that carry on a reply that was cut.
    """

    began: int = 0
    complete: int = 0
    interrupted: int = 0
    cut: int = 0
    continued: int = 0

    @property
    def open(self) -> int:
        """Replies that began and have not ended."""
        return self.began - self.complete - self.interrupted - self.cut


class Tally:
    """Takes the session's events in order, each with the seconds since the drill began."""

    def __init__(self) -> None:
        self.state: State = "connecting"
        self.link = 0
        self.target = ""
        self.outages: list[Outage] = []
        self.replies = Replies()
        self.calls = Calls()
        self.waiting: Waiting | None = None
        self.escalated: Escalated | None = None

    def __repr__(self) -> str:
        return f"<Tally {self.state}, link {self.link}, {len(self.outages)} outages, {self.replies.began} replies>"

    @property
    def outage(self) -> Outage | None:
        """The outage that lasts; None: none does."""
        return self.outages[-1] if self.outages and self.outages[-1].ended is None else None

    @property
    def link_of_the_moment(self) -> int:
        """The number of the link that is up or, in an outage, coming up: each that is dialled ends with one step."""
        outage = self.outage
        return outage.steps[-1].link + 1 if outage is not None and outage.steps else max(self.link, 1)

    @property
    def model_speaks(self) -> bool:
        """A reply is under way."""
        return self.state == "live" and self.replies.open > 0

    def take(self, event: Event, *, at: float) -> None:
        """Counts an event."""
        match event:
            case Connected():
                self.state, self.link, self.target = "live", event.link, event.target
            case OutageBegan():
                self._began(event, at)
            case Waiting():
                self.waiting = event
            case Recovered():
                self._recovered(event, at)
            case Escalated():
                self.state, self.escalated = "escalated", event
            case ReplyBegan():
                self.replies.began += 1
                self.replies.continued += event.continues > 0
            case ReplyEnded():
                setattr(self.replies, event.how, getattr(self.replies, event.how) + 1)
            case ToolCall():
                self.calls.called += 1
            case ToolCallCancelled():
                self.calls.cancelled.update(event.call_ids)
            case _:
                pass

    def _began(self, event: OutageBegan, at: float) -> None:
        outage = self.outage
        if outage is None:
            outage = Outage(began=at)
            self.outages.append(outage)
        self.state, self.waiting = "outage", None
        outage.steps.append(
            Step(
                link=event.link,
                target=event.target,
                phase=event.closure.phase,
                ended=event.closure.ending.describe(),
                fault=event.fault.kind,
                rule=event.fault.rule,
                action=action_of(event.decision),
                because=event.because,
            )
        )

    def _recovered(self, event: Recovered, at: float) -> None:
        outage = self.outage
        if outage is None:
            outage = Outage(began=at - event.steps.total_ms / 1000)
            self.outages.append(outage)
        outage.ended, outage.recovered = at, event
        self.state, self.link, self.target, self.waiting = "live", event.link, event.target, None


def action_of(decision: Decision) -> Action:
    """The decision's action by its name."""
    return decision.__struct_config__.tag  # type: ignore[return-value]
