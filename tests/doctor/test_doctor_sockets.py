"""The doctor over TLS on loopback, where google-genai's own client asks for the list of models; on both backends."""

from __future__ import annotations

import ssl
from typing import Any

import msgspec
import pytest

import unbroken_gemini
from unbroken.config import Deadlines, Settings
from unbroken.doctor import Report, TargetReport, examine
from unbroken.testing.service import SimulatedService
from unbroken_gemini import listing
from unbroken_gemini.testing import simulated

pytestmark = [pytest.mark.anyio, pytest.mark.sockets]

MODEL = "gemini-3.8-live"
CONFIG: dict[str, Any] = {"input_audio_transcription": {}, "output_audio_transcription": {}}
AT_LEISURE = Settings(deadlines=Deadlines(dial=60.0, tls=60.0, upgrade=60.0, setup=60.0), patience=300.0)
"""A handshake that a busy machine makes slow is nothing to warn of."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)


async def examined(service: SimulatedService, model: str = MODEL, **options: Any) -> TargetReport:
    report: Report = await examine(service.target(model, **options), config=CONFIG, settings=AT_LEISURE)
    return report.targets[0]


def told(target: TargetReport, check: str) -> tuple[str, str]:
    [finding] = [finding for finding in target.findings if finding.check == check]
    return finding.verdict, finding.said


async def test_a_target_that_works() -> None:
    async with simulated() as service:
        target = await examined(service)
    assert [finding.check for finding in target.findings] == [
        "credential",
        "model",
        "listed",
        "setup",
        "handshake",
        "resumption",
    ]
    assert target.verdict == "ok"
    assert told(target, "listed") == ("ok", "The Gemini API lists it for this key, with bidiGenerateContent.")
    assert target.steps is not None
    assert target.steps.tls_ms > 0


async def test_a_key_that_is_refused() -> None:
    async with simulated(keys=["right"]) as service:
        target = await examined(service, api_key="wrong")
    assert target.fault is not None
    assert target.fault.kind == "auth"
    assert [(finding.check, finding.said) for finding in target.findings if finding.verdict == "problem"] == [
        ("credential", "The API key is not valid. The list of models was refused with HTTP 400."),
        (
            "setup",
            'The setup ended with close 1007 "API key not valid. Please pass a valid API key.": '
            "The API key is not valid. The list of models was refused with HTTP 400.",
        ),
    ]


async def test_a_model_that_is_not_listed_and_ends_with_1011() -> None:
    """The catalog knows nothing against it: only the list says what this internal error is."""
    async with simulated(faults=[f"refuse-model:{MODEL}", "1011:Internal error encountered.@setupx*"]) as service:
        target = await examined(service)
    assert told(target, "model")[0] == "ok"
    assert told(target, "listed") == ("warning", "The Gemini API does not list gemini-3.8-live for this key.")
    assert target.fault is not None
    assert target.fault.kind == "model"
    assert told(target, "setup") == (
        "problem",
        'The setup ended with close 1011 "Internal error encountered.": '
        "The Gemini API does not list gemini-3.8-live for this key.",
    )
    assert target.findings[-1].fix == "Use gemini-3.8-live-extended-thinking, which it lists."


async def test_a_model_that_is_listed_for_something_else() -> None:
    async with simulated() as service:
        target = await examined(service, "gemini-2.5-flash", known=False)
    verdict, said = told(target, "listed")
    assert verdict == "problem"
    assert said == "The Gemini API lists gemini-2.5-flash without bidiGenerateContent: it cannot be talked to live."
    assert target.fault is not None
    assert target.fault.kind == "model"


async def test_a_certificate_that_nobody_vouches_for() -> None:
    async with simulated() as service:
        target = await examined(service, ssl=ssl.create_default_context())
    assert told(target, "listed")[0] == "warning"
    verdict, said = told(target, "tls")
    assert verdict == "problem"
    assert said.startswith("The TLS handshake failed: ")
    assert target.closure is not None
    assert target.closure.phase == "tls"


async def test_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    real = listing._list

    def late(asking: listing.Asking) -> Any:
        listed = real(asking)
        assert listed.date is not None
        return msgspec.structs.replace(listed, date=listed.date + 1800)

    monkeypatch.setattr(listing, "_list", late)
    async with simulated() as service:
        target = await examined(service)
    assert told(target, "clock") == ("warning", "This machine's clock is 30 minutes behind the service's.")


async def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:secret@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    async with simulated() as service:
        target = await examined(service)
    assert told(target, "proxy") == ("ok", "The environment leads links through the proxy 127.0.0.1:9.")
    verdict, said = told(target, "dial")
    assert verdict == "problem"
    assert said.startswith("The HTTP proxy did not let the connection through: ")
    assert "secret" not in msgspec.json.encode(target).decode()


@pytest.mark.parametrize("scheme", ["socks5", "ftp"])
async def test_a_proxy_that_is_none(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's own client cannot even be made then, so that there is no provider."""
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://someone:secret@127.0.0.1:9")
    report = await examine(unbroken_gemini.target(MODEL, api_key=f"key-{scheme}"))
    [finding] = [finding for finding in report.findings if finding.verdict == "problem"]
    assert finding.said == (f"The environment's proxy ({scheme}://…) is not usable; http://host:port would be.")
    assert finding.fix
    assert report.targets[0].verdict == "problem"
    assert "secret" not in msgspec.json.encode(report).decode()
