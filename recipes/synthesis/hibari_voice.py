"""The hibari voice, turned into many speakers by moving its pitch curve and its spectral envelopes.

hibari's network gives source pitch and filter envelopes separately before its vocoder, so pitch height, pitch range
and vocal-tract length can be changed without artefacts; one recorded speaker then covers deep to childlike voices.
"""

from collections.abc import Callable, Sequence

import numpy as np
from hibari import Hibari, dsp
from hibari.g2p import G2P
from hibari.voices import voice_path

from recipes.synthesis.voices import to_16k

HIBARI_RATE = 24000


def warp_rows(envelope: np.ndarray, factor: float) -> np.ndarray:
    """Stretch the frequency axis (rows) of `envelope` by `factor`; linear interpolation, edge value beyond the end."""
    rows = np.minimum(np.arange(len(envelope)) / factor, len(envelope) - 1)
    low = np.minimum(rows.astype(int), len(envelope) - 2)
    share = (rows - low).astype(np.float32)[:, None]
    return envelope[low] * (1 - share) + envelope[low + 1] * share


def move_pitch(f0: np.ndarray, ratio: float, spread: float) -> np.ndarray:
    """Move the pitch (Hz, 0 where unvoiced) by `ratio`, and its excursions by `spread`."""
    voiced = f0 > 40
    if not voiced.any():
        return f0
    centre = np.exp(np.log(f0[voiced]).mean())
    moved = f0.copy()
    moved[voiced] = np.clip(centre * ratio * (f0[voiced] / centre) ** spread, 45, 500)
    return moved


class HibariVoice:
    """hibari with random pace, pitch, pitch range, vocal-tract length and breathiness. One ONNX Runtime thread."""

    def __init__(self, rewrite: Callable[[str], str] | None = None) -> None:
        self._model = Hibari(threads=1, model=rewrite(voice_path("heart")) if rewrite else None)
        self._british = G2P(british=True)

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text`."""
        return to_16k(self.vocode(self.run(self.ids(text, random), random), random), HIBARI_RATE)

    def ids(self, text: str, random: np.random.Generator) -> list[int]:
        """Phoneme ids; a fifth of the sentences get British pronunciations."""
        phonemes = self._british(text) if random.random() < 0.2 else "".join(self._model.phonemize(text))
        return self._model.ids(phonemes)

    def run(self, ids: list[int], random: np.random.Generator) -> list[np.ndarray]:
        """The network's outputs at a random pace, still with a batch axis: five spectra, pitch, and any others."""
        speed = np.array([random.uniform(0.8, 1.3)], np.float32)
        return self._model.sess.run(None, {"ids": np.array([ids], np.int64), "speed": speed})

    def vocode(self, outputs: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
        """24 kHz samples of a random speaker."""
        voiced, angle, noise, remainder, phase, f0 = (output[0] for output in outputs)
        warp = random.uniform(0.8, 1.12)
        pitch = np.exp(random.uniform(np.log(0.45), np.log(1.25)))
        breath = random.uniform(-0.5, 0.7)
        return dsp.synth(
            warp_rows(voiced, warp),
            angle,
            warp_rows(noise, warp) + np.float32(breath),
            warp_rows(remainder, warp),
            phase,
            move_pitch(f0, pitch, random.uniform(0.5, 1.5)),
            random,
        )
