"""What a conversation consists of: what the application sees of it, and what it says.

Audio is bytes of signed 16-bit little-endian mono PCM everywhere; positions in the user's audio are samples since the
session began; durations named ``*_ms`` are milliseconds, all other times seconds. ``link`` is the link's number within its
session, from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from unbroken.decisions import Carry, Closure, Decision, Fault

__all__ = [
    "ActivityMark",
    "Audio",
    "AudioLost",
    "Connected",
    "Crossed",
    "Escalated",
    "Event",
    "Interrupted",
    "ModelTranscript",
    "OutageBegan",
    "ProviderMessage",
    "Recovered",
    "ReplyBegan",
    "ReplyEnded",
    "ReplyRequest",
    "Steps",
    "Text",
    "Told",
    "ToolCall",
    "ToolCallCancelled",
    "ToolResult",
    "Turn",
    "Usage",
    "UserActivity",
    "UserText",
    "UserTranscript",
    "Waiting",
]

ReplyEnd = Literal["complete", "interrupted", "cut"]

Crossed = Literal["none", "cut", "continued", "again", "owed"]
"""What became of the reply in flight at an outage; see `Recovered.reply`."""


# -- What a provider's wire says, and the application sees as it came -------------------------------------------------


class Audio(msgspec.Struct, frozen=True, tag=True):
    """A piece of the model's speech.

    Attributes:
        pcm: s16le mono PCM.
        rate: samples per second (Gemini: 24000).
    """

    pcm: bytes
    rate: int


class Text(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A piece of the model's text.

    Attributes:
        text: the piece; pieces are joined without a separator.
        thought: it is a summary of the model's thinking, not part of the answer.
    """

    text: str
    thought: bool = False


class UserTranscript(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A piece of the transcript of what the user said.

    Attributes:
        text: the piece; pieces of a turn are joined without a separator.
        finished: the provider said that this turn's transcript is complete.
        interim: a guess that later pieces replace.
    """

    text: str
    finished: bool = False
    interim: bool = False


class ModelTranscript(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A piece of the transcript of the model's speech.

    Attributes:
        text: the piece; pieces of a reply are joined without a separator.
        finished: the provider said that this reply's transcript is complete.
    """

    text: str
    finished: bool = False


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model asks for a tool; answer with `Session.send_tool_result`.

    Attributes:
        call_id: the provider's id of the call, unique within the session.
        name: the function's name.
        arguments: the function's arguments, decoded from JSON.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any] = {}


class ToolCallCancelled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model no longer wants the results of these calls (the user interrupted). Undo them where that can be done.

    Attributes:
        call_ids: the calls.
    """

    call_ids: tuple[str, ...]


class Interrupted(msgspec.Struct, frozen=True, tag=True):
    """The user spoke while the model did: stop playing what has not been played. `ReplyEnded` follows."""


class UserActivity(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The provider's voice activity detection.

    Attributes:
        speaking: the user began to speak; False: the user stopped.
        offset: seconds into the link's audio, as the provider counts; None: it did not say.
    """

    speaking: bool
    offset: float | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tokens used, as the provider counts them.

    Attributes:
        input_tokens: of the prompt, that is of the context so far.
        output_tokens: of the reply.
        cached_tokens: of the prompt, read from a cache.
        thought_tokens: of the model's thinking.
        tool_tokens: of the prompt, for tool use.
        total_tokens: the provider's own sum.
        input_details: tokens of the prompt by modality ("AUDIO", "TEXT", …).
        output_details: tokens of the reply by modality.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    thought_tokens: int = 0
    tool_tokens: int = 0
    total_tokens: int = 0
    input_details: Mapping[str, int] = {}
    output_details: Mapping[str, int] = {}


class ProviderMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A whole message of the provider's, for applications that want what no event tells of; only a provider that is asked
    for it gives it. It comes right after the events that were made of it.

    Attributes:
        data: the message as it came on the wire.
        platform: the platform's name, where its messages have a form of their own; see `unbroken.abc.Profile`.
    """

    data: bytes | str
    platform: str = ""

    def __repr__(self) -> str:
        return f"<ProviderMessage of {len(self.data)} bytes>"


# -- What only the application sees -----------------------------------------------------------------------------------


class Steps(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The anatomy of an outage or of a first connection: how long each step took, in milliseconds.

    Attributes:
        detect_ms: for how long the link had been of no use when its end was known: since its last byte where it hung, since
            its closing handshake began where it was handed over.
        decide_ms: classification, policy and permit, over all attempts.
        wait_ms: waiting between attempts, as the decisions asked.
        failed_ms: attempts that came to nothing, from their begin to their end.
        credential_ms: asking for the endpoint and its credential; this and what follows are of the link that came up.
        dial_ms: name look-up and TCP.
        tls_ms: the TLS handshake; 0 without TLS.
        upgrade_ms: the HTTP upgrade.
        setup_ms: the provider's setup.
        catch_up_ms: from the setup until the user's audio is live again.
    """

    detect_ms: float = 0.0
    decide_ms: float = 0.0
    wait_ms: float = 0.0
    failed_ms: float = 0.0
    credential_ms: float = 0.0
    dial_ms: float = 0.0
    tls_ms: float = 0.0
    upgrade_ms: float = 0.0
    setup_ms: float = 0.0
    catch_up_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The sum of all steps: the outage as the caller had it."""
        return float(sum(msgspec.structs.astuple(self)))


class Connected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The session's first link is live.

    Attributes:
        link: its number.
        target: where it goes, ``provider/model``.
        steps: how long the steps took; the parts of an outage are 0.
        because: why the session began elsewhere than on the first target of its route: one plain sentence; "": it did not.
    """

    link: int
    target: str
    steps: Steps
    because: str = ""


class ReplyBegan(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model begins a reply.

    Attributes:
        reply: its number within the session, from 1.
        link: the link it comes on.
        continues: the number of the cut reply that it carries on from where the caller stopped hearing that, so that both
            are one reply that paused; 0: it carries none on.
        again: it gives a reply that was cut, from its beginning.
    """

    reply: int
    link: int
    continues: int = 0
    again: bool = False


class ReplyEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A reply that began has ended; for each `ReplyBegan` there is exactly one.

    Attributes:
        reply: its number.
        how: "complete", "interrupted" (the user spoke) or "cut" (its link ended).
        received_ms: how much of it was received.
        heard_ms: how much of it can have been heard: what was received, at most the time since it began.
        reason: the provider's reason where the turn did not simply end; "": it simply ended.
    """

    reply: int
    how: ReplyEnd
    received_ms: float
    heard_ms: float
    reason: str = ""


class OutageBegan(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A link has ended that should not have, and this is what is done about it. One per decision within an outage.

    Attributes:
        link: the link that ended.
        target: where it went.
        closure: how it ended.
        fault: what that means.
        decision: what is done.
        because: the fault's and the decision's sentences, for people.
        attempt: links that failed in a row so far: over outages too, where no healthy stretch lay between.
        fallback: the decision was the built-in one, because the session's policy failed or was late.
    """

    link: int
    target: str
    closure: Closure
    fault: Fault
    decision: Decision
    because: str
    attempt: int = 1
    fallback: bool = False


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No link is up and none is dialled for a while. A long one is the time to say something to the caller.

    Attributes:
        seconds: until the next attempt; from a few hundredths (backoff) to minutes (a spent quota).
        target: where it will go.
        because: one plain sentence.
        patience_left: seconds until the session escalates.
    """

    seconds: float
    target: str
    because: str
    patience_left: float


class Recovered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The outage is over: the user's audio is live again. All that is said about audio is about the user's.

    Attributes:
        link: the link that carries the session now.
        target: where it goes.
        failed_over: the target is another one than before the outage.
        planned: the end that began the outage was announced or is documented, and something useful had come before it.
        carry: how the conversation crossed.
        steps: how long the steps took.
        attempts: links tried.
        spare: the link was set up on a connection that was open already, so that no time went into dial, TLS and upgrade;
            where it had been set up, too (`Settings.spare` is "ready"), none went into the setup.
        replayed_ms: audio that was sent again or sent late.
        uncertain_ms: the part of it that the model may have heard before, since nothing says that it had not.
        lost_ms: audio with speech in it that no link will carry: too old, dropped at the journal's bound, or refused.
        silence_ms: silence before the first speech that was left out of the replay.
        told_ms: audio that crossed as a transcript in the history.
        known_position: samples: up to here the user's audio is done with: the model holds it by snapshot or transcript, or
            has answered it; what was answered and is told by neither is in ``lost_ms``.
        replay_position: samples: from here the user's audio was sent again.
        reply: what became of the reply in flight: "none" was; it was "cut" and that was all; the model was asked to go on
            with it ("continued") or gives it "again"; or it had not begun, is "owed", and was asked for.
        tools: calls in flight that the new link does not know; their results go as context.
    """

    link: int
    target: str
    failed_over: bool = False
    planned: bool = False
    carry: Carry = "nothing"
    steps: Steps = Steps()
    attempts: int = 1
    spare: bool = False
    replayed_ms: float = 0.0
    uncertain_ms: float = 0.0
    lost_ms: float = 0.0
    silence_ms: float = 0.0
    told_ms: float = 0.0
    known_position: int = 0
    replay_position: int = 0
    reply: Crossed = "none"
    tools: tuple[str, ...] = ()


class AudioLost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """User audio was lost while the link was up: it had to wait for longer than the journal keeps it.

    Attributes:
        lost_ms: audio with speech in it that no link will carry.
        because: one plain sentence.
    """

    lost_ms: float
    because: str


class Escalated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The session is given up; it is the last event, and `unbroken.SessionEscalated` follows.

    Attributes:
        because: one plain sentence.
        advice: what a person can do about it; "": nothing is known.
        fault: the last fault; None: no fault of a link but a bug or a bound of this side.
        story: the decisions since a link was last healthy, in order, the last 64 of them.
    """

    because: str
    advice: str = ""
    fault: Fault | None = None
    story: tuple[OutageBegan, ...] = ()


Event: TypeAlias = (
    Connected
    | Audio
    | Text
    | UserTranscript
    | ModelTranscript
    | UserActivity
    | ReplyBegan
    | ReplyEnded
    | Interrupted
    | ToolCall
    | ToolCallCancelled
    | Usage
    | ProviderMessage
    | OutageBegan
    | Waiting
    | Recovered
    | AudioLost
    | Escalated
)
"""What ``async for event in session`` yields."""


# -- What the conversation consists of --------------------------------------------------------------------------------


class Turn(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One turn of the conversation, as far as it is known in words.

    Attributes:
        role: who spoke; "tool": what a tool was asked and answered, told in words.
        text: the words.
    """

    role: Literal["user", "model", "tool"]
    text: str


class UserText(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Text from the application, as the user's turn.

    Attributes:
        text: the words.
        turn_complete: the model should answer now.
    """

    text: str
    turn_complete: bool = True


class Told(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Turns that the application tells the conversation. They ask for no reply.

    Attributes:
        turns: the turns, the oldest first.
    """

    turns: tuple[Turn, ...]


class ReplyRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The application asks for a reply that the user did not ask for. It is no turn of the user's.

    Attributes:
        instructions: what the model is told.
    """

    instructions: str


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to a `ToolCall`.

    Attributes:
        call_id: the call's id.
        name: the function's name.
        result: what is sent back: a JSON object; other values are wrapped as ``{"output": value}``.
        scheduling: how the model takes it in, where its tools are asynchronous ("INTERRUPT", "WHEN_IDLE", "SILENT");
            None: the model's default.
    """

    call_id: str
    name: str
    result: Mapping[str, Any]
    scheduling: str | None = None


class ActivityMark(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A mark in the user's audio, for sessions that detect speech themselves.

    Attributes:
        mark: the user "start"s to speak, "end"s, or the microphone's "stream_end".
    """

    mark: Literal["start", "end", "stream_end"]
