"""A pytest plugin with simulated services and the doctor, by ``pytest -p unbroken.testing.fixtures`` or ``pytest_plugins``.

It is not an entry point of pytest, or every test run of everyone who installs unbroken would import it. Tests that use these
fixtures are async and run under anyio's own pytest plugin (``@pytest.mark.anyio``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import pytest

from unbroken import registry
from unbroken.config import Route
from unbroken.doctor import Report, examine
from unbroken.testing.service import SimulatedService, serve
from unbroken.testing.simulator import Simulator, SimulatorFactory

__all__ = ["Doctor", "doctor", "simulated_service", "simulator"]


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker, which strict runs want."""
    config.addinivalue_line(
        "markers",
        "simulated(provider='gemini', *, models=(), harsh=False, seed=0, faults=(), memory=False, tls=True): "
        "how unbroken.testing.fixtures serves the simulated service of a test",
    )


def _asked(request: pytest.FixtureRequest) -> dict[str, object]:
    marker = request.node.get_closest_marker("simulated")
    if marker is None:
        return {}
    return dict(marker.kwargs) | ({"provider": marker.args[0]} if marker.args else {})


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Simulator:
    """The simulated service without a network, as the marker ``simulated`` asks for it."""
    asked = _asked(request)
    factory: SimulatorFactory = registry.load("unbroken.simulators", str(asked.get("provider", "gemini")))
    return factory(**{name: asked[name] for name in ("models", "harsh", "seed") if name in asked})  # type: ignore[arg-type]


@pytest.fixture
async def simulated_service(request: pytest.FixtureRequest, simulator: Simulator) -> AsyncGenerator[SimulatedService]:
    """The simulated service, being served: over TLS on loopback unless the marker ``simulated`` says otherwise."""
    asked = _asked(request)
    options = {name: asked[name] for name in ("faults", "memory", "tls", "seed") if name in asked}
    async with serve(simulator, **options) as service:  # type: ignore[arg-type]
        yield service


class Doctor(Protocol):
    """What the fixture `doctor` gives."""

    async def __call__(self, route: Route, **options: Any) -> Report:
        """Examines a route, and fails the test where calls would break.

        Args:
            route: where calls may go.
            options: those of `unbroken.doctor.examine`.

        Raises:
            ProblemsFound: calls would break; the text names every problem and what to do about it.
        """
        ...


@pytest.fixture
def doctor() -> Doctor:
    """Examines a route before production does: ``await doctor(ROUTE, config=CONFIG, online=False)`` needs no network."""

    async def call(route: Route, **options: Any) -> Report:
        report = await examine(route, **options)
        report.raise_for_problems()
        return report

    return call
