"""What hotwords and language models cost: `python -m benchmarks.biasing --lm lm.arpa.gz`. CPU time, one core.

Lists are random phrases of two words in the embedded model's tokens; lattices are those of `benchmarks.search`.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from benchmarks.search import BLANK_ID, CHUNK, Rows, lattice
from engines.language_model import fitted_lm
from server.models import embedded_models
from speech.biasing import Bias, ContextGraph, build_graph
from speech.biasing.spelling import Speller
from speech.search import CtcSearch, SearchOptions
from speech.tokens import TokenTable

UNITS = "english-u2pp/units.txt"
STREAMS = 100
FRAMES = 160


def phrases(rng: np.random.Generator, count: int) -> list[str]:
    """Return `count` phrases of two made-up words."""
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    return [
        " ".join("".join(rng.choice(letters, size=rng.integers(4, 9))) for _ in range(2)).upper() for _ in range(count)
    ]


def search_us(rows: Rows, biases: Sequence[Bias | None], repeats: int) -> float:
    """Return the least microseconds per frame and stream of some runs, n-best lists after every chunk included."""
    options, streams = SearchOptions(), len(biases)
    search = CtcSearch(streams, BLANK_ID)
    slots, counts = np.arange(streams, dtype=np.int32), np.full(streams, CHUNK, np.int32)
    best = np.inf
    for _ in range(repeats):
        for slot, bias in enumerate(biases):
            search.open(slot, options, bias)
        begin = time.thread_time()
        for start in range(0, FRAMES, CHUNK):
            search.step(slots, rows[0][:, start : start + CHUNK], rows[1][:, start : start + CHUNK], counts)
            search.nbest(slots)
        best = min(best, time.thread_time() - begin)
    return best / streams / FRAMES * 1e6


def compile_cost(speller: Speller, rng: np.random.Generator, count: int) -> str:
    """Return how long spelling and compiling a list take, and its size."""
    words = phrases(rng, count)
    begin = time.thread_time()
    spelled = [ids for ids in map(speller.spell, words) if ids]
    middle = time.thread_time()
    graph = build_graph(spelled, [1.5] * len(spelled))
    end = time.thread_time()
    size = graph.num_bytes / 1024
    return (
        f"{count:6d} phrases: spelling {(middle - begin) * 1e3:7.1f} ms, graph {(end - middle) * 1e3:6.1f} ms, "
        f"{graph.num_nodes:6d} nodes, {size:6.0f} KiB"
    )


def resident_mib() -> float:
    """Return the memory that this process has now."""
    return float(psutil.Process().memory_info().rss) / (1 << 20)


def many_lists(speller: Speller, rng: np.random.Generator, rows: Rows, count: int) -> str:
    """Give each of `count` streams a list of 5,000 phrases of its own, drawn from 20,000; search all in one call."""
    pool = [ids for ids in map(speller.spell, phrases(rng, 20_000)) if ids]
    before, begin = resident_mib(), time.thread_time()
    biases: list[Bias | None] = [
        Bias(build_graph([pool[i] for i in rng.choice(len(pool), 5000, replace=False)], [1.5] * 5000))
        for _ in range(count)
    ]
    compiling, memory = time.thread_time() - begin, resident_mib() - before
    stream = np.arange(count) % STREAMS
    cost = search_us((rows[0][stream], rows[1][stream]), biases, 1)
    return (
        f"{count} streams, {count} lists of 5000 phrases: compiling {compiling / count * 1e3:.1f} ms a list, "
        f"{memory:.0f} MiB in all, {cost:.1f} us per frame and stream"
    )


def main() -> None:
    """Measure lists, then searches with and without them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", type=Path, help="ARPA model of words")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--lists", type=int, help="only this many streams, each with a list of 5,000 phrases of its own"
    )
    args = parser.parse_args()
    with (embedded_models() / UNITS).open(encoding="utf-8") as lines:
        tokens = TokenTable.from_lines(lines)
    speller, rng = Speller(tokens), np.random.default_rng(0)
    rows = lattice(rng, STREAMS, FRAMES, 10, vocab=len(tokens))
    if args.lists is not None:
        print(many_lists(speller, rng, rows, args.lists))
        return
    for count in (10, 100, 1000, 5000, 20000):
        print(compile_cost(speller, rng, count))
    print(f"beam 10, top 10, {STREAMS} streams; us per frame and stream")
    print(f"  plain                              {search_us(rows, [None] * STREAMS, args.repeats):7.2f}")
    for count in (100, 5000):
        own = [Bias(_graph(speller, rng, count)) for _ in range(20 if count < 5000 else 3)]
        mixed = [own[stream % len(own)] for stream in range(STREAMS)]
        print(f"  {len(own):3d} lists of {count:4d} phrases          {search_us(rows, mixed, args.repeats):7.2f}")
    if args.lm is not None:
        bias = Bias(lm=fitted_lm(args.lm, tokens), lm_weight=0.3, lm_bonus=1.5)
        print(f"  language model                     {search_us(rows, [bias] * STREAMS, args.repeats):7.2f}")
        both = [each.with_graph(one.graph) for each, one in zip([bias] * STREAMS, mixed, strict=True)]
        print(f"  both                               {search_us(rows, both, args.repeats):7.2f}")


def _graph(speller: Speller, rng: np.random.Generator, count: int) -> ContextGraph:
    spelled = [ids for ids in map(speller.spell, phrases(rng, count)) if ids]
    return build_graph(spelled, [1.5] * len(spelled))


if __name__ == "__main__":
    main()
