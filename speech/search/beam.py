"""Compiled: CTC prefix beam search of one frame; asr.md 7.2 (sums) and 7.3 (best paths, hence times).

One frame: read candidates -> carry every hypothesis on (blank, repeat) -> merge extensions that equal a living
prefix -> rank -> build the survivors and give up the old ones.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from speech.biasing.steps import is_biased
from speech.search.hypotheses import (
    Candidates,
    Hypotheses,
    best_path,
    extended_path,
    extended_sum,
    find,
    give_up,
    log_add,
)
from speech.search.layout import (
    ALL_LINKS,
    ALL_SCORES,
    BEAM_SIZE,
    BEST_BLANK,
    BEST_TOKEN,
    CUTOFF_PROB,
    LAST_TOKEN,
    LENGTH,
    LOG_FLOOR,
    NONE,
    NUM_HYPS,
    NUM_LINKS,
    NUM_SCORES,
    PARENT,
    PATH_BLANK,
    PATH_TOKEN,
    PREFIX,
    SUM_BLANK,
    SUM_TOKEN,
    TOP_K,
    TOTAL,
)
from speech.search.pool import compiled, retain, take_path, take_prefix
from speech.search.ranking import (
    Carried,
    Ranking,
    build_bias,
    drop_hopeless,
    make_extensions,
    rank,
    rank_biased,
)

# What becomes of the node in PATH_TOKEN when a carried hypothesis survives.
KEEP = 0
MOVE = 1  # the last token peaks higher in this frame
EXTEND = 2  # the best path now comes from the parent prefix


@compiled
def read_candidates(settings, numbers, log_probs, ids, blank_id):
    """Return the frame's candidates: up to top_k, down to the floor, while the better ones' mass allows."""
    found_ids = np.empty(ids.shape[0], np.int32)
    found_log_probs = np.empty(ids.shape[0], np.float64)
    num = 0
    mass = 0.0
    for k in range(min(numbers[TOP_K], ids.shape[0])):
        log_prob = np.float64(log_probs[k])
        if not log_prob > LOG_FLOOR or mass > settings[CUTOFF_PROB]:  # also NaN
            break
        if settings[CUTOFF_PROB] <= 1.0:
            mass += np.exp(log_prob)
        if ids[k] != blank_id:
            found_ids[num] = ids[k]
            found_log_probs[num] = log_prob
            num += 1
    return Candidates(found_ids, found_log_probs, num)


@compiled
def carry(pool, hyps, num_hyps, cands, blank, carried):
    """Score every hypothesis with this frame as blank or as a repeat of its last token."""
    scores, links = carried.scores, carried.links
    for i in range(num_hyps):
        best, links[PATH_BLANK, i] = best_path(hyps, i)
        scores[SUM_BLANK, i] = hyps.scores[TOTAL, i] + blank
        scores[BEST_BLANK, i] = best + blank
        scores[SUM_TOKEN, i] = -np.inf
        scores[BEST_TOKEN, i] = -np.inf
        links[PATH_TOKEN, i] = NONE
        carried.fates[i] = KEEP
        k = find(cands.ids, cands.num, hyps.links[LAST_TOKEN, i])
        if k >= 0 and hyps.scores[SUM_TOKEN, i] > -np.inf:
            tip = hyps.links[PATH_TOKEN, i]
            scores[SUM_TOKEN, i] = hyps.scores[SUM_TOKEN, i] + cands.log_probs[k]
            scores[BEST_TOKEN, i] = hyps.scores[BEST_TOKEN, i] + cands.log_probs[k]
            links[PATH_TOKEN, i] = tip
            if cands.log_probs[k] > pool.log_probs[tip]:
                carried.fates[i] = MOVE


@compiled
def merge(pool, hyps, num_hyps, cands, carried):
    """Add extensions that equal a living prefix to it, and mark them; then sum up each carried hypothesis."""
    scores = carried.scores
    for i in range(num_hyps):
        for k in range(cands.num):
            carried.merged[i, k] = False
    for j in range(num_hyps):
        parent = pool.nodes[hyps.links[PREFIX, j], PARENT]
        i = find(hyps.links[PREFIX], num_hyps, parent) if parent != NONE else -1
        k = find(cands.ids, cands.num, hyps.links[LAST_TOKEN, j]) if i >= 0 else -1
        if k >= 0:
            carried.merged[i, k] = True
            total = extended_sum(hyps, i, cands.ids[k]) + cands.log_probs[k]
            scores[SUM_TOKEN, j] = log_add(scores[SUM_TOKEN, j], total)
            best, path = extended_path(hyps, i, cands.ids[k])
            if best + cands.log_probs[k] > scores[BEST_TOKEN, j]:
                scores[BEST_TOKEN, j] = best + cands.log_probs[k]
                carried.links[PATH_TOKEN, j] = path
                carried.fates[j] = EXTEND
        scores[TOTAL, j] = log_add(scores[SUM_BLANK, j], scores[SUM_TOKEN, j])


@compiled
def build_carried(pool, hyps, cands, carried, i, frame, new, r):
    """Write survivor r: hypothesis i carried on."""
    token = hyps.links[LAST_TOKEN, i]
    for row in range(NUM_SCORES):
        new.scores[row, r] = carried.scores[row, i]
    new.links[PREFIX, r] = retain(pool, hyps.links[PREFIX, i])
    new.links[LAST_TOKEN, r] = token
    new.links[LENGTH, r] = hyps.links[LENGTH, i]
    new.links[PATH_BLANK, r] = retain(pool, carried.links[PATH_BLANK, i])
    path = carried.links[PATH_TOKEN, i]
    if carried.fates[i] == KEEP:
        new.links[PATH_TOKEN, r] = retain(pool, path)
        return
    parent = pool.nodes[path, PARENT] if carried.fates[i] == MOVE else path
    log_prob = cands.log_probs[find(cands.ids, cands.num, token)]
    new.links[PATH_TOKEN, r] = take_path(pool, parent, token, frame, log_prob)


@compiled
def build_extended(pool, hyps, cands, i, k, frame, new, r):
    """Write survivor r: hypothesis i extended by candidate k."""
    token, log_prob = cands.ids[k], cands.log_probs[k]
    best, parent = extended_path(hyps, i, token)
    new.scores[TOTAL, r] = extended_sum(hyps, i, token) + log_prob
    new.scores[SUM_TOKEN, r] = new.scores[TOTAL, r]
    new.scores[BEST_TOKEN, r] = best + log_prob
    new.scores[SUM_BLANK, r] = -np.inf
    new.scores[BEST_BLANK, r] = -np.inf
    new.links[PREFIX, r] = take_prefix(pool, hyps.links[PREFIX, i], token)
    new.links[LAST_TOKEN, r] = token
    new.links[LENGTH, r] = hyps.links[LENGTH, i] + 1
    new.links[PATH_BLANK, r] = NONE
    new.links[PATH_TOKEN, r] = take_path(pool, parent, token, frame, log_prob)


@compiled
def make_scratch(width, num_ids):
    """Return what a frame works in, reused from frame to frame: carried beam, ranking, new beam, biased extensions."""
    carried = Carried(
        np.empty((NUM_SCORES, width), np.float64),
        np.empty((NUM_LINKS, width), np.int32),
        np.empty(width, np.int32),
        np.empty((width, num_ids), np.bool_),
    )
    ranking = Ranking(np.empty(width, np.float64), np.empty(width, np.int32), np.empty((width, 2), np.int32))
    new = Hypotheses(np.empty((ALL_SCORES, width), np.float64), np.empty((ALL_LINKS, width), np.int32))
    return carried, ranking, new, make_extensions(width, num_ids)


@compiled
def beam_frame(pool, hyps, numbers, cands, blank, frame, handle, scratch):
    """Add one frame; takes at most two nodes per hypothesis of the beam. `blank`: its log-prob, penalty taken off."""
    carried, ranking, new, extensions = scratch
    num_hyps = numbers[NUM_HYPS]
    has_bias = is_biased(handle)
    carry(pool, hyps, num_hyps, cands, blank, carried)
    merge(pool, hyps, num_hyps, cands, carried)
    if has_bias:
        num = rank_biased(handle, hyps, num_hyps, numbers[BEAM_SIZE], cands, carried, ranking, extensions)
    else:
        num = rank(hyps, num_hyps, numbers[BEAM_SIZE], cands, carried, ranking)
    num = drop_hopeless(ranking, num)
    for r in range(num):
        i, k = ranking.origins[r, 0], ranking.origins[r, 1]
        if k == NONE:
            build_carried(pool, hyps, cands, carried, i, frame, new, r)
        else:
            build_extended(pool, hyps, cands, i, k, frame, new, r)
        if has_bias:
            build_bias(hyps, extensions, i, k, new, r)
    give_up(pool, hyps.links, num_hyps)
    for r in range(num):
        # Loops instead of slices: the same speed, half the time to compile.
        for row in range(ALL_SCORES if has_bias else NUM_SCORES):
            hyps.scores[row, r] = new.scores[row, r]
        for row in range(ALL_LINKS if has_bias else NUM_LINKS):
            hyps.links[row, r] = new.links[row, r]
    numbers[NUM_HYPS] = num
