"""The simulated Gemini Live service as a whole: who may come in, handles, the script, and the account of it all. No I/O."""

from __future__ import annotations

import random
import ssl
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from unbroken.config import Target
from unbroken.errors import UnknownName
from unbroken.testing import faults
from unbroken.testing.faults import Close, HttpStatus
from unbroken.testing.intervals import Intervals, Range
from unbroken.testing.report import CallReport, Report
from unbroken.testing.simulator import Answer, Request, SimulatedLink, Simulator
from unbroken_gemini.models import CATALOG, short
from unbroken_gemini.targets import TOKEN_PREFIX
from unbroken_gemini.testing import checks, listing, refusals
from unbroken_gemini.testing.accounts import Caller, report_of
from unbroken_gemini.testing.behaviour import Behaviour
from unbroken_gemini.testing.contexts import Context, Handle
from unbroken_gemini.testing.ear import Ear
from unbroken_gemini.testing.link import GeminiLink
from unbroken_gemini.testing.script import Script
from unbroken_gemini.testing.voice import Call, Reply

__all__ = ["SimulatedGemini"]


class SimulatedGemini(Simulator):
    """A service that speaks the Gemini Live API, on the Gemini API and on Vertex AI, by the path it is asked at.

    Args:
        models: the only models that are served; empty: those of `unbroken_gemini.models` that are served today.
        behaviour: its ways.
        replies: what the model answers, in order; see `unbroken_gemini.testing.script`.
        keys: the only API keys that are valid; empty: all are.
        seed: of its dice.

    Attributes:
        behaviour: its ways.
        models: the only models that are served; empty: those of the catalog.
        refused_models: models that are not served any more.
        random: its dice.
        lifetime: of connections, in seconds.
        replies: how many replies were finished.
    """

    provider = "gemini"

    def __init__(
        self,
        *,
        models: Sequence[str] = (),
        behaviour: Behaviour | None = None,
        replies: Sequence[Reply | str] = (),
        keys: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.models = tuple(models)
        self.refused_models: set[str] = set()
        self.random = random.Random(seed)
        self.lifetime = self.behaviour.lifetime
        self.replies = 0
        self._script = Script(replies)
        self._keys = frozenset(keys)
        self._links: list[GeminiLink] = []
        self._handles: dict[str, Handle] = {}
        self._contexts = 0
        self._calls: dict[str, CallReport] = {}
        self._callers: dict[str, Caller] = {}
        self._original: Intervals | None = None
        self._withheld: float = 0
        self._quiet: float = 0

    def __repr__(self) -> str:
        return f"<SimulatedGemini, {len(self._links)} connections, {len(self._handles)} handles>"

    @property
    def links(self) -> Sequence[GeminiLink]:
        """Every connection so far, in order."""
        return tuple(self._links)

    # -- Simulator --------------------------------------------------------------------------------------------------------

    def admit(self, request: Request, *, now: float) -> SimulatedLink | HttpStatus:
        """Answers an upgrade. A missing or wrong API key is refused as the Gemini API does it: once the setup has come."""
        door = checks.door(request.path)
        if door is None:
            return HttpStatus(status=404)
        client = _credential(request)
        if not client and door.platform == "vertex":
            return HttpStatus(status=401)
        refused = self._refused(client, constrained=door.constrained)
        link = GeminiLink(self, number=request.number, door=door, client=client, refused=refused, now=now)
        self._links.append(link)
        self._callers.setdefault(client, Caller())
        return link

    def answer(self, request: Request, *, now: float) -> Answer | None:
        """Answers a plain GET for the list of models; an ephemeral token may not ask for it."""
        if not listing.is_listing(request.path):
            return None
        client = _credential(request)
        refused = refusals.BAD_KEY if client.startswith(TOKEN_PREFIX) else self._refused(client, constrained=False)
        if refused is not None:
            return listing.refusal(refused)
        return listing.listing(request.query, served=self.models, refused=self.refused_models)

    def check(self, strike: faults.Strike) -> None:
        """Looks at a fault before it is planned.

        Raises:
            UnknownName: it refuses a model that nobody knows.
        """
        if isinstance(strike, faults.RefuseModel) and strike.model not in self.models and CATALOG.find(strike.model) is None:
            raise UnknownName("model to refuse", strike.model, self.models or [row.name for row in CATALOG])

    def strike(self, strike: faults.Strike, *, now: float, times: int | None) -> None:
        """Makes a fault happen that concerns no single connection."""
        count = float("inf") if times is None else times
        match strike:
            case faults.NoReply():
                self._withheld += count
            case faults.QuietAudio():
                self._quiet += count
            case faults.Lifetime(seconds=seconds):
                self.lifetime = seconds
            case faults.RefuseModel(model=model):
                self.refused_models.add(model)
            case _:
                raise ValueError(f"not a fault of the service as a whole: {strike}")

    def target(
        self, model: str, *, base_url: str, context: ssl.SSLContext | None, options: Mapping[str, Any] = {}
    ) -> Target:
        """Returns a target that leads here, with a credential that is valid here.

        Args:
            model: its name.
            base_url: where this service is.
            context: the client's TLS context; None: there is no TLS.
            options: of `unbroken_gemini.target`; with ``vertexai`` it is a target of Vertex AI.
        """
        key = min(self._keys, default="simulated")
        given: dict[str, Any] = {"base_url": base_url} | ({} if context is None else {"ssl": context}) | dict(options)
        if self.models and CATALOG.find(short(model)) is None:
            given.setdefault("known", False)
        if not given.get("vertexai"):
            return Target(model=model, provider="gemini", options={"api_key": key} | given)

        async def token() -> str:
            return key

        given = {"credentials": token, "project": "simulated", "location": "global"} | given
        label, account = str(given["location"]), f"vertex:{given['project']}"
        return Target(model=model, provider="gemini", options=given, label=label, credentials=account)

    def original(self, pcm: bytes) -> None:
        """Is given what the user says from position 0 on (s16le mono PCM at 16 kHz, stamped or not)."""
        ear = Ear(threshold=self.behaviour.speech_level, silence=self.behaviour.silence)
        self._original = _loud_ranges((0, len(pcm) // 2), ear.hear(pcm).loud)

    def report(self, *, upto: int | None = None, client: str | None = None) -> Report:
        """Returns the account of one client."""
        of = [link for link in self._links if client is None or link.client == client]
        caller = self._callers.get(of[-1].client) if of else None
        links = [link for link in self._links if of and link.client == of[-1].client]
        numbers = {link.number for link in links}
        calls = tuple(call for call in self._calls.values() if call.link in numbers)
        return report_of(caller or Caller(), links, calls=calls, speech=self._original, upto=upto, replies=self.replies)

    # -- For connections --------------------------------------------------------------------------------------------------

    def draw(self, span: tuple[float, float]) -> float:
        """Returns a number between two."""
        return self.random.uniform(*span)

    def fresh_context(self, ear: Ear, now: float) -> Context:
        """Returns a context that knows nothing."""
        self._contexts += 1
        return Context(number=self._contexts, session=self._contexts, began=now, ear=ear)

    def keep(self, handle: Handle) -> str:
        """Keeps a handle. Returns its value."""
        value = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        self._handles[value] = handle
        return value

    def resume(self, value: str, link: GeminiLink, model: str, now: float) -> tuple[Context | None, Close | None]:
        """Returns the context that a handle brings back, or why it does not."""
        handle = self._handles.get(value)
        if handle is None or handle.model != model or handle.platform != link.door.platform:
            return None, refusals.ACROSS_MODELS
        others = [other for other in self._links if other is not link and self._session(other) == handle.context.session]
        if any(other.holds(now) for other in others):
            return None, refusals.INTERNAL  # the old socket is still open (aicc2025/sip-to-ai#14)
        last = max((other.ended_at or now for other in others), default=now)
        if now - last > self.behaviour.handle_validity:
            return None, refusals.EXPIRED_HANDLE
        context = handle.context.snapshot(pieces=len(handle.context.turn))
        self._contexts += 1
        context.number = self._contexts
        return context, None

    def lost_calls(self, link: GeminiLink, context: Context) -> Sequence[str]:
        """Returns the calls that were pending on the session's earlier connections."""
        earlier = [other for other in self._links if other is not link and self._session(other) == context.session]
        return tuple(call for other in earlier if other.dialogue is not None for call in other.dialogue.pending)

    def reply(self, context: Context, text: str, functions: Collection[str]) -> Reply:
        """Chooses what the model answers."""
        context.asked += 1
        unanswered = "\n".join([*context.unanswered, text])
        context.unanswered.clear()
        return self._script.reply(unanswered, asked=context.asked - 1, functions=functions)

    def asked(self, link: int) -> int:
        """Returns how often the model has been asked in what the client had before: the script goes on from there."""
        mine = next(other for other in self._links if other.number == link)
        others = [other.dialogue for other in self._links if other.client == mine.client and other is not mine]
        contexts = [dialogue.context for dialogue in others if dialogue is not None]
        return max(contexts, key=lambda context: context.number).asked if contexts else 0

    def sent(self, ranges: Sequence[Range], *, link: int) -> list[Range]:
        """Takes note of what a client has sent. Returns what of it had been sent on an earlier connection."""
        client = next(other.client for other in self._links if other.number == link)
        return self._callers[client].sent_on(link, ranges)

    def heard_level(self, where: Range, loud: Sequence[bool], *, link: int) -> None:
        """Takes note of where the user's audio was loud."""
        client = next(other.client for other in self._links if other.number == link)
        self._callers[client].speech.update(_loud_ranges(where, loud))

    def withholds_reply(self) -> bool:
        """Says whether the model is not going to answer this time."""
        withheld = self._withheld > 0
        self._withheld -= withheld
        return withheld

    def speaks_quietly(self) -> bool:
        """Says whether the model's next reply is nearly silent."""
        quiet = self._quiet > 0
        self._quiet -= quiet
        return quiet

    def called(self, call_id: str, call: Call, *, link: int) -> None:
        """Takes note of a tool call."""
        self._calls[call_id] = CallReport(id=call_id, name=call.name, args=call.args, link=link)

    def answered(self, call_id: str, *, taken: bool) -> None:
        """Takes note of an answer to a tool call."""
        if (call := self._calls.get(call_id)) is not None:
            counts = {"answers": call.answers + taken, "refused": call.refused + (not taken)}
            self._calls[call_id] = msgspec.structs.replace(call, **counts)

    def cancelled(self, call_ids: Iterable[str]) -> None:
        """Takes note of calls that the model no longer wants."""
        for call_id in call_ids:
            self._calls[call_id] = msgspec.structs.replace(self._calls[call_id], cancelled=True)

    def _refused(self, client: str, *, constrained: bool) -> Close | None:
        """Returns why a credential is not let in; None: it is."""
        if not client:
            return refusals.NO_KEY
        wrong = bool(self._keys) and client not in self._keys
        return refusals.BAD_KEY if wrong or (constrained and not client.startswith(TOKEN_PREFIX)) else None

    @staticmethod
    def _session(link: GeminiLink) -> int | None:
        return link.dialogue.context.session if link.dialogue is not None else None


def _credential(request: Request) -> str:
    """Returns what a client shows, in whichever way; "": nothing."""
    headers, query = request.headers, request.query
    bearer = headers.get("authorization", "").removeprefix("Bearer ").removeprefix("Token ")
    return bearer or headers.get("x-goog-api-key") or query.get("key") or query.get("access_token") or ""


def _loud_ranges(where: Range, loud: Sequence[bool]) -> Intervals:
    """Returns the windows of 20 ms that are loud."""
    start, end = where
    return Intervals((start + 320 * n, min(start + 320 * (n + 1), end)) for n, is_loud in enumerate(loud) if is_loud)
