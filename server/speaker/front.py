"""One voice's samples on their way to the network: one channel, a region of it, its speech, in pieces."""

from __future__ import annotations

import numpy as np

from engines.vad.interface import VoiceActivity
from server.errors import BadRequest, NoVoiceActivity
from server.speaker.batching import too_short
from server.speaker.models import ServedSpeaker
from server.speaker.options import AudioOptions, EmbedOptions, Region
from speech.audio import Samples
from speech.diarization.options import VadOptions
from speech.diarization.vad import SpeechFinder
from speech.errors import AudioTooShort, BadAudio
from speech.verification.pieces import PieceCutter
from speech.verification.quality import Quality, QualityMeter

SILENT = 10 ** (-90 / 20)  # below one step of 16-bit audio there is no voice, whatever the network makes of it

_NONE: Samples = np.zeros(0, np.float32)


class VoiceFront:
    """Owned by one call; one thread at a time, which it keeps for milliseconds per second of audio."""

    def __init__(self, model: ServedSpeaker, audio: AudioOptions, options: EmbedOptions) -> None:
        """Raises NoVoiceActivity where silence is to be trimmed and there is no model for it."""
        self._model = model
        self._channel = audio.channel
        self._options = options
        self._region = RegionCutter(audio.region, model.sample_rate)
        self._trimmer = _trimmer(model, options)
        self._cutter = PieceCutter(model.window_s, model.sample_rate, model.tail_s)
        self._meter = QualityMeter(model.sample_rate)
        self._num_used = 0

    @property
    def audio_s(self) -> float:
        """Seconds of the region so far."""
        return self._region.num_samples / self._model.sample_rate

    @property
    def speech_s(self) -> float:
        """Seconds that were given out in pieces."""
        return self._num_used / self._model.sample_rate

    @property
    def quality(self) -> Quality:
        return self._meter.result()

    def push(self, samples: Samples) -> list[Samples]:
        """Take (channels, n) samples at the model's rate and return the pieces that are ready, each (n,)."""
        chosen = self._region.push(pick_channel(samples, self._channel))
        if self._trimmer is not None:
            chosen = self._trimmer.push(chosen)
        return self._used(self._cut(chosen))

    def flush(self) -> list[Samples]:
        """End the voice and return its last piece.

        Raises BadRequest for a region outside the audio, AudioTooShort, and BadAudio where there is no speech.
        """
        self._region.check_end()
        pieces = self._cut(self._trimmer.flush()) if self._trimmer is not None else []
        pieces = self._used(pieces + self._cutter.flush())
        self._require_speech()
        return pieces

    def _cut(self, samples: Samples) -> list[Samples]:
        if not len(samples):
            return []
        self._meter.push(samples)
        return self._cutter.push(samples)

    def _used(self, pieces: list[Samples]) -> list[Samples]:
        """Pieces with sound in them: the vector of silence is always the same one, and nobody's."""
        audible = [piece for piece in pieces if max(piece.max(), -piece.min()) > SILENT]
        self._num_used += sum(len(piece) for piece in audible)
        return audible

    def _require_speech(self) -> None:
        if self._region.num_samples < self._model.engine.min_samples:
            raise too_short(self._region.num_samples, self._model.engine)
        if self._num_used == 0:
            kind = f"speech (vad_threshold {self._options.vad_threshold:g})" if self._trimmer is not None else "sound"
            raise BadAudio(f"no {kind} in {self.audio_s:.2f} s of audio: there is no voice to embed")
        if self._num_used < self._model.engine.min_samples:
            raise too_short(self._num_used, self._model.engine)
        if self.speech_s * 1000 < self._options.min_speech_ms:
            raise AudioTooShort(
                f"{self.speech_s * 1000:.0f} ms of speech; min_speech_ms is {self._options.min_speech_ms}"
            )


class RegionCutter:
    """Keeps the part of a stream of samples that lies in a region."""

    def __init__(self, region: Region, sample_rate: int) -> None:
        self._region = region
        self._rate = sample_rate
        self._begin = region.start_ms * sample_rate // 1000
        self._end = None if region.end_ms is None else region.end_ms * sample_rate // 1000
        self._position = 0
        self.num_samples = 0

    def push(self, samples: Samples) -> Samples:
        """Take (n,) samples and return those inside."""
        first = max(0, self._begin - self._position)
        last = len(samples) if self._end is None else max(0, self._end - self._position)
        self._position += len(samples)
        inside = samples[first:last]
        self.num_samples += len(inside)
        return inside

    def check_end(self) -> None:
        """Raise BadRequest where the audio ended before the region did."""
        length_ms = self._position * 1000 // self._rate
        if self._begin and self._begin >= self._position:
            raise BadRequest(f"region.start_ms is {self._region.start_ms}; the audio has {length_ms} ms")
        # Half a millisecond of grace: lengths in whole milliseconds are rounded by those who state them.
        if self._end is not None and self._end > self._position + self._rate // 2000:
            raise BadRequest(f"region.end_ms is {self._region.end_ms}; the audio has {length_ms} ms")


class SpeechTrimmer:
    """Keeps what a voice activity model takes for speech; holds back no more audio than is undecided."""

    def __init__(self, vad: VoiceActivity, threshold: float) -> None:
        self._stream = vad.stream()
        self._finder = SpeechFinder(VadOptions(threshold=threshold))
        self._held = _NONE
        self._held_from = 0
        self._position = 0
        self._given_to = 0

    def push(self, samples: Samples) -> Samples:
        """Take (n,) samples and return the speech that is certain."""
        self._held = np.concatenate([self._held, samples])
        self._position += len(samples)
        regions = self._finder.push(self._stream.push(samples))
        growing = self._finder.growing
        speech = self._take([(each.begin, each.end) for each in (*regions, *([growing] if growing else []))])
        self._forget(max(self._given_to, self._finder.needed_from) if growing else self._finder.needed_from)
        return speech

    def flush(self) -> Samples:
        """End the audio and return the speech that is left."""
        regions = self._finder.push(self._stream.flush()) + self._finder.flush(self._position)
        return self._take([(each.begin, each.end) for each in regions])

    def _take(self, regions: list[tuple[int, int]]) -> Samples:
        """What of the regions has not been given yet; an open one grows from call to call."""
        parts = [_NONE]
        for begin, end in regions:
            begin = max(begin, self._given_to)
            if end > begin:
                parts.append(self._held[begin - self._held_from : end - self._held_from])
                self._given_to = end
        return np.concatenate(parts)

    def _forget(self, before: int) -> None:
        before = min(max(before, self._held_from), self._position)
        self._held = self._held[before - self._held_from :].copy()
        self._held_from = before


def pick_channel(samples: Samples, channel: int) -> Samples:
    """Return one channel of (channels, n), counted from 1, or the mean of all for 0. Raises BadRequest."""
    if channel > len(samples):
        raise BadRequest(f"channel is {channel}; the audio has {len(samples)}")
    is_single = channel or len(samples) == 1
    one: Samples = samples[channel - 1] if is_single else samples.mean(axis=0, dtype=np.float32)
    return one


def _trimmer(model: ServedSpeaker, options: EmbedOptions) -> SpeechTrimmer | None:
    if not options.trim_silence:
        return None
    if model.vad is None:
        raise NoVoiceActivity("trim_silence needs a voice activity model; `chorus models pull silero-vad` fetches one")
    return SpeechTrimmer(model.vad, options.vad_threshold)
