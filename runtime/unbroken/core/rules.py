"""The rows that hold for every provider: what this side did itself, HTTP, RFC 6455, and for now the OpenAI Realtime API.

Sources: RFC 6455 section 7.4.1 and the IANA registry "WebSocket Close Code Number" for close codes, RFC 9110 section 15 and
RFC 6585 for HTTP statuses. Codes 1004, 1005, 1006 and 1015 are never on the wire; they stand here because libraries report
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from unbroken.core.classify import Rule

__all__ = ["OPENAI", "OWN", "PROTOCOLS", "in_order"]

_RFC6455: Final = "RFC 6455 section 7.4.1"
_IANA: Final = "IANA WebSocket close code registry"
_HTTP: Final = "RFC 9110 section 15"
_CREDENTIAL_ADVICE: Final = (
    "Check the key or token of {model}, its permissions and the billing of its project, or put a target with other"
    " credentials behind it."
)

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
        causes=("eof", "reset", "ping_timeout"),
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
        source=f"{_RFC6455} (1006); google/adk-python#3035",
    ),
    Rule(
        id="tls",
        causes=("tls",),
        fault="network",
        because="The TLS handshake failed: {reason}",
        advice="Check this machine's certificates and clock, and whether something between here and the service opens TLS.",
        source=f"{_RFC6455} (1015)",
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
        source="googleapis/python-genai#2935: pongs were measured at 8 to 30 s",
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
        id="silent-model",
        causes=("reply_deadline",),
        fault="hung",
        because="The model gave no reply to a finished turn.",
        confidence=0.8,
        source="googleapis/python-genai#2117; livekit/agents-js#1450",
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
        advice=_CREDENTIAL_ADVICE,
        source="the provider's own look-up",
    ),
    Rule(
        id="crash",
        causes=("crash",),
        fault="protocol",
        because="This side's own code failed: {reason}",
        advice="This is a bug in unbroken or in a provider's plugin; please report it.",
        confidence=0.5,
        source="unbroken",
    ),
)
"""What ended the link on this side."""

HTTP: Final[tuple[Rule, ...]] = (
    Rule(
        id="http-unauthorized",
        http=(401,),
        fault="auth",
        because="The service refused the credential ({status}).",
        advice=_CREDENTIAL_ADVICE,
        source=_HTTP,
    ),
    Rule(
        id="http-forbidden",
        http=(402, 403),
        fault="auth",
        because="The service does not permit this with this credential ({status}).",
        advice=_CREDENTIAL_ADVICE,
        source=_HTTP,
    ),
    Rule(
        id="http-proxy-credential",
        http=(407,),
        fault="network",
        because="The proxy wants a credential ({status}).",
        advice="Give the proxy's user and password in HTTPS_PROXY.",
        source=_HTTP,
    ),
    Rule(
        id="http-timeout",
        http=(408, 425, 499),
        fault="server",
        because="The service did not get to this request ({status}).",
        source="RFC 9110; RFC 8470; 499 is nginx's",
    ),
    Rule(
        id="http-too-many",
        http=(429,),
        fault="quota",
        because="The service takes no more requests for now ({status}).",
        advice="Ask for more quota, or put a target with a quota of its own behind {model}.",
        source="RFC 6585 section 4; honour Retry-After for that endpoint",
    ),
    Rule(
        id="http-redirect",
        http=((300, 399),),
        fault="config",
        because="The service has moved ({status}).",
        advice="Use the endpoint's new address.",
        source=_HTTP,
    ),
    Rule(
        id="http-refused",
        http=((400, 499),),
        fault="config",
        because="The service does not take such a request ({status}): wrong path or API version, most often.",
        advice="Check the endpoint's URL and API version for {model}.",
        source=_HTTP,
    ),
    Rule(
        id="http-unable",
        http=(501, 505),
        fault="config",
        because="The service cannot do what the upgrade asks for ({status}).",
        advice="Check the endpoint's URL and API version for {model}.",
        source=_HTTP,
    ),
    Rule(
        id="http-server",
        http=((500, 599),),
        fault="server",
        because="The service or something before it is out of order ({status}).",
        source=_HTTP,
    ),
    Rule(
        id="http-not-websocket",
        http=((100, 299),),
        fault="protocol",
        because="Something answered that speaks no WebSocket ({status}).",
        advice="Check the endpoint's URL; a captive portal or a proxy may have answered in the service's place.",
        source="RFC 6455 section 4.1",
    ),
)
"""Statuses of a refused upgrade, and of errors sent as a message."""

CLOSE_CODES: Final[tuple[Rule, ...]] = (
    Rule(
        id="announced-close",
        facts={"announced": True},
        codes=(1000, 1001, 1005, 1006, 1008, 1011),
        fault="planned",
        because="The connection ended as the service had announced.",
        confidence=0.9,
        source="Gemini Live API: goAway, then ABORTED",
    ),
    Rule(
        id="close-normal",
        codes=(1000, 1005),
        fault="planned",
        because="The service ended the connection in good order.",
        confidence=0.8,
        source=f"{_RFC6455}; google/adk-python#4587",
    ),
    Rule(
        id="close-going-away",
        codes=(1001,),
        fault="planned",
        because="The service is going away from this connection, as in a shutdown or a move.",
        source=_RFC6455,
    ),
    Rule(
        id="close-restart",
        codes=(1012,),
        fault="planned",
        because="The service restarts.",
        source=_IANA,
    ),
    Rule(
        id="close-abnormal",
        codes=(1006,),
        fault="network",
        because="The connection ended without a close frame.",
        source=_RFC6455,
    ),
    Rule(
        id="close-tls",
        codes=(1015,),
        fault="network",
        because="The TLS handshake failed.",
        advice="Check this machine's certificates and clock.",
        source=_RFC6455,
    ),
    Rule(
        id="close-internal",
        codes=(1011,),
        fault="server",
        because="The service met an internal error.",
        confidence=0.6,
        source=f"{_IANA}; what it means depends on the reason",
    ),
    Rule(
        id="close-try-later",
        codes=(1013,),
        fault="server",
        because="The service is overloaded and asks to try again later.",
        source=_IANA,
    ),
    Rule(
        id="close-gateway",
        codes=(1014,),
        fault="server",
        because="A gateway before the service got no good answer from it.",
        source=_IANA,
    ),
    Rule(
        id="close-policy",
        codes=(1008,),
        fault="config",
        because="The service refuses this by its policy: {reason}",
        advice="Check model, setup and permissions of {model} against what the service says.",
        confidence=0.5,
        source=f"{_RFC6455}; used for nearly everything",
    ),
    Rule(
        id="close-bad-data",
        codes=(1003, 1007, 1010),
        fault="config",
        because="The service cannot use what it was sent: {reason}",
        advice="Check the setup of {model} against what the service says.",
        confidence=0.6,
        source=_RFC6455,
    ),
    Rule(
        id="close-too-big-for-peer",
        codes=(1009,),
        fault="input",
        because="A message was larger than the service takes.",
        source=_RFC6455,
    ),
    Rule(
        id="close-unauthorized",
        codes=(3000, 3003),
        fault="auth",
        because="The service refused the credential.",
        advice=_CREDENTIAL_ADVICE,
        source=_IANA,
    ),
    Rule(
        id="close-timeout",
        codes=(3008,),
        fault="server",
        because="The service waited too long for something.",
        confidence=0.5,
        source=f"{_IANA}; some services end a session's lifetime with it",
    ),
    Rule(
        id="close-illegal",
        codes=((0, 999), 1002, 1004, (1016, 2999)),
        fault="protocol",
        because="The connection was ended for a breach of the protocol, or in breach of it ({status}).",
        source=f"{_RFC6455}, 7.4.2",
    ),
)
"""Close codes, read only where no provider's row knows the words. 3001 to 4999 are private: "unknown" unless a row fits."""

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
        advice=_CREDENTIAL_ADVICE,
        source="livekit-plugins-openai's list of fatal codes",
    ),
)
"""The OpenAI Realtime API says in an error event why it ends a session; until there is a plugin its rows stand here."""

PROTOCOLS: Final[tuple[Rule, ...]] = (*LOCAL, *OPENAI, *HTTP, *CLOSE_CODES)
"""Read after the application's and the provider's rows."""


def in_order(*layers: Iterable[Rule]) -> tuple[Rule, ...]:
    """Puts rows in the order in which `classify` reads them: `OWN`, then each layer, then `PROTOCOLS`.

    Args:
        layers: the application's rows first, then the provider's.
    """
    return (*OWN, *(rule for layer in layers for rule in layer), *PROTOCOLS)
