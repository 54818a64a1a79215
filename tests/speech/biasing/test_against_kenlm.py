"""Our reader of ARPA files against KenLM's. Skipped without the package `kenlm`, which has to be built from source."""

import math

import numpy as np
import pytest

from recipes.lm.kneser_ney import KneserNey
from speech.biasing import Bias, fit_lm, read_arpa
from speech.tokens import TokenTable
from tests.recipes.test_kneser_ney import WORDS, corpus


@pytest.mark.parametrize("min_counts", [[1, 1], [1, 1, 2], [1, 1, 1, 1]])
def test_sentences_score_as_in_kenlm(min_counts, tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    lines = list(KneserNey(corpus(0), len(min_counts), min_counts).lines())
    (tmp_path / "lm.arpa").write_text("\n".join(lines) + "\n")
    config = kenlm.Config()
    config.show_progress = False
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"), config)
    table = TokenTable(["<blank>", *WORDS, "z"])  # z is no word of the model
    ours = Bias(lm=fit_lm(read_arpa(lines), table), lm_weight=1.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        tokens = np.minimum(rng.geometric(0.1, size=7), len(table) - 1)
        states, total = ours.start[np.newaxis], 0.0
        for token in tokens:
            gains, states = ours.advance(states, np.array([token], np.int32))
            total += float(gains.sum())
        total += float(ours.finish(states).sum())
        sentence = " ".join(table.pieces[token] for token in tokens)
        assert total == pytest.approx(theirs.score(sentence, bos=True, eos=True) * math.log(10), abs=1e-5)
