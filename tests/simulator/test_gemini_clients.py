"""The simulated service is right because others say so: google-genai's own client converses with it over TLS."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import pytest
from google import genai
from google.genai import errors, types
from google.genai.live import AsyncSession
from tests.simulator.caller import silence, speech

from unbroken.testing.service import SimulatedService
from unbroken.testing.stamps import stamp
from unbroken_gemini.testing import Behaviour, simulated

pytestmark = [pytest.mark.anyio, pytest.mark.sockets]

SOON = Behaviour(setup_time=(0.0, 0.01), reply_time=(0.01, 0.02), word_time=0.05, ahead=1.0)
"""The usual ways, only quicker, since this is real time."""

WEATHER = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters=types.Schema(type=types.Type.OBJECT))]
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # google-genai knows no other


def client_of(service: SimulatedService, **others: Any) -> genai.Client:
    arguments = {"ssl": service.ssl_context, "proxy": None}
    options = types.HttpOptions(base_url=service.base_url, api_version="v1beta", async_client_args=arguments)
    return genai.Client(api_key="any", http_options=options, **others)


@asynccontextmanager
async def talking(
    service: SimulatedService, *, model: str = "gemini-3.8-live", handle: str | None = None, **config: Any
) -> AsyncGenerator[AsyncSession]:
    connection = client_of(service).aio.live.connect(
        model=model,
        config=types.LiveConnectConfig(
            response_modalities=[types.Modality.AUDIO],
            input_audio_transcription=types.AudioTranscriptionConfig(),
            output_audio_transcription=types.AudioTranscriptionConfig(),
            session_resumption=types.SessionResumptionConfig(handle=handle),
            **config,
        ),
    )
    async with asyncio.timeout(60), connection as session:
        yield session


async def turn(session: AsyncSession) -> list[types.LiveServerMessage]:
    """What comes until the model's turn is over."""
    return [message async for message in session.receive()]


def words(messages: list[types.LiveServerMessage]) -> str:
    said = [m.server_content.output_transcription for m in messages if m.server_content is not None]
    return "".join(piece.text or "" for piece in said if piece is not None)


def audio(messages: list[types.LiveServerMessage]) -> bytes:
    return b"".join(message.data for message in messages if message.data)


async def test_it_writes_and_is_answered() -> None:
    async with simulated(behaviour=SOON, replies=["Hello there."]) as service, talking(service) as session:
        await session.send_realtime_input(text="Say a short greeting.")
        answer = await turn(session)
        assert words(answer) == "Hello there."
        assert len(audio(answer)) == 2 * 24_000 * 2 // 20
        assert answer[-1].server_content is not None
        assert answer[-1].server_content.turn_complete
        assert answer[-1].usage_metadata is not None
        assert service.report().texts == ("Say a short greeting.",)


async def test_it_speaks_and_is_heard_to_the_sample() -> None:
    said = stamp(speech(600) + silence(600))
    async with simulated(behaviour=SOON, replies=["Understood."]) as service, talking(service) as session:
        for start in range(0, len(said), 3200):
            blob = types.Blob(data=said[start : start + 3200], mime_type="audio/pcm;rate=16000")
            await session.send_realtime_input(audio=blob)
        answer = await turn(session)
        heard = [m.server_content.input_transcription for m in answer if m.server_content is not None]
        assert "".join(piece.text or "" for piece in heard if piece is not None) == " [0-1100 ms]"
        assert words(answer) == "Understood."
        assert service.report().heard == ((0, 19_200),)


async def test_it_is_asked_for_a_tool_and_answers() -> None:
    async with simulated(behaviour=SOON) as service, talking(service, tools=[WEATHER]) as session:
        await session.send_client_content(
            turns=types.Content(role="user", parts=[types.Part(text='call weather {"city": "Paris"}')])
        )
        calls: list[types.FunctionCall] = []
        async for message in session.receive():
            if message.tool_call is not None and message.tool_call.function_calls is not None:
                calls += message.tool_call.function_calls
                break
        assert [(call.name, call.args) for call in calls] == [("weather", {"city": "Paris"})]
        response = types.FunctionResponse(id=calls[0].id, name="weather", response={"output": "rain"})
        await session.send_tool_response(function_responses=[response])
        assert words(await turn(session)) == "It is done."
        assert [call.answers for call in service.report().calls] == [1]


async def test_it_resumes_by_handle() -> None:
    async with simulated(behaviour=SOON, faults=["1011@#3"]) as service:
        handle: str | None = None
        with pytest.raises(errors.APIError) as ended:
            async with talking(service) as session:
                await session.send_realtime_input(text="remember me")
                await turn(session)
                async for message in session.receive():
                    update = message.session_resumption_update
                    if update is not None and update.new_handle and handle is None:
                        handle = update.new_handle
                        await session.send_realtime_input(text="and fail")
        assert (ended.value.code, ended.value.details) == (1011, "Internal error encountered.")
        assert handle
        async with talking(service, handle=handle) as session:
            await session.send_realtime_input(text="do you know me?")
            assert words(await turn(session))
        report = service.report()
        assert [(link.resumed, link.closed != "") for link in report.links] == [(False, True), (True, False)]
        assert report.texts[0] == "remember me"
        assert report.texts[-1] == "do you know me?"


async def test_it_seeds_history() -> None:
    announced = types.HistoryConfig(initial_history_in_client_content=True)
    model = "gemini-3.1-flash-live-preview"
    async with simulated(behaviour=SOON) as service, talking(service, model=model, history_config=announced) as session:
        told: list[types.Content | types.ContentDict] = [
            types.Content(role="user", parts=[types.Part(text="My name is Alice.")]),
            types.Content(role="model", parts=[types.Part(text="Nice to meet you.")]),
        ]
        await session.send_client_content(turns=told, turn_complete=True)
        await session.send_realtime_input(text="What is my name?")
        assert words(await turn(session))
        assert service.report().links[0].history == 2


async def test_it_is_told_why_it_may_not_come_in() -> None:
    async with simulated(behaviour=SOON, keys=["right"]) as service:
        with pytest.raises(errors.APIError, match="API key not valid"):
            async with talking(service):
                pass
    async with simulated(behaviour=SOON) as service:
        with pytest.raises(errors.APIError) as refused:
            async with talking(service, model="gemini-2.0-flash-exp"):
                pass
        assert refused.value.code == 1008
        assert str(refused.value.details).startswith("models/gemini-2.0-flash-exp is not found for API version v1beta")


async def test_vertex_is_served_at_its_own_path() -> None:
    async with simulated(behaviour=SOON, replies=["Bonjour."]) as service:
        arguments = {"ssl": service.ssl_context, "proxy": None}
        client = genai.Client(
            vertexai=True,
            api_key="express",
            http_options=types.HttpOptions(base_url=service.base_url, async_client_args=arguments),
        )
        async with asyncio.timeout(60), client.aio.live.connect(model="gemini-3.8-live") as session:
            assert session.session_id
            await session.send_realtime_input(text="Greet me.")
            answer = await turn(session)
            assert audio(answer)
        assert service.report().links[0].platform == "vertex"


def _listed(service: SimulatedService, key: str, *, page_size: int) -> dict[str | None, list[str] | None]:
    options = types.HttpOptions(
        base_url=service.base_url, api_version="v1beta", client_args={"verify": service.ssl_context, "trust_env": False}
    )
    client = genai.Client(vertexai=False, api_key=key, http_options=options)
    try:
        return {model.name: model.supported_actions for model in client.models.list(config={"page_size": page_size})}
    finally:
        client.close()


async def test_it_lists_what_it_serves_page_by_page() -> None:
    async with simulated(keys=["right"], faults=["refuse-model:gemini-3.1-flash-live-preview"]) as service:
        listed = await anyio.to_thread.run_sync(lambda: _listed(service, "right", page_size=3))
        assert listed == await anyio.to_thread.run_sync(lambda: _listed(service, "right", page_size=1000))
        with pytest.raises(errors.ClientError, match=r"^400 INVALID_ARGUMENT.*API key not valid"):
            await anyio.to_thread.run_sync(lambda: _listed(service, "wrong", page_size=3))
    live = [name for name, actions in listed.items() if "bidiGenerateContent" in (actions or [])]
    assert live[0] == "models/gemini-3.8-live"
    assert "models/gemini-2.5-flash-native-audio-latest" in live, "an alias is listed too"
    assert "models/gemini-3.1-flash-live-preview" not in live, "it is not served any more"
    assert "models/gemini-live-2.5-flash-native-audio" not in live, "it is Vertex AI's"
    assert listed["models/gemini-2.5-flash"] == ["generateContent", "countTokens"]


async def test_it_lists_only_what_it_is_told_to_serve() -> None:
    async with simulated(models=["gemini-next-live"]) as service:
        listed = await anyio.to_thread.run_sync(lambda: _listed(service, "any", page_size=50))
    assert listed == {"models/gemini-next-live": ["countTokens", "bidiGenerateContent"]}
