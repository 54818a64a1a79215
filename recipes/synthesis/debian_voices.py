"""Robotic but different voices from Debian packages espeak-ng, flite and festival, run as commands."""

import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from recipes.synthesis.voices import to_16k

_ESPEAK_ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029")
_ESPEAK_SPEAKERS = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")
_FLITE_VOICES = ("slt", "awb", "rms", "kal16")


def _run(command: list[str], tape_speed: float) -> np.ndarray:
    output = subprocess.run(command, capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(output), dtype="float32")
    return to_16k(samples, rate, tape_speed)


class EspeakVoice:
    """espeak-ng with random accent, speaker variant, pitch and pace."""

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text`."""
        voice = str(random.choice(_ESPEAK_ACCENTS)) + str(random.choice(_ESPEAK_SPEAKERS))
        pace, pitch = random.integers(130, 210), random.integers(20, 80)
        return _run(["espeak-ng", "--stdout", "-v", voice, "-s", str(pace), "-p", str(pitch), "--", text], 1.0)


class FliteVoice:
    """flite's four English voices with random pace and tape speed."""

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text`."""
        stretch = random.uniform(0.8, 1.1)
        voice = str(random.choice(_FLITE_VOICES))
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch:.2f}",
            "-t",
            text,
            "-o",
            "/dev/stdout",
        ]
        return _run(command, random.uniform(0.9, 1.12))


class FestivalVoice:
    """festival's diphone voice kal (Debian `festvox-kallpc16k`) with random pace and tape speed."""

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text`."""
        stretch = random.uniform(0.8, 1.15)
        settings = f"(begin (voice_kal_diphone) (Parameter.set 'Duration_Stretch {stretch:.2f}))"
        with tempfile.TemporaryDirectory() as folder:
            sentence = Path(folder, "sentence.txt")
            sentence.write_text(text, encoding="utf-8")
            # A pipe would get a header that claims no samples.
            spoken = Path(folder, "spoken.wav")
            command = ["text2wave", "-eval", settings, "-o", str(spoken), str(sentence)]
            subprocess.run(command, capture_output=True, check=True)
            samples, rate = soundfile.read(spoken, dtype="float32")
        return to_16k(samples, rate, random.uniform(0.86, 1.12))
