r"""ARPA text to an `NgramLm`: `\data\`, counts, sections `\N-grams:` of `log10 words [back-off]`, `\end\`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from speech.biasing.ngram import UNKNOWN, UNKNOWN_LOG10, NgramLm, Ngrams, build_lm
from speech.errors import BadLanguageModel

MAX_ORDER = 8
_BLOCK = 256
"""Lines converted at a time: more take longer, as Python's garbage collector looks through all their texts."""
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
    if order > 1:
        _title(lines, order)
    parts, num_read = list[Ngrams](), 0
    for first, rows in _blocks(lines, order, count):
        if order == 1:
            for at, row in enumerate(rows, start=num_read):
                words.setdefault(row[1], at)
        parts.append(_block(first, rows, order, words))
        num_read += len(rows)
    if num_read < count or (order == 1 and len(words) < count):
        distinct = "distinct " if order == 1 else ""
        least = min(num_read, len(words))
        raise BadLanguageModel(f"the ARPA file has {least} {distinct}{order}-grams; it announces {count}")
    return Ngrams(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.log_probs for part in parts]),
        np.concatenate([part.backoffs for part in parts]),
    )


def _blocks(lines: Iterator[tuple[int, str]], order: int, count: int) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the fields of up to `_BLOCK` lines each, and the number of the first line; at least one block."""
    first, rows, num_before = 0, list[list[str]](), 0
    for number, line in lines:
        if not line:
            break
        fields = line.split()
        if num_before + len(rows) == count or not order + 1 <= len(fields) <= order + 2:
            raise BadLanguageModel(
                f"line {number} of the ARPA file is {line[:80]!r}: one of {count} {order}-grams expected"
            )
        first = first or number
        rows.append(fields)
        if len(rows) == _BLOCK:
            yield first, rows
            first, rows, num_before = 0, [], num_before + _BLOCK
    yield first, rows


def _block(first: int, rows: list[list[str]], order: int, words: dict[str, int]) -> Ngrams:
    """Convert lines by columns, which is faster than line by line; `first` is the number of the first."""
    log_probs, backoffs = _logs(first, [row[0] for row in rows], [_backoff(row, order) for row in rows])
    return Ngrams(_numbers(first, rows, order, words), log_probs, backoffs)


def _title(lines: Iterator[tuple[int, str]], order: int) -> None:
    for number, line in lines:
        if line == f"\\{order}-grams:":
            return
        if line:
            raise BadLanguageModel(f"line {number} of the ARPA file is {line[:80]!r}: \\{order}-grams: expected")
    raise BadLanguageModel(f"the ARPA file ends before its {order}-grams")


def _backoff(row: list[str], order: int) -> str:
    return row[order + 1] if len(row) > order + 1 else "0"


def _logs(first: int, log10s: list[str], backoffs10: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities and back-offs as natural logs; `first` is the line of the first."""
    values, backoffs = _floats(log10s), _floats(backoffs10)
    is_good = (values >= _FLOOR_LOG10 - 1) & (values <= 0.0) & (np.abs(backoffs) <= -_FLOOR_LOG10)
    if not is_good.all():
        at = int(is_good.argmin())
        raise BadLanguageModel(f"line {first + at} of the ARPA file has the logs {log10s[at]!r} and {backoffs10[at]!r}")
    return (values * _LOG_10).astype(np.float32), (backoffs * _LOG_10).astype(np.float32)


def _floats(texts: list[str]) -> NDArray[np.float64]:
    """Convert numbers, NaN for what is none."""
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return np.array([_float(text) for text in texts])


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _numbers(first: int, rows: list[list[str]], order: int, words: dict[str, int]) -> NDArray[np.int32]:
    """Return the words' numbers, (n-grams, order); `first` is the line of the first."""
    flat = (words.get(word, -1) for row in rows for word in row[1 : order + 1])
    numbers = np.fromiter(flat, np.int32, len(rows) * order).reshape(-1, order)
    if numbers.min(initial=0) < 0:
        at, column = np.argwhere(numbers < 0)[0]
        raise BadLanguageModel(
            f"line {first + at} of the ARPA file has the word {rows[at][1 + column]!r}, which is no 1-gram of it"
        )
    return numbers


def _with_unknown(unigrams: Ngrams, number: int) -> Ngrams:
    return Ngrams(
        np.append(unigrams.ids, [[number]], axis=0).astype(np.int32),
        np.append(unigrams.log_probs, np.float32(UNKNOWN_LOG10 * _LOG_10)),
        np.append(unigrams.backoffs, np.float32(0)),
    )
