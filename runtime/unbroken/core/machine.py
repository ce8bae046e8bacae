"""The session's states: one table, one deadline.

The rules of the table, in the manner of h11's:

* Every input has a cell in every state in which it can happen, also where it changes nothing. An input without a cell is
  a bug of this side and raises `IllegalInput`, and nothing has changed then.
* A cell names the next state and the commands to perform, in order. The machine performs nothing itself.
* A timer belongs to a state, to a link or to the outage, and is disarmed with what it belongs to. The
  machine shows one `deadline`; the caller calls `expire` when it has come, and no timer task is armed per message.
* What comes from a link that is not the current one is dropped by its number before it gets here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from unbroken.config import Deadlines, Settings
from unbroken.errors import UnbrokenError

__all__ = ["DOING", "LIVE", "OVER", "TABLE", "Checkpoint", "Command", "IllegalInput", "Input", "Machine", "State"]


class State(Enum):
    """Where a session is. The value is the word for people."""

    NEW = "new"
    DIALLING = "dialling"
    SECURING = "securing"
    UPGRADING = "upgrading"
    SETTING_UP = "setting up"
    LISTENING = "listening"
    SPEAKING = "speaking"
    SPEAKING_ON = "speaking on"
    EXPECTING = "expecting"
    REPLYING = "replying"
    IN_TOOL_CALL = "in a tool call"
    HANGING_UP = "hanging up"
    ABORTING = "aborting"
    DECIDING = "deciding"
    WAITING = "waiting"
    ENDING = "ending"
    CLOSED = "closed"
    ESCALATED = "escalated"


class Input(Enum):
    """What can happen to a session. The value is the word for people."""

    OPEN = "the application opened the session"
    TLS = "TLS began"
    UPGRADE = "the upgrade began"
    SETUP = "the setup began"
    UP = "the provider accepted the setup"
    SPEECH_BEGAN = "the user began to speak"
    SPEECH_ENDED = "the user stopped speaking, as far as this side can tell"
    TURN_ENDED = "the model has the user's turn"
    REPLY_BEGAN = "a reply began"
    REPLY_ENDED = "the reply ended"
    TOOL_CALLED = "the model called a tool"
    TOOLS_DONE = "the model waits for no tool any more"
    DOWN = "the link ended"
    GO = "decided: dial"
    WAIT = "decided: wait, then dial"
    ESCALATE = "decided: escalate"
    FINISH = "decided: finish"
    CLOSE = "the application closed the session"
    PHASE_OVERDUE = "the phase's deadline passed"
    SIGN_OVERDUE = "nothing came from the peer after the user's turn"
    SILENCE_OVERDUE = "nothing came from the peer while the user spoke on and on"
    REPLY_OVERDUE = "no reply came, or it stalled"
    HANDOVER_DUE = "the announced end of the link is near"
    DECIDE_OVERDUE = "the policy did not answer"
    WAIT_OVER = "the wait is over"
    CLOSE_OVERDUE = "the closing handshake took too long"
    PATIENCE_OVER = "the outage lasted longer than the session's patience"
    LAG_OVERDUE = "the application stopped taking its events"
    HEALTHY_DUE = "the link has been healthy for a while"


class Command(Enum):
    """What the supervisor is to perform."""

    ADMIT = "ask the fleet whether the dial may begin"
    DIAL = "begin a link as decided"
    ACTIVATE = "make the link current and replay"
    ASK = "ask the policy"
    DECIDE = "take the built-in decision"
    HANG_UP = "begin the closing handshake"
    ABORT = "abort the link"
    PING = "ask the peer for a sign"
    HEALTHY = "clear the counters"
    ESCALATE = "give the session up"
    FINISH = "end the session"


class IllegalInput(UnbrokenError):
    """An input that cannot happen in the machine's state: a bug of this side."""


S, I, C = State, Input, Command
Cell = tuple[State, tuple[Command, ...]]

LIVE: Final = frozenset({S.LISTENING, S.SPEAKING, S.SPEAKING_ON, S.EXPECTING, S.REPLYING, S.IN_TOOL_CALL})
"""The states in which a link is up."""

DOING: Final = frozenset({S.DIALLING, S.SECURING, S.UPGRADING, S.SETTING_UP})
"""The states in which a link comes up, each with a deadline of its own."""

OVER: Final = frozenset({S.CLOSED, S.ESCALATED})
"""The states that nothing leaves."""

# The application may close the session at any time, and these bounds may be reached at any time.
_WITH_LINK: Mapping[Input, Cell] = {
    I.DOWN: (S.DECIDING, (C.ASK,)),
    I.CLOSE: (S.ENDING, (C.HANG_UP,)),
    I.PATIENCE_OVER: (S.ESCALATED, (C.ABORT, C.ESCALATE)),
    I.LAG_OVERDUE: (S.ESCALATED, (C.ABORT, C.ESCALATE)),
}
_WITHOUT_LINK: Mapping[Input, Cell] = {
    I.CLOSE: (S.CLOSED, (C.FINISH,)),
    I.PATIENCE_OVER: (S.ESCALATED, (C.ESCALATE,)),
    I.LAG_OVERDUE: (S.ESCALATED, (C.ESCALATE,)),
}
# What the user and the model do is known by state; what the user does while no link is up is not the machine's business.
_COMING_UP: Mapping[Input, Cell] = {**_WITH_LINK, I.PHASE_OVERDUE: (S.ABORTING, (C.ABORT,))}
_UP: Mapping[Input, Cell] = {
    **_WITH_LINK,
    I.TOOL_CALLED: (S.IN_TOOL_CALL, ()),
    I.REPLY_BEGAN: (S.REPLYING, ()),
    I.SIGN_OVERDUE: (S.ABORTING, (C.ABORT,)),
    I.SILENCE_OVERDUE: (S.ABORTING, (C.ABORT,)),
    I.REPLY_OVERDUE: (S.ABORTING, (C.ABORT,)),
    I.HANDOVER_DUE: (S.HANGING_UP, (C.HANG_UP,)),
}


def _same(state: State, *inputs: Input) -> dict[Input, Cell]:
    return dict.fromkeys(inputs, (state, ()))


def _idle(state: State) -> dict[Input, Cell]:
    """What the user says or the application does while no link is up changes nothing here."""
    return _same(state, I.SPEECH_BEGAN, I.SPEECH_ENDED, I.TURN_ENDED, I.REPLY_ENDED, I.TOOLS_DONE)


def _late(state: State) -> dict[Input, Cell]:
    """What a link says while it is being torn down comes too late to matter."""
    return _same(state, I.TLS, I.UPGRADE, I.SETUP, I.UP, I.REPLY_BEGAN, I.TOOL_CALLED)


TABLE: Final[Mapping[State, Mapping[Input, Cell]]] = {
    S.NEW: {I.OPEN: (S.DIALLING, (C.DIAL,)), I.WAIT: (S.WAITING, ()), **_idle(S.NEW), **_WITHOUT_LINK},
    S.DIALLING: {
        **_COMING_UP,
        **_idle(S.DIALLING),
        I.TLS: (S.SECURING, ()),
        I.UPGRADE: (S.UPGRADING, ()),
        I.SETUP: (S.SETTING_UP, ()),
    },
    S.SECURING: {**_COMING_UP, **_idle(S.SECURING), I.UPGRADE: (S.UPGRADING, ()), I.SETUP: (S.SETTING_UP, ())},
    S.UPGRADING: {**_COMING_UP, **_idle(S.UPGRADING), I.SETUP: (S.SETTING_UP, ())},
    S.SETTING_UP: {**_COMING_UP, **_idle(S.SETTING_UP), I.UP: (S.LISTENING, (C.ACTIVATE,))},
    S.LISTENING: {
        **_UP,
        I.SPEECH_BEGAN: (S.SPEAKING, (C.PING,)),
        I.SPEECH_ENDED: (S.LISTENING, (C.PING,)),
        I.TURN_ENDED: (S.EXPECTING, (C.PING,)),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.LISTENING, ()),
        I.HEALTHY_DUE: (S.LISTENING, (C.HEALTHY,)),
    },
    S.SPEAKING: {
        **_UP,
        I.SPEECH_BEGAN: (S.SPEAKING, ()),
        I.SPEECH_ENDED: (S.LISTENING, (C.PING,)),
        I.TURN_ENDED: (S.SPEAKING_ON, ()),
        I.REPLY_ENDED: (S.SPEAKING, ()),
        I.TOOLS_DONE: (S.SPEAKING, ()),
        I.HEALTHY_DUE: (S.SPEAKING, (C.HEALTHY,)),
    },
    # The model has a turn and owes a reply, but may rightly wait: as far as this side can tell, the user has not finished.
    S.SPEAKING_ON: {
        **_UP,
        I.SPEECH_BEGAN: (S.SPEAKING_ON, ()),
        I.SPEECH_ENDED: (S.EXPECTING, (C.PING,)),
        I.TURN_ENDED: (S.SPEAKING_ON, ()),
        I.REPLY_ENDED: (S.SPEAKING, ()),
        I.TOOLS_DONE: (S.SPEAKING_ON, ()),
        I.HEALTHY_DUE: (S.SPEAKING_ON, (C.HEALTHY,)),
    },
    S.EXPECTING: {
        **_UP,
        I.SPEECH_BEGAN: (S.SPEAKING_ON, ()),
        I.SPEECH_ENDED: (S.EXPECTING, (C.PING,)),
        I.TURN_ENDED: (S.EXPECTING, (C.PING,)),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.EXPECTING, ()),
        I.HEALTHY_DUE: (S.EXPECTING, (C.HEALTHY,)),
    },
    S.REPLYING: {
        **_UP,
        I.SPEECH_BEGAN: (S.REPLYING, ()),
        I.SPEECH_ENDED: (S.REPLYING, (C.PING,)),
        I.TURN_ENDED: (S.REPLYING, ()),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.REPLYING, ()),
        I.HEALTHY_DUE: (S.REPLYING, (C.HEALTHY,)),
    },
    S.IN_TOOL_CALL: {
        **_UP,
        I.SPEECH_BEGAN: (S.IN_TOOL_CALL, ()),
        I.SPEECH_ENDED: (S.IN_TOOL_CALL, (C.PING,)),
        I.TURN_ENDED: (S.EXPECTING, (C.PING,)),
        I.REPLY_ENDED: (S.IN_TOOL_CALL, ()),
        I.TOOLS_DONE: (S.LISTENING, ()),
        I.HEALTHY_DUE: (S.IN_TOOL_CALL, (C.HEALTHY,)),
    },
    S.HANGING_UP: {
        **_WITH_LINK,
        **_idle(S.HANGING_UP),
        **_late(S.HANGING_UP),
        I.DOWN: (S.DECIDING, (C.ASK,)),
        I.CLOSE_OVERDUE: (S.ABORTING, (C.ABORT,)),
    },
    S.ABORTING: {
        **_WITH_LINK,
        **_idle(S.ABORTING),
        **_late(S.ABORTING),
        I.CLOSE_OVERDUE: (S.ESCALATED, (C.ESCALATE,)),
    },
    S.DECIDING: {
        **_WITHOUT_LINK,
        **_idle(S.DECIDING),
        I.GO: (S.DIALLING, (C.DIAL,)),
        I.WAIT: (S.WAITING, ()),
        I.ESCALATE: (S.ESCALATED, (C.ESCALATE,)),
        I.FINISH: (S.CLOSED, (C.FINISH,)),
        I.DECIDE_OVERDUE: (S.DECIDING, (C.DECIDE,)),
    },
    S.WAITING: {**_WITHOUT_LINK, **_idle(S.WAITING), I.WAIT_OVER: (S.DECIDING, (C.ADMIT,))},
    S.ENDING: {
        **_idle(S.ENDING),
        **_late(S.ENDING),
        I.DOWN: (S.CLOSED, (C.FINISH,)),
        I.CLOSE: (S.ENDING, ()),
        I.CLOSE_OVERDUE: (S.CLOSED, (C.ABORT, C.FINISH)),
        I.PATIENCE_OVER: (S.ENDING, ()),
        I.LAG_OVERDUE: (S.ENDING, ()),
    },
    S.CLOSED: _same(S.CLOSED, *Input),
    S.ESCALATED: _same(S.ESCALATED, *Input),
}
"""State and input give the next state and the commands."""

PHASE_TIMER: Final[Mapping[State, tuple[str, Input]]] = {
    S.SECURING: ("tls", I.PHASE_OVERDUE),
    S.UPGRADING: ("upgrade", I.PHASE_OVERDUE),
    S.SETTING_UP: ("setup", I.PHASE_OVERDUE),
    S.HANGING_UP: ("close", I.CLOSE_OVERDUE),
    S.ABORTING: ("close", I.CLOSE_OVERDUE),
    S.ENDING: ("close", I.CLOSE_OVERDUE),
    S.DECIDING: ("decide", I.DECIDE_OVERDUE),
    S.SPEAKING: ("silence", I.SILENCE_OVERDUE),
    S.SPEAKING_ON: ("silence", I.SILENCE_OVERDUE),
    S.EXPECTING: ("reply", I.REPLY_OVERDUE),
    S.REPLYING: ("reply", I.REPLY_OVERDUE),
}
"""The field of `Deadlines` that entering a state arms, and what its passing means. DIALLING takes two: the credential's
and the dial's, as one."""


_OF_A_STATE: Final = (I.PHASE_OVERDUE, I.CLOSE_OVERDUE, I.DECIDE_OVERDUE, I.REPLY_OVERDUE, I.SILENCE_OVERDUE, I.WAIT_OVER)
_OF_A_LINK: Final = (I.SIGN_OVERDUE, I.HEALTHY_DUE, I.HANDOVER_DUE)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """All that a `Machine` holds besides its settings. Times are seconds on the session's clock.

    Attributes:
        state: where the session is.
        last: what happened last.
        timers: when each timer that runs is due, in the order in which they were set: of two that are due in the same moment
            the first is taken.
        asked_at: since when a sign of the peer is waited for; `-math.inf`: it never was.
        handover_from: from when on a quiet moment is used to leave the link; `math.inf`: its end was not announced.
    """

    state: State
    last: Input
    timers: Mapping[Input, float]
    asked_at: float
    handover_from: float


class Machine:
    """One session's state, timers and nothing else.

    What enters it enters by its public methods, none of which calls another one: who notes every call of them, with its
    arguments, can have another machine do the same (`unbroken.recorder`).

    Args:
        settings: the session's bounds.
    """

    def __init__(self, settings: Settings) -> None:
        self.state = State.NEW
        self.last = Input.OPEN
        """What happened last."""
        self._deadlines: Deadlines = settings.deadlines
        self._settings = settings
        self._timers: dict[Input, float] = {}
        self._asked_at = -math.inf
        self._handover_from = math.inf

    def __repr__(self) -> str:
        return f"<Machine {self.state.value}>"

    def checkpoint(self) -> Checkpoint:
        """Returns all that the machine holds; it goes on unchanged."""
        return Checkpoint(
            state=self.state,
            last=self.last,
            timers=dict(self._timers),
            asked_at=self._asked_at,
            handover_from=self._handover_from,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Becomes what a machine with the same settings was at the checkpoint."""
        self.state = checkpoint.state
        self.last = checkpoint.last
        self._timers = dict(checkpoint.timers)
        self._asked_at = checkpoint.asked_at
        self._handover_from = checkpoint.handover_from

    @property
    def deadline(self) -> float:
        """When `expire` has to be called; `math.inf`: no timer runs."""
        return min(self._timers.values(), default=math.inf) if not self._may_hand_over else self._handover_from

    @property
    def _may_hand_over(self) -> bool:
        # a turn boundary: nobody speaks, no reply is due, and the last thing the user said is with the model
        return (
            self.state is State.LISTENING
            and Input.SIGN_OVERDUE not in self._timers
            and self._handover_from < min(self._timers.values(), default=math.inf)
        )

    def feed(self, happened: Input, now: float) -> tuple[Command, ...]:
        """Takes one input.

        Args:
            happened: what happened.
            now: the present, seconds on the session's clock.

        Returns:
            What is to be performed, in order.

        Raises:
            IllegalInput: it cannot happen in this state; nothing has changed.
        """
        return self._take(happened, now)

    def _take(self, happened: Input, now: float) -> tuple[Command, ...]:
        cell = TABLE[self.state].get(happened)
        if cell is None:
            allowed = ", ".join(sorted(name.name for name in TABLE[self.state]))
            raise IllegalInput(f"{happened.name} cannot happen while {self.state.value}; what can: {allowed}")
        state, commands = cell
        self._enter(state, happened, now)
        return commands

    def wait(self, until: float, now: float) -> tuple[Command, ...]:
        """Takes a decision to dial at a time that has not come.

        Args:
            until: when the dial may begin.
            now: the present.
        """
        commands = self._take(Input.WAIT, now)
        self._timers[Input.WAIT_OVER] = until
        return commands

    def announce(self, time_left: float, now: float) -> None:
        """Takes the announced end of the link (goAway).

        A handover is sought at a turn boundary within the last minute, and made in any case shortly before the end. Of
        several announcements for one link the earliest end counts.

        Args:
            time_left: seconds until the link ends.
            now: the present.
        """
        if self.state not in LIVE:
            return
        margin = min(1.0 + self._deadlines.close, time_left / 2)
        end = now + time_left
        due = end - margin
        if due < self._timers.get(Input.HANDOVER_DUE, math.inf):
            self._timers[Input.HANDOVER_DUE] = due
            self._handover_from = max(now, end - 60.0)

    def useful(self, up_since: float, now: float) -> None:
        """Something useful came on the link: the counters clear once it has been up for long enough.

        Args:
            up_since: when the link came up.
            now: the present.
        """
        if self.state in LIVE:
            self._timers[Input.HEALTHY_DUE] = max(now, up_since + self._settings.healthy_after)

    def outage(self, began: float) -> None:
        """An outage begins: patience runs from here until a link is up.

        Args:
            began: when the last sign of life came.
        """
        self._timers.setdefault(Input.PATIENCE_OVER, began + self._settings.patience)

    def lag(self, now: float, *, paused: bool) -> None:
        """The application stopped taking its events, or goes on.

        Args:
            now: the present.
            paused: the link's reading is paused.
        """
        if not paused:
            self._timers.pop(Input.LAG_OVERDUE, None)
        elif self.state not in OVER:
            self._timers.setdefault(Input.LAG_OVERDUE, now + self._settings.consumer_patience)

    def expire(self, now: float, *, sign_at: float = -math.inf, output_at: float = -math.inf) -> tuple[Command, ...]:
        """Takes the passing of the `deadline`.

        Args:
            now: the present.
            sign_at: when the last byte came from the peer.
            output_at: until when the reply that came so far plays, or when its last piece came, whichever is later.

        Returns:
            What is to be performed; nothing where no timer has run out, or where a sign has come in time.
        """
        if self._may_hand_over and now >= self._handover_from:
            return self._take(Input.HANDOVER_DUE, now)
        due = min(self._timers, key=self._timers.__getitem__, default=None)
        if due is None or self._timers[due] > now:
            return ()
        del self._timers[due]
        if (later := self._excused(due, now, sign_at, output_at)) is not None:
            if later < math.inf:
                self._timers[due] = later
            return (Command.PING,) if due is Input.SILENCE_OVERDUE else ()
        return self._take(due, now)

    def _excused(self, due: Input, now: float, sign_at: float, output_at: float) -> float | None:
        """Returns when to look again (`math.inf`: need not) where life excuses the timer; None where nothing does."""
        if due is Input.SILENCE_OVERDUE:
            asked = now - self._deadlines.silence
            return now + self._deadlines.silence if sign_at >= asked or Input.LAG_OVERDUE in self._timers else None
        if due not in (Input.SIGN_OVERDUE, Input.REPLY_OVERDUE):
            return None
        if Input.LAG_OVERDUE in self._timers:  # the application is late, so nobody has read what the peer said
            return now + (self._deadlines.sign if due is Input.SIGN_OVERDUE else self._deadlines.reply)
        if due is Input.SIGN_OVERDUE:
            return math.inf if sign_at >= self._asked_at else None
        if self.state is State.REPLYING and output_at + self._deadlines.reply > now:
            return output_at + self._deadlines.reply
        return None

    def _enter(self, state: State, happened: Input, now: float) -> None:
        if state is not self.state:
            for timer in _OF_A_STATE:
                self._timers.pop(timer, None)
        if state not in LIVE:
            for timer in _OF_A_LINK:
                self._timers.pop(timer, None)
            self._handover_from = math.inf
        if state in OVER:
            self._timers.clear()
        if happened is Input.UP and state in LIVE:  # one that comes too late ends no outage
            self._timers.pop(Input.PATIENCE_OVER, None)
        if state in LIVE and happened in (Input.SPEECH_ENDED, Input.TURN_ENDED) and state is not State.SPEAKING_ON:
            self._asked_at = now
            self._timers[Input.SIGN_OVERDUE] = now + self._deadlines.sign
        self._arm(state, happened, now)
        self.state = state
        self.last = happened

    def _arm(self, state: State, happened: Input, now: float) -> None:
        if state is State.DIALLING and self.state is not State.DIALLING:
            self._timers[Input.PHASE_OVERDUE] = now + self._deadlines.credential + self._deadlines.dial
        elif state in PHASE_TIMER:
            field, overdue = PHASE_TIMER[state]
            if state is not self.state or happened in (Input.TURN_ENDED, Input.DECIDE_OVERDUE):
                seconds: float = getattr(self._deadlines, field)
                self._timers[overdue] = now + seconds
