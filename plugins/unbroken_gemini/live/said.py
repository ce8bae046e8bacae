"""What google-genai's arguments ask of a session: read by google-genai's own functions, and said in the session's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from google.genai import types

from unbroken.events import ActivityMark, ReplyRequest, Told, ToolResult, Turn, UserText
from unbroken_gemini.live.errors import LiveRefused

__all__ = ["Image", "Saying", "Speech", "content", "history", "realtime", "results"]


class Speech(msgspec.Struct, frozen=True):
    """A piece of the user's audio.

    Attributes:
        pcm: s16le mono PCM.
        rate: samples per second.
    """

    pcm: bytes
    rate: int


class Image(msgspec.Struct, frozen=True):
    """An image of what the user shows, encoded as its MIME type says."""

    data: bytes
    mime_type: str


Saying: TypeAlias = Speech | Image | UserText | Told | ReplyRequest | ActivityMark
"""What the session is to be given. A `ReplyRequest` has no instructions here."""


def realtime(given: Mapping[str, Any], *, rate: int) -> list[Saying]:
    """Reads a realtime input.

    Args:
        given: what `unbroken_gemini.sdk.realtime_input` made of it.
        rate: samples per second of audio whose MIME type does not say it.

    Raises:
        LiveRefused: audio in another form than the session takes, or a text without text.
    """
    match dict(given):
        case {"audio": blob} | {"video": blob}:
            return [_media(blob, rate=rate)]
        case {"mediaChunks": blobs}:
            return [_media(blob, rate=rate) for blob in blobs]
        case {"text": text}:
            return [_text(text)]
        case {"activityStart": _}:
            return [ActivityMark(mark="start")]
        case {"activityEnd": _}:
            return [ActivityMark(mark="end")]
        case {"audioStreamEnd": True}:
            return [ActivityMark(mark="stream_end")]
        case _:
            return []  # audio_stream_end=False says nothing


def content(given: types.LiveClientContent, *, initial: bool) -> list[Saying]:
    """Reads client content.

    The last turn of a complete content is the user's and is answered; what comes before it is told. A complete content
    without turns, or one that the model's own turn ends, asks for a reply.

    Args:
        given: what `unbroken_gemini.sdk.client_content` made of it.
        initial: it is the history that ``HistoryConfig.initial_history_in_client_content`` announced, which nobody answers.

    Raises:
        LiveRefused: a part that no session can be told.
    """
    said: list[Image | Turn] = []
    for turn in given.turns or ():
        said += _turn(turn)
    if initial or not given.turn_complete:
        return _told(said)
    match said[-1] if said else None:
        case Turn(role="user", text=text):
            return [*_told(said[:-1]), UserText(text=text)]
        case _:
            return [*_told(said), ReplyRequest(instructions="")]


def history(given: types.LiveClientContent) -> list[Turn]:
    """Reads what was said before a session began.

    Raises:
        LiveRefused: there is more in it than text.
    """
    said = [saying for turn in given.turns or () for saying in _turn(turn)]
    turns = [saying for saying in said if isinstance(saying, Turn)]
    if len(turns) < len(said):
        raise LiveRefused("an image in the history: a history is told in words; send images by send_realtime_input(video=…)")
    return turns


def results(given: Sequence[types.FunctionResponse], *, calls: Mapping[str, str]) -> list[ToolResult]:
    """Reads answers to tool calls.

    Args:
        given: what `unbroken_gemini.sdk.tool_response` made of them.
        calls: the calls that are not answered yet, by id, with their functions' names; for answers without an id, which
            Vertex AI allows.

    Raises:
        LiveRefused: an answer that cannot be given, or that fits no call.
    """
    return [_result(one, calls=calls) for one in given]


def _result(given: types.FunctionResponse, *, calls: Mapping[str, str]) -> ToolResult:
    name = given.name or ""
    if given.will_continue:
        raise LiveRefused(f"will_continue in the response of {name!r}: a call is answered once here; send the whole result")
    if given.parts:
        raise LiveRefused(f"parts in the response of {name!r}: give the result as JSON in response=, and images as video=")
    call_id = given.id or next((one for one, called in calls.items() if called == name), None)
    if call_id is None:
        pending = ", ".join(map(repr, calls.values())) or "none"
        raise LiveRefused(f"the response of {name!r} has no id, and no call of that name waits; waiting: {pending}")
    scheduling = given.scheduling.value if given.scheduling is not None else None
    return ToolResult(call_id=call_id, name=name, result=given.response or {}, scheduling=scheduling)


def _media(blob: types.Blob, *, rate: int) -> Saying:
    kind, *parameters = (piece.strip().lower() for piece in (blob.mime_type or "").split(";"))
    data = blob.data or b""
    if kind.startswith("image/"):
        return Image(data, kind)
    if kind not in ("audio/pcm", "audio/l16") or (given := _rate(parameters, rate)) is None:
        raise LiveRefused(
            f"media as {blob.mime_type!r}: a session takes audio/pcm;rate={rate} (s16le mono), and images such as image/jpeg"
        )
    return Speech(data, given)


def _rate(parameters: Sequence[str], usual: int) -> int | None:
    """Reads the rate of a MIME type; None: it is none."""
    said = [value for name, _, value in (parameter.partition("=") for parameter in parameters) if name == "rate"]
    if not said:
        return usual
    return int(said[0]) if said[0].isascii() and said[0].isdigit() and 4_000 <= int(said[0][:7]) <= 192_000 else None


def _text(text: str) -> UserText:
    if not text:
        raise LiveRefused("text='' says nothing; leave it out")
    return UserText(text=text)


def _told(said: Sequence[Image | Turn]) -> list[Saying]:
    """Puts neighbouring turns together: they are told in one message."""
    sayings: list[Saying] = []
    for saying in said:
        match saying, sayings[-1] if sayings else None:
            case Turn(), Told(turns=turns):
                sayings[-1] = Told(turns=(*turns, saying))
            case Turn(), _:
                sayings.append(Told(turns=(saying,)))
            case image, _:
                sayings.append(image)
    return sayings


def _turn(given: types.Content) -> list[Image | Turn]:
    """Reads one turn: its words in one piece, its images before them."""
    images: list[Image | Turn] = []
    words: list[str] = []
    for part in given.parts or ():
        if part.text is not None:
            words.append(part.text)
        elif part.inline_data is not None and (part.inline_data.mime_type or "").startswith("image/"):
            images.append(Image(part.inline_data.data or b"", part.inline_data.mime_type or ""))
        else:
            kind = ", ".join(sorted(part.model_dump(exclude_none=True))) or "nothing"
            raise LiveRefused(
                f"a part with {kind} in client content: text and images can be told; speech goes by"
                " send_realtime_input(audio=…), results by send_tool_response"
            )
    text = "".join(words)
    return [*images, Turn(role="model" if given.role == "model" else "user", text=text)] if text else images
