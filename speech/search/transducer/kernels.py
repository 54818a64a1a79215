"""Compiled entry points: listing rows, a step over logits, opening and restarting a slot, reading paths.

As in `speech.search.kernels`, only these are compiled ahead and cached, keyed by a checksum of the other kernel files.
"""
# mypy: disable-error-code="no-untyped-def"

from pathlib import Path
from typing import Any

import numpy as np

from speech.compiling import checksum, compile_ahead
from speech.search.hypotheses import log_add
from speech.search.pool import Pool, take_prefix
from speech.search.transducer.beam import beam_frame, make_ranking
from speech.search.transducer.contexts import collect_rows, is_same
from speech.search.transducer.fast import fast_frame
from speech.search.transducer.greedy import greedy_row
from speech.search.transducer.layout import (
    ACOUSTIC,
    FAST,
    FRAMES,
    GREEDY,
    LENGTH,
    METHOD,
    MODIFIED,
    NONE,
    NUM_HYPS,
    NUM_SCORES,
    PATH,
    PREFIX,
    SYMBOLS,
    TAKEN,
    TRAILING,
)
from speech.search.transducer.state import Hypotheses, copy_hypothesis, give_up_all, make_hypotheses

_STATE = (
    "float64[:,::1], int32[:,::1], float64[:,:,::1], int32[:,:,::1], int32[:,:,::1], int32[:,:,::1], "
    "int32[:,::1], float32[::1], int32[::1]"
)
COLLECT = (
    "UniTuple(int64, 2)(int32[:,::1], int32[:,:,::1], int32[::1], boolean[::1], int32[:,::1], int32[::1], int32[::1], "
    "int64[::1], int32[::1])"
)
ADVANCE = f"boolean({_STATE}, int32[::1], boolean[::1], float32[:,::1], int32)"
PLANT = f"void({_STATE}, int64, int32[::1], boolean)"
READ = "void(int32[:,::1], float32[::1], int32[::1], int32[::1], int32[::1], int32[::1], float32[::1])"


def _build(stamp: int) -> tuple[Any, Any, Any, Any]:
    """Compile the entry points, with `stamp` in their cache keys."""

    def collect(numbers, contexts, slots, pending, table, row_batch, row_hyp, row_place, missing):
        assert stamp >= 0
        return collect_rows(numbers, contexts, slots, pending, table, row_batch, row_hyp, row_place, missing)

    def advance(
        settings, numbers, scores, links, contexts, states, nodes, log_probs, free, slots, pending, logits, unk_id
    ):
        # `logits` has the rows that `collect` listed, in that order. Afterwards `pending` tells who asks once more on
        # the same frame; the others' frame is over. The caller has seen to it that enough nodes are free.
        assert stamp >= 0
        pool = Pool(nodes, log_probs, free)
        width = scores.shape[2]
        tokens, values = np.empty(width + 1, np.int32), np.empty(width + 1, np.float64)
        ranking, new = make_ranking(width * (width + 1)), make_hypotheses(width, contexts.shape[2], states.shape[2])
        again = False
        end = 0
        for b in range(slots.shape[0]):
            if not pending[b]:
                continue
            s = slots[b]
            hyps = Hypotheses(scores[s], links[s], contexts[s], states[s])
            start = end
            end += numbers[s, NUM_HYPS]
            rows, frame = logits[start:end], numbers[s, FRAMES]
            pending[b] = False
            if numbers[s, METHOD] == GREEDY:
                pending[b] = greedy_row(pool, hyps, settings[s], numbers[s], rows[0], unk_id, frame)
            elif numbers[s, METHOD] == FAST:
                fast_frame(pool, hyps, settings[s], numbers[s], rows, unk_id, frame, tokens, values, ranking, new)
            else:
                beam_frame(pool, hyps, settings[s], numbers[s], rows, unk_id, frame, tokens, values, ranking, new)
            if pending[b]:
                again = True
            else:
                numbers[s, FRAMES] += 1
        return again

    def plant(settings, numbers, scores, links, contexts, states, nodes, log_probs, free, slot, start, is_new):
        # Begin with the start context, or, unless `is_new`, with the contexts and relative scores of the segment
        # before; an empty `start` gives everything up. Takes at most one node per hypothesis.
        assert stamp >= 0
        pool = Pool(nodes, log_probs, free)
        hyps = Hypotheses(scores[slot], links[slot], contexts[slot], states[slot])
        num = numbers[slot, NUM_HYPS]
        give_up_all(pool, hyps, num)
        numbers[slot, FRAMES] = 0
        numbers[slot, SYMBOLS] = 0
        if is_new or num == 0:
            num = 1 if start.shape[0] > 0 else 0
            for c in range(start.shape[0]):
                hyps.contexts[0, c] = start[c]
            hyps.scores[ACOUSTIC, 0] = 0.0
        best = -np.inf
        for i in range(num):
            best = max(best, hyps.scores[ACOUSTIC, i])
        kept = 0
        for i in range(num):
            same = -1
            for r in range(kept):
                if is_same(hyps.contexts[r], hyps.contexts[i]):
                    same = r
            if same >= 0:
                hyps.scores[ACOUSTIC, same] = log_add(hyps.scores[ACOUSTIC, same], hyps.scores[ACOUSTIC, i] - best)
                continue
            copy_hypothesis(hyps, i, hyps, kept)
            hyps.scores[ACOUSTIC, kept] -= best
            for row in range(1, NUM_SCORES):
                hyps.scores[row, kept] = 0.0
            is_beam = numbers[slot, METHOD] == MODIFIED
            hyps.links[PREFIX, kept] = take_prefix(pool, NONE, NONE) if is_beam else NONE
            hyps.links[PATH, kept] = NONE
            hyps.links[LENGTH, kept] = 0
            hyps.links[TRAILING, kept] = 0
            hyps.links[TAKEN, kept] = NONE
            kept += 1
        numbers[slot, NUM_HYPS] = kept

    def read(nodes, node_log_probs, tips, lengths, tokens, times, confidences):
        assert stamp >= 0
        end = 0
        for i in range(tips.shape[0]):
            end += lengths[i]
            at = end
            node = tips[i]
            while node != NONE:
                at -= 1
                tokens[at] = nodes[node, 1]
                times[at] = nodes[node, 3]
                confidences[at] = np.exp(node_log_probs[node])
                node = nodes[node, 0]

    return (
        compile_ahead(COLLECT, collect),
        compile_ahead(ADVANCE, advance),
        compile_ahead(PLANT, plant),
        compile_ahead(READ, read),
    )


_HERE = Path(__file__).parent
_SOURCES = [_HERE / f"{name}.py" for name in ("layout", "scoring", "contexts", "state", "greedy", "beam", "fast")]
_SOURCES += [_HERE.parent / f"{name}.py" for name in ("layout", "pool", "hypotheses")]

collect, advance, plant, read = _build(checksum(_SOURCES))
