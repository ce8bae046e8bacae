"""The rows in which history settles what one closure cannot: what was announced, what never worked, what works elsewhere.

A 1011 before the first success on a model is as often the model as the service, and says the same words. What this side
knows besides (`unbroken.decisions.Facts`) tells them apart.
"""

from __future__ import annotations

from typing import Final

from unbroken.core.classify import Rule

__all__ = ["HISTORY", "UNPROVEN"]

HISTORY: Final[tuple[Rule, ...]] = (
    Rule(
        id="announced-close",
        phases=("live",),
        facts={"announced": True},
        codes=(1000, 1001, 1005, 1006, 1008, 1011),
        fault="planned",
        because="The connection ended as the service had announced.",
        confidence=0.9,
        otherwise=("server",),
        source="Gemini Live API: goAway, then ABORTED",
    ),
    Rule(
        id="unserved-at-setup",
        phases=("setup",),
        codes=(1007, 1008, 1011, (4000, 4999)),
        facts={"unserved": True, "proven": False, "resumed": False},
        fault="model",
        because="The service closed at the setup of {model}, which it does not serve at this place by the catalog.",
        advice="Check the name, platform and region of {model}; `unbroken doctor` names the models to use.",
        confidence=0.9,
        otherwise=("config", "server"),
        source="livekit/agents#4414; a name that is not served here may be answered with 1011 and no word of it",
    ),
    Rule(
        id="unproven-beside-well",
        phases=("setup",),
        codes=(1011,),
        facts={"proven": False, "resumed": False, "sibling_well": True, "consecutive": 2},
        fault="model",
        because="The service keeps closing at the setup of {model}, which never worked here, while its sibling is well.",
        advice="Check the name, platform and region of {model} with `unbroken doctor`.",
        confidence=0.8,
        otherwise=("server",),
        source="googleapis/python-genai#985; an outage would have met the other model too",
    ),
    Rule(
        id="sibling-well",
        codes=(1011,),
        facts={"sibling_well": True, "consecutive": 2},
        fault="server",
        action="failover",
        because="{model} fails again and again while another model of the same service is well.",
        advice="See the provider's status page for {model}; until it is well again, put its sibling first.",
        confidence=0.8,
        otherwise=("model",),
        source="googleapis/python-genai#985: 80 to 90 % of turns on one model in May 2026, its sibling clean",
    ),
)
"""Read after the clear words, before the vague ones."""

UNPROVEN: Final[tuple[Rule, ...]] = (
    Rule(
        id="unproven-at-setup",
        phases=("setup",),
        codes=(1011,),
        facts={"proven": False, "resumed": False, "consecutive": 3},
        fault="model",
        because="The service closed at the setup of {model} three times in a row, and it has not worked here yet.",
        advice="Check the name, platform and region of {model} with `unbroken doctor`; if they are right, the service has an"
        " outage.",
        confidence=0.6,
        otherwise=("server", "quota"),
        source="same text before the first success: a name that is not served, or an outage",
    ),
)
"""Read after words that say that the service is at fault for a while."""
