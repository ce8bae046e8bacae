"""What was said, in words; which reply is in flight; and what the application is shown of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from unbroken.core.history_bound import Words, in_words, tokens
from unbroken.core.ledger import Placed, ToolLedger
from unbroken.core.playout import Playout
from unbroken.core.replies import Replies
from unbroken.core.retold import Mark, Retold, retell
from unbroken.core.said import Said
from unbroken.decisions import Carry
from unbroken.events import (
    Audio,
    Event,
    Interrupted,
    ModelTranscript,
    ReplyEnd,
    ReplyEnded,
    ReplyRequest,
    Text,
    ToolCall,
    ToolCallCancelled,
    ToolResult,
    Turn,
    Usage,
    UserActivity,
    UserText,
    UserTranscript,
)
from unbroken.wire import GenerationComplete, TurnComplete, WireEvent

__all__ = ["Conversation", "Outcome"]

_LATE = 1.0
"""Seconds after a reply's end in which a transcript still belongs to the turn that was answered."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What one event from the wire comes to.

    Attributes:
        events: what the application sees, in order.
        useful: something came that only a working link brings: a reply, a transcript, a tool call.
        user_turn_ended: the end of a turn of the user's is acknowledged; journal first, then `Conversation.acknowledged`.
        reply_began: a reply began.
        reply_ended: a reply ended, or a turn of the model's without any output did.
        answers: calls that were answered before; to be put into the outbox at once.
    """

    events: tuple[Event, ...] = ()
    useful: bool = False
    user_turn_ended: bool = False
    reply_began: bool = False
    reply_ended: bool = False
    answers: tuple[ToolResult, ...] = ()


_NOTHING = Outcome()


class Conversation:
    """Turns what a link says into what the application sees, and keeps what another link would have to be told.

    A reply begins with the first output of any kind: a thought, a word, a sound, a tool call. So whatever the model puts out
    lies between a `ReplyBegan` and its `ReplyEnded`.

    Args:
        history_bound: turns that are kept.

    Attributes:
        ledger: the tool calls.
        playout: how much of the reply can have been heard.
        reply_owed: the user's turn has ended, and no reply has been completed since.
        forgotten: the user's audio up to here is not told by the history any more, which has reached its bound.
        kept: how many turns were ever kept.
        replies: which of the model's replies was cut or asked for.
        empty_turns: turns in a row that the model ended without anything in them, though the user had said something and
            no reason was given.
    """

    def __init__(self, history_bound: int = 200) -> None:
        self.ledger = ToolLedger()
        self.playout = Playout()
        self.replies = Replies()
        self.reply_owed: bool = False
        self.forgotten: int = 0
        self.kept: int = 0
        self.empty_turns: int = 0
        self._turns: deque[Said] = deque()
        self._again: tuple[Said, ...] = ()
        self._bound = history_bound
        self._told = 0
        self._link = 0
        self._replying = False
        self._generated = False
        self._user: Said | None = None
        self._model: Said | None = None
        self._unplaced: list[Placed] = []
        self._asked = False
        self._said = False
        self._speaking = False
        self._swallow = False
        self._ended_at = float("-inf")

    # -- What the wire says -------------------------------------------------------------------------------------------

    def goes_on(self, audio: Audio, *, link: int, now: float) -> bool:
        """Takes a piece of the reply in flight, which comes to nothing but itself: the short way of most that is received.

        Args:
            audio: the piece.
            link: the number of the link that it came on.
            now: the present.

        Returns:
            False: no reply is in flight on that link, and nothing was taken; see `on_event`.
        """
        if not self._replying or link != self._link:
            return False
        self.playout.add(len(audio.pcm), rate=audio.rate, now=now)
        return True

    def on_event(self, event: WireEvent, *, link: int, now: float, heard: int) -> Outcome:
        """Takes one event of a link.

        Args:
            event: what the link's connection decoded.
            link: the link's number; what an older link than the current one says is ignored.
            now: the present.
            heard: up to here the context is known to have heard the user's audio, in samples.
        """
        if link != self._link:
            if link < self._link:
                return _NOTHING
            self.begin_link(link, known=heard, start=heard, carry="nothing")
        if type(event) is Audio:
            began = None if self._replying else self._begin_reply()
            self.goes_on(event, link=link, now=now)
            return Outcome((event,), useful=True) if began is None else self._with(began, event)
        if self._unplaced:
            self.acknowledged(heard)
        match event:
            case Text() | ModelTranscript():
                began = None if self._replying else self._begin_reply()
                if event.text and not (isinstance(event, Text) and event.thought):
                    self._model_said(event.text)
                return Outcome((event,), useful=True) if began is None else self._with(began, event)
            case UserTranscript():
                return self._user_said(event, now)
            case UserActivity():
                return self._activity(event)
            case ToolCall():
                return self._tool_call(event)
            case ToolCallCancelled(call_ids=call_ids):
                return self._cancelled(self.ledger.cancel(call_ids, link=link), now)
            case Interrupted():
                return self._interrupted(event, now)
            case GenerationComplete():
                self._generated = True
                return _NOTHING
            case TurnComplete():
                return self._turn_complete(event, now=now, heard=heard)
            case Usage():
                return Outcome((event,))
            case _:
                return _NOTHING

    def acknowledged(self, heard: int) -> None:
        """Says up to where the user had been heard when the last turn ended; call it after `Outcome.user_turn_ended`."""
        for placed in self._unplaced:
            placed.position = heard
        self._unplaced.clear()

    def turn_written(self, heard: int) -> None:
        """The turn that the model wrote down and did not answer has ended, though nothing said so.

        Args:
            heard: up to there the user was heard in it.
        """
        if self.unanswered and self._user is not None:
            self._user.position = heard
            self.reply_owed = True

    def link_lost(self, now: float, *, heard: int) -> tuple[ReplyEnded, ...]:
        """The current link is over; a reply that was in flight is cut, or complete where all of it had come.

        Args:
            now: the present.
            heard: up to here the user's audio is known to have been heard, in samples.
        """
        self.acknowledged(heard)
        if not self._replying:
            return ()
        if self._generated:
            self.reply_owed = False
            return (self._end_reply("complete", now),)
        self.reply_owed = True
        self.replies.lost(self._model, received_ms=self.playout.received_ms, heard=heard)
        return (self._end_reply("cut", now),)

    def begin_link(
        self, link: int, *, known: int, start: int, carry: Carry, open_turn: bool = False, calls: int | None = None
    ) -> None:
        """Another link is current. What the user says again leaves the history.

        Args:
            link: its number.
            known: up to here its context holds the user's audio (`Plan.known`).
            start: from here the audio is sent (`Plan.start`).
            carry: how the conversation crossed.
            open_turn: keep the turn that the user had not finished: not all of its audio is replayed (`Plan.lost`).
            calls: see `ToolLedger.begin_link`.
        """
        if self._link:
            kept = [said for said in self._turns if said.stands(start, open_turn=open_turn)]
            self._again = tuple(said for said in self._turns if not said.stands(start, open_turn=open_turn))
            self._told = min(self._told, start)
            self._turns = deque(kept)
            self._asked = False
        self._link = link
        self._user = self._model = None
        self._unplaced.clear()
        self._speaking = self._swallow = self._generated = self._said = False
        self.empty_turns = 0
        self.ledger.begin_link(link, known=known, told=carry == "history", calls=calls)

    def not_said_again(self, heard: int) -> None:
        """The current link is over. Turns that were to be said again on it, and were not, are told by the history after all.

        Args:
            heard: what was said up to there it has heard again.
        """
        for said in self._again:
            if said.position is not None and said.position > heard and said not in self._turns:
                self._keep(said)
        self._again = ()

    # -- What the application says ------------------------------------------------------------------------------------

    def said(self, text: UserText, *, seq: int = 0) -> None:
        """A link was given a text of the user's.

        Args:
            text: the text.
            seq: its number in the outbox, by which a text that is sent again is known; 0: it has none.
        """
        if not seq or all(said.seq != seq for said in self._turns):
            self._keep(Said("user", text=text.text, spoken=False, seq=seq))
            if text.turn_complete:
                self.replies.cut = None
        self.ledger.given = max(self.ledger.given, seq)
        if text.turn_complete:
            self.reply_owed = self._asked = self._said = True

    def recall(self, turns: Iterable[Turn], *, seq: int = 0) -> None:
        """The application tells turns that nobody is to answer: what was said before, or what it knows.

        Args:
            turns: the turns, the oldest first.
            seq: their number in the outbox, by which what is sent again is known; 0: they have none.
        """
        if not seq or all(said.seq != seq for said in self._turns):
            for turn in turns:
                self._keep(Said(turn.role, text=turn.text, spoken=False, seq=seq))

    def requested(self, request: ReplyRequest, *, seq: int) -> None:
        """A link was given the application's request for a reply. It is no turn: the history does not tell it.

        Args:
            request: the request.
            seq: its number in the outbox, by which one that is sent again is known.
        """
        self.reply_owed = self._asked = self._said = True
        self.ledger.given = max(self.ledger.given, seq)
        self.replies.request(request.instructions, seq=seq)

    def answer(self, call_id: str, result: object, *, scheduling: str | None = None) -> ToolResult | None:
        """The application answers a call; see `ToolLedger.answer`. What is returned goes into the outbox."""
        return self.ledger.answer(call_id, result, scheduling=scheduling)

    def deliver(self, result: ToolResult, *, link: int, seq: int = 0) -> ToolResult | Turn | None:
        """Gives an answer the form in which a link can take it, when it is sent; see `ToolLedger.deliver`."""
        form = self.ledger.deliver(result, link=link)
        if form is not None and all(said.call_id != result.call_id for said in self._turns):
            text = self.ledger.in_words(result)
            self._keep(Said("tool", text=text, spoken=False, seq=seq, call_id=result.call_id))
            # What the model says of it is told after it.
            self._model = None
        if isinstance(form, ToolResult) and result.scheduling != "SILENT":
            self.reply_owed = self._asked = True
        return form

    @property
    def tools_in_flight(self) -> tuple[ToolCall, ...]:
        """The calls that the application has not answered and the model still wants."""
        return self.ledger.pending

    @property
    def unanswered(self) -> bool:
        """The model wrote down something that the user said, and no reply to it has begun."""
        return self._user is not None and bool(self._user.size) and not self._user.answered

    @property
    def replying(self) -> bool:
        """A reply has begun and not ended."""
        return self._replying

    # -- What is known in words ---------------------------------------------------------------------------------------

    def words(self, upto: int | None = None, *, open_turn: bool = False) -> tuple[Words, ...]:
        """Returns the conversation in words; see `unbroken.core.history_bound.in_words`."""
        return in_words(self._turns, upto=upto, open_turn=open_turn)

    def history(self, upto: int | None = None, *, open_turn: bool = False) -> tuple[Turn, ...]:
        """Returns the turns of `words`."""
        return tuple(one.turn for one in self.words(upto, open_turn=open_turn))

    def retell(self, *, since: Mark, upto: Mark, untold: Callable[[Sequence[tuple[int, bool]]], int]) -> Retold:
        """Finds what a resumed session is told in words; see `unbroken.core.retold.retell`."""
        return retell(self._turns, since=since, upto=upto, settled=self.ledger.settled, untold=untold)

    @property
    def tokens(self) -> int:
        """About how many tokens the history takes in words."""
        return tokens(sum(said.size for said in self._turns))

    @property
    def told(self) -> int:
        """Up to here the user's audio is told by the history: the position of the last finished turn with a transcript.

        Turns without one may lie before it; see `spoken` and `unbroken.core.journal.Journal.untold`.
        """
        spoken = (said for said in self._turns if said.role == "user" and said.spoken and said.size)
        return max([self._told, *(said.position for said in spoken if said.position is not None)])

    @property
    def spoken(self) -> tuple[tuple[int, bool], ...]:
        """The user's spoken turns that are kept and whose end is known: up to where, and whether it has words."""
        spoken = (said for said in self._turns if said.role == "user" and said.spoken)
        return tuple((said.position, said.size > 0) for said in spoken if said.position is not None)

    # -- Inside -------------------------------------------------------------------------------------------------------

    def _begin_reply(self) -> Outcome:
        """Begins a reply; unless only a text or a tool's answer asked for it, it acknowledges the user's turn."""
        began, cut = self.replies.begin(link=self._link)
        self._replying = True
        self._generated = self._swallow = self._said = False
        self.empty_turns = 0
        self.playout.restart()
        spoke = self._speaking or (self._user is not None and not self._user.answered)
        ended = spoke or not self._asked
        self._asked = self._speaking = False
        if self._user is None or self._user.answered:
            # A transcript may come later than the reply that it belongs before: keep its place.
            self._user = self._keep(Said("user", spoken=True))
            self._unplaced.append(self._user)
        elif self._user.position is None:
            self._unplaced.append(self._user)
        self._user.answered = True
        self._model = None
        if cut is not None and cut.said is not None:
            self._take_up(cut.said, again=began.again)
        return Outcome((began,), useful=True, user_turn_ended=ended, reply_began=True)

    def _take_up(self, said: Said, *, again: bool) -> None:
        """What was heard of a cut reply stands before what carries it on, and nowhere where it is given again."""
        if again and said in self._turns:
            self._turns.remove(said)
        elif not again and said not in self._turns:
            self._keep(said)
            self._unplaced.append(said)

    def _with(self, began: Outcome, *events: Event, answers: tuple[ToolResult, ...] = ()) -> Outcome:
        return msgspec.structs.replace(began, events=began.events + events, answers=answers)

    def _end_reply(self, how: ReplyEnd, now: float, reason: str = "") -> ReplyEnded:
        received, heard = self.playout.received_ms, self.playout.heard_ms(now)
        self.replies.end(self._model, received_ms=received)
        if self._model is not None and how != "complete":
            # What was received of a cut reply keeps playing; an interruption silences what was not yet played.
            share = heard / received if how == "interrupted" and received else 1.0
            self._model.keep(self._model.text, share)
        if how == "interrupted":
            self.playout.flush()
        else:
            self._ended_at = now
        self._replying = False
        self._model = None
        return ReplyEnded(reply=self.replies.count, how=how, received_ms=received, heard_ms=heard, reason=reason)

    def _model_said(self, text: str) -> None:
        if self._model is None:
            self._model = self._keep(Said("model", spoken=True))
            self._unplaced.append(self._model)
        self._model.add(text)

    def _user_said(self, event: UserTranscript, now: float) -> Outcome:
        if event.interim:
            return Outcome((event,), useful=True)
        user = self._user
        late = user is not None and user.answered and not self._replying and now - self._ended_at > _LATE
        if user is None or user.closed or late:
            user = self._user = self._keep(Said("user", spoken=True))
        if event.text:
            user.add(event.text)
            self._said = self._said or not user.answered
        if not event.finished:
            return Outcome((event,), useful=True)
        user.closed = True
        if user.answered:
            return Outcome((event,), useful=True)
        return self._turn_ended(user, event)

    def _activity(self, event: UserActivity) -> Outcome:
        if event.speaking:
            self._speaking = True
            if self._user is not None and self._user.answered:
                self._user.closed = True
            elif self._user is not None and self._user.position is not None:
                self._user = None  # that turn ended and got no reply: what is said now has an end of its own
            return Outcome((event,))
        spoke, self._speaking = self._speaking, False
        if self._user is None or self._user.answered:
            if not spoke:
                return Outcome((event,))
            self._user = self._keep(Said("user", spoken=True))
        return self._turn_ended(self._user, event)

    def _turn_ended(self, user: Said, event: Event) -> Outcome:
        if user.position is None:
            self._unplaced.append(user)
        self.reply_owed = True
        return Outcome((event,), useful=True, user_turn_ended=True)

    def _tool_call(self, event: ToolCall) -> Outcome:
        began = _NOTHING if self._replying else self._begin_reply()
        shown, placed = self.ledger.call(event, link=self._link)
        if placed is not None:
            self._unplaced.append(placed)
        outcome = msgspec.structs.replace(began, useful=True)
        match shown:
            case ToolCall():
                return self._with(outcome, shown)
            case ToolResult():
                return self._with(outcome, answers=(shown,))
            case None:
                return outcome

    def _cancelled(self, call_ids: tuple[str, ...], now: float) -> Outcome:
        """The model no longer wants these calls. A reply that consisted of nothing else is over: no end of it will come."""
        if not call_ids:
            return _NOTHING
        event = ToolCallCancelled(call_ids=call_ids)
        spoke = self.playout.received_ms > 0 or self._model is not None
        if not self._replying or spoke or self.ledger.waits_for(self._link):
            return Outcome((event,))
        self.reply_owed = False
        return Outcome((event, self._end_reply("interrupted", now)), reply_ended=True)

    def _interrupted(self, event: Interrupted, now: float) -> Outcome:
        self._swallow = True
        self.reply_owed = self._asked and self._replying  # what was asked since the reply began interrupted it
        self.replies.cut = None
        if self._user is not None and self._user.answered:
            self._user.closed = True
        if not self._replying:
            self.playout.flush()
            return Outcome((event,))
        return Outcome((event, self._end_reply("interrupted", now)), reply_ended=True)

    def _turn_complete(self, event: TurnComplete, *, now: float, heard: int) -> Outcome:
        if self._swallow and not self._replying:
            # An interrupted turn is closed by a TurnComplete of its own, which says nothing about the next.
            self._swallow = False
            return _NOTHING
        if not event.more:
            self.reply_owed = False
            if self._said and not self._replying and not event.reason:
                self.empty_turns += 1
                self._said = False
        self.ledger.reply_completed(heard)
        ended = (self._end_reply("complete", now, event.reason),) if self._replying else ()
        return Outcome(ended, reply_ended=True)

    def _keep(self, said: Said) -> Said:
        if not said.number:
            self.kept += 1
            said.number = self.kept
        self._turns.append(said)
        if len(self._turns) > self._bound:
            self._forget_oldest()
        return said

    def _forget_oldest(self) -> None:
        gone = self._turns.popleft()
        if gone.role == "user" and gone.spoken and gone.size and gone.position is not None:
            self._told = max(self._told, gone.position)
            self.forgotten = max(self.forgotten, gone.position)

    def __repr__(self) -> str:
        state = f"reply {self.replies.count} in flight" if self._replying else "reply owed" if self.reply_owed else "at rest"
        tools = len(self.ledger.pending)
        return f"<Conversation link {self._link}, {state}, {tools} tool{'' if tools == 1 else 's'} in flight>"
