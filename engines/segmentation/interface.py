"""What diarization needs of a segmentation model; `PyannoteSegmentation` is one, tests bring others."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

LogProbs = npt.NDArray[np.float32]
"""(windows, frames, 7): log-probabilities of {}, {1}, {2}, {3}, {1,2}, {1,3}, {2,3}."""


class Segmentation(Protocol):
    """A model; any number of threads may call it at once."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def window_samples(self) -> int: ...

    def log_probs(self, windows: npt.NDArray[np.float32]) -> LogProbs:
        """Say who talks, for windows (n, window_samples); blocks."""
        ...
