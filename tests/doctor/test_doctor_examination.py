"""What the doctor finds, at the simulated service and on a stage, in virtual time and on both backends."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import msgspec
import pytest
from tests.session.stage import Call, Stage, StageProvider, stage

import unbroken
from unbroken import registry
from unbroken.abc import Finding, Profile, Provider
from unbroken.config import Target
from unbroken.decisions import Closure, FaultKind
from unbroken.doctor import ProblemsFound, Report, TargetReport, examine
from unbroken.errors import ConfigError, MissingExtra
from unbroken.testing.closures import Known, known
from unbroken.testing.faults import Close, Fault, HttpStatus, Silence, Strike, When
from unbroken.testing.service import SimulatedService
from unbroken.transports.websocket import WebSocketTransport
from unbroken_gemini.testing import Behaviour, simulated
from unbroken_gemini.testing import Call as ToolCall

pytestmark = pytest.mark.anyio

MODEL, SECOND, ELSEWHERE = "gemini-3.8-live", "gemini-3.1-flash-live-preview", "gemini-live-2.5-flash-native-audio"
CONFIG = {"response_modalities": ["AUDIO"], "input_audio_transcription": {}, "output_audio_transcription": {}}
PATIENCE = 600.0


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)


async def examined(service: SimulatedService, *models: str, **options: Any) -> Report:
    route = [service.target(model) for model in models or (MODEL,)]
    with anyio.fail_after(PATIENCE):
        return await examine(route, transport=service.transport, config=CONFIG, **options)


def found(report: TargetReport | Report, check: str) -> Finding:
    [finding] = [finding for finding in report.findings if finding.check == check]
    return finding


def verdicts(report: TargetReport) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in report.findings}


# -- A route that works -----------------------------------------------------------------------------------------------


async def test_a_route_that_works() -> None:
    async with simulated(memory=True) as service:
        report = await examine(
            [service.target(MODEL), service.target(MODEL, vertexai=True)], transport=service.transport, config=CONFIG
        )
        assert service.network is not None
        await anyio.sleep(1)
        assert service.network.open_ends == 0, "every link is closed again"
        links = service.report(client="simulated").links
    assert report.verdict == "ok"
    report.raise_for_problems()
    assert [link.closed for link in links] == [""] * 2, "one link to each target, and the client closed it"
    assert [(target.name, target.platform) for target in report.targets] == [
        ("gemini/gemini-3.8-live", "gemini"),
        ("gemini/gemini-3.8-live@global", "vertex"),
    ]
    for target in report.targets:
        assert list(verdicts(target)) == ["credential", "model", "setup", "handshake", "resumption"]
        assert (target.closure, target.fault) == (None, None)
        assert target.steps is not None
        assert 20 <= target.steps.setup_ms <= 60
        assert found(target, "handshake").said.endswith(f"{target.steps.total_ms - target.steps.catch_up_ms:.0f} ms in all.")
    assert found(report.targets[0], "credential").said == "An API key, given as api_key, for the Gemini API."
    assert found(report.targets[1], "credential").said == (
        "A callable of the application, asked once per link, for Vertex AI in global."
    )
    assert found(report.targets[0], "model").said == "gemini-3.8-live is stable on the Gemini API since 2026-09-15."
    assert found(report.targets[0], "resumption").said.startswith("A resumption handle came, ")


async def test_one_spoken_reply_if_asked() -> None:
    async with simulated(memory=True, replies=["Hello there, caller!"]) as service:
        report = await examined(service, speak=True)
    reply = found(report.targets[0], "reply")
    assert reply.verdict == "ok"
    assert re.fullmatch(r"The model replied after \d+ ms, 0\.9 s of speech: “Hello there, caller!”", reply.said)


async def test_a_model_that_would_rather_call_a_tool() -> None:
    config = CONFIG | {"tools": [{"function_declarations": [{"name": "weather"}]}]}
    async with simulated(memory=True, replies=[ToolCall(name="weather")]) as service:
        report = await examine(service.target(MODEL), transport=service.transport, config=config, speak=True)
    assert found(report.targets[0], "reply").said == "The model asked for the tool 'weather', which was not called here."


async def test_without_the_network_nothing_is_dialled() -> None:
    async with simulated(memory=True) as service:
        report = await examined(service, online=False)
        assert service.connections == ()
    assert list(verdicts(report.targets[0])) == ["credential", "model"]
    assert report.targets[0].steps is None


async def test_no_secret_is_told() -> None:
    async with simulated(memory=True, keys=["ya29.secret-1"], faults=["1007:API key not valid@setupx*"]) as service:
        report = await examined(service)
    assert report.verdict == "problem"
    assert "secret" not in msgspec.json.encode(report).decode() + repr(report)


# -- Every way in which a setup was seen to fail ----------------------------------------------------------------------

MET = [
    end
    for end in known()
    if end.closure.phase in ("dial", "tls", "upgrade", "setup")
    and not end.closure.facts.resumed  # no first setup has a handle
    and end.closure.platform != "openai"
]


def strike_of(closure: Closure) -> Strike:
    ending = closure.ending
    if ending.http_status is not None:
        return HttpStatus(status=ending.http_status, retry_after=ending.retry_after)
    if ending.code is not None:
        return Close(code=ending.code, reason=ending.reason)
    assert ending.cause == "setup_deadline"
    return Silence()


async def no_name(host: str, port: int) -> anyio.abc.ByteStream:
    raise socket.gaierror(-2, "Name or service not known")


async def nobody_there(host: str, port: int) -> anyio.abc.ByteStream:
    raise ConnectionRefusedError(111, "Connection refused")


def test_the_table_has_such_ends() -> None:
    assert len(MET) >= 18
    assert {end.closure.phase for end in MET} == {"dial", "upgrade", "setup"}
    assert {end.closure.platform for end in MET} == {"any", "gemini", "vertex"}


@pytest.mark.parametrize("end", MET, ids=lambda end: end.id)
async def test_every_end_that_a_setup_can_meet(end: Known) -> None:
    closure = end.closure
    dial = {"dns": no_name, "refused": nobody_there}.get(closure.ending.cause or "")
    faults = []
    if dial is None:
        when = When(stage="upgrade" if closure.phase == "upgrade" else "setup")
        faults = [Fault(strike=strike_of(closure), when=when, times=None)]
    async with simulated(memory=True, faults=faults) as service:
        options = {"vertexai": True} if closure.platform == "vertex" else {}
        transport = service.transport if dial is None else WebSocketTransport(connect=dial)
        with anyio.fail_after(PATIENCE):
            report = await examine(service.target(MODEL, **options), transport=transport, config=CONFIG)
    [target] = report.targets
    assert target.fault is not None
    assert target.closure is not None
    assert (target.fault.kind, target.closure.phase) == (end.fault, closure.phase)
    problem = found(target, closure.phase)
    assert problem.verdict == "problem"
    assert problem.fix
    assert target.steps is None
    told = closure.ending.reason if closure.ending.http_status is None else str(closure.ending.http_status)
    assert closure.ending.cause == "setup_deadline" or told[:60] in problem.said, "what the peer said is told"
    with pytest.raises(ProblemsFound, match=r"^calls would break:\n"):
        report.raise_for_problems()


# -- The failure that the project began with --------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["1011:Internal error encountered.", "1008", "as it is"])
@pytest.mark.parametrize(
    ("model", "why"),
    [
        (ELSEWHERE, f"{ELSEWHERE} is not served on the Gemini API; it is served on Vertex AI."),
        ("gemini-2.0-flash-live-001", "gemini-2.0-flash-live-001 is no longer served on the Gemini API since 2025-12-09."),
    ],
)
async def test_a_model_of_vertex_ai_or_of_yesterday_on_the_gemini_api(model: str, why: str, said: str) -> None:
    faults = [] if said == "as it is" else [f"{said}@setupx*"]
    async with simulated(memory=True, faults=faults) as service:
        report = await examined(service, model)
    [target] = report.targets
    assert target.fault is not None
    assert target.fault.kind == "model"
    assert found(target, "model") == Finding(
        check="model", verdict="problem", said=why, fix="Use gemini-3.8-live, which is served there."
    )
    setup = found(target, "setup")
    assert setup.said.startswith(f"The setup ended with close {'1011' if said.startswith('1011') else '1008'} ")
    assert setup.said.endswith(f": {why}")
    assert setup.fix == "Use gemini-3.8-live, which is served there."
    with pytest.raises(ProblemsFound) as raised:
        report.raise_for_problems()
    assert str(raised.value).count("\n") == 2
    assert f"gemini/{model}, setup: The setup ended" in str(raised.value)
    assert raised.value.report is report


async def test_a_model_in_the_wrong_region_of_vertex_ai() -> None:
    async with simulated(memory=True) as service:
        targets = [service.target(ELSEWHERE, vertexai=True, location=place) for place in ("global", "us-central1")]
        report = await examine(targets, transport=service.transport, config=CONFIG)
    wrong, right = report.targets
    assert (wrong.verdict, right.verdict) == ("problem", "ok")
    assert wrong.fault is not None
    assert wrong.fault.kind == "model"
    assert found(wrong, "setup").fix == ("Set the location to such a region, or use gemini-3.8-live, which is served there.")


async def test_the_service_knows_better_than_the_catalog() -> None:
    async with simulated(memory=True, models=[ELSEWHERE]) as service:
        report = await examined(service, ELSEWHERE)
    assert report.verdict == "warning"
    assert found(report.targets[0], "model").said == (
        f"{ELSEWHERE} is not served on the Gemini API; it is served on Vertex AI. The service takes it all the same."
    )


async def test_a_config_that_the_model_refuses_is_named() -> None:
    async with simulated(memory=True) as service:
        report = await examined(service, "gemini-3.8-live-extended-thinking", MODEL)
    [thinking, plain] = report.targets
    assert plain.verdict == "ok"
    assert thinking.fault is not None
    assert thinking.fault.kind == "config"
    assert found(thinking, "setup").said == (
        'The setup ended with close 1007 "Request contains an invalid argument.": '
        "gemini-3.8-live-extended-thinking needs thinkingConfig.thinkingLevel."
    )
    assert found(thinking, "setup").fix == "Set it."


# -- Faults of the moment ---------------------------------------------------------------------------------------------


async def test_what_passes_by_itself_is_a_warning() -> None:
    async with simulated(memory=True, faults=["http-503@upgrade"]) as service:
        report = await examined(service)
    [target] = report.targets
    assert report.verdict == "warning"
    assert found(target, "setup").said.startswith("The service accepted the setup at the second try. The first: ")
    assert found(target, "setup").fix
    assert target.fault is not None, "what happened is kept"
    assert target.fault.kind == "server"
    assert found(target, "resumption").verdict == "ok"


@pytest.mark.parametrize(("fault", "kind"), [("1000@livex*", "planned"), ("1011@live+0.01sx*", "server")])
async def test_a_service_that_accepts_and_ends_every_link(fault: str, kind: FaultKind) -> None:
    async with simulated(memory=True, faults=[fault], behaviour=Behaviour(setup_time=(0.02, 0.02))) as service:
        report = await examined(service, speak=True)
    [target] = report.targets
    assert verdicts(target)["link"] == "problem"
    assert found(target, "link").said.startswith("The service accepted the setup, and the link ended soon after. ")
    assert found(target, "link").fix
    assert target.fault is not None
    assert target.fault.kind == kind
    assert len(service.connections) == 2


async def test_a_link_that_is_lost_once() -> None:
    async with simulated(memory=True, faults=["reset@reply"]) as service:
        report = await examined(service, speak=True)
    [target] = report.targets
    assert found(target, "link").verdict == "warning"
    assert found(target, "link").said.startswith("A link ended soon after it had come up, and the next one stayed. ")
    assert found(target, "reply").verdict == "ok"


async def test_a_slow_handshake_is_told_before_it_is_too_slow() -> None:
    async with simulated(memory=True, behaviour=Behaviour(setup_time=(3.0, 3.0))) as service:
        report = await examined(service)
        deadlines = unbroken.Deadlines(setup=10.0)
        roomy = await examined(service, settings=unbroken.Settings(deadlines=deadlines))
    handshake = found(report.targets[0], "handshake")
    assert handshake.verdict == "warning"
    assert "setup 3000 ms" in handshake.said
    assert handshake.said.endswith("That is more than half of what a session allows (5 s for setup).")
    assert "Deadlines.setup" in handshake.fix
    assert found(roomy.targets[0], "handshake").verdict == "ok"


async def test_the_sessions_own_deadlines_hold() -> None:
    settings = unbroken.Settings(deadlines=unbroken.Deadlines(setup=1.0))
    async with simulated(memory=True, behaviour=Behaviour(setup_time=(3.0, 3.0))) as service:
        began = anyio.current_time()
        report = await examined(service, settings=settings)
        assert anyio.current_time() - began < 3
    assert report.targets[0].fault is not None
    assert report.targets[0].fault.kind == "hung"


# -- What targets have in common --------------------------------------------------------------------------------------


async def test_one_target_is_no_route() -> None:
    async with simulated(memory=True) as service:
        report = await examined(service)
    assert found(report, "route").verdict == "warning"
    assert found(report, "route").said == "The route has one target, so there is none to fail over to."
    assert "unbroken 0." in found(report, "machine").said


async def test_what_takes_all_targets_at_once() -> None:
    async with simulated(memory=True) as service:
        route = [msgspec.structs.replace(service.target(model), quota_group="one") for model in (MODEL, SECOND)]
        report = await examine(route, transport=service.transport, config=CONFIG, online=False)
        other = [route[0], msgspec.structs.replace(route[1], quota_group=None, credentials="other")]
        apart = await examine(other, transport=service.transport, config=CONFIG, online=False)
    said = [finding.said for finding in report.findings if finding.check == "route"]
    assert said == [
        "All targets share one quota, so it takes them all when it is used up.",
        "All targets share one credential, so it takes them all when it is refused.",
    ]
    assert found(apart, "route").verdict == "ok"


async def test_what_all_targets_are_warned_of_is_said_once() -> None:
    async with simulated(memory=True) as service:
        route = [service.target(MODEL), service.target(MODEL, vertexai=True)]
        report = await examine(route, transport=service.transport)
    assert found(report, "transcripts").verdict == "warning"
    assert found(report, "transcripts").fix == (
        'Add "input_audio_transcription": {} and "output_audio_transcription": {} to the config.'
    )
    assert [target.verdict for target in report.targets] == ["ok", "ok"]


async def test_a_target_that_no_session_fails_over_to() -> None:
    config = CONFIG | {"thinking_config": {"thinking_level": "LOW"}}
    thinking = "gemini-3.8-live-extended-thinking"
    async with simulated(memory=True) as service:
        route = [service.target(thinking), service.target(MODEL)]
        report = await examine(route, transport=service.transport, config=config, online=False)
    assert "failover" not in verdicts(report.targets[0])
    assert found(report.targets[1], "config").said == "gemini-3.8-live refuses thinkingConfig.thinkingLevel."
    assert found(report.targets[1], "failover").verdict == "warning"
    assert found(report.targets[1], "failover").said == (
        "No session fails over to this target, whose model does not suit the config."
    )


async def test_a_target_that_is_unfit_by_its_providers_word_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, one=[ready], two=[ready]) as it:
        it.unfit = "It calls no tools."
        first, second = (await examine([it.target("one"), it.target("two")], transport=it.transport)).targets
    assert "failover" not in verdicts(first)
    assert found(second, "failover").said == "No session fails over to this target: It calls no tools."
    assert found(second, "failover").fix == "Give this target a config of its own, or leave it out of the route."


async def test_targets_of_different_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, one=[ready], two=[ready]) as it:
        it.profiles["two"] = msgspec.structs.replace(it.profile, input_rate=24_000)
        report = await examine([it.target("one"), it.target("two")], transport=it.transport)
    [problem] = [finding for finding in report.findings if finding.verdict == "problem"]
    assert problem.said == (
        "The targets of a route have to take audio at one rate, and these do not: "
        "stage/one at 16000 Hz, stage/two at 24000 Hz."
    )


# -- Targets that cannot even be built --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "check", "said", "fix"),
    [
        ("gemini/gemini-3.8-live", "credential", "No key for the Gemini API.", "Set GEMINI_API_KEY or GOOGLE_API_KEY, or "),
        ("gemni/gemini-3.8-live", "provider", "Unknown provider: 'gemni'.", "Did you mean gemini? Known: gemini"),
        (
            Target(model="gemni-3.8-live", options={"api_key": "k"}),
            "model",
            "Unknown model on the Gemini API: 'gemni-3.8-live'.",
            "Did you mean gemini-3.8-live",
        ),
        (
            Target(model=MODEL, options={"api_key": "k", "poject": "p"}),
            "option",
            "Unknown option of the Gemini provider: 'poject'.",
            "Did you mean project? Known: api_key, ",
        ),
        (
            Target(model=MODEL, options={"api_key": "k"}, config={"output_audio_transcripton": {}}),
            "config",
            "Not a LiveConnectConfig: output_audio_transcripton: Extra inputs are not permitted.",
            "",
        ),
    ],
)
async def test_a_target_that_cannot_be_built(target: Target | str, check: str, said: str, fix: str) -> None:
    report = await examine(target, online=False)
    [finding] = report.targets[0].findings
    assert (finding.check, finding.verdict, finding.said) == (check, "problem", said)
    assert finding.fix.startswith(fix)


async def test_an_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(group: str, name: str) -> Any:
        raise MissingExtra(f"provider {name!r}", package="google", extra="gemini")

    monkeypatch.setattr(registry, "load", load)
    report = await examine("gemini/gemini-3.8-live")
    assert report.targets[0].findings == (
        Finding(
            check="package",
            verdict="problem",
            said="Provider 'gemini' needs the package 'google', which is not installed.",
            fix="pip install 'unbroken[gemini]'",
        ),
    )


async def test_a_plugin_with_a_bug_hides_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, one=[ready]) as it:
        it.broken = {"two"}
        report = await examine([it.target("one"), it.target("two")], transport=it.transport)
    assert report.targets[0].verdict == "warning"
    assert report.targets[1].findings[0].said == "The provider cannot be built: KeyError, 'two'."


@pytest.mark.parametrize(
    ("route", "options", "said"),
    [
        ([], {}, "the route is empty; give at least one target, such as 'gemini/gemini-3.8-live'"),
        (["m", "m"], {}, "the route names gemini/m twice; tell such targets apart with label="),
        ("m", {"speak": True, "online": False}, "a reply needs a link: leave speak or offline out"),
        ("m", {"timeout": 0}, "the timeout has to be above 0 s, not 0"),
    ],
)
async def test_a_request_that_makes_no_sense(route: Sequence[str] | str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        await examine(route, **options)
    assert str(raised.value) == said


# -- On a stage: what the simulated service does not do ---------------------------------------------------------------


class Unfit(StageProvider):
    def __init__(self, host: str, profile: Profile, unfit: str) -> None:
        super().__init__(host, profile)
        self._unfit = unfit

    @property
    def unfit(self) -> str:
        return self._unfit


class Staged(Stage):
    """A stage whose providers may have profiles of their own, checks that fail or hang, or cannot be built."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.check: Any = None
        self.unfit = ""

    def build(self, target: Target, *, config: Any) -> Provider:
        if target.model in self.broken:
            raise KeyError(target.model)
        provider = Unfit(target.model, self.profile, self.unfit)
        provider.profile = self.profiles.get(target.model, self.profile)
        if self.check is not None:
            provider.check = self.check  # type: ignore[method-assign]
        return provider


@asynccontextmanager
async def staged(monkeypatch: pytest.MonkeyPatch, **hosts: Any) -> AsyncGenerator[Staged]:
    monkeypatch.setattr("tests.session.stage.Stage", Staged)
    async with stage(**hosts) as it:
        assert isinstance(it, Staged)
        monkeypatch.setattr(registry, "load", lambda group, name: it.build)
        with anyio.fail_after(PATIENCE):
            yield it


async def ready(call: Call) -> None:
    call.say(ready=True)
    await call.listen()


async def test_a_service_that_gives_no_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(call: Call) -> None:
        call.say(ready=True)
        while True:
            if "text" in await call.take():
                call.reply(ms=100)

    async with staged(monkeypatch, one=[ready], two=[answers], three=[ready]) as it:
        it.profiles["three"] = msgspec.structs.replace(it.profile, resumption=False)
        quiet, silent = (await examine([it.target("one"), it.target("three")], transport=it.transport)).targets
        [asked] = (await examine(it.target("two"), transport=it.transport, speak=True)).targets
    assert found(quiet, "resumption").verdict == "warning"
    assert found(quiet, "resumption").said == (
        "No resumption handle came within 3 s of the setup; some services give the first after a turn."
    )
    assert "resumption" not in verdicts(silent), "none was to be expected"
    assert found(asked, "resumption").said.startswith("No resumption handle came, not even after a reply")
    assert found(asked, "reply").verdict == "ok"


async def test_a_handle_that_comes_with_the_first_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(call: Call) -> None:
        call.say(ready=True)
        while True:
            if "text" in await call.take():
                call.reply(ms=100, handle="h")

    async with staged(monkeypatch, one=[answers]) as it:
        [target] = (await examine(it.target("one"), transport=it.transport, speak=True)).targets
    assert verdicts(target) == {"setup": "ok", "handshake": "ok", "resumption": "ok", "reply": "ok"}


async def test_a_model_that_does_not_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, one=[ready]) as it:
        report = await examine(it.target("one"), transport=it.transport, speak=True)
    [target] = report.targets
    assert target.fault is not None
    assert target.fault.kind == "hung"
    assert target.verdict == "problem"
    assert all(finding.fix for finding in target.findings if finding.verdict != "ok")


async def test_a_target_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*, online: bool) -> Sequence[Finding]:
        await anyio.sleep_forever()
        return []

    async with staged(monkeypatch, one=[ready]) as it:
        it.check = hangs
        began = anyio.current_time()
        report = await examine(it.target("one"), transport=it.transport, timeout=5)
        assert anyio.current_time() - began == pytest.approx(5)
    assert [finding.said for finding in report.targets[0].findings] == [
        "It was not done within 5 s; what it waited for is the provider's own checks."
    ]


async def test_what_was_seen_before_the_time_was_over_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, one=[ready]) as it:
        report = await examine(it.target("one"), transport=it.transport, speak=True, timeout=5)
    assert list(verdicts(report.targets[0]).items()) == [
        ("setup", "ok"),
        ("handshake", "ok"),
        ("resumption", "warning"),
        ("reply", "problem"),
        ("timeout", "problem"),
    ]


async def test_own_checks_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*, online: bool) -> Sequence[Finding]:
        raise ZeroDivisionError("a secret")

    async with staged(monkeypatch, one=[ready]) as it:
        it.check = fails
        [target] = (await examine(it.target("one"), transport=it.transport)).targets
    assert found(target, "provider").said == "The provider's own checks failed with ZeroDivisionError."
    assert found(target, "setup").verdict == "ok", "the link is tried all the same"
