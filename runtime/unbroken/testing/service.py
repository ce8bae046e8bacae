"""Serves a simulated service: over TLS or plain TCP on loopback, or in memory; on asyncio and on trio; in real and, in
memory, in virtual time. The provider's part is a `Simulator`; here are sockets, faults of the path, and the clock."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from unbroken.abc import Transport
from unbroken.config import Target
from unbroken.errors import ConfigError
from unbroken.testing import certificates
from unbroken.testing.faults import Down, Fault, Latency, parse
from unbroken.testing.plan import FaultPlan
from unbroken.testing.report import Report
from unbroken.testing.simulator import Simulator
from unbroken.testing.visit import Visit
from unbroken.transports.memory import MemoryNetwork
from unbroken.transports.websocket import WebSocketTransport

__all__ = ["SimulatedService", "serve"]

NAME = "service.simulated"
"""The service's host name in memory."""

Watch = Callable[[float, int, str], None]
"""Told what happens: seconds since the service began, the connection (0: none), and one line for people."""


class SimulatedService:
    """A simulated service that is being served; `serve` makes it.

    Attributes:
        simulator: the provider's part.
        base_url: where it is: "https://…", or "ws://…" without TLS.
        network: where it is served in memory, which counts what is left open; None: it is on loopback.
        transport: for the runtime, where it is served in memory; None: its own will do.
        ssl_context: the client's TLS context, which trusts the service; None: there is no TLS.
        ca_file: the certificate authority for clients that want a file; None: there is no TLS.
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        plan: FaultPlan,
        seed: int,
        base_url: str,
        network: MemoryNetwork | None,
        certificate: certificates.Certificate | None,
        watch: Watch | None,
    ) -> None:
        self.simulator = simulator
        self.base_url = base_url
        self.network = network
        self.transport: Transport | None = None
        if network is not None:
            self.transport = WebSocketTransport(connect=network.connect, proxy=False)
        self.ssl_context = certificate.client if certificate is not None else None
        self.ca_file = certificate.ca_file if certificate is not None else None
        self.plan = plan
        self.random = random.Random(seed)
        self.latency = Latency(seconds=0.0)
        self.down_until = 0.0
        self.began = anyio.current_time()
        self._certificate = certificate
        self._watch = watch
        self._visits: list[Visit] = []
        self._open: list[Visit] = []
        self._wake = anyio.Event()

    def __repr__(self) -> str:
        return f"<SimulatedService {self.base_url}, {len(self._open)} connections open of {len(self._visits)}>"

    @property
    def now(self) -> float:
        """Seconds since the service began."""
        return anyio.current_time() - self.began

    def moment(self, seconds: float) -> float:
        """Returns the first moment on the clock at which `now` is so many seconds: a rounded sum may be just short of it."""
        moment = self.began + seconds
        while moment - self.began < seconds:
            moment = math.nextafter(moment, math.inf)
        return moment

    @property
    def connections(self) -> Sequence[Visit]:
        """Every connection that was ever accepted, in order."""
        return tuple(self._visits)

    @property
    def open(self) -> Sequence[Visit]:
        """The connections that are open, the youngest last."""
        return tuple(self._open)

    def target(self, model: str, **options: Any) -> Target:
        """Returns a target that leads here.

        Args:
            model: the model's name.
            options: what else is asked of it, by the provider's own names (`unbroken.config.Target.options`).
        """
        return self.simulator.target(model, base_url=self.base_url, context=self.ssl_context, options=options)

    def inject(self, fault: Fault | str) -> None:
        """Makes a fault strike: at its moment, or at once where it has none.

        Raises:
            ConfigError: the text is no fault.
        """
        self.plan.add(_checked(fault, self.simulator), now=self.now)
        self.wake()

    def original(self, pcm: bytes) -> None:
        """Is given what the user says from position 0 on, so that lost speech can be told from lost silence."""
        self.simulator.original(pcm)

    def report(self, *, upto: int | None = None, client: str | None = None) -> Report:
        """Returns the account; see `Simulator.report`."""
        return self.simulator.report(upto=upto, client=client)

    # -- For the connections ----------------------------------------------------------------------------------------------

    def tell(self, connection: int, what: str) -> None:
        """Tells whoever watches."""
        if self._watch is not None:
            self._watch(self.now, connection, what)

    @property
    def is_down(self) -> bool:
        """New connections are reset."""
        return self.now < self.down_until

    def delay(self) -> float:
        """Returns how long something is under way, one way."""
        return self.latency.seconds + self.random.uniform(0.0, self.latency.jitter)

    def is_newest(self, visit: Visit) -> bool:
        """Says whether no younger connection is open; one that lies ready, dialled or set up, does not count."""
        used = [other for other in self._open if other.messages and not other.waits] or self._open
        return not used or used[-1] is visit

    def strike_all(self, fault: Fault) -> None:
        """Makes a fault happen that concerns no single connection."""
        self.tell(0, f"fault: {fault}")
        match fault.strike:
            case Latency():
                self.latency = fault.strike
            case Down(seconds=seconds):
                self.down_until = self.now + (math.inf if seconds is None else seconds)
            case _:
                self.simulator.strike(fault.strike, now=anyio.current_time(), times=fault.times)

    def wake(self) -> None:
        """Lets everything look at the plan again."""
        self._wake.set()
        for visit in self._open:
            visit.wake()

    async def direct(self) -> None:
        """Lets the plan's times strike; runs as long as the service does."""
        while True:
            self._wake = anyio.Event()
            while (fault := self.plan.take_for_all(now=self.now)) is not None:
                self.strike_all(fault)
            for visit in self._open:
                visit.wake()
            deadline = self.plan.deadline(now=self.now)
            with anyio.move_on_at(float("inf") if deadline is None else self.moment(deadline)):
                await self._wake.wait()

    async def welcome(self, stream: anyio.abc.ByteStream) -> None:
        """Serves one connection from its acceptance to its end."""
        visit = Visit(self, len(self._visits) + 1, tls=self._certificate.server if self._certificate is not None else None)
        self._visits.append(visit)
        self._open.append(visit)
        try:
            await visit.run(stream)
        finally:
            self._open.remove(visit)
            self.plan.forget(visit.number)


@asynccontextmanager
async def serve(
    simulator: Simulator,
    *,
    faults: Iterable[Fault | str] = (),
    memory: bool = False,
    tls: bool = True,
    port: int = 0,
    seed: int = 0,
    watch: Watch | None = None,
) -> AsyncGenerator[SimulatedService]:
    """Serves a simulated service while the body runs.

    Args:
        simulator: the provider's part.
        faults: what is going to strike; see `unbroken.testing.faults`.
        memory: in memory instead of on loopback; needed for virtual time. There is no TLS then.
        tls: over TLS, with a certificate made for the occasion (the extra ``testing``).
        port: on loopback; 0: a free one.
        seed: of the path's dice (jitter).
        watch: told what happens.

    Raises:
        ConfigError: a fault that is none, or a port that is taken.
        MissingExtra: TLS needs the package trustme.
    """
    plan = FaultPlan(_checked(fault, simulator) for fault in faults)
    certificate = certificates.make() if tls and not memory else None
    network = MemoryNetwork() if memory else None
    listener: anyio.abc.Listener[Any]
    if network is not None:
        listener, base_url = network.listen(NAME, 443), f"ws://{NAME}:443"
    else:
        listener = await _listen(port)
        address = listener.extra(anyio.abc.SocketAttribute.local_port)
        base_url = f"{'https' if certificate is not None else 'ws'}://127.0.0.1:{address}"
    service = SimulatedService(
        simulator, plan=plan, seed=seed, base_url=base_url, network=network, certificate=certificate, watch=watch
    )
    raised: Exception | None = None
    try:
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(service.direct, name="simulated service: faults")
            tasks.start_soon(listener.serve, service.welcome, name="simulated service: listening")
            try:
                yield service
            except Exception as error:  # because the body's exceptions are to leave this as they are, not as a group
                raised = error
            finally:
                tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised
    finally:
        if certificate is not None:
            certificate.discard()


def _checked(fault: Fault | str, simulator: Simulator) -> Fault:
    read = parse(fault) if isinstance(fault, str) else fault
    simulator.check(read.strike)
    return read


async def _listen(port: int) -> anyio.abc.Listener[Any]:
    try:
        return (await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)).listeners[0]
    except OSError as error:
        raise ConfigError(f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}") from error
