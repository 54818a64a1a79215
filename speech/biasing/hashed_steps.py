"""Compiled: scoring a word by KenLM's probing hash tables, without the GIL, in any thread.

As KenLM's lm/model.cc (ScoreExceptBackoff, FullScore): n-grams are looked up from their last word backwards, each key
made of the shorter one's. A state here is the bucket of the longest history that something goes on from.
"""
# mypy: disable-error-code="no-untyped-def"

import math

import numpy as np

from speech.biasing.hashed import BUCKET_CELLS, FIRST_CELL, FIRST_HISTORY, FIRST_STATE, NUM_BUCKETS
from speech.compiling import compiled

NOT_FOUND = -1
_LN_10 = math.log(10.0)
_NEGATIVE_ZERO = np.int32(-(1 << 31))  # as a back-off: nothing goes on from here
_KEY_CELLS = 2


@compiled
def combine(key, word):
    """Return the key of an n-gram from that of its last words and the word before them (CombineWordHash)."""
    # The two factors are KenLM's; arithmetic is modulo 2**64.
    before = np.uint64(word) + np.uint64(1)
    return (key * np.uint64(8978948897894561157)) ^ (before * np.uint64(17894857484156487943))


@compiled
def find_bucket(cells, table, key):
    """Return which bucket of a table has `key`, or NOT_FOUND: linear probing, key 0 is an empty bucket."""
    buckets = table[NUM_BUCKETS]
    low = np.int32(key & np.uint64(0xFFFFFFFF))
    high = np.int32(key >> np.uint64(32))
    bucket = np.int64(key % np.uint64(buckets))
    for _ in range(buckets):  # a damaged file may have no empty bucket
        cell = table[FIRST_CELL] + bucket * table[BUCKET_CELLS]
        if cells[cell] == low and cells[cell + 1] == high:
            return bucket
        if cells[cell] == 0 and cells[cell + 1] == 0:
            return np.int64(NOT_FOUND)
        bucket += 1
        if bucket == buckets:
            bucket = np.int64(0)
    return np.int64(NOT_FOUND)


@compiled
def history_length(tables, state):
    """Return how many words a state's history has."""
    for row in range(tables.shape[0] - 2, -1, -1):
        if state >= tables[row, FIRST_STATE]:
            return row + 1
    return 0


@compiled
def history_word(bias, length, state, age):
    """Return a word of a state's history of `length` words; age 0 is the newest."""
    table = bias.tables[length - 1]
    bucket = state - table[FIRST_STATE]
    return bucket if length == 1 else np.int64(bias.histories[table[FIRST_HISTORY] + bucket * length + age])


@compiled
def _remember(bias, length, state, word, following):
    """Write the history of state `following`: `word` after the newest words of `state`, which has `length`."""
    new_length = history_length(bias.tables, following)
    table = bias.tables[new_length - 1]
    at = table[FIRST_HISTORY] + (following - table[FIRST_STATE]) * new_length
    bias.histories[at] = word
    for age in range(new_length - 1):
        bias.histories[at + 1 + age] = history_word(bias, length, state, age)


@compiled
def _backoffs(bias, length, state, found):
    """Return the sum of the back-offs of the state's newest `found` to `length` words."""
    total = 0.0
    key = np.uint64(0)
    for count in range(1, length + 1):
        word = history_word(bias, length, state, count - 1)
        cell = bias.tables[0, FIRST_CELL] + 2 * word
        key = np.uint64(word) if count == 1 else combine(key, word)
        if count < found:
            continue
        if count > 1:
            table = bias.tables[count - 1]
            bucket = find_bucket(bias.cells, table, key)
            if bucket == NOT_FOUND:
                break
            cell = table[FIRST_CELL] + bucket * table[BUCKET_CELLS] + _KEY_CELLS
        total += bias.floats[cell + 1]
    return total


@compiled
def score_hashed(bias, state, word):
    """Return (natural log-probability, next state) of a word after a state's history."""
    tables = bias.tables
    length = history_length(tables, state)
    cell = tables[0, FIRST_CELL] + 2 * word
    log_prob = -abs(np.float64(bias.floats[cell]))
    following = np.int64(0)
    if bias.cells[cell + 1] != _NEGATIVE_ZERO:
        following = tables[0, FIRST_STATE] + word
    key = np.uint64(word)
    found = 1
    while found <= length:
        if bias.cells[cell] < 0:  # a probability with its sign: no longer n-gram ends so
            break
        table = tables[found]
        key = combine(key, history_word(bias, length, state, found - 1))
        bucket = find_bucket(bias.cells, table, key)
        if bucket == NOT_FOUND:
            break
        cell = table[FIRST_CELL] + bucket * table[BUCKET_CELLS] + _KEY_CELLS
        log_prob = -abs(np.float64(bias.floats[cell]))
        found += 1
        if found < tables.shape[0] and bias.cells[cell + 1] != _NEGATIVE_ZERO:
            following = table[FIRST_STATE] + bucket
    if following >= tables[0, FIRST_STATE] + tables[0, NUM_BUCKETS]:
        _remember(bias, length, state, word, following)
    return _LN_10 * (log_prob + _backoffs(bias, length, state, found)), np.int32(following)
