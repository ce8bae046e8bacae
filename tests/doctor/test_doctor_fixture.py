"""The fixture ``doctor``, as an application's own tests use it."""

from __future__ import annotations

import pytest

from unbroken.doctor import ProblemsFound
from unbroken.testing.fixtures import Doctor, doctor
from unbroken_gemini.testing import simulated

__all__ = ["doctor"]  # a fixture is used by its name

pytestmark = pytest.mark.anyio


async def test_a_route_that_works(doctor: Doctor) -> None:
    async with simulated(memory=True) as service:
        report = await doctor(service.target("gemini-3.8-live"), transport=service.transport)
    assert report.targets[0].steps is not None


async def test_a_route_that_does_not(doctor: Doctor) -> None:
    async with simulated(memory=True) as service:
        with pytest.raises(ProblemsFound, match=r"Use gemini-3\.8-live, which is served there"):
            await doctor(service.target("gemini-2.0-flash-live-001"), transport=service.transport)
        with pytest.raises(ProblemsFound, match="is no longer served"):
            await doctor(service.target("gemini-2.0-flash-live-001"), online=False)
