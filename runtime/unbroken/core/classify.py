"""What a closure means: the first rule that matches names the fault. Rules are rows of data."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeAlias

import msgspec

from unbroken.decisions import Action, Carry, Cause, Closure, Ending, Facts, Fault, FaultKind, Phase
from unbroken.errors import ConfigError, UnknownName

__all__ = ["NOT_LIVE", "SURE", "Rule", "Span", "classify", "plain"]

Span: TypeAlias = int | tuple[int, int]
"""One number, or the first and the last of a range."""

SURE: Final = 0.7
"""The confidence from which on a rule is believed where that would end a session or keep others from a target."""

NOT_LIVE: Final[tuple[Phase, ...]] = ("dial", "tls", "upgrade", "setup")
"""The phases before the provider accepted the session."""

_FACTS: Final = frozenset(Facts.__struct_fields__)
_BLANKS: Final = frozenset({"model", "reason", "status"})
_HEAD: Final = 3
_WORD: Final = re.compile(r"\w+(?:[-./@]\w+)*")


class Rule(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One row: which closures it fits, and what they mean.

    A column that is left empty fits everything; all columns that are filled have to fit.

    The reason's words are the peer's only where nothing on this side ended the link. So `words` without `causes` fit no
    closure that has a cause: what the operating system or this side said of itself is never read as if the peer had.

    Attributes:
        id: unique among the rows that are used together; every fault names it.
        fault: what such a closure means.
        platforms: "gemini", "vertex", …; empty: any, also a platform that is not known.
        phases: where in its life the link was.
        codes: close codes, single or as ranges with both ends included.
        http: HTTP statuses, single or as ranges: of a refused upgrade, or of an error that the provider sent as a message
            and that stands in `Ending.code` (close codes begin at 1000).
        causes: what ended the link on this side.
        words: alternatives of which one has to occur in the reason; an alternative is one text, or several that all have to
            occur, in any order. They are read as `plain` reads them: whole words in any case of letters, never a part of a
            model's name or an id. A text that ends with ``*`` may go on ("exceed*"). Reasons are cut at 123 bytes (RFC 6455
            section 5.5) and prefixed with trace ids, so short texts match and whole sentences may not.
        facts: fields of `Facts` and what they have to be; of a number: at least that.
        action: what is to be done instead of the fault's default decision; None: the default.
        carry: how the conversation is to cross; None: the policy's choice.
        drop_media: whether the audio kept over the outage is what the peer refused; None: the policy's choice.
        because: one plain sentence on what happened; ``{model}``, ``{reason}`` and ``{status}`` are filled in.
        advice: what a person can do about it, filled in likewise; "": nothing is to be done.
        confidence: 0 to 1; below 1 such a closure is known to have other meanings too.
        otherwise: which meanings these are, the likeliest first.
        source: where the fact comes from: an RFC, a provider's page, an issue.

    Raises:
        ConfigError: the row names something that does not exist.
    """

    id: str
    fault: FaultKind
    platforms: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    codes: tuple[Span, ...] = ()
    http: tuple[Span, ...] = ()
    causes: tuple[Cause, ...] = ()
    words: tuple[str | tuple[str, ...], ...] = ()
    facts: Mapping[str, bool | int] = {}
    action: Action | None = None
    carry: Carry | None = None
    drop_media: bool | None = None
    because: str = ""
    advice: str = ""
    confidence: float = 1.0
    otherwise: tuple[FaultKind, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        for fact in self.facts:
            if fact not in _FACTS:
                raise UnknownName(f"fact in rule {self.id!r}", fact, _FACTS)
        for text in (self.because, self.advice):
            for _, blank, _, _ in string.Formatter().parse(text):
                if blank is not None and blank not in _BLANKS:
                    raise UnknownName(f"blank in rule {self.id!r}", blank, _BLANKS)
        if any(isinstance(span, tuple) and span[0] > span[1] for span in (*self.codes, *self.http)):
            raise ConfigError(f"rule {self.id!r} has a range that ends before it begins")
        if any(not piece.strip() for said in self._said for piece in said):
            raise ConfigError(f"rule {self.id!r} has words without a letter or a digit")

    def describe(self, *, words: int | None = None) -> str:
        """Returns what the row fits, in one line: ``gemini or vertex; phase setup; code 1011; says "quota"``.

        Args:
            words: how many alternatives are named; None: all.
        """
        said = [" + ".join(f'"{text}"' for text in _texts(said)) for said in self.words]
        if words is not None and len(said) > words + 1:
            said[words:] = [f"{len(said) - words} more"]
        columns = (
            ("", " or ".join(self.platforms)),
            ("phase ", " or ".join(self.phases)),
            ("code ", _spans(self.codes)),
            ("HTTP ", _spans(self.http)),
            ("cause ", ", ".join(self.causes)),
            ("", ", ".join(_fact(name, value) for name, value in self.facts.items())),
            ("says ", " or ".join(said)),
        )
        return "; ".join(label + text for label, text in columns if text)

    def fits(self, closure: Closure, *, said: str) -> bool:
        """Says whether the closure is of this row's kind.

        Args:
            closure: the closure.
            said: its reason, as `plain` returns it.
        """
        ending = closure.ending
        return (
            (not self.platforms or closure.platform in self.platforms)
            and (not self.codes or _within(ending.code, self.codes))
            and (not self.http or _within(_status(ending), self.http))
            and (not self.causes or ending.cause in self.causes)
            and (not self.phases or closure.phase in self.phases)
            and (not self.facts or _known(closure.facts, self.facts))
            and (not self.words or ((bool(self.causes) or ending.cause is None) and self._heard(said)))
        )

    @cached_property
    def _said(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(_piece(text) for text in _texts(said)) for said in self.words)

    def _heard(self, said: str) -> bool:
        for pieces in self._said:  # loops, because nested generators take five times as long
            for piece in pieces:
                if piece not in said:
                    break
            else:
                return True
        return False

    @cached_property
    def heads(self) -> frozenset[str]:
        """How a word of the reason has to begin for this row to fit; empty: that does not matter."""
        first = {pieces[0].lstrip().partition(" ") for pieces in self._said}
        if any(len(word) < _HEAD and not space for word, space, _ in first):
            return frozenset()
        return frozenset(word[:_HEAD] for word, _, _ in first)


def plain(reason: str) -> str:
    """Returns a reason as rows read it: its words in lower case, with a space before and behind each.

    Whatever is neither letter nor digit parts words, and so does an underscore between letters: RESOURCE_EXHAUSTED is two
    words. A name is one word whatever it is made of, so that no part of it is taken for what the service says:
    gemini-3.8-live, models/quota-test, v1beta_2.

    Args:
        reason: the peer's text.
    """
    return f" {' '.join(map(_parted, _WORD.findall(reason.lower())))} "


def classify(closure: Closure, rules: Sequence[Rule]) -> Fault:
    """Says what a closure means.

    Args:
        closure: how the link ended.
        rules: the rows in order, as `unbroken.core.rules.in_order` puts them; the first that fits wins.

    Returns:
        The fault; of the kind "unknown" where no row fits.
    """
    said = plain(closure.ending.reason)
    heads = {word[:_HEAD] for word in said.split()}
    for rule in rules:
        # most rows go by words that are not there, and that is found out in a tenth of the time of the rest
        if not ((wanted := rule.heads) and wanted.isdisjoint(heads)) and rule.fits(closure, said=said):
            return _fault(rule, closure)
    return _fault(_UNKNOWN, closure)


_UNKNOWN: Final = Rule(
    id="unknown",
    fault="unknown",
    because="No rule knows this end ({status}), so it is taken for a fault of the service.",
    advice="Report this end, so that a rule can be added; until then a row of your own can place it.",
    confidence=0.0,
)


def _within(number: int | None, spans: Sequence[Span]) -> bool:
    if number is None:
        return False
    return any(number == span if isinstance(span, int) else span[0] <= number <= span[1] for span in spans)


def _status(ending: Ending) -> int | None:
    told = ending.code if ending.code is not None and ending.code < 1000 else None
    return ending.http_status if ending.http_status is not None else told


def _known(facts: Facts, wanted: Mapping[str, bool | int]) -> bool:
    for name, value in wanted.items():
        fact: bool | int = getattr(facts, name)
        if (fact is not value) if isinstance(value, bool) else (fact < value):
            return False
    return True


def _texts(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said


def _piece(text: str) -> str:
    """Returns what has to occur in a plain reason."""
    return plain(f"{text[:-1]}x")[:-2] if text.endswith("*") else plain(text)


def _parted(word: str) -> str:
    if word.isalpha():
        return word
    parts = word.replace("_", " ")
    return parts if parts.replace(" ", "").isalpha() else word


def _fact(name: str, value: int) -> str:
    return f"{name}={str(value).lower()}" if isinstance(value, bool) else f"{name}>={value}"


def _spans(spans: Iterable[Span]) -> str:
    return ", ".join(str(span) if isinstance(span, int) else f"{span[0]} to {span[1]}" for span in spans)


def _sentence(text: str) -> str:
    """Ends what ends with the peer's own words with a period, since another sentence may follow."""
    text = text.rstrip(" :;,")
    return text if not text or text.rstrip("\"')").endswith((".", "!", "?", "…")) else f"{text}."


def _fault(rule: Rule, closure: Closure) -> Fault:
    blanks = {
        "model": closure.model or "the model",
        "reason": closure.ending.reason,
        "status": closure.ending.describe(),
    }
    return Fault(
        kind=rule.fault,
        rule=rule.id,
        action=rule.action,
        carry=rule.carry,
        drop_media=rule.drop_media,
        because=_sentence(rule.because.format_map(blanks)),
        advice=rule.advice.format_map(blanks),
        confidence=rule.confidence,
        retry_after=closure.ending.retry_after,
    )
