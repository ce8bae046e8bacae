"""The live session against google-genai's own: signatures, wrong use, receiving, closing, and what is raised."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from google import genai
from google.genai import errors, live, types

import unbroken
import unbroken_gemini
from unbroken.config import Target
from unbroken.testing import virtual
from unbroken.testing.service import SimulatedService
from unbroken_gemini import sdk
from unbroken_gemini.live import LiveRefused, LiveSession
from unbroken_gemini.live.session import Watch
from unbroken_gemini.testing import Behaviour, Call, Reply, simulated

pytestmark = pytest.mark.anyio

MODEL = "gemini-3.8-live"
TRANSCRIBED: dict[str, Any] = {"response_modalities": ["AUDIO"], "output_audio_transcription": {}}
TOOLS = {"tools": [{"function_declarations": [{"name": "weather"}]}]}
HELLO = types.Content(role="user", parts=[types.Part(text="Hello!")])


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual("asyncio")  # google-genai knows no other


TLS = ssl.create_default_context()
"""One for all clients: to build it takes longer than a test, and nothing here needs it."""


def client_of(service: SimulatedService, **others: Any) -> genai.Client:
    options = types.HttpOptions(base_url=service.base_url, client_args={"verify": TLS}, async_client_args={"ssl": TLS})
    return genai.Client(api_key="any", http_options=options, **others)


@asynccontextmanager
async def serving(
    *, faults: Sequence[str] = (), replies: Sequence[Reply | str] = (), keys: Sequence[str] = (), **behaviour: Any
) -> AsyncGenerator[SimulatedService]:
    """A service in memory; nothing of a live session may run on after the body."""
    ways = Behaviour(**behaviour)
    async with simulated(behaviour=ways, faults=faults, replies=replies, keys=keys, memory=True) as service:
        yield service
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert [name for name in names if name.startswith(("unbroken ", "session"))] == []


def live_on(service: SimulatedService, *, model: Any = MODEL, config: Any = TRANSCRIBED, **others: Any) -> Any:
    client = client_of(service)
    return unbroken_gemini.live_connect(client, model=model, config=config, transport=service.transport, **others)


async def turn(session: LiveSession) -> list[types.LiveServerMessage]:
    return [message async for message in session.receive()]


def words(messages: Sequence[types.LiveServerMessage]) -> str:
    said = [m.server_content.output_transcription for m in messages if m.server_content is not None]
    return "".join(piece.text or "" for piece in said if piece is not None)


# -- the same face ----------------------------------------------------------------------------------------------------------

METHODS = [name for name, _ in inspect.getmembers(live.AsyncSession, inspect.isfunction) if not name.startswith("_")]


def test_nothing_of_google_genais_session_is_missing() -> None:
    assert METHODS == [
        "close",
        "receive",
        "send",
        "send_client_content",
        "send_context_update",
        "send_realtime_input",
        "send_tool_response",
        "start_stream",
    ]
    assert {"session_id", "setup_complete"} <= set(dir(LiveSession))


def _shape(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_parameters_are_google_genais(name: str) -> None:
    theirs, ours = getattr(live.AsyncSession, name), getattr(LiveSession, name)
    assert _shape(ours) == _shape(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
    assert inspect.isasyncgenfunction(ours) == inspect.isasyncgenfunction(theirs)


def test_connecting_takes_what_google_genai_takes() -> None:
    ours = {name: (kind, default) for name, kind, default in _shape(unbroken_gemini.live_connect)}
    for name, kind, default in _shape(inspect.unwrap(live.AsyncLive.connect))[1:]:
        assert ours[name] == (kind, default)


def test_importing_the_plugin_loads_nothing_of_google_genai() -> None:
    check = "import sys, unbroken_gemini; unbroken_gemini.live_connect; print([n for n in sys.modules if 'google' in n])"
    finished = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.strip() == "[]"


# -- wrong use --------------------------------------------------------------------------------------------------------------

PCM = types.Blob(data=b"\0\0", mime_type="audio/pcm;rate=16000")
PNG = types.Blob(data=b"\x89PNG", mime_type="image/png")

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("send_realtime_input", {}),
    ("send_realtime_input", {"text": "Hello!", "audio": PCM}),
    ("send_realtime_input", {"audio": PNG}),
    ("send_realtime_input", {"audio": {"data": b"1", "mime_type": ""}}),
    ("send_realtime_input", {"video": PCM}),
    ("send_realtime_input", {"audio": 5}),
    ("send_realtime_input", {"text": 5}),
    ("send_client_content", {"turns": 5}),
    ("send_tool_response", {"function_responses": []}),
    ("send_tool_response", {"function_responses": {"name": "weather", "response": {}}}),
    ("send_tool_response", {"function_responses": "sunny"}),
    ("send_context_update", {}),
    ("send_context_update", {"tools": 5}),
    ("send", {"input": 5}),
    ("send", {"input": {"name": "weather", "response": {}}}),
]


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize(("method", "arguments"), WRONG, ids=[f"{m}-{n}" for n, (m, _) in enumerate(WRONG)])
async def test_wrong_use_is_refused_in_google_genais_words(method: str, arguments: dict[str, Any]) -> None:
    async with serving() as service, live_on(service) as session:
        theirs = live.AsyncSession(api_client=client_of(service)._api_client, websocket=None)  # type: ignore[arg-type]
        with pytest.raises(ValueError) as expected:
            await getattr(theirs, method)(**arguments)
        with pytest.raises(ValueError) as raised:
            await getattr(session, method)(**arguments)
        assert str(raised.value) == str(expected.value)


def answer(**more: Any) -> dict[str, Any]:
    return {"function_responses": {"id": "1", "name": "weather", "response": {}} | more}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "send_realtime_input",
        {"audio": {"data": b"\0\0", "mime_type": "audio/pcm;rate=fast"}},
        r"media as 'audio/pcm;rate=fast': a session takes audio/pcm;rate=16000 \(s16le mono\), and images",
    ),
    ("send_realtime_input", {"audio": {"data": b"RIFF", "mime_type": "audio/wav"}}, "media as 'audio/wav': a session takes"),
    ("send_realtime_input", {"text": ""}, "text='' says nothing; leave it out"),
    (
        "send_client_content",
        {"turns": {"parts": [{"inline_data": {"data": b"\0\0", "mime_type": "audio/pcm"}}]}},
        r"a part with inline_data in client content: text and images can be told; speech goes by send_realtime_input",
    ),
    ("send_tool_response", answer(), "no tool call has the id '1'; pending: none"),
    (
        "send_tool_response",
        answer(will_continue=True),
        "will_continue in the response of 'weather': a call is answered once",
    ),
    (
        "send_tool_response",
        answer(parts=[{"inline_data": {}}]),
        "parts in the response of 'weather': give the result as JSON",
    ),
]


@pytest.mark.parametrize(("method", "arguments", "says"), REFUSED, ids=[says[:24] for _, _, says in REFUSED])
async def test_what_cannot_be_done_is_refused_with_what_can(method: str, arguments: dict[str, Any], says: str) -> None:
    async with serving() as service, live_on(service) as session:
        with pytest.raises(ValueError, match=says) as raised:
            await getattr(session, method)(**arguments)
        assert isinstance(raised.value, unbroken.ConfigError)
        await session.send_client_content(turns=HELLO)
        assert words(await turn(session)), "and nothing is broken by it"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"config": 5}, "the config is a int; expected google-genai's LiveConnectConfig or a dict"),
        ({"config": {"respond": "now"}}, "not a LiveConnectConfig: respond: "),
        ({"config": {"http_options": {"timeout": 5}}}, r"only supports `base_url`, `api_version` and `headers`"),
        ({"config": {"session_resumption": {"handle": "h"}}}, "the session keeps the handles itself; leave it out"),
        ({"model": []}, "the route is empty; give at least one target"),
        ({"model": [MODEL, MODEL]}, f"the route names gemini/{MODEL} twice; tell such targets apart with label="),
        ({"model": Target(model="m", provider="other")}, "other/m: live_connect gives google-genai's messages"),
        ({"policy": "none"}, "unknown policy 'none'"),
    ],
)
async def test_what_cannot_be_connected_is_refused_before_anything_is_dialled(arguments: dict[str, Any], says: str) -> None:
    async with serving() as service:
        with pytest.raises(ValueError, match=says):
            async with live_on(service, **arguments):
                pass
        assert service.connections == ()


# -- receiving --------------------------------------------------------------------------------------------------------------


async def test_a_turn_is_the_services_own_messages() -> None:
    async with serving(replies=["Hello there."]) as service, live_on(service) as session:
        assert (session.session_id, session.setup_complete) == (None, types.LiveServerSetupComplete())
        await session.send_client_content(turns=HELLO)
        messages = await turn(session)
        assert words(messages) == "Hello there."
        assert b"".join(message.data for message in messages if message.data)
        *_, generated, last = messages
        assert generated.server_content == types.LiveServerContent(generation_complete=True)
        assert last.server_content is not None
        assert last.server_content.turn_complete
        assert last.usage_metadata is not None
        assert last.usage_metadata.total_token_count
        for message in messages:
            assert (message.setup_complete, message.session_resumption_update, message.go_away) == (None, None, None)


async def test_handles_are_shown_to_who_asked_for_them_and_goaway_to_nobody() -> None:
    config = {**TRANSCRIBED, "session_resumption": {}}
    async with serving(faults=["goaway:30s@#2"]) as service, live_on(service, config=config) as session:
        await session.send_client_content(turns=HELLO)
        seen = await turn(session)
        await session.send_client_content(turns=HELLO)
        seen += await turn(session)
        updates = [message.session_resumption_update for message in seen if message.session_resumption_update]
        assert any(update.new_handle for update in updates)
        assert all(message.go_away is None for message in seen)


async def test_a_vertex_session_has_its_id() -> None:
    async with serving() as service:
        route = service.target(MODEL, vertexai=True)
        async with live_on(service, model=route) as session:
            assert session.session_id
            await session.send_client_content(turns=HELLO)
            assert words(await turn(session))


async def test_a_route_goes_on_where_a_model_is_not_served() -> None:
    faults = ["refuse-model:gemini-3.1-flash-live-preview"]
    route = ["gemini-3.1-flash-live-preview", MODEL]
    async with serving(faults=faults) as service, live_on(service, model=route) as session:
        await session.send_client_content(turns=HELLO)
        assert words(await turn(session))
        assert [link.model for link in service.report().links] == route


async def test_recoveries_are_told_as_they_happen() -> None:
    async with serving(faults=["reset@#2"]) as service, live_on(service) as session:
        assert session.recoveries == ()
        await session.send_realtime_input(text="Hello!")
        assert words(await turn(session))
        (recovery,) = session.recoveries
        assert recovery.link == 2
        assert repr(session).startswith("<LiveSession over <Session 'session-1' replying, link 2")


async def test_a_cut_reply_that_is_left_ends_its_turn() -> None:
    settings = unbroken.Settings(on_cut_reply="leave")
    faults, replies = ["1011@reply+0.7s"], ["One two three four five six seven.", "Eight."]
    async with serving(faults=faults, replies=replies) as service, live_on(service, settings=settings) as session:
        await session.send_client_content(turns=HELLO)
        cut = await turn(session)
        assert "One two three four five six seven.".startswith(words(cut))
        assert cut[-1].server_content == types.LiveServerContent(turn_complete=True)
        assert session.recoveries[0].reply == "cut"
        await session.send_client_content(turns=HELLO)
        assert words(await turn(session)) == "Eight."


async def test_a_cut_reply_that_the_model_does_not_go_on_with_ends_its_turn() -> None:
    class Struck(Watch):
        def event(self, session: str, event: unbroken.Event, *, now: float) -> None:
            if isinstance(event, unbroken.OutageBegan):
                service.inject("no-reply")

    faults, replies = ["1011@reply+0.7s"], ["One two three four five six seven.", "Eight."]
    async with serving(faults=faults, replies=replies) as service, live_on(service, observers=[Struck()]) as session:
        await session.send_client_content(turns=HELLO)
        cut = await turn(session)
        assert session.recoveries[0].reply == "continued"
        assert cut[-1].server_content == types.LiveServerContent(turn_complete=True)
        await session.send_client_content(turns=HELLO)
        assert words(await turn(session))


async def test_a_cut_reply_that_is_given_again_silences_the_first() -> None:
    settings = unbroken.Settings(on_cut_reply="again")
    faults, replies = ["1011@reply+0.7s"], ["One two three four five six seven."] * 2
    async with serving(faults=faults, replies=replies) as service, live_on(service, settings=settings) as session:
        await session.send_client_content(turns=HELLO)
        seen = await turn(session)
        silenced = seen.index(types.LiveServerMessage(server_content=types.LiveServerContent(interrupted=True)))
        assert words(seen[:silenced])
        assert words(seen[silenced:]) == "One two three four five six seven."


async def test_who_leaves_a_turn_goes_on_in_it() -> None:
    async with serving(replies=["One two three."]) as service, live_on(service) as session:
        await session.send_client_content(turns=HELLO)
        seen = [await anext(session.receive()), *await turn(session)]
        assert words(seen) == "One two three."


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    async with serving(replies=["One two three four five six."]) as service, live_on(service) as session:
        await session.send_client_content(turns=HELLO)
        seen: list[types.LiveServerMessage] = []
        while not (seen and seen[-1].server_content and seen[-1].server_content.turn_complete):
            try:
                async with asyncio.timeout(0.01):
                    async for message in session.receive():
                        seen.append(message)
            except TimeoutError:
                pass
        assert words(seen) == "One two three four five six."


# -- sending ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "turns",
    [
        HELLO,
        {"parts": [{"text": "Hello!"}]},
        [HELLO],
        [{"role": "user", "parts": [{"text": "Hel"}, {"text": "lo!"}]}],
    ],
)
async def test_content_is_taken_in_every_form(turns: Any) -> None:
    async with serving() as service, live_on(service) as session:
        await session.send_client_content(turns=turns)
        assert words(await turn(session))
        assert service.report().texts == ("Hello!",)


async def test_what_is_not_complete_is_told_and_answered_with_the_rest() -> None:
    async with serving(replies=["Alice."]) as service, live_on(service) as session:
        known = [types.Content(role="user", parts=[types.Part(text="My name is Alice.")])]
        await session.send_client_content(turns=known, turn_complete=False)
        await session.send_client_content(turns=types.Content(parts=[types.Part(text="What is my name?")]))
        assert words(await turn(session))
        assert "What is my name?" in service.report().texts


async def test_a_turn_that_is_completed_without_words_is_answered() -> None:
    async with serving(replies=["Yes?"]) as service, live_on(service) as session:
        await session.send_client_content(turn_complete=True)
        assert words(await turn(session)) == "Yes?"


TOLD: list[Any] = [HELLO, {"role": "model", "parts": [{"text": "Good morning, Alice."}]}]


async def test_an_announced_history_is_told_in_one_piece_and_not_answered() -> None:
    config = {**TRANSCRIBED, "history_config": {"initial_history_in_client_content": True}}
    async with serving(replies=["Alice."]) as service, live_on(service, config=config) as session:
        await session.send_client_content(turns=TOLD)
        await session.send_client_content(turns={"parts": [{"text": "What is my name?"}]})
        assert words(await turn(session)) == "Alice."
        told, asked = service.report().texts
        assert told.startswith('Hello!\nYou said before: "Good morning, Alice."')
        assert asked == "What is my name?"


async def test_a_history_begins_the_session_and_crosses_to_its_next_link() -> None:
    async with serving() as service, live_on(service, model="gemini-3.1-flash-live-preview", history=TOLD) as session:
        assert service.report().links[0].history == 2
        await session.send_realtime_input(text="What is my name?")
        assert words(await turn(session))
        with pytest.raises(ValueError, match="an image in the history: a history is told in words"):
            async with live_on(service, history={"parts": [{"inline_data": PNG}]}):
                pass


async def test_tools_and_instructions_can_be_changed() -> None:
    async with serving() as service, live_on(service) as session:
        await session.send_context_update(tools=TOOLS["tools"], system_instruction="Be short.")
        await asyncio.sleep(30)
        await session.send_realtime_input(text="call weather please")
        called = [message.tool_call async for message in _until_call(session)]
        assert [call.name for one in called if one is not None for call in one.function_calls or ()] == ["weather"]
        assert len(service.report().links) == 2


async def _until_call(session: LiveSession) -> AsyncIterator[types.LiveServerMessage]:
    async for message in session.receive():
        yield message
        if message.tool_call is not None:
            break


async def test_marks_and_the_end_of_the_stream_are_sent() -> None:
    by_hand = {"realtime_input_config": {"automatic_activity_detection": {"disabled": True}}}
    async with serving() as service, live_on(service, config={**TRANSCRIBED, **by_hand}) as session:
        await session.send_realtime_input(activity_start={})
        await session.send_realtime_input(audio=types.Blob(data=bytes(6400), mime_type="audio/pcm"))
        await session.send_realtime_input(activity_end=types.ActivityEnd())
        assert words(await turn(session))
        await session.send_realtime_input(audio_stream_end=True)
        await session.send_realtime_input(audio_stream_end=False)
        await session.send_realtime_input(video=PNG)
        await session.send_realtime_input(media=PNG)


async def test_vertex_takes_an_answer_without_an_id() -> None:
    async with serving(replies=[Call(name="weather", then="Sunny.")]) as service:
        route = service.target(MODEL, vertexai=True)
        client = client_of(service, vertexai=True)
        config = {**TRANSCRIBED, **TOOLS}
        below = unbroken_gemini.live_connect(client, model=route, config=config, transport=service.transport)
        async with below as session:
            await session.send_client_content(turns=HELLO)
            said: list[types.LiveServerMessage] = []
            async for message in session.receive():
                said.append(message)
                if message.tool_call is not None:
                    with pytest.raises(ValueError, match=r"of 'time' has no id, and no call .* 'weather'"):
                        await session.send_tool_response(function_responses={"name": "time", "response": {}})
                    await session.send_tool_response(function_responses={"name": "weather", "response": {"sky": "blue"}})
            assert words(said) == "Sunny."
            assert [call.answers for call in service.report().calls] == [1]


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
async def test_audio_of_any_rate_is_heard_at_the_sessions(rate: int) -> None:
    async with serving(replies=["I heard you."]) as service, live_on(service) as session:
        said = b"\x10\x20" * rate + bytes(2 * rate)  # a second of something, a second of nothing
        for start in range(0, len(said), rate // 5):
            blob = types.Blob(data=said[start : start + rate // 5], mime_type=f"audio/pcm;rate={rate}")
            await session.send_realtime_input(audio=blob)
            await asyncio.sleep(0.1)
        assert words(await turn(session)) == "I heard you."
        assert abs(service.report().unstamped_ms - 2000) < 100


async def test_another_rate_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    async with serving() as service, live_on(service) as session:
        with pytest.raises(ValueError, match=r"audio at 8000 Hz needs the package 'soxr'.*unbroken\[audio\]"):
            await session.send_realtime_input(audio=types.Blob(data=bytes(320), mime_type="audio/pcm;rate=8000"))


@pytest.mark.parametrize(("arguments", "goes"), [({}, True), ({"proxy": None}, False)])
def test_a_clients_word_on_proxies_holds(arguments: dict[str, Any], goes: bool) -> None:
    options = types.HttpOptions(client_args={"verify": TLS}, async_client_args={"ssl": TLS} | arguments)
    assert sdk.proxied(genai.Client(api_key="any", http_options=options)) is goes


async def test_a_clients_own_proxy_is_refused() -> None:
    options = types.HttpOptions(client_args={"verify": TLS}, async_client_args={"ssl": TLS, "proxy": "http://127.0.0.1:9"})
    with pytest.raises(LiveRefused, match="name it by HTTPS_PROXY in the environment instead"):
        async with unbroken_gemini.live_connect(genai.Client(api_key="any", http_options=options), model=MODEL):
            pass


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "given",
    [
        "Hello!",
        {"turns": [{"role": "user", "parts": [{"text": "Hello!"}]}], "turn_complete": True},
        types.LiveClientContent(turns=[HELLO], turn_complete=True),
    ],
)
async def test_the_old_send_takes_words(given: Any) -> None:
    async with serving() as service, live_on(service) as session:
        await session.send(input=given, end_of_turn=True)
        assert words(await turn(session))
        assert service.report().texts == ("Hello!",)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_the_old_send_takes_media_and_results() -> None:
    async with serving(replies=[Call(name="weather")]) as service:
        async with live_on(service, config={**TRANSCRIBED, **TOOLS}) as session:
            await session.send(input=PCM)
            await session.send(input={"data": b"\x89PNG", "mime_type": "image/png"})
            await session.send(input="Hello!", end_of_turn=True)
            async for message in session.receive():
                for call in message.tool_call.function_calls if message.tool_call is not None else ():
                    await session.send(input={"id": call.id, "name": call.name, "response": {"sky": "blue"}})
        report = service.report()
        assert [call.answers for call in report.calls] == [1]
        assert report.heard == ()


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_the_old_stream_ends_with_what_it_sends() -> None:
    async def recording() -> AsyncIterator[bytes]:
        yield b"\x10\x20" * 8000
        for _ in range(40):
            await asyncio.sleep(0.1)
            yield bytes(3200)

    async with serving(replies=["I heard you."]) as service, live_on(service) as session:
        seen = [message async for message in session.start_stream(stream=recording(), mime_type="audio/pcm;rate=16000")]
        assert words(seen) == "I heard you."
        await session.send_realtime_input(text="Hello!")
        assert words(await turn(session)), "and the session goes on"


# -- the end ----------------------------------------------------------------------------------------------------------------


async def closed(session: LiveSession) -> None:
    """What a closed session does with everything."""
    with pytest.raises(errors.APIError) as raised:
        await anext(session.receive())
    assert raised.value.code == 1000
    for method, arguments in (
        ("send_realtime_input", {"audio": PCM}),
        ("send_realtime_input", {"text": "Hello!"}),
        ("send_client_content", {"turns": HELLO}),
        ("send_tool_response", answer()),
    ):
        with pytest.raises(errors.APIError, match="the session was closed; open a new one") as refused:
            await getattr(session, method)(**arguments)
        assert isinstance(refused.value, unbroken.SessionClosed)
    await session.close()


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5, 0.9, 2.0])
@pytest.mark.parametrize("faults", [[], ["1011@reply+0.1s"], ["stall-upgrade@upgrade", "1011"]], ids=["well", "cut", "out"])
async def test_it_closes_in_every_state(seconds: float, faults: list[str]) -> None:
    async with serving(replies=["One two three."]) as service, live_on(service) as session:
        for fault in faults:
            service.inject(fault)
        await session.send_client_content(turns=HELLO)
        await asyncio.sleep(seconds)
        await session.close()
        await closed(session)


async def test_closing_wakes_who_receives() -> None:
    async with serving() as service, live_on(service) as session:
        receiving = asyncio.create_task(turn(session))
        await asyncio.sleep(1)
        await session.close()
        with pytest.raises(errors.APIError):
            await receiving


async def test_a_session_is_closed_after_its_block() -> None:
    async with serving() as service:
        async with live_on(service) as session:
            pass
        await closed(session)


async def test_the_bodys_exception_leaves_it_as_it_is() -> None:
    async with serving() as service:
        with pytest.raises(LookupError, match="of the body"):
            async with live_on(service):
                raise LookupError("of the body")


async def test_one_task_may_open_what_another_closes() -> None:
    async with serving() as service:
        stack = AsyncExitStack()
        session = await asyncio.create_task(stack.enter_async_context(live_on(service)))
        await session.send_client_content(turns=HELLO)
        assert words(await turn(session))
        await asyncio.create_task(stack.aclose())
        await closed(session)


async def test_an_opening_that_is_cancelled_leaves_nothing() -> None:
    async with serving(faults=["stall-setup"]) as service:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), live_on(service):
                pass


async def test_a_session_that_cannot_begin_says_why_and_what_to_do() -> None:
    async with serving(keys=["right"]) as service:
        with pytest.raises(errors.APIError, match=r"^close 1007 .API key not valid.*Advice: Check GEMINI_API_KEY") as raised:
            async with live_on(service):
                pass
        assert raised.value.code == 1007
        assert isinstance(raised.value, unbroken.SessionEscalated)
        assert raised.value.story.fault is not None


async def test_a_session_that_is_given_up_raises_from_everything() -> None:
    settings = unbroken.Settings(patience=2.0)
    async with serving() as service, live_on(service, settings=settings) as session:
        service.inject("http-503@upgradex99")
        service.inject("1011")
        await session.send_client_content(turns=HELLO)
        with pytest.raises(errors.APIError, match=r"^HTTP 503.*patience") as raised:
            await turn(session)
        assert isinstance(raised.value, unbroken.SessionEscalated)
        assert (raised.value.code, raised.value.details) == (503, str(raised.value))
        for method, arguments in (("send_realtime_input", {"audio": PCM}), ("send_client_content", {"turns": HELLO})):
            with pytest.raises(errors.APIError) as refused:
                await getattr(session, method)(**arguments)
            assert str(refused.value) == str(raised.value)
        with pytest.raises(errors.APIError):
            await turn(session)
        await session.close()


async def test_a_fault_of_the_route_is_told_from_within_the_block_of_its_caller() -> None:
    async with serving() as service:
        with pytest.raises(LiveRefused) as raised:
            async with live_on(service, model=unbroken_gemini.target("gemini-3.8-life", api_key="k")):
                pass
        assert "did you mean 'gemini-3.8-live'" in str(raised.value)
