"""Language model files: read once, shared by all models that they fit."""

from __future__ import annotations

import gzip
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np

from engines.errors import BadModel
from engines.sidefiles import read_tokens
from speech.biasing import FittedLm, HashedLm, Lodr, NgramLm, fit_lm, fit_lodr, read_arpa, read_kenlm
from speech.errors import BadLanguageModel
from speech.tokens import TokenTable

_KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
_reading = threading.Lock()
"""Held while a file is read, so that threads which want the same one wait for it instead of reading it again."""


def read_lm(path: Path) -> NgramLm | HashedLm:
    """Read an ARPA file (.arpa, or gzipped) or a KenLM binary; seconds for a big one, at once for one read before.

    Any thread; what is returned is not written to. Raises BadModel naming the file, the line and what is wrong.
    """
    try:
        stat = path.stat()
        with _reading:
            return _read(path.resolve(), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror or error}") from error
    except (BadLanguageModel, UnicodeDecodeError, EOFError) as error:
        raise BadModel(f"{path}: {error}") from error


@lru_cache(maxsize=8)
def _read(path: Path, mtime_ns: int, size: int) -> NgramLm | HashedLm:
    with path.open("rb") as file:
        start = file.read(len(_KENLM_MAGIC))
    if start == _KENLM_MAGIC:
        return read_kenlm(np.fromfile(path, np.uint8))
    if start.startswith(b"\x1f\x8b"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return read_arpa(lines)
    with path.open(encoding="utf-8") as lines:
        return read_arpa(lines)


def fitted_lm(path: Path, tokens: TokenTable) -> FittedLm:
    """Read the file and fit it to `tokens`. Raises BadModel naming the file and why it does not fit."""
    lm = read_lm(path)
    try:
        return fit_lm(lm, tokens)
    except BadLanguageModel as error:
        raise BadModel(f"{path}: {error}") from error


def fitted_lodr(path: Path, tokens: TokenTable) -> Lodr:
    """Read a bigram over `tokens`, to be subtracted. Raises BadModel naming the file and what is wrong."""
    try:
        return fit_lodr(read_lm(path), tokens)
    except BadLanguageModel as error:
        raise BadModel(f"{path}: {error}") from error


def describe_lm(fitted: FittedLm) -> str:
    """Say in one line what a language model is and how it fits."""
    counts = f"{fitted.lm.order}-gram, {len(fitted.lm.words)} words, {fitted.lm.num_ngrams} n-grams"
    known = "of the tokens are its words" if fitted.level == "token" else "of its words can be written"
    return f"{counts}, scored per {fitted.level}: {fitted.coverage:.1%} {known}"


def fit_report(path: Path, tokens_path: Path) -> str:
    """Say in one line whether and how a language model fits a model's tokens; raises as `read_lm` for a bad file."""
    lm = read_lm(path)
    try:
        return f"  lm          {path.name} fits: {describe_lm(fit_lm(lm, read_tokens(tokens_path)))}"
    except BadLanguageModel as error:
        return f"  lm          {path.name} does not fit: {error}"
