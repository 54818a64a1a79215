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
_KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_TAIL_FRAMES = 30  # of silence after a stream's end: transducers speak late


def graph(folder: Path, half: str, name: str) -> Path:
    """A graph of the streaming or offline half: named by model.toml, else as recipes.transducer.export writes them."""
    if not (folder / "model.toml").is_file():
        return folder / half / f"{name}.onnx"
    said = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
    return folder / (said[half] if name == "encoder" else said["transducer"])[name]


def encode_streaming(encoder: onnxruntime.InferenceSession, features: np.ndarray) -> np.ndarray:
    """(frames, bins), and silence behind them, window by window with K5's states: (encoder frames, dim)."""
    said = encoder.get_modelmeta().custom_metadata_map
    window, shift, chunk = (int(said[name]) for name in ("T", "decode_chunk_len", "chunk_size"))
    states = {
        node.name: np.zeros([size if isinstance(size, int) else 1 for size in node.shape], _KINDS[node.type])
        for node in encoder.get_inputs()[1:]
    }
    returned = [name for name in states if name != "processed_lens"]
    parts, subsampling, context = [], shift // chunk, window - shift + shift // chunk
    end = len(features) + _TAIL_FRAMES
    padded = np.pad(features, ((0, _TAIL_FRAMES + window), (0, 0)), constant_values=_SILENCE)
    for start in range(0, end - context + 1, shift):
        output, *following = encoder.run(None, {"x": padded[np.newaxis, start : start + window], **states})
        # K5's graphs do not count what they have heard; the caller does, in encoder frames.
        count = states["processed_lens"] + chunk
        states = {"processed_lens": count, **dict(zip(returned, following, strict=True))}
        parts.append(output[0, : (end - start - context) // subsampling + 1])
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


def heard(folder: Path, half: str, features: list[np.ndarray]) -> list[list[int]]:
    """Token ids of each utterance; features are (frames, 80) at int16 scale."""
    encoder, greedy = session(graph(folder, half, "encoder")), Greedy(folder, half)
    return [greedy.search(ENCODERS[half](encoder, np.maximum(one - SCALE, _SILENCE))) for one in features]


def word_error_rates(folder: Path, features: list[np.ndarray], references: list[str]) -> dict[str, float]:
    """Percent, by half; features as in `heard`."""
    units, rates = read_units(folder), {}
    for half in ENCODERS:
        texts = [text_of(ids, units) for ids in heard(folder, half, features)]
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
