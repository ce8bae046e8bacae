"""One connection to the simulated service: the setup, handles, lifetimes, and what may be sent when."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

from unbroken.errors import WireError
from unbroken.testing import faults
from unbroken.testing.faults import Close, Stage
from unbroken.testing.report import LinkReport
from unbroken.testing.simulator import Message, Output, SimulatedLink
from unbroken_gemini import codec, wire
from unbroken_gemini.models import CATALOG, GeminiRow, short
from unbroken_gemini.testing import checks, refusals
from unbroken_gemini.testing.agenda import Agenda
from unbroken_gemini.testing.contexts import Context, Handle
from unbroken_gemini.testing.dialogue import Dialogue, new_ear

if TYPE_CHECKING:
    from unbroken_gemini.testing.service import SimulatedGemini

__all__ = ["GeminiLink"]

STAGE_OF_SETUP: tuple[Stage, ...] = ("setup",)
_MEMBERS = ("setup", "client_content", "realtime_input", "tool_response", "context_update")


class GeminiLink(SimulatedLink):
    """One connection.

    Args:
        service: whose it is.
        number: from 1.
        door: where it came in.
        client: who is asking: a credential.
        refused: why it is closed at its first message; None: it is not.
        now: the time.

    Attributes:
        dialogue: the conversation; None: it has not been set up.
        talks_from: when it was set up, or when the client first said more than the setup.
        open_until: the service holds the socket open until then; None: it is open.
        silent: the path is dead, and the service does not know.
    """

    def __init__(
        self, service: SimulatedGemini, *, number: int, door: checks.Door, client: str, refused: Close | None, now: float
    ) -> None:
        self.number = number
        self.door = door
        self.client = client
        self.began = now
        self.dialogue: Dialogue | None = None
        self.talks_from = now
        self.open_until: float | None = None
        self.silent = False
        self._service = service
        self._agenda = Agenda()
        self._stage: Literal["open", "setup", "live", "over"] = "open"
        self._refused = refused
        self._setup = wire.Setup()
        self._messages = 0
        self._resumed = False
        self._realtime = False
        self._lives_until: float | None = None
        self._media: deque[tuple[float, float]] = deque()
        self._ended_at: float | None = None
        self._closed = ""
        self._faults: list[str] = []

    def __repr__(self) -> str:
        return f"<GeminiLink {self.number} {self._stage} {short(self._setup.model) or 'no model yet'}>"

    # -- What the host asks -----------------------------------------------------------------------------------------------

    @property
    def stages(self) -> Collection[Stage]:
        """All that it is at."""
        if self._stage != "live" or self.dialogue is None:
            return STAGE_OF_SETUP if self._stage == "setup" else ()
        stages: list[Stage] = ["live"]
        if self.dialogue.speaking:
            stages.append("reply")
        if self.dialogue.context.ear.speaking:
            stages.append("user")
        if self.dialogue.pending:
            stages.append("tool")
        return stages

    @property
    def deadline(self) -> float | None:
        """When `advance` wants to be called."""
        return self._agenda.deadline

    @property
    def waits(self) -> bool:
        """Its setup announced a history, which has not been told. Where none can be announced a spare does not show."""
        return self.dialogue is not None and self.dialogue.seeding

    @property
    def pong_time(self) -> float:
        """Seconds until the next ping is answered."""
        return self._service.draw(self._service.behaviour.pong_time)

    def advance(self, now: float) -> Sequence[Output]:
        """Returns what is to be sent now."""
        outputs: list[Output] = []
        for said in self._agenda.due(now):
            if isinstance(said, Close):
                self._stage = "over"
                self._closed = f'close {said.code} "{said.reason}"'
                self._agenda.clear()
                return [*outputs, said]
            outputs.append(Message(data=codec.encode_server(said), binary=self._service.behaviour.binary))
        return outputs

    def strike(self, strike: faults.Strike, *, now: float) -> None:
        """Makes a fault happen that is the service's business."""
        match strike:
            case faults.GoAway(time_left=time_left):
                self._announce(time_left, now)
                self._agenda.put(now + time_left, refusals.DEADLINE)
            case _:
                self._service.strike(strike, now=now, times=1)

    def struck(self, fault: str) -> None:
        """Takes note for the report."""
        self._faults.append(fault)

    def silenced(self, *, now: float) -> None:
        """The path is dead, and the service does not know."""
        self.silent = True
        self._stop(now)

    def ended(self, *, now: float, how: str = "", confirmed: bool) -> None:
        """The connection is over."""
        self._stop(now)
        self._closed = self._closed or how
        if self.open_until is None:
            self.open_until = now + (0.0 if confirmed else self._service.draw(self._service.behaviour.linger))

    def holds(self, now: float) -> bool:
        """Says whether the service takes the socket for open. A dead path is noticed only when somebody resumes."""
        if self.silent and self.open_until is None:
            self.open_until = now + self._service.draw(self._service.behaviour.linger)
        return self.open_until is None or now < self.open_until

    def _stop(self, now: float) -> None:
        self._stage = "over"
        self._agenda.clear()
        if self._ended_at is None:
            self._ended_at = now

    @property
    def ended_at(self) -> float | None:
        """When it ended; None: it has not."""
        return self._ended_at

    @property
    def setup(self) -> wire.Setup:
        """What the client set it up with."""
        return self._setup

    @property
    def live(self) -> bool:
        """The setup was accepted, whatever became of the connection."""
        return self.dialogue is not None

    def report(self) -> LinkReport:
        """Returns the account of this connection."""
        account = self.dialogue.account if self.dialogue is not None else None
        return LinkReport(
            number=self.number,
            began=self.began,
            ended=self._ended_at,
            platform=self.door.platform,
            model=short(self._setup.model),
            live=self.live,
            resumed=self._resumed,
            history=account.history if account else 0,
            closed=self._closed,
            faults=tuple(self._faults),
            context=self.dialogue.context.number if self.dialogue is not None else 0,
            heard=tuple(account.heard) if account else (),
            replayed=tuple(account.replayed) if account else (),
            repeated=tuple(account.repeated) if account else (),
            said=account.said / 24 if account else 0.0,
            images=account.images if account else 0,
            heard_at=account.heard_at if account else None,
            said_at=account.said_at if account else None,
        )

    # -- What the client says ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, *, now: float) -> None:
        """Takes a message from the client."""
        if self._stage == "over":
            return
        if self._messages == 1:
            self.talks_from = now
        refused = self._take(data, self._messages, now)
        self._messages += 1
        if refused is not None:
            self._agenda.clear()
            self._agenda.put(now, refused)

    def _take(self, data: bytes, number: int, now: float) -> Close | None:
        skipped: list[str] = []
        try:
            message = codec.decode_client(data, skipped=skipped)
        except WireError as error:
            return refusals.malformed(str(error))
        if (unknown := checks.unknown(skipped)) is not None:
            return refusals.unknown_field(unknown)
        members = [name for name in _MEMBERS if getattr(message, name) is not None]
        if len(members) != 1:
            return refusals.malformed("oneof field 'message_type' is already set." if members else "No message was given.")
        if (message.setup is None) == (self._stage == "open"):
            return refusals.SETUP_FIRST
        if message.setup is not None:
            self._begin(message.setup, now)
            return None
        if self.dialogue is None:
            return refusals.BAD_ARGUMENT  # before setupComplete
        return self._converse(self.dialogue, message, number, now)

    def _converse(self, dialogue: Dialogue, message: wire.ClientMessage, number: int, now: float) -> Close | None:
        if (given := message.realtime_input) is not None:
            self._realtime = True
            if given.audio is not None and self._is_burst(given.audio, now):
                return refusals.BAD_ARGUMENT
            return dialogue.realtime(given, message=number, now=now) or self._full(dialogue)
        if (content := message.client_content) is not None:
            return self._content_refused() or dialogue.content(content, now=now) or self._full(dialogue)
        if message.tool_response is not None:
            return dialogue.response(message.tool_response, now=now)
        if message.context_update is not None:
            dialogue.update(message.context_update)
        return None

    def _content_refused(self) -> Close | None:
        """Client content on models that take the user's words as realtime input (live guide; livekit/agents#5985)."""
        dialogue = self.dialogue
        if dialogue is None or dialogue.row.text != "realtime" or not self._service.behaviour.strict_content:
            return None
        return refusals.BAD_ARGUMENT if self._resumed or self._realtime or not dialogue.seeding else None

    def _is_burst(self, blob: wire.Blob, now: float) -> bool:
        """Says whether media comes too fast after a resume (yagudaev/voiceclaw#66, #397)."""
        behaviour = self._service.behaviour
        if not self._resumed or behaviour.burst_rate is None:
            return False
        self._media.append((now, len(blob.data) / 32_000))
        while self._media[0][0] < now - behaviour.burst_window:
            self._media.popleft()
        came = sum(seconds for _, seconds in self._media)
        return came > behaviour.burst_rate * behaviour.burst_window + behaviour.burst_allowance

    def _full(self, dialogue: Dialogue) -> Close | None:
        """Closes where the context window is full, or makes room where that was asked for (livekit/agents#6144)."""
        limit = dialogue.row.context_tokens
        compression = self._setup.context_window_compression
        if compression is not None:
            trigger = min(compression.trigger_tokens or limit or 0, limit or 0)
            if trigger and dialogue.context.tokens > trigger:
                window = compression.sliding_window or wire.SlidingWindow()
                dialogue.context.tokens = window.target_tokens or trigger // 2
            return None
        return refusals.BAD_ARGUMENT if limit is not None and dialogue.context.tokens > limit else None

    # -- Setup ------------------------------------------------------------------------------------------------------------

    def _begin(self, setup: wire.Setup, now: float) -> None:
        self._stage = "setup"
        self._setup = setup
        self._agenda.put(now + self._service.draw(self._service.behaviour.setup_time), self._answer)

    def _answer(self, now: float) -> None:
        row = checks.row_of(self._setup.model, self.door, self._service.models)
        refused = self._refused
        if refused is None and (row is None or short(self._setup.model) in self._service.refused_models):
            refused = self._not_served()
        context: Context | None = None
        if refused is None and row is not None:
            refused = checks.check(self._setup, row, self.door)
            if refused is None:
                context, refused = self._context(now)
        if refused is not None or row is None or context is None:
            self._agenda.put(now, refused or refusals.INTERNAL)
            return
        self._go_live(row, context, now)

    def _not_served(self) -> Close:
        model = self._setup.model
        known = CATALOG.find(short(model))
        other = self.door.platform == "vertex" and known is not None and known.name == "gemini-2.0-flash-exp"
        return refusals.not_served(model, platform=self.door.platform, version=self.door.version, dialogue=other)

    def _context(self, now: float) -> tuple[Context | None, Close | None]:
        """Returns the context that the setup begins with, or why there is none."""
        resumption = self._setup.session_resumption
        behaviour = self._service.behaviour
        if resumption is None or not resumption.handle:
            ear = new_ear(self._setup, threshold=behaviour.speech_level, silence=behaviour.silence)
            return self._service.fresh_context(ear, now), None
        self._resumed = True
        context, refused = self._service.resume(resumption.handle, self, short(self._setup.model), now)
        if context is not None:
            if behaviour.forgets_history:
                context.forget_history()
            silence = new_ear(self._setup, threshold=behaviour.speech_level, silence=behaviour.silence).silence
            context.ear.silence = silence
        return context, refused

    def _go_live(self, row: GeminiRow, context: Context, now: float) -> None:
        self._stage = "live"
        self.talks_from = now
        self.dialogue = Dialogue(
            self._service,
            link=self.number,
            setup=self._setup,
            row=row,
            platform=self.door.platform,
            context=context,
            agenda=self._agenda,
            issue=self._issue,
            lost=self._service.lost_calls(self, context) if self._resumed else (),
            resumed=self._resumed,
        )
        session = str(uuid.UUID(int=self._service.random.getrandbits(128))) if self.door.platform == "vertex" else ""
        self._agenda.put(now, wire.ServerMessage(setup_complete=wire.SetupComplete(session_id=session)))
        self._agenda.put(now + 0.05, self._issue)
        if row.handle_in_turn:
            self._agenda.put(now + self._service.behaviour.handle_every, self._issue_again)
        if self._resumed and context.transcription and self._service.behaviour.replays_transcription:
            self.dialogue.transcribe(context.transcription, now=now + 0.1)
        self._limit(context, now)

    # -- Lifetimes --------------------------------------------------------------------------------------------------------

    def _limit(self, context: Context, now: float) -> None:
        behaviour = self._service.behaviour
        ends = now + self._service.lifetime
        if (early := behaviour.early_goaway) is not None:
            self._agenda.put(now + 1.0, lambda t: self._announce(early, t))
            ends = min(ends, now + 1.0 + early)
        else:
            lead = min(behaviour.goaway_lead, self._service.lifetime / 2)
            self._agenda.put(ends - lead, lambda t: self._announce(lead, t))
        if self._setup.context_window_compression is None:
            ends = min(ends, max(now, context.began + behaviour.session_limit))
        self._agenda.put(ends, refusals.DEADLINE)

    def _announce(self, time_left: float, now: float) -> None:
        self._agenda.put(now, wire.ServerMessage(go_away=wire.GoAway(time_left=f"{time_left:g}s")))

    # -- Handles ----------------------------------------------------------------------------------------------------------

    def _issue_again(self, now: float) -> None:
        self._issue(now)
        self._agenda.put(now + self._service.behaviour.handle_every, self._issue_again)

    def _issue(self, now: float) -> None:
        """Issues a handle, or says that there is none now. Where in the user's audio its snapshot lies nobody is told."""
        dialogue, resumption = self.dialogue, self._setup.session_resumption
        if dialogue is None or resumption is None:
            return
        in_turn = dialogue.row.handle_in_turn or bool(resumption.transparent)
        if dialogue.pending or (not in_turn and (dialogue.turn_open or dialogue.context.ear.speaking)):
            self._agenda.put(now, wire.ServerMessage(session_resumption_update=wire.SessionResumptionUpdate()))
            return
        taken = dialogue.context.turn
        pieces = self._service.random.randint(0, len(taken))
        issued = Handle(
            context=dialogue.context.snapshot(pieces=pieces),
            model=short(self._setup.model),
            platform=self.door.platform,
            link=self.number,
        )
        index = self._messages - 1 if pieces == len(taken) else taken[pieces].message - 1
        update = wire.SessionResumptionUpdate(
            new_handle=self._service.keep(issued),
            resumable=True,
            last_consumed_client_message_index=str(index) if resumption.transparent else None,
        )
        self._agenda.put(now, wire.ServerMessage(session_resumption_update=update))
