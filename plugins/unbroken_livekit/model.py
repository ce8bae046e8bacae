"""LiveKit's realtime model for Gemini Live, over sessions that survive their connections."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr, llm
from livekit.agents.utils import images

import unbroken
from unbroken import registry
from unbroken.abc import Profile, ProviderFactory, Transport
from unbroken.config import CutReply, Route, Spare
from unbroken_livekit import report
from unbroken_livekit.configuration import Arguments, session_config
from unbroken_livekit.session import RealtimeSession

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.genai import types

__all__ = ["RealtimeModel"]


class RealtimeModel(llm.RealtimeModel):
    """Gemini Live for an `AgentSession`, through outages of connections and of models::

        model = unbroken_livekit.RealtimeModel("gemini-3.8-live", fallbacks=["gemini-3.1-flash-live-preview"])
        session = AgentSession(llm=model)

    It takes what livekit-plugins-google's `RealtimeModel` takes, by the same names; docs/livekit-parameters.md lists each.
    An error that is not recoverable comes only when the policy has given the session up.

    Args:
        model: where sessions go: a model's name, ``provider/model``, an `unbroken.Target`, or several of these, the
            preferred one first. Not given: "gemini-3.8-live".
        instructions: the system instruction, until an agent brings its own.
        api_key: of the Gemini API; not given: GOOGLE_API_KEY or GEMINI_API_KEY.
        voice: of the model.
        language: BCP-47, where the model takes one.
        modalities: ["AUDIO"] or ["TEXT"].
        vertexai: Vertex AI; not given: as GOOGLE_GENAI_USE_VERTEXAI says.
        project: of Vertex AI.
        location: of Vertex AI; not given: GOOGLE_CLOUD_LOCATION or "global".
        candidate_count: this and what follows down to `frequency_penalty` are google-genai's ``GenerationConfig``.
        temperature: see there.
        max_output_tokens: see there.
        top_p: see there.
        top_k: see there.
        presence_penalty: see there.
        frequency_penalty: see there.
        input_audio_transcription: of what the user says; None: none, and then no history tells it after a failover.
        output_audio_transcription: of what the model says; None: none.
        image_encode_options: how frames of video are encoded.
        enable_affective_dialog: where the model has it.
        proactivity: the model may choose to be silent.
        realtime_input_config: detection of the user's speech.
        context_window_compression: not given: a sliding window, without which sessions end after 15 minutes.
        tool_behavior: "BLOCKING" or "NON_BLOCKING"; not given: as the model does by itself.
        tool_response_scheduling: how results are taken in, where the model's tools do not block.
        session_resumption: handles are the session's own business; a handle given here is refused.
        api_version: of the endpoint.
        conn_options: not used: when and how often to try is the policy's business.
        http_options: the endpoint, headers and TLS context are taken from it.
        media_resolution: of images.
        thinking_config: where the model takes one.
        credentials: google-auth's, for Vertex AI.
        fallbacks: where sessions may go when the model fails: further names or targets. Names are reached as the model is.
        policy: decides about faults: an object, a registered name or "module:object"; None: the default policy.
        rules: rows of classification that come before the provider's own.
        patience: seconds that an outage may last before the session is given up; None: `settings`' own.
        on_cut_reply: what becomes of a reply that an outage cut ("continue", "again", "leave"); None: `settings`' own.
        spare: when a connection is opened ahead of need ("auto", "ready", "always", "never"); None: `settings`' own.
        settings: all other bounds of a session.
        fleet: what sessions learn of targets; None: shared by the sessions of this model.
        observers: are told what happens, such as `unbroken.telemetry.Telemetry`.
        transport: what links go over; None: WebSockets.

    Attributes:
        arguments: what all these come to.
        targets: the route.
        profile: what the preferred target's model can do.

    Raises:
        unbroken.ConfigError: a target, a setting or the configuration cannot work; the text says what would have worked.
    """

    def __init__(
        self,
        model: NotGivenOr[Route] = NOT_GIVEN,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        api_key: NotGivenOr[str] = NOT_GIVEN,
        voice: str = "Puck",
        language: NotGivenOr[str] = NOT_GIVEN,
        modalities: NotGivenOr[list[types.Modality]] = NOT_GIVEN,
        vertexai: NotGivenOr[bool] = NOT_GIVEN,
        project: NotGivenOr[str] = NOT_GIVEN,
        location: NotGivenOr[str] = NOT_GIVEN,
        candidate_count: int = 1,
        temperature: NotGivenOr[float] = NOT_GIVEN,
        max_output_tokens: NotGivenOr[int] = NOT_GIVEN,
        top_p: NotGivenOr[float] = NOT_GIVEN,
        top_k: NotGivenOr[int] = NOT_GIVEN,
        presence_penalty: NotGivenOr[float] = NOT_GIVEN,
        frequency_penalty: NotGivenOr[float] = NOT_GIVEN,
        input_audio_transcription: NotGivenOr[types.AudioTranscriptionConfig | None] = NOT_GIVEN,
        output_audio_transcription: NotGivenOr[types.AudioTranscriptionConfig | None] = NOT_GIVEN,
        image_encode_options: NotGivenOr[images.EncodeOptions] = NOT_GIVEN,
        enable_affective_dialog: NotGivenOr[bool] = NOT_GIVEN,
        proactivity: NotGivenOr[bool] = NOT_GIVEN,
        realtime_input_config: NotGivenOr[types.RealtimeInputConfig] = NOT_GIVEN,
        context_window_compression: NotGivenOr[types.ContextWindowCompressionConfig] = NOT_GIVEN,
        tool_behavior: NotGivenOr[types.Behavior] = NOT_GIVEN,
        tool_response_scheduling: NotGivenOr[types.FunctionResponseScheduling] = NOT_GIVEN,
        session_resumption: NotGivenOr[types.SessionResumptionConfig] = NOT_GIVEN,
        api_version: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        http_options: NotGivenOr[types.HttpOptions] = NOT_GIVEN,
        media_resolution: NotGivenOr[types.MediaResolution] = NOT_GIVEN,
        thinking_config: NotGivenOr[types.ThinkingConfig] = NOT_GIVEN,
        credentials: Credentials | None = None,
        fallbacks: Sequence[unbroken.Target | str] = (),
        policy: unbroken.Policy | str | None = None,
        rules: str | Sequence[unbroken.Rule | str] = (),
        patience: float | None = None,
        on_cut_reply: CutReply | None = None,
        spare: Spare | None = None,
        settings: unbroken.Settings | None = None,
        fleet: unbroken.Fleet | None = None,
        observers: Sequence[unbroken.Observer] = (),
        transport: Transport | None = None,
    ) -> None:
        arguments = self.arguments = Arguments(locals())
        self.policy, self.rules = policy, rules
        self.fleet = fleet if fleet is not None else unbroken.Fleet()
        self.observers, self.transport = observers, transport
        self.targets, self.settings = arguments.targets, arguments.settings
        self._profiles = _profiles(arguments)
        self._target = self.targets[0].name
        self._sessions: weakref.WeakSet[RealtimeSession] = weakref.WeakSet()
        super().__init__(capabilities=_capabilities(arguments))

    @property
    def profile(self) -> Profile:
        """What the preferred target's model can do."""
        return self._profiles[self.targets[0].name]

    @property
    def policy_name(self) -> str:
        """The policy, in a word for people."""
        return "default" if self.policy is None else self.policy if isinstance(self.policy, str) else repr(self.policy)

    @property
    def model(self) -> str:
        """The model that serves the session that connected last."""
        return self._profiles[self._target].model

    @property
    def provider(self) -> str:
        """Its platform: "Gemini" or "Vertex AI"."""
        return report.provider_name(self._profiles[self._target].platform)

    def serve(self, target: str) -> None:
        """For sessions: this target, by its name, serves from now on."""
        if target in self._profiles:
            self._target = target

    def session(self, *, turn_detection_disabled: bool = False) -> RealtimeSession:
        """Opens a session; it connects in the background.

        Args:
            turn_detection_disabled: the application marks where the user's speech begins and ends (`start_user_activity`,
                `commit_audio`), whatever `realtime_input_config` says.
        """
        session = RealtimeSession(self, manual=self.arguments.manual or turn_detection_disabled)
        self._sessions.add(session)
        return session

    async def aclose(self) -> None:
        """Closes the sessions that are still open."""
        for session in list(self._sessions):
            await session.aclose()


def _profiles(arguments: Arguments) -> dict[str, Profile]:
    """Builds each target's provider once, so that what cannot work shows before the call."""
    config = session_config(
        arguments.config, instructions=None, context=llm.ToolContext.empty(), behavior=None, manual=False
    )
    profiles: dict[str, Profile] = {}
    for target in arguments.targets:
        factory: ProviderFactory = registry.load("unbroken.providers", target.provider)
        profiles[target.name] = factory(target, config=config).profile
    return profiles


def _capabilities(arguments: Arguments) -> llm.RealtimeCapabilities:
    return llm.RealtimeCapabilities(
        message_truncation=True,
        turn_detection=not arguments.manual,
        user_transcription=arguments.transcribed,
        auto_tool_reply_generation=True,
        audio_output=arguments.spoken,
        manual_function_calls=False,
        mutable_chat_context=True,
        mutable_instructions=True,
        mutable_tools=True,
        per_response_tool_choice=False,
    )
