"""What surrounds the targets: this machine, the way out of it, and the route as a whole."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from urllib.parse import urlsplit

from unbroken import __version__
from unbroken.abc import Finding, Provider
from unbroken.config import Target
from unbroken.errors import ConfigError, DialFailed, MissingCredential, MissingExtra, UnknownName
from unbroken.transports.proxy import proxy_for

__all__ = ["machine", "refusal", "route", "sentence", "way_out"]


def machine() -> Finding:
    """Names what runs here, as a report of a bug wants it."""
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    return Finding(check="machine", said=f"unbroken {__version__}, {python}.")


def way_out(host: str) -> Sequence[Finding]:
    """Names the proxy between here and a host, without its credentials.

    Args:
        host: with or without a port.
    """
    parts = urlsplit(f"//{host}")
    try:
        proxy = proxy_for(parts.hostname or host, parts.port or 443, secure=True)
    except DialFailed as failed:
        fix = "Set HTTPS_PROXY to the like of http://host:port, or name the host in NO_PROXY."
        return [Finding(check="proxy", verdict="problem", said=sentence(failed.ending.reason), fix=fix)]
    if proxy is None:
        return []
    return [Finding(check="proxy", said=f"The environment leads links through the proxy {proxy.host}:{proxy.port}.")]


def refusal(error: ConfigError) -> Finding:
    """Says why there is no provider for a target."""
    match error:
        case UnknownName(kind=kind, name=name, known=known, near=near):
            meant = f"Did you mean {' or '.join(near)}? " if near else ""
            return Finding(
                check=kind.partition(" ")[0],
                verdict="problem",
                said=f"Unknown {kind}: {name!r}.",
                fix=f"{meant}Known: {', '.join(known) or 'none'}.",
            )
        case MissingExtra(wanted=wanted, package=package, extra=extra):
            said = sentence(f"{wanted} needs the package {package!r}, which is not installed")
            return Finding(check="package", verdict="problem", said=said, fix=f"pip install 'unbroken[{extra}]'")
        case MissingCredential(wanted=wanted, fix=fix):
            return Finding(check="credential", verdict="problem", said=sentence(wanted), fix=sentence(fix))
        case _:
            return Finding(check="config", verdict="problem", said=sentence(str(error)))


def sentence(text: str) -> str:
    """Returns an error's text as a sentence of one line."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def route(targets: Sequence[Target], providers: Sequence[Provider | None]) -> Sequence[Finding]:
    """Looks at the targets of a route side by side: what takes all of them at once?

    Args:
        targets: the route.
        providers: of the targets, in the same order; None: there is none, and its target's report says why.
    """
    found: list[Finding] = []
    built = {target.name: provider for target, provider in zip(targets, providers, strict=True) if provider is not None}
    rates = {name: provider.profile.input_rate for name, provider in built.items()}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} at {rate} Hz" for name, rate in rates.items())
        said = f"The targets of a route have to take audio at one rate, and these do not: {listed}."
        found.append(Finding(check="route", verdict="problem", said=said, fix="Leave out those of another rate."))
    if len(targets) == 1:
        said = "The route has one target, so there is none to fail over to."
        fix = "Add a second: another model at least, better with credentials of its own, on another platform or provider."
        return [*found, Finding(check="route", verdict="warning", said=said, fix=fix)]
    if len({target.quota_group or target.name for target in targets}) == 1:
        said = "All targets share one quota, so it takes them all when it is used up."
        fix = "Add a target with a quota of its own: another model family, project or provider."
        found.append(Finding(check="route", verdict="warning", said=said, fix=fix))
    if len({target.credentials or target.provider for target in targets}) == 1:
        said = "All targets share one credential, so it takes them all when it is refused."
        fix = "Add a target with a credential of its own: another key, project, platform or provider."
        found.append(Finding(check="route", verdict="warning", said=said, fix=fix))
    return found or [Finding(check="route", said=f"{len(targets)} targets that do not share all of quota and credentials.")]
