"""What the drill's caller says: the shipped speech, or any WAV or FLAC file brought to 16 kHz mono."""

from __future__ import annotations

import importlib.resources
import wave
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from unbroken.errors import ConfigError, MissingExtra

__all__ = ["RATE", "SAMPLE_BYTES", "Speech", "read_speech"]

RATE = 16_000
"""Samples per second of all user audio."""

SAMPLE_BYTES = 2

_SHIPPED = importlib.resources.files("unbroken.drill") / "speech.wav"

_QUIET_END_MS = 1500
"""A recording that ends in speech is followed by this much silence before it begins again, so that its last turn ends."""


class Speech:
    """A recording that is said again and again.

    Args:
        pcm: s16le mono PCM at 16 kHz; not empty.
        name: what people call it.
    """

    def __init__(self, pcm: bytes, *, name: str) -> None:
        self.pcm = pcm
        self.name = name

    def __repr__(self) -> str:
        return f"<Speech {self.name} {self.seconds:.1f} s>"

    @property
    def seconds(self) -> float:
        """How long it takes to say it once."""
        return len(self.pcm) / SAMPLE_BYTES / RATE

    def for_seconds(self, seconds: float) -> bytes:
        """Returns the recording, repeated with a pause and cut, so that it lasts as long as asked (s16le at 16 kHz)."""
        round_ = self.pcm + bytes(_QUIET_END_MS * RATE // 1000 * SAMPLE_BYTES)
        wanted = round(seconds * RATE) * SAMPLE_BYTES
        return (round_ * (wanted // len(round_) + 1))[:wanted]


def read_speech(path: str | None = None) -> Speech:
    """Reads what the caller says.

    Args:
        path: a WAV or FLAC file of any rate and number of channels; None: the speech that is shipped.

    Raises:
        ConfigError: there is no such file, or it is not an audio file, or it is empty.
        MissingExtra: the file has to be decoded or resampled, and the libraries for that are not installed.
    """
    if path is None:
        return Speech(_plain_wave(_SHIPPED) or b"", name="the shipped speech")
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no audio file at {path!r}; name a WAV or FLAC file")
    pcm = _plain_wave(file)
    if pcm is None:
        pcm = _decoded(file)
    if not pcm:
        raise ConfigError(f"the audio file {path!r} is empty; name a WAV or FLAC file with speech in it")
    return Speech(pcm, name=file.name)


def _plain_wave(file: Traversable) -> bytes | None:
    """Returns the samples of a file that is already as we need it; None: it is anything else."""
    try:
        with file.open("rb") as opened, wave.open(opened, "rb") as recording:
            if (recording.getnchannels(), recording.getsampwidth(), recording.getframerate()) != (1, SAMPLE_BYTES, RATE):
                return None
            return recording.readframes(recording.getnframes())
    except (wave.Error, EOFError):
        return None


def _decoded(file: Path) -> bytes:
    """Decodes, mixes down and resamples a file with the libraries of the extra ``audio``."""
    _refuse_what_is_no_audio(file)
    try:
        import soundfile
        import soxr
    except ImportError as missing:
        wanted = f"reading {file.name!r}, which is not 16 kHz mono 16-bit WAV,"
        raise MissingExtra(wanted, package=missing.name or "soundfile", extra="audio") from missing
    try:
        samples: Any
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as refused:
        raise ConfigError(f"{str(file)!r} is not an audio file that can be read; name a WAV or FLAC file") from refused
    mono: Any = samples.mean(axis=1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE)
    pcm: bytes = (mono.clip(-1.0, 1.0) * 32767).round().astype("<i2").tobytes()
    return pcm


def _refuse_what_is_no_audio(file: Path) -> None:
    """Says that a file is no audio at all without needing the libraries for it."""
    with file.open("rb") as opened:
        head = opened.read(12)
    known = head[:4] in {b"RIFF", b"RF64", b"RIFX", b"fLaC", b"OggS", b"FORM", b"caff", b".snd"} or head[:3] == b"ID3"
    if not known:
        raise ConfigError(f"{str(file)!r} is not an audio file; name a WAV or FLAC file")
