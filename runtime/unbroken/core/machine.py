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
from typing import Final

import msgspec

from unbroken.config import Deadlines, Settings
from unbroken.core.table import DOING, LIVE, OVER, PHASE_TIMER, TABLE, Command, Input, State
from unbroken.errors import UnbrokenError

__all__ = ["DOING", "LIVE", "OVER", "TABLE", "Checkpoint", "Command", "IllegalInput", "Input", "Machine", "State"]


class IllegalInput(UnbrokenError):
    """An input that cannot happen in the machine's state: a bug of this side."""


I = Input

_OF_A_STATE: Final = (I.PHASE_OVERDUE, I.CLOSE_OVERDUE, I.DECIDE_OVERDUE, I.REPLY_OVERDUE, I.SILENCE_OVERDUE, I.WAIT_OVER)
_OF_A_LINK: Final = (I.SIGN_OVERDUE, I.ANSWER_OVERDUE, I.HEALTHY_DUE, I.HANDOVER_DUE, I.SPARE_DUE, I.HANDLE_CAME)
_ANSWERED: Final = (I.REPLY_BEGAN, I.REPLY_ENDED, I.TOOL_CALLED, I.TOOLS_DONE)
_UNSETTLED: Final = (I.SIGN_OVERDUE, I.HANDLE_CAME)
_QUIET: Final = (State.LISTENING, State.EXPECTING, State.AFTER_TOOLS)
_SPEAKING: Final = (State.SPEAKING, State.SPEAKING_ON)


_SOUGHT: Final = 60.0
"""Seconds before a link's announced end from which on it is left at the next turn boundary. 300 s were announced one second
into a session: nobody is in a hurry then."""

_EXPECTED: Final = 30.0
"""The same before a documented end that was not announced. Gemini announces 30 to 60 s ahead, so this is for a link of which
nothing was heard; since one lived six times as long as documented, it is left at a turn boundary only, and never forced."""

_PAUSE: Final = 10.0
"""Seconds before the last moment for a handover from which on a pause of the user's will do, or one before the reply to
what the user said, which is replayed and answered on the next link. A reply that has begun would be cut, and one to a tool's
answer would be asked for again."""

_LULL: Final = (5.0, 0.3)
"""Seconds before that moment from which on a pause in a reply will do, and how long nothing may have been heard then."""

_HANDLE_LAG: Final = 5.0
"""Seconds after the end of a reply in which a handle that holds it is waited for, before the link is left at that turn
boundary: the next link has to be told, and to hear, what an older handle lacks."""

_SPARE_LEAD: Final = 1.0
"""Seconds that a handover waits for its spare at most: it takes three round trips to be opened."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """All that a `Machine` holds besides its settings. Times are seconds on the session's clock.

    Attributes:
        state: where the session is.
        last: what happened last.
        timers: when each timer that runs is due, in the order in which they were set: of two that are due in the same moment
            the first is taken.
        asked_at: since when a sign of the peer is waited for; `-math.inf`: it never was.
        handover_from: from when on a quiet moment is used to leave the link; `math.inf`: its end was not announced.
        lull_from: when to look again for a lull in the reply, to leave the link in it; `-math.inf`: none is waited for.
        quiet_left: seconds that the user may yet be silent until what the model wrote down has to be answered.
    """

    state: State
    last: Input
    timers: Mapping[Input, float]
    asked_at: float
    handover_from: float
    lull_from: float
    quiet_left: float = 0.0


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
        self._lull_from = -math.inf
        self._quiet_left = 0.0
        self._spares = settings.spare != "never"

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
            lull_from=self._lull_from,
            quiet_left=self._quiet_left,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Becomes what a machine with the same settings was at the checkpoint."""
        self.state = checkpoint.state
        self.last = checkpoint.last
        self._timers = dict(checkpoint.timers)
        self._asked_at = checkpoint.asked_at
        self._handover_from = checkpoint.handover_from
        self._lull_from = checkpoint.lull_from
        self._quiet_left = checkpoint.quiet_left

    @property
    def deadline(self) -> float:
        """When `expire` has to be called; `math.inf`: no timer runs."""
        return min(self._earliest, max(self._handover_at, self._lull_from))

    @property
    def _earliest(self) -> float:
        return min(self._timers.values(), default=math.inf)

    @property
    def _handover_at(self) -> float:
        """From when on the present state is quiet enough to leave the link; its last moment has a timer of its own."""
        last = self._timers.get(Input.HANDOVER_DUE, math.inf)
        match self.state:
            case State.LISTENING if self._timers.keys().isdisjoint(_UNSETTLED):
                # a turn boundary: nobody speaks, no reply is due, and what was said last is with the model, and in a handle
                return self._handover_from
            case State.LISTENING | State.EXPECTING:
                return max(self._handover_from, last - _PAUSE)
            case State.REPLYING:
                return max(self._handover_from, last - _LULL[0])
            case _:
                return math.inf

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

    def announce(self, time_left: float, now: float, *, firm: bool = True) -> None:
        """Takes the end of the link: as announced (goAway), or as documented.

        A handover is sought at a turn boundary once the end is near, with a spare opened first. Before an announced end it
        is made in any case, in the quietest moment that is left. Of several announcements of one link the earliest counts.

        Args:
            time_left: seconds until the link ends.
            now: the present.
            firm: the peer announced it; False: it is documented, and may be later.
        """
        if self.state not in LIVE:
            return
        end = now + time_left
        if firm:
            due = end - min(1.0 + self._deadlines.close, time_left / 2)
            if due >= self._timers.get(Input.HANDOVER_DUE, math.inf):
                return
            self._timers[Input.HANDOVER_DUE] = due
        sought = max(now, end - (_SOUGHT if firm else _EXPECTED))
        if self._spares:
            self._timers[Input.SPARE_DUE] = min(sought, self._timers.get(Input.SPARE_DUE, math.inf))
            sought += _SPARE_LEAD
        self._handover_from = min(sought, self._handover_from)

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

    def expire(
        self,
        now: float,
        *,
        sign_at: float = -math.inf,
        output_at: float = -math.inf,
        thinking: float = 0.0,
        in_tools: bool = False,
    ) -> tuple[Command, ...]:
        """Takes the passing of the `deadline`.

        Args:
            now: the present.
            sign_at: when the last byte came from the peer.
            output_at: until when the reply that came so far plays, or when its last piece came, whichever is later.
            thinking: seconds that the link's model may think on top of the deadlines of a reply.
            in_tools: the model waits for the answer to a tool call, so that it owes none itself.

        Returns:
            What is to be performed; nothing where no timer has run out, or where a sign has come in time.
        """
        if self._handover_at <= now and self._handover_at < self._earliest:
            self._lull_from = output_at + _LULL[1] if self.state is State.REPLYING else -math.inf
            if self._lull_from <= now:
                return self._take(Input.HANDOVER_DUE, now)
        due = min(self._timers, key=self._timers.__getitem__, default=None)
        if due is None or self._timers[due] > now:
            return ()
        del self._timers[due]
        match due:
            case Input.REPLY_OVERDUE | Input.ANSWER_OVERDUE:
                later = self._reply_excused(now, output_at=output_at, thinking=thinking, in_tools=in_tools)
            case _:
                later = self._excused(due, now, sign_at)
        if later is not None:
            if later < math.inf:
                self._timers[due] = later
            return (Command.PING,) if due is Input.SILENCE_OVERDUE else ()
        return self._take(due, now)

    def _excused(self, due: Input, now: float, sign_at: float) -> float | None:
        """Returns when to look again (`math.inf`: need not) where life excuses the timer; None where nothing does."""
        if due is Input.SILENCE_OVERDUE:
            asked = now - self._deadlines.silence
            return now + self._deadlines.silence if sign_at >= asked or Input.LAG_OVERDUE in self._timers else None
        if due is not Input.SIGN_OVERDUE:
            return None
        if Input.LAG_OVERDUE in self._timers:  # the application is late, so nobody has read what the peer said
            return now + self._deadlines.sign
        return math.inf if sign_at >= self._asked_at else None

    def _reply_excused(self, now: float, *, output_at: float, thinking: float, in_tools: bool) -> float | None:
        """Returns when to look again for a reply that is overdue where that is no fault of the model's; None: it is."""
        patience = self._deadlines.reply + thinking
        if in_tools or Input.LAG_OVERDUE in self._timers:
            return now + self._deadlines.reply
        if self.state is State.REPLYING:
            return output_at + patience if output_at + patience > now else None
        return self._asked_at + patience if thinking and self._asked_at + patience > now else None

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
        if happened in (Input.REPLY_BEGAN, Input.TOOL_CALLED):  # this is a sign
            self._timers.pop(Input.SIGN_OVERDUE, None)
        if state in LIVE and happened is Input.REPLY_ENDED:
            self._timers[Input.HANDLE_CAME] = now + _HANDLE_LAG
        if happened is Input.HANDLE_CAME:
            self._timers.pop(Input.HANDLE_CAME, None)
        if state in LIVE and happened is Input.UP and self._settings.spare == "always":
            self._timers[Input.SPARE_DUE] = now
        if happened is Input.SPARE_SETTLED and self._handover_from <= now + _SPARE_LEAD:
            self._handover_from = min(now, self._handover_from)
        self._owe(state, happened, now)
        self._arm(state, happened, now)
        self._lull_from = -math.inf
        self.state = state
        self.last = happened

    def _owe(self, state: State, happened: Input, now: float) -> None:
        """Keeps the timer of what the model has of the user's words and has not answered.

        While the user is silent it runs, over all pauses: a service may rightly wait longer for a turn's end than this side
        does, and a user who asks again and again is not to be put off by that. While the user speaks, another measure holds,
        from the last words on: without any, what goes on is noise.
        """
        due, heard = I.ANSWER_OVERDUE, happened in (I.TRANSCRIBED, I.TURN_ENDED)
        left = self._timers.get(due)
        if happened in _ANSWERED:
            self._timers.pop(due, None)
        elif left is None and not heard:
            return
        elif state in _SPEAKING:
            if left is not None and self.state in _QUIET:
                self._quiet_left = left - now
            if left is None:
                self._quiet_left = self._deadlines.answer
            if heard or self.state in _QUIET:
                self._timers[due] = now + self._deadlines.noise
        elif state in _QUIET and (left is None or self.state in _SPEAKING):
            self._timers[due] = now + (self._deadlines.answer if left is None else self._quiet_left)

    def _arm(self, state: State, happened: Input, now: float) -> None:
        if state is State.DIALLING and self.state is not State.DIALLING:
            self._timers[Input.PHASE_OVERDUE] = now + self._deadlines.credential + self._deadlines.dial
        elif state in PHASE_TIMER:
            field, overdue = PHASE_TIMER[state]
            if state is not self.state or happened in (Input.TURN_ENDED, Input.DECIDE_OVERDUE):
                seconds: float = getattr(self._deadlines, field)
                self._timers[overdue] = now + seconds
