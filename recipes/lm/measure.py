"""What a language model does to word errors: `python -m recipes.lm.measure --help`.

Encodes every recording once with a model's offline graph, then searches and rescores it at each weight and bonus.
"""

import argparse
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.describe import inspect
from engines.description import ModelDescription
from engines.language_model import fitted_lm
from engines.offline import Encoded, open_offline
from engines.ort import OrtOptions
from engines.rescoring import RescoreItem, Rescorer
from engines.sidefiles import read_tokens
from recipes.synthesis.recordings import load_16k, read_rows
from speech.biasing import Bias
from speech.features import Fbank
from speech.scoring import score_pairs
from speech.search import CtcSearch, Nbest, SearchOptions
from speech.search.options import MAX_BEAM
from speech.tokens import TokenTable

BATCH = 8


@dataclass(frozen=True, slots=True)
class Scores:
    """Word error rates of the search's best hypothesis and, where the model has an attention decoder, of rescoring."""

    beam: float
    rescored: float | None


def encode(description: ModelDescription, paths: Sequence[Path], threads: int) -> list[Encoded]:
    """Encode whole recordings."""
    assert description.offline is not None, "needs a model with an offline graph"
    encoder = open_offline(description.offline, BATCH, description.fbank.pad_value, OrtOptions(intra_threads=threads))
    fbank = Fbank(description.fbank)
    encoded: list[Encoded] = []
    for start in range(0, len(paths), BATCH):
        encoded += encoder.run([fbank.whole(load_16k(path)) for path in paths[start : start + BATCH]])
    return encoded


def search(one: Encoded, tokens: TokenTable, beam_size: int, bias: Bias | None) -> Nbest:
    """Search one recording."""
    ctc = CtcSearch(1, tokens.blank_id, max(beam_size, MAX_BEAM))
    ctc.open(0, SearchOptions(beam_size=beam_size, top_k=one.ids.shape[1]), bias)
    count = np.array([len(one.ids)], np.int32)
    ctc.step(np.zeros(1, np.int32), one.log_probs[np.newaxis], one.ids[np.newaxis], count)
    return ctc.nbest([0])[0].closed()


def measure(
    encoded: Sequence[Encoded], texts: Sequence[str], tokens: TokenTable, rescorer: Rescorer | None, beam_size: int,
    bias: Bias | None,
) -> Scores:  # fmt: skip
    """Search and rescore everything."""
    lists = [search(one, tokens, beam_size, bias) for one in encoded]
    rescored = None
    if rescorer is not None:
        items = [RescoreItem(one.encoder_out, each) for one, each in zip(encoded, lists, strict=True)]
        rescored = _wer(texts, rescorer.run(items), tokens)
    return Scores(_wer(texts, lists, tokens), rescored)


def _wer(texts: Sequence[str], lists: Sequence[Nbest], tokens: TokenTable) -> float:
    heard = [tokens.text(each.tokens[0].tolist()) for each in lists]
    return score_pairs(zip(texts, heard, strict=True)).total.rate


def main() -> None:
    """Print a line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument(
        "--recordings", type=Path, required=True, help="folder of recordings beside its list, FOLDER.tsv"
    )
    parser.add_argument("--suffix", default=".ogg", help="of the recordings")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    parser.add_argument("--bonuses", type=float, nargs="+", default=[0.0, 1.0, 2.0])
    parser.add_argument("--beam-size", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="only each nth recording")
    arguments = parser.parse_args()
    description = inspect(arguments.model)
    assert description.tokens_path is not None, "a model without tokens is none"
    tokens = read_tokens(description.tokens_path)
    rows = read_rows(arguments.recordings.with_suffix(".tsv"))[:: arguments.every]
    paths = [arguments.recordings / f"{row[0]}{arguments.suffix}" for row in rows]
    texts = [row[-1] for row in rows]
    encoded = encode(description, paths, int(os.environ.get("OMP_NUM_THREADS", "1")))
    rescorer = Rescorer(description.rescoring, BATCH, OrtOptions(intra_threads=1)) if description.rescoring else None
    lm = fitted_lm(arguments.lm, tokens)
    print(f"{len(rows)} recordings, beam {arguments.beam_size}; WER of prefix beam search, and of attention rescoring")
    _print("without", measure(encoded, texts, tokens, rescorer, arguments.beam_size, None))
    for weight, bonus in itertools.product(arguments.weights, arguments.bonuses):
        bias = Bias(lm=lm, lm_weight=weight, lm_bonus=bonus)
        scores = measure(encoded, texts, tokens, rescorer, arguments.beam_size, bias)
        _print(f"weight {weight:g}, bonus {bonus:g}", scores)


def _print(title: str, scores: Scores) -> None:
    rescored = "" if scores.rescored is None else f"{100 * scores.rescored:7.2f} %"
    print(f"{title:>24} {100 * scores.beam:7.2f} % {rescored}", flush=True)


if __name__ == "__main__":
    main()
