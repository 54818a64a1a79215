"""The front end of speaker models: log-mel features with each utterance's mean taken away. No model is known here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec
import numpy as np

from speech.audio import Samples, require_finite
from speech.errors import AudioTooShort, BadAudio
from speech.features import Fbank, FbankConfig, Features


def subtract_mean(features: Features) -> Features:
    """Return (frames, bins) features less their mean over the frames: what these models call CMN. Needs a frame."""
    mean: Features = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    return features - mean


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerFrontEnd:
    """Turn whole utterances into a speaker model's input. Immutable: any number of threads may use one instance.

    `min_frames`: what the model needs for one embedding; statistics over fewer frames are undefined.
    """

    config: FbankConfig
    subtracts_mean: bool
    min_frames: int = 1
    fbank: Fbank = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fbank", Fbank(self.config))

    @property
    def min_samples(self) -> int:
        """The shortest utterance, in samples at `config.sample_rate`."""
        if self.config.snip_edges:
            return self.config.num_samples(self.min_frames)
        return self.min_frames * self.config.frame_shift - self.config.frame_shift // 2

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of everything that changes the features: see the module `engines.speaker`."""
        settings = {**msgspec.structs.asdict(self.config), "subtract_mean": self.subtracts_mean}
        del settings["pad_value"]  # nothing is padded here
        if not self.config.dither:
            del settings["dither"]  # fingerprints are older than it
        if self.config.style == "kaldi":
            del settings["style"]  # there was no other when fingerprints began
        return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:8]

    def __call__(self, samples: Samples) -> Features:
        """Turn (n,) float32 samples in [-1, 1] at the model's rate into (frames, bins) float32 features.

        Raises AudioTooShort below `min_samples`, BadAudio for samples of another shape or that no recording can hold.
        """
        if samples.ndim != 1:
            raise BadAudio(f"samples of shape {samples.shape} given; one channel, (n,), is expected")
        if len(samples) < self.min_samples:
            rate = self.config.sample_rate
            raise AudioTooShort(
                f"{len(samples)} samples of audio; a voice needs at least {self.min_samples} "
                f"({self.min_samples / rate * 1000:g} ms at {rate} Hz)"
            )
        require_finite(samples[np.newaxis], 0)
        features = self.fbank.whole(samples)
        return subtract_mean(features) if self.subtracts_mean else features
