"""The rows that go by a number alone: HTTP statuses of a refused upgrade, and close codes.

Sources: RFC 6455 section 7.4.1 and the IANA registry "WebSocket Close Code Number" for close codes, RFC 9110 section 15 and
RFC 6585 for HTTP statuses. Codes 1004, 1005, 1006 and 1015 are never on the wire; they stand here because libraries report
them.
"""

from __future__ import annotations

from typing import Final

from unbroken.core.classify import Rule

__all__ = ["CLOSE_CODES", "CREDENTIAL_ADVICE", "HTTP", "HTTP_VAGUE"]

CREDENTIAL_ADVICE: Final = (
    "Check the key or token of {model}, its permissions and the billing of its project, or put a target with other"
    " credentials behind it."
)
"""For rows that know no more than that a credential was refused."""

_RFC6455: Final = "RFC 6455 section 7.4.1"
_IANA: Final = "IANA WebSocket close code registry"
_HTTP: Final = "RFC 9110 section 15"
_ENDPOINT: Final = "Check the endpoint's URL and API version for {model}."

HTTP: Final[tuple[Rule, ...]] = (
    Rule(
        id="http-unauthorized",
        http=(401,),
        fault="auth",
        because="The service refused the credential ({status}).",
        advice=CREDENTIAL_ADVICE,
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
        id="http-too-large",
        http=(413, 414, 431),
        fault="config",
        because="The request for the upgrade was larger than the service takes ({status}).",
        advice="Shorten what goes into the URL and the headers: tokens, cookies, parameters.",
        source=f"{_HTTP}; RFC 6585 section 5",
    ),
    Rule(
        id="http-legal",
        http=(451,),
        fault="auth",
        because="The service is not offered here for legal reasons ({status}).",
        advice="Run from a country or region that the service supports, or put a target of another provider behind {model}.",
        source="RFC 7725",
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
        id="http-unable",
        http=(501, 505),
        fault="config",
        because="The service cannot do what the upgrade asks for ({status}).",
        advice=_ENDPOINT,
        source=_HTTP,
    ),
    Rule(
        id="http-captive",
        http=(511,),
        fault="network",
        because="The network wants a sign-in before it lets anything through ({status}).",
        advice="Sign in to the network that this machine is in.",
        source="RFC 6585 section 6",
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
"""Statuses that say more than the words beside them; of a refused upgrade, and of errors sent as a message."""

HTTP_VAGUE: Final[tuple[Rule, ...]] = (
    Rule(
        id="http-forbidden",
        http=(402, 403),
        fault="auth",
        because="The service does not permit this with this credential ({status}).",
        advice=CREDENTIAL_ADVICE,
        confidence=0.9,
        otherwise=("model", "quota"),
        source=_HTTP,
    ),
    Rule(
        id="http-conflict",
        http=(409, 423),
        fault="server",
        because="The service has something open that stands against this request ({status}).",
        confidence=0.5,
        otherwise=("config",),
        source=_HTTP,
    ),
    Rule(
        id="http-refused",
        http=((400, 499),),
        fault="config",
        because="The service does not take such a request ({status}): wrong path or API version, most often.",
        advice=_ENDPOINT,
        confidence=0.8,
        otherwise=("model", "auth"),
        source=_HTTP,
    ),
)
"""Statuses that services give for many reasons; read only where the words beside them say nothing."""

CLOSE_CODES: Final[tuple[Rule, ...]] = (
    Rule(
        id="close-normal",
        codes=(1000, 1005),
        fault="planned",
        because="The service ended the connection in good order.",
        confidence=0.8,
        otherwise=("server",),
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
        otherwise=("quota", "model", "planned"),
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
        otherwise=("auth", "model", "input"),
        source=f"{_RFC6455}; used for nearly everything",
    ),
    Rule(
        id="close-bad-data",
        codes=(1003, 1007, 1010),
        fault="config",
        because="The service cannot use what it was sent: {reason}",
        advice="Check the setup of {model} against what the service says.",
        confidence=0.6,
        otherwise=("input", "handle", "context"),
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
        codes=(3000,),
        fault="auth",
        because="The service refused the credential.",
        advice=CREDENTIAL_ADVICE,
        source=f"{_IANA}: as HTTP 401",
    ),
    Rule(
        id="close-forbidden",
        codes=(3003,),
        fault="auth",
        because="The service does not permit this with this credential.",
        advice=CREDENTIAL_ADVICE,
        source=f"{_IANA}: as HTTP 403",
    ),
    Rule(
        id="close-timeout",
        codes=(3008,),
        fault="server",
        because="The service waited too long for something.",
        confidence=0.5,
        otherwise=("planned",),
        source=f"{_IANA}; some services end a session's lifetime with it",
    ),
    Rule(
        id="close-illegal",
        codes=((0, 999), 1002, 1004, (1016, 2999), (5000, 65535)),
        fault="protocol",
        because="The connection was ended for a breach of the protocol, or in breach of it ({status}).",
        source=f"{_RFC6455}, 7.4.2",
    ),
)
"""Close codes, read only where nobody knows the words. 3001 to 4999 are private, but for those above: "unknown" unless a
provider's row fits."""
