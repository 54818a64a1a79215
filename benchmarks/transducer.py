"""What a transducer's search costs beside its encoder, in processor time: `python -m benchmarks.transducer --help`.

One engine steps all streams at once, chunk after chunk, on recorded speech. The encoder (features, state copies and
graph) and the search (decoder, joiner, kernels, n-best lists) are timed apart, on the thread that runs them, in turns
method by method, so that a busy machine slows both alike. Graphs run on one thread, or thread time would miss some.
Random weights do: `python -m recipes.transducer.random_models --preset small --families k2 --output FOLDER`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.audio import recordings
from engines.describe import inspect
from engines.language_model import fitted_lm
from engines.load import EngineOptions, load
from engines.streaming import StepItem
from engines.streaming_transducer import StreamingTransducer
from speech.biasing import Bias, FittedLm
from speech.framing import Framer
from speech.search.transducer import TransducerOptions

METHODS = ("greedy_search", "modified_beam_search", "fast_beam_search")


class Timed:
    """Adds up the thread time of the calls of an object's methods."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, owner: Any, name: str) -> None:
        """Put a timed method in the place of `owner.name`."""
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.thread_time()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - begin

        setattr(owner, name, timed)


def run(engine: StreamingTransducer, streams: int, steps: int, method: str, lm: FittedLm | None) -> int:
    """Step `streams` streams `steps` times, with one bias as in the server; return the tokens that were said."""
    options = TransducerOptions(method=method)  # type: ignore[arg-type]
    seconds = steps * engine.framing.stride_frames / 100 + 1.0
    bias = None if lm is None else Bias(lm=lm, lm_weight=0.3, lm_bonus=1.5)
    plans = []
    for data in recordings(seconds, streams):
        samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
        plans.append(Framer(engine.framing).push(samples)[:steps])
    outputs = []
    for step in range(steps):
        items = [
            StepItem(slot, plan[step], step == 0, step == 0, options, bias=bias) for slot, plan in enumerate(plans)
        ]
        outputs = engine.run(items)
    tokens = sum(len(output.nbest.tokens[0]) for output in outputs)
    for slot in range(streams):
        engine.close_slot(slot)
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="a transducer's folder")
    parser.add_argument("--lm", type=Path, help="a language model for the beam searches")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    streams = arguments.streams
    description = inspect(arguments.models)
    model = load(description, EngineOptions(num_slots=streams, max_batch=streams, threads=1))
    engine = model.streaming
    assert isinstance(engine, StreamingTransducer), f"{arguments.models} is no streaming transducer"
    lm = None if arguments.lm is None else fitted_lm(arguments.lm, model.tokens)
    engine.warm_up((1, streams))
    encoder, search = Timed(), Timed()
    encoder.wrap(engine, "_features")
    encoder.wrap(engine._encoder, "step")
    search.wrap(engine._search, "step")
    search.wrap(engine._search, "nbest")
    found: dict[str, list[tuple[float, float, int]]] = {method: [] for method in METHODS}
    for _ in range(arguments.rounds):
        for method, rows in found.items():
            before = encoder.seconds, search.seconds
            tokens = run(engine, streams, arguments.steps, method, lm)
            rows.append((encoder.seconds - before[0], search.seconds - before[1], tokens))
    chunk_ms = engine.framing.stride_frames * 10
    frames = arguments.steps * streams * engine.framing.stride_frames / engine.framing.subsampling
    print(f"{description.name}: {streams} streams, chunks of {chunk_ms} ms, thread time per chunk and stream")
    for method, rows in found.items():
        ratio = statistics.median(b / a for a, b, _ in rows)
        encode, decode = (statistics.median(row[part] for row in rows) for part in (0, 1))
        per = 1000 / arguments.steps / streams
        print(
            f"  {method:21s} encoder {encode * per:7.2f} ms   search {decode * per:6.3f} ms   {100 * ratio:5.1f} %"
            f"   ({rows[0][2] / frames:.2f} tokens a frame)"
        )


if __name__ == "__main__":
    main()
