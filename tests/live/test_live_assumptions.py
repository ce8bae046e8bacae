"""The table of assumptions: on the simulated service always, on the real one where there is a key for it."""

import os

import pytest
from tests.live.assumptions import ASSUMPTIONS, Assumption, Service

import unbroken_gemini
from unbroken.config import Target
from unbroken.transports.websocket import WebSocketTransport
from unbroken_gemini.testing import simulated

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
MODEL = os.environ.get("UNBROKEN_LIVE_MODEL", "gemini-3.8-live")


@pytest.fixture(scope="module")
def real() -> Service:
    if not any(os.environ.get(name) for name in KEYS):
        pytest.skip(
            "no key of the real service: set GEMINI_API_KEY (get one at https://aistudio.google.com/apikey) and run "
            "`pytest tests/live`; UNBROKEN_LIVE_MODEL chooses the model"
        )
    return Service("the Gemini API", MODEL, unbroken_gemini.provider(Target(model=MODEL)).endpoint, WebSocketTransport())


@pytest.mark.anyio
@pytest.mark.parametrize("row", ASSUMPTIONS, ids=lambda row: row.probe.__name__)
async def test_the_simulated_service_does_what_it_assumes(row: Assumption) -> None:
    async with simulated(memory=True) as service:
        assert service.transport is not None
        endpoint = unbroken_gemini.provider(service.target(MODEL)).endpoint
        assert await row.probe(Service("the simulated service", MODEL, endpoint, service.transport)) == row.sees


@pytest.mark.live
@pytest.mark.sockets
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("row", ASSUMPTIONS, ids=lambda row: row.probe.__name__)
@pytest.mark.anyio
async def test_the_real_service_does_what_the_simulated_one_assumes(row: Assumption, real: Service) -> None:
    saw = await row.probe(real)
    assert saw == row.sees, f"{row.says} ({row.source}) On the real service: {saw}; the simulated one assumes: {row.sees}"
