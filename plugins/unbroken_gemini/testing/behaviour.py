"""How the simulated service behaves where the real one does now this, now that; `HARSH` has every pitfall switched on."""

from __future__ import annotations

import msgspec

__all__ = ["HARSH", "Behaviour"]

Span = tuple[float, float]
"""From and to; a value in between is drawn per use."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What is not a fault but the service's way. Durations in seconds.

    Attributes:
        setup_time: until a setup is answered.
        reply_time: from the end of the user's turn until the model begins.
        ahead: how far a reply's audio is sent ahead of its playing.
        word_time: how long the model takes to say a word.
        speech_level: root mean square of a sample, as a fraction of full scale, above which the user is heard to speak.
        silence: of the user before the turn ends, unless the setup says otherwise.
        binary: messages are binary frames, as the real service sends them; False: text frames.
        lifetime: of a connection.
        goaway_lead: a connection's end is announced this long before.
        early_goaway: seconds left, announced one second into every connection, and never again; None: not done.
        session_limit: audio sessions without context compression end after this long, over all their connections.
        handle_validity: a handle is good for this long after its session's last connection ended.
        handle_every: while a turn is in flight, models that issue handles then do so this often.
        linger: after an end without a close frame the old socket stays open at the service so long; a resume meets 1011.
        burst_rate: media faster than this multiple of real time after a resume is refused with 1007; None: it is not.
        burst_window: over which that is measured.
        burst_allowance: seconds of audio that may come on top.
        tool_grace: after a tool call, input that was under way is still taken where the model takes none during calls.
        strict_content: models that take text as realtime input close with 1007 on client content once realtime input has
            begun, on any client content after a resume, and on history that ``historyConfig`` did not announce or that has
            been told already. When it comes after the setup does not matter.
        forgets_history: what a fresh session was told by client content is not in its handles.
        replays_transcription: a resumed session repeats the last transcription of its checkpoint.
        lost_calls_eat_input: where the model's row says "error_first", a call that was pending when the connection ended
            makes the resumed session swallow the next turn, unless it is answered first.
        cancels_calls: the user's speech cancels a pending call.
        withholds_transcripts: a turn of speech that is not answered (the fault no-reply) is not written down either, though
            transcripts are sent independently of all else (ai.google.dev/gemini-api/docs/live-guide).
        pong_time: until a ping is answered.
    """

    setup_time: Span = (0.02, 0.05)
    reply_time: Span = (0.25, 0.35)
    ahead: float = 0.2
    word_time: float = 0.3
    speech_level: float = 0.008
    silence: float = 0.5
    binary: bool = True
    lifetime: float = 600.0
    goaway_lead: float = 50.0
    early_goaway: float | None = None
    session_limit: float = 900.0
    handle_validity: float = 7200.0
    handle_every: float = 5.0
    linger: Span = (0.0, 0.0)
    burst_rate: float | None = None
    burst_window: float = 0.5
    burst_allowance: float = 0.5
    tool_grace: float = 0.5
    strict_content: bool = False
    forgets_history: bool = False
    replays_transcription: bool = False
    lost_calls_eat_input: bool = False
    cancels_calls: bool = True
    withholds_transcripts: bool = False
    pong_time: Span = (0.0, 0.0)


HARSH = Behaviour(
    setup_time=(0.3, 0.8),
    early_goaway=300.0,
    linger=(1.0, 3.0),
    burst_rate=8.0,
    tool_grace=0.25,
    strict_content=True,
    forgets_history=True,
    replays_transcription=True,
    withholds_transcripts=True,
    pong_time=(8.0, 30.0),
)
"""Every pitfall that users of the real service reported at resumption and around it, at once."""
