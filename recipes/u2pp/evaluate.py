"""Word error rates of an exported model on a folder of recordings: `python -m recipes.u2pp.evaluate --help`.

A slow reference: one utterance at a time, plain Python search, no batching, no server code.
"""

import argparse
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import yaml

from recipes.synthesis.fbank import log_mel
from recipes.synthesis.recordings import load_16k, read_rows
from recipes.u2pp.conditions import CONDITIONS
from recipes.u2pp.score import greedy, text_of, word_error_rate
from recipes.u2pp.search import pack_hypotheses, prefix_beam_search
from speech.normalising import normalise_text

_SOS_EOS = 2


@dataclass(frozen=True, slots=True)
class Encoded:
    """One utterance: encoder frames (1, t, dim), candidates (t, beam) and their log-probabilities."""

    frames: np.ndarray
    ids: np.ndarray
    log_probs: np.ndarray


def session(path: Path) -> onnxruntime.InferenceSession:
    """One thread on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def half(folder: Path, name: str) -> tuple[Path, dict[str, int]]:
    """Graph and sizes of `streaming` or `offline`: from model.toml, else as recipes.u2pp.export_gpu writes them."""
    manifest = folder / "model.toml"
    if manifest.is_file():
        said = tomllib.loads(manifest.read_text(encoding="utf-8"))[name]
        if "chunk" in said or name == "offline":
            return folder / said["encoder"], said
    config = yaml.safe_load((folder / name / "config.yaml").read_text(encoding="utf-8"))
    sizes = {"subsampling": config["subsampling_rate"], "right_context": config["context"] - 1}
    return folder / name / "encoder.onnx", {**sizes, "chunk": config.get("decoding_chunk_size", 0)}


class Offline:
    """W1."""

    def __init__(self, folder: Path) -> None:
        self._encoder = session(half(folder, "offline")[0])

    def encode(self, features: np.ndarray) -> Encoded:
        """Whole utterance, (frames, bins) float32."""
        inputs = {"speech": features[None], "speech_lengths": np.array([len(features)], np.int32)}
        names = ["encoder_out", "encoder_out_lens", "beam_log_probs_idx", "beam_log_probs"]
        output, lengths, ids, log_probs = self._encoder.run(names, inputs)
        count = int(lengths[0])
        return Encoded(output[:, :count], ids[0, :count], log_probs[0, :count])


class Streaming:
    """W2, driven window by window with its states; the last, partial window is padded with zeros."""

    def __init__(self, folder: Path) -> None:
        graph, sizes = half(folder, "streaming")
        self._encoder = session(graph)
        self._subsampling, self._context = sizes["subsampling"], sizes["right_context"] + 1
        self._chunk = sizes["chunk"]
        self._window = (self._chunk - 1) * self._subsampling + self._context
        shapes = {node.name: node.shape[1:] for node in self._encoder.get_inputs()}
        self._state_shapes = {name: shapes[name] for name in ("att_cache", "cnn_cache", "cache_mask")}

    def _first_state(self) -> dict[str, np.ndarray]:
        state = {name: np.zeros([1, *shape], np.float32) for name, shape in self._state_shapes.items()}
        return {"offset": np.zeros((1, 1), np.int64), **state}

    def encode(self, features: np.ndarray) -> Encoded:
        """(frames, bins) float32, cut into overlapping windows."""
        state, parts = self._first_state(), []
        for start in range(0, max(1, len(features) - self._context + 1), self._chunk * self._subsampling):
            window = features[start : start + self._window]
            padded = np.zeros((1, self._window, features.shape[1]), np.float32)
            padded[0, : len(window)] = window
            inputs = {"chunk_xs": padded, "chunk_lens": np.array([len(window)], np.int32), **state}
            log_probs, ids, output, _, offset, att, cnn, mask = self._encoder.run(None, inputs)
            state = {"offset": offset, "att_cache": att, "cnn_cache": cnn, "cache_mask": mask}
            count = max(0, (len(window) - self._context) // self._subsampling + 1)
            parts.append((output[:, :count], ids[0, :count], log_probs[0, :count]))
        frames, ids, log_probs = zip(*parts, strict=True)
        return Encoded(np.concatenate(frames, 1), np.concatenate(ids), np.concatenate(log_probs))


def rescore(decoder: onnxruntime.InferenceSession, encoded: Encoded, hypotheses: list, beam: int) -> tuple[int, ...]:
    """The hypothesis that decoder.onnx prefers."""
    forward, lengths, reverse, scores = pack_hypotheses(hypotheses, beam, _SOS_EOS)
    inputs = {
        "encoder_out": encoded.frames,
        "encoder_out_lens": np.array([encoded.frames.shape[1]], np.int32),
        "hyps_pad_sos_eos": forward,
        "hyps_lens_sos": lengths,
        "r_hyps_pad_sos_eos": reverse,
        "ctc_score": scores,
    }
    best = int(decoder.run(None, inputs)[0][0])
    return hypotheses[best][0] if best < len(hypotheses) else ()


def transcribe(encoded: Encoded, decoder: onnxruntime.InferenceSession, units: list[str], beam: int) -> dict[str, str]:
    """Greedy, prefix beam and rescored text of one utterance."""
    if not len(encoded.ids):
        return dict.fromkeys(("greedy", "prefix_beam", "rescored"), "")
    hypotheses = prefix_beam_search(zip(encoded.ids.tolist(), encoded.log_probs.tolist(), strict=True), beam)
    return {
        "greedy": greedy(encoded.ids[:, 0].tolist(), units),
        "prefix_beam": text_of(hypotheses[0][0], units),
        "rescored": text_of(rescore(decoder, encoded, hypotheses, beam), units),
    }


def read_units(folder: Path) -> list[str]:
    """Units in id order, of a folder as it ships or as the recipes write it."""
    places = [folder / half / name for half in ("", "streaming") for name in ("units.txt", "tokens.txt")]
    path = next(path for path in places if path.is_file())
    return [line.split(" ")[0] for line in path.read_text(encoding="utf-8").splitlines()]


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """The arguments of `read_recordings`."""
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--tsv", type=Path, required=True, help="first column file stem, last column transcript")
    parser.add_argument("--suffix", default=".ogg")
    parser.add_argument("--condition", choices=CONDITIONS, default="clean", help="worsen the recordings")
    parser.add_argument("--every", type=int, default=1, help="only every n-th row")


def read_recordings(arguments: argparse.Namespace) -> tuple[list[str], list[str], list[np.ndarray]]:
    """Names, references as they are scored, and 16 kHz samples."""
    rows = read_rows(arguments.tsv)[:: arguments.every]
    worsen = CONDITIONS[arguments.condition]
    audio = [worsen(load_16k(arguments.audio / (stem + arguments.suffix))) for stem, _ in rows]
    return [stem for stem, _ in rows], [normalise_text(text) for _, text in rows], audio


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with streaming/, offline/ and decoder.onnx")
    add_recordings(parser)
    parser.add_argument("--beam", type=int, default=10)
    parser.add_argument(
        "--tail-ms", type=int, default=0, help="digital silence appended, as a server that flushes does"
    )
    parser.add_argument("--examples", type=int, default=0, help="print this many transcripts")
    return parser.parse_args()


ENCODERS = {"streaming": Streaming, "offline": Offline}


def heard(folder: Path, half: str, features: list[np.ndarray], beam: int) -> tuple[list[dict[str, str]], float]:
    """Texts of each utterance by search, and how many seconds its encoder took for all."""
    decoder, units = session(folder / "decoder.onnx"), read_units(folder)
    encoder, spent, texts = ENCODERS[half](folder), 0.0, []
    for one in features:
        began = time.monotonic()
        encoded = encoder.encode(one)
        spent += time.monotonic() - began
        texts.append(transcribe(encoded, decoder, units, beam))
    return texts, spent


def word_error_rates(
    folder: Path, features: list[np.ndarray], references: list[str], beam: int = 10
) -> dict[str, float]:
    """Percent, by half and search; features are (frames, 80)."""
    rates = {}
    for half in ENCODERS:
        texts, _ = heard(folder, half, features, beam)
        rates |= {f"{half} {search}": rate_of(references, texts, search) for search in texts[0]}
    return rates


def rate_of(references: list[str], texts: list[dict[str, str]], search: str) -> float:
    """Word error rate of one search, percent."""
    return word_error_rate((reference, text[search]) for reference, text in zip(references, texts, strict=True))


def main() -> None:
    """Print one line per mode and search."""
    arguments = parse_arguments()
    names, references, audio = read_recordings(arguments)
    tail = np.zeros(16 * arguments.tail_ms, np.float32)
    features = [log_mel(np.concatenate([samples, tail])) for samples in audio]
    seconds = sum(map(len, features)) / 100
    for half in ENCODERS:
        texts, spent = heard(arguments.model, half, features, arguments.beam)
        for search in texts[0]:
            print(f"{half:9} {search:11} WER {rate_of(references, texts, search):6.2f} %")
        print(f"{half:9} encoder {seconds / spent:.0f} x real time on one thread, {len(names)} utterances")
        for name, reference, text in list(zip(names, references, texts, strict=True))[: arguments.examples]:
            print(f"  {name}: {reference}\n      -> {text['rescored']}")


if __name__ == "__main__":
    main()
