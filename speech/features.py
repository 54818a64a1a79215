"""Log-mel features as Kaldi computes them, vectorised over streams. `speech/framing.py` cuts streams into windows."""

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.fft
from msgspec import Meta

from speech.audio import Samples
from speech.errors import BadOption

Features = npt.NDArray[np.float32]
"""(frames, bins) or (batch, frames, bins) float32: natural log of mel energies."""

_BLOCK_FRAMES = 512
"""Frames per pass: about 4 MB of scratch whatever the batch, and the passes stay in the processor's cache."""


class FbankConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's front end. Frames that pad a batch hold `pad_value`; whoever pads writes it.

    `scale` multiplies samples in [-1, 1] (32768 gives int16 values). With `snip_edges` frames lie wholly inside the
    audio; without, they are centred on multiples of the shift and the audio is mirrored at both ends.
    `high_hz` <= 0 counts down from half the sample rate.
    """

    sample_rate: Annotated[int, Meta(ge=8000, le=48000)] = 16000
    num_bins: Annotated[int, Meta(ge=1, le=512)] = 80
    frame_length_ms: Annotated[float, Meta(ge=1.0, le=1000.0)] = 25.0
    frame_shift_ms: Annotated[float, Meta(ge=1.0, le=1000.0)] = 10.0
    scale: Annotated[float, Meta(gt=0.0)] = 32768.0
    snip_edges: bool = True
    low_hz: Annotated[float, Meta(ge=0.0)] = 20.0
    high_hz: float = 0.0
    window: Literal["povey", "hamming", "hann"] = "povey"
    preemphasis: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.97
    remove_dc: bool = True
    log_floor: Annotated[float, Meta(gt=0.0)] = 1.1920929e-07  # float32 epsilon, Kaldi's floor
    pad_value: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for settings that contradict each other."""
        if not self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise ValueError(
                f"mel bins from {self.low_hz} to {self.top_hz} Hz: need low < high <= {self.sample_rate / 2}"
            )
        if self.frame_shift_ms > self.frame_length_ms:
            raise ValueError(f"frame_shift_ms {self.frame_shift_ms} exceeds frame_length_ms {self.frame_length_ms}")

    @property
    def top_hz(self) -> float:
        """Upper edge of the last mel bin, in Hz."""
        return self.high_hz if self.high_hz > 0 else self.sample_rate / 2 + self.high_hz

    @property
    def frame_length(self) -> int:
        """Samples that one frame sees."""
        return int(self.sample_rate * self.frame_length_ms / 1000)

    @property
    def frame_shift(self) -> int:
        """Samples between the starts of two frames."""
        return int(self.sample_rate * self.frame_shift_ms / 1000)

    def num_frames(self, num_samples: int) -> int:
        """Frames that whole audio of this length has."""
        if not self.snip_edges:
            return (num_samples + self.frame_shift // 2) // self.frame_shift
        return 0 if num_samples < self.frame_length else 1 + (num_samples - self.frame_length) // self.frame_shift

    def num_samples(self, num_frames: int) -> int:
        """Samples that `num_frames` frames span from the first one's start to the last one's end."""
        return 0 if num_frames <= 0 else self.frame_length + (num_frames - 1) * self.frame_shift

    def mirrored_edges(self, num_samples: int) -> tuple[int, int]:
        """Samples to mirror before and after whole audio of this length, so that its frames lie inside."""
        num_frames = self.num_frames(num_samples)
        if self.snip_edges or num_frames == 0:
            return 0, 0
        # Frame t is centred on t * shift + shift / 2, so the first one starts left of the audio.
        left = self.frame_length // 2 - self.frame_shift // 2
        return max(left, 0), max(self.num_samples(num_frames) - left - num_samples, 0)


_ICEFALL_PAD = math.log(1e-10)  # icefall pads features with the log of this energy

PROFILES: dict[str, FbankConfig] = {
    "wenet": FbankConfig(),
    "icefall": FbankConfig(scale=1.0, snip_edges=False, high_hz=-400.0, pad_value=_ICEFALL_PAD),
    "sherpa-onnx-wenet": FbankConfig(snip_edges=False, high_hz=-400.0),
    "sherpa-triton-offline": FbankConfig(scale=1.0, snip_edges=False),
    "sherpa-triton-streaming": FbankConfig(scale=1.0),
    "wespeaker": FbankConfig(window="hamming"),
    "3d-speaker": FbankConfig(scale=1.0),
    "sherpa-onnx-speaker": FbankConfig(scale=1.0, snip_edges=False, high_hz=-400.0),
}
"""Front ends of the model families by name; none adds dither, so that results can be reproduced."""


def reflect(samples: Samples, left: int, right: int) -> Samples:
    """Extend (n,) samples by their mirror image, edge samples repeated, as often as it takes. Needs n >= 1."""
    num_samples = len(samples)
    if num_samples == 0 or left < 0 or right < 0:
        raise BadOption(f"cannot mirror {left} and {right} samples around {num_samples} samples")
    period = np.arange(-left, num_samples + right) % (2 * num_samples)
    return samples[np.where(period < num_samples, period, 2 * num_samples - 1 - period)]


class Fbank:
    """Compute log-mel features. Immutable after construction: any number of threads may call one instance."""

    def __init__(self, config: FbankConfig) -> None:
        """Prepare window and mel banks."""
        self.config = config
        self._fft_length = 1 << (config.frame_length - 1).bit_length()
        self._window = (_window(config) * config.scale).astype(np.float32)
        self._banks = _mel_banks(config, self._fft_length)

    def num_frames(self, num_samples: int) -> int:
        """Frames that `whole` gives for this many samples."""
        return self.config.num_frames(num_samples)

    def num_samples(self, num_frames: int) -> int:
        """Samples that give `num_frames` frames when called on a window."""
        return self.config.num_samples(num_frames)

    def __call__(self, samples: Samples) -> Features:
        """Turn (batch, n) windows into (batch, frames, bins); frames lie wholly inside, whatever `snip_edges` says.

        Scratch memory does not grow with the batch. A row's result differs from its result alone by float32
        rounding at most.
        """
        length, shift = self.config.frame_length, self.config.frame_shift
        batch, num_samples = samples.shape
        num_frames = 0 if num_samples < length else 1 + (num_samples - length) // shift
        features = np.empty((batch, num_frames, self.config.num_bins), np.float32)
        if features.size == 0:
            return features
        frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=1)[:, ::shift]
        rows_per_pass = max(1, _BLOCK_FRAMES // num_frames)
        for row in range(0, batch, rows_per_pass):
            for start in range(0, num_frames, _BLOCK_FRAMES):
                place = np.s_[row : row + rows_per_pass, start : start + _BLOCK_FRAMES]
                features[place] = self._log_mel(frames[place])
        return features

    def whole(self, samples: Samples) -> Features:
        """Turn a whole recording, (n,) samples, into (frames, bins), mirrored at its ends unless `snip_edges`."""
        left, right = self.config.mirrored_edges(len(samples))
        extended = reflect(samples, left, right) if left or right else samples
        return self(extended[np.newaxis])[0, : self.num_frames(len(samples))]

    def _log_mel(self, frames: Samples) -> Features:
        """Turn frames (rows, n, length) into (rows, n, bins), in Kaldi's order: DC, pre-emphasis, window, spectrum."""
        length = self.config.frame_length
        padded = np.zeros((*frames.shape[:2], self._fft_length), np.float32)
        block = padded[..., :length]
        block[...] = frames
        if self.config.remove_dc:
            block -= block.mean(axis=-1, keepdims=True)
        if self.config.preemphasis:
            # A frame's first sample is its own predecessor.
            previous = np.concatenate([block[..., :1], block[..., :-1]], axis=-1)
            previous *= np.float32(self.config.preemphasis)
            block -= previous
        block *= self._window
        spectrum = scipy.fft.rfft(padded)  # transforms several frames at once by SIMD: a seventh of np.fft.rfft's time
        parts = spectrum.view(np.float32)  # real and imaginary parts side by side
        np.square(parts, out=parts)
        energies = (parts[..., ::2] + parts[..., 1::2]) @ self._banks
        np.maximum(energies, np.float32(self.config.log_floor), out=energies)
        return np.log(energies, out=energies)


def _window(config: FbankConfig) -> npt.NDArray[np.float64]:
    """Return the window; Kaldi divides by length - 1, and its Povey window is a Hann window to the power 0.85."""
    cosine = np.cos(2 * np.pi * np.arange(config.frame_length) / (config.frame_length - 1))
    if config.window == "hamming":
        return 0.54 - 0.46 * cosine
    hann = 0.5 - 0.5 * cosine
    return hann if config.window == "hann" else hann**0.85


def _mel_banks(config: FbankConfig, fft_length: int) -> Features:
    """Return triangles on the mel axis (HTK's 1127 ln(1 + f / 700)) as (fft_length // 2 + 1, bins) float32."""
    edges = np.linspace(_mel(config.low_hz), _mel(config.top_hz), config.num_bins + 2)
    mel = _mel(np.arange(fft_length // 2 + 1, dtype=np.float64) * config.sample_rate / fft_length)[:, np.newaxis]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    weights = np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre))
    return np.maximum(weights, 0.0).astype(np.float32)


def _mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)
