"""The same searches in plain Python over dictionaries, one stream at a time: slow, short, the compiled ones' measure.

Hypotheses are tuples of tokens, so there is no pool, no sharing, no cache and nothing to free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from speech.biasing.bias import Bias
from speech.search.transducer.networks import Networks
from speech.search.transducer.options import TransducerOptions

BLANK = 0


@dataclass(frozen=True, slots=True)
class Path:
    """One hypothesis: all tokens with those of the start context in front, and what the segment's own ones are."""

    tokens: tuple[int, ...]
    score: float = 0.0
    bonus: float = 0.0
    state: tuple[int, ...] = ()
    times: tuple[int, ...] = ()
    confidences: tuple[float, ...] = ()
    trailing: int = 0

    @property
    def total(self) -> float:
        return self.score + self.bonus


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-probabilities (V,)."""
    shifted = logits - logits.max()
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


class Reference:
    """One stream's search; use as `TransducerSearch`, one method call for each segment."""

    def __init__(
        self,
        networks: Networks,
        start_context: Sequence[int],
        options: TransducerOptions,
        unk_id: int = -1,
        bias: Bias | None = None,
    ) -> None:
        self.networks, self.options, self.bias = networks, options, bias
        self.start = tuple(start_context)
        self.silent = (BLANK, unk_id)
        self.paths = [self._begin(Path(self.start))]
        self.frame = 0

    def _begin(self, path: Path) -> Path:
        return replace(path, state=tuple(self.bias.start.tolist())) if self.bias is not None else path

    def logits(self, path: Path, frame: NDArray[np.float32]) -> NDArray[np.float64]:
        context = np.array([path.tokens[-len(self.start) :]], np.int64)
        joined = self.networks.join(frame[np.newaxis], self.networks.decode(context))
        logits: NDArray[np.float64] = joined[0].astype(np.float64)
        logits[BLANK] -= self.options.blank_penalty
        return logits

    def take(self, path: Path, token: int, score: float, logits: NDArray[np.float64]) -> Path:
        """Return `path` after one frame (greedy: one symbol) with `token`, its score set to `score`."""
        if token in self.silent:
            return replace(path, score=score, trailing=path.trailing + 1)
        sure = float(np.exp(log_softmax(logits / self.options.temperature)[token]))
        bonus, state = path.bonus, path.state
        if self.bias is not None:
            gains, states = self.bias.advance(np.array([state], np.int32), np.array([token], np.int32))
            bonus, state = bonus + float(gains.sum()), tuple(states[0].tolist())
        return Path((*path.tokens, token), score, bonus, state, (*path.times, self.frame), (*path.confidences, sure))

    def push(self, encoder_out: NDArray[np.float32]) -> None:
        """Search frames (T, dim)."""
        for frame in encoder_out:
            {
                "greedy_search": self._greedy,
                "modified_beam_search": self._modified,
                "fast_beam_search": self._fast,
            }[self.options.method](frame)
            self.frame += 1

    def _greedy(self, frame: NDArray[np.float32]) -> None:
        path = self.paths[0]
        for symbol in range(self.options.max_symbols):
            logits = self.logits(path, frame)
            token = int(logits.argmax())
            score = path.score + float(log_softmax(logits)[token])
            if token in self.silent:
                trailing = path.trailing + (symbol == 0)
                path = replace(path, score=score, trailing=trailing)
                break
            path = self.take(path, token, score, logits)
        self.paths = [path]

    def _candidates(self, frame: NDArray[np.float32]) -> list[tuple[float, float, Path, int, NDArray[np.float64]]]:
        """All (total, acoustic score, path, token, logits), best first."""
        found = []
        for path in self.paths:
            logits = self.logits(path, frame)
            for token, log_prob in enumerate(log_softmax(logits).tolist()):
                found.append((path.total + log_prob, path.score + log_prob, path, token, logits))
        return sorted(found, key=lambda each: -each[0])

    def _modified(self, frame: NDArray[np.float32]) -> None:
        merged: dict[tuple[int, ...], Path] = {}
        for _, score, path, token, logits in self._candidates(frame)[: self.options.beam_size]:
            new = self.take(path, token, score, logits)
            old = merged.get(new.tokens)
            if old is not None:
                new = replace(old, score=float(np.logaddexp(old.score, new.score)))
            merged[new.tokens] = new
        self.paths = list(merged.values())

    def _fast(self, frame: NDArray[np.float32]) -> None:
        candidates = self._candidates(frame)
        by_context: dict[tuple[int, ...], Path] = {}
        for total, score, path, token, logits in candidates:
            if total < candidates[0][0] - self.options.beam:
                break
            tokens = path.tokens if token in self.silent else (*path.tokens, token)
            context = tokens[-len(self.start) :]
            if context not in by_context:
                by_context[context] = self.take(path, token, score, logits)
            if len(by_context) == min(self.options.max_contexts, self.options.max_states):
                break
        self.paths = list(by_context.values())

    def nbest(self) -> list[Path]:
        """Return the hypotheses, best first, without the start context."""
        is_modified, size = self.options.method == "modified_beam_search", len(self.start)
        ranked = sorted(self.paths, key=lambda path: -path.total / (len(path.tokens) if is_modified else 1))
        return [replace(path, tokens=path.tokens[size:]) for path in ranked]

    def restart(self) -> None:
        """Begin a new segment, as `TransducerSearch.reset`."""
        size = len(self.start)
        if not self.nbest()[0].tokens:
            self.paths = [Path(self.start)]
        best = max(path.score for path in self.paths)
        merged: dict[tuple[int, ...], Path] = {}
        for path in self.paths:
            context = path.tokens[-size:]
            score = path.score - best
            if context in merged:
                score = float(np.logaddexp(merged[context].score, score))
            merged[context] = Path(context, score)
        self.paths = [self._begin(path) for path in merged.values()]
        self.frame = 0
