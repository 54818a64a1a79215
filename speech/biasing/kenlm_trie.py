"""KenLM's trie (lm/trie.cc, lm/quantize.cc, lm/bhiksha.cc) to n-grams by order: bit-packed arrays, read all at once.

A node is an n-gram, child of its last words by the word before them. A file has, in this order: bins of quantised
values, unigrams of 16 bytes, then one packed array for each order: word, values, and where its children begin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.biasing.ngram import Ngrams
from speech.errors import BadLanguageModel

_LN_10 = math.log(10.0)
_WORD_BYTES = 8  # read around a packed value; also the slack behind each array
_BINS_VERSION, _POINTERS_VERSION = 2, 0
_UNIGRAM = np.dtype([("log10", "<f4"), ("backoff", "<f4"), ("next", "<u8")])


@dataclass(frozen=True, slots=True)
class TrieLayout:
    """`counts`: n-grams by order; `first`: the trie's first byte, behind the vocabulary."""

    counts: tuple[int, ...]
    first: int
    is_quantised: bool
    has_pointer_arrays: bool


@dataclass(frozen=True, slots=True)
class _Bits:
    """Entries of `width` bits, one behind the other from byte `first` on."""

    data: NDArray[np.uint8]
    first: int
    width: int

    def read(self, shift: int, length: int, count: int) -> NDArray[np.uint64]:
        """Return `length` bits (at most 57) from bit `shift` of the first `count` entries."""
        bits = np.arange(count, dtype=np.int64) * self.width + shift
        places = self.first + (bits >> 3)
        if length == 0 or count == 0:
            return np.zeros(count, np.uint64)
        if int(places[-1]) + _WORD_BYTES > len(self.data):
            raise BadLanguageModel(f"the KenLM binary is cut short: {len(self.data)} bytes")
        around = np.lib.stride_tricks.sliding_window_view(self.data, _WORD_BYTES)[places]
        values: NDArray[np.uint64] = around.view("<u8")[:, 0] >> (bits & 7).astype(np.uint64)
        values &= np.uint64((1 << length) - 1)
        return values


def read_trie(data: NDArray[np.uint8], layout: TrieLayout) -> tuple[list[Ngrams], int]:
    """Return the n-grams of each order, words in reading order, natural logs, and the byte behind them all.

    Raises BadLanguageModel for damage.
    """
    counts, order = layout.counts, len(layout.counts)
    tables, first = _bins(data, layout) if layout.is_quantised else (iter(()), layout.first)
    size = (counts[0] + 2) * _UNIGRAM.itemsize
    if first + size > len(data):
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes, unigrams end at {first + size}")
    unigrams = data[first : first + size].view(_UNIGRAM)
    ids = np.arange(counts[0], dtype=np.int32)[:, np.newaxis]
    orders = [_ngrams(ids, unigrams["log10"][: counts[0]], unigrams["backoff"][: counts[0]])]
    begins = unigrams["next"][: counts[0] + 1]
    pointers_bits = _pointer_limit(data, first + size) if layout.has_pointer_arrays and order > 2 else None
    first += size
    for level in range(1, order):
        is_last = level == order - 1
        parents = _parents(begins, counts[level], level + 1)
        reader = _Level(data, first, counts, level, pointers_bits)
        bins = (next(tables), next(tables) if not is_last else None) if layout.is_quantised else None
        words, log10, backoffs, begins = reader.read(bins)
        if int(words.max(initial=0)) >= counts[0]:
            raise BadLanguageModel(f"the KenLM binary's {level + 1}-grams have words beyond its {counts[0]}")
        ids = np.concatenate([words.astype(np.int32)[:, np.newaxis], ids[parents]], axis=1)
        orders.append(_ngrams(ids, log10, backoffs))
        first = reader.end
    return orders, first


class _Level:
    """The packed array of one order: where it lies, and its values."""

    def __init__(
        self, data: NDArray[np.uint8], first: int, counts: tuple[int, ...], level: int, pointer_limit: int | None
    ) -> None:
        """`first`: its first byte; `pointer_limit`: bits that pointers may lose to a table, None for plain ones."""
        self._data = data
        self._count = counts[level]
        self._word_bits = counts[0].bit_length()
        self._first = first
        self._is_last = level == len(counts) - 1
        self._next_bits = 0 if self._is_last else counts[level + 1].bit_length()
        self._num_offsets = 0
        if pointer_limit is not None and not self._is_last:
            self._chop(pointer_limit, counts[level + 1])
        self.end = 0

    def _chop(self, limit: int, num_next: int) -> None:
        """Find how many leading bits of pointers were moved to a table, as KenLM's ChopBits did: the smallest sum."""
        entries, required = self._count + 1, self._next_bits
        sizes = [(num_next >> (required - chop)) * 64 - entries * chop for chop in range(min(required, limit) + 1)]
        chop = int(np.argmin(sizes))
        self._num_offsets = (num_next >> (required - chop)) + 1
        self._next_bits -= chop

    def read(
        self, bins: tuple[NDArray[np.float32], NDArray[np.float32] | None] | None
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float32], NDArray[np.uint64]]:
        """Return words, log10 probabilities, log10 back-offs, and where the children of each begin (one more)."""
        prob_bits = 31 if bins is None else _bits_of(bins[0])
        backoff_bits = 0 if self._is_last else 32 if bins is None or bins[1] is None else _bits_of(bins[1])
        width = self._word_bits + prob_bits + backoff_bits + self._next_bits
        offsets_size = 8 * (1 + self._num_offsets) + 7 if self._num_offsets else 0
        bits = _Bits(self._data, self._first + offsets_size, width)
        self.end = bits.first + ((1 + self._count) * width + 7) // 8 + _WORD_BYTES
        words = bits.read(0, self._word_bits, self._count)
        backoffs = np.zeros(self._count, np.float32)
        if bins is None:
            # Probabilities lack their sign, which is always negative.
            log10 = -bits.read(self._word_bits, 31, self._count).astype(np.uint32).view(np.float32)
            if not self._is_last:
                backoffs = bits.read(self._word_bits + 31, 32, self._count).astype(np.uint32).view(np.float32)
        else:
            log10 = bins[0][bits.read(self._word_bits + backoff_bits, prob_bits, self._count)]
            if bins[1] is not None:
                backoffs = bins[1][bits.read(self._word_bits, backoff_bits, self._count)]
        begins = bits.read(width - self._next_bits, self._next_bits, self._count + (not self._is_last))
        return words, log10, backoffs, self._with_leading_bits(begins)

    def _with_leading_bits(self, begins: NDArray[np.uint64]) -> NDArray[np.uint64]:
        if not self._num_offsets:
            return begins
        aligned = -(-self._first // 8) * 8 + 8  # the file's first byte is aligned, and so is memory as KenLM maps it
        size = 8 * self._num_offsets
        offsets = np.frombuffer(self._data[aligned : aligned + size].tobytes(), "<u8")
        leading = np.searchsorted(offsets, np.arange(len(begins), dtype=np.uint64), side="right") - 1
        return (leading.astype(np.uint64) << np.uint64(self._next_bits)) | begins


def _bins(data: NDArray[np.uint8], layout: TrieLayout) -> tuple[Iterator[NDArray[np.float32]], int]:
    """Return the tables of quantised values, probabilities and back-offs of each order in turn, and where they end."""
    if layout.first + 8 > len(data):
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes, its bins begin at {layout.first}")
    version, prob_bits, backoff_bits = data[layout.first : layout.first + 3].tolist()
    if version != _BINS_VERSION or not (0 < prob_bits <= 25 and 0 < backoff_bits <= 25):
        raise BadLanguageModel(
            f"the KenLM binary quantises as version {version} does; version {_BINS_VERSION} is known"
        )
    sizes = [1 << prob_bits, 1 << backoff_bits] * (len(layout.counts) - 2) + [1 << prob_bits]
    first = layout.first + 8
    end = first + 4 * sum(sizes)
    if end > len(data):
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes, its bins end at {end}")
    values = np.frombuffer(data[first:end].tobytes(), "<f4")
    return iter(np.split(values, np.cumsum(sizes)[:-1])), end


def _pointer_limit(data: NDArray[np.uint8], first: int) -> int:
    """Read how many bits pointers may have lost to a table, from the header of the first table."""
    if first + 2 > len(data):
        raise BadLanguageModel(f"the KenLM binary is cut short: {len(data)} bytes, its pointers begin at {first}")
    version, limit = data[first : first + 2].tolist()
    if version != _POINTERS_VERSION:
        raise BadLanguageModel(f"the KenLM binary has pointers of version {version}; version 0 is known")
    return int(limit)


def _bits_of(bins: NDArray[np.float32]) -> int:
    return len(bins).bit_length() - 1


def _parents(begins: NDArray[np.uint64], count: int, order: int) -> NDArray[np.int64]:
    """Return the parent of each of `count` nodes, whose parents' children begin at `begins` (parents + 1)."""
    bounds = begins.astype(np.int64)
    sizes = np.diff(bounds)
    if len(bounds) == 0 or bounds[0] != 0 or bounds[-1] != count or sizes.min(initial=0) < 0:
        raise BadLanguageModel(f"the KenLM binary is damaged: its {order}-grams are not those of shorter ones")
    return np.repeat(np.arange(len(sizes)), sizes)


def _ngrams(ids: NDArray[np.int32], log10: NDArray[np.float32], backoffs: NDArray[np.float32]) -> Ngrams:
    return Ngrams(
        np.ascontiguousarray(ids, np.int32),
        (log10.astype(np.float64) * _LN_10).astype(np.float32),
        (backoffs.astype(np.float64) * _LN_10).astype(np.float32),
    )
