"""Compiled: CTC prefix beam search of one frame; asr.md 7.2 (sums) and 7.3 (best paths, hence times).

One frame: read candidates -> carry every hypothesis on (blank, repeat) -> merge extensions that equal a living
prefix -> rank -> build the survivors and give up the old ones.
"""
# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    BEAM_SIZE,
    BEST_BLANK,
    BEST_TOKEN,
    CUTOFF_PROB,
    LAST_TOKEN,
    LENGTH,
    LOG_FLOOR,
    LOG_HOPELESS,
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

# What becomes of the node in PATH_TOKEN when a carried hypothesis survives.
KEEP = 0
MOVE = 1  # the last token peaks higher in this frame
EXTEND = 2  # the best path now comes from the parent prefix


class Carried(NamedTuple):
    """The beam carried over one frame, before ranking: new scores, path nodes, and what to do with them (`fates`).

    `merged[i, k]`: hypothesis i extended by candidate k is a living prefix already.
    """

    scores: NDArray[np.float64]
    links: NDArray[np.int32]
    fates: NDArray[np.int32]
    merged: NDArray[np.bool_]


class Ranking(NamedTuple):
    """Survivors, best first: score, last token, and (hypothesis, candidate or NONE) they come from."""

    scores: NDArray[np.float64]
    tokens: NDArray[np.int32]
    origins: NDArray[np.int32]


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
def insert(ranking, num, limit, score, token, hypothesis, candidate):
    """Insert by score down, then token up, then order of arrival; return the ranking's new length."""
    at = num
    while at > 0 and (
        score > ranking.scores[at - 1] or (score == ranking.scores[at - 1] and token < ranking.tokens[at - 1])
    ):
        at -= 1
    if at >= limit:
        return num
    num = min(num + 1, limit)
    for r in range(num - 1, at, -1):
        ranking.scores[r] = ranking.scores[r - 1]
        ranking.tokens[r] = ranking.tokens[r - 1]
        ranking.origins[r, 0] = ranking.origins[r - 1, 0]
        ranking.origins[r, 1] = ranking.origins[r - 1, 1]
    ranking.scores[at] = score
    ranking.tokens[at] = token
    ranking.origins[at, 0] = hypothesis
    ranking.origins[at, 1] = candidate
    return num


@compiled
def rank(hyps, num_hyps, limit, cands, carried, ranking):
    """Rank carried and extended hypotheses; return how many survive."""
    num = 0
    for i in range(num_hyps):
        num = insert(ranking, num, limit, carried.scores[TOTAL, i], hyps.links[LAST_TOKEN, i], i, NONE)
    for i in range(num_hyps):
        for k in range(cands.num):
            if num == limit and hyps.scores[TOTAL, i] + cands.log_probs[k] < ranking.scores[num - 1]:
                break  # candidates only get worse
            score = extended_sum(hyps, i, cands.ids[k]) + cands.log_probs[k]
            if score > -np.inf and not carried.merged[i, k]:
                num = insert(ranking, num, limit, score, cands.ids[k], i, k)
    while num > 1 and ranking.scores[num - 1] < ranking.scores[0] - LOG_HOPELESS:
        num -= 1
    return num


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
    """Return what a frame works in, reused from frame to frame: the carried beam, the ranking, the new beam."""
    carried = Carried(
        np.empty((NUM_SCORES, width), np.float64),
        np.empty((NUM_LINKS, width), np.int32),
        np.empty(width, np.int32),
        np.empty((width, num_ids), np.bool_),
    )
    ranking = Ranking(np.empty(width, np.float64), np.empty(width, np.int32), np.empty((width, 2), np.int32))
    new = Hypotheses(np.empty((NUM_SCORES, width), np.float64), np.empty((NUM_LINKS, width), np.int32))
    return carried, ranking, new


@compiled
def beam_frame(pool, hyps, numbers, cands, blank, frame, scratch):
    """Add one frame; takes at most two nodes per hypothesis of the beam. `blank`: its log-prob, penalty taken off."""
    carried, ranking, new = scratch
    num_hyps = numbers[NUM_HYPS]
    carry(pool, hyps, num_hyps, cands, blank, carried)
    merge(pool, hyps, num_hyps, cands, carried)
    num = rank(hyps, num_hyps, numbers[BEAM_SIZE], cands, carried, ranking)
    for r in range(num):
        i, k = ranking.origins[r, 0], ranking.origins[r, 1]
        if k == NONE:
            build_carried(pool, hyps, cands, carried, i, frame, new, r)
        else:
            build_extended(pool, hyps, cands, i, k, frame, new, r)
    give_up(pool, hyps.links, num_hyps)
    for r in range(num):
        # Loops instead of slices: the same speed, half the time to compile.
        for row in range(NUM_SCORES):
            hyps.scores[row, r] = new.scores[row, r]
        for row in range(NUM_LINKS):
            hyps.links[row, r] = new.links[row, r]
    numbers[NUM_HYPS] = num
