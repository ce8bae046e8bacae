"""What both sides of the Gemini Live API say."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Blob", "Content", "Empty", "Free", "FunctionCall", "FunctionResponse", "Hidden", "Part", "Wire"]

Free = dict[str, Any]
"""A JSON object that this package passes on without reading it."""


class Wire(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """What all messages have in common. Unknown members are refused here, so that the codec's tolerant path counts them."""


class Hidden(Wire, frozen=True, kw_only=True):
    """A message with a secret in it, which therefore does not print its members."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Empty(Wire, frozen=True, kw_only=True):
    """An object whose presence is all that it says."""


class Blob(Wire, frozen=True, kw_only=True):
    """Bytes with their type.

    Attributes:
        data: the bytes; on the wire base64.
        mime_type: "audio/pcm;rate=16000" (s16le mono), "image/jpeg", …. Vertex AI leaves the rate out of the model's audio.
    """

    data: bytes = b""
    mime_type: str = ""


class FunctionCall(Wire, frozen=True, kw_only=True):
    """The model asks for a function.

    Attributes:
        id: what the response has to name.
        name: the function's name.
        args: its arguments.
    """

    id: str = ""
    name: str = ""
    args: Free = {}


class FunctionResponse(Wire, frozen=True, kw_only=True):
    """The answer to a `FunctionCall`.

    Attributes:
        id: the call's id.
        name: the function's name.
        response: the answer.
        scheduling: "INTERRUPT", "WHEN_IDLE" or "SILENT", for asynchronous functions only.
        will_continue: more answers to the same call follow.
        parts: media that belong to the answer.
    """

    id: str = ""
    name: str = ""
    response: Free = {}
    scheduling: str | None = None
    will_continue: bool | None = None
    parts: tuple[Free, ...] = ()


class Part(Wire, frozen=True, kw_only=True):
    """A piece of a `Content`; one of its members holds the piece, the rest say something about it.

    Attributes:
        text: words.
        thought: the words are a summary of the model's thinking.
        inline_data: bytes, mostly audio.
        function_call: a call, in replayed history.
        function_response: its answer, in replayed history.
        thought_signature: opaque; base64 as it came.
    """

    text: str | None = None
    thought: bool = False
    inline_data: Blob | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought_signature: str | None = None
    executable_code: Free | None = None
    code_execution_result: Free | None = None
    file_data: Free | None = None
    video_metadata: Free | None = None
    media_resolution: Any = None
    part_metadata: Free | None = None
    audio_transcription: Free | None = None
    speech_metadata: Free | None = None


class Content(Wire, frozen=True, kw_only=True):
    """What one side said.

    Attributes:
        parts: its pieces.
        role: "user" or "model"; "": not said.
    """

    parts: tuple[Part, ...] = ()
    role: str = ""
