"""What CTC search costs on one core: `python -m benchmarks.search`. Prints microseconds per encoder frame and stream.

The lattices are random but speech-like: a token lasts two frames, then blank wins for two.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speech.search import CtcSearch, SearchOptions
from speech.search.reference import prefix_beam_search

CHUNK = 16
VOCAB = 500
BLANK_ID = 0

Rows = tuple[NDArray[np.float32], NDArray[np.int32]]


def lattice(rng: np.random.Generator, streams: int, frames: int, k: int, vocab: int = VOCAB) -> Rows:
    """Return (streams, frames, k) descending log-probs, and their ids."""
    logits = rng.normal(size=(streams, frames, vocab)).astype(np.float32) * 1.5
    spoken = rng.integers(1, vocab, size=(streams, (frames + 3) // 4))
    for frame in range(frames):
        target = spoken[:, frame // 4] if frame % 4 < 2 else np.zeros(streams, np.int64)
        logits[np.arange(streams), frame, target] += rng.uniform(4, 10, size=streams)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    ids = np.argsort(-log_probs, axis=-1)[..., :k].astype(np.int32)
    return np.take_along_axis(log_probs, ids, axis=-1), ids


def compiled(rows: Rows, options: SearchOptions) -> float:
    """Search the lattices chunk by chunk; return microseconds per frame and stream, n-best lists included."""
    streams, frames, _ = rows[0].shape
    search = CtcSearch(streams, BLANK_ID)
    slots, counts = np.arange(streams, dtype=np.int32), np.full(streams, CHUNK, np.int32)
    for slot in range(streams):
        search.open(slot, options)
    begin = time.thread_time()
    for start in range(0, frames, CHUNK):
        search.step(slots, rows[0][:, start : start + CHUNK], rows[1][:, start : start + CHUNK], counts)
        search.nbest(slots)
    return float((time.thread_time() - begin) / streams / frames * 1e6)


def plain(rows: Rows, options: SearchOptions) -> float:
    """Search the first stream with the dictionary-based reference."""
    begin = time.thread_time()
    prefix_beam_search(rows[0][0], rows[1][0], BLANK_ID, options)
    return float((time.thread_time() - begin) / rows[0].shape[1] * 1e6)


def best_of(repeats: int, measure: Callable[[Rows, SearchOptions], float], rows: Rows, options: SearchOptions) -> float:
    """Return the fastest of several runs: the others had a neighbour on the core."""
    return min(measure(rows, options) for _ in range(repeats))


def main() -> None:
    """Measure greedy and beam search for one and many streams, and plain Python."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beam-size", type=int, default=10)
    parser.add_argument("--top-k", type=int, default=10)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--frames", type=int, default=320, help="encoder frames of a stream; a multiple of 16 is used")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    frames = max(CHUNK, args.frames // CHUNK * CHUNK)
    rng = np.random.default_rng(0)
    beam = SearchOptions(beam_size=args.beam_size, top_k=args.top_k)
    print(f"beam {args.beam_size}, top {args.top_k}, {frames} frames in chunks of {CHUNK}; us per frame and stream")
    for streams in args.streams:
        rows = lattice(rng, streams, frames, args.top_k)
        greedy = SearchOptions(method="ctc_greedy")
        print(f"  {streams:4d} streams   beam {best_of(args.repeats, compiled, rows, beam):7.2f}", end="")
        print(f"   greedy {best_of(args.repeats, compiled, rows, greedy):7.2f}")
    print(
        f"  plain Python   beam {best_of(min(args.repeats, 2), plain, lattice(rng, 1, frames, args.top_k), beam):7.2f}"
    )


if __name__ == "__main__":
    main()
