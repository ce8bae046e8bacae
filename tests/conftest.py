"""Every async test runs on asyncio and on trio: in virtual time, or in real time where it is marked ``sockets``."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.testing import virtual


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    backend: str = request.param
    if request.node.get_closest_marker("sockets") is not None:
        return backend, {}
    return virtual(backend)
