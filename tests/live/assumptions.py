"""What the simulated Gemini Live assumes of the real one, as a table: a sentence, its source, and a probe that looks.

A probe speaks the raw protocol and returns a word for what it saw. It is run against both services; a row differs where
the words do.
"""

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc

from unbroken.abc import Endpoint, Socket, Transport
from unbroken.decisions import Ending
from unbroken.drill.audio import RATE, read_speech
from unbroken.errors import LinkError

PATIENCE = 20.0
"""Seconds that any one answer of a service is waited for."""

Message = dict[str, Any]


@dataclass
class Service:
    """A service to look at.

    Args:
        name: for people.
        model: the model that is spoken to.
        endpoint: asked once per link.
        transport: what links go over.
    """

    name: str
    model: str
    endpoint: Callable[[], Awaitable[Endpoint]]
    transport: Transport


@dataclass
class Talk:
    """One raw connection."""

    socket: Socket
    seen: list[Message] = field(default_factory=list)

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message).encode())

    async def until(self, *keys: str) -> Message | Ending:
        """Returns the first message in which a path such as "serverContent.turnComplete" is there, or how it ended."""
        try:
            with anyio.fail_after(PATIENCE):
                while True:
                    message: Message = json.loads(await self.socket.receive())
                    self.seen.append(message)
                    if any(at(message, key) is not None for key in keys):
                        return message
        except LinkError as ended:
            return ended.ending
        except TimeoutError:
            return Ending(cause="reply_deadline", reason=f"nothing like {' or '.join(keys)} in {PATIENCE:.0f} s")

    def saw(self, path: str) -> list[Any]:
        return [value for message in self.seen if (value := at(message, path)) is not None]


def at(message: Any, path: str) -> Any:
    """Returns what is at a path; None: nothing is. A step into a list takes its first element that has the rest."""
    head, _, rest = path.partition(".")
    if isinstance(message, list):
        return next((found for item in message if (found := at(item, path)) is not None), None)
    if not isinstance(message, dict) or head not in message:
        return None
    return at(message[head], rest) if rest else message[head]


@asynccontextmanager
async def dialled(service: Service) -> AsyncGenerator[Talk]:
    endpoint = await service.endpoint()
    async with anyio.create_task_group() as tasks:
        socket = await service.transport.open(endpoint, tasks=tasks, on_step=lambda step: None)
        try:
            yield Talk(socket)
        finally:
            socket.abort(None)
            tasks.cancel_scope.cancel()


def setup(service: Service, **more: Any) -> Message:
    return {
        "model": f"models/{service.model}",
        "generationConfig": {"responseModalities": ["AUDIO"]},
        "sessionResumption": {},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
        **more,
    }


async def refused(service: Service, **more: Any) -> str:
    """Sets up and returns how that went: "accepted", or the close with its telling words."""
    async with dialled(service) as talk:
        talk.send(setup=setup(service, **more))
        return told(await talk.until("setupComplete"))


WORDS = ("not found", "not supported", "invalid argument", "deprecated", "internal error", "handle", "quota")


def told(answer: Message | Ending) -> str:
    if not isinstance(answer, Ending):
        return "accepted"
    words = [word for word in WORDS if word in answer.reason.lower()]
    return " ".join([f"close {answer.code}" if answer.code else answer.describe(), *words])


@asynccontextmanager
async def ready(service: Service, **more: Any) -> AsyncGenerator[Talk]:
    async with dialled(service) as talk:
        talk.send(setup=setup(service, **more))
        answer = await talk.until("setupComplete")
        assert not isinstance(answer, Ending), f"{service.name} refused a plain setup: {answer.describe()}"
        yield talk


async def say(talk: Talk, *, seconds: float) -> None:
    """Speaks the shipped speech in real time."""
    pcm, size = read_speech().pcm, RATE // 50 * 2
    for start in range(0, round(seconds * 50) * size, size):
        frame = base64.b64encode(pcm[start : start + size]).decode()
        talk.send(realtimeInput={"audio": {"mimeType": f"audio/pcm;rate={RATE}", "data": frame}})
        await anyio.sleep(0.02)


def ask(talk: Talk, text: str) -> None:
    talk.send(realtimeInput={"text": text})


async def greeted(talk: Talk) -> Message | Ending:
    """Asks for a short reply and waits for its end."""
    ask(talk, "Say hello in three words.")
    return await talk.until("serverContent.turnComplete")


async def handle_of(talk: Talk) -> str:
    """Returns a handle issued after a turn."""
    await greeted(talk)
    if not talk.saw("sessionResumptionUpdate.newHandle"):
        await talk.until("sessionResumptionUpdate.newHandle")
    handles = talk.saw("sessionResumptionUpdate.newHandle")
    assert handles, "no handle came after a turn"
    return str(handles[-1])


# -- the probes -------------------------------------------------------------------------------------------------------


async def plain_setup(service: Service) -> str:
    return await refused(service)


async def unknown_model(service: Service) -> str:
    return await refused(service, model="models/gemini-9.9-nothing")


async def retired_model(service: Service) -> str:
    return await refused(service, model="models/gemini-2.0-flash-exp")


async def unknown_field(service: Service) -> str:
    return await refused(service, noSuchField=True)


async def invented_handle(service: Service) -> str:
    return await refused(service, sessionResumption={"handle": "00000000-0000-0000-0000-000000000000"})


async def second_setup(service: Service) -> str:
    async with ready(service) as talk:
        talk.send(setup=setup(service))
        return told(await talk.until("setupComplete"))


async def turn_end(service: Service) -> str:
    async with ready(service) as talk:
        answer = await greeted(talk)
        if isinstance(answer, Ending):
            return told(answer)
        marks = ("generationComplete", "turnComplete")
        return ", ".join(mark for message in talk.seen for mark in marks if at(message, f"serverContent.{mark}"))


async def audio_form(service: Service) -> str:
    async with ready(service) as talk:
        await greeted(talk)
        return ", ".join(sorted(set(talk.saw("serverContent.modelTurn.parts.inlineData.mimeType"))))


async def reply_transcript(service: Service) -> str:
    async with ready(service) as talk:
        await greeted(talk)
        return "came" if "".join(talk.saw("serverContent.outputTranscription.text")) else "none"


async def usage(service: Service) -> str:
    async with ready(service) as talk:
        await greeted(talk)
        if not talk.saw("usageMetadata"):
            await talk.until("usageMetadata")
        names = {name for message in talk.saw("usageMetadata") for name in message}
        return ", ".join(
            sorted(names & {"promptTokenCount", "responseTokenCount", "candidatesTokenCount", "totalTokenCount"})
        )


async def speech_turn(service: Service) -> str:
    async with ready(service) as talk, anyio.create_task_group() as tasks:
        answer: list[Message | Ending] = []

        async def listen() -> None:
            answer.append(await talk.until("serverContent.turnComplete"))
            tasks.cancel_scope.cancel()

        tasks.start_soon(listen)
        await say(talk, seconds=2.5)
        while not answer:
            talk.send(realtimeInput={"audio": {"mimeType": f"audio/pcm;rate={RATE}", "data": SILENCE}})
            await anyio.sleep(0.02)
    heard = "".join(talk.saw("serverContent.inputTranscription.text"))
    return (
        f"{'transcribed' if heard else 'not transcribed'}, {'answered' if talk.saw('serverContent.modelTurn') else 'silent'}"
    )


SILENCE = base64.b64encode(bytes(RATE // 50 * 2)).decode()


async def handle_after_turn(service: Service) -> str:
    async with ready(service) as talk:
        return "came" if await handle_of(talk) else "none"


async def resume(service: Service) -> str:
    async with ready(service) as talk:
        handle = await handle_of(talk)
        talk.socket.close(1000)
        await talk.until("nothing")
    await anyio.sleep(1)
    return await refused(service, sessionResumption={"handle": handle})


async def resume_while_open(service: Service) -> str:
    async with ready(service) as talk:
        return await refused(service, sessionResumption={"handle": await handle_of(talk)})


async def resume_elsewhere(service: Service) -> str:
    async with ready(service) as talk:
        handle = await handle_of(talk)
        talk.socket.close(1000)
        await talk.until("nothing")
    await anyio.sleep(1)
    other = "gemini-3.1-flash-live-preview" if service.model != "gemini-3.1-flash-live-preview" else "gemini-3.8-live"
    return await refused(service, model=f"models/{other}", sessionResumption={"handle": handle})


async def late_history(service: Service) -> str:
    """Tells the history a minute after the setup that announced it, and looks whether the model answers after that."""
    turns = [
        {"role": "user", "parts": [{"text": "My name is Ada."}]},
        {"role": "model", "parts": [{"text": "Hello Ada."}]},
    ]
    async with ready(service, historyConfig={"initialHistoryInClientContent": True}) as talk:
        await anyio.sleep(60)
        talk.send(clientContent={"turns": turns, "turnComplete": True})
        return told(await greeted(talk))


async def empty_history(service: Service) -> str:
    async with ready(service, historyConfig={"initialHistoryInClientContent": True}) as talk:
        talk.send(clientContent={"turnComplete": True})
        return told(await greeted(talk))


async def media_chunks(service: Service) -> str:
    async with ready(service) as talk:
        talk.send(realtimeInput={"mediaChunks": [{"mimeType": f"audio/pcm;rate={RATE}", "data": SILENCE}]})
        return told(await talk.until("serverContent"))


async def tool_call(service: Service) -> str:
    declared = [{"functionDeclarations": [{"name": "opening_hours", "description": "When the restaurant is open."}]}]
    async with ready(service, tools=declared) as talk:
        ask(talk, "Please call opening_hours now.")
        called = await talk.until("toolCall.functionCalls.id")
        if isinstance(called, Ending):
            return told(called)
        calls = at(called, "toolCall.functionCalls")
        answers = [{"id": call["id"], "name": call["name"], "response": {"output": "Six to eleven."}} for call in calls]
        talk.send(toolResponse={"functionResponses": answers})
        return f"called {calls[0]['name']}, {told(await talk.until('serverContent.modelTurn'))}"


@dataclass
class Assumption:
    """One row.

    Args:
        says: what the simulated service takes for true.
        source: who says so.
        probe: looks; returns what it saw.
        sees: what it sees where the sentence is true.
    """

    says: str
    source: str
    probe: Callable[[Service], Awaitable[str]]
    sees: str


NOT_SERVED = "close 1008 not found not supported"
INTERNAL = "close 1011 internal error"

ASSUMPTIONS = [
    Assumption("A plain setup is accepted.", "ai.google.dev/api/live", plain_setup, "accepted"),
    Assumption("A model that does not exist is refused with 1008.", "livekit/agents#4414", unknown_model, NOT_SERVED),
    Assumption("A retired model is refused with 1008.", "livekit/agents#4414", retired_model, NOT_SERVED),
    Assumption("An unknown field is refused with 1007.", "pydantic-ai realtime/google.py", unknown_field, "close 1007"),
    Assumption("A second setup is refused with 1007.", "litellm#31494", second_setup, "close 1007"),
    Assumption(
        "A turn ends with generationComplete, then turnComplete.",
        "google-genai types.py",
        turn_end,
        "generationComplete, turnComplete",
    ),
    Assumption("The model's audio says its rate.", "recorded traffic", audio_form, "audio/pcm;rate=24000"),
    Assumption("Replies are transcribed where asked for.", "ai.google.dev/api/live", reply_transcript, "came"),
    Assumption(
        "Usage names the reply's tokens responseTokenCount.",
        "recorded traffic",
        usage,
        "promptTokenCount, responseTokenCount, totalTokenCount",
    ),
    Assumption("Speech and then silence is a turn.", "ai.google.dev/api/live", speech_turn, "transcribed, answered"),
    Assumption("A handle comes after a turn.", "ai.google.dev live-session", handle_after_turn, "came"),
    Assumption("A handle resumes once the old socket is closed.", "ai.google.dev live-session", resume, "accepted"),
    Assumption("A resume beside the old socket is refused.", "aicc2025/sip-to-ai#14", resume_while_open, INTERNAL),
    Assumption("A handle of another model is refused.", "ai.google.dev/api/live", resume_elsewhere, "close 1007 handle"),
    Assumption("A handle that was never issued is refused.", "public clients", invented_handle, "close 1007 handle"),
    Assumption(
        "A history that the setup announced may be told a minute later.", "google-genai types.py", late_history, "accepted"
    ),
    Assumption("Such a history may be empty.", "google-genai live.py", empty_history, "accepted"),
    Assumption("mediaChunks is refused.", "gunpal5/Google_GenerativeAI#108", media_chunks, "close 1007 deprecated"),
    Assumption(
        "A declared tool is called, and its answer is taken.",
        "recorded traffic",
        tool_call,
        "called opening_hours, accepted",
    ),
]
