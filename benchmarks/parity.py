"""Whether sherpa-onnx and Chorus say the same with the same files: `python -m benchmarks.parity --help`.

Both get each recording followed by 0.8 s of silence, whole. Chorus follows sherpa-onnx's ways here: a window waits for
one frame more than it has, what does not fill a window is lost, and a conformer's past is counted in feature frames.
Compared are the tokens, and their times to one frame. Give float32 files: dynamically quantised graphs round by batch.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from engines.describe import inspect
from engines.load import EngineOptions, load
from engines.recordings import OfflineItem
from engines.streaming import StepItem
from speech.biasing import Bias
from speech.framing import Framer
from speech.search.transducer import TransducerOptions

RATE = 16000
TAIL = np.zeros(int(0.8 * RATE), np.float32)
SHERPAS_WAYS = '[compatibility]\ntail_ms = 0\nreadiness = "strict"\nend = "drop"\nprocessed_lens = "features"\n'
METHODS = ("greedy_search", "modified_beam_search")


@dataclass(frozen=True, slots=True)
class Said:
    """Pieces and their times in seconds."""

    pieces: tuple[str, ...]
    times: tuple[float, ...]

    def equals(self, other: Said, frame_s: float) -> bool:
        """Whether the pieces are equal, and the times to one frame."""
        if self.pieces != other.pieces:
            return False
        return bool(np.allclose(self.times, other.times, atol=frame_s + 1e-4))


class Chorus:
    """The engine alone, one recording after the other."""

    def __init__(self, folder: Path, method: str, bias: Bias | None = None) -> None:
        """`bias` counts in every recording."""
        description = inspect(folder)
        self._model = load(description, EngineOptions(num_slots=1, max_batch=1, threads=1))
        self._options, self._bias = TransducerOptions(method=method), bias  # type: ignore[arg-type]
        half = self._model.streaming or self._model.offline
        assert half is not None, f"{folder} has no encoder"
        self.frame_s = half.frame_ms / 1000

    def __call__(self, samples: np.ndarray) -> Said:
        """Recognise one recording."""
        nbest = self._stream(samples) if self._model.streaming else self._whole(samples)
        pieces = tuple(self._model.tokens.pieces[token].replace("\u2581", " ") for token in nbest.tokens[0])
        return Said(pieces, tuple(self.frame_s * time for time in nbest.times[0]))

    def _stream(self, samples: np.ndarray) -> Any:
        engine = self._model.streaming
        assert engine is not None, "asked for a model that streams"
        framer, nbest = Framer(engine.framing), None
        for index, window in enumerate([*framer.push(samples), *framer.flush()]):
            item = StepItem(0, window, index == 0, index == 0, self._options, bias=self._bias)
            nbest = engine.run([item])[0].nbest
        return nbest

    def _whole(self, samples: np.ndarray) -> Any:
        assert self._model.offline is not None, "asked for an offline model"
        # As sherpa-onnx: what an unfinished hotword has earned is paid back at a recording's end, never at a stream's.
        return self._model.offline.run([OfflineItem(samples, self._options, bias=self._bias)])[0].nbest.closed()


class Peer:
    """sherpa-onnx with the same files."""

    def __init__(self, folder: Path, method: str, **options: Any) -> None:
        """`options` go to sherpa-onnx as they are."""
        import sherpa_onnx

        def file(kind: str) -> str:
            return str(next(folder.glob(f"{kind}*.onnx")))

        self._streams = inspect(folder).streaming is not None
        make = (
            sherpa_onnx.OnlineRecognizer.from_transducer
            if self._streams
            else sherpa_onnx.OfflineRecognizer.from_transducer
        )
        self._recognizer = make(
            tokens=str(folder / "tokens.txt"),
            encoder=file("encoder"),
            decoder=file("decoder"),
            joiner=file("joiner"),
            num_threads=1,
            decoding_method=method,
            max_active_paths=4,
            **options,
        )

    def __call__(self, samples: np.ndarray) -> Said:
        """Recognise one recording."""
        stream = self._recognizer.create_stream()
        stream.accept_waveform(RATE, samples)
        if not self._streams:
            self._recognizer.decode_stream(stream)
            return Said(tuple(stream.result.tokens), tuple(stream.result.timestamps))
        stream.input_finished()
        while self._recognizer.is_ready(stream):
            self._recognizer.decode_stream(stream)
        return Said(tuple(self._recognizer.tokens(stream)), tuple(self._recognizer.timestamps(stream)))


def recordings(folder: Path, limit: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and samples (n,) float32 of a folder's recordings, which have the model's rate."""
    for path in sorted(folder.glob("*.ogg"))[:limit]:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE, f"{path.name} has {rate} samples a second"
        yield path.name, samples


def compare(
    folder: Path, method: str, audio: Iterator[tuple[str, np.ndarray]]
) -> Iterator[tuple[str, Said, Said, bool]]:
    """Yield name, what Chorus said, what the peer said, and whether they agree."""
    with tempfile.TemporaryDirectory() as place:
        ours = Path(shutil.copytree(folder, Path(place) / "model"))
        (ours / "model.toml").write_text(SHERPAS_WAYS)
        chorus, peer = Chorus(ours, method), Peer(folder, method)
        for name, samples in audio:
            heard = np.concatenate([samples, TAIL])
            one, other = chorus(heard), peer(heard)
            yield name, one, other, one.equals(other, chorus.frame_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with float32 graphs and tokens.txt")
    parser.add_argument("--audio", type=Path, required=True, help="folder of 16 kHz .ogg files")
    parser.add_argument("--limit", type=int, default=10_000)
    arguments = parser.parse_args()
    for method in METHODS:
        count = equal = tokens = 0
        for name, ours, other, agrees in compare(arguments.model, method, recordings(arguments.audio, arguments.limit)):
            count, equal, tokens = count + 1, equal + agrees, tokens + len(other.pieces)
            if not agrees:
                print(f"{method} {name}\n  chorus {ours}\n  sherpa {other}")
        print(f"{method}: {equal} of {count} recordings equal, {tokens} tokens")


if __name__ == "__main__":
    main()
