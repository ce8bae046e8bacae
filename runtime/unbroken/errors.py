"""The exceptions of unbroken.

Faults of a connection are not exceptions: they reach the application as events. What is raised here is what the
application itself has to know or mend::

    UnbrokenError
    ├── ConfigError            what was asked for cannot work; the text names what would
    │   ├── UnknownName        a provider, policy, model or fault that nobody registered
    │   ├── MissingExtra       an optional package is not installed; the text names the extra
    │   ├── MissingCredential  no key or token was given or found; the text says how to give one
    │   └── OutboxFull         more texts, results and marks wait than may (`unbroken.core.outbox`)
    ├── SessionEscalated       the policy gave the session up; carries the whole story
    ├── SessionClosed          the session was used after ``aclose()``
    ├── ProblemsFound          calls would break as things are; carries the report (`unbroken.doctor`)
    ├── LinkError              one link failed; stays inside the runtime (transports raise it)
    │   ├── DialFailed         before there was a WebSocket: DNS, TCP, TLS, proxy, upgrade
    │   └── SocketEnded        the WebSocket ended, by whatever means
    └── WireError              a message that cannot be encoded or decoded

Bugs of this side have exceptions of their own, beside the code that finds them: ``IllegalInput``, ``MailboxFull``,
``MailboxClosed`` and ``RestartsExhausted``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unbroken.decisions import Ending
    from unbroken.events import Escalated

__all__ = [
    "ConfigError",
    "DialFailed",
    "LinkError",
    "MissingCredential",
    "MissingExtra",
    "SessionClosed",
    "SessionEscalated",
    "SocketEnded",
    "UnbrokenError",
    "UnknownName",
    "WireError",
]


class UnbrokenError(Exception):
    """The root of every exception that unbroken raises on purpose."""


class ConfigError(UnbrokenError):
    """What was asked for cannot work. The text says what would have worked."""


class UnknownName(ConfigError):
    """A name that nobody registered.

    Args:
        kind: what was looked for, as a person would say it ("provider", "model on the Gemini API").
        name: what was asked for.
        known: the names that would have worked; the nearest ones are named first in the text.

    Attributes:
        near: those of them that may have been meant, the likeliest first; empty: none is near.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(sorted(known))
        self.near = tuple(difflib.get_close_matches(name, self.known, n=3, cutoff=0.5))
        meant = f"; did you mean {' or '.join(repr(n) for n in self.near)}?" if self.near else ""
        listed = ", ".join(self.known) if self.known else "none"
        super().__init__(
            f"unknown {kind} {name!r}{meant} known: {listed}" if meant else f"unknown {kind} {name!r}; known: {listed}"
        )


class MissingExtra(ConfigError):
    """An optional package is not installed.

    Args:
        wanted: what needs the package.
        package: the package that could not be imported.
        extra: the extra of the distribution ``unbroken`` that brings it.
    """

    def __init__(self, wanted: str, *, package: str, extra: str) -> None:
        self.wanted = wanted
        self.package = package
        self.extra = extra
        super().__init__(f"{wanted} needs the package {package!r}, which is not installed: pip install 'unbroken[{extra}]'")


class MissingCredential(ConfigError):
    """No key or token was given or found.

    Args:
        wanted: what is missing ("no key for the Gemini API").
        fix: how to give one ("set GEMINI_API_KEY").
    """

    def __init__(self, wanted: str, *, fix: str) -> None:
        self.wanted = wanted
        self.fix = fix
        super().__init__(f"{wanted}: {fix}")


class SessionEscalated(UnbrokenError):
    """The policy gave the session up, and said so in ``story``.

    Attributes:
        story: the `Escalated` event that came last, with fault, attempts and advice.
    """

    def __init__(self, story: Escalated) -> None:
        self.story = story
        super().__init__(f"{story.because} Advice: {story.advice}" if story.advice else story.because)


class SessionClosed(UnbrokenError):
    """The session was used after it had been closed by this side."""


class LinkError(UnbrokenError):
    """One link failed.

    Attributes:
        ending: the facts, as far as a transport can know them.
    """

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        super().__init__(ending.describe())


class DialFailed(LinkError):
    """There is no WebSocket: DNS, TCP, TLS, a proxy or the HTTP upgrade failed."""


class SocketEnded(LinkError):
    """The WebSocket has ended: by a close frame, a reset, the end of the stream, or this side's own doing."""


class WireError(UnbrokenError):
    """A message that cannot be encoded or decoded; at run time it becomes a ``protocol`` fault."""
