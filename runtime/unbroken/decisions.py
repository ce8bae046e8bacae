"""How a link ended, what that means, and what is to be done about it: all that a policy reads and returns."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import msgspec

__all__ = [
    "ACTIONS",
    "CAUSES",
    "FAULTS",
    "PHASES",
    "Action",
    "Breaker",
    "Carry",
    "Cause",
    "Closure",
    "Decision",
    "Ending",
    "Escalate",
    "Facts",
    "FailOver",
    "Fault",
    "FaultKind",
    "Finish",
    "Phase",
    "Retry",
    "Situation",
    "TargetState",
    "action_of",
    "printable",
]

Phase = Literal["dial", "tls", "upgrade", "setup", "live"]
"""Where in its life a link was: ``dial`` is the name look-up and TCP (the credential too), ``tls`` the TLS handshake,
``upgrade`` the HTTP upgrade, ``setup`` until the provider accepted the session, ``live`` after that."""

FaultKind = Literal[
    "closed",
    "planned",
    "network",
    "hung",
    "server",
    "quota",
    "model",
    "config",
    "auth",
    "handle",
    "context",
    "input",
    "protocol",
    "unknown",
]
"""What a closure means. The table with the default decision for each is in docs/faults.md."""

Cause = Literal[
    "dns",
    "refused",
    "unreachable",
    "reset",
    "eof",
    "tls",
    "proxy",
    "ping_timeout",
    "path_dead",
    "not_reading",
    "frame_too_big",
    "malformed",
    "credential",
    "credential_deadline",
    "dial_deadline",
    "tls_deadline",
    "upgrade_deadline",
    "setup_deadline",
    "sign_deadline",
    "reply_deadline",
    "reply_stalled",
    "answer_deadline",
    "empty_turns",
    "handover",
    "update",
    "cut",
    "crash",
]
"""What ended a link on this side, where no close frame and no HTTP status came from the other: ``eof`` is the end of the
stream without a close frame, ``path_dead`` a path on which nothing is acknowledged any more, ``not_reading`` a peer whose
machine lives and whose process takes nothing (both: `unbroken.core.health`), ``reply_deadline`` a finished turn that got no
reply, ``reply_stalled`` a reply that stopped in its midst, ``answer_deadline`` words that the model wrote down and never
answered, ``empty_turns`` turn after turn completed without anything in it, ``malformed`` a breach of RFC 6455 or of the
provider's protocol, ``handover`` an announced end that this side came before, ``update`` a link that was left for one
that is set up otherwise (`unbroken.Session.update`), ``cut`` a cut made on purpose (drills), ``crash`` a bug in a link's own
code."""

Action = Literal["retry", "failover", "escalate", "finish"]

Carry = Literal["handle", "history", "nothing"]
"""How the conversation crosses to the next link: by the provider's resumption handle, by replayed turns, or not at all."""

Breaker = Literal["closed", "open", "half-open"]
"""Whether a runtime dials a target: as ever, not at all for now, or once to see whether it is well again."""

PHASES: tuple[Phase, ...] = get_args(Phase)
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
CAUSES: tuple[Cause, ...] = get_args(Cause)
ACTIONS: tuple[Action, ...] = get_args(Action)


_WORDS: Final = 1000
"""Characters that are kept of what a peer says of an end."""


def printable(text: str) -> str:
    """Returns a text that may come from anybody as one line, with a blank for each character that cannot be printed."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How one WebSocket ended, as its transport saw it.

    Attributes:
        code: the close code of RFC 6455 section 7.4 that the peer sent; None: no close frame came.
        reason: the peer's reason, or this side's words where the peer said nothing. A close frame has room for 123 bytes;
            whatever it came in, it is one line of at most 1000 characters here, without anything that a terminal obeys.
        http_status: status of a refused upgrade; None: the upgrade was not refused by a status.
        retry_after: seconds the peer asked to wait (``Retry-After``, seconds or date); None: it did not ask.
        cause: what ended it on this side; None: the peer said why itself.
        sent_by_us: this side spoke of the end first (its own close frame, a deadline, a limit).
        confirmed: the peer is known to have let go of the connection: it sent a close frame, a FIN or a reset. After
            anything else the old socket may still be open there.
    """

    code: int | None = None
    reason: str = ""
    http_status: int | None = None
    retry_after: float | None = None
    cause: Cause | None = None
    sent_by_us: bool = False
    confirmed: bool = True

    def __post_init__(self) -> None:
        if len(self.reason) > _WORDS or not self.reason.isprintable():
            msgspec.structs.force_setattr(self, "reason", printable(self.reason[:_WORDS]))

    def describe(self) -> str:
        """Returns one line for people: ``close 1011 "Internal error encountered."``, ``HTTP 503``, ``reset``."""
        if self.http_status is not None:
            head = f"HTTP {self.http_status}"
        elif self.code is not None:
            head = f"close {self.code}"
        else:
            head = (self.cause or "ended").replace("_", " ")
        return f'{head} "{self.reason}"' if self.reason else head


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What this side knew about a link besides how it ended. All false is the plainest case.

    Attributes:
        closed_by_us: the application closed the session.
        sent_by_us: this side sent the close first, for a limit of its own.
        resumed: the link was set up with a resumption handle.
        previous_unconfirmed: the link before ended without a sign that the peer had let go of it.
        history_sent: turns of the conversation were replayed on the link.
        media_flushed: audio kept over an outage was replayed on the link.
        tool_pending: a tool call had been issued on the link and not been answered.
        context_full: the last usage report came near the model's context window.
        announced: the peer had announced the end (goAway), and it was near.
        useful: something useful came on the link: a reply, a transcript, a tool call.
        replied: a reply began on the link, or a tool call came.
        healthy: the link had been healthy for a while (`unbroken.Settings.healthy_after`), so that it was no failed try.
        unserved: the provider's catalog says that the model is not served at this place.
        proven: some link to this target had been healthy in this runtime before, so its name and credential are right.
        sibling_well: meanwhile another target with the same credentials has been healthy and has not failed since.
        consecutive: how many links to this target failed without a healthy stretch between, this one included.
    """

    closed_by_us: bool = False
    sent_by_us: bool = False
    resumed: bool = False
    previous_unconfirmed: bool = False
    history_sent: bool = False
    media_flushed: bool = False
    tool_pending: bool = False
    context_full: bool = False
    announced: bool = False
    useful: bool = False
    replied: bool = False
    healthy: bool = False
    unserved: bool = False
    proven: bool = False
    sibling_well: bool = False
    consecutive: int = 1


class Closure(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of how a link ended.

    Attributes:
        platform: "gemini", "vertex", "openai", …; "any": not known, only the rules of the protocols apply.
        phase: where in its life the link was.
        ending: how its WebSocket ended.
        facts: what this side knew besides.
        model: the model's name as the provider spells it; "": not known.
        age: seconds since the link was begun.
        link: the link's number within its session, from 1; 0: no link of a session (`unbroken explain`).
    """

    platform: str = "any"
    phase: Phase = "live"
    ending: Ending = Ending()
    facts: Facts = Facts()
    model: str = ""
    age: float = 0.0
    link: int = 0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What a closure means.

    Attributes:
        kind: one of `FAULTS`.
        rule: id of the rule that fired.
        action: the action that this rule names for itself; None: the policy's default for the kind.
        carry: the carry that this rule names for itself; None: the policy's choice.
        drop_media: whether the audio kept over the outage is what the peer refused; None: the policy's choice.
        because: one plain sentence: what happened, as the rule understands it.
        advice: what a person can do about it; "": nothing is to be done.
        confidence: 0 to 1; below 1 the same closure is known to have other meanings too.
        retry_after: seconds the peer asked to wait; None: it did not ask.
    """

    kind: FaultKind
    rule: str
    action: Action | None = None
    carry: Carry | None = None
    drop_media: bool | None = None
    because: str = ""
    advice: str = ""
    confidence: float = 1.0
    retry_after: float | None = None


class TargetState(msgspec.Struct, frozen=True, kw_only=True):
    """One target of the route, as it stands when a decision is asked for.

    Attributes:
        name: ``provider/model`` or ``provider/model@label``; see `unbroken.config.Target.name`.
        index: its place in the route, from 0.
        quota_group: targets of one group share a quota.
        credentials: targets of one name share credentials.
        endpoint: targets of one name share the runtime's ceilings on dials.
        context_tokens: the model's context window; None: not known.
        failures: links to it that failed in a row, in the whole runtime, without a healthy stretch between.
        breaker: whether the runtime's circuit breaker lets sessions dial it.
        tried: links of this session to it that failed in a row, over outages too, without a healthy stretch between.
        usable_after: on the session's clock: not to be dialled before (quota cool-down, ``Retry-After``, open breaker);
            0: at once.
        backlog: seconds that a dial asked for now has to wait for its turn: the ceilings on dials and, for a target that
            failed before, the retry budget.
        ruled_out: why this session cannot go there at all (its config was refused, its model is not served); "": it can.
        unfit: what the session needs and the target's model does not have (tools, a modality, a language), in one sentence;
            "": it has everything, as far as its catalog knows.
    """

    name: str
    index: int
    quota_group: str
    credentials: str
    endpoint: str = ""
    context_tokens: int | None = None
    failures: int = 0
    breaker: Breaker = "closed"
    tried: int = 0
    usable_after: float = 0.0
    backlog: float = 0.0
    ruled_out: str = ""
    unfit: str = ""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that a policy may want to know besides the fault. Times are seconds on the session's clock.

    Attributes:
        now: the present.
        targets: the route, in order of preference.
        current: index of the target whose link ended.
        phase: where in its life that link was.
        age: seconds from that link's begin to its end.
        unlived: links to that target in a row, over outages too, that ended before they were live, that link included.
        attempt: links that failed in a row, this one included: over outages too, where no healthy stretch lay between.
        outage_age: seconds since the outage was noticed.
        patience_left: seconds the outage may still last before the session has to escalate.
        attempts_left: links that may still fail before a healthy stretch comes.
        recoveries_left: outages the session may still have, the one that goes on included.
        retries_left: dials of targets that failed before which the runtime's retry budget has room for now; where it is 0
            such a dial waits for its turn (`TargetState.backlog`).
        has_handle: a resumption handle for the current target is held.
        has_history: turns are known that could be replayed.
        history_tokens: about how many tokens those turns take in words, at most as many as `Settings.history_tokens` allows.
        handle_failures: links in a row that failed with the handle that is held.
        useful: something useful had come on the link that ended.
        previous_unconfirmed: the peer may still hold the socket that ended before the failed resume.
        random: a number from 0 to 1 (1 excluded), the only randomness that a decision may use.
    """

    now: float = 0.0
    targets: tuple[TargetState, ...] = ()
    current: int = 0
    phase: Phase = "live"
    age: float = 0.0
    unlived: int = 0
    attempt: int = 1
    outage_age: float = 0.0
    patience_left: float = 60.0
    attempts_left: int = 64
    recoveries_left: int = 1000
    retries_left: int = 100
    has_handle: bool = False
    has_history: bool = False
    history_tokens: int = 0
    handle_failures: int = 0
    useful: bool = False
    previous_unconfirmed: bool = False
    random: float = 0.0


class Retry(msgspec.Struct, frozen=True, kw_only=True, tag="retry"):
    """Dial the same target again.

    Attributes:
        after: seconds to wait first.
        carry: how the conversation crosses. With "handle" and none held, the runtime takes "history".
        drop_media: the audio kept over the outage is not replayed (it was what the peer refused), but counted as lost.
        because: one plain sentence.
        rule: id of the rule of the policy.
    """

    after: float = 0.0
    carry: Carry = "handle"
    drop_media: bool = False
    because: str = ""
    rule: str = ""


class FailOver(msgspec.Struct, frozen=True, kw_only=True, tag="failover"):
    """Dial another target.

    Attributes:
        target: index into the situation's targets.
        after: seconds to wait first.
        carry: "history" or "nothing": no handle crosses between models.
        because: one plain sentence.
        rule: id of the rule of the policy.
    """

    target: int
    after: float = 0.0
    carry: Carry = "history"
    because: str = ""
    rule: str = ""


class Escalate(msgspec.Struct, frozen=True, kw_only=True, tag="escalate"):
    """Give the session up and say so.

    Attributes:
        advice: what a person can do about it.
        because: one plain sentence.
        rule: id of the rule of the policy.
    """

    advice: str = ""
    because: str = ""
    rule: str = ""


class Finish(msgspec.Struct, frozen=True, kw_only=True, tag="finish"):
    """The session has ended as this side wanted it to.

    Attributes:
        because: one plain sentence.
        rule: id of the rule of the policy.
    """

    because: str = ""
    rule: str = ""


Decision: TypeAlias = Retry | FailOver | Escalate | Finish


def action_of(decision: Decision) -> Action:
    """Returns what a decision does, in a word."""
    match decision:
        case Retry():
            return "retry"
        case FailOver():
            return "failover"
        case Escalate():
            return "escalate"
        case Finish():
            return "finish"
