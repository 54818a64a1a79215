"""Decoder and joiner in ONNX Runtime, as the search asks for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.description import TransducerSpec
from engines.encoder import FloatArray
from engines.ort import OrtModel, OrtOptions


class OrtNetworks:
    """A `speech.search.transducer.Networks`. Owns both graphs; engine thread only. Tensors are told by position."""

    def __init__(self, spec: TransducerSpec, options: OrtOptions) -> None:
        """Load the graphs. Raises BadModel."""
        self.context_size = spec.context_size
        self.decoder_size = spec.decoder_size
        self.vocab_size = spec.vocab_size
        self._is_quantised = spec.is_quantised
        self._decoder = OrtModel(spec.decoder, options)
        self._joiner = OrtModel(spec.joiner, options)
        self._y, self._decoded = next(iter(self._decoder.inputs)), next(iter(self._decoder.outputs))
        self._encoder_out, self._decoder_out = self._joiner.inputs
        self._logit = next(iter(self._joiner.outputs))

    def decode(self, contexts: npt.NDArray[np.int64]) -> FloatArray:
        """See `Networks.decode`. Raises EngineFailed.

        A dynamically quantised decoder is asked row by row: its rounding follows the largest value of a whole batch,
        and what it says of a context is remembered for other streams.
        """
        if self._is_quantised and len(contexts) > 1:
            return np.concatenate([self._decode(row[np.newaxis]) for row in contexts])
        return self._decode(contexts)

    def join(self, encoder_rows: FloatArray, decoder_rows: FloatArray) -> FloatArray:
        """See `Networks.join`. Raises EngineFailed."""
        feeds = {self._encoder_out: encoder_rows, self._decoder_out: decoder_rows}
        return self._joiner.run(feeds, [self._logit])[self._logit]

    def _decode(self, contexts: npt.NDArray[np.int64]) -> FloatArray:
        # sherpa's Triton decoders keep an axis of time, of length 1.
        decoded = self._decoder.run({self._y: contexts}, [self._decoded])[self._decoded]
        return decoded.reshape(len(contexts), self.decoder_size)
