"""Whose words a recording's are: it is diarized while it is recognised, by the models and batchers of Diarize."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

import numpy as np

from server.options import AudioFormat, SpeakerTagOptions
from server.speaker.diarize_convert import default_options
from server.speaker.diarizing import diarize_whole
from server.speaker.models import ServedSpeaker, SpeakerModels
from server.speaker.options import AudioOptions
from speech.audio import Encoding, Samples
from speech.diarization.options import DiarizationOptions
from speech.diarization.words import WordSpeakers
from speech.errors import BadAudio
from speech.resample import Resampler


class SpeakerTagger:
    """Shared by all unary calls; keeps nothing between them. `executor` is the diarizations' own."""

    def __init__(self, models: SpeakerModels, executor: Executor) -> None:
        self._models = models
        self._executor = executor

    def tagging(self, asked: SpeakerTagOptions) -> Tagging:
        """Find what one call needs. Raises UnknownModel, NoVoiceActivity."""
        model = self._models.find(asked.model)
        return Tagging(model, default_options(model, asked.min_speakers, asked.max_speakers), self._executor)


class Tagging:
    """One call's way to its speakers."""

    def __init__(self, model: ServedSpeaker, options: DiarizationOptions, executor: Executor) -> None:
        self._model = model
        self._options = options
        self._executor = executor

    def check_length(self, audio_s: float) -> None:
        """Refuse more than Diarize takes in one message, all channels added up. Raises BadAudio."""
        limit_s = self._model.config.max_audio_s
        if audio_s > limit_s:
            raise BadAudio(f"audio is longer than {limit_s:g} s, the limit with speaker tags (speaker.max_audio_s)")

    async def speakers(self, samples: Samples, sample_rate: int) -> WordSpeakers:
        """Say who spoke when in one channel, (n,). Raises BadAudio, and the batcher's errors."""
        rate = self._model.sample_rate
        if sample_rate != rate:
            loop = asyncio.get_running_loop()
            samples = await loop.run_in_executor(self._executor, _resampled, samples, sample_rate, rate)
        audio = AudioOptions(AudioFormat(Encoding.FLOAT32, rate, 1))
        done = await diarize_whole(self._model, audio, self._options, self._executor, samples[np.newaxis])
        return WordSpeakers(done.diarization.turns)


def _resampled(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    resampler = Resampler(from_hz, to_hz, 1)
    whole: Samples = np.concatenate([resampler.push(samples[np.newaxis]), resampler.flush()], axis=1)[0]
    return whole
