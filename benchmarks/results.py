"""What the suite measures, as data: one file of results holds everything that its report, its table and `compare` show.

Times are milliseconds unless a name says otherwise; None means that there is nothing to measure, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = ["Anatomy", "Call", "Contender", "Cost", "Machine", "Outcome", "Reply", "Results", "Scenario", "read", "write"]

VERSION = 1

Outcome = Literal["kept", "degraded", "silent", "ended", "failed"]
"""What became of the call: kept, the caller noticed a pause at most; degraded, it goes on and something was lost (speech, a
reply, a tool's result); silent, the session is open and does not answer any more; ended, the session ended and said so;
failed, the contender raised, or its process died."""

Reply = Literal["whole", "carried_on", "again", "cut", "none", "not_owed"]
"""What the caller heard of the reply that the fault struck: all of it without a seam, the rest after a pause, all of it a
second time, the beginning only, nothing; or the scenario owed none."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured.

    Attributes:
        system: the operating system and its version.
        processor: its name.
        cores: that the benchmark may use.
        memory_mib: of the machine.
        python: its version and implementation.
        noise: how much a fixed piece of work varied just before the run: (p95 - p50) / p50 of its CPU time.
    """

    system: str
    processor: str
    cores: int
    memory_mib: int
    python: str
    noise: float


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """Who was measured.

    Attributes:
        name: in tables ("google-genai", "pipecat"); unique together with `settings`.
        settings: "default" as installed, or "tuned": the best that its own documentation names.
        what: one sentence: what was built with it, and with which settings.
        versions: of its packages, as they were installed in its environment.
        file: where its adapter can be corrected, from the project's root.
        missing: why it was not run at all (it did not install, …); "": it was.
    """

    name: str
    settings: Literal["default", "tuned"] = "default"
    what: str
    versions: Mapping[str, str] = {}
    file: str
    missing: str = ""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A row.

    Attributes:
        name: short, for the command line; unique.
        what: what happens, for people, in one sentence.
        group: under which heading it stands ("closes", "path", "announced", "setup", "targets", "tools", "many").
        faults: as `unbroken.testing.faults` reads them, for whoever wants to play it.
        rtt: emulated round trip.
    """

    name: str
    what: str
    group: str
    faults: tuple[str, ...] = ()
    rtt: float = 0.0


class Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """One outage, step by step. All but the first two is seen by the service, hence the same for every contender.

    Attributes:
        detect: from the fault until the contender knew, by its own word; None: it does not say.
        decide: from there until it dialled; None: it does not say.
        notice: from the fault to the first connection that came of it: detect, decide and waiting together.
        failed: from there to the begin of the connection that came up: attempts that came to nothing, and their pauses.
        dial: TCP of the connection that came up.
        tls: its TLS handshake.
        upgrade: its HTTP upgrade.
        setup: from the upgrade's end to the service's setupComplete.
        audio: from there to the first of the user's audio that the service took on it.
        reply: from there to the first audio of a reply that was sent on it.
    """

    detect: float | None = None
    decide: float | None = None
    notice: float | None = None
    failed: float | None = None
    dial: float | None = None
    tls: float | None = None
    upgrade: float | None = None
    setup: float | None = None
    audio: float | None = None
    reply: float | None = None

    @property
    def reconnect(self) -> float | None:
        """From the fault to the first of the user's audio that was taken again; None: that did not happen."""
        steps = (self.notice, self.failed, self.dial, self.tls, self.upgrade, self.setup, self.audio)
        return None if self.audio is None else sum(step for step in steps if step is not None)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one scenario, once.

    Attributes:
        contender: its name.
        settings: "default" or "tuned".
        scenario: its name.
        seed: with which the call can be held again.
        cannot: why the contender has no way to do this scenario; then nothing else is set.
        outcome: what became of the call.
        anatomy: of the outage; None: there was none to see.
        speech: of the user's speech that was said.
        lost: of it, what the model that serves in the end knows in no form.
        told: of it, what that model knows as a transcript only.
        repeated: of the user's audio, what that model heard twice.
        late: of it, what came for the first time more than a second after it was said.
        silence: the longest time in which the caller was owed an answer and heard nothing, beyond that of the same call
            without a fault where that was measured.
        reply: the one that the fault struck.
        replies_owed: whole replies that the caller was owed.
        replies_heard: of them, those that the caller heard to the last word.
        tool_owed: how often the tool should have run.
        tool_runs: how often it did.
        tool_known: the model that serves in the end knows its result; None: there was no tool.
        context: the model that serves in the end knows what was said before the fault; None: nothing was said before.
        attempts: connections that were begun after the fault.
        attempts_per_second: the most of them within one second.
        raised: what the contender raised, or its last words; "": nothing.
        lag: the longest that the contender's loop was late, or the services'; a large one makes the call doubtful.
    """

    contender: str
    settings: Literal["default", "tuned"] = "default"
    scenario: str
    seed: int = 0
    cannot: str = ""
    outcome: Outcome | None = None
    anatomy: Anatomy | None = None
    speech: float | None = None
    lost: float | None = None
    told: float | None = None
    repeated: float | None = None
    late: float | None = None
    silence: float | None = None
    reply: Reply = "not_owed"
    replies_owed: int = 0
    replies_heard: int = 0
    tool_owed: int = 0
    tool_runs: int = 0
    tool_known: bool | None = None
    context: bool | None = None
    attempts: int = 0
    attempts_per_second: int = 0
    raised: str = ""
    lag: float | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of what running costs.

    Attributes:
        group: under which heading it stands ("CPU per session-second", "memory per session", "stages of a frame", …).
        name: what was measured ("8 sessions", "journal: append").
        contender: whose; "floor": a bare loop that only encodes, sends, receives and decodes.
        unit: "ms", "µs", "KiB", ….
        value: the median.
        least: the lowest of the rounds.
        most: the highest.
        floor: the floor's median in the same run; None: there is none.
        goal: what `value / floor`, or `value` where there is no floor, should not exceed; None: there is no goal.
        rising: more is better; False: less is.
        command: prints this figure again.
    """

    group: str
    name: str
    contender: str
    unit: str
    value: float
    least: float
    most: float
    floor: float | None = None
    goal: float | None = None
    rising: bool = False
    command: str = ""

    @property
    def met(self) -> bool | None:
        """The goal is reached; None: there is none."""
        if self.goal is None:
            return None
        return (self.value if self.floor is None else self.value / self.floor) <= self.goal


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the suite.

    Attributes:
        version: of this form.
        made: when it began, ISO 8601, UTC.
        seconds: how long it took.
        quick: it was run for being alive: its figures say little.
        command: as it was started.
        seed: of everything that is random.
        machine: where.
        contenders: who, in the order of the tables.
        scenarios: the rows, in order.
        calls: every call.
        costs: what running costs.
    """

    version: int = VERSION
    made: str
    seconds: float
    quick: bool = False
    command: str
    seed: int
    machine: Machine
    contenders: tuple[Contender, ...]
    scenarios: tuple[Scenario, ...]
    calls: tuple[Call, ...]
    costs: tuple[Cost, ...] = ()


def write(results: Results) -> bytes:
    """Encodes results, one call and one cost a line, so that files can be compared by line too."""
    encoded = msgspec.json.encode(results)
    return encoded.replace(b'{"contender"', b'\n{"contender"').replace(b'{"group"', b'\n{"group"') + b"\n"


def read(data: bytes) -> Results:
    """Decodes results.

    Raises:
        ValueError: they are none, or of another version; the text says what would work.
    """
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
    except (msgspec.DecodeError, msgspec.ValidationError) as failed:
        raise ValueError(f"this is no file of results (python -m benchmarks --out FILE writes one): {failed}") from None
    if version != VERSION:
        raise ValueError(f"these results have version {version}, and this suite reads version {VERSION}: run it again")
    return msgspec.json.decode(data, type=Results)


class _Versioned(msgspec.Struct):
    version: int
