"""From the session's replies to LiveKit's generations.

A reply may be several: a tool call ends one, as LiveKit expects. And a generation may be several replies: one that an outage
cut, and those that carry it on or give it again, so that who waits for the speech waits for all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from livekit.agents import llm

import unbroken
from unbroken_livekit.generation import Generation, Modality
from unbroken_livekit.requests import Request, Requests
from unbroken_livekit.turns import UserTurns

__all__ = ["Replies"]

_KEPT = 16
"""Generations of which LiveKit may still say how much was played."""


class Replies:
    """Holds the generation in flight.

    Args:
        requests: the replies that the application asked for.
        turns: the user's.
        modalities: what the model answers in.
        grace: seconds after a recovery in which a cut reply may still be taken up.
        created: a generation has begun.
        ended: a generation has ended, all of it has come.
        played: so many milliseconds of a reply were played (`unbroken.Session.played`).
    """

    def __init__(
        self,
        *,
        requests: Requests,
        turns: UserTurns,
        modalities: list[Modality],
        grace: float,
        created: Callable[[Generation], None],
        ended: Callable[[Generation], None],
        played: Callable[[int, float], None],
    ) -> None:
        self._requests, self._turns = requests, turns
        self._modalities: list[Modality] = modalities
        self._grace = grace
        self._created, self._ended, self._played = created, ended, played
        self._reply = 0
        self._current: Generation | None = None
        self._held: Generation | None = None
        self._cut = 0
        self._unwanted: set[int] = set()
        self._dropping = False
        self._silent = False
        self._tool_answered = False
        self._kept: deque[Generation] = deque(maxlen=_KEPT)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def current(self) -> Generation | None:
        """The generation that is open, held over an outage included."""
        return self._current or self._held

    @property
    def last(self) -> Generation | None:
        """The generation that began last; None: there was none."""
        return self._kept[-1] if self._kept else None

    @property
    def replying(self) -> bool:
        """A reply is in flight."""
        return bool(self._reply)

    # -- What the session says --------------------------------------------------------------------------------------------

    def began(self, event: unbroken.ReplyBegan) -> None:
        """A reply begins. Its generation is created with its first output, unless it goes on with one that was cut."""
        taken_up = event.continues or (self._cut if event.again else 0)
        self._dropping, self._silent = taken_up in self._unwanted, False
        held = self._release()
        if held is not None and taken_up in held.replies:
            self._current = held
            held.carry_on(event.reply)
        elif held is not None:
            self._end(held)
        unasked = not (taken_up or self._tool_answered or self._requests.pending)
        self._tool_answered = False
        self._unwanted.clear()
        self._turns.reply_begins(unasked=unasked)
        self._reply = event.reply

    def audio(self, pcm: bytes, *, rate: int) -> None:
        """A piece of the model's speech."""
        if (generation := self._open()) is not None:
            generation.push_audio(pcm, rate=rate)

    def text(self, text: str) -> None:
        """A piece of its words."""
        if text and (generation := self._open()) is not None:
            generation.push_text(text)

    def call(self, call: llm.FunctionCall) -> None:
        """The model calls a function.

        That ends the generation once all calls of this message have come, since LiveKit answers no call before; what the
        model says later in this reply is another one.
        """
        generation = self._open(always=True)
        assert generation is not None  # because it is always opened
        generation.push_call(call)
        asyncio.get_running_loop().call_soon(self._called, generation)

    def ended(self, event: unbroken.ReplyEnded) -> None:
        """The reply has ended. One that was cut is held open until another takes it up, or it is clear that none will."""
        self._reply = 0
        generation, self._current = self._current, None
        if event.how != "cut":
            self._dropping = False
            if generation is not None:
                self._end(generation)
            self._turns.reply_ended()
            return
        self._cut = event.reply
        if self._dropping:
            self._unwanted.add(event.reply)
        self._dropping = False
        self._held = generation

    def recovered(self, event: unbroken.Recovered) -> None:
        """The outage is over."""
        if event.reply not in ("continued", "again"):
            self.give_up()
        elif self._held is not None:
            self._unwind()
            self._timer = asyncio.get_running_loop().call_later(self._grace, self.give_up)

    def answered_tool(self) -> None:
        """A tool's result is on its way: the next reply is about that."""
        self._tool_answered = True

    # -- What the application says ----------------------------------------------------------------------------------------

    def interrupt(self, *, waits: bool = False) -> None:
        """What is left of the reply in flight is not wanted. A tool call in it is still passed on.

        Args:
            waits: the model waits for a tool's result.
        """
        if self._reply:
            self._silent = self._silent or (waits and self._current is None)
            self._dropping = True
        if self._held is not None:
            self._unwanted.update(self._held.replies)
        self.give_up()
        generation, self._current = self._current, None
        if generation is not None:
            self._end(generation)

    def asked(self) -> None:
        """The application asks for a reply. One that was interrupted while it waited for a tool and has said nothing since
        gives it: a service counts both as one reply."""
        if self._silent:
            self._dropping = self._silent = False

    def played(self, message_id: str, ms: float) -> None:
        """So many milliseconds of a message were played, and no more of it will be."""
        for generation in self._kept:
            if generation.id == message_id:
                for reply, share in generation.heard(ms):
                    self._played(reply, share)

    def give_up(self) -> None:
        """A reply that was cut is not waited for any more."""
        if (held := self._release()) is not None:
            self._end(held)
            self._turns.reply_ended()

    def close(self) -> None:
        """The session ends: so does what is open."""
        self.give_up()
        generation, self._current = self._current, None
        if generation is not None:
            self._end(generation)

    # -- Inside -----------------------------------------------------------------------------------------------------------

    def _open(self, *, always: bool = False) -> Generation | None:
        """Returns the generation that takes the next output, a new one where there is none; None: it is not wanted.

        Args:
            always: it is a call, which somebody has to answer.
        """
        if self._current is not None:
            return self._current
        if self._dropping and not always:
            self._silent = False
            return None
        request = self._requests.take()
        if request is not None and request.withdrawn:
            self._dropping = True
            self._played(self._reply, 0.0)
            if not always:
                return None
            request = None
        return self._create(request)

    def _create(self, request: Request | None) -> Generation:
        generation = Generation(
            self._reply,
            modalities=list(self._modalities),
            asked_at=request.asked_at if request is not None else None,
        )
        self._current = generation
        self._kept.append(generation)
        if request is not None:
            request.future.set_result(generation.event)
        self._created(generation)
        return generation

    def _called(self, generation: Generation) -> None:
        if generation is self._held:
            self._release()
        if generation is self._current:
            self._current = None
            self._turns.reply_ended()
        self._end(generation)
        self._tool_answered = False

    def _end(self, generation: Generation) -> None:
        if generation.open:
            generation.close()
            self._ended(generation)

    def _release(self) -> Generation | None:
        self._unwind()
        held, self._held = self._held, None
        return held

    def _unwind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
