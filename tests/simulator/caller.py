"""A client of the simulated Gemini Live service without any I/O: it says things at times and keeps what comes back."""

import random
from array import array
from functools import cache
from typing import Any

import msgspec

from unbroken.testing.faults import Close
from unbroken.testing.simulator import Request, SimulatedLink
from unbroken.testing.stamps import stamp
from unbroken_gemini import codec, wire
from unbroken_gemini.testing import Behaviour, SimulatedGemini

MS = 16
"""Samples per millisecond."""

GEMINI = "//ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
ALPHA = GEMINI.replace("v1beta", "v1alpha")
VERTEX = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
PUBLISHER = "projects/p1/locations/{}/publishers/google/models/{}"
CALM = Behaviour(setup_time=(0.02, 0.02), reply_time=(0.3, 0.3))


@cache
def speech(ms: int, *, seed: int = 1) -> bytes:
    """Noise as loud as speech, not stamped."""
    dice = random.Random(seed)
    return array("h", [dice.randint(-4000, 4000) for _ in range(ms * MS)]).tobytes()


def silence(ms: int) -> bytes:
    return bytes(2 * MS * ms)


class Caller:
    """One user with one service, connection after connection."""

    def __init__(self, service: SimulatedGemini | None = None) -> None:
        self.service = service or SimulatedGemini(behaviour=CALM)
        self.now = 100.0
        self.position = 0
        self.link: SimulatedLink
        self.heard: list[wire.ServerMessage] = []
        self.close: Close | None = None
        self._number = 0

    def dial(self, path: str = GEMINI, *, key: str | None = "k", **headers: str) -> SimulatedLink:
        self._number += 1
        headers = ({"x-goog-api-key": key} if key else {}) | headers
        link = self.service.admit(Request(number=self._number, path=path, headers=headers), now=self.now)
        assert isinstance(link, SimulatedLink), link
        self.link, self.heard, self.close = link, [], None
        return link

    def connect(self, model: str = "models/gemini-3.8-live", *, path: str = GEMINI, **setup: Any) -> "Caller":
        """Dials and sets up, with everything on that our own client asks for."""
        self.dial(path, authorization="Bearer k") if path == VERTEX else self.dial(path)
        usual: dict[str, Any] = {"sessionResumption": {}, "contextWindowCompression": {"slidingWindow": {}}}
        usual |= {"inputAudioTranscription": {}, "outputAudioTranscription": {}}
        self.say(setup={"model": model} | usual | setup)
        self.run(0.1)
        return self

    def say(self, **message: Any) -> None:
        self.link.receive(msgspec.json.encode(message), now=self.now)
        self._collect()

    def run(self, seconds: float) -> None:
        """Lets time pass, waking when the link wants to be woken."""
        until = self.now + seconds
        while (deadline := self.link.deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self._collect()
        self.now = until
        self._collect()

    def speak(self, pcm: bytes, *, at: int | None = None, chunk_ms: int = 20) -> None:
        """Says stamped audio in real time; `at` says it from another position than the next."""
        start = self.position if at is None else at
        stamped = stamp(pcm, position=start)
        for begin in range(0, len(stamped), 2 * MS * chunk_ms):
            piece = stamped[begin : begin + 2 * MS * chunk_ms]
            self.send(piece)
            self.run(len(piece) / 2 / MS / 1000)
        self.position = max(self.position, start + len(pcm) // 2)

    def send(self, pcm: bytes, mime: str = "audio/pcm;rate=16000") -> None:
        audio = wire.Blob(data=pcm, mime_type=mime)
        data = codec.encode_client(wire.ClientMessage(realtime_input=wire.RealtimeInput(audio=audio)))
        self.link.receive(data, now=self.now)
        self._collect()

    def turn(self, ms: int = 600) -> None:
        """Says something, and then is silent until the turn is over."""
        self.speak(speech(ms) + silence(600))

    def write(self, text: str) -> None:
        self.say(realtimeInput={"text": text})

    def hang_up(self, *, confirmed: bool = True) -> None:
        self.link.ended(now=self.now, confirmed=confirmed)

    def _collect(self) -> None:
        for output in self.link.advance(self.now):
            if isinstance(output, Close):
                self.close = output
            else:
                self.heard.append(codec.decode_server(output.data))

    # -- what came back ---------------------------------------------------------------------------------------------------

    @property
    def content(self) -> list[wire.ServerContent]:
        return [m.server_content for m in self.heard if m.server_content is not None]

    @property
    def transcript(self) -> str:
        return "".join(c.input_transcription.text for c in self.content if c.input_transcription is not None)

    @property
    def words(self) -> str:
        return "".join(c.output_transcription.text for c in self.content if c.output_transcription is not None)

    @property
    def audio(self) -> bytes:
        turns = [c.model_turn for c in self.content if c.model_turn is not None]
        return b"".join(p.inline_data.data for t in turns for p in t.parts if p.inline_data is not None)

    @property
    def updates(self) -> list[wire.SessionResumptionUpdate]:
        return [m.session_resumption_update for m in self.heard if m.session_resumption_update is not None]

    @property
    def handle(self) -> str:
        return next(u.new_handle for u in reversed(self.updates) if u.new_handle)

    @property
    def calls(self) -> list[wire.FunctionCall]:
        return [call for m in self.heard if m.tool_call is not None for call in m.tool_call.function_calls]

    @property
    def shape(self) -> list[str]:
        """What came, in words, repetitions left out: "setupComplete", "audio", "words", "turnComplete+usage", …"""
        shapes: list[str] = []
        for message in self.heard:
            shape = "+".join(sorted(_shape(message)))
            if not shapes or shapes[-1] != shape:
                shapes.append(shape)
        return shapes


def _shape(message: wire.ServerMessage) -> set[str]:
    shapes = {name for name in message.__struct_fields__ if name != "server_content" and getattr(message, name) is not None}
    if (content := message.server_content) is not None:
        shapes |= {name for name in content.__struct_fields__ if getattr(content, name)}
    return shapes
