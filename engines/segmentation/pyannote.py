"""pyannote segmentation 3.0 in ONNX Runtime: windows of 10 s at 16 kHz, a frame every 270 samples, seven classes.

Input `x` (n, 1, samples), output `y` (n, frames, 7) log-probabilities, as sherpa-onnx exports it. What the classes
mean, and how windows are joined, is `speech/diarization/powerset.py`. Source: pyannote/segmentation-3.0 (MIT).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.errors import BadModel, EngineFailed
from engines.kinds import kind_of_graph
from engines.ort import OrtModel, OrtOptions
from engines.segmentation.interface import LogProbs

SAMPLE_RATE = 16000
WINDOW = 160_000
NUM_CLASSES = 7
# What sherpa-onnx writes into the graph, and what diarization counts on.
METADATA = {"sample_rate": SAMPLE_RATE, "window_size": WINDOW, "num_classes": NUM_CLASSES, "receptive_field_shift": 270}


class PyannoteSegmentation:
    """Immutable: any number of threads may call it at once."""

    sample_rate = SAMPLE_RATE
    window_samples = WINDOW

    def __init__(self, folder: Path, options: OrtOptions | None = None) -> None:
        """Load the folder's graph. Raises BadModel when there is none, or one for other windows, frames or classes."""
        self._model = _open(folder, options or OrtOptions())
        for name, expected in METADATA.items():
            said = self._model.metadata.get(name)
            if said is not None and said != str(expected):
                raise BadModel(f"{self._model.path}: {name} is {said}; only {expected} is supported")
        size = self._model.outputs["y"].size(-1)
        if size not in (None, NUM_CLASSES):
            raise BadModel(f"{self._model.path}: y has {size} classes; only {NUM_CLASSES} are supported")

    def log_probs(self, windows: npt.NDArray[np.float32]) -> LogProbs:
        """Say who talks, (n, frames, 7), for windows (n, 160000). Raises EngineFailed."""
        if windows.ndim != 2 or windows.shape[1] != WINDOW:
            raise ValueError(f"windows of shape {windows.shape}; expected (n, {WINDOW})")
        found = self._model.run({"x": windows[:, np.newaxis]}, ["y"])["y"]
        if found.ndim != 3 or found.shape[::2] != (len(windows), NUM_CLASSES) or not np.isfinite(found).all():
            raise EngineFailed(
                f"{self._model.path.name} gave {found.shape} for {len(windows)} windows, or values that are not "
                f"finite; expected ({len(windows)}, frames, {NUM_CLASSES})"
            )
        return found


def _open(folder: Path, options: OrtOptions) -> OrtModel:
    for path in sorted(folder.glob("*.onnx")):
        model = OrtModel(path, options)
        if kind_of_graph(model) == "segmentation":
            return model
    raise BadModel(f"{folder}: no segmentation graph (input x of one channel, output y)")
