"""The same searches in plain Python over dictionaries: slow, short, and the compiled ones' measure in tests.

Prefixes are tuples, paths carry their own lists of times, so there is no pool, no sharing and nothing to free.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.biasing.bias import Bias
from speech.search.layout import LOG_FLOOR, LOG_HOPELESS
from speech.search.options import SearchOptions

Path = tuple[float, tuple[tuple[int, float], ...]]  # score, (frame, log posterior) of each token
DEAD: Path = (-np.inf, ())


@dataclass(slots=True)
class Prefix:
    """One prefix in the beam: log-sums and best paths, apart for paths that end in blank and in the last token."""

    sum_blank: float = -np.inf
    sum_token: float = -np.inf
    best_blank: Path = DEAD
    best_token: Path = DEAD

    @property
    def total(self) -> float:
        return float(np.logaddexp(self.sum_blank, self.sum_token))

    @property
    def best(self) -> Path:
        return self.best_blank if self.best_blank[0] >= self.best_token[0] else self.best_token


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A result: tokens, log score, and each token's peak frame and posterior."""

    tokens: tuple[int, ...]
    score: float
    times: tuple[int, ...]
    confidences: tuple[float, ...]


def candidates_of(
    log_probs: NDArray[np.float32], ids: NDArray[np.int32], blank_id: int, options: SearchOptions
) -> tuple[float, list[tuple[int, float]]]:
    """Return blank's log-prob and the other usable candidates of one frame ((K,) and (K,)), best first."""
    blank = LOG_FLOOR
    for token, log_prob in zip(ids.tolist(), log_probs.tolist(), strict=True):
        if token == blank_id and log_prob > LOG_FLOOR:
            blank = log_prob
    usable: list[tuple[int, float]] = []
    mass = 0.0
    for token, log_prob in list(zip(ids.tolist(), log_probs.tolist(), strict=True))[: options.top_k]:
        if not log_prob > LOG_FLOOR or (options.cutoff_prob < 1 and mass > options.cutoff_prob):
            break
        mass += float(np.exp(log_prob))
        if token != blank_id:
            usable.append((token, log_prob))
    return blank, usable


def extend(prefix: Prefix, is_repeat: bool, frame: int, log_prob: float) -> tuple[float, Path]:
    """Return (sum, best path) of `prefix` followed by a new token."""
    base = prefix.sum_blank if is_repeat else prefix.total
    score, points = prefix.best_blank if is_repeat else prefix.best
    return base + log_prob, (score + log_prob, (*points, (frame, log_prob)))


def repeat(path: Path, frame: int, log_prob: float) -> Path:
    """Return `path` with its last token held one frame more; the token's time is its highest frame."""
    score, points = path
    if log_prob > points[-1][1]:
        points = (*points[:-1], (frame, log_prob))
    return score + log_prob, points


def bonus_of(bias: Bias | None, tokens: tuple[int, ...], *, closed: bool = False) -> float:
    """Return what hotwords and language model add to a prefix, worked out from its first token on."""
    if bias is None:
        return 0.0
    total, states = 0.0, bias.start[np.newaxis]
    for token in tokens:
        gains, states = bias.advance(states, np.array([token], np.int32))
        total += float(gains.sum())
    return total + (float(bias.finish(states).sum()) if closed else 0.0)


def advance(
    beam: dict[tuple[int, ...], Prefix],
    frame: int,
    blank: float,
    usable: list[tuple[int, float]],
    beam_size: int,
    bias: Bias | None,
) -> dict[tuple[int, ...], Prefix]:
    """Search one frame; the returned beam is in order, best first."""
    following: dict[tuple[int, ...], Prefix] = {}
    for tokens, prefix in beam.items():
        score, points = prefix.best
        carried = Prefix(sum_blank=prefix.total + blank, best_blank=(score + blank, points))
        for token, log_prob in usable:
            if tokens and token == tokens[-1] and prefix.sum_token > -np.inf:
                carried.sum_token = prefix.sum_token + log_prob
                carried.best_token = repeat(prefix.best_token, frame, log_prob)
        following[tokens] = carried
    for tokens, prefix in beam.items():
        for token, log_prob in usable:
            total, path = extend(prefix, tokens[-1:] == (token,), frame, log_prob)
            if total == -np.inf:
                continue
            target = following.setdefault((*tokens, token), Prefix())
            target.sum_token = float(np.logaddexp(target.sum_token, total))
            if path[0] > target.best_token[0]:
                target.best_token = path
    # Stable: equal scores go by the smaller last id, then in the order met.
    scores = {tokens: prefix.total + bonus_of(bias, tokens) for tokens, prefix in following.items()}
    ranked = sorted(following.items(), key=lambda item: (-scores[item[0]], item[0][-1] if item[0] else -1))
    worst = scores[ranked[0][0]] - LOG_HOPELESS
    return {tokens: prefix for tokens, prefix in ranked[:beam_size] if scores[tokens] >= worst}


def prefix_beam_search(
    log_probs: NDArray[np.float32],
    ids: NDArray[np.int32],
    blank_id: int,
    options: SearchOptions,
    bias: Bias | None = None,
) -> list[Hypothesis]:
    """Search one utterance, (T, K) descending log-probs and their ids; return the beam, best first.

    With a bias the order is that of scores and bonuses together; the scores stay acoustic.
    """
    beam: dict[tuple[int, ...], Prefix] = {(): Prefix(sum_blank=0.0, best_blank=(0.0, ()))}
    in_run = False
    for frame in range(len(log_probs)):
        blank, usable = candidates_of(log_probs[frame], ids[frame], blank_id, options)
        is_run = options.blank_skip < 1 and ids[frame, 0] == blank_id and blank >= np.log(options.blank_skip)
        if not (is_run and in_run):
            beam = advance(beam, frame, blank - options.blank_penalty, usable, options.beam_size, bias)
        in_run = is_run
    return [
        Hypothesis(
            tokens=tokens,
            score=prefix.total,
            times=tuple(frame for frame, _ in prefix.best[1]),
            confidences=tuple(float(np.exp(log_prob)) for _, log_prob in prefix.best[1]),
        )
        for tokens, prefix in beam.items()
    ]


def greedy_search(
    log_probs: NDArray[np.float32], ids: NDArray[np.int32], blank_id: int, options: SearchOptions
) -> Hypothesis:
    """Take the best candidate of every frame, collapse repeats, drop blanks; arguments as `prefix_beam_search`."""
    points: list[tuple[int, int, float]] = []
    score, last = 0.0, -1
    for frame in range(len(log_probs)):
        rows = list(zip(ids[frame].tolist(), log_probs[frame].tolist(), strict=True))
        scored = [(p - options.blank_penalty if token == blank_id else p, token, p) for token, p in rows]
        possible = [row for row in scored if row[0] > LOG_FLOOR]
        best, token, log_prob = max(possible, key=lambda row: row[0]) if possible else (LOG_FLOOR, blank_id, LOG_FLOOR)
        score += best
        if token != blank_id and token != last:
            points.append((token, frame, log_prob))
        elif token != blank_id and log_prob > points[-1][2]:
            points[-1] = (token, frame, log_prob)
        last = token
    return Hypothesis(
        tokens=tuple(token for token, _, _ in points),
        score=score,
        times=tuple(frame for _, frame, _ in points),
        confidences=tuple(float(np.exp(log_prob)) for _, _, log_prob in points),
    )
