"""hibari speech with a phone label for every feature frame: `python -m recipes.synthesis.aligned --help`.

The labels come from the voice's own duration predictor, so they are exact and free. A model that first learns to name
the phone of each frame leaves CTC's plateau of blanks at once (see recipes/u2pp/bootstrap.py).
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from recipes.synthesis.fbank import SHIFT, log_mel
from recipes.synthesis.hibari_voice import HIBARI_RATE, HibariVoice
from recipes.synthesis.shards import write_arrays
from recipes.synthesis.texts import Sentence, held_out_transcripts, shuffled, training_sentences
from recipes.synthesis.voices import loud_part, to_16k

_DURATIONS = "/Clip_output_0"  # frames per phoneme id, in the graph of hibari-tts 0.2.1
_STRESS = "\u02c8\u02cc"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Features (frames, 80) float16 and one phone id per frame (frames,) uint8."""

    features: np.ndarray
    phones: np.ndarray


def with_durations(source: str) -> str:
    """A copy of hibari's graph that also returns its phoneme durations."""
    model = onnx.load(source)
    model.graph.output.append(onnx.helper.make_tensor_value_info(_DURATIONS, onnx.TensorProto.FLOAT, None))
    target = str(Path(tempfile.mkdtemp()) / "hibari.onnx")
    onnx.save(model, target)
    return target


class AlignedVoice(HibariVoice):
    """hibari, with the time of each phoneme."""

    def __init__(self) -> None:
        super().__init__(with_durations)
        self._stress_ids = {self._model.vocab[mark] for mark in _STRESS if mark in self._model.vocab}

    def speak_labelled(self, text: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """16 kHz samples and the phone id of each sample's 10 ms (a stress mark counts as the phone behind it)."""
        ids = self.ids(text, random)
        *outputs, durations = self.run(ids, random)
        assert durations.size == len(ids), f"{durations.shape} durations for {len(ids)} phonemes"
        wave = to_16k(self.vocode(outputs, random), HIBARI_RATE)
        labels = np.array(ids)
        for at in range(len(ids) - 2, -1, -1):
            if ids[at] in self._stress_ids:
                labels[at] = labels[at + 1]
        ends = np.cumsum(durations.ravel()) / max(1, durations.sum())
        hops = (np.arange(len(wave) // SHIFT) + 0.5) / (len(wave) / SHIFT)
        return wave, labels[np.minimum(np.searchsorted(ends, hops), len(labels) - 1)].astype(np.uint8)


def label(voice: AlignedVoice, sentence: Sentence, random: np.random.Generator) -> Labelled | None:
    """Features of the loud part and their labels; None if it is too short or long."""
    wave, phones = voice.speak_labelled(sentence.spoken, random)
    first, last = loud_part(wave)
    features = log_mel(wave[first:last] * np.float32(random.uniform(0.2, 0.9) / np.abs(wave).max(initial=1e-5)))
    centres = np.minimum(first // SHIFT + np.arange(len(features)) + 1, len(phones) - 1)
    return Labelled(features.astype(np.float16), phones[centres]) if 30 <= len(features) <= 1000 else None


def main() -> None:
    """Write shards of labelled utterances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=7500)
    parser.add_argument("--shard-first", type=int, default=0)
    parser.add_argument("--shard-step", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    pool = training_sentences(arguments.texts, held_out_transcripts(arguments.held_out))
    order = shuffled(pool, "aligned")[: arguments.sentences]
    voice = AlignedVoice()
    for number in range(arguments.shard_first, -(-len(order) // 250), arguments.shard_step):
        path, random = arguments.output / f"aligned-{number:03d}.npz", np.random.default_rng([2, number])
        if path.exists():
            continue
        made = [label(voice, sentence, random) for sentence in order[250 * number : 250 * number + 250]]
        kept = [one for one in made if one is not None]
        write_arrays(
            path,
            features=np.concatenate([one.features for one in kept]),
            phones=np.concatenate([one.phones for one in kept]),
            lengths=np.array([len(one.features) for one in kept], np.int32),
        )
        print(path.name, len(kept), flush=True)


if __name__ == "__main__":
    main()
