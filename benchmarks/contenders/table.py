"""Who takes part, as data: one row per contender and settings. Its adapter is the place to correct how it is set up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

__all__ = ["ROWS", "Row", "named"]

_OURS = (".[gemini,livekit]",)
_GENAI = ("google-genai>=3.4,<4", "tenacity>=9.1,<10")
_LIVEKIT = ("livekit-agents>=1.7,<1.9", "livekit-plugins-google>=1.7,<1.9")
_PIPECAT = ("pipecat-ai[google]>=1.14,<2",)
_ADK = ("google-adk>=2.13,<3",)
_PYDANTIC = ("pydantic-ai-slim[google]>=2.68,<3",)
_STRANDS = ("strands-agents[bidi-google]>=1.62,<2",)

# The tuned rows' pings every 2 s suit the simulated service, which answers them at once. The real one is reported to answer
# up to half a minute late, and there they would end healthy connections.
_ADK_TOOLS = (
    "on 2.5 models it runs a tool once turnComplete has come, which the simulated service sends behind the answer only;"
    " on 3.x models it runs it at once"
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A contender.

    Attributes:
        name: in tables; unique together with `settings`.
        settings: "default": as its own examples have it; "tuned": the best that its documentation names.
        what: one sentence: what was built with it, and with which settings.
        module: its adapter, in this folder.
        requirements: for pip; a "." is this checkout.
        imports: modules without which it cannot run in an environment that was not made for it.
        packages: whose versions are told.
        backup: it can use a second target.
        tools: it can call tools.
        cannot: scenarios that it has no way to do, by name, and why.
    """

    name: str
    settings: Literal["default", "tuned"] = "default"
    what: str
    module: str
    requirements: Sequence[str]
    imports: Sequence[str]
    packages: Sequence[str]
    backup: bool = False
    tools: bool = True
    cannot: Mapping[str, str] = {}

    @property
    def file(self) -> str:
        """Where its adapter is, from the checkout's root."""
        return f"benchmarks/contenders/{self.module}.py"

    @property
    def ours(self) -> bool:
        """It is this project."""
        return any(requirement.startswith(".") for requirement in self.requirements)


ROWS: Sequence[Row] = (
    Row(
        name="unbroken",
        what="unbroken.connect over a route of two targets, with its defaults",
        module="unbroken_direct",
        requirements=_OURS,
        imports=("unbroken", "unbroken_gemini", "google.genai"),
        packages=("unbroken", "google-genai", "websockets", "anyio"),
        backup=True,
    ),
    Row(
        name="unbroken in LiveKit",
        what="unbroken_livekit.RealtimeModel with its defaults and one fallback, in an AgentSession",
        module="unbroken_livekit",
        requirements=_OURS,
        imports=("unbroken_livekit", "google.genai", "livekit.agents"),
        packages=("unbroken", "livekit-agents", "google-genai"),
        backup=True,
    ),
    Row(
        name="google-genai",
        what="client.aio.live.connect in a loop: after each end it waits a second and connects anew, and keeps nothing",
        module="google_genai",
        requirements=_GENAI,
        imports=("google.genai",),
        packages=("google-genai", "websockets"),
    ),
    Row(
        name="google-genai, tenacity",
        what="the same with resumption handles, reconnected by tenacity with random exponential waits",
        module="google_genai_tenacity",
        requirements=_GENAI,
        imports=("google.genai", "tenacity"),
        packages=("google-genai", "tenacity", "websockets"),
    ),
    Row(
        name="google-genai, tenacity",
        settings="tuned",
        what="that, and context compression, leaving on goAway when the model has finished, and pings every 2 s",
        module="google_genai_tenacity",
        requirements=_GENAI,
        imports=("google.genai", "tenacity"),
        packages=("google-genai", "tenacity", "websockets"),
    ),
    Row(
        name="livekit google",
        what="livekit-plugins-google's RealtimeModel with its defaults, in an AgentSession",
        module="livekit_google",
        requirements=_LIVEKIT,
        imports=("livekit.plugins.google", "livekit.agents"),
        packages=("livekit-plugins-google", "livekit-agents", "google-genai"),
    ),
    Row(
        name="livekit google",
        settings="tuned",
        what="that with pings every 2 s, bounds on dialling and closing, ten retries a second apart, context compression",
        module="livekit_google",
        requirements=_LIVEKIT,
        imports=("livekit.plugins.google", "livekit.agents"),
        packages=("livekit-plugins-google", "livekit-agents", "google-genai"),
    ),
    Row(
        name="livekit fallback adapter",
        what="llm.RealtimeModelFallbackAdapter over two of livekit-plugins-google's models with their defaults",
        module="livekit_adapter",
        requirements=_LIVEKIT,
        imports=("livekit.plugins.google", "livekit.agents"),
        packages=("livekit-agents", "livekit-plugins-google", "google-genai"),
        backup=True,
    ),
    Row(
        name="livekit fallback adapter",
        settings="tuned",
        what="the same over two tuned models, which try once more before it moves on",
        module="livekit_adapter",
        requirements=_LIVEKIT,
        imports=("livekit.plugins.google", "livekit.agents"),
        packages=("livekit-agents", "livekit-plugins-google", "google-genai"),
        backup=True,
    ),
    Row(
        name="pipecat",
        what="GeminiLiveLLMService with its defaults, between a transport and the context aggregators",
        module="pipecat_gemini",
        requirements=_PIPECAT,
        imports=("pipecat.services.google.gemini_live.llm",),
        packages=("pipecat-ai", "google-genai", "websockets"),
    ),
    Row(
        name="pipecat",
        settings="tuned",
        what="that with context compression and pings every 2 s",
        module="pipecat_gemini",
        requirements=_PIPECAT,
        imports=("pipecat.services.google.gemini_live.llm",),
        packages=("pipecat-ai", "google-genai", "websockets"),
    ),
    Row(
        name="google-adk",
        what="Runner.run_live with one agent and RunConfig's defaults, hence without session resumption",
        module="google_adk",
        requirements=_ADK,
        imports=("google.adk.runners",),
        packages=("google-adk", "google-genai", "websockets"),
        cannot={"tool": _ADK_TOOLS, "tool_pending": _ADK_TOOLS},
    ),
    Row(
        name="google-adk",
        settings="tuned",
        what="that with session_resumption, context_window_compression and pings every 2 s",
        module="google_adk",
        requirements=_ADK,
        imports=("google.adk.runners",),
        packages=("google-adk", "google-genai", "websockets"),
        cannot={"tool": _ADK_TOOLS, "tool_pending": _ADK_TOOLS},
    ),
    Row(
        name="pydantic-ai",
        what="Agent.realtime(GoogleRealtimeModel).session() with its defaults, hence without a reconnect policy",
        module="pydantic_ai_realtime",
        requirements=_PYDANTIC,
        imports=("pydantic_ai.realtime.google",),
        packages=("pydantic-ai-slim", "google-genai", "websockets"),
    ),
    Row(
        name="pydantic-ai",
        settings="tuned",
        what="that with reconnect={}, context compression, a handshake_timeout of 5 s and pings every 2 s",
        module="pydantic_ai_realtime",
        requirements=_PYDANTIC,
        imports=("pydantic_ai.realtime.google",),
        packages=("pydantic-ai-slim", "google-genai", "websockets"),
    ),
    Row(
        name="strands",
        what="BidiAgent with GoogleGeminiLiveModel and its defaults",
        module="strands_bidi",
        requirements=_STRANDS,
        imports=("strands.bidi.models.google",),
        packages=("strands-agents", "google-genai", "websockets"),
    ),
    Row(
        name="strands",
        settings="tuned",
        what="that with context compression and pings every 2 s",
        module="strands_bidi",
        requirements=_STRANDS,
        imports=("strands.bidi.models.google",),
        packages=("strands-agents", "google-genai", "websockets"),
    ),
)
"""In the order of the tables."""


def named(name: str, *, settings: str | None = None) -> Sequence[Row]:
    """Returns the rows of a contender.

    Args:
        name: of the contender, or of its module.
        settings: "default" or "tuned"; None: all.

    Raises:
        ValueError: there is none; the text says which there are.
    """
    rows = [row for row in ROWS if name in (row.name, row.module) and settings in (None, row.settings)]
    if not rows:
        known = ", ".join(dict.fromkeys(row.name for row in ROWS))
        raise ValueError(f"no contender {name!r}{f' with settings {settings!r}' if settings else ''}; there are: {known}")
    return rows
