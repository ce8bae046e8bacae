"""The states of a session, what can happen in them, and the table of both; `unbroken.core.machine` goes by it.

* Every input has a cell in every state in which it can happen, also where it changes nothing.
* A cell names the next state and the commands to perform, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

__all__ = ["DOING", "LIVE", "OVER", "PHASE_TIMER", "TABLE", "Cell", "Command", "Input", "State"]


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
    AFTER_TOOLS = "expecting after a tool call"
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
    DIAL = "the spare was of no use, so that the dial began after all"
    TLS = "TLS began"
    UPGRADE = "the upgrade began"
    SETUP = "the setup began"
    UP = "the provider accepted the setup"
    SPEECH_BEGAN = "the user began to speak"
    SPEECH_ENDED = "the user stopped speaking, as far as this side can tell"
    TURN_ENDED = "the model has the user's turn"
    TRANSCRIBED = "the model wrote down what the user said"
    REPLY_BEGAN = "a reply began"
    REPLY_ENDED = "the reply ended"
    TOOL_CALLED = "the model called a tool"
    TOOLS_DONE = "the model waits for no tool any more"
    HANDLE_CAME = "a handle came that holds what was said so far, or none came in time"
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
    ANSWER_OVERDUE = "what the model wrote down of the user's words was never answered"
    SUSPECTED = "the path of the link shows signs of being dead"
    CONDEMNED = "the link is of no use any more, whatever its socket says"
    SPARE_DUE = "a spare may be needed soon"
    SPARE_SETTLED = "the spare that was asked for is open, or is not to be had"
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
    SPARE = "have a spare open, for the link may end soon"
    HEALTHY = "clear the counters"
    ESCALATE = "give the session up"
    FINISH = "end the session"


S, I, C = State, Input, Command
Cell = tuple[State, tuple[Command, ...]]

LIVE: Final = frozenset({S.LISTENING, S.SPEAKING, S.SPEAKING_ON, S.EXPECTING, S.REPLYING, S.IN_TOOL_CALL, S.AFTER_TOOLS})
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
    I.ANSWER_OVERDUE: (S.ABORTING, (C.ABORT,)),
    I.CONDEMNED: (S.ABORTING, (C.ABORT,)),
    I.HANDOVER_DUE: (S.HANGING_UP, (C.HANG_UP,)),
}


def _same(state: State, *inputs: Input) -> dict[Input, Cell]:
    return dict.fromkeys(inputs, (state, ()))


def _idle(state: State) -> dict[Input, Cell]:
    """What the user says or the application does while no link is up changes nothing here."""
    return _same(state, I.SPEECH_BEGAN, I.SPEECH_ENDED, I.TURN_ENDED, I.REPLY_ENDED, I.TOOLS_DONE)


_HEALTH: Final = (I.SUSPECTED, I.CONDEMNED)
_NOTED: Final = (I.TRANSCRIBED, I.HANDLE_CAME)


def _late(state: State) -> dict[Input, Cell]:
    """What a link says while it is being torn down comes too late to matter."""
    return _same(state, I.DIAL, I.TLS, I.UPGRADE, I.SETUP, I.UP, *_NOTED, I.REPLY_BEGAN, I.TOOL_CALLED, *_HEALTH)


def _beside(state: State) -> dict[Input, Cell]:
    """A spare is opened beside a link that is up, and what the service notes down moves a timer: no state changes by it."""
    return {
        I.SUSPECTED: (state, (C.SPARE,)),
        I.SPARE_DUE: (state, (C.SPARE,)),
        I.SPARE_SETTLED: (state, ()),
        **_same(state, *_NOTED),
    }


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
    S.SETTING_UP: {
        **_COMING_UP,
        **_idle(S.SETTING_UP),
        I.DIAL: (S.DIALLING, ()),
        I.UP: (S.LISTENING, (C.ACTIVATE,)),
    },
    S.LISTENING: {
        **_UP,
        **_beside(S.LISTENING),
        I.SPEECH_BEGAN: (S.SPEAKING, (C.PING,)),
        I.SPEECH_ENDED: (S.LISTENING, (C.PING,)),
        I.TURN_ENDED: (S.EXPECTING, (C.PING,)),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.LISTENING, ()),
        I.HEALTHY_DUE: (S.LISTENING, (C.HEALTHY,)),
    },
    S.SPEAKING: {
        **_UP,
        **_beside(S.SPEAKING),
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
        **_beside(S.SPEAKING_ON),
        I.SPEECH_BEGAN: (S.SPEAKING_ON, ()),
        I.SPEECH_ENDED: (S.EXPECTING, (C.PING,)),
        I.TURN_ENDED: (S.SPEAKING_ON, ()),
        I.REPLY_ENDED: (S.SPEAKING, ()),
        I.TOOLS_DONE: (S.SPEAKING_ON, ()),
        I.HEALTHY_DUE: (S.SPEAKING_ON, (C.HEALTHY,)),
    },
    S.EXPECTING: {
        **_UP,
        **_beside(S.EXPECTING),
        I.SPEECH_BEGAN: (S.SPEAKING_ON, ()),
        I.SPEECH_ENDED: (S.EXPECTING, (C.PING,)),
        I.TURN_ENDED: (S.EXPECTING, (C.PING,)),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.EXPECTING, ()),
        I.HEALTHY_DUE: (S.EXPECTING, (C.HEALTHY,)),
    },
    S.REPLYING: {
        **_UP,
        **_beside(S.REPLYING),
        I.SPEECH_BEGAN: (S.REPLYING, ()),
        I.SPEECH_ENDED: (S.REPLYING, (C.PING,)),
        I.TURN_ENDED: (S.REPLYING, (C.PING,)),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.REPLYING, ()),
        I.HEALTHY_DUE: (S.REPLYING, (C.HEALTHY,)),
    },
    S.IN_TOOL_CALL: {
        **_UP,
        **_beside(S.IN_TOOL_CALL),
        I.SPEECH_BEGAN: (S.IN_TOOL_CALL, ()),
        I.SPEECH_ENDED: (S.IN_TOOL_CALL, (C.PING,)),
        I.TURN_ENDED: (S.AFTER_TOOLS, (C.PING,)),
        I.REPLY_ENDED: (S.IN_TOOL_CALL, ()),
        I.TOOLS_DONE: (S.LISTENING, ()),
        I.HEALTHY_DUE: (S.IN_TOOL_CALL, (C.HEALTHY,)),
    },
    # The model has a tool's answer: unlike a turn of the user's, which can be heard again, it is of use to this link only.
    S.AFTER_TOOLS: {
        **_UP,
        **_beside(S.AFTER_TOOLS),
        I.SPEECH_BEGAN: (S.SPEAKING_ON, ()),
        I.SPEECH_ENDED: (S.AFTER_TOOLS, (C.PING,)),
        I.TURN_ENDED: (S.AFTER_TOOLS, (C.PING,)),
        I.REPLY_ENDED: (S.LISTENING, ()),
        I.TOOLS_DONE: (S.AFTER_TOOLS, ()),
        I.HEALTHY_DUE: (S.AFTER_TOOLS, (C.HEALTHY,)),
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
    S.AFTER_TOOLS: ("reply", I.REPLY_OVERDUE),
    S.REPLYING: ("reply", I.REPLY_OVERDUE),
}
"""The field of `Deadlines` that entering a state arms, and what its passing means. DIALLING takes two: the credential's
and the dial's, as one."""
