"""What services and diarization need of a voice activity model; `SileroVad` is one, tests bring others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from speech.audio import Samples

Probabilities = npt.NDArray[np.float32]
"""(windows,) float32 in [0, 1]: one per started window of `window_samples`."""


class VadStream(Protocol):
    """One stream's state; used by one thread at a time."""

    def push(self, samples: Samples) -> Probabilities:
        """Take (n,) more samples; return the probabilities of the windows that they complete."""
        ...

    def flush(self) -> Probabilities:
        """Return the last window's probability, filled up with silence; none where nothing is left. Ends the stream."""
        ...


class VoiceActivity(Protocol):
    """A model; any number of threads may call it at once."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def window_samples(self) -> int: ...

    def probabilities(self, samples: Samples) -> Probabilities:
        """Return ceil(n / window_samples) probabilities of a whole recording, (n,) samples; blocks."""
        ...

    def probabilities_of(self, recordings: Sequence[Samples]) -> list[Probabilities]:
        """Return the probabilities of each of several recordings; blocks."""
        ...

    def stream(self) -> VadStream:
        """Begin a stream."""
        ...
