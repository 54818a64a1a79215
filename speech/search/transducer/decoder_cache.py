"""Decoder outputs by context, so that the decoder runs only for contexts it has not seen lately."""

import numpy as np
from numpy.typing import NDArray

from speech.search.transducer.networks import Networks

# Places; with 512 values each, 4 MB. A beam of 4 over 32 streams has 128 contexts at a time.
NUM_PLACES = 2048
_NOBODY = -(1 << 30)  # no token


class DecoderCache:
    """Table of (context, output), one place per hash value; `contexts` is what the kernels look places up in."""

    def __init__(self, networks: Networks, num_places: int = NUM_PLACES) -> None:
        self.contexts = np.full((num_places, networks.context_size), _NOBODY, np.int32)
        self._outputs = np.zeros((num_places, networks.decoder_size), np.float32)
        self._networks = networks

    def outputs(
        self,
        places: NDArray[np.int64],
        missing: NDArray[np.int32],
        contexts: NDArray[np.int32],
        hypotheses: tuple[NDArray[np.int32], NDArray[np.int32]],
    ) -> NDArray[np.float32]:
        """Return (N, decoder_size), a copy, for hypotheses (slot, number) whose contexts have these `places` (N,).

        The rows `missing` are not in the table: the decoder computes them, in one call, and they are put there.
        """
        found = self._outputs[places]
        if len(missing):
            wanted = contexts[hypotheses[0][missing], hypotheses[1][missing]]
            found[missing] = computed = self._networks.decode(wanted.astype(np.int64))
            # Where two share a place, numpy lets the last one win in both arrays.
            self.contexts[places[missing]] = wanted
            self._outputs[places[missing]] = computed
        return found
