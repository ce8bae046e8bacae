"""What the company's gateway says when it ends a connection. All calls to the Gemini API pass it.

Applications and gateways have the close codes from 4000 to 4999 to themselves (RFC 6455 section 7.4.2), so unbroken cannot
know what they mean; these rows tell it.
"""

from __future__ import annotations

from unbroken import Rule

__all__ = ["RULES"]

_SOURCE = "our gateway's manual, section 4"

RULES = (
    Rule(
        id="gateway-drain",
        platforms=("gemini", "vertex"),
        codes=(4410,),
        fault="planned",
        because="The gateway makes room for a new release, and ends its connections one by one.",
        source=_SOURCE,
    ),
    Rule(
        id="gateway-share",
        platforms=("gemini", "vertex"),
        codes=(4429,),
        fault="quota",
        action="retry",  # the share refills from second to second
        because="The support line has used up its share of the gateway for the moment.",
        advice="Ask the gateway's owners for a larger share, or spread the callers over the day.",
        source=_SOURCE,
    ),
    Rule(
        id="gateway-closed",
        platforms=("gemini", "vertex"),
        codes=((4500, 4503),),
        fault="auth",
        because="The gateway does not know this caller of its own.",
        advice="Renew the gateway's token of the support line; it ends with the quarter.",
        source=_SOURCE,
    ),
)
