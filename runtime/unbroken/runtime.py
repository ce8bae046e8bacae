"""The runtime: it owns every task, the policy actor, and what sessions share. No task outlives it."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import random as _random
import reprlib
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast

import anyio
import anyio.abc

from unbroken import registry
from unbroken.abc import Observer, Policy, Transport
from unbroken.actors.supervisor import Intensity, RestartsExhausted, supervise
from unbroken.config import Route, Settings
from unbroken.core.classify import Rule
from unbroken.core.fleet import Fleet
from unbroken.core.given import turns_of
from unbroken.core.policy import DefaultPolicy
from unbroken.errors import ConfigError, UnbrokenError
from unbroken.events import Escalated, Turn
from unbroken.messages import AskPolicy
from unbroken.observers import Observers
from unbroken.outlet import Outlet
from unbroken.policy_actor import PolicyActor
from unbroken.recorder import Folder, Recording
from unbroken.route import Providers
from unbroken.session import Session
from unbroken.summary import GuardedSummary
from unbroken.supervisor import SessionSupervisor
from unbroken.watchdog import Watchdog

__all__ = ["Runtime", "connect"]

logger = logging.getLogger("unbroken")

_REPR = reprlib.Repr()
_REPR.maxother = 200

_CLOSING_MARGIN = 1.0
"""Seconds beyond its own deadline that a session's closing may take before its tasks are cancelled."""


class Runtime:
    """Holds any number of sessions, one policy actor and the `Fleet` they share::

        async with unbroken.Runtime() as runtime:
            session = runtime.open("gemini/gemini-3.8-live")

    Leaving the block closes the sessions, and waits for that no longer than their closing deadlines. An exception of the
    block leaves it as it is, never as a group.

    Args:
        transport: what links go over; None: WebSockets over TCP and TLS.
        fleet: the state that sessions share; None: a new one.
        observers: are told what happens in the sessions, such as `unbroken.telemetry.Telemetry`.
        recordings: a folder; what led to it is written there for each session that is given up, for `unbroken replay`. None:
            the folder that the environment's UNBROKEN_RECORDINGS names; where it names none, nothing is written.
        random: gives numbers from 0 to 1, 1 excluded, for jitter; tests give their own.
    """

    def __init__(
        self,
        *,
        transport: Transport | None = None,
        fleet: Fleet | None = None,
        observers: Sequence[Observer] = (),
        recordings: str | os.PathLike[str] | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.fleet = fleet if fleet is not None else Fleet()
        self._transport = transport
        self._random = random
        folder = recordings if recordings is not None else os.environ.get("UNBROKEN_RECORDINGS")
        self._recordings = Folder(folder) if folder else None
        self._observers = Observers(observers)
        self._policy = PolicyActor(self.fleet)
        self._policy_gone = False
        self._watchdog = Watchdog()
        self._sessions: dict[str, Session] = {}
        self._settings: dict[str, Settings] = {}
        self._numbers = itertools.count(1)
        self._tasks: anyio.abc.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Runtime {len(self._sessions)} sessions{'' if self._tasks is not None else ', not running'}>"

    async def __aenter__(self) -> Runtime:
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        self._tasks = tasks
        tasks.start_soon(self._keep_policy, name="unbroken policy")
        tasks.start_soon(self._watchdog.run, name="unbroken watchdog")
        self._observers.started(self.fleet)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        closing = max((s.deadlines.close for s in self._settings.values()), default=0.0)
        tasks, self._tasks = self._tasks, None
        try:
            with anyio.move_on_after(closing + _CLOSING_MARGIN, shield=True):
                async with anyio.create_task_group() as closers:
                    for session in list(self._sessions.values()):
                        closers.start_soon(session.aclose)
        finally:
            tasks.cancel_scope.cancel()
            # the tasks report to their sessions; what the body raised is not wrapped into a group with them
            await tasks.__aexit__(None, None, None)

    def open(
        self,
        route: Route,
        *,
        config: Any = None,
        policy: Policy | str | None = None,
        rules: str | Sequence[Rule | str] = (),
        settings: Settings | None = None,
        name: str | None = None,
        transport: Transport | None = None,
        history: Sequence[Turn] = (),
        summary: Callable[[Sequence[Turn]], str] | None = None,
    ) -> Session:
        """Opens a session; its first link is dialled in the background.

        Args:
            route: where it may go.
            config: the provider's own session configuration, for targets without one of their own.
            policy: decides what is done about faults: an object, a name registered in ``unbroken.policies``, or
                "module:object"; None: the default policy.
            rules: rows of classification that come before the provider's: the application's own, or the name of a set that
                is registered in ``unbroken.rules``.
            settings: the session's bounds; None: the defaults.
            name: for people; unique within the runtime. None: "session-1" and so on.
            transport: what its links go over; None: the runtime's.
            history: what was said before, the oldest turn first; the first link begins with it, and the model answers none
                of it. Turns beyond `Settings.history_bound` are forgotten from the front.
            summary: tells in a few words what was said in turns, the oldest first, that a link's history has no room for
                (`Settings.history_tokens`), and is told in their place. It is called while a link is dialled, so it has to
                be quick. Where it fails, or is None, those turns are left out.

        Raises:
            ConfigError: the route, the configuration, the policy, the rules or the history cannot work; the text says what
                would have worked.
            UnbrokenError: the runtime is not running.
        """
        if self._tasks is None:
            raise UnbrokenError("the runtime is not running; use it as `async with unbroken.Runtime() as runtime:`")
        name = self._named(name)
        providers = Providers.of(name, route, config=config)
        settings = settings if settings is not None else Settings()
        rows = registry.rules(rules)
        chosen = registry.policy(policy) if policy is not None else DefaultPolicy()
        outlet = Outlet(settings.event_bound)
        recording = Recording(
            name,
            targets=[target.name for target in providers.targets],
            settings=settings,
            policy=policy if isinstance(policy, str) else "default" if type(chosen) is DefaultPolicy else "",
            policy_repr=_REPR.repr(chosen),
        )
        supervisor = SessionSupervisor(
            name,
            providers=providers,
            transport=transport or self._default_transport(),
            settings=settings,
            fleet=self.fleet,
            ask=self._ask,
            decide=self._policy.decide_now,
            note=functools.partial(self._policy.note, name),
            random=self._random,
            outlet=outlet,
            recording=recording,
            given_up=lambda: self._keep(recording),
            watch=self._watchdog.watch,
        )
        supervisor.pipe.conversation.recall(turns_of("history", history))
        supervisor.pipe.continuity.summary = GuardedSummary(name, summary) if summary is not None else None
        session = Session(name, supervisor=supervisor, outlet=outlet, providers=providers)
        self._policy.enroll(
            name,
            policy=chosen,
            rules=[(*rows, *provider.rules) for provider in providers.each],
            reply=supervisor.take,
        )
        self._sessions[name], self._settings[name] = session, settings
        profiles = [provider.profile for provider in providers.each]
        outlet.tell = self._observers.opened(name, targets=providers.states, profiles=profiles)
        self._tasks.start_soon(self._carry, session, supervisor, outlet, name=f"unbroken {name}")
        return session

    def _default_transport(self) -> Transport:
        """Makes the transport of sessions that name none, once a first one is opened: `import unbroken` does not load it."""
        if self._transport is None:
            if "asyncio" in sys.modules:  # else trio runs, which does not have to load it
                from unbroken.transports.fast import FastTransport

                self._transport = FastTransport()
            else:
                from unbroken.transports.websocket import WebSocketTransport

                self._transport = WebSocketTransport()
        return self._transport

    def _named(self, name: str | None) -> str:
        name = name if name is not None else f"session-{next(self._numbers)}"
        if name in self._sessions:
            raise ConfigError(f"a session named {name!r} is open in this runtime; give it another name, or none")
        return name

    def _ask(self, question: AskPolicy) -> bool:
        return not self._policy_gone and self._policy.mailbox.post(question)

    def _keep(self, recording: Recording) -> None:
        if self._recordings is not None:
            self._recordings.keep(recording, now=anyio.current_time(), written=datetime.now(UTC))

    async def _keep_policy(self) -> None:
        try:
            await supervise(
                self._policy.run, name="policy", intensity=Intensity(restarts=3, period=5.0), on_crash=_policy_crashed
            )
        except RestartsExhausted:
            self._policy_gone = True
            logger.error("the policy actor crashed too often; sessions take the built-in decisions from now on")

    async def _carry(self, session: Session, supervisor: SessionSupervisor, outlet: Outlet) -> None:
        """Is a session's task: whatever happens in it ends that session, never the process."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(supervisor.run, name=f"{session.name} supervisor")
                tasks.start_soon(supervisor.pipe.run, name=f"{session.name} pipe")
                supervisor.begin(tasks)
                await supervisor.ended.wait()
                tasks.cancel_scope.cancel()
        except Exception as crash:  # because a bug in one session's actors must not end the others
            logger.exception("session %s crashed", session.name)
            self._keep(supervisor.recording)
            outlet.end(
                Escalated(
                    because=f"The session's own code failed: {_innermost(crash)!r}.",
                    advice="This is a bug in unbroken or in a plugin; please report it with the traceback from the log.",
                )
            )
        finally:
            supervisor.release()
            self._policy.dismiss(session.name, now=anyio.current_time())
            self._sessions.pop(session.name, None)
            self._settings.pop(session.name, None)
            outlet.end()
            session.finished()
            self._observers.closed(session.name)


@asynccontextmanager
async def connect(
    route: Route,
    *,
    config: Any = None,
    policy: Policy | str | None = None,
    rules: str | Sequence[Rule | str] = (),
    settings: Settings | None = None,
    name: str | None = None,
    transport: Transport | None = None,
    observers: Sequence[Observer] = (),
    recordings: str | os.PathLike[str] | None = None,
    history: Sequence[Turn] = (),
    summary: Callable[[Sequence[Turn]], str] | None = None,
) -> AsyncGenerator[Session]:
    """Opens one session in a runtime of its own, and closes it at the end of the block::

        async with unbroken.connect("gemini/gemini-3.8-live") as session:
            await session.send_text("Hello!")
            async for event in session:
                ...

    The block begins before the first link is live; what is sent meanwhile waits in order. An exception of the block leaves
    it as it is. The arguments are those of `Runtime.open`; `observers` and `recordings` are those of `Runtime`.
    """
    async with Runtime(transport=transport, observers=observers, recordings=recordings) as runtime:
        yield runtime.open(
            route,
            config=config,
            policy=policy,
            rules=rules,
            settings=settings,
            name=name,
            history=history,
            summary=summary,
        )


def _policy_crashed(crash: Exception, restarts: int) -> None:
    logger.error("the policy actor crashed and is restarted (%d)", restarts, exc_info=crash)


def _innermost(error: Exception) -> BaseException:
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found
