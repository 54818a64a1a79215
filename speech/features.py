"""Log-mel features as Kaldi computes them, or Whisper, vectorised over streams.

`speech/framing.py` cuts streams into windows.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.fft
from msgspec import Meta

from speech.audio import Samples
from speech.errors import BadOption
from speech.mel import analysis_window, kaldi_banks, slaney_banks

Features = npt.NDArray[np.float32]
"""(frames, bins) or (batch, frames, bins) float32: log of mel energies, natural or, in Whisper's style, to base 10."""

_BLOCK_FRAMES = 100
"""Frames per pass: 800 KB of scratch whatever the batch, which the processor's cache and the allocator keep. With 512
the scratch was mapped into memory anew each time: 2.1 ms instead of 1.0 for 3 s of audio (2026-11-21)."""


_MAX_DITHER = 1e-3  # of full scale; Kaldi's 1 on 16-bit samples is 3e-5


class FbankConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's front end. Frames that pad a batch hold `pad_value`; whoever pads writes it.

    `scale` multiplies samples in [-1, 1] (32768 gives int16 values). With `snip_edges` frames lie wholly inside the
    audio; without, they are centred on multiples of the shift and the audio is mirrored at both ends.
    `high_hz` <= 0 counts down from half the sample rate. `dither` is the deviation of the noise that each frame's
    scaled samples get, anew at every call: older servers' features, which nobody can reproduce.

    `style` "whisper" is what models with the metadata `feature=whisper` hear (sherpa-onnx, kaldi-native-fbank):
    librosa's mel banks over a spectrum of just the frame, a periodic window, log10, and each window's values lifted to
    at most 8 below its highest and scaled, (x + 4) / 4. `pad_value` is meant before that.
    """

    style: Literal["kaldi", "whisper"] = "kaldi"

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
    dither: Annotated[float, Meta(ge=0.0)] = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for settings that contradict each other."""
        if not self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise ValueError(
                f"mel bins from {self.low_hz} to {self.top_hz} Hz: need low < high <= {self.sample_rate / 2}"
            )
        if self.frame_shift_ms > self.frame_length_ms:
            raise ValueError(f"frame_shift_ms {self.frame_shift_ms} exceeds frame_length_ms {self.frame_length_ms}")
        if self.dither > self.scale * _MAX_DITHER:
            raise ValueError(
                f"dither {self.dither:g} on samples of up to {self.scale:g} drowns speech: at most "
                f"{self.scale * _MAX_DITHER:g}"
            )

    @property
    def top_hz(self) -> float:
        """Upper edge of the last mel bin, in Hz."""
        return self.high_hz if self.high_hz > 0 else self.sample_rate / 2 + self.high_hz

    @property
    def row_pad_value(self) -> float:
        """What stands behind a shorter recording in a batch."""
        return self.pad_value if self.style == "kaldi" else (self.pad_value + _WHISPER_LIFT) / _WHISPER_LIFT

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


_WHISPER_RANGE, _WHISPER_LIFT = 8.0, 4.0  # OpenAI's log_mel_spectrogram
_ICEFALL_PAD = math.log(1e-10)  # icefall pads features with the log of this energy

PROFILES: dict[str, FbankConfig] = {
    "wenet": FbankConfig(),
    "icefall": FbankConfig(scale=1.0, snip_edges=False, high_hz=-400.0, pad_value=_ICEFALL_PAD),
    "sherpa-onnx-wenet": FbankConfig(snip_edges=False, high_hz=-400.0),
    "sherpa-triton-offline": FbankConfig(scale=1.0, snip_edges=False),
    "sherpa-triton-streaming": FbankConfig(scale=1.0),
    "whisper": FbankConfig(
        style="whisper",
        scale=1.0,
        snip_edges=False,
        low_hz=0.0,
        window="hann",
        preemphasis=0.0,
        remove_dc=False,
        log_floor=1e-10,
        pad_value=-10.0,
    ),
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
        self._is_whisper = config.style == "whisper"
        length = config.frame_length
        self._fft_length = length if self._is_whisper else 1 << (length - 1).bit_length()
        window = analysis_window(config.window, length, is_periodic=self._is_whisper)
        self._window = (window * config.scale).astype(np.float32)
        banks = slaney_banks if self._is_whisper else kaldi_banks
        self._banks = banks(config.num_bins, config.low_hz, config.top_hz, config.sample_rate, self._fft_length)
        self._log = np.log10 if self._is_whisper else np.log

    def num_frames(self, num_samples: int) -> int:
        """Frames that `whole` gives for this many samples."""
        return self.config.num_frames(num_samples)

    def num_samples(self, num_frames: int) -> int:
        """Samples that give `num_frames` frames when called on a window."""
        return self.config.num_samples(num_frames)

    def __call__(self, samples: Samples) -> Features:
        """Turn (batch, n) windows into (batch, frames, bins); frames lie wholly inside, whatever `snip_edges` says.

        Nothing is normalised: Whisper's style needs `windows` or `whole`. Scratch memory does not grow with the batch.
        A row's result differs from its result alone by float32 rounding at most.
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

    def windows(self, samples: Samples, num_frames: Sequence[int] | npt.NDArray[np.int32]) -> Features:
        """Turn (batch, n) windows into what an encoder hears, (batch, frames, bins): `num_frames` of each are valid.

        Frames behind them are padding, and Whisper's normalisation sees each window for itself.
        """
        features = self(samples)
        for row, count in zip(features, num_frames, strict=True):
            row[count:] = self.config.pad_value
        return self._normalised(features)

    def whole(self, samples: Samples) -> Features:
        """Turn a whole recording, (n,) samples, into (frames, bins), mirrored at its ends unless `snip_edges`."""
        left, right = self.config.mirrored_edges(len(samples))
        extended = reflect(samples, left, right) if left or right else samples
        features: Features = self._normalised(self(extended[np.newaxis])[:, : self.num_frames(len(samples))])[0]
        return features

    def _normalised(self, features: Features) -> Features:
        """Compress the range of each of (batch, frames, bins) as Whisper does, in place; Kaldi's style has no such."""
        if self._is_whisper and features.size:
            floor = features.max(axis=(1, 2), keepdims=True) - np.float32(_WHISPER_RANGE)
            np.maximum(features, floor, out=features)
            features += np.float32(_WHISPER_LIFT)
            features /= np.float32(_WHISPER_LIFT)
        return features

    def _log_mel(self, frames: Samples) -> Features:
        """Turn frames (rows, n, length) into (rows, n, bins).

        Kaldi's order: dither, DC, pre-emphasis, window, spectrum.
        """
        length = self.config.frame_length
        padded = np.zeros((*frames.shape[:2], self._fft_length), np.float32)
        block = padded[..., :length]
        block[...] = frames
        if self.config.dither:
            noise = np.random.default_rng().standard_normal(block.shape, np.float32)
            block += np.float32(self.config.dither / self.config.scale) * noise
        if self.config.remove_dc:
            block -= block.mean(axis=-1, keepdims=True)
        if self.config.preemphasis:
            # A frame's first sample is its own predecessor.
            previous = np.concatenate([block[..., :1], block[..., :-1]], axis=-1)
            previous *= np.float32(self.config.preemphasis)
            block -= previous
        block *= self._window
        spectrum: Any = scipy.fft.rfft(
            padded
        )  # transforms several frames at once by SIMD: a seventh of np.fft.rfft's time
        parts: Features = spectrum.view(np.float32)  # real and imaginary parts side by side
        np.square(parts, out=parts)
        power = parts[..., ::2] + parts[..., 1::2]
        energies: Features = np.matmul(power, self._banks, dtype=np.float32)
        np.maximum(energies, np.float32(self.config.log_floor), out=energies)
        self._log(energies, out=energies)
        return energies
