"""What is known of a target before its first call: the credential's kind, the model's standing, the configuration. No I/O.

`unbroken_gemini.listing` asks the service besides; `unbroken.doctor` shows both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec
from google.auth.credentials import Credentials

from unbroken.abc import Finding
from unbroken_gemini import models, sdk
from unbroken_gemini.targets import TOKEN_PREFIX, Options

__all__ = ["config", "credential", "standing"]


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """How something begins that is no API key, what it is, and where it belongs."""

    pattern: re.Pattern[str]
    what: str
    fix: str


_LOOKS: Final = (
    _Look(
        pattern=re.compile(r"ya29\.|Bearer "),
        what="an OAuth access token",
        fix="Tokens are Vertex AI's: give vertexai=True and credentials=, google-auth's or a callable that returns one.",
    ),
    _Look(
        pattern=re.compile(r"eyJ[\w-]+\.eyJ"),
        what="a JSON web token",
        fix="Give the API key of Google AI Studio, or vertexai=True and credentials= for Google credentials.",
    ),
    _Look(
        pattern=re.compile(r"\s*\{|-----BEGIN"),
        what="the content of a credentials file",
        fix="Set GOOGLE_APPLICATION_CREDENTIALS to the file's path, leave the key out, and give vertexai=True.",
    ),
    _Look(
        pattern=re.compile(r"(/|~/|\.{1,2}/|[A-Za-z]:\\)|\S+\.json$"),
        what="the path of a file",
        fix="Give the key itself; a credentials file's path goes into GOOGLE_APPLICATION_CREDENTIALS, with vertexai=True.",
    ),
    _Look(
        pattern=re.compile(r"sk-"),
        what="another provider's key",
        fix="Give the API key of Google AI Studio (https://aistudio.google.com/apikey).",
    ),
    _Look(
        pattern=re.compile(
            r"(?i)<.*>$|\.{3}|x{4,}$|(the|my|your)?[-_ ]?(gemini|google)?[-_ ]?(api)?[-_ ]?key([-_ ]here)?$|change"
        ),
        what="a placeholder",
        fix="Give the API key of Google AI Studio (https://aistudio.google.com/apikey).",
    ),
    _Look(
        pattern=re.compile("[\"'`]"),
        what="a text in quotes",
        fix="Leave the quotes out: files such as .env and docker's take them for a part of the key.",
    ),
    _Look(
        pattern=re.compile(r".*[^!-~]"),
        what="a text with a space or another sign that no key has",
        fix="Copy the key again, without quotes and line breaks.",
    ),
)
"""Mistakes that users made; the first that fits is told. Google's own keys begin with AIza or AQ., and may be others yet."""

_KEYS: Final = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""Where google-genai looks for a key, in its order."""

_PLATFORM: Final = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")


# -- The credential ---------------------------------------------------------------------------------------------------


def credential(given: Options, account: sdk.Account, environment: Mapping[str, str]) -> Sequence[Finding]:
    """Looks at what a target is let in by; see `unbroken_gemini.target`.

    Args:
        given: the target's options.
        account: what google-genai's client made of them and of the environment.
        environment: the process's variables.
    """
    found = list(_contradictions(given, account, environment))
    key = account.api_key if _by_key(given, account) else None
    if key is not None and key.startswith(TOKEN_PREFIX):
        return [*found, _token()]
    look = next((look for look in _LOOKS if look.pattern.match(key)), None) if key is not None else None
    if look is not None:
        said = f"What is {_origin(given, environment)} looks like {look.what}, not like an API key."
        return [*found, Finding(check="credential", verdict="problem", said=said, fix=look.fix)]
    return [*found, Finding(check="credential", said=_kind(given, account, environment))]


def _by_key(given: Options, account: sdk.Account) -> bool:
    """A key is shown as it is; where a callable is asked, the client has a placeholder for one."""
    asked = given.credentials is not None and not isinstance(given.credentials, Credentials)
    return account.api_key is not None and not asked


def _token() -> Finding:
    return Finding(
        check="credential",
        verdict="warning",
        said="An ephemeral token: every reconnect uses it up a little more, and it expires within the hour.",
        fix="On a server give an API key, or credentials= with a callable that makes a token for each link.",
    )


def _origin(given: Options, environment: Mapping[str, str]) -> str:
    if given.api_key is not None:
        return "given as api_key"
    if given.client is not None:
        return "in the client"
    return f"in {next((name for name in _KEYS if environment.get(name)), 'the environment')}"


def _kind(given: Options, account: sdk.Account, environment: Mapping[str, str]) -> str:
    """Says in a sentence what the target is let in by."""
    place = f" in {account.location}" if account.location else ""
    unsaid = account.location == "global" and not given.location and not environment.get("GOOGLE_CLOUD_LOCATION")
    default = " (the default)" if place and unsaid and given.client is None else ""
    where = f"{models.PLATFORMS['vertex' if account.vertex else 'gemini']}{place}{default}"
    if account.verbatim:
        return f"None of its own for {where}: the gateway at base_url knows the credentials."
    if given.credentials is not None and not isinstance(given.credentials, Credentials):
        return f"A callable of the application, asked once per link, for {where}."
    if account.api_key is not None:
        return f"An API key, {_origin(given, environment)}, for {where}."
    if account.credentials is None:
        return f"Google's application default credentials, for {where}."
    return f"Google credentials of the kind {type(account.credentials).__module__.rpartition('.')[2]!r}, for {where}."


def _contradictions(given: Options, account: sdk.Account, environment: Mapping[str, str]) -> Sequence[Finding]:
    """Names what the environment says twice, or says and is not listened to."""
    own = given.api_key or given.token or given.credentials or given.client
    keys = [name for name in _KEYS if environment.get(name)]
    found: list[Finding] = []
    if not own and account.api_key is not None and len({environment[name] for name in keys}) > 1:
        found.append(
            Finding(
                check="environment",
                verdict="warning",
                said=f"{' and '.join(keys)} are both set and differ; {keys[0]} is taken.",
                fix=f"Unset {keys[1]}, or {keys[0]}.",
            )
        )
    switch = next((name for name in _PLATFORM if environment.get(name)), None)
    if switch is None or given.vertexai is not None or given.token or given.client or not account.vertex:
        return found
    if account.api_key is not None and given.credentials is None:
        said = f"{switch} sends this target to Vertex AI, with the API key that is {_origin(given, environment)}."
        fix = f"For the Gemini API unset {switch}, or give vertexai=False; a key of AI Studio is none of Vertex AI."
        found.append(Finding(check="environment", verdict="warning", said=said, fix=fix))
    elif keys:
        said = f"{switch} sends this target to Vertex AI with Google credentials; {keys[0]} is not used."
        found.append(
            Finding(
                check="environment",
                verdict="warning",
                said=said,
                fix=f"Unset {switch} for the Gemini API, or {keys[0]} for good.",
            )
        )
    return found


# -- The model --------------------------------------------------------------------------------------------------------


def standing(model: str, platform: str, region: str | None, *, today: date) -> Sequence[Finding]:
    """Says whether a model is served at a place, as the catalog knows it.

    Args:
        model: its name, with or without a prefix.
        platform: "gemini" or "vertex".
        region: of Vertex AI; None: not known.
        today: the date, for what has been announced.
    """
    name = models.short(model)
    row = models.CATALOG.find(name)
    where = models.PLATFORMS[platform] + (f" in {region}" if region else "")
    if row is None:
        said = f"{name} is not in this version's catalog, so it is handled with the care that an unknown model needs."
        return [Finding(check="model", verdict="warning", said=said, fix="Update unbroken, which may know it by now.")]
    verdict = models.CATALOG.verdict(row, platform, region=region)
    if verdict != "served":
        return [_unserved(name, platform, region, certain=verdict not in ("invited", "unconfirmed"))]
    found = [_served(row, name, platform, where, today)]
    if row.purpose != "dialogue":
        said = f"{name} is a model for {row.purpose}, not for conversation."
        fix = f"Use {models.CATALOG.serving(platform, region=region)[0].name} to talk to people."
        found.append(Finding(check="model", verdict="warning", said=said, fix=fix))
    return found


def _unserved(name: str, platform: str, region: str | None, *, certain: bool) -> Finding:
    said, fix = models.judgement(name, platform, region)
    if platform == "vertex" and region is not None and models.CATALOG.standing(name, platform="vertex").verdict == "served":
        fix = (
            f"Set the location to such a region, or {fix[:1].lower()}{fix[1:]}"
            if fix
            else "Set the location to such a region."
        )
    return Finding(check="model", verdict="problem" if certain else "warning", said=said, fix=fix)


def _served(row: models.GeminiRow, name: str, platform: str, where: str, today: date) -> Finding:
    service = row.on(platform)
    assert service is not None
    instead = row.replacement or "another model"
    if service.until:
        over = service.until <= today.isoformat()
        ends = "was to be shut down" if over else "will be shut down"
        said = f"{name} {ends} on {where} on {service.until}."
        return Finding(check="model", verdict="problem" if over else "warning", said=said, fix=f"Move to {instead}.")
    if service.status == "preview":
        said = f"{name} is a preview on {where}: it may be shut down at short notice."
        return Finding(check="model", verdict="warning", said=said, fix=f"Move to {instead}.")
    since = f" since {service.since}" if service.since else ""
    return Finding(check="model", said=f"{name} is stable on {where}{since}.")


# -- The configuration ------------------------------------------------------------------------------------------------


def config(setup: Mapping[str, Any], misfits: Sequence[str], *, compresses: bool) -> Sequence[Finding]:
    """Names what the setup asks for and the model does not have, and what it leaves out and calls need.

    Args:
        setup: the setup message's inside.
        misfits: as `unbroken_gemini.models.misfits` names them.
        compresses: the model can compress its context.
    """
    found: list[Finding] = []
    for misfit in misfits:
        said, _, fix = misfit.rpartition(": ")
        fix = f"{fix[:1].upper()}{fix[1:]}." if said else "Change the config, or take another model."
        found.append(Finding(check="config", verdict="warning", said=f"{said or misfit}.", fix=fix))
    missing = [name for name in ("input_audio_transcription", "output_audio_transcription") if _camel(name) not in setup]
    if missing:
        whose = {1: "One side's transcription is off", 2: "Transcription is off"}[len(missing)]
        said = f"{whose}, so a failover tells the next model nothing of what was said there."
        lacking = " and ".join(f'"{name}": {{}}' for name in missing)
        fix = f"Add {lacking} to the config."
        found.append(Finding(check="transcripts", verdict="warning", said=said, fix=fix))
    if compresses and "contextWindowCompression" not in setup:
        said = "Context compression is off, so a session ends after 15 minutes."
        fix = "Leave compress=False out, or configure context_window_compression."
        found.append(Finding(check="config", verdict="warning", said=said, fix=fix))
    return found


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
