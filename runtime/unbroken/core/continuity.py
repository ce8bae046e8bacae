"""What crosses from one link to the next: by which handle or history, from which position, and what became of the rest.

It owns the journal, the outbox and the conversation of a session, and the one question that concerns all three: what does
the context behind a link hold already?
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from unbroken.config import Secret, Settings
from unbroken.core.asking import Asking
from unbroken.core.audio import ms
from unbroken.core.conversation import Conversation, Outcome
from unbroken.core.crossing import Crossing, Snapshot
from unbroken.core.history_bound import Summary, bounded, in_words, room
from unbroken.core.journal import Journal, Plan
from unbroken.core.outbox import AudioSpan, Item, Outbox
from unbroken.core.replies import Cut
from unbroken.core.retold import Mark, Retold
from unbroken.decisions import Carry
from unbroken.events import ActivityMark, ReplyRequest, Told, ToolCall, ToolResult, UserText
from unbroken.messages import Account
from unbroken.wire import HandleIssued

__all__ = ["Continuity"]

_LAG = 0.2
"""Seconds beyond the path's round trip in which a service has taken in what it was sent."""

_REDIAL = 2.0
"""Seconds that a replay may be away yet when it is asked whether a snapshot is too old for it."""


class Continuity:
    """The state of a conversation beyond its links.

    Args:
        rate: samples per second of the user's audio.
        settings: the session's bounds.

    Attributes:
        journal: the user's audio.
        outbox: the order of what is sent.
        conversation: what was said, in words, and the tool calls.
        account: what the last replay did, and what became of what was in flight.
        asking: what a new link is told and asked besides.
        silent_context: see `unbroken.abc.Profile`, of the current target.
        summary: tells what was said in turns that a history has no room for; None: nothing does.
    """

    def __init__(self, *, rate: int, settings: Settings) -> None:
        self.journal = Journal(rate=rate, bound=settings.journal_bound)
        self.outbox = Outbox()
        self.conversation = Conversation(settings.history_bound)
        self.account = Account()
        self.asking = Asking(self.conversation.replies, settings=settings)
        self.silent_context = True
        self.summary: Summary | None = None
        self._most: int | None = None
        self._settings = settings
        self._crossing = Crossing()
        self._snapshot: Snapshot | None = None
        self._target = ""
        self._seed_survives = True
        self._seeded = False
        self._base = 0
        self._final = 0
        self._untold = 0
        self._answered = 0
        self._replied: Mark | None = None
        self._done = Mark()
        self._retold_by = -math.inf
        self._acknowledged = 0
        self._turn_end: int | None = None
        self._transcribed = 0
        self._written: deque[tuple[float, int, bool]] = deque(maxlen=1024)
        self._marks: deque[tuple[int, ActivityMark]] = deque(maxlen=64)
        self._cut = False
        self._plan = Plan()
        self._unreported = Account()

    def __repr__(self) -> str:
        held = f"a handle up to {self._snapshot.mark.position}" if self._snapshot is not None else "no handle"
        return f"<Continuity {held}, {self._answered} answered, {self.conversation.told} told>"

    def resumable(self, *, now: float) -> bool:
        """Says whether a handle is held by which the present target could be resumed."""
        return self.handle_for(self._target, now=now) is not None

    # -- What the model has ----------------------------------------------------------------------------------------------

    def wrote(self, item: Item, seq: int, *, now: float) -> None:
        """An item was written to the current link.

        Args:
            item: the item.
            seq: its number in the outbox.
            now: the present.
        """
        if isinstance(item, ActivityMark):
            self._marks.append((self.outbox.position, item))
            if item.mark == "end":
                self._turn_end = self.outbox.position
        self._written.append((now, seq, _asks(item)))

    def take(self, outcome: Outcome, *, now: float, round_trip: float) -> None:
        """Takes in what an event from the wire says of what the model has.

        Args:
            outcome: what the conversation made of the event.
            now: the present.
            round_trip: seconds, of the path.
        """
        if outcome.user_turn_ended:
            marked, self._turn_end = self._turn_end, None
            if marked is not None:
                heard = self.journal.acknowledge_exactly(marked)
            else:
                heard = self.journal.acknowledge(now, round_trip + _LAG)
            self.conversation.acknowledged(heard)
        if outcome.user_turn_ended or outcome.reply_began:
            self._acknowledge_items(now - round_trip)
        if outcome.reply_began:
            self._replied = Mark(self.journal.heard, self._acknowledged)
        if outcome.reply_ended:
            self._answered = max(self._answered, self.journal.heard)
            if not self.conversation.reply_owed:
                self._reply_over()
            self._replied = None
            self._forget()
        for answer in outcome.answers:
            self.outbox.put(answer, self.outbox.position)

    def _reply_over(self) -> None:
        """What a reply answers is done with: it needs to be heard by nobody else, only told."""
        begun = self._replied or Mark(self.journal.heard, self._acknowledged)
        self._done = begun._replace(kept=self.conversation.kept)

    def transcribed(self, *, now: float, round_trip: float) -> None:
        """The model wrote down something of what it had been sent by now.

        Args:
            now: the present.
            round_trip: seconds, of the path.
        """
        self._transcribed = self.journal.sent_at(now - round_trip - _LAG)

    def unanswered(self, *, now: float) -> None:
        """The link ends because what the model wrote down was never answered.

        Where that is too old to be said again, it counts as a turn that ended, so that its words cross. Otherwise it is said
        again, which a model hears better than it reads.

        Args:
            now: the present.
        """
        began = self.journal.first_speech(self.journal.heard, preroll=0.0)
        if self.conversation.unanswered and self.journal.age(began, now) > self._settings.audio_max_age - _REDIAL:
            self.conversation.turn_written(self.journal.acknowledge_at(self._transcribed))

    def _acknowledge_items(self, read_by: float) -> None:
        """The model has what was written before a time, and the first that asks for a reply: it has begun to give one."""
        asked = next((seq for _, seq, asks in self._written if asks), 0)
        upto = self._acknowledged
        while self._written and (self._written[0][0] < read_by or self._written[0][1] <= asked):
            upto = max(upto, self._written.popleft()[1])
        self._acknowledged = min(upto, self.outbox.cursor[1])

    def issued(self, event: HandleIssued, *, now: float, round_trip: float) -> bool:
        """Takes the provider's word on resumption: the newest handle holds what the model is known to have by now.

        A context that began with history which its handles may not hold gives none that is used, and one that was told
        something in words gives none before it can have read that.

        Args:
            event: what was issued.
            now: the present.
            round_trip: seconds, of the path.

        Returns:
            Whether the handle is used.
        """
        position = self.journal.snapshot(event.consumed_index)
        if event.handle is None or (self._seeded and not self._seed_survives) or now < self._retold_by + round_trip + _LAG:
            return False
        self._snapshot = Snapshot(
            target=self._target,
            handle=event.handle,
            mark=Mark(position, self._acknowledged, self.conversation.kept),
            calls=self.conversation.ledger.count,
        )
        self._forget()
        return True

    def _forget(self) -> None:
        """Lets go of what neither the handle nor the history would have to be followed by."""
        floor, seq = self._done_with, self._acknowledged
        if self._snapshot is not None:
            floor, seq = min(floor, self._snapshot.mark.position), min(seq, self._snapshot.mark.seq)
        spoken = self.conversation.spoken
        last = max(spoken, default=(0, False))[0]  # a late transcript may still tell of this turn
        final = max((position for position, _ in spoken if position < last and position <= floor), default=0)
        self._untold, self._final = self._untold_up_to(final), max(self._final, final)
        self.journal.forget(floor, speech=self._final)
        self.outbox.settle(seq)

    @property
    def _done_with(self) -> int:
        """Up to here a context that is told the history needs none of the user's audio: it is told, or was answered.

        Where something was said that was neither, a turn that got no transcript and no reply, that is to be said again, and
        what came after it with it: an order of audio and words that was not the user's would be worse.
        """
        upto = max(self.conversation.told, self._answered)
        missed = self.journal.first_untold(self._turns_up_to(upto), since=max(self._since, self._answered))
        return upto if missed is None else max(missed, self._answered)

    def _untold_up_to(self, position: int) -> int:
        """Counts the speech since the context began that it heard, and that no transcript would tell another."""
        untold = self._untold if self._final > self._base else 0
        return untold + self.journal.untold(self._turns_up_to(position), since=self._since)

    @property
    def _since(self) -> int:
        return max(self._final, self._base, self.conversation.forgotten)

    def _turns_up_to(self, position: int) -> list[tuple[int, bool]]:
        turns = [turn for turn in self.conversation.spoken if turn[0] < position or turn == (position, True)]
        return [*turns, (position, False)]

    # -- The crossing ----------------------------------------------------------------------------------------------------

    def handle_for(self, target: str, *, now: float) -> Secret | None:
        """Returns the resumption handle held for a target.

        A handle whose snapshot is so old that speech after it could not be replayed any more is of less use than the history
        that tells this speech in words, where there is one, and where it cannot be told besides the handle without being
        answered.

        Args:
            target: ``provider/model``.
            now: the present.

        Returns:
            The handle; None: none is held, or the history knows more.
        """
        snapshot = self._snapshot
        if snapshot is None or snapshot.target != target or snapshot.mark.seq < self.outbox.oldest - 1:
            return None
        known = self._retold(snapshot).known if self.silent_context else snapshot.mark.position
        age = self.journal.age(self.journal.first_speech(known, preroll=0.0), now)
        stale = age > self._settings.audio_max_age - _REDIAL and self.conversation.told > known
        return None if stale else snapshot.handle

    def _retold(self, snapshot: Snapshot) -> Retold:
        """Finds what is told besides a handle: what was answered after its snapshot."""
        since = snapshot.mark.position
        return self.conversation.retell(
            since=snapshot.mark, upto=self._done, untold=lambda turns: self.journal.untold(turns, since=since)
        )

    @property
    def history_tokens(self) -> int:
        """About how many tokens the history takes that a fresh link is told at most; 0: there is none."""
        whole, bound = self.conversation.tokens, room(self._settings.history_tokens, most=self._most)
        return whole if bound is None else min(whole, bound)

    def shorten(self) -> None:
        """A context has had no room for the history: from now on it takes half of what it takes now at most."""
        self._most = max(1, self.history_tokens // 2)

    def cross(self, carry: Carry, *, target: str, now: float, window: int | None = None) -> Crossing:
        """Says what the next link is given: the handle where one is held and wanted, else the history where there is any.

        A handle that is not used is let go: another context begins.

        Args:
            carry: what was decided.
            target: where the link goes.
            now: the present.
            window: the context window there, in tokens; None: not known.
        """
        handle = self.handle_for(target, now=now) if carry == "handle" else None
        if handle is not None and self._snapshot is not None:
            held, retold = self._snapshot, self._retold(self._snapshot)
            self._crossing = Crossing(
                carry="handle",
                handle=handle,
                known=retold.known,
                seq=retold.seq,
                told=retold.known - held.mark.position,
                calls=held.calls,
                retold=retold,
            )
            return self._crossing
        self._snapshot = None
        known = self._known(now)
        cut = self.conversation.replies.cut
        if cut is not None and not self.journal.speech_between(known, cut.heard):
            known = max(known, cut.heard)  # what was heard of the answer is told behind the question
        words = self.conversation.words(known) if carry != "nothing" else ()
        bound = room(self._settings.history_tokens, window=window, most=self._most)
        history, dropped = bounded(words, bound, summary=self.summary)
        self._crossing = Crossing(
            carry="history" if history else "nothing",
            history=history,
            known=known,
            seq=self.outbox.cursor[1] if history else 0,
            told=max(0, min(self.conversation.told, known) - max(self.conversation.forgotten, dropped)) if history else 0,
            written_off=self._untold_up_to(known),
        )
        return self._crossing

    def _known(self, now: float) -> int:
        """Returns up to where a context that is told the history needs none of the user's audio that could still be sent."""
        known = self._done_with
        stale = self.journal.age(self.journal.first_speech(known, preroll=0.0), now) > self._settings.audio_max_age - _REDIAL
        return max(self.conversation.told, self._answered) if stale else known

    def take_over(
        self, link: int, *, target: str, seed_survives: bool, now: float, drop_media: bool
    ) -> tuple[Crossing, Plan]:
        """The link that was given the last crossing is up: the outbox goes back to what its context does not hold.

        Args:
            link: its number.
            target: where it goes.
            seed_survives: see `unbroken.abc.Profile`.
            now: the present.
            drop_media: the audio kept over the outage is not replayed.
        """
        way = self._crossing
        plan = self.journal.plan(
            known=way.known,
            carry=way.carry,
            now=now,
            max_age=self._settings.audio_max_age,
            drop_media=drop_media,
            told=way.told,
        )
        self._target, self._seed_survives, self._turn_end = target, seed_survives, None
        self._transcribed = 0
        self.journal.begin_link(link, plan.start)
        self.journal.settle(plan)
        self.conversation.begin_link(
            link, known=plan.known, start=plan.start, carry=way.carry, open_turn=plan.lost > 0, calls=way.calls
        )
        self.conversation.ledger.given = way.seq
        self._written.clear()
        self.outbox.rewind(plan.start, way.seq, held=way.retold.holds if way.retold is not None else None)
        self._acknowledged = min(self._acknowledged, way.seq)
        self._settle_reply(plan.start)
        self._tell_again(way.retold, now=now)
        self._mark_again(plan)
        self.outbox.open()
        if way.carry != "handle":
            self._base, self._seeded = way.known, way.carry == "history"
        self._plan, self.account = plan, self._accounted(plan, way, link)
        return way, plan

    def _settle_reply(self, start: int) -> None:
        cut = self.conversation.replies.cut
        self.asking.settle(
            owed=self.conversation.reply_owed,
            asked=self.spoken_since(start) or any(self._will_be_answered(send.item) for send in self.outbox.waiting),
            moved_on=cut is not None and self.spoken_since(cut.heard),
            silent=self.silent_context,
        )

    def _tell_again(self, retold: Retold | None, *, now: float) -> None:
        """Settles in which form a link is told what was answered after the snapshot that it resumes.

        Where each text may be answered, all of it is one, and is told only where the user's part of it would have to be said
        again otherwise.
        """
        if retold is None or not retold.said or not (self.silent_context or retold.by_user):
            return
        turns, _ = bounded(in_words(retold.said), room(self._settings.history_tokens, most=self._most), summary=self.summary)
        self.asking.tell(turns, silent=self.silent_context)
        self._retold_by = now

    def _will_be_answered(self, item: Item) -> bool:
        """Says whether the model answers an item that a new link is given; a tool's answer is told in words there."""
        return _asks(item) and not isinstance(item, ToolResult) if self.silent_context else not isinstance(item, Told)

    def _mark_again(self, plan: Plan) -> None:
        """Marks again what is replayed of a turn that the application itself marks: by nothing else is it known for one."""
        waiting = [send for send in self.outbox.waiting if isinstance(send.item, ActivityMark)]
        again = {(send.position, send.item) for send in waiting}
        opened: ActivityMark | None = None
        for position, mark in self._marks:
            if position <= plan.known and mark.mark != "stream_end":
                opened = mark if mark.mark == "start" else None
            elif position > plan.known and (position, mark) not in again:
                self.outbox.put(mark, position)
        if opened is not None and all(send.position > plan.start or send.item != opened for send in waiting):
            self.outbox.put(opened, plan.start)
        self.outbox.drop_empty_turns(plan.start)

    def lost(self, *, reported: bool, cut: bool) -> None:
        """The current link is over.

        Args:
            reported: the application was told of the last account.
            cut: a reply was.
        """
        self.outbox.close()
        self.conversation.not_said_again(self.journal.first_speech(self.journal.heard, preroll=0.0))
        self._unreported = Account() if reported else self._so_far()
        self._cut = cut or (self._cut and not reported)
        if cut and (left := self.conversation.replies.cut) is not None:
            self._reply_cut(left)
        self._replied = None

    def _reply_cut(self, cut: Cut) -> None:
        match self._settings.on_cut_reply:
            case "continue":  # so what it answers is told, where that can be done, and heard again only where it cannot
                self._reply_over()
            case "leave":
                self._reply_over()
                self._answered = max(self._answered, cut.heard)
                self.conversation.reply_owed = False
            case "again":
                pass

    def overflowed(self) -> float:
        """Goes on where the journal begins, if what was to be sent next has been dropped at its bound.

        Returns:
            Milliseconds of speech that are lost by it.
        """
        waited, begin = self.outbox.position, self.journal.begin
        if waited >= begin:
            return 0.0
        self.outbox.advance(AudioSpan(waited, begin))
        return ms(self.journal.speech_between(waited, begin), self.journal.rate)

    def lost_calls(self, link: int) -> tuple[ToolCall, ...]:
        """Returns the calls that a resumed session may still hold for pending, though nobody will answer them there."""
        return self.conversation.ledger.left_pending(link)

    def spoken_since(self, position: int) -> bool:
        """Says whether there is speech in the user's audio from a position on."""
        return self.journal.speech_between(position, self.journal.end) > 0

    def _so_far(self) -> Account:
        """Returns the last account without what the link had no time to send."""
        unsent = min(self._plan.replayed, max(0, self._plan.start + self._plan.replayed - self.outbox.position))
        sent = self._plan.replayed - unsent
        return msgspec.structs.replace(
            self.account,
            replayed_ms=self.account.replayed_ms - ms(unsent, self.journal.rate),
            uncertain_ms=self.account.uncertain_ms - ms(max(0, self._plan.uncertain - sent), self.journal.rate),
        )

    def _accounted(self, plan: Plan, way: Crossing, link: int) -> Account:
        rate, before = self.journal.rate, self._unreported
        return Account(
            replayed_ms=ms(plan.replayed, rate) + before.replayed_ms,
            uncertain_ms=ms(plan.uncertain, rate) + before.uncertain_ms,
            lost_ms=ms(plan.lost + way.written_off, rate) + before.lost_ms,
            silence_ms=ms(plan.silence, rate),
            told_ms=ms(plan.told, rate),
            known_position=plan.known,
            replay_position=plan.start,
            reply=self.asking.became(cut=self._cut),
            tools=self.conversation.ledger.unknown_to(link),
        )


def _asks(item: Item) -> bool:
    """Says whether the model is to reply to an item."""
    match item:
        case UserText(turn_complete=asks):
            return asks
        case ReplyRequest():
            return True
        case ActivityMark(mark=mark):
            return mark == "end"
        case _:
            return isinstance(item, ToolResult)
