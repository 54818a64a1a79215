r"""ARPA text to an `NgramLm`: `\data\`, counts, sections `\N-grams:` of `log10 words [back-off]`, `\end\`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

import numpy as np

from speech.biasing.ngram import UNKNOWN, UNKNOWN_LOG10, NgramLm, Ngrams, build_lm
from speech.errors import BadLanguageModel

MAX_ORDER = 8
_LOG_10 = math.log(10.0)
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_FLOOR_LOG10 = -99.0
"""What ARPA writes for "impossible", as for the probability of <s>."""


def read_arpa(lines: Iterable[str]) -> NgramLm:
    """Read an ARPA model, an iterable of its lines. Raises BadLanguageModel naming line or section and what is wrong.

    A word outside the model has the probability of <unk>; a model without <unk> gets KenLM's log10 of -100.
    """
    numbered = ((number, line.strip()) for number, line in enumerate(lines, start=1))
    counts = _header(numbered)
    words: dict[str, int] = {}
    orders = [_section(numbered, order, count, words) for order, count in enumerate(counts, start=1)]
    if not any(line == "\\end\\" for _, line in numbered):
        raise BadLanguageModel("the ARPA file ends without \\end\\: it is cut short")
    if UNKNOWN not in words:
        orders[0] = _with_unknown(orders[0], len(words))
        words[UNKNOWN] = len(words)
    return build_lm(tuple(words), orders)


def _header(lines: Iterator[tuple[int, str]]) -> list[int]:
    r"""Return the number of n-grams of each order; stops after the line `\1-grams:`."""
    if not any(line == "\\data\\" for _, line in lines):
        raise BadLanguageModel("not an ARPA file: no line \\data\\")
    counts: list[int] = []
    for number, line in lines:
        if line == "\\1-grams:":
            break
        match = _COUNT.fullmatch(line)
        if match is not None and int(match[1]) == len(counts) + 1 <= MAX_ORDER:
            counts.append(int(match[2]))
        elif line:
            raise BadLanguageModel(f"line {number} of the ARPA file is {line[:80]!r}: 'ngram N=COUNT' expected")
    if not counts:
        raise BadLanguageModel("the ARPA file names no n-gram counts")
    return counts


def _section(lines: Iterator[tuple[int, str]], order: int, count: int, words: dict[str, int]) -> Ngrams:
    """Read one order's n-grams up to the next section's title; unigrams give the words their numbers."""
    ids = np.zeros((count, order), np.int32)
    log_probs, backoffs = np.zeros(count, np.float32), np.zeros(count, np.float32)
    at = 0
    if order > 1:
        _title(lines, order)
    for number, line in lines:
        if not line:
            break
        fields = line.split()
        if at == count or not order + 1 <= len(fields) <= order + 2:
            raise BadLanguageModel(
                f"line {number} of the ARPA file is {line[:80]!r}: one of {count} {order}-grams expected"
            )
        if order == 1:
            words.setdefault(fields[1], at)
        log_probs[at], backoffs[at] = _logs(number, fields[0], fields[order + 1] if len(fields) > order + 1 else "0")
        ids[at] = [_number(number, word, words) for word in fields[1 : order + 1]]
        at += 1
    if at < count or (order == 1 and len(words) < count):
        distinct = "distinct " if order == 1 else ""
        raise BadLanguageModel(f"the ARPA file has {min(at, len(words))} {distinct}{order}-grams; it announces {count}")
    return Ngrams(ids, log_probs, backoffs)


def _title(lines: Iterator[tuple[int, str]], order: int) -> None:
    for number, line in lines:
        if line == f"\\{order}-grams:":
            return
        if line:
            raise BadLanguageModel(f"line {number} of the ARPA file is {line[:80]!r}: \\{order}-grams: expected")
    raise BadLanguageModel(f"the ARPA file ends before its {order}-grams")


def _logs(number: int, log10: str, backoff10: str) -> tuple[float, float]:
    """Return probability and back-off as natural logs."""
    try:
        values = float(log10), float(backoff10)
    except ValueError:
        values = math.nan, math.nan
    if not (_FLOOR_LOG10 - 1 <= values[0] <= 0.0 and abs(values[1]) <= -_FLOOR_LOG10):
        raise BadLanguageModel(f"line {number} of the ARPA file has the logs {log10!r} and {backoff10!r}")
    return values[0] * _LOG_10, values[1] * _LOG_10


def _number(number: int, word: str, words: dict[str, int]) -> int:
    if word not in words:
        raise BadLanguageModel(f"line {number} of the ARPA file has the word {word!r}, which is no 1-gram of it")
    return words[word]


def _with_unknown(unigrams: Ngrams, number: int) -> Ngrams:
    return Ngrams(
        np.append(unigrams.ids, [[number]], axis=0).astype(np.int32),
        np.append(unigrams.log_probs, np.float32(UNKNOWN_LOG10 * _LOG_10)),
        np.append(unigrams.backoffs, np.float32(0)),
    )
