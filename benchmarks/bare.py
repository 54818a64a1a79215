"""The bare engine, the server's yardstick: the same streaming graph in a plain ONNX Runtime loop."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime

TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session as the server's own: `threads` inside operators, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def feeds(graph: onnxruntime.InferenceSession, batch: int) -> dict[str, np.ndarray]:
    """Random features, full windows, zero caches, for a W2 encoder."""
    random = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    for each in graph.get_inputs():
        shape = [batch, *each.shape[1:]]
        values[each.name] = np.zeros(shape, TYPES[each.type])
        if each.name == "chunk_xs":
            values[each.name] = random.normal(10, 3, shape).astype(TYPES[each.type])
        elif each.name == "chunk_lens":
            values[each.name][:] = next(i.shape[1] for i in graph.get_inputs() if i.name == "chunk_xs")
    return values


def chunks_per_second(graph: onnxruntime.InferenceSession, batch: int, seconds: float = 3.0) -> tuple[float, float]:
    """Chunks that the graph makes per second at one batch size, states fed as they are, and CPU seconds per chunk."""
    inputs = feeds(graph, batch)
    graph.run(None, inputs)
    done, begin, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - begin < seconds:
        graph.run(None, inputs)
        done += batch
    return done / (time.monotonic() - begin), (time.process_time() - cpu) / done
