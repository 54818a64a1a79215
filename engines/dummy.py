"""A model without weights that hears tones: for load tests, and for tests of everything above the engines.

Each of its tokens is a letter for a pitch: the lowest mel bins are "a", the highest "z". Silence is blank. Its cache
counts a stream's frames, and a stream whose cache was mixed up with another's hears nothing but "?".
"""

from __future__ import annotations

import string
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from engines.description import ModelDescription
from engines.encoder import EncoderOutput, FloatArray, IntArray
from engines.load import EngineOptions, LoadedModel
from engines.offline import Encoded
from engines.recordings import OfflineCtc
from engines.streaming import StreamingCtc
from speech.features import FbankConfig
from speech.framing import Framing
from speech.tokens import TokenTable

PIECES = ("<blank>", "<unk>", *string.ascii_lowercase, "?", "<sos/eos>")
CONFUSED = PIECES.index("?")
FIRST_LETTER = PIECES.index("a")
CANDIDATES = 3
OUTPUT_SIZE = 4
# Loudest log-mel of a frame: digital silence has -15.9, a tone of a tenth of full scale about 25.
_SILENCE = 18.0
_CONTEXT, _SUBSAMPLING = 7, 4


class DummyOptions(Struct, frozen=True, kw_only=True):
    """`step_ms` and `row_ms` are how long a step pretends to compute: once, and for each row of the batch."""

    chunk: int = 16
    step_ms: float = 0.0
    row_ms: float = 0.0
    position_limit_frames: int | None = None


class DummyEncoder:
    """A StreamingEncoder whose output depends on the window's features and on its own slot's history alone."""

    def __init__(self, num_slots: int, batch_limit: int, chunk: int, options: DummyOptions) -> None:
        self.num_slots = num_slots
        self.batch_limit = batch_limit
        self._chunk = chunk
        self._options = options
        self._frames = np.full(num_slots, -1, np.int64)  # encoder frames of each slot's stream, -1: none began

    def step(
        self, slots: Sequence[int], features: FloatArray, num_frames: IntArray, reset: Sequence[bool]
    ) -> EncoderOutput:
        """See `StreamingEncoder.step`."""
        _compute(self._options, len(slots))
        counts = np.array([_encoder_frames(int(frames)) for frames in num_frames], np.int32)
        shape = (len(slots), self._chunk)
        log_probs = np.zeros((*shape, CANDIDATES), np.float32)
        ids = np.zeros((*shape, CANDIDATES), np.int32)
        encoder_out = np.zeros((*shape, OUTPUT_SIZE), np.float32)
        for row, slot in enumerate(slots):
            self._frames[slot] = 0 if reset[row] else self._frames[slot]
            is_confused = self._frames[slot] < 0
            one = listen(features[row], self._chunk, is_confused)
            log_probs[row], ids[row], encoder_out[row] = one
            self._frames[slot] += counts[row]
        return EncoderOutput(log_probs, ids, encoder_out, counts)

    def close_slot(self, slot: int) -> None:
        """See `StreamingEncoder.close_slot`."""
        self._frames[slot] = -1


class DummyOfflineEncoder:
    """An OfflineEncoder that hears what DummyEncoder hears."""

    def __init__(self, batch_limit: int, options: DummyOptions) -> None:
        self.batch_limit = batch_limit
        self._options = options

    def run(self, features: Sequence[FloatArray]) -> list[Encoded]:
        """See `OfflineEncoder.run`."""
        _compute(self._options, len(features))
        return [Encoded(*listen(frames, _encoder_frames(len(frames)), False)) for frames in features]


def listen(features: FloatArray, count: int, is_confused: bool) -> tuple[FloatArray, IntArray, FloatArray]:
    """Turn (frames, bins) into candidates of `count` encoder frames: the letter of the loudest bin, or blank."""
    middles = np.minimum(np.arange(count) * _SUBSAMPLING + _CONTEXT // 2, len(features) - 1)
    frames = features[middles]
    letters = FIRST_LETTER + frames.argmax(axis=1) * len(string.ascii_lowercase) // features.shape[1]
    best = np.where(frames.max(axis=1) < _SILENCE, 0, CONFUSED if is_confused else letters)
    # The second candidate is blank for a letter and "a" for blank; the third is never likely.
    ids = np.stack([best, np.where(best == 0, FIRST_LETTER, 0), np.full(count, 1)], axis=1).astype(np.int32)
    log_probs = np.broadcast_to(np.log(np.array([0.97, 0.02, 0.01], np.float32)), ids.shape).copy()
    encoder_out = np.repeat(best[:, np.newaxis], OUTPUT_SIZE, axis=1).astype(np.float32)
    return log_probs, ids, encoder_out


def tokens() -> TokenTable:
    """Return the dummy's token table."""
    return TokenTable.from_lines([f"{piece} {index}" for index, piece in enumerate(PIECES)])


def tone(letter: str, seconds: float, amplitude: float = 0.3) -> FloatArray:
    """Return the audio of a letter: (n,) float32 at 16 kHz, in the middle of the letter's mel bins."""
    config = FbankConfig()
    bin_of_letter = (string.ascii_lowercase.index(letter) + 0.5) * config.num_bins / len(string.ascii_lowercase)
    low, high = (1127 * np.log1p(hz / 700) for hz in (config.low_hz, config.top_hz))
    mel = low + (high - low) * (bin_of_letter + 0.5) / (config.num_bins + 1)
    hz = 700 * np.expm1(mel / 1127)
    times = np.arange(round(seconds * config.sample_rate)) / config.sample_rate
    ramp = np.minimum(
        1.0, np.minimum(times, times[::-1]) / 0.02
    )  # a sudden end would click, and clicks have every pitch
    samples: FloatArray = (amplitude * ramp * np.sin(2 * np.pi * hz * times)).astype(np.float32)
    return samples


def load_dummy(options: EngineOptions | None = None, dummy: DummyOptions | None = None) -> LoadedModel:
    """Build the dummy: streaming and offline, without rescoring. Loads in no time, needs no files."""
    options, dummy = options or EngineOptions(), dummy or DummyOptions()
    framing = Framing.for_chunk(dummy.chunk, _SUBSAMPLING, _CONTEXT - 1, FbankConfig())
    table = tokens()
    encoder = DummyEncoder(options.num_slots, options.max_batch, dummy.chunk, dummy)
    return LoadedModel(
        description=ModelDescription(
            folder=Path("dummy"), name="dummy", summary="hears tones, for tests", num_tokens=len(table)
        ),
        tokens=table,
        streaming=StreamingCtc(encoder, framing, len(table), table.blank_id, dummy.position_limit_frames),
        offline=OfflineCtc(
            DummyOfflineEncoder(options.offline_batch, dummy),
            framing.fbank,
            subsampling=_SUBSAMPLING,
            context=_CONTEXT,
            num_tokens=len(table),
            blank_id=table.blank_id,
        ),
        rescorer=None,
    )


def _encoder_frames(num_frames: int) -> int:
    return 0 if num_frames < _CONTEXT else (num_frames - _CONTEXT) // _SUBSAMPLING + 1


def _compute(options: DummyOptions, rows: int) -> None:
    busy_ms = options.step_ms + rows * options.row_ms
    if busy_ms > 0:
        time.sleep(busy_ms / 1000)
