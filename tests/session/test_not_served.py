"""The case the project began with: a model that is not served where it is asked for, by either of the codes that say so."""

from __future__ import annotations

import anyio
import pytest

import unbroken
from unbroken.events import Event
from unbroken.testing.service import serve
from unbroken_gemini.testing import simulator

pytestmark = pytest.mark.anyio

ONLY_ON_VERTEX = "gemini-live-2.5-flash-native-audio"
RETIRED = "gemini-2.0-flash-live-001"

CASES = {
    "a name of Vertex AI's, 1008 not found": (ONLY_ON_VERTEX, []),
    "a name of Vertex AI's, 1011 internal error": (ONLY_ON_VERTEX, ["1011:Internal error encountered.@setup"]),
    "a retired name, 1008 not found": (RETIRED, []),
    "a retired name, 1011 internal error": (RETIRED, ["1011:Internal error encountered.@setup"]),
}


async def opened(models: list[str], faults: list[str]) -> list[Event]:
    """Opens a session and returns its events until it is live or given up."""
    events: list[Event] = []
    async with serve(simulator(), faults=faults, memory=True) as service:
        async with unbroken.Runtime(transport=service.transport) as runtime:
            session = runtime.open([service.target(model) for model in models])
            with anyio.fail_after(30):
                async for event in session:
                    events.append(event)
                    if isinstance(event, unbroken.Recovered | unbroken.Escalated):
                        break
        assert len(service.connections) == len(models), "no dial more than the route is long"
    return events


@pytest.mark.parametrize(("model", "faults"), CASES.values(), ids=CASES.keys())
async def test_it_is_live_on_the_second_model_within_one_handshake_of_the_close(model: str, faults: list[str]) -> None:
    events = await opened([model, "gemini-3.8-live"], faults)
    (outage,) = (event for event in events if isinstance(event, unbroken.OutageBegan))
    recovered = events[-1]
    assert outage.fault.kind == "model"
    assert isinstance(outage.decision, unbroken.FailOver)
    assert outage.decision.after == 0.0
    assert outage.fault.advice == f"{model} {WHY[model]} Use gemini-3.8-live, which is served there."
    assert isinstance(recovered, unbroken.Recovered)
    assert (recovered.target, recovered.attempts, recovered.failed_over) == ("gemini/gemini-3.8-live", 1, True)
    assert recovered.steps.wait_ms == 0.0
    assert not any(isinstance(event, unbroken.Waiting) for event in events)


@pytest.mark.parametrize(("model", "faults"), CASES.values(), ids=CASES.keys())
async def test_with_nowhere_else_to_go_it_is_given_up_at_once_with_the_advice(model: str, faults: list[str]) -> None:
    escalated = (await opened([model], faults))[-1]
    assert isinstance(escalated, unbroken.Escalated)
    assert escalated.fault is not None
    assert escalated.fault.kind == "model"
    assert escalated.advice == f"{model} {WHY[model]} Use gemini-3.8-live, which is served there."


WHY = {
    ONLY_ON_VERTEX: "is not served on the Gemini API; it is served on Vertex AI.",
    RETIRED: "is no longer served on the Gemini API since 2025-12-09.",
}
