"""Compiled entry points: a batch's step, clearing a slot, reading hypotheses. All other kernels are inlined in these.

Only these are compiled ahead (explicit signatures) and kept in numba's on-disk cache. Numba decides whether a cached
kernel is stale by this file alone, so the entry points close over a checksum of the other kernel files, which makes
it part of the cache key: an edit in beam.py recompiles too.
"""
# mypy: disable-error-code="no-untyped-def"

from pathlib import Path
from typing import Any

import numpy as np

from speech.compiling import checksum, compile_ahead
from speech.search.beam import beam_frame, make_scratch, read_candidates
from speech.search.greedy import greedy_frame
from speech.search.hypotheses import Hypotheses, best_path, give_up
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
from speech.search.pool import Pool, compiled, take_prefix

LOG_SILENCE = np.log(SILENCE_PROB)

_HYPS = "float64[:,:,::1], int32[:,:,::1]"
_POOL = "int32[:,::1], float32[::1], int32[::1]"
_STATE = f"float64[:,::1], int32[:,::1], {_HYPS}, {_POOL}"
STEP = f"boolean({_STATE}, int64[:,::1], int32[::1], float32[:,:,::1], int32[:,:,::1], int32[::1], int32[::1], int32)"
CLEAR = f"void({_STATE}, int64, boolean)"
READ = f"void({_STATE}, int32[::1], int64, int32[::1], int32[::1], float32[::1])"


@compiled
def blank_log_prob(log_probs, ids, blank_id):
    """Return blank's log-prob, LOG_FLOOR where it is unlisted, impossible or not a number."""
    for k in range(log_probs.shape[0]):
        if ids[k] == blank_id:
            return np.float64(log_probs[k]) if log_probs[k] > LOG_FLOOR else LOG_FLOOR
    return LOG_FLOOR


@compiled
def count_frame(settings, numbers, blank, is_blank_best):
    """Count one frame; return whether the search may skip it."""
    numbers[FRAMES] += 1
    numbers[TRAILING_BLANKS] = numbers[TRAILING_BLANKS] + 1 if blank > LOG_SILENCE else 0
    was_in_run = numbers[IN_BLANK_RUN]
    numbers[IN_BLANK_RUN] = 1 if is_blank_best and blank >= settings[LOG_BLANK_SKIP] else 0
    return was_in_run == 1 and numbers[IN_BLANK_RUN] == 1


@compiled
def search_frame(settings, numbers, hyps, pool, log_probs, ids, blank_id, handle, scratch):
    """Search one frame of one slot."""
    frame = numbers[FRAMES]
    blank = blank_log_prob(log_probs, ids, blank_id)
    if count_frame(settings, numbers, blank, ids[0] == blank_id):
        return
    penalty = settings[BLANK_PENALTY]
    if numbers[BEAM_SIZE] == 0:
        greedy_frame(pool, hyps, numbers, log_probs, ids, frame, blank_id, penalty)
    else:
        cands = read_candidates(settings, numbers, log_probs, ids, blank_id)
        beam_frame(pool, hyps, numbers, cands, blank - penalty, frame, handle, scratch)


@compiled
def plant(numbers, hyps, pool):
    """Begin with the empty hypothesis; a greedy path lies where it ends in a token, a beam's where it ends in blank."""
    is_greedy = numbers[BEAM_SIZE] == 0
    numbers[NUM_HYPS] = 1
    hyps.scores[TOTAL, 0] = 0.0
    hyps.scores[SUM_BLANK, 0] = 0.0
    hyps.scores[SUM_TOKEN, 0] = -np.inf
    hyps.scores[BEST_BLANK, 0] = -np.inf if is_greedy else 0.0
    hyps.scores[BEST_TOKEN, 0] = 0.0 if is_greedy else -np.inf
    hyps.links[PREFIX, 0] = take_prefix(pool, NONE, NONE)
    hyps.links[LAST_TOKEN, 0] = NONE
    hyps.links[LENGTH, 0] = 0
    hyps.links[PATH_BLANK, 0] = NONE
    hyps.links[PATH_TOKEN, 0] = NONE


def _build(stamp: int) -> tuple[Any, Any, Any]:
    """Compile the entry points, with `stamp` in their cache keys."""

    def step(
        settings, numbers, scores, links, nodes, log_probs, free,
        handles, slots, frame_log_probs, frame_ids, num_frames, done, blank_id,
    ):  # fmt: skip
        # done[b] counts frames searched so far: False means the pool ran low; grow it and call again.
        assert stamp >= 0
        pool = Pool(nodes, log_probs, free)
        scratch = make_scratch(scores.shape[2], frame_ids.shape[2])
        for b in range(slots.shape[0]):
            s = slots[b]
            hyps = Hypotheses(scores[s], links[s])
            while done[b] < num_frames[b]:
                if free[NUM_FREE] < 2 * numbers[s, BEAM_SIZE] + 2:
                    return False
                t = done[b]
                done[b] += 1
                search_frame(
                    settings[s], numbers[s], hyps, pool, frame_log_probs[b, t], frame_ids[b, t], blank_id, handles[s],
                    scratch,
                )  # fmt: skip
        return True

    def clear(settings, numbers, scores, links, nodes, log_probs, free, slot, is_open):
        assert stamp >= 0
        pool = Pool(nodes, log_probs, free)
        give_up(pool, links[slot], numbers[slot, NUM_HYPS])
        numbers[slot, NUM_HYPS] = 0
        numbers[slot, FRAMES] = 0
        numbers[slot, TRAILING_BLANKS] = 0
        numbers[slot, IN_BLANK_RUN] = 0
        numbers[slot, LAST_ID] = NONE
        if is_open:
            plant(numbers[slot], Hypotheses(scores[slot], links[slot]), pool)

    def read(settings, numbers, scores, links, nodes, log_probs, free, slots, limit, tokens, times, confidences):
        assert stamp >= 0
        end = 0
        for s in slots:
            for i in range(min(numbers[s, NUM_HYPS], limit)):
                end += links[s, LENGTH, i]
                at = end
                node = best_path(Hypotheses(scores[s], links[s]), i)[1]
                while node != NONE:
                    at -= 1
                    tokens[at] = nodes[node, TOKEN]
                    times[at] = nodes[node, FRAME]
                    confidences[at] = min(np.exp(log_probs[node]), np.float32(1.0))
                    node = nodes[node, PARENT]

    return compile_ahead(STEP, step), compile_ahead(CLEAR, clear), compile_ahead(READ, read)


_SOURCES = [f"{name}.py" for name in ("layout", "pool", "hypotheses", "greedy", "ranking", "beam")]
_SOURCES += [f"../biasing/{name}.py" for name in ("steps", "hashed_steps")]
step, clear, read = _build(checksum(Path(__file__).parent / name for name in _SOURCES))
