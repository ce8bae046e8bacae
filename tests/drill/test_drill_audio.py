"""What the drill's caller says."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unbroken.drill.audio import RATE, Speech, read_speech
from unbroken.drill.run import speaks_at
from unbroken.errors import ConfigError


def tone(seconds: float, *, rate: int, channels: int = 1) -> np.ndarray:
    wave_ = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave_[:, None], channels, axis=1).astype("float32")


def test_the_shipped_speech_is_three_sentences_with_room_for_an_answer() -> None:
    speech = read_speech()
    speaks = speaks_at(speech.pcm)
    turns = [frame for frame in range(1, len(speaks)) if speaks[frame] and not speaks[frame - 1]]
    assert 10 < speech.seconds < 20
    assert len(turns) == 3
    assert not any(speaks[-75:]), "a second and a half of silence at the end"


def test_the_shipped_speech_needs_no_extra() -> None:
    code = (
        "import sys\nfor name in ('numpy', 'soundfile', 'soxr'): sys.modules[name] = None\n"
        "from unbroken.drill.audio import read_speech\nprint(len(read_speech().pcm))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10 * RATE * 2


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_recording_becomes_16_khz_mono(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    file = tmp_path / f"said.{suffix}"
    soundfile.write(file, tone(1.5, rate=rate, channels=channels), rate)
    speech = read_speech(str(file))
    samples = np.frombuffer(speech.pcm, "<i2").astype("float64")
    assert speech.name == file.name
    assert speech.seconds == pytest.approx(1.5, abs=0.002)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * RATE / len(samples) == pytest.approx(440, abs=1.5)


def test_a_recording_is_repeated_with_a_pause() -> None:
    speech = Speech(b"\x01\x02" * RATE, name="one second")
    pcm = speech.for_seconds(4.0)
    assert len(pcm) == 4 * RATE * 2
    assert pcm[: RATE * 2] == speech.pcm
    assert set(pcm[RATE * 2 : RATE * 5]) == {0}
    assert pcm[RATE * 5 : RATE * 7] == speech.pcm


def refuse(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        read_speech(str(path))
    return str(refused.value)


def test_what_is_no_audio_file_is_refused_in_one_line(tmp_path: Path) -> None:
    text, broken, empty = tmp_path / "a.txt", tmp_path / "b.wav", tmp_path / "c.wav"
    text.write_text("Hello.")
    broken.write_bytes(b"RIFF\x00\x00\x00\x00WAVEnothing")
    with wave.open(str(empty), "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(RATE)
    assert refuse(text) == f"{str(text)!r} is not an audio file; name a WAV or FLAC file"
    assert refuse(broken) == f"{str(broken)!r} is not an audio file that can be read; name a WAV or FLAC file"
    assert refuse(empty) == f"the audio file {str(empty)!r} is empty; name a WAV or FLAC file with speech in it"
    assert refuse(tmp_path / "none.wav") == f"no audio file at {str(tmp_path / 'none.wav')!r}; name a WAV or FLAC file"
    assert refuse(tmp_path) == f"no audio file at {str(tmp_path)!r}; name a WAV or FLAC file"


def test_without_the_libraries_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "said.flac"
    soundfile.write(file, tone(0.5, rate=48_000), 48_000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert refuse(file) == (
        "reading 'said.flac', which is not 16 kHz mono 16-bit WAV, needs the package 'soundfile', which is not installed: "
        "pip install 'unbroken[audio]'"
    )


def test_gaps_between_words_are_speech() -> None:
    loud, gap = (2000).to_bytes(2, "little") * 320, bytes(640)
    speaks = speaks_at(loud * 5 + gap * 10 + loud * 5 + gap * 40)
    assert all(speaks[:34])
    assert not any(speaks[35:])
