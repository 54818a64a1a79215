"""The two small networks of a transducer, as the search asks for them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Networks(Protocol):
    """A stateless decoder and a joiner. Each is asked once per step for all hypotheses of all streams that need it."""

    context_size: int
    decoder_size: int
    vocab_size: int

    def decode(self, contexts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Turn each hypothesis's last tokens (N, context_size) into (N, decoder_size)."""
        ...

    def join(self, encoder_rows: NDArray[np.float32], decoder_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn encoder frames (N, dim) and decoder outputs (N, decoder_size) into logits (N, vocab_size)."""
        ...
