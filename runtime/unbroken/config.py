"""What an application says when it opens a session: where it may go and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from unbroken.errors import ConfigError

__all__ = ["CutReply", "Deadlines", "Route", "Secret", "Settings", "Spare", "Target", "Wording", "targets_of"]

CutReply: TypeAlias = Literal["continue", "again", "leave"]
"""What becomes of a reply that an outage has cut; see `Settings.on_cut_reply`."""

Spare: TypeAlias = Literal["auto", "ready", "always", "never"]
"""When a connection is opened ahead of need; see `Settings.spare`."""


class Secret:
    """A key, token or resumption handle that cannot be printed.

    Args:
        value: the secret itself; read it with `reveal` where it goes on the wire, and nowhere else.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the secret. The caller keeps it out of messages, logs and errors."""
        return self._value

    def __repr__(self) -> str:
        return "<Secret>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: hand the credential over by itself")


class Target(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where a link may go: a provider, a model, its setup and its credentials.

    Attributes:
        model: the model's name as the provider spells it, without any prefix ("gemini-3.8-live").
        provider: the provider's registered name (entry point group ``unbroken.providers``).
        config: the provider's own session configuration for this target (Gemini: google-genai's ``LiveConnectConfig`` or
            a dict); None: the session's ``config``.
        options: what else the provider takes, by its own names (Gemini: see `unbroken_gemini.target`). Never printed.
        label: tells targets of one provider and model apart, by platform, region or account; part of `name`.
        quota_group: targets of one group share a quota, so a spent quota rules them all out; None: `name`.
        credentials: targets of one name share credentials, so a refused credential rules them all out; None: provider.
    """

    model: str
    provider: str = "gemini"
    config: Any = None
    options: Mapping[str, Any] = {}
    label: str = ""
    quota_group: str | None = None
    credentials: str | None = None

    @property
    def name(self) -> str:
        """``provider/model`` or ``provider/model@label``, as decisions and tables name the target."""
        return f"{self.provider}/{self.model}@{self.label}" if self.label else f"{self.provider}/{self.model}"

    def __repr__(self) -> str:
        return f"<Target {self.name}>"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Reads ``provider/model``; a bare model name means the default provider.

        Raises:
            ConfigError: one of the two is empty.
        """
        provider, slash, model = text.partition("/")
        if not text or (slash and not (provider and model)):
            raise ConfigError(f"a target is provider/model, such as 'gemini/gemini-3.8-live', or a model, not {text!r}")
        return cls(model=model, provider=provider) if slash else cls(model=text)


Route: TypeAlias = Target | str | Sequence[Target | str]
"""Where a session may go: a target, or several in order of preference. A string is ``provider/model``, or a model's name."""


def targets_of(route: Route) -> tuple[Target, ...]:
    """Returns the targets of a route, in order of preference.

    Raises:
        ConfigError: there is none, or two of them have one name.
    """
    parts = (route,) if isinstance(route, Target | str) else tuple(route)
    if not parts:
        raise ConfigError("the route is empty; give at least one target, such as 'gemini/gemini-3.8-live'")
    targets = tuple(part if isinstance(part, Target) else Target.parse(part) for part in parts)
    names = [target.name for target in targets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"the route names {' and '.join(twice)} twice; tell such targets apart with label=")
    return targets


def _check_positive(kind: str, bounds: msgspec.Struct) -> None:
    """Refuses a bound that no session could keep to.

    Raises:
        ConfigError: a number is not above 0, or is none.
    """
    for name in bounds.__struct_fields__:
        value = getattr(bounds, name)
        if isinstance(value, int | float) and not value > 0:
            raise ConfigError(f"{kind}.{name} has to be above 0, not {value!r}")


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long each phase of a link may last, in seconds.

    Attributes:
        credential: until the provider has named the endpoint and its credential. One timer runs for this and the dial, so
            what the one leaves the other may use.
        dial: name look-up and TCP connection, proxies included.
        tls: the TLS handshake.
        upgrade: the HTTP upgrade to WebSocket.
        setup: from the upgrade until the provider says the session is set up (300 to 800 ms are usual for Gemini).
        sign: after the user's turn ended, until anything at all comes from the peer: data, a pong or, where the transport
            can tell (docs/health.md), an acknowledgement.
        silence: while the user speaks on and on, between two such signs of the peer, each asked for by a ping (pongs of 8 to
            30 s were measured on healthy Gemini links).
        reply: after the user's turn ended, until a reply begins, and between two pieces of a reply once all that came has
            been played. A model that thinks for long has more (`unbroken.abc.Profile.thinking`); a tool call that waits for
            its answer, and an application that does not take its events, stop it.
        answer: where the model wrote down what the user said, and nothing says that the turn is over: of the user's silence,
            all pauses taken together, until a reply begins.
        noise: the same while something that is no silence goes on, since the last words that the model wrote down.
        decide: until the policy has answered; then the built-in decision is taken.
        close: the closing handshake; then the link is aborted. No recovery waits longer for a dead peer.
    """

    credential: float = 5.0
    dial: float = 3.0
    tls: float = 3.0
    upgrade: float = 3.0
    setup: float = 5.0
    sign: float = 4.0
    silence: float = 40.0
    reply: float = 8.0
    answer: float = 16.0
    noise: float = 45.0
    decide: float = 0.1
    close: float = 0.25

    def __post_init__(self) -> None:
        _check_positive("Deadlines", self)


_PLACES = {"go_on": "{heard}", "told": "{heard}", "over": "{said}"}


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is told where a session has to ask it for something by itself. Replace it by the caller's language.

    ``{heard}`` stands for what the caller heard of a cut reply: its words in quotation marks, or "the first 3 seconds of it"
    where there is no transcript. ``{said}`` stands for turns in quotation marks, with who said them.

    Attributes:
        go_on: asks for the rest of a cut reply.
        told: says before the user's turn is heard once more that the answer to it had begun, and from where to go on.
        again: asks for a cut reply once more, from its beginning.
        over: tells a resumed session what it is known to have lacked of turns that were answered, where the model might take
            each text for a question; the provider adds that no answer is needed.
        owed: asks for a reply that had not begun, where nothing else would; None: it is not asked for.
        speak: asks for a reply where the application gives no instructions (`Session.ask_reply`).

    Raises:
        ConfigError: a text is empty, or has a place in braces that it cannot have.
    """

    go_on: str = (
        "(The line was cut while you were speaking. The caller heard {heard}. Go on from right there: do not repeat any of"
        " it, and do not mention the cut.)"
    )
    told: str = (
        "(What follows, you have heard before, and you had begun to answer it when the line was cut. The caller heard"
        " {heard}. Go on from right there: do not repeat any of it, and do not mention the cut.)"
    )
    again: str = "(The line was cut while you were speaking. Say that again from its beginning, and do not mention the cut.)"
    over: str = "(This was said and answered before the line was cut. {said})"
    owed: str | None = "(The line was cut for a moment. Please go on.)"
    speak: str = "(Please speak now.)"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            text = getattr(self, name)
            place = _PLACES.get(name, "")
            if text is None:
                continue
            if not text.strip():
                raise ConfigError(f"Wording.{name} has no text in it")
            if "{" in (rest := text.replace(place, "")) or "}" in rest:
                known = f"{place} is the only place it can have" if place else "it can have no places"
                raise ConfigError(f"Wording.{name} has braces in it: {known}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one session.

    Attributes:
        deadlines: per phase.
        patience: seconds an outage may last in all, from when it is noticed, before the session escalates.
        healthy_after: seconds a link must have been up, and something useful must have come on it, before the
            counters of failures clear; the planned end of a younger link counts as a failure.
        attempts: links that may fail in a row, without a healthy stretch between, before the session escalates.
        recoveries: outages within one session before it escalates; planned ends, announced or documented, are
            not counted where the link had lived for `healthy_after`.
        audio_max_age: seconds; user audio older than this is reported as lost instead of replayed.
        catch_up: how many times faster than real time user audio goes out that had to wait for a link; above 1, or the user
            would never be caught up with. None: each model's own pace (`unbroken.abc.Profile.catch_up`).
        journal_bound: seconds of user audio kept for replay; what is dropped beyond it is counted as lost.
        history_bound: turns kept for a fresh link's history.
        history_tokens: tokens that a fresh link's history may take, by an estimate that errs high; the oldest turns are left
            out, the last one never. None, or more than the target's context window: half of that window, where it is known.
        event_bound: bytes of events waiting for the application; beyond it the link's reading pauses.
        consumer_patience: seconds of such a pause before the session escalates.
        spare: whether a connection is opened ahead of need (TCP, TLS and upgrade done, nothing sent), on which the next link
            is set up: "auto" where the present link is suspected or near its end; "always"; "never"; "ready" is "auto",
            and a session waits, set up, at the target where a failover would lead. docs/spares.md says what that costs.
        spare_age: seconds after which an unused spare is closed, and opened anew where it is still wanted.
        empty_turns: turns in a row that the model may end without anything in them, before the link counts as hung; a model
            that may choose to be silent is not counted (`unbroken.abc.Profile.may_be_silent`).
        on_cut_reply: what becomes of a reply that an outage has cut, if the user has not spoken since: "continue" asks the
            model to go on where the caller stopped hearing it, "again" to give it again, "leave" asks for nothing. What was
            received plays on in every case. See docs/continuity.md.
        wording: how the model is asked.
    """

    deadlines: Deadlines = Deadlines()
    patience: float = 60.0
    healthy_after: float = 10.0
    attempts: int = 64
    recoveries: int = 1000
    audio_max_age: float = 10.0
    catch_up: float | None = None
    journal_bound: float = 60.0
    history_bound: int = 500
    history_tokens: int | None = None
    event_bound: int = 8 * 1024 * 1024
    consumer_patience: float = 30.0
    spare: Spare = "auto"
    spare_age: float = 20.0
    empty_turns: int = 3
    on_cut_reply: CutReply = "continue"
    wording: Wording = Wording()

    def __post_init__(self) -> None:
        _check_positive("Settings", self)
        if self.catch_up is not None and not 1 < self.catch_up < float("inf"):
            raise ConfigError(f"Settings.catch_up has to be above 1, or no lag would ever be made up, not {self.catch_up!r}")
        for name, ways in (("spare", get_args(Spare)), ("on_cut_reply", get_args(CutReply))):
            if getattr(self, name) not in ways:
                raise ConfigError(f"Settings.{name} has to be {', '.join(map(repr, ways))}, not {getattr(self, name)!r}")
