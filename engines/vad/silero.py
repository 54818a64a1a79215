"""silero-vad, version 5 or later, in ONNX Runtime: 16 kHz, windows of 512 samples behind 64 samples of context.

Without the context the graph runs and answers about 0 everywhere, so windows are never given to it bare. A folder may
hold the graph for many windows of one stream, the graph for one window of many streams, or both.
Source: the package `silero-vad` (MIT), its module `sequence_vad`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import BadModel
from engines.kinds import kind_of_graph
from engines.ort import OrtModel, OrtOptions
from engines.vad.interface import Probabilities
from speech.audio import Samples, require_finite

SAMPLE_RATE = 16000
WINDOW = 512
CONTEXT = 64
MAX_WINDOWS = 512
"""Windows of one call, 16.4 s: bounds the scratch memory of a long recording."""
_NONE: Probabilities = np.zeros(0, np.float32)

States = npt.NDArray[np.float32]
"""(2, streams, size) float32: hidden state and cell of the recurrent layer."""


class SileroVad:
    """Both graphs, or the one that there is. Immutable: any number of threads may call it at once."""

    sample_rate = SAMPLE_RATE
    window_samples = WINDOW

    def __init__(self, folder: Path, options: OrtOptions | None = None) -> None:
        """Load the folder's graphs. Raises BadModel when it holds none, or an older version's."""
        found = _graphs(folder, options or OrtOptions())
        self._sequence, self._rows = found.get("h"), found.get("state")
        if self._sequence is None and self._rows is None:
            raise BadModel(f"{folder}: no silero-vad graph (inputs input, h, c or input, state) of version 5 or later")
        self._state_size = _state_size(self._sequence, self._rows)

    def probabilities(self, samples: Samples) -> Probabilities:
        """Return ceil(n / 512) probabilities of a whole recording, (n,) samples at 16 kHz. Raises BadAudio."""
        stream = self.stream()
        return np.concatenate([stream.push(samples), stream.flush()])

    def probabilities_of(self, recordings: Sequence[Samples]) -> list[Probabilities]:
        """Return each recording's probabilities: side by side in one batch, window after window.

        On processors the sequence graph is as fast for one recording as this is for 32 (docs/benchmarks.md): several
        threads calling `probabilities` then do better. Equal to it within 1e-6. Raises BadAudio.
        """
        if self._rows is None:
            return [self.probabilities(samples) for samples in recordings]
        order = sorted(range(len(recordings)), key=lambda index: -len(recordings[index]))
        cut = [_whole_windows(recordings[index]) for index in order]
        found = [np.zeros(len(windows), np.float32) for windows in cut]
        states = self.new_states(len(cut))
        for step in range(len(cut[0]) if cut else 0):
            active = sum(len(windows) > step for windows in cut)  # sorted: those that have ended are the last ones
            values, states = self.step(np.stack([windows[step] for windows in cut[:active]]), states[:, :active])
            for row in range(active):
                found[row][step] = values[row]
        return [found[order.index(index)] for index in range(len(recordings))]

    def stream(self) -> SileroStream:
        """Begin a stream; one thread at a time may push to it."""
        return SileroStream(self, self.new_states(1), np.zeros(CONTEXT, np.float32), np.zeros(0, np.float32))

    def new_states(self, num_streams: int) -> States:
        """Return the states of streams that begin."""
        return np.zeros((2, num_streams, self._state_size), np.float32)

    def step(self, rows: npt.NDArray[np.float32], states: States) -> tuple[Probabilities, States]:
        """Run one window of each of several streams: rows (streams, 64 + 512), context first. Needs the rows' graph."""
        assert self._rows is not None, "asked of a folder with the graph for many streams"
        feeds: dict[str, npt.NDArray[Any]] = {"input": rows, "state": states, "sr": np.array(SAMPLE_RATE, np.int64)}
        outputs = self._rows.run(feeds)
        return outputs["output"].reshape(-1), outputs["stateN"]

    def run(self, rows: npt.NDArray[np.float32], states: States) -> tuple[Probabilities, States]:
        """Run successive windows of one stream: rows (windows, 64 + 512), states (2, 1, size)."""
        if self._sequence is not None:
            outputs = self._sequence.run({"input": rows, "h": states[:1], "c": states[1:]})
            return outputs["speech_probs"].reshape(-1), np.concatenate([outputs["hn"], outputs["cn"]])
        values = []
        for row in rows:
            value, states = self.step(row[np.newaxis], states)
            values.append(value)
        return np.concatenate(values), states


@dataclass(slots=True, eq=False)
class SileroStream:
    """One stream's states, context and samples that wait for their window to fill."""

    model: SileroVad
    states: States
    context: Samples
    rest: Samples
    pushed: int = 0

    def push(self, samples: Samples) -> Probabilities:
        """Take (n,) more samples; return the probabilities of the windows that they complete. Raises BadAudio."""
        require_finite(samples[np.newaxis], self.pushed)
        self.pushed += len(samples)
        waiting = np.concatenate([self.rest, samples])
        end = len(waiting) // WINDOW * WINDOW
        self.rest = waiting[end:]
        return self._run(waiting[:end])

    def flush(self) -> Probabilities:
        """Return the last, incomplete window's probability, filled up with silence as silero's own functions do."""
        last, self.rest = self.rest, _NONE
        return self._run(np.pad(last, (0, WINDOW - len(last)))) if len(last) else _NONE

    def _run(self, samples: Samples) -> Probabilities:
        values = [_NONE]
        for start in range(0, len(samples), MAX_WINDOWS * WINDOW):
            block = np.concatenate([self.context, samples[start : start + MAX_WINDOWS * WINDOW]])
            self.context = block[-CONTEXT:]
            probabilities, self.states = self.model.run(_rows(block), self.states)
            values.append(probabilities)
        return np.concatenate(values)


def _whole_windows(samples: Samples) -> npt.NDArray[np.float32]:
    """Cut a recording into (ceil(n / 512), 64 + 512) rows without copying the overlap."""
    require_finite(samples[np.newaxis], 0)
    padded = np.zeros(CONTEXT + -(-len(samples) // WINDOW) * WINDOW, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    return _rows(padded)


def _rows(block: Samples) -> npt.NDArray[np.float32]:
    """View context and whole windows, (64 + 512 k,), as (k, 64 + 512)."""
    if len(block) < CONTEXT + WINDOW:
        return np.zeros((0, CONTEXT + WINDOW), np.float32)
    return np.lib.stride_tricks.sliding_window_view(block, CONTEXT + WINDOW)[::WINDOW]


def _graphs(folder: Path, options: OrtOptions) -> dict[str, OrtModel]:
    """Open the folder's graphs of this kind, by the input that holds their state; the first of each is used."""
    found: dict[str, OrtModel] = {}
    for path in sorted(folder.glob("*.onnx")):
        model = OrtModel(path, options)
        if kind_of_graph(model) == "vad":
            found.setdefault("state" if "state" in model.inputs else "h", model)
    return found


def _state_size(sequence: OrtModel | None, rows: OrtModel | None) -> int:
    """Return the size of one state, which both graphs must share. Raises BadModel."""
    sizes = {
        model.path: model.inputs[name].size(-1)
        for model, name in ((sequence, "h"), (rows, "state"))
        if model is not None
    }
    size = next(iter(sizes.values()))
    if size is None or len(set(sizes.values())) > 1:
        text = ", ".join(f"{path.name} {value}" for path, value in sizes.items())
        raise BadModel(f"the states of these graphs must have one fixed size: {text}")
    return size
