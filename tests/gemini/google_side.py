"""The real google-genai client against a local TLS WebSocket server: what it says first, on every platform, per config."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import trustme
from google.auth.credentials import Credentials
from google.genai import Client, types
from google.oauth2.credentials import Credentials as UserCredentials
from pydantic import BaseModel, Field
from websockets.asyncio.server import ServerConnection, serve

MODEL = "gemini-3.8-live"
PLATFORMS = ("gemini", "token", "express", "vertex")


class Said(NamedTuple):
    """What the client showed and sent."""

    path: str
    headers: Mapping[str, str]
    setup: dict[str, Any]


def authority() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Returns TLS contexts of a server on localhost, and of its clients."""
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("localhost").configure_cert(server)
    ca.configure_trust(client)
    return server, client


def credentials(token: str = "bearer-1", *, minutes: float = 60) -> Credentials:
    expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(minutes=minutes)
    return UserCredentials(token=token, expiry=expiry, quota_project_id="billed")  # type: ignore[no-untyped-call]


def client(platform: str, base_url: str, tls: ssl.SSLContext) -> Client:
    """Returns google-genai's client of a platform, at a local address."""
    options = types.HttpOptions(
        base_url=base_url,
        client_args={"verify": tls},
        async_client_args={"verify": tls, "ssl": tls, "proxy": None},
    )
    match platform:
        case "gemini":
            return Client(vertexai=False, api_key="key-1", http_options=options)
        case "token":
            return Client(vertexai=False, api_key="auth_tokens/t-1", http_options=options)
        case "express":
            return Client(vertexai=True, api_key="key-2", http_options=options)
        case _:
            return Client(
                vertexai=True, project="p-1", location="us-central1", credentials=credentials(), http_options=options
            )


async def listen(platform: str, configs: Mapping[str, Any]) -> dict[str, Said | Exception]:
    """Lets the real client connect once per config, and returns what it sent, or how it refused."""
    server_tls, client_tls = authority()
    heard: list[Said] = []

    async def answer(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        setup = json.loads(await connection.recv())["setup"]
        heard.append(Said(request.path, {name.lower(): value for name, value in request.headers.raw_items()}, setup))
        await connection.send('{"setupComplete":{}}')
        await connection.wait_closed()

    said: dict[str, Said | Exception] = {}
    async with serve(answer, "localhost", 0, ssl=server_tls) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        google = client(platform, f"https://localhost:{port}", client_tls)
        for name, given in configs.items():
            config = (
                given.model_copy() if isinstance(given, types.LiveConnectConfig) else given
            )  # Google's client changes it.
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Google's own words on tokens and on generation_config.
                    async with google.aio.live.connect(model=MODEL, config=config):
                        said[name] = heard.pop()
            except ValueError as refused:
                said[name] = refused
    return said


def hear(platform: str, configs: Mapping[str, Any]) -> dict[str, Said | Exception]:
    """`listen` on a loop of its own."""
    return asyncio.run(listen(platform, configs))


# -- configurations that people use -------------------------------------------------------------------------------------


def book_table(city: str, guests: int = 2, wishes: list[str] | None = None) -> str:
    """Books a table."""
    raise NotImplementedError(city, guests, wishes)


def hang_up() -> None:
    """Ends the call."""


class Dish(BaseModel):
    kind: Literal["dish"]
    name: str = Field(description="as on the menu")
    extras: list[str] = []


class Drink(BaseModel):
    kind: Literal["drink"]
    litres: Literal[1, 2]


class Order(BaseModel):
    item: Dish | Drink = Field(discriminator="kind")
    note: str | None = None


DECLARED = types.FunctionDeclaration(
    name="look_up",
    description="Looks something up.",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={"search_term": types.Schema(type=types.Type.STRING, max_length=40)},
        required=["search_term"],
    ),
    behavior=types.Behavior.NON_BLOCKING,
)

CONFIGS: dict[str, Any] = {
    "none": None,
    "empty": {},
    "modalities": {"response_modalities": ["AUDIO"]},
    "sampling": {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_output_tokens": 100, "seed": 7},
    "resolution": {"media_resolution": "MEDIA_RESOLUTION_LOW"},
    "voice": {
        "speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}}, "language_code": "en-US"}
    },
    "voice as objects": types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Puck"))
        ),
    ),
    "system as text": {"system_instruction": "Be short."},
    "system as content": types.LiveConnectConfig(
        system_instruction=types.Content(role="user", parts=[types.Part(text="Be short."), types.Part(text="Be kind.")])
    ),
    "system with bytes": {
        "system_instruction": {
            "parts": [{"inline_data": {"data": b"\xfb\xff\xfe", "mime_type": "image/png"}}, {"text": "See."}]
        }
    },
    "activity": {
        "realtime_input_config": {
            "automatic_activity_detection": {
                "start_of_speech_sensitivity": "START_SENSITIVITY_LOW",
                "end_of_speech_sensitivity": "END_SENSITIVITY_HIGH",
                "prefix_padding_ms": 20,
                "silence_duration_ms": 300,
            },
            "activity_handling": "NO_INTERRUPTION",
            "turn_coverage": "TURN_INCLUDES_ALL_INPUT",
        }
    },
    "activity by hand": {"realtime_input_config": {"automatic_activity_detection": {"disabled": True}}},
    "transcripts": {"input_audio_transcription": {}, "output_audio_transcription": {}},
    "thinking": {"thinking_config": {"thinking_level": "LOW", "include_thoughts": True}},
    "thinking budget": {"thinking_config": {"thinking_budget": 128}},
    "affective": {"enable_affective_dialog": True},
    "translation": {"translation_config": {"target_language_code": "es", "echo_target_language": True}},
    "safety": {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]},
    "labels": {"labels": {"cost_centre": "a_b"}},
    "resumption": {"session_resumption": {}},
    "transparent": {"session_resumption": {"transparent": False}},
    "compression": {"context_window_compression": {"trigger_tokens": 25600, "sliding_window": {"target_tokens": 12800}}},
    "history": {"history_config": {"initial_history_in_client_content": True}},
    "proactive": {"proactivity": {"proactive_audio": True}},
    "vad signal": {"explicit_vad_signal": True},
    "generation": {"generation_config": {"temperature": 0.1}, "response_modalities": ["AUDIO"]},
    "tools": {"tools": [{"google_search": {}}, types.Tool(function_declarations=[DECLARED])]},
    "tools by callable": {"tools": [book_table, hang_up]},
    "tools by schema": {
        "tools": [
            {
                "function_declarations": [
                    {"name": "order", "description": "Orders.", "parameters_json_schema": Order.model_json_schema()}
                ]
            },
            {"code_execution": {}},
        ]
    },
    "everything": types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        temperature=0.7,
        system_instruction="Be short.",
        tools=[types.Tool(function_declarations=[DECLARED]), book_table],
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=types.AutomaticActivityDetection(silence_duration_ms=500)
        ),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
        session_resumption=types.SessionResumptionConfig(),
    ),
}

BOOK_TABLE = {
    "type": "OBJECT",
    "properties": {
        "city": {"type": "STRING"},
        "guests": {"type": "INTEGER", "default": 2},
        "wishes": {"type": "ARRAY", "items": {"type": "STRING"}, "nullable": True},
    },
    "required": ["city"],
}

PARAMETERS: dict[str, Any] = {
    "book_table": BOOK_TABLE,
    "hang_up": None,
    "order": {
        "title": "Order",
        "type": "OBJECT",
        "properties": {
            "item": {
                "title": "Item",
                "anyOf": [
                    {
                        "title": "Dish",
                        "type": "OBJECT",
                        "properties": {
                            "kind": {"title": "Kind", "type": "STRING", "enum": ["dish"]},
                            "name": {"title": "Name", "type": "STRING", "description": "as on the menu"},
                            "extras": {"title": "Extras", "type": "ARRAY", "items": {"type": "STRING"}, "default": []},
                        },
                        "required": ["kind", "name"],
                    },
                    {
                        "title": "Drink",
                        "type": "OBJECT",
                        "properties": {
                            "kind": {"title": "Kind", "type": "STRING", "enum": ["drink"]},
                            "litres": {"title": "Litres", "type": "INTEGER", "description": "One of: 1, 2."},
                        },
                        "required": ["kind", "litres"],
                    },
                ],
            },
            "note": {"title": "Note", "type": "STRING", "nullable": True},
        },
        "required": ["item"],
    },
}
"""What functions declared by JSON schema are declared by instead, by name; None: without parameters."""
