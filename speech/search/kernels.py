"""Compiled entry points: a batch's step, clearing a slot, reading hypotheses. Everything below them is inlined here.

Only these are compiled ahead (explicit signatures) and kept in numba's on-disk cache. Numba decides whether a cached
kernel is stale by this file alone, so the entry points close over a checksum of all kernel files, which is part of
the cache key: an edit in beam.py recompiles too.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from speech.search.beam import beam_frame, best_path, give_up
from speech.search.greedy import greedy_frame
from speech.search.layout import (
    BEAM_SIZE,
    BEST_BLANK,
    BEST_TOKEN,
    BLANK_PENALTY,
    FRAME,
    FRAMES,
    IN_BLANK_RUN,
    LAST_ID,
    LAST_TOKEN,
    LENGTH,
    LOG_BLANK_SKIP,
    LOG_FLOOR,
    NONE,
    NUM_FREE,
    NUM_HYPS,
    PARENT,
    PATH_BLANK,
    PATH_TOKEN,
    PREFIX,
    SILENCE_PROB,
    SUM_BLANK,
    SUM_TOKEN,
    TOKEN,
    TOTAL,
    TRAILING_BLANKS,
)
from speech.search.pool import compiled, take_prefix

LOG_SILENCE = np.log(SILENCE_PROB)

_STATE = "float64[:,::1], int32[:,::1], float64[:,:,::1], int32[:,:,::1], int32[:,::1], float32[::1], int32[::1]"
STEP = f"boolean({_STATE}, int32[::1], float32[:,:,::1], int32[:,:,::1], int32[::1], int32[::1], int32)"
CLEAR = "void(int32[::1], float64[:,::1], int32[:,::1], int32[:,::1], int32[::1], boolean)"
READ = (
    "void(int32[:,::1], float64[:,:,::1], int32[:,:,::1], int32[:,::1], float32[::1], int32[::1], int64,"
    " int32[::1], int32[::1], float32[::1])"
)


def _checksum() -> int:
    """Return a number that changes with any kernel file; 0 where sources are not plain files."""
    names = ("layout.py", "pool.py", "greedy.py", "beam.py")
    folder = Path(__file__).parent
    try:
        return zlib.crc32(b"".join((folder / name).read_bytes() for name in names)) & 0x7FFFFFFF
    except OSError:
        return 0


def _compile_entry(signature: str, kernel: Callable[..., Any]) -> Any:
    """Compile now, from the cache where there is one; without a writable cache folder, compile in memory only."""
    try:
        return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(kernel)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(signature, nogil=True, error_model="numpy")(kernel)


@compiled
def blank_log_prob(log_probs, ids, blank_id):  # type: ignore[no-untyped-def]
    """Return blank's log-prob, LOG_FLOOR where it is unlisted, impossible or not a number."""
    for k in range(log_probs.shape[0]):
        if ids[k] == blank_id:
            return np.float64(log_probs[k]) if log_probs[k] > LOG_FLOOR else LOG_FLOOR
    return LOG_FLOOR


@compiled
def count_frame(settings, numbers, blank, blank_is_best):  # type: ignore[no-untyped-def]
    """Keep the counters of one frame; return whether the search may skip it."""
    numbers[FRAMES] += 1
    numbers[TRAILING_BLANKS] = numbers[TRAILING_BLANKS] + 1 if blank > LOG_SILENCE else 0
    was_in_run = numbers[IN_BLANK_RUN]
    numbers[IN_BLANK_RUN] = 1 if blank_is_best and blank >= settings[LOG_BLANK_SKIP] else 0
    return was_in_run == 1 and numbers[IN_BLANK_RUN] == 1


def _build(stamp: int) -> tuple[Any, Any, Any]:
    def step(  # type: ignore[no-untyped-def]
        settings, numbers, scores, links, nodes, node_log_probs, pool, slots, log_probs, ids, num_frames, done, blank_id
    ):
        if stamp < 0:
            return False
        for b in range(slots.shape[0]):
            s = slots[b]
            beam = numbers[s, BEAM_SIZE]
            while done[b] < num_frames[b]:
                if pool[NUM_FREE] < 2 * beam + 2:
                    return False
                frame_log_probs = log_probs[b, done[b]]
                frame_ids = ids[b, done[b]]
                done[b] += 1
                frame = numbers[s, FRAMES]
                blank = blank_log_prob(frame_log_probs, frame_ids, blank_id)
                if count_frame(settings[s], numbers[s], blank, frame_ids[0] == blank_id):
                    continue
                if beam == 0:
                    greedy_frame(
                        settings[s], numbers[s], scores[s], links[s], nodes, node_log_probs, pool,
                        frame_log_probs, frame_ids, frame, blank_id,
                    )  # fmt: skip
                else:
                    beam_frame(
                        settings[s], numbers[s], scores[s], links[s], nodes, node_log_probs, pool,
                        frame_log_probs, frame_ids, blank - settings[s, BLANK_PENALTY], frame, blank_id,
                    )  # fmt: skip
        return True

    def clear(numbers, scores, links, nodes, pool, make_root):  # type: ignore[no-untyped-def]
        if stamp < 0:
            return
        give_up(links, nodes, pool, numbers[NUM_HYPS])
        numbers[FRAMES] = 0
        numbers[TRAILING_BLANKS] = 0
        numbers[IN_BLANK_RUN] = 0
        numbers[LAST_ID] = NONE
        numbers[NUM_HYPS] = 0
        if make_root:
            numbers[NUM_HYPS] = 1
            scores[TOTAL, 0] = 0.0
            scores[SUM_BLANK, 0] = 0.0
            scores[BEST_BLANK, 0] = 0.0 if numbers[BEAM_SIZE] > 0 else -np.inf
            scores[SUM_TOKEN, 0] = -np.inf
            scores[BEST_TOKEN, 0] = -np.inf if numbers[BEAM_SIZE] > 0 else 0.0
            links[PREFIX, 0] = take_prefix(nodes, pool, NONE, NONE)
            links[LAST_TOKEN, 0] = NONE
            links[LENGTH, 0] = 0
            links[PATH_BLANK, 0] = NONE
            links[PATH_TOKEN, 0] = NONE

    def read(numbers, scores, links, nodes, node_log_probs, slots, limit, tokens, times, confidences):  # type: ignore[no-untyped-def]
        if stamp < 0:
            return
        end = 0
        for b in range(slots.shape[0]):
            s = slots[b]
            for i in range(min(numbers[s, NUM_HYPS], limit)):
                end += links[s, LENGTH, i]
                at = end
                node = best_path(scores[s], links[s], i)[1]
                while node != NONE:
                    at -= 1
                    tokens[at] = nodes[node, TOKEN]
                    times[at] = nodes[node, FRAME]
                    confidences[at] = min(np.exp(node_log_probs[node]), np.float32(1.0))
                    node = nodes[node, PARENT]

    return _compile_entry(STEP, step), _compile_entry(CLEAR, clear), _compile_entry(READ, read)


step, clear, read = _build(_checksum())
