"""A provider's models as rows: what each can do, which platform serves it, and what to take instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

from unbroken.errors import UnknownName

__all__ = ["SERVED", "Catalog", "Row", "Service", "ServiceStatus", "Standing", "Verdict"]

ServiceStatus = Literal["stable", "preview", "allowlist", "retired", "never", "unconfirmed"]
"""How a platform serves a model: for everyone, for everyone for now, for invited projects, no longer, never did (said here
because people try), or unknown to the sources."""

Verdict = Literal["served", "retired", "invited", "unconfirmed", "elsewhere", "region", "unknown"]
"""Whether a model is served at a place; see `Standing.verdict`."""

SERVED: frozenset[ServiceStatus] = frozenset({"stable", "preview"})
"""Statuses under which anybody with an account is served."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One platform's word on one model.

    Attributes:
        platform: the platform's name in closures and rules ("gemini", "vertex").
        status: how it serves the model.
        since: ISO date of the status; "": not known.
        until: ISO date of the shutdown, past or announced; "": none is known.
        regions: regions known to serve it; empty: the platform has no regions, or any will do.
        not_in: regions known not to serve it ("global").
        source: where this was learnt.
    """

    platform: str
    status: ServiceStatus
    since: str = ""
    until: str = ""
    regions: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()
    source: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model. The columns that every provider has; a provider adds its own by a subclass.

    Attributes:
        name: the model's name as its provider spells it, without a prefix.
        services: per platform, how the model is served there; a platform that is not named has never served it.
        aliases: other names of the same model.
        purpose: what it is for; only "dialogue" is recommended in the place of another model.
        replacement: the model that its provider recommends instead; "": none.
        input_rate: samples per second of the user's audio that it hears best.
        output_rate: samples per second of its speech where the wire does not say.
        resumption: its sessions can be resumed by handle.
        close_first: a resume is refused while the old socket is open.
        turn_survives: a turn in flight is known to the resumed session, so that it may still be answered there.
        handle_in_turn: handles are issued within turns and during tool calls too; otherwise they are withheld until the turn
            has ended.
        input_in_tool_call: realtime input may be sent while a tool call is pending; otherwise it has to wait.
        catch_up: replayed audio may be sent at this multiple of real time.
        context_tokens: the context window; None: not known.
        lifetime: seconds after which the service ends a connection; None: not known.
        thinking: seconds that it may think before it speaks, on top of the session's deadlines for a reply.
        may_be_silent: it may choose to give no reply, so that a turn without one says nothing about the link.
        modalities: what it answers in.
        tools: it can call tools.
        sources: where a column's value was learnt, by the column's name; a column that is not named follows from the
            provider's general documentation.
    """

    name: str
    services: tuple[Service, ...]
    aliases: tuple[str, ...] = ()
    purpose: Literal["dialogue", "translation", "transcription", "robotics"] = "dialogue"
    replacement: str = ""
    input_rate: int = 16_000
    output_rate: int = 24_000
    resumption: bool = True
    close_first: bool = True
    turn_survives: bool = False
    handle_in_turn: bool = False
    input_in_tool_call: bool = True
    catch_up: float = 3.0
    context_tokens: int | None = None
    lifetime: float | None = None
    thinking: float = 0.0
    may_be_silent: bool = False
    modalities: tuple[str, ...] = ("AUDIO",)
    tools: bool = True
    sources: Mapping[str, str] = {}

    def on(self, platform: str) -> Service | None:
        """Returns the platform's word on this model; None: it has none."""
        return next((service for service in self.services if service.platform == platform), None)


RowT = TypeVar("RowT", bound=Row)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a model is served at a place, and what is if it is not.

    Attributes:
        verdict: "served"; "retired"; "invited" (invited projects only); "unconfirmed" (no source says); "elsewhere" (only
            on other platforms); "region" (only in other regions of this platform); "unknown" (not in the catalog).
        service: the platform's word on the model; None: it has none.
        platforms: where else anybody is served.
        instead: a model that is served at this place today; "": none is known.
    """

    verdict: Verdict
    service: Service | None = None
    platforms: tuple[str, ...] = ()
    instead: str = ""


class Catalog(Generic[RowT]):
    """A provider's rows, looked up by name or alias.

    Args:
        rows: in order of preference: the first one that is served at a place is recommended there.

    Raises:
        ValueError: two rows answer to one name.
    """

    def __init__(self, rows: Iterable[RowT]) -> None:
        self._rows = tuple(rows)
        self._by_name: dict[str, RowT] = {}
        for row in self._rows:
            for name in (row.name, *row.aliases):
                if self._by_name.setdefault(name, row) is not row:
                    raise ValueError(f"two rows of the catalog answer to {name!r}")

    def __iter__(self) -> Iterator[RowT]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Catalog of {len(self._rows)} models>"

    def find(self, name: str) -> RowT | None:
        """Returns the row of a name or alias; None: there is none."""
        return self._by_name.get(name)

    def get(self, name: str, *, platform: str, kind: str = "model") -> RowT:
        """Returns the row of a name or alias, whether the platform serves it or not.

        Args:
            name: the model's name or alias.
            platform: whose models are listed where the name is not known.
            kind: what was looked for, as a person would say it ("model on the Gemini API").

        Raises:
            UnknownName: there is none; the text lists what the platform serves.
        """
        if (row := self.find(name)) is None:
            raise UnknownName(kind, name, [known.name for known in self.serving(platform)])
        return row

    def serving(self, platform: str, *, region: str | None = None) -> tuple[RowT, ...]:
        """Returns the rows that the platform serves to anybody, in order of preference.

        Args:
            platform: where.
            region: in this region only; None: in any.
        """
        return tuple(row for row in self._rows if self.verdict(row, platform, region=region) == "served")

    def standing(self, name: str, *, platform: str, region: str | None = None) -> Standing:
        """Says whether a model is served at a place, and what is if it is not.

        Args:
            name: the model's name or alias.
            platform: where.
            region: in which of its regions; None: not known or not applicable.
        """
        row = self.find(name)
        verdict = self.verdict(row, platform, region=region) if row is not None else "unknown"
        if row is None or verdict == "served":
            instead = "" if row is not None else self._instead(None, platform, region)
            return Standing(verdict=verdict, service=row.on(platform) if row else None, instead=instead)
        platforms = tuple(s.platform for s in row.services if s.platform != platform and s.status in SERVED)
        return Standing(
            verdict=verdict, service=row.on(platform), platforms=platforms, instead=self._instead(row, platform, region)
        )

    def verdict(self, row: RowT, platform: str, *, region: str | None = None) -> Verdict:
        """Returns the bare verdict on a row at a place."""
        service = row.on(platform)
        match service.status if service is not None else "never":
            case "stable" | "preview":
                assert service is not None
                wrong = region in service.not_in or (bool(service.regions) and region not in service.regions)
                return "region" if region is not None and wrong else "served"
            case "retired":
                return "retired"
            case "allowlist":
                return "invited"
            case "unconfirmed":
                return "unconfirmed"
            case "never":
                return "elsewhere" if any(s.status in SERVED for s in row.services) else "retired"

    def _instead(self, row: RowT | None, platform: str, region: str | None) -> str:
        """Names the recommended replacement if it is served there, else the first of its purpose that is."""
        served = self.serving(platform, region=region)
        if row is not None and any(other.name == row.replacement for other in served):
            return row.replacement
        purpose = row.purpose if row is not None else "dialogue"
        fit = [other.name for other in served if other is not row and other.purpose == purpose]
        fit += [other.name for other in served if other is not row and other.purpose == "dialogue"]
        return fit[0] if fit else ""
