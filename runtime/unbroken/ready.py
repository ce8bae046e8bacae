"""A session of the provider that is set up ahead of need, at the target where a failover would lead.

The failover then costs no round trip: the history is said to it, and the user's audio follows. Whatever happens to it while
it waits is no outage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import cast

import anyio
import anyio.abc
import msgspec

from unbroken.abc import Connection, Provider, Socket, Transport
from unbroken.ahead import Dialled, SetUp, dial
from unbroken.config import Settings
from unbroken.core.fleet import Fleet
from unbroken.core.spares import LOOK, SILENT, Upkeep, next_target, ready_age, upkeep_of_ready
from unbroken.decisions import Cause, Closure, Ending, Facts, Fault, FaultKind, Phase, Situation, TargetState
from unbroken.errors import ConfigError, LinkError, SocketEnded, WireError
from unbroken.messages import Permit
from unbroken.wire import ProviderFault, SetupDone, WireEvent

__all__ = ["Ready"]

logger = logging.getLogger("unbroken")

_TOLD: frozenset[FaultKind] = frozenset({"auth", "config", "model", "quota"})
"""Refusals that would be the same the next time."""


class _Refused(Exception):
    """The service says in a message that it ends the session."""

    def __init__(self, fault: ProviderFault) -> None:
        super().__init__(fault.reason)
        self.ending = Ending(code=fault.code, reason=fault.reason, confirmed=False)


class _Waiting:
    """One session that is set up, or is being set up, and waits to be needed.

    Args:
        target: an index into the route.
        provider: of the target, as it is configured now.
    """

    def __init__(self, target: int, *, provider: Provider) -> None:
        self.target = target
        self.provider = provider
        self.phase: Phase = "dial"
        self.dialled: Dialled | None = None
        self.over = False
        """It is taken or let go: whoever still runs for it ends."""
        self.left = anyio.Event()
        """It is the keeper's no more, so that the next one may be opened."""
        self.holding = anyio.CancelScope()
        self.living = anyio.CancelScope()

    def take(self) -> Dialled:
        """Hands the session over, which has to be set up. Its own tasks live on with the socket."""
        assert self.dialled is not None
        self.over = True
        self.left.set()
        self.holding.cancel()
        return self.dialled

    def let_go(self) -> None:
        """Ends it at once."""
        self.over = True
        self.left.set()
        if self.dialled is not None:
            self.dialled.socket.abort(None)
        self.living.cancel()

    async def open(self, transport: Transport, *, settings: Settings, tasks: anyio.abc.TaskGroup) -> Ending | None:
        """Dials and sets up. Returns how that ended where it failed; None: it is set up, or `single_use` forbids it."""
        bounds = settings.deadlines
        try:
            self.dialled = await dial(self.provider, transport, bounds=bounds, tasks=tasks)
            if self.dialled is not None:
                self.phase = "setup"
                with anyio.fail_after(bounds.setup):
                    await self._set_up(self.dialled, self.provider.connection())
        except ConfigError:
            return Ending(cause="credential", reason="there is none", sent_by_us=True)
        except TimeoutError:
            overdue: Cause = "setup_deadline" if self.phase == "setup" else "dial_deadline"
            return Ending(cause=overdue, sent_by_us=True, confirmed=False)
        except (LinkError, _Refused) as failed:
            return failed.ending
        except WireError as failed:
            return _malformed(failed)
        return None

    async def _set_up(self, dialled: Dialled, connection: Connection) -> None:
        dialled.socket.send(connection.setup(handle=None, seeded=True))
        done: list[WireEvent] = []
        while not any(type(event) is SetupDone for event in done):
            done += _said(connection.receive(await dialled.socket.receive()))
        set_up = SetUp(connection=connection, at=anyio.current_time())
        set_up.heard(done)
        self.dialled = msgspec.structs.replace(dialled, set_up=set_up)
        self.phase = "live"

    async def hear(self, set_up: SetUp, socket: Socket) -> Ending | None:
        """Reads, which answers the peer's pings, and keeps what is said.

        Returns:
            How the session ended; None: its end was announced.
        """
        known = set_up.ends_at
        try:
            while set_up.ends_at == known:
                set_up.heard(_said(set_up.connection.receive(await socket.receive())))
        except (SocketEnded, _Refused) as ended:
            return ended.ending
        except WireError as failed:
            return _malformed(failed)
        return None

    def closure(self, ending: Ending, *, lived: float, settings: Settings) -> Closure:
        """Describes its end as that of a link.

        Args:
            ending: how it ended.
            lived: for how many seconds it had been set up.
            settings: say after how many seconds a link is healthy.
        """
        profile = self.provider.profile
        facts = Facts(
            sent_by_us=ending.sent_by_us, healthy=lived >= settings.healthy_after, unserved=bool(self.provider.advice)
        )
        return Closure(
            platform=profile.platform, phase=self.phase, ending=ending, facts=facts, model=profile.model, age=lived
        )


def _said(events: Sequence[WireEvent]) -> Sequence[WireEvent]:
    """Returns the events.

    Raises:
        _Refused: one of them says that the session ends.
    """
    for event in events:
        if type(event) is ProviderFault:
            raise _Refused(event)
    return events


def _malformed(failed: WireError) -> Ending:
    return Ending(cause="malformed", reason=str(failed)[:123], sent_by_us=True, confirmed=False)


def _innermost(error: Exception) -> BaseException:
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found


class Ready:
    """Keeps one session set up at the target where a failover would lead, and never more than one.

    Args:
        name: the session's name.
        targets: the route as a policy sees it.
        providers: of the targets, in the same order.
        transport: what it goes over.
        settings: the session's bounds.
        fleet: whose ceilings hold for it as for other spares.
        random: gives numbers from 0 to 1, 1 excluded.
        situation: says where the session stands.
        note: takes in what the end of such a session says of its target, whose index is the situation's `current`.
    """

    def __init__(
        self,
        name: str,
        *,
        targets: Sequence[TargetState],
        providers: Sequence[Provider],
        transport: Transport,
        settings: Settings,
        fleet: Fleet,
        random: Callable[[], float],
        situation: Callable[[float], Situation],
        note: Callable[[Closure, Situation], Fault],
    ) -> None:
        self._name = name
        self._targets = tuple(targets)
        self._providers = tuple(providers)
        self._transport = transport
        self._settings = settings
        self._fleet = fleet
        self._random = random
        self._situation = situation
        self._note = note
        self._waiting: _Waiting | None = None
        self._upkeep: dict[int, Upkeep] = {}
        self._forbidden: set[int] = set()

    def __repr__(self) -> str:
        one = self._waiting
        return f"<Ready {self._targets[one.target].name if one is not None else 'nowhere'}>"

    def configured(self, targets: Sequence[TargetState], providers: Sequence[Provider]) -> None:
        """Takes the same route with other configurations. What was set up with another one is let go.

        Args:
            targets: the route as a policy sees it.
            providers: of the targets, in the same order.
        """
        self._targets, self._providers = tuple(targets), tuple(providers)
        self._upkeep.clear()  # what was refused for its configuration may be taken now
        if self._waiting is not None and self._waiting.provider is not self._providers[self._waiting.target]:
            self._waiting.let_go()

    def at(self, target: int) -> bool:
        """Says whether a failover to a target would find its session set up.

        Args:
            target: an index into the route.
        """
        one = self._waiting
        if one is None or one.target != target or one.phase != "live" or one.dialled is None:
            return False
        return one.dialled.socket.ending is None

    def ask(self) -> None:
        """Asks for a sign of life, since the path of the link is in question."""
        if self._waiting is not None and self._waiting.dialled is not None:
            self._waiting.dialled.socket.ping()

    def take(self, target: int, *, since: float) -> Dialled | None:
        """Hands the session over that is set up at a target. One that is set up in part, or not trusted, is let go.

        Args:
            target: an index into the route.
            since: one that gave no sign of life since then is not trusted; `math.inf`: it will not do in any case.
        """
        one = self._waiting
        if one is None or one.target != target:
            return None
        trusted = self.at(target) and one.dialled is not None and one.dialled.socket.last_received >= since
        self._waiting = None
        if trusted:
            return one.take()
        one.let_go()
        return None

    async def run(self, tasks: anyio.abc.TaskGroup) -> None:
        """Keeps one for as long as the session lives.

        Args:
            tasks: where each lives, also when a link has taken it.
        """
        while True:
            now, target = anyio.current_time(), self._chosen()
            wait = LOOK if target is None else self._kept(target).dial_at - now
            if target is None or wait > 0:
                await anyio.sleep(min(wait, LOOK))
                continue
            one = self._waiting = _Waiting(target, provider=self._providers[target])
            tasks.start_soon(self._live, one, name=f"{self._name} ready at {self._targets[target].name}")
            await one.left.wait()
            if one.over:  # a link has it, or an update is under way: those come first
                await anyio.sleep(LOOK)

    def _chosen(self) -> int | None:
        target = next_target(self._fleet.view(self._situation(anyio.current_time())))
        return None if target in self._forbidden else target

    def _kept(self, target: int) -> Upkeep:
        age = ready_age(self._providers[target].profile.lifetime)
        upkeep = self._upkeep.setdefault(target, upkeep_of_ready(age))
        upkeep.want(anyio.current_time(), until=float("inf"))
        return upkeep

    async def _live(self, one: _Waiting) -> None:
        try:
            with one.living:
                async with anyio.create_task_group() as tasks:
                    await self._keep(one, tasks)
        except Exception as failed:  # because a bug in a transport or a codec ends its spare, never the session
            logger.error("session %s: a spare that was set up failed with %s", self._name, type(_innermost(failed)).__name__)
            self._forbidden.add(one.target)
            if one.dialled is not None:  # a link may have it
                one.dialled.socket.abort(Ending(cause="crash", sent_by_us=True, confirmed=False))
        finally:
            if self._waiting is one:
                self._waiting = None
            one.left.set()

    async def _keep(self, one: _Waiting, tasks: anyio.abc.TaskGroup) -> None:
        upkeep = self._kept(one.target)
        permit = self._fleet.spare(self._targets[one.target], now=anyio.current_time())
        if permit is None:
            upkeep.failed(None, anyio.current_time(), random=self._random())
            return
        ending = await self._opened(one, permit, tasks)
        if ending is not None:
            self._failed(one, ending, upkeep)
        elif one.dialled is None or one.dialled.set_up is None:
            self._forbidden.add(one.target)
        else:
            await self._hold(one, one.dialled, one.dialled.set_up, upkeep)
        if one.dialled is not None and not one.over:
            await self._close(one.dialled.socket)

    async def _opened(self, one: _Waiting, permit: Permit, tasks: anyio.abc.TaskGroup) -> Ending | None:
        try:
            ending = await one.open(self._transport, settings=self._settings, tasks=tasks)
            if one.phase == "live":
                self._fleet.came_up(permit)
            return ending
        finally:
            self._fleet.give_back(permit, now=anyio.current_time())

    def _failed(self, one: _Waiting, ending: Ending, upkeep: Upkeep) -> None:
        fault, now = self._noted(one, ending, lived=0.0), anyio.current_time()
        told = upkeep.failed(ending, now, random=self._random())
        if fault.kind in _TOLD and not told:
            told = True
            upkeep.refused(now, retry_after=fault.retry_after)
        if told:
            logger.warning(
                "session %s: no spare can be set up at %s (%s); a failover to it is going to be dialled as usual",
                self._name,
                self._targets[one.target].name,
                msgspec.structs.replace(ending, reason="").describe(),  # its words may quote a key
            )

    def _noted(self, one: _Waiting, ending: Ending, *, lived: float) -> Fault:
        situation = msgspec.structs.replace(
            self._situation(anyio.current_time()), current=one.target, phase=one.phase, age=lived, useful=False
        )
        return self._note(one.closure(ending, lived=lived, settings=self._settings), situation)

    async def _hold(self, one: _Waiting, dialled: Dialled, set_up: SetUp, upkeep: Upkeep) -> None:
        """Keeps it until it is taken, or too old, or over, or wanted no more."""
        ending: Ending | None = None
        with one.holding:
            ending = await self._watch(one, set_up, dialled.socket, old_at=upkeep.opened(set_up.at))
        if one.over:
            dialled.released.set()
            return
        if self._waiting is one:
            self._waiting = None  # it is being closed from here on, and must not be taken meanwhile
        now = anyio.current_time()
        upkeep.unused(now, opened_at=set_up.at)
        if ending is not None:
            self._noted(one, ending, lived=now - set_up.at)

    async def _watch(self, one: _Waiting, set_up: SetUp, socket: Socket, *, old_at: float) -> Ending | None:
        """Returns how it ended; None: it is too old, or failovers would lead elsewhere."""
        while self._chosen() == one.target:
            now = anyio.current_time()
            until = min(old_at, set_up.ends_at - SILENT)
            if now >= until:
                return None
            if now - socket.last_received > SILENT:
                return Ending(cause="ping_timeout", sent_by_us=True, confirmed=False)
            socket.ping()
            with anyio.move_on_after(min(LOOK, until - now)):
                if (ending := await one.hear(set_up, socket)) is not None:
                    return ending
        return None

    async def _close(self, socket: Socket) -> None:
        """Ends a session that nobody used in good order, so that the service counts it no longer than it must."""
        socket.close(1000)
        with anyio.move_on_after(self._settings.deadlines.close):
            try:
                while True:
                    await socket.receive()
            except SocketEnded:
                pass
        if socket.ending is None:
            socket.abort(None)
