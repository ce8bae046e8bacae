"""A session's route, ready to be dialled: its targets, and a provider for each of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from unbroken import registry
from unbroken.abc import Provider
from unbroken.config import Route, Target, targets_of
from unbroken.decisions import TargetState
from unbroken.errors import ConfigError

__all__ = ["Configured", "Providers"]

logger = logging.getLogger("unbroken")


class Providers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The targets of one session's route with what dials them.

    Attributes:
        session: the session's name.
        targets: in order of preference.
        each: the provider of each, in the same order.
        states: the route as a policy sees it.
    """

    session: str
    targets: tuple[Target, ...]
    each: tuple[Provider, ...]
    states: tuple[TargetState, ...]

    def __repr__(self) -> str:
        return f"<Providers of {self.session!r}: {', '.join(target.name for target in self.targets)}>"

    @property
    def takes_images(self) -> bool:
        """Some target takes images of what the user shows."""
        return any(provider.profile.images for provider in self.each)

    @classmethod
    def of(cls, session: str, route: Route, *, config: Any) -> Providers:
        """Makes the providers of a route.

        Args:
            session: the session's name.
            route: where it may go.
            config: the session's configuration, for targets without their own.

        Raises:
            ConfigError: the route or the configuration cannot work; the text says what would have worked.
        """
        targets = targets_of(route)
        return cls._made(session, targets, [_provider(target, config) for target in targets])

    def configured(self, config: Any, *, own: Mapping[str, Any]) -> Providers:
        """Makes the providers of the same targets for another configuration.

        Args:
            config: for targets that have none of their own; the others keep theirs, and their provider with it.
            own: configurations of single targets, by name, which are their own from now on.

        Raises:
            ConfigError: a configuration cannot work, or there is no such target; the text says what would have worked.
        """
        names = [target.name for target in self.targets]
        if strangers := sorted(set(own) - set(names)):
            raise ConfigError(f"the route has no target {' or '.join(strangers)}; it has {', '.join(names)}")
        targets, each = list(self.targets), list(self.each)
        for index, target in enumerate(self.targets):
            if target.name in own:
                targets[index] = msgspec.structs.replace(target, config=own[target.name])
            if target.name in own or target.config is None:
                each[index] = _provider(targets[index], config)
        made = self._made(self.session, tuple(targets), each)
        if (rate := each[0].profile.input_rate) != (now := self.each[0].profile.input_rate):
            raise ConfigError(f"this configuration takes audio at {rate} Hz, and the session goes on at {now} Hz")
        return made

    @classmethod
    def _made(cls, session: str, targets: tuple[Target, ...], each: Sequence[Provider]) -> Providers:
        _check_rates(targets, each)
        states = tuple(_state(index, *both) for index, both in enumerate(zip(targets, each, strict=True)))
        for state in states[1:]:
            if state.unfit:
                logger.warning("session %s will not fail over to %s: %s", session, state.name, state.unfit)
        return cls(session=session, targets=targets, each=tuple(each), states=states)


class Configured(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Application to supervisor: links are set up otherwise from now on.

    Attributes:
        providers: of the same route, some of them others than before.
        within: seconds after which a link that was set up otherwise is left at the latest.
    """

    providers: Providers
    within: float


def _provider(target: Target, config: Any) -> Provider:
    factory = registry.load("unbroken.providers", target.provider)
    provider: Provider = factory(target, config=config)
    return provider


def _check_rates(targets: Sequence[Target], providers: Sequence[Provider]) -> None:
    rates = {target.name: provider.profile.input_rate for target, provider in zip(targets, providers, strict=True)}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name}: {rate}" for name, rate in rates.items())
        raise ConfigError(f"the targets of a route must take audio at one rate; these differ: {listed}")


def _state(index: int, target: Target, provider: Provider) -> TargetState:
    return TargetState(
        name=target.name,
        index=index,
        quota_group=target.quota_group if target.quota_group is not None else target.name,
        credentials=target.credentials if target.credentials is not None else target.provider,
        endpoint=provider.host,
        context_tokens=provider.profile.context_tokens,
        unfit=provider.unfit,
    )
