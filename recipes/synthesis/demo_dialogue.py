"""Speak the demo's dialogue of two voices: `python -m recipes.synthesis.demo_dialogue`; needs hibari-tts.

Writes models/demo/dialogue/dialogue.ogg and who really spoke when, dialogue.rttm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from hibari import Hibari, dsp

from recipes.synthesis.hibari_voice import HIBARI_RATE, move_pitch, warp_rows
from recipes.synthesis.voices import finish, to_16k

RATE = 16000
OUT = Path(__file__).parents[2] / "models" / "demo" / "dialogue"
# One recorded voice; the second speaker is it with a longer vocal tract and an octave deeper: (tract, pitch).
VOICES = {"ann": (1.02, 1.05), "ben": (0.84, 0.5)}
# Speaker, sentence, seconds after the last one's end; negative ones overlap.
SCRIPT = [
    ("ann", "Good morning, did you manage to find the old railway map?", 0.4),
    ("ben", "I did, it was under the newspapers in the kitchen.", 0.5),
    ("ann", "Wonderful, then we can plan the walk along the river today.", 0.4),
    ("ben", "The first bridge is closed, so we have to start at the mill.", 0.6),
    ("ann", "That is fine with me, I like the path behind the mill.", 0.3),
    ("ben", "And we should be back before it gets dark this evening.", -1.4),
    ("ann", "I will bring some bread and cheese for the afternoon.", 0.5),
    ("ben", "Then I will make the tea, and carry the blanket.", 0.4),
]


def trimmed(samples: np.ndarray) -> np.ndarray:
    """From the first to the last 10 ms above -40 dB of the loudest."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud = np.flatnonzero((power := (frames**2).mean(axis=1)) > 1e-4 * power.max())
    return samples[loud[0] * 160 : (loud[-1] + 1) * 160]


def say(model: Hibari, sentence: str, tract: float, pitch: float, random: np.random.Generator) -> np.ndarray:
    """16 kHz speech."""
    ids = model.ids("".join(model.phonemize(sentence)))
    outputs = model.sess.run(None, {"ids": np.array([ids], np.int64), "speed": np.array([1.0], np.float32)})
    voiced, angle, noise, remainder, phase, f0 = (output[0] for output in outputs)
    parts = (warp_rows(voiced, tract), angle, warp_rows(noise, tract), warp_rows(remainder, tract), phase)
    return to_16k(dsp.synth(*parts, move_pitch(f0, pitch, 1.0), random), HIBARI_RATE)


def main() -> None:
    """Write the recording and its truth."""
    model, random = Hibari(threads=1), np.random.default_rng(7)
    samples, lines, end = np.zeros(60 * RATE, np.float32), [], 0.0
    for speaker, sentence, gap_s in SCRIPT:
        spoken = trimmed(finish(say(model, sentence, *VOICES[speaker], random), random))
        begin = int((end + gap_s) * RATE)
        samples[begin : begin + len(spoken)] += spoken * np.float32(0.5 / np.abs(spoken).max())
        times = f"{begin / RATE:.3f} {len(spoken) / RATE:.3f}"
        lines.append(f"SPEAKER dialogue 1 {times} <NA> <NA> {speaker} <NA> <NA>\n")
        end = max(end, (begin + len(spoken)) / RATE)
    OUT.mkdir(parents=True, exist_ok=True)
    soundfile.write(OUT / "dialogue.ogg", samples[: int((end + 0.4) * RATE)], RATE, format="OGG", subtype="OPUS")
    (OUT / "dialogue.rttm").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
