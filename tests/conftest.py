"""Every async test runs on asyncio and on trio: in virtual time, or in real time where it is marked ``sockets``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from unbroken import policy_actor
from unbroken.testing import virtual

# how long an example takes says something of the machine, and nothing of the code
hypothesis.settings.register_profile("unbroken", deadline=None, print_blob=True)
hypothesis.settings.load_profile("unbroken")


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """Takes no decision for a slow one, of which a warning is logged: that too says something of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_actor, "SLOW", math.inf)
        patch.setattr(policy_actor, "WAITED", math.inf)
        yield


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    backend: str = request.param
    if request.node.get_closest_marker("sockets") is not None:
        return backend, {}
    return virtual(backend)
