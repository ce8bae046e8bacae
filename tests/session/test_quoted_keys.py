"""A peer that quotes the key it was shown does not put it into events, recordings or logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.session.stage import Call, Stage, StageProvider, stage

from unbroken import Runtime, SessionEscalated, Settings, registry
from unbroken.abc import Endpoint
from unbroken.config import Target

pytestmark = pytest.mark.anyio

KEY = "sk-not-a-real-key-0123456789"


class Keyed(StageProvider):
    async def endpoint(self, *, refresh: bool = False) -> Endpoint:
        return Endpoint(url=f"ws://{self.host}/talk?key={KEY}", headers={"authorization": f"Bearer {KEY}"})


async def quoting(call: Call) -> None:
    call.socket.close(1008, f"the key {KEY} is unknown")


async def test_a_key_that_the_peer_quotes_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(one=[quoting]) as it:
        loaded = registry.load

        def load(group: str, name: str) -> Any:
            return provider if group == "unbroken.providers" else loaded(group, name)

        def provider(target: Target, *, config: Any) -> StageProvider:
            return Keyed(target.model, it.profile)

        monkeypatch.setattr(registry, "load", load)
        told = await _events(it, tmp_path)
    for said in (told, _recorded(tmp_path), caplog.text):
        assert KEY not in said
    assert "the key <secret> is unknown" in told


async def _events(it: Stage, recordings: Path) -> str:
    said: list[str] = []
    async with Runtime(transport=it.transport, recordings=recordings) as runtime:
        session = runtime.open(it.target(), settings=Settings(attempts=2))
        try:
            async for event in session:
                said.append(repr(event))
        except SessionEscalated as error:
            said.append(f"{error!r} {error}")
    return "\n".join(said)


def _recorded(folder: Path) -> str:
    (recording,) = folder.iterdir()
    return recording.read_text()
