"""The replies of a wrapped session: asked for, begun, cut and gone on with, whichever child speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livekit.agents import llm

from unbroken.config import Settings
from unbroken_livekit.log import logger
from unbroken_livekit.wrapping.calls import Calls, Known
from unbroken_livekit.wrapping.child import SETTLE, Child, stop
from unbroken_livekit.wrapping.context import Conversation
from unbroken_livekit.wrapping.replies import Part, Reply
from unbroken_livekit.wrapping.requests import Request

__all__ = ["Speech"]

_LATE = 2.0
"""Seconds after which a refused request is a child's inability: a refusal that the provider means comes at once."""


_PARTS = 64
"""Messages of which it is remembered who said them, so that they can be truncated."""


class Speech:
    """Asks for replies and passes them on.

    Args:
        conversation: takes what was said.
        calls: knows who called what.
        settings: says what becomes of a cut reply.
        begun: told of each reply that begins.
        answered: told when the first piece of a reply comes, and whether the application had asked for it.
        repeated: told of a call that was issued again; it is answered without being run.
    """

    def __init__(
        self,
        *,
        conversation: Conversation,
        calls: Calls,
        settings: Settings,
        begun: Callable[[llm.GenerationCreatedEvent], None],
        answered: Callable[[bool], None],
        repeated: Callable[[Child, Known], None],
    ) -> None:
        self._conversation = conversation
        self._calls = calls
        self._settings = settings
        self._begun = begun
        self._answered = answered
        self._repeated = repeated
        self._requests: list[Request] = []
        self._replies: list[Reply] = []
        self._pumps: dict[asyncio.Task[None], Reply] = {}
        self._parts: dict[str, Part] = {}
        self._child: Child | None = None
        self._over = ""

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # -- asking -----------------------------------------------------------------------------------------------------------

    def ask(self, request: Request, *, first: bool = False) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Asks for a reply, of the child that serves or of the next.

        Args:
            request: what is asked for.
            first: before all that wait.
        """
        if self._over:
            request.refuse(self._over)
            return request.future
        self._requests.insert(0 if first else len(self._requests), request)
        request.future.add_done_callback(lambda _: self._let_go(request))
        self._ask_next()
        return request.future

    def _ask_next(self) -> None:
        child = self._child
        if child is None or child.over or any(request.at is not None for request in self._requests):
            return
        request = next((request for request in self._requests if request.waits), None)
        if request is None:
            return
        try:
            asked = request.ask(child.session, child=child.number)
        except Exception as error:  # because the plugin's own code runs, and a request that it refuses is only refused
            self._refused(request, error)
            return
        child.watch.asked(self._now)
        at = self._now
        asked.add_done_callback(lambda future: self._came(request, child, future, at))

    def _came(self, request: Request, child: Child, asked: asyncio.Future[llm.GenerationCreatedEvent], at: float) -> None:
        """A child's own future is done."""
        if request.at is not asked:  # the request was taken back from this child
            return
        child.watch.asked(None)
        if asked.cancelled() or asked.exception() is not None:
            late = self._now - at >= _LATE
            # a plugin may fail its futures before it says that its connection has ended
            asyncio.get_running_loop().call_later(SETTLE, self._failed, request, child, asked, late)
            return
        if request.future.done():  # nobody wants it any more, and the child was told so
            self._drop(request)
            return
        self._begin(child, asked.result(), request)

    def _failed(
        self,
        request: Request,
        child: Child,
        asked: asyncio.Future[llm.GenerationCreatedEvent],
        late: bool,  # noqa: FBT001 - call_later takes no keywords
    ) -> None:
        if request.at is not asked:
            return
        error = None if asked.cancelled() else asked.exception()
        if request.future.done():
            self._drop(request)
        elif child.over:
            request.at = None
        elif late and getattr(error, "code", None) is None:
            request.at = None
            child.end(now=self._now, cause="reply_deadline")
        else:
            self._refused(request, error)

    def _refused(self, request: Request, error: BaseException | None) -> None:
        """A child refuses a request, and lives."""
        self._drop(request)
        if request.continues is not None:
            logger.info("unbroken: a cut reply is not gone on with: %s", error)
            self._complete(request.continues)
        code = getattr(error, "code", None)
        request.refuse(str(error) if error is not None else "another request took its place", code=code)

    def _let_go(self, request: Request) -> None:
        """The application has its reply, or wants none."""
        if request.future.cancelled():
            self._take_back(request)

    def _take_back(self, request: Request) -> None:
        """Nobody wants this reply any more, and the child that was asked for it is told so."""
        asked = request.at
        self._drop(request)
        if asked is not None and not asked.done():
            asked.cancel()

    def _drop(self, request: Request) -> None:
        if request.at is not None and self._child is not None:
            self._child.watch.asked(None)
        request.at = None
        if request in self._requests:
            self._requests.remove(request)
        self._ask_next()

    # -- replies ----------------------------------------------------------------------------------------------------------

    def generation(self, child: Child, event: llm.GenerationCreatedEvent) -> None:
        """A child speaks without having been asked by a request: it answers the user."""
        if not event.user_initiated:
            self._begin(child, event, None)

    def _begin(self, child: Child, event: llm.GenerationCreatedEvent, request: Request | None) -> None:
        child.useful = True
        child.watch.piece(self._now)
        reply = request.continues if request is not None else None
        if reply is not None:
            reply.going_on = not reply.empty
        else:
            reply = Reply(event.response_id, request=request, on_piece=lambda: None)
            self._replies.append(reply)
        reply.on_piece = lambda: self._first_piece(child, reply)
        if request is not None:
            if not request.future.done():
                request.future.set_result(reply.event)
            if request.continues is None:
                self._begun(reply.event)
            self._drop(request)
        else:
            self._begun(reply.event)
        pump = asyncio.create_task(self._carry(child, reply, event), name="unbroken_reply")
        self._pumps[pump] = reply
        pump.add_done_callback(lambda done: self._pumps.pop(done, None))

    def _first_piece(self, child: Child, reply: Reply) -> None:
        """What the user said before is answered, unless this only goes on with what was cut."""
        reply.on_piece = lambda: child.watch.piece(self._now)
        reply.on_piece()
        child.replied = True
        if not reply.going_on:
            self._answered(reply.request is not None and reply.request.asked_by_application)

    async def _carry(self, child: Child, reply: Reply, source: llm.GenerationCreatedEvent) -> None:
        """Moves what a child says into a reply, until the child has said it or is over."""
        functions = asyncio.create_task(self._calls_of(child, reply, source), name="unbroken_calls")
        try:
            async for generation in source.message_stream:
                child.watch.piece(self._now)
                if not await self._message(child, reply, generation):
                    return
            await functions
            if not child.over:
                child.watch.replied()
                self._complete(reply)
        except Exception:  # because the streams are the plugin's, and their failure must not hang a turn
            logger.exception("unbroken: a reply's streams failed")
            if not child.over:
                self._complete(reply)
        finally:
            await stop([functions])
            if not any(other is not asyncio.current_task() for other in self._pumps):
                child.watch.piece(None)

    async def _message(self, child: Child, reply: Reply, generation: llm.MessageGeneration) -> bool:
        """Moves one message. Returns whether the child lives on."""
        message = reply.message(generation.message_id)
        while len(self._parts) >= _PARTS:
            del self._parts[next(iter(self._parts))]
        self._parts[message.message_id] = Part(child=child.number, message_id=generation.message_id, after=message.seconds)
        modalities = asyncio.create_task(reply.modalities_from(generation, message), name="unbroken_modalities")
        try:
            await asyncio.gather(reply.text_from(generation, message), reply.audio_from(generation, message))
            child.watch.piece(None)
            # one with a call is not gone on with, and what waits for its end is the tool's result
            if not reply.called and not await child.settle():
                return False
        finally:
            await stop([modalities])
        reply.end_message()
        return True

    async def _calls_of(self, child: Child, reply: Reply, source: llm.GenerationCreatedEvent) -> None:
        async for call in source.function_stream:
            known = self._calls.issued(call, child=child.number)
            if known is not None:
                logger.info("unbroken: %s was called again after a recovery, and is not run again", call.name)
                reply.called = True
                self._repeated(child, known)
                continue
            self._conversation.put(call)
            reply.call(call)

    def _complete(self, reply: Reply) -> None:
        """A reply is over: it stands in the conversation as it was received."""
        reply.finish()
        if reply in self._replies:
            self._replies.remove(reply)
        for message in reply.messages:
            if words := message.words.strip():
                self._conversation.put(
                    llm.ChatMessage(
                        id=message.message_id,
                        role="assistant",
                        content=[words],
                        created_at=message.began,
                        interrupted=reply.interrupted,
                    )
                )
        if not reply.called and not reply.empty:
            self._calls.replied()

    def interrupt(self) -> None:
        """The application cuts what is being said: no child is to go on with it."""
        for reply in self._replies:
            reply.interrupted = True
        for request in [request for request in self._requests if request.continues is not None]:
            self._take_back(request)
            assert request.continues is not None
            self._complete(request.continues)

    def part_of(self, message_id: str) -> Part | None:
        """Returns which child's message a message ends with; None: it is not known."""
        return self._parts.get(message_id)

    # -- children ---------------------------------------------------------------------------------------------------------

    async def lost(self, child: Child) -> None:
        """A child is over: what it had said is passed on, and what it owed waits for the next."""
        self._child = None
        pumps = list(self._pumps)
        if pumps:  # what came is in the plugin's streams already; SETTLE is for those that are never closed
            await asyncio.wait(pumps, timeout=SETTLE)
            await stop(pumps)
        for request in self._requests:
            request.at = None
        waiting = {id(request.continues) for request in self._requests if request.continues is not None}
        for reply in list(self._replies):
            if id(reply) in waiting:
                continue
            if (again := self._again(reply)) is None:
                self._complete(reply)
            else:
                self._requests.insert(0, again)

    def _again(self, reply: Reply) -> Request | None:
        """Returns the request that a cut reply goes on with; None: it ends as it is."""
        by = reply.request
        if reply.interrupted or reply.called or reply.done or (reply.messages and reply.open is None):
            return None
        options = dict(by.options) if by is not None else {}
        if reply.empty:  # nobody has heard of it yet, so it is asked for as before
            return None if by is None else Request(options=options, say=by.say, continues=reply)
        wording = self._settings.wording
        match self._settings.on_cut_reply:
            case "leave":
                return None
            case "continue":
                return Request(options=options | {"instructions": wording.go_on.format(heard=reply.heard)}, continues=reply)
            case "again":
                return Request(options={"instructions": wording.again} | options, continues=reply)

    def ready(self, child: Child, *, spoken: bool) -> None:
        """A child takes requests.

        Args:
            child: which.
            spoken: the user has spoken since the last reply began, and has moved on from one that was cut.
        """
        self._child = child
        cut = [request for request in self._requests if request.continues is not None and not request.continues.empty]
        for request in cut if spoken else ():
            assert request.continues is not None
            self._requests.remove(request)
            self._complete(request.continues)
        self._ask_next()

    def renewed(self) -> None:
        """A child has made a new connection by itself and let go of what was asked of the old one: that is asked again."""
        for request in self._requests:
            if request.at is not None and request.at.done() and (request.at.cancelled() or request.at.exception()):
                request.at = None
        self._ask_next()

    def give_up(self, why: str) -> None:
        """No child will come: all that waits is refused, and all that goes on is ended."""
        self._over = why
        for request in list(self._requests):
            request.at = None
            request.refuse(why)
        self._requests.clear()
        for reply in list(self._replies):
            self._complete(reply)

    async def close(self) -> None:
        """Ends all tasks."""
        self.give_up("the session was closed")
        await stop(list(self._pumps))

    def __repr__(self) -> str:
        return f"<Speech {len(self._requests)} requests, {len(self._replies)} replies>"
