"""What hotwords and language models look like to a search: scores for tokens, with a state per hypothesis."""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

STATE_SIZE: Final = 3
NUM_GAINS: Final = 2  # hotwords, language model


class Bias(Protocol):
    """Adds to hypotheses' scores by the tokens they take. One object may serve many streams; it is asked in batches.

    A state is STATE_SIZE numbers of the object's own. A search keeps each hypothesis's state beside its acoustic score
    and its gains, one for each source, so that they can be told apart.
    """

    @property
    def start(self) -> NDArray[np.int32]:
        """The state (STATE_SIZE,) of a hypothesis without tokens."""
        ...

    def advance(
        self, states: NDArray[np.int32], tokens: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Let each state (N, STATE_SIZE) take its token (N,); return the gains (N, NUM_GAINS) and the next states."""
        ...

    def finish(self, states: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the gains (N, NUM_GAINS) of ending in `states`: refunds of unfinished phrases, an end's score.

        Asked whenever hypotheses are read, as each may be the segment's last word; the states live on.
        """
        ...
