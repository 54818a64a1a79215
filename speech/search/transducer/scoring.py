"""Compiled: one row of logits to its best tokens, log-probabilities and confidences."""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from speech.search.pool import compiled

BLANK = 0  # a transducer's blank is always the first token


@compiled
def adjusted(logits, token, penalty):
    """Return the token's logit, blank's made smaller by `penalty`."""
    value = np.float64(logits[token])
    return value - penalty if token == BLANK else value


@compiled
def best_tokens(logits, penalty, limit, tokens, values):
    """Write the best tokens of a row, best first, and their log-probabilities; return how many there are.

    Fewer than `limit` where logits are not numbers. Of equal ones the smaller id comes first.
    """
    num = 0
    for token in range(logits.shape[0]):
        value = adjusted(logits, token, penalty)
        if not value > -np.inf or (num == limit and value <= values[num - 1]):  # also NaN
            continue
        num = min(num + 1, limit)
        at = num - 1
        while at > 0 and value > values[at - 1]:
            values[at] = values[at - 1]
            tokens[at] = tokens[at - 1]
            at -= 1
        values[at] = value
        tokens[at] = token
    if num > 0:
        total = log_sum(logits, penalty, 1.0, values[0])
        for k in range(num):
            values[k] -= total
    return num


@compiled
def log_sum(logits, penalty, scale, largest):
    """Return the log of the sum of exp(logit * scale); `largest` is the greatest logit."""
    total = 0.0
    for token in range(logits.shape[0]):
        distance = (adjusted(logits, token, penalty) - largest) * scale
        if distance > -40.0:  # less is lost in float64; false for NaN
            total += np.exp(distance)
    return largest * scale + np.log(total)


@compiled
def confidence(logits, penalty, scale, token, largest):
    """Return the token's log-probability after dividing all logits by the temperature, 1 / scale."""
    value = adjusted(logits, token, penalty)
    return np.float32(min(value * scale - log_sum(logits, penalty, scale, largest), 0.0))


@compiled
def largest_logit(logits, penalty):
    """Return (token, logit) of the best token; (-1, -inf) where there is none."""
    best = -1
    largest = -np.inf
    for token in range(logits.shape[0]):
        value = adjusted(logits, token, penalty)
        if value > largest:
            best = token
            largest = value
    return best, largest
