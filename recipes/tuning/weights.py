"""Word errors of attention rescoring at each weight of the CTC score: `python -m recipes.tuning.weights --help`.

The weight of the right-to-left decoder is fixed in W1 and W2 graphs, so it is chosen at export.
"""

import argparse
from pathlib import Path

from engines.describe import inspect
from engines.ort import OrtOptions
from engines.rescoring import RescoreItem, Rescorer
from engines.sidefiles import read_tokens
from recipes.lm.measure import BATCH, encode, search
from recipes.synthesis.recordings import read_rows
from speech.scoring import score_pairs


def main() -> None:
    """Print a line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--recordings", type=Path, required=True, help="folder of recipes.tuning.speak")
    parser.add_argument("--suffix", default=".flac")
    parser.add_argument("--ctc-weights", type=float, nargs="+", default=[0.2, 0.3, 0.4, 0.5, 0.7, 1.0])
    parser.add_argument("--beam-sizes", type=int, nargs="+", default=[10, 20, 30])
    arguments = parser.parse_args()
    description = inspect(arguments.model)
    assert description.rescoring is not None, "needs a model with an attention decoder"
    assert description.tokens_path is not None, "a model without tokens is none"
    tokens, rescorer = read_tokens(description.tokens_path), Rescorer(description.rescoring, BATCH, OrtOptions())
    rows = read_rows(arguments.recordings.with_suffix(".tsv"))
    encoded = encode(description, [arguments.recordings / f"{row[0]}{arguments.suffix}" for row in rows], 1)
    for beam_size in arguments.beam_sizes:
        lists = [search(one, tokens, beam_size, None) for one in encoded]
        for weight in arguments.ctc_weights:
            pairs = zip(encoded, lists, strict=True)
            best = rescorer.run([RescoreItem(one.encoder_out, each, ctc_weight=weight) for one, each in pairs])
            heard = (tokens.text(each.tokens[0].tolist()) for each in best)
            total = score_pairs(zip((row[-1] for row in rows), heard, strict=True)).total
            print(f"beam {beam_size:2d}, CTC weight {weight:g}: {100 * total.rate:6.2f} %", flush=True)


if __name__ == "__main__":
    main()
