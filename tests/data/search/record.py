"""Record prefix_beam.json: `python -m tests.data.search.record`. Only when the search's meaning changes on purpose."""

import json
from pathlib import Path

import numpy as np

from speech.search.options import SearchOptions
from speech.search.reference import prefix_beam_search

CASES = [{}, {"beam_size": 4}, {"cutoff_prob": 0.9}, {"blank_skip": 0.9}, {"blank_penalty": 1.0}]


def main() -> None:
    """Write five lattices of 12 frames, 8 tokens, top 6, and the reference's beams, into this folder."""
    rng = np.random.default_rng(20261121)
    cases = []
    for options in CASES:
        logits = rng.normal(size=(12, 8)) * 2.5
        logits[:, 0] += 2.0
        log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        ids = np.argsort(-log_probs, axis=-1)[:, :6].astype(np.int32)
        rows = np.take_along_axis(log_probs, ids, axis=-1).round(4).astype(np.float32)
        beam = prefix_beam_search(rows, ids, 0, SearchOptions(**options))
        cases.append(
            {
                "options": options,
                "log_probs": [[round(x, 4) for x in row] for row in rows.tolist()],
                "ids": ids.tolist(),
                "nbest": [[h.tokens, round(h.score, 6), h.times, [round(c, 6) for c in h.confidences]] for h in beam],
            }
        )
    document = {"command": "python -m tests.data.search.record", "cases": cases}
    (Path(__file__).parent / "prefix_beam.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
