"""The simulated service over sockets in memory, in virtual time, on both backends: faults of the path strike as told."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import msgspec
import pytest

from unbroken.abc import Endpoint, Socket
from unbroken.decisions import Ending
from unbroken.errors import ConfigError, DialFailed, SocketEnded
from unbroken.testing.cancel import cancel_everywhere
from unbroken.testing.clock import stand_still
from unbroken.testing.faults import Close, Fault
from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken.transports.memory import MemoryNetwork
from unbroken_gemini import codec, wire
from unbroken_gemini.testing import HARSH, Behaviour, simulated

pytestmark = pytest.mark.anyio

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
CALM = Behaviour(setup_time=(0.0, 0.0), reply_time=(0.3, 0.3))


class Client:
    """What a test says over one WebSocket; what comes back is kept until it ends."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.heard: list[wire.ServerMessage] = []
        self.garbled = 0
        self.ending: Ending | None = None
        self.ended_at = 0.0
        self.over = anyio.Event()
        self.up = anyio.Event()

    async def listen(self) -> None:
        try:
            while True:
                data = await self.socket.receive()
                try:
                    self.heard.append(codec.decode_server(data))
                    self.up.set()
                except Exception:  # because a garbled message is what some tests are about
                    self.garbled += 1
        except SocketEnded as error:
            self.ending = error.ending
            self.ended_at = anyio.current_time()
            self.over.set()

    def say(self, **message: Any) -> None:
        self.socket.send(msgspec.json.encode(message))

    @property
    def live(self) -> bool:
        return any(m.setup_complete is not None for m in self.heard)

    @property
    def handle(self) -> str:
        updates = [m.session_resumption_update for m in self.heard if m.session_resumption_update is not None]
        return next(u.new_handle for u in reversed(updates) if u.new_handle)


async def opened(service: SimulatedService, tasks: anyio.abc.TaskGroup, path: str = PATH) -> Socket:
    assert service.transport is not None
    endpoint = Endpoint(url=service.base_url + path, headers={"x-goog-api-key": "k"})
    return await service.transport.open(endpoint, tasks=tasks, on_step=lambda step: None)


@asynccontextmanager
async def dialled(
    service: SimulatedService, *, model: str = "gemini-3.8-live", handle: str | None = None, settle: float = 0.5
) -> AsyncGenerator[Client]:
    """Dials, sets up, and lets the answer come."""
    async with anyio.create_task_group() as tasks:
        client = Client(await opened(service, tasks))
        tasks.start_soon(client.listen)
        client.say(setup={"model": f"models/{model}", "sessionResumption": {"handle": handle} if handle else {}})
        await anyio.sleep(settle)
        yield client
        tasks.cancel_scope.cancel()


async def ending(client: Client, *, within: float = 60.0) -> Ending:
    with anyio.fail_after(within):
        await client.over.wait()
    assert client.ending is not None
    return client.ending


async def test_a_conversation_in_virtual_time() -> None:
    async with simulated(memory=True, behaviour=CALM, replies=["Hello there."]) as service, dialled(service) as client:
        client.say(realtimeInput={"text": "hi"})
        await anyio.sleep(2)
        words = [m.server_content.output_transcription for m in client.heard if m.server_content is not None]
        assert client.live
        assert any(m.server_content and m.server_content.turn_complete for m in client.heard)
        assert words
        assert repr(service).endswith("1 connections open of 1>")
        assert repr(service.connections[0]) == "<Visit 1 live, 2 messages>"


CLOSES: list[tuple[str, Callable[[Ending], bool]]] = [
    ("1011@3s", lambda e: (e.code, e.reason) == (1011, "Internal error encountered.")),
    ("1008:Requested entity was not found.@3s", lambda e: (e.code, e.reason) == (1008, "Requested entity was not found.")),
    ("reset@3s", lambda e: e.code is None and e.cause == "reset"),
    ("fin@3s", lambda e: e.code is None and e.cause == "eof"),
    ("malformed:frame@3s", lambda e: e.cause == "malformed"),
]


@pytest.mark.parametrize(("fault", "expected"), CLOSES)
async def test_a_connection_ends_as_told(fault: str, expected: Callable[[Ending], bool]) -> None:
    async with simulated(memory=True, behaviour=CALM, faults=[fault]) as service, dialled(service) as client:
        await anyio.sleep(2.4)
        assert client.ending is None
        ended = await ending(client)
        assert expected(ended), ended
        assert service.report().links[0].faults == (fault,)
        assert client.ended_at == pytest.approx(3.0, abs=0.1)


async def test_a_connection_takes_note_of_when_it_came_how_far() -> None:
    faults = ["stall-upgrade:1s", "stall-setup:2s"]
    async with simulated(memory=True, behaviour=CALM, faults=faults) as service, dialled(service) as client:
        await client.up.wait()
        await anyio.sleep(0.5)
        client.say(realtimeInput={"audio": {"data": "AAAA", "mimeType": "audio/pcm;rate=16000"}})
        await anyio.sleep(0.1)
        steps, [link] = service.connections[0].steps, service.report().links
        times = (steps.accepted, steps.secured, steps.upgraded, steps.setup, steps.live, link.heard_at)
        assert None not in times
        assert [round((time or 0.0) - steps.accepted, 1) for time in times] == [0.0, 0.0, 1.0, 1.0, 3.0, 3.5]
        assert link.said_at is None


async def test_the_report_says_how_the_service_ended_a_link() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["1011@1s"]) as service, dialled(service) as client:
        await ending(client)
        [link] = service.report().links
        assert link.closed == 'close 1011 "Internal error encountered."'
        assert link.ended is not None
        await anyio.sleep(1)
        assert service.open == ()


async def test_a_garbled_message_is_sent_as_told() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["malformed@1s"]) as service, dialled(service) as client:
        await anyio.sleep(1)
        assert client.garbled == 1
        assert client.ending is None


async def test_a_silent_connection_neither_reads_nor_writes_nor_ends() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["silence@1s"]) as service, dialled(service) as client:
        await anyio.sleep(1)
        before = len(client.heard)
        for _ in range(100):
            client.say(realtimeInput={"text": "is anybody there?" * 100})
            client.socket.ping()
        seen = client.socket.last_received
        await anyio.sleep(30)
        assert client.ending is None
        assert len(client.heard) == before
        assert client.socket.last_received == seen
        assert client.socket.buffered > 0  # nobody reads
        async with dialled(service, handle=client.handle) as second:
            assert second.live


async def test_a_silence_can_end() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["silence:5s@1s"]) as service, dialled(service) as client:
        await anyio.sleep(1)
        before = len(client.heard)
        client.say(realtimeInput={"text": "hello?"})
        await anyio.sleep(4)
        assert len(client.heard) == before
        await anyio.sleep(4)
        assert len(client.heard) > before


async def test_a_setup_that_is_never_answered() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["stall-setup"]) as service:
        async with dialled(service, settle=30) as client:
            assert (client.heard, client.ending) == ([], None)
        async with dialled(service) as client:
            assert client.live


async def test_a_close_in_place_of_an_answer_to_the_setup() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["1011:You exceeded your current quota@setupx2"]) as service:
        for _ in range(2):
            async with dialled(service) as client:
                assert (await ending(client)).reason == "You exceeded your current quota"
                assert not client.live
        async with dialled(service) as client:
            assert client.live


async def refused(service: SimulatedService, path: str = PATH) -> Ending:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(DialFailed) as caught:
            await opened(service, tasks, path)
    return caught.value.ending


async def test_upgrades_are_refused_as_told() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["http-503", "http-429:7"]) as service:
        first, second = await refused(service), await refused(service)
        assert (first.http_status, second.http_status, second.retry_after) == (503, 429, 7)
        async with dialled(service) as client:
            assert client.live


async def test_an_upgrade_that_is_never_answered() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["stall-upgrade"]) as service:
        with anyio.move_on_after(20) as scope:
            await refused(service)
        assert scope.cancelled_caught
        async with dialled(service) as client:
            assert client.live


@pytest.mark.parametrize("fault", ["reset@dial", "fin@dial", "reset@upgrade", "1011@upgrade"])
async def test_connections_end_before_they_are_websockets(fault: str) -> None:
    async with simulated(memory=True, behaviour=CALM, faults=[fault]) as service:
        assert (await refused(service)).cause in ("reset", "eof")


async def test_new_connections_are_reset_while_the_service_is_down() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["down:2s@1s"]) as service, dialled(service) as client:
        await anyio.sleep(1.5)
        assert (await refused(service)).cause in ("reset", "eof")
        assert client.ending is None
        await anyio.sleep(1.5)
        async with dialled(service) as other:
            assert other.live


async def test_a_wrong_path_is_refused() -> None:
    async with simulated(memory=True) as service:
        assert (await refused(service, "/elsewhere")).http_status == 404


async def test_faults_strike_while_the_model_speaks() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["reset@reply+0.5s"]) as service, dialled(service) as client:
        asked = anyio.current_time()
        client.say(realtimeInput={"text": "talk"})
        await ending(client)
        assert client.ended_at - asked == pytest.approx(0.8, abs=0.05)


async def test_a_fault_in_a_reply_strikes_there_though_the_machine_stood_still_past_the_replys_end() -> None:
    ways = msgspec.structs.replace(CALM, word_time=0.1, ahead=0.0)
    heard: list[int] = []
    for stopped in (0.0, 5.0):
        async with (
            simulated(memory=True, behaviour=ways, replies=["one two three four"], faults=["1011@reply+0.35s"]) as service,
            dialled(service) as client,
        ):
            before = len(client.heard)
            client.say(realtimeInput={"text": "count"})
            await anyio.sleep(0.2)
            stand_still(stopped)
            assert (await ending(client)).code == 1011
            heard.append(len(client.heard) - before)
    assert heard[0] == heard[1] > 2


async def test_faults_strike_at_a_message() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["fin@#4"]) as service, dialled(service) as client:
        for _ in range(2):
            client.say(realtimeInput={"audioStreamEnd": True})
            await anyio.sleep(0.1)
        assert client.ending is None
        client.say(realtimeInput={"audioStreamEnd": True})
        await ending(client)


async def test_faults_are_injected_while_it_runs() -> None:
    async with simulated(memory=True, behaviour=CALM) as service, dialled(service) as client:
        await anyio.sleep(10)
        service.inject("1013")
        assert (await ending(client, within=0.1)).code == 1013
    with pytest.raises(ConfigError, match="unknown fault 'restart'"):
        service.inject("restart")


async def test_a_fault_can_be_made_without_text() -> None:
    fault = Fault(strike=Close(code=1012))
    async with simulated(memory=True, behaviour=CALM, faults=[fault]) as service, dialled(service) as client:
        assert (await ending(client)).code == 1012


async def test_an_announced_end() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["goaway:3s@1s"]) as service, dialled(service) as client:
        await anyio.sleep(1)
        assert [m.go_away.time_left for m in client.heard if m.go_away] == ["3s"]
        assert (await ending(client)).reason == "Deadline expired before operation could complete."
        assert client.ended_at == pytest.approx(4.0, abs=0.05)


async def test_the_path_can_be_slow() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["latency:200ms:50ms"]) as service:
        began = anyio.current_time()
        async with dialled(service, settle=0) as client:
            assert 0.8 <= anyio.current_time() - began <= 1.0  # TCP and the upgrade
            await client.up.wait()
            assert 1.2 <= anyio.current_time() - began <= 1.55
            pinged = anyio.current_time()
            client.socket.ping()
            await anyio.sleep(2)
            assert client.socket.last_received - pinged >= 0.4


async def test_reading_can_be_slow() -> None:
    async with simulated(memory=True, behaviour=CALM, faults=["slow-read:2@live"]) as service, dialled(service) as client:
        for _ in range(20):
            client.say(realtimeInput={"audioStreamEnd": True})
        await anyio.sleep(5)
        assert 8 <= service.connections[0].messages <= 13


async def test_pongs_can_take_their_time() -> None:
    old = "gemini-2.5-flash-native-audio-preview-12-2025"  # says nothing by itself meanwhile
    async with simulated(memory=True, behaviour=HARSH) as service, dialled(service, model=old, settle=5) as client:
        pinged = anyio.current_time()
        client.socket.ping()
        await anyio.sleep(7.9)
        assert client.socket.last_received < pinged
        await anyio.sleep(23)
        assert client.socket.last_received >= pinged + 8


async def test_the_old_socket_lingers_after_an_abort_and_not_after_a_close() -> None:
    async with simulated(memory=True, behaviour=HARSH, seed=1) as service:
        async with dialled(service, settle=3) as client:
            client.socket.abort()
        async with dialled(service, handle=client.handle, settle=1) as second:
            assert (await ending(second)).reason == "Internal error encountered."
        await anyio.sleep(3)
        async with dialled(service, handle=client.handle, settle=1) as third:
            assert third.live
            third.socket.close()
            await ending(third)
        async with dialled(service, handle=third.handle, settle=1) as fourth:
            assert fourth.live


async def test_audio_is_counted_over_connections() -> None:
    audio = stamp(bytes(2 * 16 * 3000))
    pieces = [audio[at : at + 640] for at in range(0, len(audio), 640)]

    async def speak(client: Client, first: int, last: int) -> None:
        for piece in pieces[first:last]:
            blob = wire.Blob(data=piece, mime_type="audio/pcm;rate=16000")
            client.socket.send(codec.encode_client(wire.ClientMessage(realtime_input=wire.RealtimeInput(audio=blob))))
            await anyio.sleep(0.02)

    async with simulated(memory=True, behaviour=CALM, faults=["fin@#50"]) as service:
        async with dialled(service) as client:
            await speak(client, 0, 60)
        held = service.report().heard_ms
        assert held == 980  # 49 messages of 20 ms after the setup
        async with dialled(service) as client:
            await speak(client, 49, 150)
        report = service.report()
        assert (report.heard_ms, report.lost_ms) == (2020, 980)
        assert [link.first_position for link in report.links] == [0, 980 * 16]


def network_of(service: SimulatedService) -> MemoryNetwork:
    assert service.network is not None
    return service.network


async def test_nothing_is_left_when_the_service_ends() -> None:
    async with simulated(memory=True, faults=["silence@1s"]) as service, dialled(service, settle=3) as silent:
        assert silent.ending is None
        async with dialled(service) as live:
            assert live.live
    assert network_of(service).open_ends == 0


async def test_cancelled_anywhere_it_leaves_nothing_open() -> None:
    networks: list[MemoryNetwork] = []

    async def scenario() -> None:
        async with simulated(memory=True, behaviour=CALM, replies=["Hi."], faults=["1011@#3"]) as service:
            networks.append(network_of(service))
            async with dialled(service, settle=0.1) as client:
                client.say(realtimeInput={"text": "hello"})
                await anyio.sleep(0.4)
                client.say(realtimeInput={"text": "and again"})
                await ending(client)

    def check() -> None:
        assert all(network.open_ends == 0 for network in networks)
        networks.clear()

    assert await cancel_everywhere(scenario, check=check) > 50


@pytest.mark.parametrize("began", [7.1, 13.3, 1234.567])
@pytest.mark.parametrize("due", [0.1, 0.7, 2.3])
async def test_a_fault_is_due_at_a_moment_that_comes(began: float, due: float) -> None:
    """Where the sum of two times is rounded down, a clock that jumps to it would jump there for ever."""
    await anyio.sleep_until(began)
    async with simulated(faults=[f"1011@{due}s"], memory=True) as service:
        assert service.began == began
        await anyio.sleep_until(service.moment(due))
        assert service.now >= due
        await anyio.sleep(1)
