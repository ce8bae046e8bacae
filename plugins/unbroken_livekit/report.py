"""What people and tools are told: log lines, metrics and spans. No word of the conversation is in any of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.metrics.base import Metadata
from livekit.agents.telemetry import tracer

import unbroken
from unbroken.abc import Profile
from unbroken_livekit.generation import Generation
from unbroken_livekit.log import logger

__all__ = ["connected", "metrics", "opening", "provider_name", "recovered"]

_KINDS = {"AUDIO": "audio_tokens", "TEXT": "text_tokens", "IMAGE": "image_tokens", "VIDEO": "image_tokens"}

_PLATFORMS = {"gemini": "the Gemini API", "vertex": "Vertex AI"}

_CUT = {
    "continue": "a reply that was cut goes on where the caller stopped hearing it",
    "again": "a reply that was cut is given again",
    "leave": "a reply that was cut stays cut",
}


def provider_name(platform: str) -> str:
    """Returns a platform's name as LiveKit's google plugin gives it in metrics and spans."""
    return {"gemini": "Gemini", "vertex": "Vertex AI"}.get(platform, platform)


def opening(targets: Sequence[unbroken.Target], profile: Profile, *, settings: unbroken.Settings, policy: str) -> None:
    """Says where the session is going to go, and what would be done at a fault."""
    first, *others = targets
    region = first.options.get("location") or first.label
    place = _PLATFORMS.get(profile.platform, profile.platform) + (f", {region}" if region else "")
    logger.info(
        "connecting to %s: model %s on %s, resumption %s",
        first.name,
        profile.model,
        place,
        "on" if profile.resumption else "off",
    )
    crossing = "resume by handle, by history where there is none" if profile.resumption else "carry the history over"
    then = f"; fail over to {', then '.join(target.name for target in others)}" if others else "; no other target"
    logger.info(
        "at a fault: %s%s; %s; escalate after %g s (policy: %s)",
        crossing,
        then,
        _CUT[settings.on_cut_reply],
        settings.patience,
        policy,
    )


def connected(event: unbroken.Connected) -> None:
    """Says that the first link is up."""
    because = f" ({event.because})" if event.because else ""
    logger.info("connected to %s in %.0f ms%s", event.target, event.steps.total_ms, because)


def recovered(event: unbroken.Recovered, outages: Sequence[unbroken.OutageBegan], *, names: Sequence[str]) -> None:
    """Says in one line what an outage was and what was done, and leaves a span of it with LiveKit's attributes."""
    faults = ", ".join(one.fault.kind for one in outages) or "none"
    decisions = ", ".join(type(one.decision).__name__.lower() for one in outages) or "none"
    because = outages[-1].because if outages else ""
    total = event.steps.total_ms
    logger.info(
        "recovered: fault %s, decision %s, outage %.0f ms, on %s by %s, user audio lost %.0f ms, reply %s; because: %s",
        faults,
        decisions,
        total,
        event.target,
        event.carry,
        event.lost_ms,
        event.reply,
        because,
    )
    attributes: dict[str, str | int | bool] = {
        "lk.fallback.label": event.target,
        "lk.fallback.index": names.index(event.target) if event.target in names else 0,
        "lk.retry_count": event.attempts,
        "unbroken.fault": faults,
        "unbroken.decision": decisions,
    }
    now = time.time_ns()
    span = tracer.start_span("realtime_recovery", start_time=now - int(total * 1e6), attributes=attributes)
    span.end(end_time=now)


def metrics(usage: unbroken.Usage, generation: Generation, *, label: str, model: str, provider: str) -> RealtimeModelMetrics:
    """Returns the tokens of a generation as LiveKit counts them; its request id is the response's."""
    duration = generation.duration
    return RealtimeModelMetrics(
        label=label,
        request_id=generation.id,
        timestamp=generation.created_at,
        duration=duration,
        ttft=generation.ttft,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        tokens_per_second=usage.output_tokens / duration if duration > 0 else 0.0,
        input_token_details=RealtimeModelMetrics.InputTokenDetails(
            cached_tokens=usage.cached_tokens, **_details(usage.input_details)
        ),
        output_token_details=RealtimeModelMetrics.OutputTokenDetails(**_details(usage.output_details)),
        metadata=Metadata(model_name=model, model_provider=provider),
    )


def acquired(seconds: float, *, label: str, model: str, provider: str) -> RealtimeModelMetrics:
    """Returns how long the first connection took, as LiveKit counts it."""
    return RealtimeModelMetrics(
        label=label,
        request_id="",
        timestamp=time.time(),
        acquire_time=seconds,
        input_token_details=RealtimeModelMetrics.InputTokenDetails(),
        output_token_details=RealtimeModelMetrics.OutputTokenDetails(),
        metadata=Metadata(model_name=model, model_provider=provider),
    )


def _details(by_modality: Mapping[str, int]) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    for modality, tokens in by_modality.items():
        if (kind := _KINDS.get(modality)) is not None:
            counted[kind] = counted.get(kind, 0) + tokens
    return counted
