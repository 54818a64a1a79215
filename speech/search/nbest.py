"""The value a search hands on: the n-best list of one segment so far."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Nbest:
    """Hypotheses of one segment, best first; never empty once a stream is open (an empty hypothesis counts).

    `tokens[i]` int32 ids without blanks, `times[i]` int32 encoder frames since the segment's first at which each
    token peaks on the hypothesis's best path, `confidences[i]` float32 posteriors there, all of equal length.
    `scores` float64 (hypotheses,), natural logs. `frames` encoder frames searched in this segment, of which the last
    `trailing_blank_frames` had P(blank) > 0.8. The arrays belong to the receiver.
    """

    tokens: tuple[NDArray[np.int32], ...]
    scores: NDArray[np.float64]
    times: tuple[NDArray[np.int32], ...]
    confidences: tuple[NDArray[np.float32], ...]
    trailing_blank_frames: int
    frames: int

    def reordered(self, order: list[int], scores: NDArray[np.float64]) -> "Nbest":
        """Return the hypotheses in `order` (indices, best first) with new `scores` (len(order),)."""
        return Nbest(
            tokens=tuple(self.tokens[i] for i in order),
            scores=scores,
            times=tuple(self.times[i] for i in order),
            confidences=tuple(self.confidences[i] for i in order),
            trailing_blank_frames=self.trailing_blank_frames,
            frames=self.frames,
        )
