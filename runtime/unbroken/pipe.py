"""The audio pipe of a session: what the application says goes to the link through it, and what the model says comes back.

Audio takes the short way: `AudioPipe.send_audio` journals and writes in the caller's own task, and `AudioPipe.deliver` is
called in the link's. The mailbox carries control only, and the actor's one deadline paces the replay.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from unbroken.abc import Profile
from unbroken.actors.actor import Actor
from unbroken.actors.bell import clock
from unbroken.actors.mailbox import Mailbox, Overflow
from unbroken.config import Settings
from unbroken.core.audio import SpeechDetector, is_quiet
from unbroken.core.continuity import Continuity
from unbroken.core.conversation import Outcome
from unbroken.core.newest import Image, Newest
from unbroken.core.outbox import AudioSpan, Item, Pinned
from unbroken.core.pace import Pace
from unbroken.events import (
    ActivityMark,
    Audio,
    AudioLost,
    Interrupted,
    ProviderMessage,
    ReplyRequest,
    Told,
    ToolCall,
    ToolCallCancelled,
    ToolResult,
    Turn,
    Usage,
    UserText,
    UserTranscript,
)
from unbroken.link import Link
from unbroken.messages import Announced, Judged, Lag, LinkDown, Milestone, Progress, Released, Replay
from unbroken.outlet import Outlet
from unbroken.wire import GoAway, HandleIssued, Skipped, WireEvent

__all__ = ["AudioPipe", "PipeMessage"]

logger = logging.getLogger("unbroken")

PipeMessage: TypeAlias = Announced | LinkDown | Progress | Released | Lag | Judged
"""What the pipe tells the supervisor."""

_TICK = 0.02
"""Seconds between the steps of a paced replay."""

_UNSENT = 256 * 1024
"""Bytes that the operating system has not taken, above which no more is written: six seconds of speech."""

_NEAR = 10.0
"""Seconds before its announced end in which whatever ends a link is put down to that; 300 s are announced, too."""

_NAMES = 64
"""Names of unknown parts that are counted; a peer must not fill memory with them."""

_WAITED = "It had to wait for the link for longer than the journal keeps it."

_FULL = 0.95
"""Share of the context window above which a refusal is put down to it."""


_IN_TOOL_CALL = "tool call"
_LOST_CALL = {"error": "The line was cut during this call. If its result comes, it will be told in words."}


class AudioPipe(Actor[Replay]):
    """Owns the journal, the outbox and the conversation of one session.

    Args:
        name: the session's name.
        profile: of the preferred target; all targets of a route take audio at one rate.
        settings: the session's bounds.
        outlet: where the application's events go.
        post: takes messages to the supervisor; never waits.
        find: the link of a number, if it is the session's present one.
    """

    def __init__(
        self,
        name: str,
        *,
        profile: Profile,
        settings: Settings,
        outlet: Outlet,
        post: Callable[[PipeMessage], object],
        find: Callable[[int], Link | None],
    ) -> None:
        super().__init__(Mailbox(name=f"{name} pipe", capacity=64, overflow=Overflow.FAIL))
        self.rate = profile.input_rate
        self._now = clock()
        self.continuity = Continuity(rate=self.rate, settings=settings)
        self.journal = self.continuity.journal
        self.outbox = self.continuity.outbox
        self.conversation = self.continuity.conversation
        self.skipped: Counter[str] = Counter()
        """Messages, or parts of them, that this version does not know, by name."""
        self._speech = SpeechDetector(rate=self.rate)
        self.wording = settings.wording
        self._empty_turns = settings.empty_turns
        self._outlet = outlet
        self._post = post
        self._find = find
        self._link: Link | None = None
        self._profile = profile
        self._round_trip = 0.0
        self._last_output = -math.inf
        self._wire_facts: dict[str, bool] = {}
        self._ends_at = math.inf
        self._up_at = 0.0
        self.pace = Pace(rate=self.rate, wanted=settings.catch_up)
        self._tick = math.inf
        self._released = True
        self._refused: set[int] = set()
        self._image = Newest()

    def __repr__(self) -> str:
        link = f"link {self._link.number}" if self._link is not None else "no link"
        return f"<AudioPipe {self.name!r} {link}, {self.journalled:.1f} s journalled>"

    @property
    def journalled(self) -> float:
        """Seconds of user audio that are kept."""
        return (self.journal.end - self.journal.begin) / self.rate

    @property
    def lag(self) -> float:
        """Seconds of user audio that wait for the link, or for one."""
        return max(0, self.journal.end - self.outbox.position) / self.rate

    @property
    def output_at(self) -> float:
        """Until when the reply that came so far plays, or when its last piece came, whichever is later."""
        return self._last_output + self.conversation.playout.left_ms(self._last_output) / 1000

    @property
    def in_tools(self) -> bool:
        """The present link waits for the answer to a tool call that it issued."""
        return self._link is not None and bool(self.conversation.ledger.waits_for(self._link.number))

    # -- from the application, in its own task ---------------------------------------------------------------------------

    def send_audio(self, pcm: bytes) -> None:
        """Journals a piece of the user's audio, and writes it straight through where nothing stands before it."""
        now = self._now()
        quiet = is_quiet(pcm)
        start = self.journal.end
        end = self.journal.append(pcm, now, quiet=quiet)
        turn = self._speech.feed(quiet, end - start, now)
        link = self._link
        if link is not None and link.open and not self.pace.going and end > start:
            if self.outbox.clear_at(start) and link.buffered < _UNSENT and not self.pace.too_much(end - start):
                self.outbox.position = end
                self._write_audio(link, start, end, now)
            else:
                self._drain(now)
        if turn is not None:
            if turn == "began":
                self.conversation.replies.cut = None
            self._tell("speech_began" if turn == "began" else "speech_ended")
            if turn == "ended":
                self._unanswered()

    def send_image(self, image: Image) -> None:
        """Sends an image where nothing stands before it; otherwise the newest waits, as long as it is new."""
        now = self._now()
        self._image.put(image, now)
        if self._link is not None and self.outbox.clear_at(self.journal.end):
            self._show(self._link, now)

    def send(self, item: UserText | ReplyRequest | ActivityMark | Told) -> None:
        """Queues a text, a request, a turn or a mark behind the audio that was sent before it."""
        self.outbox.put(item, self.journal.end)
        self._drain(self._now())

    def answer(self, call_id: str, result: object, *, scheduling: str | None) -> None:
        """Queues the answer to a tool call: ahead of audio that waits where the link waits for it, else behind that, since
        what asked for the call may be among it."""
        answer = self.conversation.answer(call_id, result, scheduling=scheduling)
        if answer is not None:
            link = self._link.number if self._link is not None else 0
            waited_for = call_id in self.conversation.ledger.waits_for(link)
            self.outbox.put(answer, self.outbox.position if waited_for else self.journal.end)
            self._drain(self._now())

    # -- from the link, in its own task ----------------------------------------------------------------------------------

    def deliver(self, link: int, events: Sequence[WireEvent]) -> bool:
        """Takes the events of one message of the current link; what an older link says is ignored by its number.

        Returns:
            There is room for more; False: see `room`.
        """
        if self._link is not None and link == self._link.number:
            now = self._now()
            for event in events:
                if type(event) is Audio and self.conversation.goes_on(event, link=link, now=now):
                    self._outlet.put(event)
                    self._last_output = now
                else:
                    self._deliver(event, link, now)
        return not self._outlet.full

    def _deliver(self, event: WireEvent, link: int, now: float) -> None:
        match event:
            case HandleIssued():
                if self.continuity.issued(event, now=now, round_trip=self._round_trip):
                    self._tell("handle_came")
            case GoAway(time_left=time_left):
                if now + time_left < self._ends_at:
                    self._ends_at = now + time_left
                    self._post(Announced(link=link, time_left=time_left))
            case Skipped(what=what):
                self._skip(what)
            case ProviderMessage():
                self._outlet.put(event)
            case _:
                outcome = self.conversation.on_event(event, link=link, now=now, heard=self.journal.heard)
                self._come(outcome, now)
                if isinstance(event, ToolCall | ToolCallCancelled):
                    self._gate(link, now)
                if type(event) is UserTranscript:
                    self.continuity.transcribed(now=now, round_trip=self._round_trip)
                    self._unanswered()
                if type(event) is Usage and self._profile.context_tokens:
                    used = event.input_tokens + event.output_tokens
                    self._wire_facts["context_full"] = used >= _FULL * self._profile.context_tokens

    async def room(self) -> None:
        """Waits until the application has taken enough of its events; the supervisor is told of the wait."""
        if self._outlet.full:
            self._post(Lag(paused=True))
            try:
                await self._outlet.drained()
            finally:
                self._post(Lag(paused=False))

    def lost(self, down: LinkDown) -> None:
        """Takes the end of a link: ends what was in flight on it, adds what is known of it, and passes it on."""
        if self._link is not None and down.link == self._link.number:
            now = self._now()
            if down.closure.ending.cause in ("reply_deadline", "answer_deadline"):
                self.continuity.unanswered(now=now)
            events = self.conversation.link_lost(now, heard=self.journal.heard)
            for event in events:
                self._outlet.put(event)
            self.continuity.lost(reported=self._released, cut=any(ended.how == "cut" for ended in events))
            facts = msgspec.structs.replace(
                down.closure.facts,
                tool_pending=bool(self.conversation.ledger.waits_for(down.link)),
                announced=now >= self._ends_at - _NEAR,
                **self._wire_facts,
            )
            down = msgspec.structs.replace(down, closure=msgspec.structs.replace(down.closure, facts=facts))
            self._link, self._tick = None, math.inf
            self.pace.stop()
        self._post(down)

    # -- from the supervisor ---------------------------------------------------------------------------------------------

    def handle(self, message: Replay) -> None:
        """Makes a link the current one, and begins to replay what it does not know."""
        link = self._find(message.link)
        if link is None or not link.open:
            return
        now = self._now()
        self._profile, self._link = link.provider.profile, link
        self._round_trip, self.continuity.silent_context = message.round_trip, self._profile.silent_context
        self.outbox.release_audio(_IN_TOOL_CALL)
        way, plan = self.continuity.take_over(
            link.number,
            target=message.target,
            seed_survives=self._profile.seed_survives,
            now=now,
            drop_media=message.drop_media,
        )
        self.pace.begin_link(self._profile.catch_up)
        self._wire_facts, self._ends_at = {"media_flushed": plan.replayed > 0}, math.inf
        self._up_at, self._released = now, False
        try:
            self._write_preface(link, resumed=way.carry == "handle")
        except Exception as failed:  # because a bug in a plugin's encoder must cost the link, and not the session
            self._encoder_failed(link, failed)
            return
        link.activate()
        if self._speech.speaking:
            self._tell("speech_began")
        self._drain(now)

    @property
    def deadline(self) -> float:
        """The next step of a paced replay."""
        return self._tick

    def on_deadline(self, now: float) -> None:
        """Takes the next step of a paced replay."""
        self._tick = math.inf
        self._drain(now)

    def _release(self, link: Link, now: float) -> None:
        self._released = True
        account = self.continuity.account
        if not self.outbox.holds and (prompt := self.continuity.asking.prompt()):
            # no turn of the user's: a model that chooses not to go on is no reason to end the link
            try:
                link.send(link.connection.text(UserText(text=prompt)))
            except Exception as failed:  # because a bug in a plugin's encoder must neither reach the application nor end it
                self._released = False
                self._encoder_failed(link, failed)
                return
        elif self.continuity.spoken_since(account.replay_position) and not self._speech.speaking:
            self._tell("speech_ended")
        self._post(Released(link=link.number, catch_up=now - self._up_at, account=account))

    # -- to the link -----------------------------------------------------------------------------------------------------

    def _drain(self, now: float) -> None:
        """Sends what may be sent now, and sets the next step where the rest has to be paced or the link is slow."""
        link = self._link
        if link is None or not link.open:
            return
        self.pace.consider(self.journal.end - self.outbox.position, position=self.outbox.position, now=now)
        while link.buffered < _UNSENT:
            allowed = self.pace.allowed(self.outbox.position, now=now)
            send = self.outbox.next(self.journal.end, limit=max(1, allowed))
            if send is None:
                self.pace.stop()
                if not self._released and (self.outbox.holds or self.outbox.position >= self.journal.end):
                    self._release(link, now)  # what a tool call keeps back waits for that, and no longer for the link
                if not self.outbox.holds:
                    self._show(link, now)
                return
            if isinstance(send, AudioSpan):
                if lost := self.continuity.overflowed():
                    self._outlet.put(AudioLost(lost_ms=lost, because=_WAITED))
                    self.pace.restart(position=self.outbox.position, now=now)
                    continue
                if allowed <= 0:
                    break
            self._write(link, send, now)
        self._tick = now + _TICK
        self.mailbox.wake()

    def _write(self, link: Link, send: AudioSpan | Pinned, now: float) -> None:
        self.outbox.advance(send)
        if isinstance(send, AudioSpan):
            self._write_audio(link, send.start, send.stop, now)
        elif send.seq not in self._refused:
            try:
                self._write_item(link, send.item, send.seq)
                self.continuity.wrote(send.item, send.seq, now=now)
            except Exception as failed:  # because a bug in a plugin's encoder must neither reach the application nor end it
                self._refused.add(send.seq)  # it would do the same to every later link
                self._encoder_failed(link, failed)

    def _write_audio(self, link: Link, start: int, stop: int, now: float) -> None:
        journal = self.journal
        try:
            index = link.send(link.connection.audio(journal.read(start, stop - start)))
        except Exception as failed:  # because a bug in a plugin's encoder must neither reach the application nor end it
            self._encoder_failed(link, failed)
            return
        journal.sent(stop, now)
        if self._profile.consumed_index:
            journal.sent_index(index, stop)

    def _write_preface(self, link: Link, *, resumed: bool) -> None:
        """Sends what the model is told before anything of the user's."""
        if resumed and self._profile.lost_calls == "error_first":
            for call in self.continuity.lost_calls(link.number):
                link.send(link.connection.tool_result(ToolResult(call_id=call.call_id, name=call.name, result=_LOST_CALL)))
        for told in self.continuity.asking.preface:
            link.send(link.connection.context(told))

    def _show(self, link: Link, now: float) -> None:
        """Sends the image that waits, where it is new and the model takes any."""
        if not link.open or link.buffered >= _UNSENT:
            return
        image = self._image.take(now)
        if image is None or not self._profile.images:
            return
        try:
            link.send(link.connection.image(image.data, mime_type=image.mime_type))
        except Exception as failed:  # because a bug in a plugin's encoder must neither reach the application nor end it
            self._encoder_failed(link, failed)

    def _encoder_failed(self, link: Link, failed: Exception) -> None:
        logger.error("%s: the encoder of link %d failed with %s", self.name, link.number, type(failed).__name__)
        link.abort("crash", f"the encoder failed with {type(failed).__name__}")

    def _write_item(self, link: Link, item: Item, seq: int) -> None:
        connection = link.connection
        match item:
            case UserText():
                link.send(connection.text(item))
                self.conversation.said(item, seq=seq)
                if item.turn_complete:
                    self._tell("turn_ended")
            case ReplyRequest():
                link.send(connection.text(UserText(text=item.instructions)))
                self.conversation.requested(item, seq=seq)
                self._tell("turn_ended")
            case ActivityMark():
                link.send(connection.activity(item))
            case ToolResult():
                self._write_result(link, item, seq)
            case Told(turns=turns):
                for message in connection.told(turns):
                    link.send(message)
                self.conversation.recall(turns, seq=seq)
            case Turn():
                link.send(connection.context(item))

    def _write_result(self, link: Link, result: ToolResult, seq: int) -> None:
        match self.conversation.deliver(result, link=link.number, seq=seq):
            case ToolResult() as answer:
                link.send(link.connection.tool_result(answer))
            case Turn() as told:
                link.send(link.connection.context(told))
            case None:
                return
        if not self.conversation.ledger.waits_for(link.number):
            self.outbox.release_audio(_IN_TOOL_CALL)
            self._tell("turn_ended" if result.scheduling != "SILENT" else "tools_done")

    # -- from the model --------------------------------------------------------------------------------------------------

    def _come(self, outcome: Outcome, now: float) -> None:
        for event in outcome.events:
            self._outlet.put(event)
        if outcome.useful:
            self._last_output = now
            if not self._wire_facts.get("useful"):
                self._wire_facts["useful"] = True
                self._tell("useful")
        self.continuity.take(outcome, now=now, round_trip=self._round_trip)
        if outcome.user_turn_ended:
            self._tell("turn_ended")
        if outcome.reply_began:
            self._wire_facts["replied"] = True
            self._tell("reply_began")
        if outcome.reply_ended:
            self._tell("reply_ended")
            if self.conversation.reply_owed and any(type(event) is Interrupted for event in outcome.events):
                self._tell("turn_ended")
            self._count_empty_turns()

    def _unanswered(self) -> None:
        """Lets a deadline run for what the model wrote down of the user's words and has not answered.

        Nothing may say that the user's turn is over (Gemini does not), so this side's own judgement has to do. The first
        turn after a resume is taken for finished: a handle may bring back a session that writes down and never answers.
        """
        link = self._link
        if link is None or not self.conversation.unanswered:
            return
        if not self.continuity.spoken_since(self.continuity.account.replay_position):
            return  # a resumed session tells the last words of its snapshot again
        if link.crossing.handle is not None and not self._wire_facts.get("replied"):
            if not self._speech.speaking:
                self._tell("turn_ended")
        elif not self._profile.may_be_silent:
            self._tell("transcribed")

    def _count_empty_turns(self) -> None:
        count = self.conversation.empty_turns
        if self._link is None or self._profile.may_be_silent or count < self._empty_turns:
            return
        because = f"{count} turns in a row."
        self._post(Judged(link=self._link.number, because=because, cause="empty_turns"))

    def _gate(self, link: int, now: float) -> None:
        """Holds the user's audio while a tool call is pending on this link, where the model takes none then."""
        pending = bool(self.conversation.ledger.waits_for(link))
        self._tell("tool_called" if pending else "tools_done")
        if pending and not self._profile.input_in_tool_call:
            self.outbox.hold_audio(_IN_TOOL_CALL)
        else:
            self.outbox.release_audio(_IN_TOOL_CALL)
        self._drain(now)

    def _skip(self, what: str) -> None:
        if len(self.skipped) < _NAMES or what in self.skipped:
            self.skipped[what] += 1
            if self.skipped[what] == 1:
                logger.info("%s: skipped %r, which this version does not know (this is said once)", self.name, what)

    def _tell(self, what: Milestone) -> None:
        number = self._link.number if self._link is not None else 0
        self._post(Progress(link=number, what=what))
