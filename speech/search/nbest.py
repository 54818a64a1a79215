"""The value a search hands on: the n-best list of one segment so far."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Bonus:
    """What hotwords and language model added to each hypothesis: float64 (hypotheses,) each, natural logs.

    `closing_*` is what ending the segment here would add: an unfinished phrase is paid back, the last word is scored.
    """

    hotwords: NDArray[np.float64]
    lm: NDArray[np.float64]
    closing_hotwords: NDArray[np.float64]
    closing_lm: NDArray[np.float64]

    def reordered(self, order: list[int]) -> "Bonus":
        """Return the same of the hypotheses in `order`."""
        return Bonus(self.hotwords[order], self.lm[order], self.closing_hotwords[order], self.closing_lm[order])

    def closed(self) -> "Bonus":
        """Return the bonus of a segment that has ended."""
        none = np.zeros(len(self.hotwords))
        return Bonus(self.hotwords + self.closing_hotwords, self.lm + self.closing_lm, none, none)


@dataclass(frozen=True, slots=True, eq=False)
class Nbest:
    """Hypotheses of one segment, best first; never empty once a stream is open (an empty hypothesis counts).

    `tokens[i]` int32 ids without blanks, `times[i]` int32 encoder frames since the segment's first at which each
    token peaks on the hypothesis's best path, `confidences[i]` float32 posteriors there, all of equal length.
    `scores` float64 (hypotheses,), natural logs, acoustic; with a `bonus`, the order is that of `totals`. `frames`
    encoder frames searched in this segment, of which the last `trailing_blank_frames` had P(blank) > 0.8; for
    transducers, those after the best hypothesis's last token. With `length_offset`, the order is that of totals
    divided by the number of tokens and this number. The arrays belong to the receiver.
    """

    tokens: tuple[NDArray[np.int32], ...]
    scores: NDArray[np.float64]
    times: tuple[NDArray[np.int32], ...]
    confidences: tuple[NDArray[np.float32], ...]
    trailing_blank_frames: int
    frames: int
    bonus: Bonus | None = None
    length_offset: int | None = None

    @property
    def bonuses(self) -> NDArray[np.float64]:
        """What hotwords and language model added together; zeros without a bonus."""
        return np.zeros(len(self.scores)) if self.bonus is None else self.bonus.hotwords + self.bonus.lm

    @property
    def totals(self) -> NDArray[np.float64]:
        """Scores and bonuses together: what hypotheses are ranked by."""
        return self.scores if self.bonus is None else self.scores + self.bonuses

    def closed(self) -> "Nbest":
        """Return the list as it is when the segment ends here; the order may change."""
        if self.bonus is None:
            return self
        ended = replace(self, bonus=self.bonus.closed())
        ranks = ended.totals
        if self.length_offset is not None:
            ranks = ranks / [len(tokens) + self.length_offset for tokens in self.tokens]
        order = np.argsort(-ranks, kind="stable").tolist()
        return ended.reordered(order, self.scores[order])

    def reordered(self, order: list[int], scores: NDArray[np.float64]) -> "Nbest":
        """Return the hypotheses in `order` (indices, best first) with new `scores` (len(order),)."""
        return Nbest(
            tokens=tuple(self.tokens[i] for i in order),
            scores=scores,
            times=tuple(self.times[i] for i in order),
            confidences=tuple(self.confidences[i] for i in order),
            trailing_blank_frames=self.trailing_blank_frames,
            frames=self.frames,
            bonus=None if self.bonus is None else self.bonus.reordered(order),
            length_offset=self.length_offset,
        )
