"""Writes docs/livekit-parameters.md from both signatures: ``python docs/generate_livekit.py``.

A test holds that it is up to date. A sibling of generate.py, because it needs livekit-plugins-google to compare with.
"""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path

from livekit.plugins import google

import unbroken_livekit

PAGE = Path(__file__).parent / "livekit-parameters.md"

DIFFERENT = {
    "model": "also ``provider/model``, an `unbroken.Target`, or several of these; the default is the model that is stable on"
    " both platforms, instead of the preview of December 2025 (Gemini API) or the 2.5 model (Vertex AI)",
    "location": 'the default of Vertex AI is GOOGLE_CLOUD_LOCATION or "global", instead of "us-central1"',
    "api_key": "GEMINI_API_KEY is read, too",
    "language": "a warning names a code that the model is known not to take",
    "context_window_compression": "a sliding window where nothing is said, since a session without it ends after 15 minutes",
    "session_resumption": "always on; handles are the session's own business, so one that is given is refused",
    "tool_behavior": "where nothing is said nothing is sent, which is NON_BLOCKING on 3.8, as there",
    "tool_response_scheduling": "left out by itself on models that refuse it",
    "http_options": "`base_url`, `api_version`, `headers` and the `ssl` of `async_client_args` are used, a warning names"
    " the rest",
    "conn_options": "not used, and a warning says so: when and how often to try is the policy's business",
    "thinking_config": "an unfit level is named in a warning, and no session fails over to a target that refuses it",
}
"""What an argument does differently. The others do the same."""

HEAD = """\
# The parameters of the LiveKit model

<!-- Written by docs/generate_livekit.py; change the signature or the notes there and run it again. -->

`unbroken_livekit.RealtimeModel` beside `livekit.plugins.google.realtime.RealtimeModel` of livekit-plugins-google {google}.
NOT_GIVEN is LiveKit's; where the defaults differ, both stand there.

| parameter | default | |
|---|---|---|
"""

OURS = """
## Ours alone

| parameter | default | |
|---|---|---|
"""

METHODS = """
## What a session does

| method | here | livekit-plugins-google |
|---|---|---|
| `generate_reply(instructions=…)` | asked for again, once, after an outage that came before it | lost; an error after 5 s |
| `generate_reply(tools=…, tool_choice=…)` | taken as `update_tools`, `update_options` | ignored |
| `update_tools`, `update_instructions` | by a crossing at a quiet moment, with nothing lost | tools by a reconnect at once;
instructions as a turn |
| `update_chat_ctx` | the difference is told; results answer their calls on whichever link is up | the difference is sent; a
result may be lost with its connection |
| `truncate` | bounds what the next link is told that the caller heard | not supported |
| `interrupt` | the rest of the reply is dropped; manual turns interrupt the model | manual turns interrupt the model |
| `commit_audio` | ends the turn of a manual session, else the audio stream | not supported |
| `clear_audio` | does nothing: no Live model takes audio back | not supported |
| `push_audio` | any rate and number of channels, and never raises | any rate |
| `say` | not supported: no Live model says a text verbatim | not supported |
| `session(turn_detection_disabled=True)` | marks of the user's speech instead of the service's detection | ignored |
"""


def page() -> str:
    """Returns the page."""
    theirs = inspect.signature(google.realtime.RealtimeModel.__init__).parameters
    ours = inspect.signature(unbroken_livekit.RealtimeModel.__init__).parameters
    lines = [HEAD.format(google=version("livekit-plugins-google"))]
    for name in theirs:
        if name == "self":
            continue
        if name not in ours:
            raise ValueError(f"the argument {name} of livekit's model has no place in ours, and no reason is given")
        here, there = _default(ours[name]), _default(theirs[name])
        default = here if here == there else f"{here} (there: {there})"
        lines.append(f"| `{name}` | {default} | {'different: ' + DIFFERENT[name] if name in DIFFERENT else 'the same'} |\n")
    lines.append(OURS)
    said = _documented()
    lines += [f"| `{name}` | {_default(ours[name])} | {said[name]} |\n" for name in ours if name not in theirs]
    lines.append(re.sub(r"(?<=[^|])\n(?=[a-z])", " ", METHODS))
    return "".join(lines)


def _default(parameter: inspect.Parameter) -> str:
    value = parameter.default
    if type(value).__name__ == "NotGiven":
        return "NOT_GIVEN"
    if type(value).__name__ == "APIConnectOptions":
        return "DEFAULT_API_CONNECT_OPTIONS"
    return f"`{value!r}`"


def _documented() -> dict[str, str]:
    """The arguments' sentences in the docstring."""
    text = inspect.cleandoc(unbroken_livekit.RealtimeModel.__doc__ or "").partition("Args:")[2].partition("Attributes:")[0]
    joined = re.sub(r"\n {8,}", " ", text)
    return dict(re.findall(r"^ {4}(\w+): (.+)$", joined, flags=re.MULTILINE))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
