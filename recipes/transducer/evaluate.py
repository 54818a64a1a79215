"""Greedy word error rates of an exported transducer (K5, K6): `python -m recipes.transducer.evaluate --help`.

A slow reference, as recipes.u2pp.evaluate is: one utterance at a time, no server code.
"""

import argparse
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime

from recipes.synthesis.fbank import FLOOR, log_mel
from recipes.u2pp.evaluate import add_recordings, read_recordings, read_units, session
from recipes.u2pp.score import text_of, word_error_rate

SCALE = np.float32(2 * np.log(32768.0))  # icefall's front end hears samples in [-1, 1], ours int16
_SILENCE = np.log(FLOOR)
_TAIL_FRAMES = 30  # of silence after the end: transducers speak late


def graph(folder: Path, half: str, name: str) -> Path:
    """A graph of the streaming or offline half: named by model.toml, else as recipes.transducer.export writes them."""
    if not (folder / "model.toml").is_file():
        return folder / half / f"{name}.onnx"
    said = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
    return folder / (said[half] if name == "encoder" else said["transducer"])[name]


def encode_streaming(encoder: onnxruntime.InferenceSession, features: np.ndarray) -> np.ndarray:
    """(frames, bins) window by window with K5's states: (encoder frames, dim)."""
    said = encoder.get_modelmeta().custom_metadata_map
    window, shift = int(said["T"]), int(said["decode_chunk_len"])
    names = [node.name for node in encoder.get_inputs()][1:]
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    states = {
        node.name: np.zeros([size if isinstance(size, int) else 1 for size in node.shape], kinds[node.type])
        for node in encoder.get_inputs()[1:]
    }
    parts = []
    for start in range(0, max(1, len(features) - (window - shift) + 1), shift):
        cut = features[start : start + window]
        padded = np.concatenate([cut, np.repeat(cut[-1:], window - len(cut), 0)])[np.newaxis]
        output, *following = encoder.run(None, {"x": padded, **states})
        states = dict(zip(names, following, strict=True))
        parts.append(output[0])
    return np.concatenate(parts)


def encode_offline(encoder: onnxruntime.InferenceSession, features: np.ndarray) -> np.ndarray:
    """(frames, bins) at once: (encoder frames, dim)."""
    output, lengths = encoder.run(None, {"x": features[np.newaxis], "x_lens": np.array([len(features)])})
    return output[0, : int(lengths[0])]


class Greedy:
    """Decoder and joiner of one model; at most one token a frame."""

    def __init__(self, folder: Path, half: str) -> None:
        self._decoder, self._joiner = (session(graph(folder, half, name)) for name in ("decoder", "joiner"))
        self._context = int(self._decoder.get_modelmeta().custom_metadata_map["context_size"])

    def search(self, frames: np.ndarray) -> list[int]:
        """Token ids of encoder frames (frames, dim)."""
        tokens = [-1] * (self._context - 1) + [0]
        decoded = self._decode(tokens)
        for frame in frames:
            logits = self._joiner.run(None, {"encoder_out": frame[np.newaxis], "decoder_out": decoded})[0]
            if token := int(logits.argmax()):
                tokens.append(token)
                decoded = self._decode(tokens)
        return tokens[self._context :]

    def _decode(self, tokens: list[int]) -> np.ndarray:
        return self._decoder.run(None, {"y": np.array([tokens[-self._context :]])})[0]


ENCODERS = {"streaming": encode_streaming, "offline": encode_offline}


def word_error_rates(folder: Path, features: list[np.ndarray], references: list[str]) -> dict[str, float]:
    """Percent, by half; features are (frames, 80) at int16 scale, without the silence that is added here."""
    units = read_units(folder)
    silence = np.full((_TAIL_FRAMES, features[0].shape[1]), _SILENCE, np.float32)
    scaled = [np.concatenate([np.maximum(one - SCALE, _SILENCE), silence]) for one in features]
    rates = {}
    for half, encode in ENCODERS.items():
        encoder, greedy = session(graph(folder, half, "encoder")), Greedy(folder, half)
        heard = [greedy.search(encode(encoder, one)) for one in scaled]
        texts = [text_of(ids, units) for ids in heard]
        rates[f"{half} greedy"] = word_error_rate(zip(references, texts, strict=True))
    return rates


def main() -> None:
    """Print a line for each half."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder with model.toml, or with streaming/, offline/"
    )
    add_recordings(parser)
    arguments = parser.parse_args()
    _, references, audio = read_recordings(arguments)
    for name, rate in word_error_rates(arguments.model, [log_mel(one) for one in audio], references).items():
        print(f"{name:22} WER {rate:6.2f} %")


if __name__ == "__main__":
    main()
