"""Compiled: CTC prefix beam search of one frame; asr.md 7.2 (sums) and 7.3 (best paths, hence times).

One frame: read candidates -> carry every hypothesis on (blank, repeat) -> merge extensions that equal a living
prefix -> rank -> build the survivors and give up the old ones.
"""

import numpy as np

from speech.search.layout import (
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
    REFS,
    SUM_BLANK,
    SUM_TOKEN,
    TOP_K,
    TOTAL,
)
from speech.search.layout import BEAM_SIZE as BEAM
from speech.search.pool import compiled, release, take_path, take_prefix

# What to do with the path node in PATH_TOKEN when a carried hypothesis survives.
KEEP = 0
MOVE = 1  # the last token peaks higher in this frame
EXTEND = 2  # the path now comes from the parent prefix


@compiled
def log_add(a, b):  # type: ignore[no-untyped-def]
    """Return log(exp(a) + exp(b)); beyond 40 apart the smaller is lost in float64 anyway."""
    high, low = (a, b) if a > b else (b, a)
    if high - low > 40.0 or low == -np.inf:
        return high
    return high + np.log1p(np.exp(low - high))


@compiled
def read_candidates(settings, numbers, log_probs, ids, blank_id, cand_ids, cand_log_probs):  # type: ignore[no-untyped-def]
    """Fill the frame's usable candidates, blank left out; return their number."""
    num = 0
    mass = 0.0
    for k in range(min(numbers[TOP_K], log_probs.shape[0])):
        log_prob = np.float64(log_probs[k])
        if not log_prob > LOG_FLOOR or mass > settings[CUTOFF_PROB]:  # also NaN
            break
        mass += np.exp(log_prob) if settings[CUTOFF_PROB] <= 1.0 else 0.0
        if ids[k] != blank_id:
            cand_ids[num] = ids[k]
            cand_log_probs[num] = log_prob
            num += 1
    return num


@compiled
def best_path(scores, links, i):  # type: ignore[no-untyped-def]
    """Return (score, path node) of hypothesis i's best path."""
    if scores[BEST_BLANK, i] >= scores[BEST_TOKEN, i]:
        return scores[BEST_BLANK, i], links[PATH_BLANK, i]
    return scores[BEST_TOKEN, i], links[PATH_TOKEN, i]


@compiled
def extension(scores, links, i, token, log_prob):  # type: ignore[no-untyped-def]
    """Return (sum, best, path node) of hypothesis i + token: after a blank only, where the token repeats."""
    if token == links[LAST_TOKEN, i]:
        return scores[SUM_BLANK, i] + log_prob, scores[BEST_BLANK, i] + log_prob, links[PATH_BLANK, i]
    best, path = best_path(scores, links, i)
    return scores[TOTAL, i] + log_prob, best + log_prob, path


@compiled
def find(values, num, wanted):  # type: ignore[no-untyped-def]
    """Return the index of `wanted` in values[:num], or -1."""
    for i in range(num):
        if values[i] == wanted:
            return i
    return -1


@compiled
def carry(numbers, scores, links, node_log_probs, blank, cand_ids, cand_log_probs, num_cand, carried, paths, kinds):  # type: ignore[no-untyped-def]
    """Score every hypothesis with this frame as blank or as a repeat of its last token."""
    for i in range(numbers[NUM_HYPS]):
        best, paths[PATH_BLANK, i] = best_path(scores, links, i)
        carried[SUM_BLANK, i] = scores[TOTAL, i] + blank
        carried[BEST_BLANK, i] = best + blank
        carried[SUM_TOKEN, i] = -np.inf
        carried[BEST_TOKEN, i] = -np.inf
        paths[PATH_TOKEN, i] = NONE
        kinds[i] = KEEP
        k = find(cand_ids, num_cand, links[LAST_TOKEN, i])
        if k >= 0 and scores[SUM_TOKEN, i] > -np.inf:
            tip = links[PATH_TOKEN, i]
            carried[SUM_TOKEN, i] = scores[SUM_TOKEN, i] + cand_log_probs[k]
            carried[BEST_TOKEN, i] = scores[BEST_TOKEN, i] + cand_log_probs[k]
            paths[PATH_TOKEN, i] = tip
            kinds[i] = MOVE if cand_log_probs[k] > node_log_probs[tip] else KEEP


@compiled
def merge(numbers, scores, links, nodes, cand_ids, cand_log_probs, num_cand, carried, paths, kinds, merged):  # type: ignore[no-untyped-def]
    """Add extensions that equal a living prefix to it; mark them in merged[parent, candidate]."""
    num = numbers[NUM_HYPS]
    merged[:num, :num_cand] = False
    for j in range(num):
        parent = nodes[links[PREFIX, j], PARENT]
        i = find(links[PREFIX], num, parent) if parent != NONE else -1
        k = find(cand_ids, num_cand, links[LAST_TOKEN, j]) if i >= 0 else -1
        if k >= 0:
            merged[i, k] = True
            total, best, path = extension(scores, links, i, cand_ids[k], cand_log_probs[k])
            carried[SUM_TOKEN, j] = log_add(carried[SUM_TOKEN, j], total)
            if best > carried[BEST_TOKEN, j]:
                carried[BEST_TOKEN, j] = best
                paths[PATH_TOKEN, j] = path
                kinds[j] = EXTEND
        carried[TOTAL, j] = log_add(carried[SUM_BLANK, j], carried[SUM_TOKEN, j])


@compiled
def insert(rank_scores, rank_ids, rank_from, num, limit, score, token, source, candidate):  # type: ignore[no-untyped-def]
    """Insert into the ranking (score down, then id up, then order of arrival); return its new length."""
    at = num
    while at > 0 and (
        score > rank_scores[at - 1] or (score == rank_scores[at - 1] and token < rank_ids[at - 1])
    ):
        at -= 1
    if at >= limit:
        return num
    num = min(num + 1, limit)
    for r in range(num - 1, at, -1):
        rank_scores[r] = rank_scores[r - 1]
        rank_ids[r] = rank_ids[r - 1]
        rank_from[r, 0] = rank_from[r - 1, 0]
        rank_from[r, 1] = rank_from[r - 1, 1]
    rank_scores[at] = score
    rank_ids[at] = token
    rank_from[at, 0] = source
    rank_from[at, 1] = candidate
    return num


@compiled
def rank(numbers, scores, links, cand_ids, cand_log_probs, num_cand, carried, merged, rank_scores, rank_ids, rank_from):  # type: ignore[no-untyped-def]
    """Rank carried and new hypotheses; return how many survive."""
    limit = numbers[BEAM]
    num = 0
    for i in range(numbers[NUM_HYPS]):
        num = insert(
            rank_scores, rank_ids, rank_from, num, limit, carried[TOTAL, i], links[LAST_TOKEN, i], i, NONE
        )
    for i in range(numbers[NUM_HYPS]):
        for k in range(num_cand):
            if num == limit and scores[TOTAL, i] + cand_log_probs[k] < rank_scores[num - 1]:
                break  # candidates only get worse
            if merged[i, k]:
                continue
            token = cand_ids[k]
            base = scores[SUM_BLANK, i] if token == links[LAST_TOKEN, i] else scores[TOTAL, i]
            if base > -np.inf:
                num = insert(
                    rank_scores, rank_ids, rank_from, num, limit, base + cand_log_probs[k], token, i, k
                )
    while num > 1 and rank_scores[num - 1] < rank_scores[0] - LOG_HOPELESS:
        num -= 1
    return num


@compiled
def retain(nodes, node):  # type: ignore[no-untyped-def]
    """Add a reference."""
    if node != NONE:
        nodes[node, REFS] += 1
    return node


@compiled
def build(links, nodes, node_log_probs, pool, frame, i, k, cand_ids, cand_log_probs, scores, carried, paths, kinds, r, new_scores, new_links):  # type: ignore[no-untyped-def]  # noqa: E501
    """Write survivor r: hypothesis i carried on (k = -1), or extended by candidate k."""
    if k == NONE:
        new_scores[:, r] = carried[:, i]
        new_links[PREFIX, r] = retain(nodes, links[PREFIX, i])
        new_links[LAST_TOKEN, r] = links[LAST_TOKEN, i]
        new_links[LENGTH, r] = links[LENGTH, i]
        new_links[PATH_BLANK, r] = retain(nodes, paths[PATH_BLANK, i])
        path = paths[PATH_TOKEN, i]
        if kinds[i] == KEEP:
            new_links[PATH_TOKEN, r] = retain(nodes, path)
            return
        token = links[LAST_TOKEN, i]
        parent = nodes[path, PARENT] if kinds[i] == MOVE else path
        log_prob = cand_log_probs[find(cand_ids, cand_ids.shape[0], token)]
    else:
        token = cand_ids[k]
        log_prob = cand_log_probs[k]
        total, best, parent = extension(scores, links, i, token, log_prob)
        new_scores[TOTAL, r] = total
        new_scores[SUM_TOKEN, r] = total
        new_scores[BEST_TOKEN, r] = best
        new_scores[SUM_BLANK, r] = -np.inf
        new_scores[BEST_BLANK, r] = -np.inf
        new_links[PREFIX, r] = take_prefix(nodes, pool, links[PREFIX, i], token)
        new_links[LAST_TOKEN, r] = token
        new_links[LENGTH, r] = links[LENGTH, i] + 1
        new_links[PATH_BLANK, r] = NONE
    new_links[PATH_TOKEN, r] = take_path(nodes, node_log_probs, pool, parent, token, frame, log_prob)


@compiled
def give_up(links, nodes, pool, num):  # type: ignore[no-untyped-def]
    """Give up the references of links[:, :num]."""
    for i in range(num):
        release(nodes, pool, links[PREFIX, i], True)
        release(nodes, pool, links[PATH_BLANK, i], False)
        release(nodes, pool, links[PATH_TOKEN, i], False)


@compiled
def beam_frame(settings, numbers, scores, links, nodes, node_log_probs, pool, log_probs, ids, blank, frame, blank_id):  # type: ignore[no-untyped-def]
    """Add one frame; takes at most two nodes per hypothesis of the beam. `blank`: its log-prob, penalty taken off."""
    width = scores.shape[1]
    num_ids = ids.shape[0]
    cand_ids = np.empty(num_ids, np.int32)
    cand_log_probs = np.empty(num_ids, np.float64)
    carried = np.empty((NUM_SCORES, width), np.float64)
    paths = np.empty((NUM_LINKS, width), np.int32)
    kinds = np.empty(width, np.int32)
    merged = np.empty((width, num_ids), np.bool_)
    rank_scores = np.empty(width, np.float64)
    rank_ids = np.empty(width, np.int32)
    rank_from = np.empty((width, 2), np.int32)
    new_scores = np.empty((NUM_SCORES, width), np.float64)
    new_links = np.empty((NUM_LINKS, width), np.int32)

    num_cand = read_candidates(settings, numbers, log_probs, ids, blank_id, cand_ids, cand_log_probs)
    carry(numbers, scores, links, node_log_probs, blank, cand_ids, cand_log_probs, num_cand, carried, paths, kinds)
    merge(numbers, scores, links, nodes, cand_ids, cand_log_probs, num_cand, carried, paths, kinds, merged)
    num = rank(
        numbers, scores, links, cand_ids, cand_log_probs, num_cand, carried, merged, rank_scores, rank_ids, rank_from
    )
    for r in range(num):
        i, k = rank_from[r, 0], rank_from[r, 1]
        build(links, nodes, node_log_probs, pool, frame, i, k, cand_ids, cand_log_probs, scores, carried, paths, kinds, r, new_scores, new_links)  # noqa: E501
    give_up(links, nodes, pool, numbers[NUM_HYPS])
    scores[:, :num] = new_scores[:, :num]
    links[:, :num] = new_links[:, :num]
    numbers[NUM_HYPS] = num
