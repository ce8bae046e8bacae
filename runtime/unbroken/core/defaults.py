"""The default decisions as data: per fault, what is tried in which order. `unbroken.core.policy` reads this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from unbroken.core.fleet import QUOTA_COOL_DOWN
from unbroken.decisions import FaultKind

__all__ = ["CEILING", "DEFAULTS", "RESERVE", "SLOW_START", "Act", "Default", "Step"]


Act = Literal["resume", "fresh", "fail over", "wait", "escalate", "finish"]
"""``resume``: the same target by its handle, or with the history where no handle is held. ``fresh``: the same target with
the history. ``fail over``: another target. ``wait``: until a spent quota or a cool-down is over, here or elsewhere."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to try. It is passed over where it cannot be done, or where its bounds are reached.

    Attributes:
        id: names the step in decisions (`Retry.rule` and so on).
        act: what is done.
        because: one plain sentence; ``{target}``, ``{when}`` and ``{carry}`` are filled in.
        failures_below: only while fewer links to this target have failed in a row, the last one included; 0: always.
        handle_below: only while fewer links have failed with the handle that is held; 0: always.
        useful: only where something useful had come on the link that ended.
        unconfirmed: only where the peer may still hold the socket before.
        unlived_from: only where so many links to this target in a row or more ended before they were live, and where another
            target is at hand: one that may be dialled now, with its breaker closed (or half-open, where `slower_than` is
            given) and with room for the whole history; 0: always.
        slower_than: only where the link that ended had lived for longer, in seconds.
        rules: only where one of these rules found the fault, by their ids; empty: any.
        unsure: only where the rule that found the fault is not sure of it (`unbroken.core.classify.SURE`).
        pace: "backoff" is at once and then full jitter; "soon" is at once and then after 50 ms; "handle" leaves the service
            time to let go of the old socket.
    """

    id: str
    act: Act
    because: str
    failures_below: int = 0
    handle_below: int = 0
    useful: bool = False
    unconfirmed: bool = False
    unlived_from: int = 0
    slower_than: float = 0.0
    rules: tuple[str, ...] = ()
    unsure: bool = False
    pace: Literal["backoff", "soon", "handle"] = "backoff"


class Default(msgspec.Struct, frozen=True, kw_only=True):
    """One fault's row.

    Attributes:
        meaning: the fault in a few words.
        steps: what is tried, in order; the first that can be done is the decision. Where none can, the session escalates.
        advice: for people, where the rule that found the fault has none.
    """

    meaning: str
    steps: tuple[Step, ...]
    advice: str


SLOW_START: Final = 1.0
"""Seconds after which a link that fails before it was live is not tried again where another target is at hand: a caller
notices a second of silence, and what was said is too old to be answered after ten."""

CEILING: Final = 1.0
"""Seconds: the ceiling of the backoff. Somebody is on the line and hears nothing, so what is back is to be found within a
second. It is no burden to a service that fails for all: the breaker of each target then lets one dial of the whole runtime
through, after 1 s and then every 2 s."""

REFUSALS: Final = ("refused", "reset", "eof", "tls")
"""Rules by which a path is seen to be broken by the far end, before the link is live: where this side's own network is down,
names are not found, nothing is reachable, or nothing comes back."""

RESERVE: Final = 8
"""Links that are left at which the ceiling is stretched, so that they last for the patience that is left."""

_ELSEWHERE: Final = "; the conversation moves to {target} {when}, {carry}."
_AGAIN: Final = "; {target} is dialled again {when}, {carry}."
_KEEP_TRYING: Final = "There is no other target to go to" + _AGAIN
_WAITED: Final = "It has cost the caller seconds without coming up, and another target is at hand"
_SPENT: Final = "Nothing else is usable before that; {target} is dialled {when}, {carry}."


def _give_up(kind: FaultKind) -> Step:
    return Step(id=f"{kind}-escalate", act="escalate", because="That does not pass by itself, and there is no other target.")


def _wait(kind: FaultKind) -> Step:
    return Step(id=f"{kind}-wait", act="wait", because=_SPENT)


_SERVER: Final = (
    Step(
        id="server-elsewhere",
        act="fail over",
        unlived_from=2,
        because="This target refuses again before it has come up, and another one is at hand" + _ELSEWHERE,
    ),
    Step(
        id="server-once-more",
        act="resume",
        failures_below=3,
        unlived_from=1,
        pace="soon",
        because="Such a refusal often passes, and if it does not, another target is at hand" + _AGAIN,
    ),
    Step(id="server-resume", act="resume", failures_below=3, because="Such a fault often passes" + _AGAIN),
    Step(id="server-failover", act="fail over", because="This target keeps failing" + _ELSEWHERE),
    Step(id="server-hold", act="resume", because=_KEEP_TRYING),
    _wait("server"),
)

DEFAULTS: Final[Mapping[FaultKind, Default]] = {
    "closed": Default(
        meaning="this side ended it",
        steps=(Step(id="closed-finish", act="finish", because="The application wanted this end."),),
        advice="",
    ),
    "planned": Default(
        meaning="the announced or documented end of a connection's life, after something useful had come on it; without"
        " anything useful it counts as `server`",
        steps=(
            Step(id="planned-resume", act="resume", because="Connections end like this in good order" + _AGAIN),
            Step(id="planned-failover", act="fail over", because="This target is not to be dialled now" + _ELSEWHERE),
            _wait("planned"),
        ),
        advice="",
    ),
    "network": Default(
        meaning="the path broke: reset, no close frame, DNS, TLS, refused",
        steps=(
            Step(
                id="network-elsewhere",
                act="fail over",
                unlived_from=1,
                slower_than=SLOW_START,
                because=_WAITED + _ELSEWHERE,
            ),
            Step(
                id="network-refused-elsewhere",
                act="fail over",
                rules=REFUSALS,
                unlived_from=2,
                because="The host is there and lets nobody in again, and another target is at hand" + _ELSEWHERE,
            ),
            Step(
                id="network-refused-once-more",
                act="resume",
                rules=REFUSALS,
                unlived_from=1,
                failures_below=3,
                pace="soon",
                because="A host that restarts lets nobody in for a moment; if that does not pass, another target is at hand"
                + _AGAIN,
            ),
            Step(id="network-resume", act="resume", failures_below=8, because="Broken paths heal" + _AGAIN),
            Step(id="network-resume-again", act="resume", useful=True, because="The path had healed before" + _AGAIN),
            Step(id="network-failover", act="fail over", because="The way to this target stays broken" + _ELSEWHERE),
            Step(id="network-hold", act="resume", because=_KEEP_TRYING),
            _wait("network"),
        ),
        advice="Check the network between this process and the service, name service and proxies included.",
    ),
    "hung": Default(
        meaning="open but dead: no setupComplete, no pong and no data, no reply to a finished turn",
        steps=(
            Step(
                id="hung-elsewhere",
                act="fail over",
                unlived_from=1,
                slower_than=SLOW_START,
                because=_WAITED + _ELSEWHERE,
            ),
            Step(
                id="hung-resume",
                act="resume",
                failures_below=3,
                handle_below=1,
                because="It may be this connection only" + _AGAIN,
            ),
            Step(id="hung-fresh", act="fresh", failures_below=3, because="The handle may be what it hangs on" + _AGAIN),
            Step(id="hung-failover", act="fail over", because="This target keeps hanging" + _ELSEWHERE),
            Step(id="hung-hold", act="fresh", because=_KEEP_TRYING),
            _wait("hung"),
        ),
        advice="The service takes connections and does not answer; see its status page, or give the route another target.",
    ),
    "server": Default(
        meaning="the provider's internal fault or outage",
        steps=_SERVER,
        advice="See the provider's status page; a second target, of another model family or provider, would carry the call.",
    ),
    "quota": Default(
        meaning="rate, quota or concurrency limit",
        steps=(
            Step(id="quota-failover", act="fail over", because="Another target has a quota of its own" + _ELSEWHERE),
            Step(
                id="quota-wait",
                act="wait",
                because=f"Quotas come back (after {QUOTA_COOL_DOWN:g} s where the peer names no time)" + _AGAIN,
            ),
            Step(
                id="quota-escalate",
                act="escalate",
                because="The quota comes back after the session's patience is over, and no other target has one of its own.",
            ),
        ),
        advice="Ask for more quota, or give the route a target with a quota of its own.",
    ),
    "model": Default(
        meaning="the model is not served here: wrong name, wrong platform or region, retired",
        steps=(
            Step(id="model-failover", act="fail over", because="Trying again would not help" + _ELSEWHERE),
            Step(
                id="model-hold",
                act="resume",
                unsure=True,
                because="It may yet be a fault of the service that passes" + _AGAIN,
            ),
            _wait("model"),
            _give_up("model"),
        ),
        advice="Check the model's name, platform and region.",
    ),
    "config": Default(
        meaning="the setup or a message does not suit this model",
        steps=(
            Step(id="config-failover", act="fail over", because="Another model may take what this one refuses" + _ELSEWHERE),
            Step(
                id="config-once-more",
                act="fresh",
                failures_below=2,
                useful=True,
                unsure=True,
                because="The model had taken this setup before, and the refusal does not say what it is about" + _AGAIN,
            ),
            _wait("config"),
            _give_up("config"),
        ),
        advice="Check the setup against what the model takes.",
    ),
    "auth": Default(
        meaning="credential, permission, billing, location",
        steps=(
            Step(id="auth-failover", act="fail over", because="Another target has other credentials" + _ELSEWHERE),
            _wait("auth"),
            Step(
                id="auth-escalate",
                act="escalate",
                because="A person has to put the credential right, and no other target has one of its own.",
            ),
        ),
        advice="Check the credential, its permissions and the billing of its project.",
    ),
    "handle": Default(
        meaning="the resumption handle was refused or is poisoned",
        steps=(
            Step(
                id="handle-again",
                act="resume",
                handle_below=6,
                unconfirmed=True,
                pace="handle",
                because="The old connection may still be open at the service" + _AGAIN,
            ),
            Step(id="handle-once-more", act="resume", handle_below=2, because="It may have been a passing fault" + _AGAIN),
            Step(id="handle-fresh", act="fresh", failures_below=10, because="The handle is given up" + _AGAIN),
            Step(id="handle-failover", act="fail over", because="This target keeps failing" + _ELSEWHERE),
            Step(id="handle-hold", act="fresh", because=_KEEP_TRYING),
            _wait("handle"),
        ),
        advice="The service refuses to resume and a fresh start fails as well; see the provider's status page.",
    ),
    "context": Default(
        meaning="the context window is full",
        steps=(
            Step(id="context-fresh", act="fresh", failures_below=3, because="A shorter history fits" + _AGAIN),
            Step(id="context-failover", act="fail over", because="Another model may have more room" + _ELSEWHERE),
            _wait("context"),
            _give_up("context"),
        ),
        advice="Shorten the system instruction and the tools, or let the provider compress the context.",
    ),
    "input": Default(
        meaning="something this side sent was refused",
        steps=(
            Step(id="input-resume", act="resume", failures_below=3, because="What was refused is not sent again" + _AGAIN),
            Step(id="input-failover", act="fail over", because="Another model may take it" + _ELSEWHERE),
            _wait("input"),
            _give_up("input"),
        ),
        advice="Check what was sent last against what the model takes.",
    ),
    "protocol": Default(
        meaning="the peer broke the protocol, or a frame was over a limit",
        steps=(
            Step(id="protocol-resume", act="resume", failures_below=2, because="It may not happen again" + _AGAIN),
            Step(id="protocol-failover", act="fail over", because="It happened again" + _ELSEWHERE),
            Step(id="protocol-hold", act="resume", because=_KEEP_TRYING),
            _wait("protocol"),
        ),
        advice="Check the endpoint's URL and what stands between here and the service; report it if all of that is right.",
    ),
    "unknown": Default(
        meaning="no rule fits; decided as `server`, and reported so that a rule can be added",
        steps=_SERVER,
        advice="Report this end, so that a rule can be added.",
    ),
}
"""The default policy, whole."""
