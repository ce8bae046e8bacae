"""The simulated service on real sockets, over TLS and without, on asyncio and on trio."""

import builtins
import socket
import ssl
import subprocess
import sys
from typing import Any

import anyio
import anyio.abc
import msgspec
import pytest

from unbroken.abc import Endpoint, Socket
from unbroken.decisions import Ending
from unbroken.errors import ConfigError, DialFailed, MissingExtra, SocketEnded
from unbroken.testing import certificates
from unbroken.testing.service import SimulatedService, serve
from unbroken.transports.websocket import WebSocketTransport
from unbroken_gemini.testing import Behaviour, SimulatedGemini, simulated

pytestmark = [pytest.mark.anyio, pytest.mark.sockets]

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SOON = Behaviour(setup_time=(0.0, 0.0), reply_time=(0.0, 0.0), word_time=0.02)


async def dial(service: SimulatedService, tasks: anyio.abc.TaskGroup, *, trust: ssl.SSLContext | None = None) -> Socket:
    url = service.base_url.replace("https:", "wss:") + PATH
    endpoint = Endpoint(url=url, headers={"x-goog-api-key": "k"}, ssl=trust or service.ssl_context)
    return await WebSocketTransport(proxy=False).open(endpoint, tasks=tasks, on_step=lambda step: None)


async def converse(service: SimulatedService, *, then: str) -> tuple[list[bytes], Ending]:
    """Sets up and writes; after the answer a fault is injected. Returns all that came, and the end."""
    received: list[bytes] = []
    async with anyio.create_task_group() as tasks:
        link = await dial(service, tasks)
        link.send(msgspec.json.encode({"setup": {"model": "models/gemini-3.8-live"}}))
        try:
            while True:
                received.append(await link.receive())
                if b"setupComplete" in received[-1]:
                    link.send(msgspec.json.encode({"realtimeInput": {"text": "hi"}}))
                if b"turnComplete" in received[-1]:
                    service.inject(then)
        except SocketEnded as ended:
            ending = ended.ending
    return received, ending


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize(("fault", "code", "cause"), [("1011", 1011, None), ("reset", None, "reset"), ("fin", None, "eof")])
async def test_it_converses_and_ends_as_told(fault: str, code: int | None, cause: str | None, tls: bool) -> None:
    with anyio.fail_after(60):
        async with simulated(behaviour=SOON, replies=["Hello."], tls=tls) as service:
            received, ending = await converse(service, then=fault)
    assert any(b"inlineData" in message for message in received)
    assert (ending.code, ending.cause) == (code, cause)


async def test_its_certificate_is_trusted_by_those_only_who_were_told() -> None:
    async with simulated() as service, anyio.create_task_group() as tasks:
        with pytest.raises(DialFailed) as refused:
            await dial(service, tasks, trust=ssl.create_default_context())
        assert refused.value.ending.cause == "tls"
        await dial(service, tasks, trust=ssl.create_default_context(cafile=service.ca_file))
        tasks.cancel_scope.cancel()


async def test_a_silent_connection_does_not_hold_up_the_end() -> None:
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            struck = anyio.Event()

            def watch(at: float, connection: int, what: str) -> None:
                if what.startswith("fault"):
                    struck.set()

            async with serve(SimulatedGemini(behaviour=SOON), faults=["silence@setup"], watch=watch) as service:
                link = await dial(service, tasks)
                link.send(msgspec.json.encode({"setup": {"model": "models/gemini-3.8-live"}}))
                await struck.wait()
            with pytest.raises(SocketEnded):
                await link.receive()


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
            async with simulated(tls=False, port=port):
                pass


async def test_the_bodys_exceptions_leave_it_as_they_are() -> None:
    with pytest.raises(LookupError, match="of the body"):
        async with simulated(tls=False):
            raise LookupError("of the body")


def test_tls_says_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "trustme":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"a simulated service over TLS needs the package 'trustme'.*unbroken\[testing\]"):
        certificates.make()


def test_it_needs_nothing_of_google_genai_nor_any_other_extra() -> None:
    extras = "google", "trio", "trustme", "numpy", "pytest", "livekit"
    check = f"import sys, unbroken_gemini.testing; print([n for n in {extras} if n in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.strip() == "[]"
