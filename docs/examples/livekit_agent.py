"""A LiveKit agent on a realtime model that survives its connections.

Without a LiveKit server, without a key and without devices, on a simulated Gemini Live that breaks three connections::

    pip install '.[livekit,drill]'
    python docs/examples/livekit_agent.py rehearse

As a worker for a LiveKit server (LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET and GEMINI_API_KEY in the environment),
unchanged::

    python docs/examples/livekit_agent.py dev
"""

from __future__ import annotations

import asyncio
import logging
import sys
from array import array
from typing import Any

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli, function_tool, llm

import unbroken
import unbroken_livekit


class Baker(Agent):
    """Answers the telephone of a bakery."""

    def __init__(self) -> None:
        super().__init__(instructions="You answer the telephone of a bakery. Be brief and friendly.")
        self.orders: list[str] = []

    async def on_enter(self) -> None:
        """Greets the caller."""
        self.session.generate_reply(instructions="greet the caller and ask what they would like")

    @function_tool
    async def order(self, what: str) -> str:
        """Takes an order.

        Args:
            what: what the caller wants.
        """
        self.orders.append(what)
        await asyncio.sleep(0.8)  # the till is slow
        return f"{what} will be ready at noon"


async def entrypoint(ctx: JobContext) -> None:
    """Takes a call of a LiveKit server."""
    model = unbroken_livekit.RealtimeModel("gemini-3.8-live", fallbacks=["gemini-3.1-flash-live-preview"], voice="Kore")
    session: AgentSession[None] = AgentSession(llm=model)
    await session.start(Baker(), room=ctx.room)


# -- The same agent, headless ---------------------------------------------------------------------------------------------

REPLIES = [
    "Good morning and welcome, you have reached the bakery on Market Street, what would you like today?",
    "you have reached the bakery on Market Street, what would you like today?",
    "We have rye bread and rolls, both fresh from the oven.",
    "Certainly, we are open until six.",
    "You are welcome, goodbye.",
]
"""What the simulated model says, turn by turn; asked to go on with a reply it takes the next one."""

DONE = "It is done."
"""What it says once a function was called."""


async def rehearse(**ways: Any) -> int:
    """Holds a conversation through three faults and prints it. Returns 0 where nothing of it is missing.

    Args:
        ways: of the simulated service (`unbroken_gemini.testing.Behaviour`).
    """
    from google.genai import types

    from unbroken_gemini.testing import Behaviour, simulated
    from unbroken_livekit.testing import Microphone, Speaker

    async with simulated(replies=REPLIES, behaviour=Behaviour(**ways)) as service:
        endpoint = types.HttpOptions(base_url=service.base_url, async_client_args={"ssl": service.ssl_context})
        model = unbroken_livekit.RealtimeModel("gemini-3.8-live", api_key="any", http_options=endpoint)
        session: AgentSession[None] = AgentSession(llm=model, aec_warmup_duration=None)
        microphone, speaker, baker = Microphone(), Speaker(), Baker()
        session.input.audio, session.output.audio = microphone, speaker
        transcript = Transcript(session)

        service.inject("1011@reply+0.5s")  # in the midst of the greeting
        await session.start(baker)
        transcript.follow(session)
        await transcript.reaches("assistant", 1)

        service.inject("reset@user+0.3s")  # in the midst of the caller's words
        await microphone.say(voice(seconds=1))
        await transcript.reaches("assistant", 2)

        await asyncio.sleep(1)
        service.inject("1011@tool+0.3s")  # while the till is at work
        await session.run(user_input='please call order {"what": "a rye bread"}')
        await transcript.reaches("assistant", 3)
        await transcript.reaches("recovered", 3)
        await session.aclose()
        return transcript.verdict(baker, lost_ms=service.report().lost_speech_ms)


class Transcript:
    """Prints the conversation as it comes, and what happens to its connections."""

    def __init__(self, session: AgentSession[None]) -> None:
        self.lines: dict[str, list[str]] = {"user": [], "assistant": [], "recovered": []}
        self.errors: list[Any] = []
        session.on("conversation_item_added", self._said)
        session.on("error", lambda event: self.errors.append(event.error))

    def follow(self, session: AgentSession[None]) -> None:
        """Follows the session's connections, too."""
        realtime: Any = session.current_agent.realtime_llm_session
        realtime.on("unbroken_event", self._happened)

    async def reaches(self, kind: str, count: int) -> None:
        """Waits until there are so many lines of a kind: of a role, or of recoveries."""
        for _ in range(1000):
            if len(self.lines[kind]) >= count:
                return
            await asyncio.sleep(0.02)

    def verdict(self, baker: Baker, *, lost_ms: float) -> int:
        """Says what is missing, if anything is."""
        whole = all(line.endswith((*REPLIES, DONE)) for line in self.lines["assistant"])
        missing = [
            *(["a whole reply of the agent"] if not whole or len(self.lines["assistant"]) < 3 else []),
            *(["the caller's words"] if len(self.lines["user"]) < 2 or lost_ms else []),
            *(["the order, once"] if baker.orders != ["a rye bread"] else []),
            *(["three recoveries"] if len(self.lines["recovered"]) < 3 else []),
            *(["a call without a fatal error"] if not all(error.recoverable for error in self.errors) else []),
        ]
        print("missing: " + ", ".join(missing) if missing else "The transcript is whole.")
        return 1 if missing else 0

    def _said(self, event: Any) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.role in self.lines:
            text = (event.item.text_content or "").strip()
            self.lines[event.item.role].append(text)
            print(f"{'caller' if event.item.role == 'user' else 'agent '}  {text}")

    def _happened(self, event: unbroken.Event) -> None:
        match event:
            case unbroken.OutageBegan(because=because):
                print(f"        [{because}]")
            case unbroken.Recovered(link=link, steps=steps, reply=reply):
                self.lines["recovered"].append(f"[link {link} after {steps.total_ms:.0f} ms; the reply in flight: {reply}]")
                print(f"        {self.lines['recovered'][-1]}")
            case _:
                pass


def voice(*, seconds: float) -> bytes:
    """Something as loud as speech, and then silence, as s16le mono PCM at 16 kHz."""
    loud = array("h", (4000 if sample // 40 % 2 else -4000 for sample in range(round(16_000 * seconds))))
    return loud.tobytes() + bytes(2 * 16_000)


if __name__ == "__main__":
    if sys.argv[1:] == ["rehearse"]:
        logging.basicConfig(level=logging.WARNING)
        sys.exit(asyncio.run(rehearse()))
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
