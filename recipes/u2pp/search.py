"""An obviously right CTC prefix beam search, slow and without compiled code: the yardstick for the server's."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

_NEVER = -math.inf
Prefix = tuple[int, ...]


def log_add(first: float, second: float) -> float:
    """log(exp(first) + exp(second))."""
    if first == _NEVER:
        return second
    if second == _NEVER:
        return first
    return max(first, second) + math.log1p(math.exp(-abs(first - second)))


def prefix_beam_search(
    frames: Iterable[tuple[Sequence[int], Sequence[float]]], beam: int, blank: int = 0
) -> list[tuple[Prefix, float]]:
    """Best prefixes and their log-probabilities, best first; each frame is (candidate ids, their log-probabilities).

    A prefix keeps two sums: over alignments that end in blank, and over those that end in its last token.
    """
    beams: dict[Prefix, tuple[float, float]] = {(): (0.0, _NEVER)}
    for ids, log_probs in frames:
        grown: dict[Prefix, tuple[float, float]] = {}

        def add(prefix: Prefix, ends_blank: float, ends_token: float, grown=grown) -> None:
            old_blank, old_token = grown.get(prefix, (_NEVER, _NEVER))
            grown[prefix] = log_add(old_blank, ends_blank), log_add(old_token, ends_token)

        for prefix, (by_blank, by_token) in beams.items():
            for token, log_prob in zip(ids, log_probs, strict=True):
                if token == blank:
                    add(prefix, log_add(by_blank, by_token) + log_prob, _NEVER)
                elif prefix and token == prefix[-1]:
                    add(prefix, _NEVER, by_token + log_prob)
                    add((*prefix, token), _NEVER, by_blank + log_prob)
                else:
                    add((*prefix, token), _NEVER, log_add(by_blank, by_token) + log_prob)
        ranked = sorted(grown.items(), key=lambda item: log_add(*item[1]), reverse=True)
        beams = dict(ranked[:beam])
    return [(prefix, log_add(*scores)) for prefix, scores in beams.items()]


def pack_hypotheses(
    hypotheses: list[tuple[Prefix, float]], beam: int, sos_eos: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """WeNet's decoder inputs for one utterance: rows, lengths with sos, reversed rows, scores; always `beam` rows."""
    rows = [*hypotheses, *[((), -10000.0)] * (beam - len(hypotheses))]
    width = max(len(prefix) for prefix, _ in rows) + 2
    forward = np.full((1, beam, width), sos_eos, np.int64)
    reverse = forward.copy()
    for index, (prefix, _) in enumerate(rows):
        forward[0, index, 1 : 1 + len(prefix)] = prefix
        reverse[0, index, 1 : 1 + len(prefix)] = prefix[::-1]
    lengths = np.array([[len(prefix) + 1 for prefix, _ in rows]], np.int32)
    scores = np.array([[max(score, -10000.0) for _, score in rows]], np.float32)
    return forward, lengths, reverse, scores
