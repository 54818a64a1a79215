"""What runs a speaker graph: ONNX Runtime, or for CAM++ on processors our own kernels where they are faster here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.ort import OrtModel, OrtOptions
from engines.speaker.description import SpeakerDescription

Batch = npt.NDArray[np.float32]

TOLERANCE = 1e-4
"""Of the largest number of an embedding of noise: what a rewritten network may differ by."""
COMPARED_FRAMES = (47, 298)
GAIN = 0.95
"""The rewritten network is taken if it needs at most this share of the graph's processor time."""
_RACES = 3
_KEPT_FRAMES = 1000
"""A thread keeps its workspace (33 MB for this much) unless it was made for something longer."""


class Network(Protocol):
    """Features (batch, frames, bins) float32 to whatever the graph's output is, batch first. Any thread; blocks."""

    @property
    def kind(self) -> str: ...
    def run(self, batch: Batch) -> Batch: ...


class OrtNetwork:
    """The graph as it lies."""

    kind = "onnxruntime"

    def __init__(self, description: SpeakerDescription, options: OrtOptions) -> None:
        """Raises BadModel."""
        self._input, self._output = description.input, description.output
        self._model = OrtModel(description.graph, options)

    def run(self, batch: Batch) -> Batch:
        """Raises EngineFailed."""
        return self._model.run({self._input: batch}, [self._output])[self._output]


class CompiledNetwork:
    """CAM++ in compiled kernels, row by row. Every thread has a workspace of its own."""

    kind = "compiled"

    def __init__(self, embed: Callable[[Batch, Batch], Batch], workspace: Callable[[int], Batch]) -> None:
        """`embed(features, space)` of one utterance; `workspace(frames)` makes the space."""
        self._embed, self._workspace = embed, workspace
        self._local = threading.local()

    def run(self, batch: Batch) -> Batch:
        space = self._space(batch.shape[1])
        return np.stack([self._embed(features, space) for features in batch])

    def _space(self, num_frames: int) -> Batch:
        if num_frames > _KEPT_FRAMES:
            return self._workspace(num_frames)
        frames, space = getattr(self._local, "kept", (0, np.zeros(0, np.float32)))
        if frames < num_frames:
            space = self._workspace(num_frames)
            self._local.kept = (num_frames, space)
        return space


def open_network(description: SpeakerDescription, options: OrtOptions) -> Network:
    """Load the graph; where it is CAM++ and our kernels compute the same in less time on this processor, those.

    Raises BadModel.
    """
    graph = OrtNetwork(description, options)
    is_for_kernels = (
        options.rewrite
        and options.provider == "CPUExecutionProvider"
        and options.intra_threads == 1
        and description.float_type == "float32"
        and description.fixed_frames is None
    )
    network = _compiled(description) if is_for_kernels else None
    if network is None or not _is_same(graph, network, description) or not _is_faster(graph, network, description):
        return graph
    return network


def _compiled(description: SpeakerDescription) -> CompiledNetwork | None:
    """CAM++ from the graph's weights; None for other networks, and for sizes that the kernels do not take."""
    from engines.convert.campplus_weights import read_campplus  # onnx takes half a second to import

    weights = read_campplus(description.graph)
    if weights is None:
        return None
    from engines.kernels import campplus  # compiled at its first import, which takes seconds
    from engines.kernels.packing import Packed

    try:
        packed = Packed(weights)
    except ValueError:
        return None
    return CompiledNetwork(
        lambda features, space: campplus.embed(packed, features, space),
        lambda num_frames: campplus.workspace(packed, num_frames),
    )


def _is_same(graph: Network, network: Network, description: SpeakerDescription) -> bool:
    for num_frames in COMPARED_FRAMES:
        noise = _noise(num_frames, description)
        wanted = graph.run(noise).reshape(-1)
        got = network.run(noise).reshape(-1)
        if got.shape != wanted.shape or not np.abs(got - wanted).max() <= TOLERANCE * np.abs(wanted).max():
            return False
    return True


def _is_faster(graph: Network, network: Network, description: SpeakerDescription) -> bool:
    """In turns, as the speed of machines drifts; the processor time of this thread."""
    noise = _noise(COMPARED_FRAMES[-1], description)
    times: dict[str, list[float]] = {graph.kind: [], network.kind: []}
    for _ in range(_RACES):
        for each in (graph, network):
            begin = time.thread_time()
            each.run(noise)
            times[each.kind].append(time.thread_time() - begin)
    return min(times[network.kind]) <= GAIN * min(times[graph.kind])


def _noise(num_frames: int, description: SpeakerDescription) -> Batch:
    return np.random.default_rng(0).standard_normal((1, num_frames, description.fbank.num_bins)).astype(np.float32)
