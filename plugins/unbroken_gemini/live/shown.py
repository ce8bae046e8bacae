"""What a live session shows: the service's own messages, and the few that stand in for what a broken link no longer said.

Nothing here waits: events in, messages out.
"""

from __future__ import annotations

from google.genai import types

from unbroken.config import CutReply
from unbroken.events import (
    Event,
    OutageBegan,
    ProviderMessage,
    Recovered,
    ReplyBegan,
    ReplyEnded,
    ToolCall,
    ToolCallCancelled,
)
from unbroken_gemini import sdk

__all__ = ["Shown"]


class Shown:
    """Turns a session's events into google-genai's messages.

    Where the link is healthy these are the service's own, every field of them, without what is about the connection: the
    setup's answer, goAway, and handles unless they were asked for. A reply that a link's end has cut goes on in the same
    turn where the model carries it on; where nothing carries it on, its turn is ended here, or nobody would.

    Args:
        on_cut_reply: the session's setting.
        handles: show the messages on resumption handles.

    Attributes:
        setup: what the service answered to the last setup; None: nothing yet.
        calls: calls that were shown and neither answered nor cancelled, by id, with their functions' names.
    """

    def __init__(self, *, on_cut_reply: CutReply = "continue", handles: bool = False) -> None:
        self.setup: types.LiveServerSetupComplete | None = None
        self.calls: dict[str, str] = {}
        self._on_cut_reply = on_cut_reply
        self._handles = handles
        self._called: list[ToolCall] = []
        self._cancelled: list[str] = []
        self._ended: ReplyEnded | None = None
        self._open = False
        self._cut = False
        self._asked = False
        self._tools_last = False

    def __repr__(self) -> str:
        turn = "a cut turn" if self._cut else "a turn" if self._open else "no turn"
        return f"<Shown, in {turn}, {len(self.calls)} calls>"

    @property
    def waits(self) -> bool:
        """A turn was cut, and the model has been asked to go on with it: it may choose not to."""
        return self._cut and self._asked and self._open and not self._tools_last

    def give_up(self) -> types.LiveServerMessage | None:
        """The model does not go on with a turn that was cut. Returns the message that ends it; None: it has ended."""
        return self._end()

    def take(self, event: Event) -> types.LiveServerMessage | None:
        """Takes the session's next event. Returns the message that it completes or needs; None: there is none."""
        match event:
            case ProviderMessage():
                self._ended = None
                return self._message(event)
            case ToolCall():
                self._called.append(event)
            case ToolCallCancelled(call_ids=call_ids):
                self._cancelled += call_ids
            case ReplyEnded(how=how):
                # one that its own message ends is followed by that message; one that a link's end does, is not
                self._ended, self._cut = event, self._cut or how == "cut"
            case ReplyBegan() if self._cut:
                return self._taken_up(event)
            case Recovered(reply=reply) if self._cut and self._ends(reply):
                return self._end(interrupted=self._on_cut_reply != "leave")
            case OutageBegan() | Recovered():
                self._asked = isinstance(event, Recovered)
                return self._end_of_link()
            case _:
                pass
        return None

    def answered(self, call_id: str) -> None:
        """Says that a call was answered."""
        self.calls.pop(call_id, None)

    # -- the service's own ----------------------------------------------------------------------------------------------

    def _message(self, event: ProviderMessage) -> types.LiveServerMessage | None:
        message = sdk.server_message(event.data, vertex=event.platform == "vertex")
        if message.setup_complete is not None:
            self.setup, message.setup_complete = message.setup_complete, None
        if message.go_away is not None:
            message.go_away = None
        if message.session_resumption_update is not None and not self._handles:
            message.session_resumption_update = None
        if message.tool_call is not None:
            message.tool_call = self._tool_call(message.tool_call)
        if message.tool_call_cancellation is not None:
            message.tool_call_cancellation = self._cancellation()
        self._follow(message)
        shown = any(getattr(message, name) is not None for name in types.LiveServerMessage.model_fields)
        return message if shown else None

    def _tool_call(self, given: types.LiveServerToolCall) -> types.LiveServerToolCall | None:
        """Shows the calls that are new: a model that was resumed may ask again for what was asked and answered before."""
        by_id = {call.id: call for call in given.function_calls or ()}
        shown: list[types.FunctionCall] = []
        for called in self._called:
            self.calls[called.call_id] = called.name
            own = types.FunctionCall(id=called.call_id, name=called.name, args=dict(called.arguments))
            shown.append(by_id.get(called.call_id, own))
        self._called.clear()
        return types.LiveServerToolCall(function_calls=shown) if shown else None

    def _cancellation(self) -> types.LiveServerToolCallCancellation | None:
        cancelled = [*self._cancelled]
        self._cancelled.clear()
        for call_id in cancelled:
            self.calls.pop(call_id, None)
        return types.LiveServerToolCallCancellation(ids=cancelled) if cancelled else None

    def _follow(self, message: types.LiveServerMessage) -> None:
        """Keeps in mind whether the application has seen a turn begin and not end."""
        content = message.server_content
        if message.tool_call is not None:
            self._open = self._tools_last = True
        if content is None:
            return
        if content.model_turn is not None or content.output_transcription is not None:
            self._open, self._tools_last = True, False
        if sdk.turn_is_over(content) or content.turn_complete:
            self._open = self._tools_last = False

    # -- what a link's end leaves open ----------------------------------------------------------------------------------

    def _end_of_link(self) -> types.LiveServerMessage | None:
        """A link has ended; all of the reply had come, but for the word that its turn is over."""
        ended, self._ended = self._ended, None
        return self._end() if ended is not None and ended.how == "complete" else None

    def _ends(self, reply: str) -> bool:
        """Says whether a turn that was cut has ended with the link: nothing carries it on, and no tool's answer will."""
        return reply in ("cut", "none") and not self._tools_last

    def _taken_up(self, began: ReplyBegan) -> types.LiveServerMessage | None:
        """A reply began after one was cut. Given again, what was received of the cut one is not to be played any more."""
        self._cut, self._ended = False, None
        if began.continues or (self._tools_last and not began.again):
            return None
        if began.again:
            return _content(interrupted=True) if self._open else None
        return self._end(interrupted=True)

    def _end(self, *, interrupted: bool | None = None) -> types.LiveServerMessage | None:
        self._cut, self._ended = False, None
        if not self._open:
            return None
        self._open = self._tools_last = False
        return _content(interrupted=interrupted or None, turn_complete=True)


def _content(*, interrupted: bool | None = None, turn_complete: bool | None = None) -> types.LiveServerMessage:
    content = types.LiveServerContent(interrupted=interrupted, turn_complete=turn_complete)
    return types.LiveServerMessage(server_content=content)
