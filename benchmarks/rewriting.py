"""What rewriting a streaming encoder at load gains: `python -m benchmarks.rewriting --models FOLDER [--int8]`.

The file's graph and the rewritten one run in turns on the same noise, on one thread; thread time per stream and chunk,
so that a busy machine slows both alike, and the largest difference of their outputs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.websocket_peer import chosen
from engines.convert.depthwise import as_products
from engines.describe import inspect
from engines.description import StreamingSpec
from engines.ort import Array, OrtModel, OrtOptions


def noise(spec: StreamingSpec, model: OrtModel, rows: int) -> dict[str, Array]:
    """A window and states of `rows` streams; what counts frames has counted none."""
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for name, info in model.inputs.items():
        shape = [size if isinstance(size, int) else rows for size in info.shape]
        scale, offset = (1.0, -8.0) if spec.names is not None and name == spec.names.features else (0.1, 0.0)
        values = random.standard_normal(shape) * scale + offset if info.is_float else np.zeros(shape)
        feeds[name] = values.astype(info.dtype)
    return feeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--int8", action="store_true", help="quantise encoder and joiner first")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with chosen(arguments.models, int8=arguments.int8) as folder:
        spec = inspect(folder).streaming
        assert spec is not None, f"{folder} does not stream"
        options = OrtOptions()
        models = {"as it lies": OrtModel(spec.encoder, options)}
        models["rewritten"] = OrtModel(spec.encoder, options, as_products(spec.encoder))
    for rows in (1, 4, 8, 16):
        feeds = noise(spec, models["rewritten"], rows)
        outputs = [model.run(feeds) for model in models.values()]
        worst = max(float(np.abs(outputs[0][name] - outputs[1][name]).max()) for name in outputs[0])
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(arguments.rounds):
            for name, model in models.items():
                begin = time.thread_time()
                model.run(feeds)
                times[name].append((time.thread_time() - begin) / rows * 1000)
        told = ", ".join(f"{name} {statistics.median(each):.2f} ms ({min(each):.2f})" for name, each in times.items())
        print(f"batch {rows:2d}: {told} per stream, largest difference {worst:.1e}", flush=True)


if __name__ == "__main__":
    main()
