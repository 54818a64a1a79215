"""What is added to acoustic scores: hotwords (context graphs) and n-gram language models, for every beam search."""

from speech.biasing.arpa import read_arpa
from speech.biasing.bias import Bias
from speech.biasing.context_graph import ContextGraph, build_graph
from speech.biasing.fitted import FittedLm, fit_lm
from speech.biasing.hashed import HashedLm
from speech.biasing.kenlm import read_kenlm
from speech.biasing.lodr import Lodr, fit_lodr
from speech.biasing.ngram import NgramLm

__all__ = [
    "Bias",
    "ContextGraph",
    "FittedLm",
    "HashedLm",
    "Lodr",
    "NgramLm",
    "build_graph",
    "fit_lm",
    "fit_lodr",
    "read_arpa",
    "read_kenlm",
]
