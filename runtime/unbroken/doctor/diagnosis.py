"""What a session's beginning comes to, as findings; and what its end means where the checks know more than it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from unbroken.abc import Finding
from unbroken.config import Deadlines
from unbroken.core.classify import SURE
from unbroken.core.defaults import DEFAULTS
from unbroken.decisions import Closure, Fault, FaultKind
from unbroken.doctor.probe import HANDLE_WAIT, Seen
from unbroken.events import OutageBegan, Steps

__all__ = ["diagnosed", "failure", "findings_of", "softened"]

_EXPLAINS: Final[Mapping[FaultKind, tuple[str, ...]]] = {
    "model": ("model", "listed"),
    "config": ("config",),
    "auth": ("credential", "environment"),
}
"""Which checks may have found why a setup is refused for such a fault."""

_SLOW: Final = 0.5
"""Share of its deadline from which a step of the handshake is worth a warning."""

_STEPS: Final[Mapping[str, str]] = {
    "credential": "credential",
    "dial": "dial",
    "tls": "TLS",
    "upgrade": "upgrade",
    "setup": "setup",
}
"""The steps of a handshake, each with a deadline of its name, and as people call them."""


# -- A link that failed -----------------------------------------------------------------------------------------------


def diagnosed(outage: OutageBegan, known: Sequence[Finding]) -> Fault:
    """Returns what the end of a link means, by the rules and by what the provider found before.

    A setup that ends with 1008 or 1011 and without clear words is a model that is not served, where that is known of it
    (livekit/agents#4414 and most reports of 1011 before a first success); the rules alone take it for an internal error.

    Args:
        outage: the end, as the runtime saw it.
        known: what the provider's own checks found.
    """
    fault = outage.fault
    vague = fault.kind in ("server", "unknown", "model") and (fault.confidence < SURE or fault.kind == "unknown")
    cause = _explanation("model", known)
    if cause is None or not vague or outage.closure.phase != "setup" or outage.closure.ending.code not in (1008, 1011):
        return fault
    return msgspec.structs.replace(fault, kind="model", because=cause.said, advice=cause.fix)


def failure(outage: OutageBegan, fault: Fault, known: Sequence[Finding]) -> Finding:
    """Says why a link failed: in what the provider found before, where that explains it, else in the rule's own words.

    Args:
        outage: the end, as the runtime saw it.
        fault: what it means; see `diagnosed`.
        known: what the provider's own checks found.
    """
    closure, cause = outage.closure, _explanation(fault.kind, known)
    told = closure.ending.describe()
    fix = fault.advice or DEFAULTS[fault.kind].advice or "Examine it again, and ask the provider where it stays so."
    if cause is not None:
        said = f"The {closure.phase} ended with {told}: {cause.said}"
        fix = cause.fix or fix
    else:
        said = fault.because if _tells(fault.because, closure) else f"{fault.because.rstrip('.')} ({told})."
    return Finding(check=_check(closure), verdict="problem", said=said, fix=fix)


def _explanation(kind: FaultKind, known: Sequence[Finding]) -> Finding | None:
    """Returns the worst of what the provider found that explains such a fault, the first where several are."""
    checks = _EXPLAINS.get(kind, ())
    bad = [finding for finding in known if finding.check in checks and finding.verdict != "ok"]
    return next((finding for finding in bad if finding.verdict == "problem"), bad[0] if bad else None)


def _tells(because: str, closure: Closure) -> bool:
    """Says whether a rule's sentence has all that is known: the peer's words, or what the operating system said."""
    ending = closure.ending
    if ending.cause in ("reset", "eof") or (ending.cause is not None and not ending.reason):
        return True
    return bool(ending.reason) and ending.reason in because


def _check(closure: Closure) -> str:
    return "credential" if closure.ending.cause in ("credential", "credential_deadline") else closure.phase


def softened(known: Iterable[Finding]) -> Sequence[Finding]:
    """Takes what was expected to break calls for a warning, since the service has just accepted it."""
    return [
        msgspec.structs.replace(finding, verdict="warning", said=f"{finding.said} The service takes it all the same.")
        if finding.verdict == "problem"
        else finding
        for finding in known
    ]


# -- A link that came up ----------------------------------------------------------------------------------------------


def findings_of(seen: Seen, *, known: Sequence[Finding], deadlines: Deadlines, resumption: bool) -> Sequence[Finding]:
    """Says what came of a link that came up.

    Args:
        seen: what was seen of its session.
        known: what the provider's own checks found.
        deadlines: that production gives each step.
        resumption: the model can be resumed.
    """
    assert seen.connected is not None
    found: list[Finding] = []
    if seen.connected.link > 1:
        first = seen.outages[0]
        failed = failure(first, diagnosed(first, known), known)
        said = f"The service accepted the setup at the second try. The first: {failed.said}"
        found.append(Finding(check="setup", verdict="warning", said=said, fix=failed.fix))
    else:
        found.append(Finding(check="setup", said="The service accepted the setup."))
    found.append(_handshake(seen.connected.steps, deadlines))
    if later := seen.outages[seen.connected.link - 1 :]:
        lost = failure(later[-1], diagnosed(later[-1], known), known)
        if seen.escalated is not None:
            said = f"The service accepted the setup, and the link ended soon after. {lost.said}"
            return [*found, msgspec.structs.replace(lost, check="link", said=said)]
        said = f"A link ended soon after it had come up, and the next one stayed. {lost.said}"
        found.append(Finding(check="link", verdict="warning", said=said, fix=lost.fix))
    if resumption:
        found.append(_resumption(seen))
    if seen.asked_at is not None:
        found.append(_reply(seen, since=seen.asked_at))
    return found


def _handshake(steps: Steps, deadlines: Deadlines) -> Finding:
    took = {name: getattr(steps, f"{name}_ms") for name in _STEPS}
    listed = ", ".join(f"{_STEPS[name]} {ms:.0f} ms" for name, ms in took.items() if ms >= 0.5 or name in ("dial", "setup"))
    said = f"{listed}: {sum(took.values()):.0f} ms in all."
    slow = [name for name, ms in took.items() if ms / 1000 > _SLOW * getattr(deadlines, name)]
    if not slow:
        return Finding(check="handshake", said=said)
    bounds = " and ".join(f"{getattr(deadlines, name):g} s for {_STEPS[name]}" for name in slow)
    said = f"{said} That is more than half of what a session allows ({bounds})."
    fix = f"Look for a nearer region or a faster way out, or raise {' and '.join(f'Deadlines.{name}' for name in slow)}."
    return Finding(check="handshake", verdict="warning", said=said, fix=fix)


def _resumption(seen: Seen) -> Finding:
    if seen.handle_at is not None:
        after = (seen.handle_at - seen.connected_at) * 1000
        return Finding(check="resumption", said=f"A resumption handle came, {after:.0f} ms after the setup.")
    if seen.asked_at is not None:
        said = "No resumption handle came, not even after a reply: a reconnect can only tell the history in words."
        fix = "Turn transcription on, so that there is a history, and see whether this model and account offer resumption."
        return Finding(check="resumption", verdict="warning", said=said, fix=fix)
    said = f"No resumption handle came within {HANDLE_WAIT:g} s of the setup; some services give the first after a turn."
    return Finding(check="resumption", verdict="warning", said=said, fix="Ask for a reply too (--speak) to be sure.")


def _reply(seen: Seen, *, since: float) -> Finding:
    if seen.tool:
        return Finding(check="reply", said=f"The model asked for the tool {seen.tool!r}, which was not called here.")
    if not seen.answered or seen.reply is None or seen.reply_at is None:
        fix = "Try again; where it stays so, try the setup without tools and instructions, or another model."
        return Finding(check="reply", verdict="problem", said="The model gave no whole reply.", fix=fix)
    words = " ".join(seen.words.split())
    quoted = f": “{words[:80]}{'…' if len(words) > 80 else ''}”" if words else ""
    speech = f", {seen.reply.received_ms / 1000:.1f} s of speech" if seen.reply.received_ms else ""
    said = f"The model replied after {(seen.reply_at - since) * 1000:.0f} ms{speech}{quoted or '.'}"
    return Finding(check="reply", said=said)
