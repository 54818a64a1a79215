"""Voices in whatever form they come, to vectors of one model; and the cohorts they are normalised by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from server.errors import BadRequest
from server.gallery.errors import WrongFingerprint
from server.gallery.gallery import Gallery
from server.gallery.store import EMPTY, Centres, GalleryStore, require_same
from server.speaker.embedding import Embedded, embed_audio
from server.speaker.models import ServedSpeaker
from server.speaker.options import Normalization, SpeakerKey, Voice, VoiceAudio, Voiceprint
from speech.verification.cohort import Cohort
from speech.verification.vectors import Vectors, unit


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedVoice:
    """A voice's vector, (dimension,) float32; what is known of it if it came as audio; who it is if enrolled."""

    vector: Vectors
    embedded: Embedded | None = None
    key: SpeakerKey | None = None

    @property
    def speech_s(self) -> float:
        return 0.0 if self.embedded is None else self.embedded.speech_s


class Voices:
    """Resolves voices; shared by all calls, keeps nothing between them."""

    def __init__(self, gallery: Gallery, executor: Executor) -> None:
        self._gallery = gallery
        self._executor = executor

    async def resolve(self, model: ServedSpeaker, voice: Voice) -> ResolvedVoice:
        """Turn a voice into a vector that `model`'s vectors can be compared with.

        Raises WrongFingerprint, UnknownSpeaker, BadRequest for a vector of another size, and what embedding raises.
        """
        match voice:
            case VoiceAudio():
                embedded = await embed_audio(model, voice, self._executor)
                return ResolvedVoice(embedded.vector, embedded)
            case Voiceprint():
                return ResolvedVoice(checked(model, voice))
            case SpeakerKey():
                space, vector = await self._gallery.call(GalleryStore.speaker, voice.gallery, voice.speaker_id)
                require_same(model.space, space, f"gallery {voice.gallery!r}")
                return ResolvedVoice(vector, key=voice)

    async def centres(self, model: ServedSpeaker, gallery: str) -> Centres:
        """Return the speakers of a gallery. Raises WrongFingerprint where they are another model's."""
        centres = await self._gallery.call(GalleryStore.centres, gallery)
        if centres.space is not None:
            require_same(model.space, centres.space, f"gallery {gallery!r}")
        return centres

    async def cohort(
        self, model: ServedSpeaker, normalization: Normalization, left_out: Iterable[str] = ()
    ) -> tuple[Cohort, int]:
        """Return the cohort, without `left_out` of its gallery, and the row from which on it is that gallery's.

        Raises WrongFingerprint, BadRequest, BadOption for too few vectors.
        """
        centres = EMPTY
        if normalization.gallery:
            centres = await self.centres(model, normalization.gallery)
        loop = asyncio.get_running_loop()
        work = partial(_cohort_rows, model, normalization.voiceprints, centres, frozenset(left_out))
        rows = await loop.run_in_executor(self._executor, work)
        return Cohort(rows, normalization.top_n), len(normalization.voiceprints)


def _cohort_rows(
    model: ServedSpeaker, voiceprints: Sequence[Voiceprint], centres: Centres, left_out: frozenset[str]
) -> Vectors:
    """The vectors of a cohort, (n, dimension) of length 1: those that came with the call first; thousands of them."""
    rows = [np.zeros((0, model.engine.dimension), np.float32)]
    if voiceprints:
        rows.append(unit(np.stack([checked(model, each) for each in voiceprints])))
    kept = [row for row, name in enumerate(centres.ids) if name not in left_out]
    if kept:
        rows.append(centres.centres[kept] if left_out else centres.centres)
    return np.concatenate(rows)


def checked(model: ServedSpeaker, print_: Voiceprint) -> Vectors:
    """Return the vector if it is of the model's space. Raises WrongFingerprint naming both, BadRequest."""
    space = model.space
    if print_.fingerprint != space.fingerprint:
        raise WrongFingerprint(
            f"a voiceprint has fingerprint {print_.fingerprint!r}; model {space.model!r} has {space.fingerprint!r}: "
            f"another model or front end, so not comparable"
        )
    if len(print_.embedding) != space.dimension:
        raise BadRequest(
            f"a voiceprint has {len(print_.embedding)} values; vectors of model {space.model!r} have {space.dimension}"
        )
    return print_.embedding
