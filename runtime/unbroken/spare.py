"""Spares: connections that are open ahead of need, TCP, TLS and upgrade done and nothing sent.

A link that is set up on one costs a single round trip. No spare is ever an outage: what goes wrong with one is its own
affair. One that is set up besides, at the target of a failover, is kept by `unbroken.ready`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import anyio
import anyio.abc
import msgspec

from unbroken.abc import Provider, Socket, Transport
from unbroken.ahead import Dialled, dial
from unbroken.config import Settings
from unbroken.core.fleet import Fleet
from unbroken.core.spares import Upkeep, other_target
from unbroken.decisions import Closure, Ending, Fault, Situation, TargetState
from unbroken.errors import ConfigError, DialFailed, SocketEnded
from unbroken.ready import Ready

__all__ = ["Spares"]

logger = logging.getLogger("unbroken")


class _Spare:
    """One target's spare while it is wanted: opened, opened anew when it is too old, taken once."""

    def __init__(self, target: int, *, upkeep: Upkeep, settled: Callable[[], object]) -> None:
        self.target = target
        self.upkeep = upkeep
        self.settled = settled
        self.dialled: Dialled | None = None
        self.over = False
        """It is taken or let go: whoever still runs for it ends."""
        self._holding = anyio.CancelScope()
        self._living = anyio.CancelScope()

    def take(self) -> Dialled | None:
        """Hands the open connection over; None: there is none. Whatever else goes on for it ends."""
        self.over = True
        dialled = self.dialled
        if dialled is None or dialled.socket.ending is not None:
            self._living.cancel()
            return None
        self._holding.cancel()  # its own tasks live on with the socket
        return dialled

    def let_go(self) -> None:
        """Closes it at once."""
        self.over = True
        if self.dialled is not None:
            self.dialled.socket.abort(None)
        self._living.cancel()

    async def live(self, spares: Spares) -> None:
        """Keeps a spare until it is taken or not wanted any more."""
        with self._living:
            while not self.over and self.upkeep.wanted(anyio.current_time()):
                await anyio.sleep_until(self.upkeep.dial_at)
                await self._once(spares)

    async def _once(self, spares: Spares) -> None:
        async with anyio.create_task_group() as tasks:
            try:
                self.dialled = await spares.open(self, tasks)
            finally:
                self.settled()
            if self.dialled is not None:
                await self._hold(self.dialled, spares.close_within)

    async def _hold(self, dialled: Dialled, close_within: float) -> None:
        """Keeps an open connection until it is taken, too old or over; reading answers the peer's pings."""
        opened_at, socket = anyio.current_time(), dialled.socket
        self._holding = anyio.CancelScope(deadline=self.upkeep.opened(opened_at))
        with self._holding:
            await _read(socket)
        if self.over:
            dialled.released.set()
            return
        self.dialled = None
        self.upkeep.unused(anyio.current_time(), opened_at=opened_at)
        socket.close(1000)
        with anyio.move_on_after(close_within):
            await _read(socket)
        if socket.ending is None:
            socket.abort(None)


async def _read(socket: Socket) -> None:
    """Reads to the end of a socket on which the peer has nothing to say."""
    try:
        while True:
            await socket.receive()
    except SocketEnded:
        pass


class Spares:
    """The spares of one session: at most one that is dialled for each target, and one that is set up at another target.

    Args:
        name: the session's name.
        targets: the route as a policy sees it.
        providers: of the targets, in the same order.
        transport: what spares go over.
        settings: the session's bounds.
        fleet: whose ceilings hold for spares too, which leave half of them to links.
        random: gives numbers from 0 to 1, 1 excluded.
        settled: called when a spare that was asked for is open, or was not to be had.
        situation: says where the session stands.
        note: takes in what the end of a spare that was set up says of its target (`unbroken.ready`).
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
        settled: Callable[[], object],
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
        self._settled = settled
        self._situation = situation
        self.ready = Ready(
            name,
            targets=targets,
            providers=providers,
            transport=transport,
            settings=settings,
            fleet=fleet,
            random=random,
            situation=situation,
            note=note,
        )
        """What is set up at another target, where the settings ask for that."""
        self._keeping = False
        self._tasks: anyio.abc.TaskGroup | None = None
        self._upkeep: dict[int, Upkeep] = {}
        self._spares: dict[int, _Spare] = {}
        self._forbidden: set[int] = set()
        self._asked_at = -math.inf

    def __repr__(self) -> str:
        kept = ", ".join(self._targets[index].name for index in self._spares)
        return f"<Spares of {self._name!r}: {kept or 'none'}>"

    @property
    def close_within(self) -> float:
        """Seconds that the closing handshake of an unused spare may take."""
        return self._settings.deadlines.close

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Lets spares be opened.

        Args:
            tasks: where they live; they end with it.
        """
        self._tasks = tasks

    def configured(self, targets: Sequence[TargetState], providers: Sequence[Provider]) -> None:
        """Takes the same route with other configurations. A spare of another provider than before is let go: that one may
        lead elsewhere.

        Args:
            targets: the route as a policy sees it.
            providers: of the targets, in the same order.
        """
        self.ready.configured(targets, providers)
        others = [index for index in self._spares if providers[index] is not self._providers[index]]
        self._targets, self._providers = tuple(targets), tuple(providers)
        for index in others:
            self._spares.pop(index).let_go()

    def up(self) -> None:
        """A link is up. From the first one on, a session is kept ready at the target of a failover, where that is wanted."""
        if self._tasks is not None and self._settings.spare == "ready" and len(self._targets) > 1 and not self._keeping:
            self._keeping = True
            self._tasks.start_soon(self.ready.run, self._tasks, name=f"{self._name} ready")

    def want_other(self) -> None:
        """The present target is dialled: has a spare open where a failover would lead, if one is near and none is ready."""
        if len(self._targets) > 1:
            other = other_target(self._situation(anyio.current_time()))
            if other is not None and not self.ready.at(other):
                self.want(other, while_up=False)

    def want(self, target: int, *, while_up: bool) -> None:
        """Has a spare open, soon and for a while; never waits. It is settled at once where there is one or can be none.

        Args:
            target: an index into the route.
            while_up: as long as the present link lives; False: for as long as one spare may grow old.
        """
        if self._tasks is None or self._settings.spare == "never" or target in self._forbidden:
            self._settled()
            return
        now = anyio.current_time()
        upkeep = self._upkeep.setdefault(target, Upkeep(age=self._settings.spare_age))
        upkeep.want(now, until=math.inf if while_up else now + self._settings.spare_age)
        if not while_up:
            self.ask()
        spare = self._spares.get(target)
        if (spare is not None and spare.dialled is not None) or not upkeep.wanted(now):
            self._settled()
        elif spare is None:
            spare = self._spares[target] = _Spare(target, upkeep=upkeep, settled=self._settled)
            self._tasks.start_soon(self._live, spare, name=f"{self._name} spare to {self._targets[target].name}")

    def ask(self) -> None:
        """Asks every open spare for a sign of life, since the link's own path is in question."""
        self._asked_at = anyio.current_time()
        self.ready.ask()
        for spare in self._spares.values():
            if spare.dialled is not None:
                spare.dialled.socket.ping()

    def take(self, target: int, *, fresh: bool, path_died_at: float) -> Dialled | None:
        """Takes the spare to a target for the next link. Those that were kept for the link before are let go.

        Args:
            target: an index into the route.
            fresh: the link begins a fresh session, so that one which is set up already will do.
            path_died_at: see `unbroken.core.spares.path_died_at`. Where it may have died, a spare that has shown no life
                since then, and since it was last asked for it, is not trusted.

        Returns:
            The open connection; None: there is none, so the link is dialled.
        """
        since = max(path_died_at, self._asked_at) if path_died_at > -math.inf else -math.inf
        ready = self.ready.take(target, since=since if fresh else math.inf)
        spare = self._spares.pop(target, None)
        for index, upkeep in self._upkeep.items():
            if index == target or upkeep.for_ever:
                upkeep.drop()
                if index in self._spares:
                    self._spares.pop(index).let_go()
        if spare is None or ready is not None:
            if spare is not None:
                spare.let_go()
            return ready
        if spare.dialled is not None and spare.dialled.socket.last_received < since:
            spare.let_go()
            return None
        return spare.take()

    async def _live(self, spare: _Spare) -> None:
        try:
            await spare.live(self)
        except Exception as failed:  # because a bug in a transport's own task ends its spare, never the session
            logger.error("session %s: a spare connection failed with %s", self._name, type(failed).__name__)
            self._forbidden.add(spare.target)
            if spare.dialled is not None:  # a link may have it
                spare.dialled.socket.abort(Ending(cause="crash", sent_by_us=True, confirmed=False))
        finally:
            if self._spares.get(spare.target) is spare:
                del self._spares[spare.target]

    async def open(self, spare: _Spare, tasks: anyio.abc.TaskGroup) -> Dialled | None:
        """Dials one spare, where the fleet leaves room for it.

        Args:
            spare: whose.
            tasks: where the socket's own tasks run.

        Returns:
            The open connection; None: there is none, and the spare's upkeep knows what follows.
        """
        index = spare.target
        permit = self._fleet.spare(self._targets[index], now=anyio.current_time())
        ending: Ending | None = None
        if permit is not None:
            try:
                dialled = await dial(self._providers[index], self._transport, bounds=self._settings.deadlines, tasks=tasks)
            except ConfigError:
                ending = Ending(cause="credential", reason="there is none", sent_by_us=True)
            except DialFailed as failed:
                ending = failed.ending
            except TimeoutError:
                ending = Ending(cause="dial_deadline", sent_by_us=True)
            else:
                if dialled is None:
                    self._forbidden.add(index)
                    spare.upkeep.drop()
                return dialled
            finally:
                self._fleet.give_back(permit, now=anyio.current_time())
        if spare.upkeep.failed(ending, anyio.current_time(), random=self._random()) and ending is not None:
            logger.warning(
                "session %s: a spare connection to %s was refused (%s); the next link is going to be dialled as usual",
                self._name,
                self._targets[index].name,
                msgspec.structs.replace(ending, reason="").describe(),  # its words may quote a key
            )
        return None
