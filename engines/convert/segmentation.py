"""pyannote's segmentation 3.0, who of up to three speaks when, as an ONNX graph made from its weights.

Bredin, "pyannote.audio 2.1 speaker diarization pipeline", 2023; Plaquet and Bredin, "Powerset multi-class cross
entropy loss for neural speaker diarization", 2023, arXiv 2310.13025. Band-pass filters of the first layer: Ravanelli
and Bengio, "Speaker recognition from raw waveform with SincNet", 2018, in asteroid-filterbanks' form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engines.convert.checkpoint import Array
from engines.convert.graph import GraphBuilder
from engines.errors import BadModel

SAMPLE_RATE = 16000
STRIDE = 10
KERNEL = 251
MIN_HZ = 50.0  # lowest edge and narrowest band of the learned filters
LEAK = 0.01  # leaky ReLU
CLASSES = 7


def write_segmentation(weights: Mapping[str, Array], path: Path, metadata: Mapping[str, str]) -> int:
    """Write the graph `x` (batch, 1, samples) -> `y` (batch, frames, 7), log-probabilities; return the classes.

    Raises BadModel for weights of another architecture.
    """
    try:
        builder = _Segmentation(weights)
        builder.build()
    except (KeyError, ValueError, IndexError) as error:
        raise BadModel(f"these weights are not pyannote segmentation 3.0: {error}") from error
    shapes = {"x": ("batch", 1, "samples")}, {"y": ("batch", "frames", CLASSES)}
    builder.graph.save(path, "pyannote-segmentation", *shapes, metadata)
    return CLASSES


class _Segmentation:
    """One building of the graph."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.graph = GraphBuilder()
        self._weights = weights

    def build(self) -> None:
        graph = self.graph
        x = self._instance_norm("x", "sincnet.wav_norm1d")
        filters = graph.constant("sincnet.filters", sinc_filters(self._weights))
        x = graph.add("Abs", graph.add("Conv", x, filters, kernel_shape=[KERNEL], strides=[STRIDE]))
        x = self._pool(x, "sincnet.norm1d.0")
        for number in (1, 2):
            names = f"sincnet.conv1d.{number}.weight", f"sincnet.conv1d.{number}.bias"
            x = graph.add("Conv", x, *(graph.constant(name, self._weights[name]) for name in names))
            x = self._pool(x, f"sincnet.norm1d.{number}")
        x = graph.add("Transpose", x, perm=[2, 0, 1])  # frames first, as recurrent layers want them
        for layer in range(self._num_layers()):
            x = self._lstm(x, layer)
        x = graph.add("Transpose", x, perm=[1, 0, 2])
        for number in (0, 1):
            x = graph.add("LeakyRelu", self._linear(x, f"linear.{number}"), alpha=LEAK)
        graph.add("LogSoftmax", self._linear(x, "classifier"), name="y", axis=-1)

    def _num_layers(self) -> int:
        return sum(name.startswith("lstm.weight_ih") and name.endswith("_reverse") for name in self._weights)

    def _pool(self, x: str, norm: str) -> str:
        pooled = self.graph.add("MaxPool", x, kernel_shape=[3], strides=[3])
        return self.graph.add("LeakyRelu", self._instance_norm(pooled, norm), alpha=LEAK)

    def _instance_norm(self, x: str, name: str) -> str:
        scale = self.graph.constant(f"{name}.weight", self._weights[f"{name}.weight"])
        shift = self.graph.constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self.graph.add("InstanceNormalization", x, scale, shift, epsilon=1e-5)

    def _linear(self, x: str, name: str) -> str:
        product = self.graph.add("MatMul", x, self.graph.constant(f"{name}.weight", self._weights[f"{name}.weight"].T))
        return self.graph.add("Add", product, self.graph.constant(f"{name}.bias", self._weights[f"{name}.bias"]))

    def _lstm(self, x: str, layer: int) -> str:
        """Both directions of a layer; (frames, batch, 2 size) out."""
        sides = (f"l{layer}", f"l{layer}_reverse")
        inputs = [np.stack([_gates(self._weights[f"lstm.{part}_{side}"]) for side in sides]) for part in _LSTM_WEIGHTS]
        biases = [
            np.concatenate([_gates(self._weights[f"lstm.{part}_{side}"]) for part in _LSTM_BIASES]) for side in sides
        ]
        names = [
            self.graph.constant(f"lstm.{layer}.{part}", value)
            for part, value in zip(("w", "r", "b"), (*inputs, np.stack(biases)), strict=True)
        ]
        size = inputs[1].shape[2]
        (both,) = self.graph.add_many("LSTM", [x, *names], 1, hidden_size=size, direction="bidirectional")
        # (frames, direction, batch, size) to (frames, batch, direction, size) to one row per frame
        by_row = self.graph.add("Transpose", both, perm=[0, 2, 1, 3])
        return self.graph.add("Reshape", by_row, self.graph.ints(0, 0, 2 * size))


_LSTM_WEIGHTS = ("weight_ih", "weight_hh")
_LSTM_BIASES = ("bias_ih", "bias_hh")


def _gates(value: Array) -> Array:
    """Reorder PyTorch's gates (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    i, f, c, o = np.split(value, 4)
    return np.concatenate([i, o, f, c])


def sinc_filters(weights: Mapping[str, Array]) -> Array:
    """Return the 80 learned band passes, (80, 1, 251) float32: 40 even (cosine) ones, then their odd (sine) twins."""
    prefix = "sincnet.conv1d.0.filterbank."
    low_hz, band_hz, window, n = (
        weights[f"{prefix}{name}"].astype(np.float64) for name in ("low_hz_", "band_hz_", "window_", "n_")
    )
    low = MIN_HZ + np.abs(low_hz)
    high = np.clip(low + MIN_HZ + np.abs(band_hz), MIN_HZ, SAMPLE_RATE / 2)
    band = high - low
    even = (np.sin(high @ n) - np.sin(low @ n)) / (n / 2) * window
    odd = (np.cos(low @ n) - np.cos(high @ n)) / (n / 2) * window
    filters = np.concatenate([_mirror(even, 2 * band, 1.0), _mirror(odd, np.zeros_like(band), -1.0)])
    scaled: Array = filters / np.concatenate([2 * band, 2 * band])
    return scaled[:, np.newaxis].astype(np.float32)


def _mirror(half: Array, centre: Array, sign: float) -> Array:
    parts: Sequence[Array] = (half, centre, sign * half[:, ::-1])
    return np.concatenate(parts, axis=1)
