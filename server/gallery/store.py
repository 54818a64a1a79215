"""Reading and writing enrolled speakers. Blocking; every write is one transaction."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from server.gallery.errors import InconsistentVoices, UnknownSpeaker, WrongFingerprint
from server.gallery.schema import open_file, transaction, translated_errors
from speech.verification.vectors import Vectors, centre, consistency

CACHE_BYTES = 256 << 20
"""Centres kept in memory: 350,000 speakers of 192 numbers. A larger gallery is kept, but alone."""

_DTYPE = np.dtype("<f4")

_ENTRIES = """
SELECT speaker.id, speaker_id, created_ms, updated_ms, metadata, count(voice.id), total(voice.speech_s)
FROM speaker LEFT JOIN voice ON voice.speaker = speaker.id
WHERE gallery = ? AND speaker_id {condition}
GROUP BY speaker.id ORDER BY speaker_id
"""


@dataclass(frozen=True, slots=True)
class Space:
    """What vectors are comparable with: the model and front end that made them."""

    fingerprint: str
    model: str
    dimension: int


@dataclass(frozen=True, slots=True, eq=False)
class StoredVoice:
    """One vector (dimension,) float32 and the seconds of speech it was made of."""

    embedding: Vectors
    speech_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One enrolled speaker. Times are milliseconds since 1970."""

    gallery: str
    speaker_id: str
    space: Space
    num_voices: int
    speech_s: float
    created_ms: int
    updated_ms: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """A gallery to search: `centres` (n, dimension) of length 1, row i is `ids[i]`, sorted. `space` None: empty."""

    space: Space | None
    ids: tuple[str, ...]
    centres: Vectors

    def row(self, speaker_id: str) -> int | None:
        """Where a speaker is, None for a stranger."""
        row = bisect_left(self.ids, speaker_id)
        return row if row < len(self.ids) and self.ids[row] == speaker_id else None


EMPTY = Centres(None, (), np.zeros((0, 0), np.float32))


class GalleryStore:
    """One connection to a gallery file. One thread at a time; close it."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file. Raises GalleryFailed, GalleryBusy."""
        self._path = str(path)
        self._connection = open_file(path)
        self._cache: OrderedDict[str, tuple[int, Centres]] = OrderedDict()  # the one asked for last comes last

    def close(self) -> None:
        self._connection.close()

    def enroll(
        self,
        gallery: str,
        speaker_id: str,
        space: Space,
        voices: Sequence[StoredVoice],
        now_ms: int,
        metadata: Mapping[str, str] | None = None,
        replace: bool = False,
        min_consistency: float = -1.0,
    ) -> tuple[Entry, float]:
        """Add voices to a speaker and return the entry with the consistency of all of them.

        Raises WrongFingerprint, InconsistentVoices; then nothing has changed.
        """
        with translated_errors(self._path), transaction(self._connection):
            self._bind(gallery, space)
            key = self._speaker_row(gallery, speaker_id, now_ms)
            if replace:
                self._connection.execute("DELETE FROM voice WHERE speaker = ?", (key,))
            if metadata:
                text = msgspec.json.encode(dict(metadata)).decode()
                self._connection.execute("UPDATE speaker SET metadata = ? WHERE id = ?", (text, key))
            self._connection.executemany(
                "INSERT INTO voice (speaker, embedding, speech_s, added_ms) VALUES (?, ?, ?, ?)",
                [(key, each.embedding.astype(_DTYPE).tobytes(), each.speech_s, now_ms) for each in voices],
            )
            agreement = consistency(self._vectors(key))
            if agreement < min_consistency:
                raise InconsistentVoices(
                    f"a voice of {speaker_id!r} has cosine {agreement:.3f} to the mean of the others; "
                    f"min_consistency is {min_consistency:g}"
                )
            entry = self._entries(gallery, "= ?", speaker_id)[0]
        self._cache.pop(gallery, None)
        return entry, agreement

    def delete(self, gallery: str, speaker_id: str) -> int:
        """Forget a speaker and return how many vectors that were. Raises UnknownSpeaker."""
        with translated_errors(self._path), transaction(self._connection):
            entry = self._require(gallery, speaker_id)
            where = "gallery = ? AND speaker_id = ?"
            self._connection.execute(f"DELETE FROM speaker WHERE {where}", (gallery, speaker_id))  # noqa: S608 -- ours
            # An empty gallery belongs to no model: the next enrolment decides anew.
            self._connection.execute(
                "DELETE FROM gallery WHERE name = ? AND NOT EXISTS (SELECT 1 FROM speaker WHERE gallery = ?)",
                (gallery, gallery),
            )
        self._cache.pop(gallery, None)
        return entry.num_voices

    def entries(self, gallery: str, after: str, limit: int) -> tuple[list[Entry], int]:
        """Return up to `limit` speakers whose ids come after `after`, and the number of all in the gallery."""
        with translated_errors(self._path):
            found = self._entries(gallery, "> ?", after, limit)
            query = "SELECT count(*) FROM speaker WHERE gallery = ?"
            return found, int(self._connection.execute(query, (gallery,)).fetchone()[0])

    def speaker(self, gallery: str, speaker_id: str) -> tuple[Space, Vectors]:
        """Return a speaker's centre, (dimension,) of length 1. Raises UnknownSpeaker."""
        centres = self.centres(gallery)
        row = centres.row(speaker_id)
        if row is None or centres.space is None:
            raise UnknownSpeaker(_unknown(gallery, speaker_id))
        return centres.space, centres.centres[row]

    def centres(self, gallery: str) -> Centres:
        """Return the gallery's speakers to compare with; read again only after somebody changed the file."""
        with translated_errors(self._path):
            # Changes with every commit of another connection; our own drop the cache themselves.
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            cached = self._cache.get(gallery)
            if cached is not None and cached[0] == version:
                self._cache.move_to_end(gallery)
                return cached[1]
            centres = self._read_centres(gallery)
        self._cache.pop(gallery, None)
        if centres.space is not None:  # names that nobody enrolled under must not fill the memory
            self._cache[gallery] = (version, centres)
            self._shrink_cache()
        return centres

    def _shrink_cache(self) -> None:
        """Forget the galleries that were asked for longest ago; those deleted elsewhere are never asked for again."""
        size = sum(centres.centres.nbytes for _, centres in self._cache.values())
        while size > CACHE_BYTES and len(self._cache) > 1:
            _, (_, forgotten) = self._cache.popitem(last=False)
            size -= forgotten.centres.nbytes

    # --- inside a transaction, or a single statement

    def _bind(self, gallery: str, space: Space) -> None:
        bound = self._space(gallery)
        if bound is None:
            self._connection.execute(
                "INSERT INTO gallery VALUES (?, ?, ?, ?)", (gallery, space.fingerprint, space.model, space.dimension)
            )
        else:
            require_same(space, bound, f"gallery {gallery!r}")

    def _space(self, gallery: str) -> Space | None:
        query = "SELECT fingerprint, model, dimension FROM gallery WHERE name = ?"
        found = self._connection.execute(query, (gallery,)).fetchone()
        return None if found is None else Space(*found)

    def _speaker_row(self, gallery: str, speaker_id: str, now_ms: int) -> int:
        query = """INSERT INTO speaker (gallery, speaker_id, metadata, created_ms, updated_ms) VALUES (?, ?, '{}', ?, ?)
                   ON CONFLICT (gallery, speaker_id) DO UPDATE SET updated_ms = excluded.updated_ms RETURNING id"""
        [(key,)] = self._connection.execute(query, (gallery, speaker_id, now_ms, now_ms)).fetchall()
        return int(key)

    def _vectors(self, key: int) -> Vectors:
        query = "SELECT embedding FROM voice WHERE speaker = ? ORDER BY id"
        blobs = [blob for (blob,) in self._connection.execute(query, (key,))]
        return np.frombuffer(b"".join(blobs), _DTYPE).reshape(len(blobs), -1)

    def _require(self, gallery: str, speaker_id: str) -> Entry:
        found = self._entries(gallery, "= ?", speaker_id)
        if not found:
            raise UnknownSpeaker(_unknown(gallery, speaker_id))
        return found[0]

    def _entries(self, gallery: str, condition: str, value: str, limit: int = -1) -> list[Entry]:
        space = self._space(gallery)
        if space is None:
            return []
        query = _ENTRIES.format(condition=condition) + " LIMIT ?"
        rows: list[tuple[int, str, int, int, str, int, float]] = self._connection.execute(
            query, (gallery, value, limit)
        ).fetchall()
        return [
            Entry(gallery, name, space, voices, speech_s, created, updated, msgspec.json.decode(metadata))
            for _, name, created, updated, metadata, voices, speech_s in rows
        ]

    def _read_centres(self, gallery: str) -> Centres:
        query = """SELECT speaker_id, fingerprint, model, dimension, embedding FROM voice
                   JOIN speaker ON speaker.id = voice.speaker JOIN gallery ON gallery.name = speaker.gallery
                   WHERE gallery.name = ? ORDER BY speaker_id, voice.id"""
        blobs: dict[str, list[bytes]] = {}
        space = None
        for name, fingerprint, model, dimension, blob in self._connection.execute(query, (gallery,)):
            space = space or Space(fingerprint, model, dimension)
            blobs.setdefault(name, []).append(blob)
        if space is None:
            return EMPTY
        ids = tuple(sorted(blobs))
        rows = [centre(np.frombuffer(b"".join(blobs[name]), _DTYPE).reshape(-1, space.dimension)) for name in ids]
        return Centres(space, ids, np.stack(rows))


def require_same(got: Space, expected: Space, what: str) -> None:
    """Refuse vectors of another space than `what` has. Raises WrongFingerprint naming both."""
    if got.fingerprint != expected.fingerprint:
        raise WrongFingerprint(
            f"{what} holds vectors of model {expected.model!r}, fingerprint {expected.fingerprint!r}; these are of "
            f"model {got.model!r}, fingerprint {got.fingerprint!r}: another model or front end, so not comparable"
        )


def _unknown(gallery: str, speaker_id: str) -> str:
    return f"speaker {speaker_id!r} is not enrolled in gallery {gallery!r}"
