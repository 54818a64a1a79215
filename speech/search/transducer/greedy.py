"""Compiled: greedy search of one row; asr.md 8.1. The one hypothesis is number 0."""
# mypy: disable-error-code="no-untyped-def"

from speech.search.pool import compiled, release, take_path
from speech.search.transducer.contexts import extend_context
from speech.search.transducer.layout import (
    ACOUSTIC,
    BLANK_PENALTY,
    INVERSE_TEMPERATURE,
    LENGTH,
    MAX_SYMBOLS,
    PATH,
    SYMBOLS,
    TRAILING,
)
from speech.search.transducer.scoring import BLANK, confidence, largest_logit, log_sum


@compiled
def greedy_row(pool, hyps, settings, numbers, logits, unk_id, frame):
    """Take the best token; return whether the same frame is to be asked again. Takes at most one node."""
    penalty = settings[BLANK_PENALTY]
    token, largest = largest_logit(logits, penalty)
    if token >= 0:
        hyps.scores[ACOUSTIC, 0] += largest - log_sum(logits, penalty, 1.0, largest)
    if token <= BLANK or token == unk_id:
        if numbers[SYMBOLS] == 0:
            hyps.links[TRAILING, 0] += 1
        numbers[SYMBOLS] = 0
        return False
    tip = hyps.links[PATH, 0]
    sure = confidence(logits, penalty, settings[INVERSE_TEMPERATURE], token, largest)
    hyps.links[PATH, 0] = take_path(pool, tip, token, frame, sure)
    release(pool, tip, False)
    hyps.links[LENGTH, 0] += 1
    hyps.links[TRAILING, 0] = 0
    extend_context(hyps.contexts[0].copy(), token, hyps.contexts[0])
    numbers[SYMBOLS] += 1
    if numbers[SYMBOLS] < numbers[MAX_SYMBOLS]:
        return True
    numbers[SYMBOLS] = 0
    return False
