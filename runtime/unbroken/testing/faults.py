"""Faults of a simulated service as data, and as people write them: ``KIND[:ARGUMENT…][@WHEN][xTIMES]``.

``1011@3s`` closes the connection three seconds after the service began; ``1011:You exceeded your current quota@setup`` does
so in place of the next answer to a setup; ``http-429:7@upgradex3`` refuses three upgrades with ``Retry-After: 7``;
``reset@reply+0.5s`` resets half a second into a reply. `FAULTS` is the table of kinds; `unbroken.testing.plan` says when a
fault strikes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from unbroken.errors import ConfigError, UnknownName

__all__ = [
    "FAULTS",
    "STAGES",
    "Close",
    "Down",
    "Fault",
    "Fin",
    "GoAway",
    "HttpStatus",
    "Kind",
    "Latency",
    "Lifetime",
    "Malformed",
    "NoReply",
    "QuietAudio",
    "RefuseModel",
    "Reset",
    "Silence",
    "SlowRead",
    "Stage",
    "Strike",
    "When",
    "parse",
]

Stage = Literal["dial", "upgrade", "setup", "live", "reply", "user", "tool"]
"""What a connection is at: accepted (``dial``), its upgrade asked for, its setup asked for, set up (``live``), and while it
is live: the model speaks (``reply``), the user speaks, a tool call is pending."""

STAGES: tuple[Stage, ...] = get_args(Stage)


# -- What strikes -----------------------------------------------------------------------------------------------------


class Close(msgspec.Struct, frozen=True, kw_only=True, tag="close"):
    """A close frame.

    Attributes:
        code: from 1000 to 4999.
        reason: at most 123 bytes of it are sent.
    """

    code: int
    reason: str = ""


class Reset(msgspec.Struct, frozen=True, kw_only=True, tag="reset"):
    """A TCP reset."""


class Fin(msgspec.Struct, frozen=True, kw_only=True, tag="fin"):
    """The end of the stream, without a close frame."""


class Silence(msgspec.Struct, frozen=True, kw_only=True, tag="silence"):
    """The service keeps the connection and neither reads nor writes: half-open, or stalled.

    Attributes:
        seconds: how long; None: for good.
    """

    seconds: float | None = None


class HttpStatus(msgspec.Struct, frozen=True, kw_only=True, tag="http"):
    """The upgrade is refused.

    Attributes:
        status: the HTTP status.
        retry_after: seconds for the header ``Retry-After``; None: no such header.
    """

    status: int
    retry_after: float | None = None


class Malformed(msgspec.Struct, frozen=True, kw_only=True, tag="malformed"):
    """Something that the protocol does not allow.

    Attributes:
        how: "json": a message that is cut in the middle; "frame": a frame with a reserved opcode; "utf8": a text message
            that is none.
    """

    how: Literal["json", "frame", "utf8"] = "json"


class SlowRead(msgspec.Struct, frozen=True, kw_only=True, tag="slow-read"):
    """The service takes its time to read this connection.

    Attributes:
        rate: messages per second.
    """

    rate: float = 5.0


class NoReply(msgspec.Struct, frozen=True, kw_only=True, tag="no-reply"):
    """The model does not answer a turn, and nothing says so."""


class QuietAudio(msgspec.Struct, frozen=True, kw_only=True, tag="quiet-audio"):
    """A reply whose audio is nearly silence."""


class GoAway(msgspec.Struct, frozen=True, kw_only=True, tag="goaway"):
    """The end of the connection is announced, and comes.

    Attributes:
        time_left: seconds until it comes.
    """

    time_left: float = 10.0


class RefuseModel(msgspec.Struct, frozen=True, kw_only=True, tag="refuse-model"):
    """One model is not served.

    Attributes:
        model: its name.
    """

    model: str


class Lifetime(msgspec.Struct, frozen=True, kw_only=True, tag="lifetime"):
    """Connections live this long.

    Attributes:
        seconds: from the setup on.
    """

    seconds: float


class Latency(msgspec.Struct, frozen=True, kw_only=True, tag="latency"):
    """The path is slow in both directions, from now on.

    Attributes:
        seconds: one way.
        jitter: seconds, at most, that come on top at random. Nothing overtakes.
    """

    seconds: float
    jitter: float = 0.0


class Down(msgspec.Struct, frozen=True, kw_only=True, tag="down"):
    """New connections are reset before anything is said; what is open stays.

    Attributes:
        seconds: how long; None: for good.
    """

    seconds: float | None = None


Strike: TypeAlias = (
    Close
    | Down
    | Reset
    | Fin
    | Silence
    | HttpStatus
    | Malformed
    | SlowRead
    | NoReply
    | QuietAudio
    | GoAway
    | RefuseModel
    | Lifetime
    | Latency
)


# -- When it strikes --------------------------------------------------------------------------------------------------


class When(msgspec.Struct, frozen=True, kw_only=True):
    """The moment from which a fault may strike. Nothing given: at once.

    Attributes:
        seconds: since the service began; it strikes the newest connection then, or the next where there is none.
        messages: messages that a connection's client has sent, the setup included.
        stage: what the connection is at.
        delay: seconds since it came to that stage, in which it must stay there.
    """

    seconds: float | None = None
    messages: int | None = None
    stage: Stage | None = None
    delay: float = 0.0

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"@{self.seconds:g}s"
        if self.messages is not None:
            return f"@#{self.messages}"
        if self.stage is not None:
            return f"@{self.stage}" + (f"+{self.delay:g}s" if self.delay else "")
        return ""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a schedule.

    Attributes:
        strike: what happens.
        when: from which moment on.
        times: how many connections it strikes, each once (`NoReply`, `QuietAudio`: how many replies); None: all.
        text: as people write it.
    """

    strike: Strike
    when: When = When()
    times: int | None = 1
    text: str = ""

    def __str__(self) -> str:
        return self.text or f"{self.strike}{self.when}"


# -- How people write it ----------------------------------------------------------------------------------------------


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table of kinds.

    Attributes:
        usage: how it is written, without the moment.
        doc: what it does, one line.
        read: makes the strike of the arguments; raises ValueError where they are wrong.
        stage: where it strikes unless the moment says otherwise; None: wherever a WebSocket is open.
        times: how often, unless said otherwise; None: always.
    """

    usage: str
    doc: str
    read: Callable[[list[str]], Strike]
    stage: Stage | None = None
    times: int | None = 1


USUAL_REASONS: Mapping[int, str] = {
    1007: "Request contains an invalid argument.",
    1008: "The operation was aborted.",
    1011: "Internal error encountered.",
}
"""What the Gemini API says with a close code most often (shared experience of many clients)."""


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; expected the like of '3s', '500ms' or '10m'")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2] or "s"]


def _at_most(arguments: list[str], count: int) -> list[str | None]:
    if len(arguments) > count:
        raise ValueError(f"it takes {count or 'no'} argument{'s' * (count != 1)}, not {len(arguments)}")
    return [*arguments, *[None] * (count - len(arguments))]


def _needed(arguments: list[str], what: str) -> str:
    value = _at_most(arguments, 1)[0]
    if not value:
        raise ValueError(f"it needs {what}")
    return value


def _plain(strike: Strike) -> Callable[[list[str]], Strike]:
    def read(arguments: list[str]) -> Strike:
        _at_most(arguments, 0)
        return strike

    return read


def _silence(arguments: list[str]) -> Strike:
    seconds = _at_most(arguments, 1)[0]
    return Silence(seconds=_seconds(seconds) if seconds else None)


def _down(arguments: list[str]) -> Strike:
    seconds = _at_most(arguments, 1)[0]
    return Down(seconds=_seconds(seconds) if seconds else None)


def _malformed(arguments: list[str]) -> Strike:
    match _at_most(arguments, 1)[0]:
        case None:
            return Malformed()
        case "json" | "frame" | "utf8" as how:
            return Malformed(how=how)
        case how:
            raise ValueError(f"it has no form {how!r}; known: json, frame, utf8")


def _slow_read(arguments: list[str]) -> Strike:
    rate = _at_most(arguments, 1)[0]
    if rate is not None and not re.fullmatch(r"\d+(\.\d+)?", rate):
        raise ValueError(f"{rate!r} is not a number of messages per second")
    return SlowRead(rate=float(rate)) if rate else SlowRead()


def _go_away(arguments: list[str]) -> Strike:
    time_left = _at_most(arguments, 1)[0]
    return GoAway(time_left=_seconds(time_left)) if time_left else GoAway()


def _latency(arguments: list[str]) -> Strike:
    seconds, jitter = _at_most(arguments, 2)
    if not seconds:
        raise ValueError("it needs a duration, as in 'latency:50ms'")
    return Latency(seconds=_seconds(seconds), jitter=_seconds(jitter) if jitter else 0.0)


def _close(code: int, arguments: list[str]) -> Strike:
    reason = ":".join(arguments) if arguments else USUAL_REASONS.get(code, "")
    return Close(code=code, reason=reason)


def _http(status: int, arguments: list[str]) -> Strike:
    retry_after = _at_most(arguments, 1)[0]
    return HttpStatus(status=status, retry_after=_seconds(retry_after) if retry_after else None)


FAULTS: Mapping[str, Kind] = {
    "1011": Kind(
        usage="CODE[:REASON]",
        doc="closes the connection with this code (1000 to 4999) and reason",
        read=lambda arguments: _close(1011, arguments),
    ),
    "reset": Kind(usage="reset", doc="resets the connection", read=_plain(Reset())),
    "fin": Kind(usage="fin", doc="ends the stream without a close frame", read=_plain(Fin())),
    "silence": Kind(
        usage="silence[:SECONDS]",
        doc="keeps the connection and neither reads nor writes, for good or for so long",
        read=_silence,
    ),
    "stall-upgrade": Kind(
        usage="stall-upgrade[:SECONDS]",
        doc="does not answer the HTTP upgrade",
        read=_silence,
        stage="upgrade",
    ),
    "stall-setup": Kind(usage="stall-setup[:SECONDS]", doc="does not answer the setup", read=_silence, stage="setup"),
    "http-503": Kind(
        usage="http-STATUS[:RETRY-AFTER]",
        doc="refuses the next upgrade with this HTTP status",
        read=lambda arguments: _http(503, arguments),
        stage="upgrade",
    ),
    "down": Kind(
        usage="down[:SECONDS]",
        doc="resets new connections before anything is said, for good or for so long; open ones stay",
        read=_down,
        times=None,
    ),
    "malformed": Kind(
        usage="malformed[:json|frame|utf8]",
        doc="sends what is not of the protocol",
        read=_malformed,
        stage="live",
    ),
    "slow-read": Kind(
        usage="slow-read[:RATE]",
        doc="reads only so many messages per second (default 5)",
        read=_slow_read,
        stage="live",
    ),
    "no-reply": Kind(usage="no-reply", doc="does not answer a turn", read=_plain(NoReply())),
    "quiet-audio": Kind(usage="quiet-audio", doc="answers with audio that is nearly silence", read=_plain(QuietAudio())),
    "goaway": Kind(
        usage="goaway[:SECONDS]",
        doc="announces the end of the connection, which comes after so long (default 10 s)",
        read=_go_away,
        stage="live",
    ),
    "refuse-model": Kind(
        usage="refuse-model:NAME",
        doc="no longer serves this model",
        read=lambda arguments: RefuseModel(model=_needed(arguments, "a model's name")),
        times=None,
    ),
    "lifetime": Kind(
        usage="lifetime:SECONDS",
        doc="ends every connection after so long, announced beforehand",
        read=lambda arguments: Lifetime(seconds=_seconds(_needed(arguments, "a duration, as in 'lifetime:30s'"))),
        times=None,
    ),
    "latency": Kind(
        usage="latency:SECONDS[:JITTER]",
        doc="delays everything in both directions",
        read=_latency,
        times=None,
    ),
}
"""The kinds by name; "1011" stands for every close code, "http-503" for every HTTP status."""


def parse(text: str) -> Fault:
    """Reads a fault as people write it.

    Raises:
        UnknownName: no such kind, or no such stage; the text names the near ones.
        ConfigError: the arguments are wrong; the text says what is expected.
    """
    rest, at, moment = text.strip().rpartition("@")
    if not at:
        rest, moment = moment, ""
    name, *arguments = rest.split(":")
    kind, read = _kind(name)
    try:
        strike = read(arguments)
        when, times = _moment(moment, kind) if at else (When(stage=kind.stage), kind.times)
    except ValueError as error:
        raise ConfigError(f"fault {text!r}: {error}") from None
    return Fault(strike=strike, when=when, times=times, text=text.strip())


def _kind(name: str) -> tuple[Kind, Callable[[list[str]], Strike]]:
    if re.fullmatch(r"[1-4]\d{3}", name):
        return FAULTS["1011"], lambda arguments: _close(int(name), arguments)
    if re.fullmatch(r"http-[2-5]\d\d", name):
        return FAULTS["http-503"], lambda arguments: _http(int(name[5:]), arguments)
    if name not in FAULTS:
        raise UnknownName("fault", name, FAULTS)
    return FAULTS[name], FAULTS[name].read


def _moment(text: str, kind: Kind) -> tuple[When, int | None]:
    """Reads ``WHEN[xTIMES]``; ``x*`` means always."""
    match = re.fullmatch(r"(.*?)(?:[x×](\d+|\*))?", text)
    assert match is not None
    times = kind.times if match[2] is None else None if match[2] == "*" else int(match[2])
    moment = match[1]
    if moment.startswith("#") and moment[1:].isdecimal():
        return When(messages=int(moment[1:])), times
    if moment[:1].isdecimal():
        return When(seconds=_seconds(moment), stage=kind.stage), times
    stage, plus, delay = moment.partition("+")
    if stage not in STAGES:
        raise UnknownName("moment of a fault", moment, [*STAGES, "3s", "#20"])
    return When(stage=stage, delay=_seconds(delay) if plus else 0.0), times
