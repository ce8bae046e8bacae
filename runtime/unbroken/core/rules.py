"""The rows that hold for every provider, in the order in which they are read; for now also those of the OpenAI Realtime API.

What is clear goes before what is vague: what this side knows itself, HTTP statuses that leave no doubt, clear words; then
what history settles, vague words and gRPC statuses; last the numbers that services give for many reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from unbroken.core.classify import Rule
from unbroken.core.codes import CLOSE_CODES, CREDENTIAL_ADVICE, HTTP, HTTP_VAGUE
from unbroken.core.grpc import CLEAR_STATUSES, STATUSES, UNAVAILABLE
from unbroken.core.history import HISTORY, UNPROVEN
from unbroken.core.words import CLEAR_WORDS, ENDS, OVERLOAD, VAGUE_WORDS

__all__ = ["CLEAR", "LOCAL", "OPENAI", "OWN", "PROTOCOLS", "VAGUE", "in_order"]

OWN: Final[tuple[Rule, ...]] = (
    Rule(
        id="own-close",
        facts={"closed_by_us": True},
        fault="closed",
        because="The application closed the session.",
        source="google/adk-python#4914: loops that reconnect after their own close",
    ),
)
"""Read before every other row: after the application's own close nothing else has a meaning."""

LOCAL: Final[tuple[Rule, ...]] = (
    Rule(
        id="announced-end",
        facts={"announced": True},
        causes=("eof", "reset", "ping_timeout", "path_dead"),
        fault="planned",
        because="The connection ended as the service had announced.",
        source="sierra-research/tau2-bench#461: after goAway the service may just go silent",
    ),
    Rule(
        id="handover",
        causes=("handover",),
        fault="planned",
        because="The service announced the end of the connection, and it was left at a quiet moment before that.",
        source="Gemini Live API: goAway",
    ),
    Rule(
        id="update",
        causes=("update",),
        fault="planned",
        because="The application changed the configuration, and the connection was left for one that has the new one.",
        source="Session.update",
    ),
    Rule(
        id="dns",
        causes=("dns",),
        fault="network",
        because="The service's name could not be looked up.",
        advice="Check this machine's name service and the endpoint's host name.",
        source="resolver",
    ),
    Rule(
        id="refused",
        causes=("refused",),
        fault="network",
        because="The connection was refused: nothing listens there, or a firewall forbids it.",
        advice="Check the endpoint's address and this machine's firewall.",
        source="TCP",
    ),
    Rule(
        id="unreachable",
        causes=("unreachable",),
        fault="network",
        because="There is no way through the network to the service.",
        advice="Check this machine's network.",
        source="TCP",
    ),
    Rule(id="reset", causes=("reset",), fault="network", because="The connection was reset.", source="TCP"),
    Rule(
        id="eof",
        causes=("eof",),
        fault="network",
        because="The connection ended without a close frame.",
        source="RFC 6455 section 7.4.1 (1006); google/adk-python#3035",
    ),
    Rule(
        id="tls",
        causes=("tls",),
        fault="network",
        because="The TLS handshake failed: {reason}",
        advice="Check this machine's certificates and clock, and whether something between here and the service opens TLS.",
        source="RFC 6455 section 7.4.1 (1015)",
    ),
    Rule(
        id="proxy",
        causes=("proxy",),
        fault="network",
        because="The HTTP proxy did not let the connection through: {reason}",
        advice="Check HTTPS_PROXY and NO_PROXY, and the proxy's credentials.",
        source="RFC 9110 section 9.3.6",
    ),
    Rule(
        id="cut",
        causes=("cut",),
        fault="network",
        because="The line was cut on purpose, as a drill does.",
        source="unbroken drill",
    ),
    Rule(
        id="no-answer",
        causes=("dial_deadline", "tls_deadline", "credential_deadline"),
        fault="network",
        because="Nothing answered before the deadline ({status}).",
        source="TCP's own patience is minutes",
    ),
    Rule(
        id="upgrade-hang",
        causes=("upgrade_deadline",),
        fault="hung",
        carry="handle",  # it has not been shown to the service, so it cannot be what the service hangs on
        because="The service took the connection and never answered the upgrade.",
        source="half-open connection",
    ),
    Rule(
        id="ping-timeout",
        causes=("ping_timeout",),
        fault="hung",
        because="The peer answered no ping and sent nothing.",
        confidence=0.8,
        otherwise=("network",),
        source="googleapis/python-genai#2935: pongs were measured at 8 to 30 s",
    ),
    Rule(
        id="path-dead",
        causes=("path_dead",),
        # neither the service nor the handle is to blame, so the next link goes the same way by handle, at once
        fault="network",
        because="The path is dead though the socket is open: {reason}",
        source="Linux tcp_info; unbroken.core.health",
    ),
    Rule(
        id="peer-reads-nothing",
        causes=("not_reading",),
        fault="hung",
        because="The service's machine lives, and its process takes nothing any more: {reason}",
        source="Linux tcp_info; unbroken.core.health",
    ),
    Rule(
        id="setup-hang",
        causes=("setup_deadline",),
        fault="hung",
        because="The service did not accept the setup before the deadline, and did not refuse it either.",
        source="BerriAI/litellm#31519",
    ),
    Rule(
        id="silent-peer",
        causes=("sign_deadline",),
        fault="hung",
        because="Nothing at all came from the peer after the user's turn.",
        source="half-open connection",
    ),
    Rule(
        id="mute-handle",
        causes=("reply_deadline", "answer_deadline", "empty_turns"),
        facts={"resumed": True, "replied": False},
        fault="hung",
        carry="history",  # the next link by this handle would be as mute
        because="The resumed session took what the user said and gave no reply at all: its handle is taken to be of no use.",
        confidence=0.8,
        otherwise=("handle", "server"),
        source="yagudaev/voiceclaw, gemini.ts: transcribes and never generates; livekit/agents-js#2507",
    ),
    Rule(
        id="silent-model",
        causes=("reply_deadline",),
        fault="hung",
        because="The model gave no reply to a finished turn.",
        confidence=0.8,
        otherwise=("handle", "server"),
        source="googleapis/python-genai#2117; livekit/agents-js#1450",
    ),
    Rule(
        id="stalled-reply",
        causes=("reply_stalled",),
        fault="hung",
        because="The model stopped in the midst of its reply and did not go on.",
        source="sonichi/sutando#977: no close, and nothing for six minutes",
    ),
    Rule(
        id="unanswered-turn",
        causes=("answer_deadline",),
        fault="hung",
        because="The model wrote down what the user said and never answered, while the connection seemed well.",
        confidence=0.7,
        otherwise=("server",),
        source="yagudaev/voiceclaw, gemini.ts",
    ),
    Rule(
        id="empty-turns",
        causes=("empty_turns",),
        fault="hung",
        because="The model ended one turn after another without a word: {reason}",
        confidence=0.8,
        otherwise=("server",),
        source="googleapis/python-genai#2117; livekit/agents-js#1450: about half of one application's calls",
    ),
    Rule(
        id="frame-too-big",
        causes=("frame_too_big",),
        fault="protocol",
        because="A message was larger than this side takes ({reason}).",
        advice="Raise the transport's limit if the service is right to send such messages.",
        source="a local limit, not the service's; 1 MiB in websockets' defaults",
    ),
    Rule(
        id="malformed",
        causes=("malformed",),
        fault="protocol",
        because="The peer broke the protocol: {reason}",
        source="RFC 6455; the provider's protocol",
    ),
    Rule(
        id="credential",
        causes=("credential",),
        fault="auth",
        because="There was no credential to dial with: {reason}",
        advice=CREDENTIAL_ADVICE,
        source="the provider's own look-up",
    ),
    Rule(
        id="crash",
        causes=("crash",),
        fault="protocol",
        because="This side's own code failed: {reason}",
        advice="This is a bug in unbroken or in a provider's plugin; please report it.",
        confidence=0.5,
        otherwise=("input",),
        source="unbroken; what the peer or the application sent may be what the code failed on",
    ),
)
"""What ended the link on this side."""

OPENAI: Final[tuple[Rule, ...]] = (
    Rule(
        id="openai-rate",
        platforms=("openai",),
        words=("rate_limit_exceeded",),
        fault="quota",
        action="retry",
        because="The rate limit of {model} is reached; it refills within seconds.",
        advice="Ask for a higher rate limit, or put a target with a quota of its own behind {model}.",
        source="error event of the OpenAI Realtime API",
    ),
    Rule(
        id="openai-quota",
        platforms=("openai",),
        words=("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"),
        fault="quota",
        action="failover",
        because="The account's quota or credit is used up.",
        advice="Add credit to the account, or put a target of another account behind {model}.",
        source="error event of the OpenAI Realtime API; livekit-plugins-openai's list of fatal codes",
    ),
    Rule(
        id="openai-credential",
        platforms=("openai",),
        words=("invalid_api_key", "account_deactivated"),
        fault="auth",
        because="The service refused the credential ({reason}).",
        advice=CREDENTIAL_ADVICE,
        source="livekit-plugins-openai's list of fatal codes",
    ),
)
"""The OpenAI Realtime API says in an error event why it ends a session; until there is a plugin its rows stand here."""

CLEAR: Final[tuple[Rule, ...]] = (*OPENAI, *HTTP, *CLEAR_WORDS, *CLEAR_STATUSES, *ENDS)
"""What leaves little doubt. A provider's rows may hold these in their midst; then they are read there, before those rows of
the provider that go by less."""

VAGUE: Final[tuple[Rule, ...]] = (*HISTORY, *UNAVAILABLE, *OVERLOAD, *UNPROVEN, *STATUSES, *VAGUE_WORDS)
"""What history settles, and what is only likely; see `CLEAR`."""

PROTOCOLS: Final[tuple[Rule, ...]] = (*LOCAL, *CLEAR, *VAGUE, *HTTP_VAGUE, *CLOSE_CODES)
"""Read after the application's and the provider's rows."""


def in_order(*layers: Iterable[Rule]) -> tuple[Rule, ...]:
    """Puts rows in the order in which `classify` reads them: `OWN`, then each layer, then `PROTOCOLS`.

    A row that a layer holds already is read there, and once.

    Args:
        layers: the application's rows first, then the provider's.
    """
    rules = (*OWN, *(rule for layer in layers for rule in layer), *PROTOCOLS)
    return tuple({id(rule): rule for rule in rules}.values())
