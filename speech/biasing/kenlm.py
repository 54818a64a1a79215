"""KenLM's binary files (`build_binary`, format version 5): header, vocabulary, and the model behind them.

Tries are listed into the arrays of an `NgramLm`; probing tables, the default of build_binary, are kept as they are
(`HashedLm`). KenLM's own library is not needed: its Python package holds the GIL for every word.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.biasing.arpa import MAX_ORDER
from speech.biasing.hashed import FIRST_STATE, HashedLm, number_states
from speech.biasing.kenlm_trie import TrieLayout, read_trie
from speech.biasing.ngram import END, START, UNKNOWN, NgramLm, build_lm
from speech.errors import BadLanguageModel

MAGIC = b"mmap lm http://kheafield.com/code format version "
_VERSION = b"5\n\0"
_SANITY_BYTES = 88  # the magic bytes and test values; see binary_format.cc
_FIXED = struct.Struct("<B3xfiB3xI")  # order, probing multiplier, kind, has words, version of the kind
_PROBING, _REST_PROBING, _TRIE, _QUANTISED_TRIE, _ARRAY_TRIE, _QUANTISED_ARRAY_TRIE = range(6)
_VOCABULARY_CELLS = 3  # a 64-bit hash and a number
_PROBING_VERSION, _TRIE_VERSION = 0, 1


@dataclass(frozen=True, slots=True)
class _Header:
    """`counts`: n-grams by order; `size` in bytes."""

    kind: int
    version: int
    multiplier: float
    has_words: bool
    counts: tuple[int, ...]
    size: int


def read_kenlm(data: NDArray[np.uint8]) -> NgramLm | HashedLm:
    """Read a whole file's bytes; a probing model keeps them. Raises BadLanguageModel saying what is wrong."""
    header = _header(data)
    if header.kind == _REST_PROBING:
        raise BadLanguageModel("the KenLM binary was built with rest costs (-r), for translation: build it without")
    if not header.has_words:
        raise BadLanguageModel("the KenLM binary was built without its words (-v): build it with them")
    known = _PROBING_VERSION if header.kind == _PROBING else _TRIE_VERSION
    if header.version != known:
        raise BadLanguageModel(f"the KenLM binary's tables are of version {header.version}; version {known} is known")
    if header.kind == _PROBING:
        return _read_probing(data, header)
    return _read_trie(data, header)


def _header(data: NDArray[np.uint8]) -> _Header:
    start = data[:4096].tobytes()
    version = start[len(MAGIC) :][: len(_VERSION)]
    if not start.startswith(MAGIC) or version != _VERSION:
        raise BadLanguageModel("not a KenLM binary of format version 5, or one whose build did not finish")
    if len(start) < _SANITY_BYTES + _FIXED.size:
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes")
    order, multiplier, kind, has_words, search_version = _FIXED.unpack_from(start, _SANITY_BYTES)
    if not (2 <= order <= MAX_ORDER and _PROBING <= kind <= _QUANTISED_ARRAY_TRIE and 1.0 <= multiplier < 1e6):
        raise BadLanguageModel(
            f"the KenLM binary says order {order}, kind {kind}, multiplier {multiplier:g}; "
            f"known are orders 2 to {MAX_ORDER} and kinds 0 to {_QUANTISED_ARRAY_TRIE}"
        )
    end = _SANITY_BYTES + _FIXED.size + 8 * order
    if len(start) < end:
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes")
    counts = struct.unpack_from(f"<{order}Q", start, _SANITY_BYTES + _FIXED.size)
    if not counts[0] or max(counts) > len(data) * 8:
        raise BadLanguageModel(f"the KenLM binary of {len(data)} bytes says that it has {counts} n-grams")
    return _Header(kind, search_version, multiplier, bool(has_words), counts, _rounded_up(end))


def _read_probing(data: NDArray[np.uint8], header: _Header) -> HashedLm:
    counts, order = header.counts, len(header.counts)
    num_words = int(data[header.size + 4 : header.size + 8].view("<u4")[0])
    at = (header.size + 8) // 4 + _num_buckets(counts[0], header.multiplier) * _VOCABULARY_CELLS
    if not num_words <= counts[0] + 1:
        raise BadLanguageModel(f"the KenLM binary is damaged: {num_words} words and {counts[0]} unigrams")
    places = [(at, num_words, 2)]
    at += 2 * (counts[0] + 1)  # one more, should <unk> be missing
    for level in range(1, order):
        bucket_cells = 4 if level < order - 1 else 3
        num_buckets = _num_buckets(counts[level], header.multiplier)
        places.append((at, num_buckets, bucket_cells))
        at += num_buckets * bucket_cells
    words = _words(data, 4 * at, num_words)
    cells = data[: 4 * at].view(np.int32)
    tables, num_history_cells = number_states(places)
    names = {name: number for number, name in enumerate(words)}
    return HashedLm(
        words=words,
        num_ngrams=num_words + sum(counts[1:]),
        start_state=int(tables[0, FIRST_STATE]) + names[START] if START in names else 0,
        unknown_word=names[UNKNOWN],
        end_word=names.get(END, -1),
        cells=cells,
        floats=cells.view(np.float32),
        tables=tables,
        histories=np.zeros(num_history_cells, np.int32),
    )


def _read_trie(data: NDArray[np.uint8], header: _Header) -> NgramLm:
    layout = TrieLayout(
        counts=header.counts,
        first=header.size + 8 * (header.counts[0] + 1),  # the hash of each word but <unk>, and their number
        is_quantised=header.kind in (_QUANTISED_TRIE, _QUANTISED_ARRAY_TRIE),
        has_pointer_arrays=header.kind in (_ARRAY_TRIE, _QUANTISED_ARRAY_TRIE),
    )
    orders, end = read_trie(data, layout)
    return build_lm(_words(data, end, header.counts[0]), orders)


def _words(data: NDArray[np.uint8], first: int, count: int) -> tuple[str, ...]:
    """Read the words, each ended by a zero byte, at the end of the file."""
    if first >= len(data):
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes, its words begin at {first}")
    words = data[first:].tobytes().decode("utf-8", "replace").split("\0")
    if words.pop() or len(words) != count or words[0] != UNKNOWN:
        raise BadLanguageModel(f"the KenLM binary ends with {len(words)} words, the first {words[:1]}; it has {count}")
    return tuple(words)


def _num_buckets(entries: int, multiplier: float) -> int:
    """Return the size of a hash table; KenLM multiplies in float32."""
    return max(entries + 1, int(np.float32(multiplier) * np.float32(entries)))


def _rounded_up(size: int) -> int:
    return -(-size // 8) * 8
